"""The sliding window of the Throttler: never more than the limit in any span of its duration, wherever it begins.

A message counts from its reservation until one duration after its settlement, so that the rule holds by the server's
clock too: the server accepted it somewhere between.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field

if TYPE_CHECKING:
    from ucrmmail.limits.rules import Throttle

# Above so many units, those settled within a hundred-thousandth of the duration (0.9 s of a day) leave together, with
# the last of them: the memory is bounded, and the limit is never exceeded.
_MOST_ENTRIES = 100_000


@dataclass(slots=True)
class SlidingWindow:
    """What was settled in the last duration: (when, units), oldest first, and their sum."""

    rule: Throttle
    entries: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def used(self, now: float) -> int:
        """Return the units that count at ``now``, besides those still on their way."""
        used = self.total
        for at, units in self.entries:
            if at + self.rule.duration_s > now:
                break
            used -= units
        return used

    def opens(self, now: float, units: int, pending: int) -> float:
        """Return the earliest time at which ``units`` more may leave, ``now`` if at once.

        While those on their way fill the window, it is the earliest time at which they could have left it.
        """
        excess = self.total + units + pending - self.rule.limit
        if excess <= 0:
            return now
        for at, leaving in self.entries:
            excess -= leaving
            if excess <= 0:
                return max(now, at + self.rule.duration_s)
        return now + self.rule.duration_s

    def reserved(self, now: float, reservation_id: int) -> None:  # noqa: ARG002 # the same verb as the fixed window's
        """Take notice that a message is about to leave: forget those that left the window."""
        entries = self.entries
        while entries and entries[0][0] + self.rule.duration_s <= now:
            self.total -= entries.popleft()[1]

    def settled(self, at: float, units: int, **_: object) -> None:
        """Count units whose reply was read ``at`` this time; who reserved them, and when, does not matter here."""
        entries = self.entries
        self.total += units
        if self.rule.limit > _MOST_ENTRIES and len(entries) > 1:
            grain_s = self.rule.duration_s / _MOST_ENTRIES
            if at - entries[-2][0] < grain_s:
                units += entries.pop()[1]
        entries.append((at, units))

    def set_back(self, now: float) -> None:
        """Treat what lies in the future as now: the clock was set back."""
        ahead = 0
        while self.entries and self.entries[-1][0] > now:
            ahead += self.entries.pop()[1]
        if ahead:
            self.entries.append((now, ahead))

    def resets_at(self, now: float) -> float | None:
        """Return when the oldest of what counts now leaves the window, None when nothing counts."""
        for at, _ in self.entries:
            if at + self.rule.duration_s > now:
                return at + self.rule.duration_s
        return None
