"""The limits as ``status`` and ``flush --dry-run`` show them: read, never written."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.limits.recovery import recover

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ucrmmail.limits.rules import Rules, Throttle
    from ucrmmail.limits.tally import Tally


@dataclass(frozen=True, slots=True)
class ThrottleView:
    """How far a throttle is used, its limit at the most.

    ``resets_at`` is when its window is over, in a sliding window when the oldest of what counts leaves it; None when
    nothing counts.
    """

    throttle: Throttle
    used: int
    resets_at: float | None


@dataclass(frozen=True, slots=True)
class FloodView:
    """How long the row of AntiFlood is, and until when its pause lasts; None when none is being made."""

    threshold: int
    pause_s: float
    count: int
    paused_until: float | None


@dataclass(frozen=True, slots=True)
class LimitsView:
    """All limits of the account in their order."""

    throttles: tuple[ThrottleView, ...]
    flood: FloodView | None


def view_limits(tally: Tally, now: float) -> LimitsView:
    """Return how far each limit is used at ``now``; what is on its way counts."""
    now = max(now, tally.latest)
    throttles = []
    for window in tally.windows:
        pending = tally.pending_recipients if window.rule.unit == "recipients" else len(tally.pending)
        # More may count than there may be: the limit was lowered, or a power cut counts for what it may have sent.
        used = min(window.used(now) + pending, window.rule.limit)
        throttles.append(ThrottleView(window.rule, used, window.resets_at(now)))
    row = tally.row
    if row is None:
        return LimitsView(tuple(throttles), None)
    count = row.counted(now, len(tally.pending)) + len(tally.pending)
    flood = FloodView(row.rule.threshold, row.rule.pause_s, count, row.paused_until(now))
    return LimitsView(tuple(throttles), flood)


def read_tally(path: str, rules: Rules, now: float, boot_id: str) -> Tally:
    """Return the tally that the ledger at ``path`` holds; what a run has on its way counts as sent.

    Raises DistrustError or OSError.
    """
    return recover(path, rules, now, boot_id).tally


def schedule(tally: Tally, now: float, recipients: Iterable[int]) -> Iterator[float]:
    """Yield when each of these messages, in their order, could leave, if sending took no time.

    ``recipients`` are those of each message. One with more than there is room for goes in parts; the time is that of
    the first. The tally itself is not changed.
    """
    tally = deepcopy(tally)
    now = max(now, tally.latest)
    for left in recipients:
        begins_at: float | None = None
        while begins_at is None or left > 0:
            now = tally.opens(now, tally.part(now, left))
            # Now that there is room for that, there may be room for more.
            part = tally.part(now, left)
            begins_at = now if begins_at is None else begins_at
            tally.settle(tally.reserve(now, part), now, part, certain=True)
            left -= part  # noqa: PLW2901 # what is left of this message
        yield begins_at
