"""What became of messages, told when there is time for it: to the delivery log, to those who count, and who watch.

Nothing is told before it is recorded, or is known to be in no record. What was relayed waits until the server is at
work on the next body; a message in parts is logged with each part, and counted once, with the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.delivery.report import HELD_BACK, MessageReport
from ucrmmail.message.outcome import Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.delivery.log import DeliveryLog
    from ucrmmail.spool.claimed import Claimed


@dataclass(frozen=True, slots=True)
class _Relayed:
    """A message that was recorded as relayed to all, and is still to be logged and counted."""

    claimed: Claimed
    outcomes: tuple[Outcome, ...]
    at: float


@dataclass(frozen=True, slots=True)
class _Part:
    """What became of those recipients of a message whose turn has come; a limit holds the others back."""

    reverse_path: str
    outcomes: dict[str, Outcome]


class Teller:
    """Tells of each message once; ``on_settled`` is told when its turn in this run is over. Not for several threads."""

    def __init__(self, log: DeliveryLog, on_settled: Callable[[MessageReport], None]) -> None:
        self._log = log
        self._on_settled = on_settled
        self._relayed: list[_Relayed] = []
        self._parts: dict[str, _Part] = {}

    def relayed(self, claimed: Claimed, outcomes: tuple[Outcome, ...], at: float) -> None:
        """Keep until `tell` what was relayed to all at this time, in seconds since the epoch."""
        self._relayed.append(_Relayed(claimed, outcomes, at))

    def part(self, claimed: Claimed, outcomes: tuple[Outcome, ...], at: float) -> None:
        """Tell of those who had their turn; the others have theirs in this run, or the next one."""
        self._log_all(claimed, outcomes, at)
        if outcomes:
            part = self._parts.setdefault(claimed.queue_id, _Part(claimed.reverse_path, {}))
            part.outcomes.update({outcome.recipient: outcome for outcome in outcomes})

    def settled(
        self, claimed: Claimed, outcomes: tuple[Outcome, ...], at: float, result: str, next_at: float = 0.0
    ) -> None:
        """Tell of a message whose attempt is over, and when the next one is due."""
        self._log_all(claimed, outcomes, at)
        part = self._parts.pop(claimed.queue_id, None)
        if part is not None:
            outcomes = tuple((part.outcomes | {outcome.recipient: outcome for outcome in outcomes}).values())
        self._on_settled(MessageReport(claimed.queue_id, claimed.reverse_path, str(result), outcomes, next_at))

    def tell(self) -> None:
        """Tell of what was relayed and waits for it."""
        relayed, self._relayed = self._relayed, []
        for each in relayed:
            self.settled(each.claimed, each.outcomes, each.at, Result.RELAYED)

    def conclude(self) -> None:
        """Tell of what is held back in part at the end of the run."""
        for queue_id, part in self._parts.items():
            self._on_settled(MessageReport(queue_id, part.reverse_path, HELD_BACK, tuple(part.outcomes.values())))
        self._parts.clear()

    def _log_all(self, claimed: Claimed, outcomes: tuple[Outcome, ...], at: float) -> None:
        for outcome in outcomes:
            self._log.add(at, claimed.queue_id, claimed.reverse_path, outcome)
