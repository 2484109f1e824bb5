"""The fixed window of the Throttler: it starts with the first message sent and lasts one duration.

The window that matters is the server's, and it starts when the server accepts the first message. All we know of that
moment is that it lies between our reservation and our settlement, when the reply was read:

    first message   reserved ....... settled
                     since            start
                       |<------- duration ------->|
                                        |<------- duration ------->|
    a later message     this window     |  this   | this or next   |  the next

So what is settled in the stretch "this or next" is counted in this window, and is *carried*: counted in the next one
too, until a duration after it. Where a message takes no time the stretch is empty, and the rule is the plain one.

An *uncertain* message (no reply after the final dot, or a crash before it) takes its place like any other, but may
never have been accepted: it cannot be relied upon to have opened the window. Only a certain one settles the start.
Nor can one that was reserved before the server's last window was surely over: it may belong to that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from ucrmmail.limits.rules import Throttle


@dataclass(slots=True)
class FixedWindow:
    """What was settled in the window that is open, in the units of ``rule``; times in seconds since the epoch.

    ``certain`` says whether ``start`` is settled. ``carried`` came from the window before, the last of it settled at
    ``carried_at``; ``next_*`` is what this window will carry into the one behind it. ``first_id`` is the first
    reservation made when the server's window before this one was surely over.
    """

    rule: Throttle
    open: bool = False
    certain: bool = False
    since: float = 0.0
    start: float = 0.0
    count: int = 0
    carried: int = 0
    carried_at: float = 0.0
    next_count: int = 0
    next_since: float = 0.0
    next_start: float = 0.0
    first_id: int = 0

    def used(self, now: float) -> int:
        """Return the units that count at ``now``, besides those still on their way."""
        duration_s = self.rule.duration_s
        if not self.open:
            return 0
        if now < self.start + duration_s:
            return self.count + (self.carried if now < self.carried_at + duration_s else 0)
        return self.next_count if now < self.next_start + duration_s else 0

    def opens(self, now: float, units: int, pending: int) -> float:
        """Return the earliest time at which ``units`` more may leave, ``now`` if at once.

        While those on their way fill the window, it is the earliest time at which it could be over.
        """
        room = self.rule.limit - units - pending
        if self.used(now) <= room:
            return now
        duration_s = self.rule.duration_s
        if room < 0:
            return self.start + duration_s if self.open and self.start + duration_s > now else now + duration_s
        # At the last of these times nothing counts any more: there is always one.
        ends = [at + duration_s for at in (self.carried_at, self.start, self.next_start)]
        return min(end for end in ends if end > now and self.used(end) <= room)

    def reserved(self, now: float, reservation_id: int) -> None:
        """Take notice that a message is about to leave: an earlier window may be over."""
        if not self.open or now < self.start + self.rule.duration_s:
            return
        carries = bool(self.next_count) and now < self.next_start + self.rule.duration_s
        self.open = carries
        self.certain = False
        self.since, self.start = self.next_since, self.next_start
        self.count = 0
        self.carried, self.carried_at = (self.next_count, self.next_start) if carries else (0, 0.0)
        self.next_count = 0
        self.first_id = reservation_id

    def settled(self, at: float, units: int, *, since: float, reservation_id: int, next_id: int, certain: bool) -> None:
        """Count units whose reply was read ``at`` this time.

        ``since`` is when the oldest reservation was made of all that were on their way until now, this one included;
        ``next_id`` is that of the next reservation.
        """
        self.reserved(at, next_id)
        opens_it = certain and reservation_id >= self.first_id
        if not self.open:
            self.open, self.certain = True, opens_it
            self.since, self.start = since, at
            self.count = units
            self.carried = self.next_count = 0
            return
        self.since = min(self.since, since)
        self.count += units
        if not self.certain:
            self.certain = opens_it
            self.start = at
        over_since = self.since + self.rule.duration_s
        if at >= over_since:
            since = max(since, over_since)
            self.next_since = min(self.next_since, since) if self.next_count else since
            self.next_start = at
            self.next_count += units

    def set_back(self, now: float) -> None:
        """Treat what lies in the future as now: the clock was set back."""
        self.since = min(self.since, now)
        self.start = min(self.start, now)
        self.carried_at = min(self.carried_at, now)
        self.next_since = min(self.next_since, now)
        self.next_start = min(self.next_start, now)

    def resets_at(self, now: float) -> float | None:
        """Return when what counts now is over, None when nothing does."""
        if not self.used(now):
            return None
        end = self.start + self.rule.duration_s
        return end if now < end else self.next_start + self.rule.duration_s
