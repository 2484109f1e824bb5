"""The system notification address is told when the queue is older than it should be, and what is in the way.

It is told once, and again only after it was over. The notice goes through the queue like all mail. So the one that the
account cannot log in arrives when it can: until then the output of the runs says it, which cron mails at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ucrmmail.dataclass import asdict, dataclass, replace
from ucrmmail.delivery.account import said_of
from ucrmmail.errors import UcrmmailError
from ucrmmail.files import Naming, open_untrusted, read_all, replace_file
from ucrmmail.jsontext import read_json
from ucrmmail.message.header import format_date
from ucrmmail.message.outcome import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.message.outcome import Trouble

# Looking for the oldest message means to list the queue, and that may hold a million.
_LOOK_AGAIN_S = 600.0
_LARGEST_FILE = 4096
# What a person has to change: the secret, the settings, or what the provider has against the account or this machine.
_TO_BE_MENDED = frozenset({77, 78})
_AT_THE_LOGIN = frozenset({Stage.SECRET, Stage.CONFIGURATION, Stage.AUTH})


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages wait to be sent, and since when the oldest of them does (seconds since the epoch)."""

    count: int
    since: float


@dataclass(frozen=True, slots=True)
class Told:
    """When the operator was told, and when the queue was looked at: in seconds since the epoch, 0.0 is not.

    ``trouble_at`` is when they were told that it is the account which is in the way.
    """

    overdue_at: float = 0.0
    trouble_at: float = 0.0
    looked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What a notice says; its text may hold what a server said."""

    subject: str
    paragraphs: tuple[str, ...]


def may_look(told: Told, *, warn_after_s: float, now: float) -> bool:
    """Return whether it is time to look for the oldest message again; ``warn_after_s`` 0.0 is never."""
    return warn_after_s > 0 and not 0.0 <= now - told.looked_at < min(_LOOK_AGAIN_S, warn_after_s)


def after_look(
    told: Told, waiting: Waiting, trouble: Trouble | None, *, warn_after_s: float, now: float
) -> tuple[Told, bool]:
    """Return what is to be kept of a look at the queue, and whether the operator has to be told.

    They are told again when a trouble of the account comes to mail that is old for other reasons; once, though it may
    come and go: the notice itself may be what a server takes that refuses the others.
    """
    if not waiting.count or now - waiting.since <= warn_after_s:
        return Told(looked_at=now), False
    trouble_at = told.trouble_at or (now if trouble is not None else 0.0)
    tells = not told.overdue_at or (trouble is not None and not told.trouble_at)
    return Told(told.overdue_at or now, trouble_at, now), tells


def notice_of(waiting: Waiting, trouble: Trouble | None, *, smarthost: str, now: float) -> Notice:
    """Return what the operator is told; ``trouble`` is the one that the account is in, None for none."""
    since = format_date(waiting.since)
    count = "1 message waits" if waiting.count == 1 else f"{waiting.count} messages wait"
    paragraphs = [f"{count} at {format_date(now)}, the oldest since {since}: that is longer than retry.warn_after."]
    subject = f"Mail waits since {since}"
    if trouble is None:
        paragraphs.append("`ucrmmail queue list` says why each is still here, `ucrmmail status` which limits are full.")
    else:
        if trouble.exit_code in _TO_BE_MENDED:
            at_login = trouble.stage in _AT_THE_LOGIN or trouble.missing_login
            what = "The account cannot log in" if at_login else "The account does not work"
            subject = f"{what}, mail waits since {since}"
        paragraphs.append(f"The account ({smarthost}) does not work: {said_of(trouble)}")
        paragraphs += [trouble.why] * bool(trouble.why) + [f"To do: {trouble.remedy}"] * bool(trouble.remedy)
    paragraphs.append("None of them is lost. There is no other notice until no message is as old as that.")
    return Notice(subject, tuple(paragraphs))


@dataclass(frozen=True, slots=True)
class Warner:
    """Tells whoever reads the system notification address.

    ``accept(notice)`` puts a notice into the queue durably and may raise UcrmmailError or OSError; ``waiting()`` looks
    at the queue. ``smarthost`` is its name. ``kept_at`` is the file of ``owner`` that keeps what was told.
    """

    accept: Callable[[Notice], object]
    waiting: Callable[[], Waiting]
    smarthost: str
    warn_after_s: float
    kept_at: str
    owner: int

    def look(self, trouble: Trouble | None, *, now: float) -> None:
        """Look at the queue behind a run that ended in this trouble, and tell if it is time.

        What cannot be queued now, or kept, is told by a later run. It is kept first: a crash in between costs a notice,
        where a disk that keeps nothing would have each run queue one more.
        """
        before = _load(self.kept_at, owner=self.owner)
        if not may_look(before, warn_after_s=self.warn_after_s, now=now):
            return
        try:
            waiting = self.waiting()
            told, tells = after_look(before, waiting, trouble, warn_after_s=self.warn_after_s, now=now)
            self._keep(told)
            if tells:
                try:
                    self.accept(notice_of(waiting, trouble, smarthost=self.smarthost, now=now))
                except (UcrmmailError, OSError):
                    self._keep(before)
        except OSError:
            return

    def _keep(self, told: Told) -> None:
        replace_file(self.kept_at, json.dumps(asdict(told)).encode() + b"\n", durable=False)


def _load(path: str, *, owner: int) -> Told:
    """Return what is kept; nothing when the file is missing or damaged, which repeats a notice at the most."""
    try:
        fd = open_untrusted(path, owner=owner)
        with Naming(path), open(fd, "rb") as file:
            kept = read_json(read_all(file.fileno(), _LARGEST_FILE))
        return replace(Told(), **{name: float(kept[name]) for name in asdict(Told())})
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return Told()
