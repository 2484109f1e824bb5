"""``flush --dry-run``: what would go, in which order and when, if each message took no time. Nothing is written.

A message goes to those whose turn it is: who has it, or has had his turn in this attempt, is not counted again. What is
in drop/ was not prepared yet, so that its recipients and priority are not known: the forecast is without it.
"""

from __future__ import annotations

from itertools import islice, tee
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.limits.view import read_tally, schedule
from ucrmmail.spool.listing import due

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.limits.rules import Rules
    from ucrmmail.spool.unread import Unread


@dataclass(frozen=True, slots=True)
class Forecast:
    """One message that would go, to these recipients: ``at`` is when, in seconds since the epoch."""

    queue_id: str
    reverse_path: str
    recipients: tuple[str, ...]
    size_bytes: int
    at: float


def forecast(
    directory: str,
    rules: Rules,
    *,
    now: float,
    opens_at: float,
    boot_id: str,
    max_delay_s: float,
    message_limit: int,
    unread: list[Unread],
) -> Iterator[Forecast]:
    """Yield what a run would send, in order, at most ``message_limit`` messages (0: all). Raises OSError.

    What cannot be read, and is not sent either, goes to ``unread``.

    ``opens_at`` is when the account may be used, ``now`` or later: what is due by then goes then, at the earliest.
    ``max_delay_s`` is the longest delay there is, 0.0 after the clock was set back.
    """
    pending = (message for message in due(directory, opens_at, max_delay_s, unread=unread) if message.delivery.pending)
    first, again = tee(islice(pending, message_limit or None))
    amounts = (len(message.delivery.turn) for message in again)
    times = schedule(read_tally(f"{directory}/ledger", rules, now, boot_id), opens_at, amounts)
    for message, at in zip(first, times, strict=True):
        yield Forecast(message.queue_id, message.reverse_path, message.delivery.turn, message.size_bytes, at)
