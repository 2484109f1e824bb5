"""AntiFlood: after so many messages in a row, a pause before the next.

    threshold 2, pause 60 s    t=0      t=5      t=6               t=65      t=66      t=200
    a message is ready         sent (1) sent (2) waits until 65    sent (1)  sent (2)  reset, sent (1)

The pause runs from the settlement of the last message to the reservation of the next, so that by the server's clock
it is never shorter. More than a pause of idleness ends the row without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from ucrmmail.limits.rules import Flood


@dataclass(slots=True)
class Row:
    """The messages sent in a row, and when the last was settled (seconds since the epoch)."""

    rule: Flood
    count: int = 0
    last_at: float = 0.0

    def counted(self, now: float, pending: int) -> int:
        """Return how long the row is at ``now``, besides the messages on their way: 0 once a pause was made."""
        if pending == 0:
            pause_over_at = self.last_at + self.rule.pause_s
            if now > pause_over_at or (now == pause_over_at and self.count >= self.rule.threshold):
                return 0
        return self.count

    def opens(self, now: float, pending: int) -> float:
        """Return the earliest time at which the next message may leave, ``now`` if at once.

        While the last of the row is on its way, it is the earliest time at which its pause could be over.
        """
        if self.counted(now, pending) + pending < self.rule.threshold:
            return now
        return (now if pending else self.last_at) + self.rule.pause_s

    def reserved(self, now: float, pending: int) -> None:
        """Take notice that a message is about to leave, besides those on their way: a new row may begin with it."""
        self.count = self.counted(now, pending)

    def settled(self, at: float, messages: int = 1) -> None:
        """Count a message whose reply was read ``at`` this time."""
        self.count += messages
        self.last_at = at

    def set_back(self, now: float) -> None:
        """Treat what lies in the future as now: the clock was set back."""
        self.last_at = min(self.last_at, now)

    def paused_until(self, now: float) -> float | None:
        """Return when the pause that is being made is over, None when none is."""
        opens_at = self.opens(now, 0)
        return opens_at if opens_at > now else None
