"""Waiting for a message to arrive: look, sleep a little longer each time, look again, until it is there or time is up.

A connection that breaks meanwhile is opened again: the mail is on its way whatever the mailbox server does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.errors import UcrmmailError
from ucrmmail.mailbox.imap import LostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.mailbox.imap import Found, Mailbox

_FIRST_STEP_S = 0.5
_LONGEST_STEP_S = 5.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """Whether the message came: ``found`` is None when it did not in ``seconds``; ``trouble`` is the last there was."""

    found: Found | None
    seconds: float
    folders: tuple[str, ...]
    trouble: str = ""


def wait_for(
    message_id: str,
    mailbox: Mailbox,
    *,
    reopen: Callable[[], Mailbox],
    clock: Clock,
    since: float,
    deadline: float,
    watch: Callable[[float], None],
) -> Arrival:
    """Return when and where the message arrived; both times are on the monotonic clock.

    ``watch`` is told the seconds since ``since`` before each look. The mailbox is closed in the end.
    """
    folders, trouble = mailbox.folders, ""
    step_s = _FIRST_STEP_S
    current: Mailbox | None = mailbox
    while True:
        watch(clock.monotonic() - since)
        try:
            current = current or reopen()
            found = current.find(message_id)
        except (LostError, UcrmmailError) as error:
            found, trouble = None, error.what if isinstance(error, UcrmmailError) else str(error)
            if current is not None:
                current.close()
            current = None
        now = clock.monotonic()
        if found is not None or now >= deadline:
            if current is not None:
                current.close()
            return Arrival(found, now - since, folders, "" if found is not None else trouble)
        clock.sleep(min(step_s, deadline - now))
        step_s = min(step_s * 1.5, _LONGEST_STEP_S)
