"""What a run did: counts of messages, why it stopped, when it may go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from ucrmmail.message.outcome import Outcome, Trouble


HELD_BACK = "held back"


@dataclass(frozen=True, slots=True)
class MessageReport:
    """What a run made of one message.

    ``result`` is "relayed" when nothing is left to do for any recipient and none failed, "deferred" when some are
    tried again, "failed" when the message ended with a failure, and ``HELD_BACK`` when not all recipients had their
    turn in this run, or nothing could be recorded of those who had: it is among those that wait then.
    """

    queue_id: str
    reverse_path: str
    result: str
    outcomes: tuple[Outcome, ...]
    next_attempt_at: float = 0.0

    @property
    def uncertain(self) -> bool:
        """Whether a recipient may have it although no reply said so (RFC 1047), and may get it twice."""
        return any(outcome.uncertain for outcome in self.outcomes)


@dataclass(frozen=True, slots=True)
class RunReport:
    """A whole run; its counts are of messages. ``doubtful`` are the ids of those that may be delivered twice.

    ``next_at`` is when the next one may leave, in seconds since the epoch, 0.0 when nothing is known to come.
    ``reason`` says why messages were held back: "throttler", "antiflood", "time limit", "message limit", "account",
    "another flush is running", "stopped", or "" when nothing was. ``needs_person`` are the lines that cron should mail;
    ``told`` says that a run of the last hour has printed the same ``trouble``, so that cron need not mail it again.
    """

    relayed: int = 0
    deferred: int = 0
    failed: int = 0
    held_back: int = 0
    doubtful: tuple[str, ...] = ()
    reason: str = ""
    next_at: float = 0.0
    trouble: Trouble | None = None
    exit_code: int = 0
    needs_person: tuple[str, ...] = ()
    told: bool = False
    messages: tuple[MessageReport, ...] = ()

    @property
    def uncertain(self) -> int:
        """How many may be delivered twice; they are counted above too."""
        return len(self.doubtful)
