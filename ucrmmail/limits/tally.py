"""What was sent and what is on its way, counted against all rules at once: pure arithmetic, no clock, no file.

    reserve -----> settle      accepted, or may have been: counts from the reservation on, its time is the settlement
       |---------> give back   refused before it was accepted: as if it had never been
       `---------> lost        a crash: nobody knows; counts as settled, but not for certain

Rules compose with ``max()``. Times never run backwards here: the caller says ``set_back`` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field
from ucrmmail.limits.antiflood import Row
from ucrmmail.limits.fixed import FixedWindow
from ucrmmail.limits.sliding import SlidingWindow

if TYPE_CHECKING:
    from ucrmmail.limits.rules import Rules, Throttle

Window = FixedWindow | SlidingWindow

# A message whose reply was never read was accepted at most so long after its reservation, if it was: the reply to the
# message before it on the connection and its own may each take ten minutes (RFC 5321 section 4.5.3.2.6), the rest is
# for its body.
LONGEST_TRANSACTION_S = 3600.0


@dataclass(slots=True)
class Tally:
    """The windows of all throttles in their order, the row of AntiFlood, and the reservations that are open.

    ``twins`` count the same in the other unit, in the same order: nothing waits for them, but when
    ``throttler.count`` is changed they know what was sent (see ``adapt``).
    ``pending`` holds (when, recipients) for each open reservation, oldest first. ``latest`` is the latest time that
    was counted.
    """

    rules: Rules
    windows: list[Window]
    twins: list[Window]
    row: Row | None
    pending: dict[int, tuple[float, int]] = field(default_factory=dict)
    pending_recipients: int = 0
    next_id: int = 1
    latest: float = 0.0

    def opens(self, now: float, recipients: int) -> float:
        """Return the earliest time at which a message may leave to so many recipients, ``now`` if at once.

        It is exact when nothing is on its way; otherwise no message can leave before it, unless one is given back.
        """
        at = self.throttle_opens(now, recipients)
        return at if self.row is None else max(at, self.row.opens(now, len(self.pending)))

    def throttle_opens(self, now: float, recipients: int) -> float:
        """Return the same for the throttles alone."""
        at = now
        for window in self.windows:
            throttle = window.rule
            if throttle.unit == "recipients":
                units, pending = recipients, self.pending_recipients
            else:
                units, pending = 1, len(self.pending)
            at = max(at, window.opens(now, units, pending))
        return at

    def room(self, now: float) -> int | None:
        """Return to how many recipients one transaction may leave at ``now``; None: as many as it has."""
        if self.opens(now, 0) > now:
            return 0
        return min(
            (
                max(0, window.rule.limit - window.used(now) - self.pending_recipients)
                for window in self.windows
                if window.rule.unit == "recipients"
            ),
            default=None,
        )

    def part(self, now: float, recipients: int) -> int:
        """Return to how many of these recipients a transaction goes next, when ``opens`` says that it may.

        As many as there is room for: a message that waited for room for all would keep what is behind it waiting, or
        never leave while others take what room there is. But not fewer than a tenth of the limit, since in a window
        that slides there is room for one after the other, and each part costs the whole message.
        """
        largest = self.rules.largest_transaction
        room = self.room(now) if largest is not None else None
        if room is None or largest is None:
            return recipients
        return min(recipients, max(room, largest // 10, 1))

    def reserve(self, at: float, recipients: int) -> int:
        """Count a message that is about to leave; returns the number of its reservation."""
        reservation_id = self.next_id
        for window in (*self.windows, *self.twins):
            window.reserved(at, reservation_id)
        if self.row is not None:
            self.row.reserved(at, len(self.pending))
        self.pending[reservation_id] = (at, recipients)
        self.pending_recipients += recipients
        self.next_id += 1
        self.latest = max(self.latest, at)
        return reservation_id

    def settle(self, reservation_id: int, at: float, recipients: int, *, certain: bool) -> None:
        """Count a message as accepted, by so many of its recipients; not ``certain``: it may have been.

        Raises KeyError when the reservation is not open.
        """
        _, reserved = self.pending[reservation_id]
        since = next(iter(self.pending.values()))[0]
        del self.pending[reservation_id]
        self.pending_recipients -= reserved
        for window in (*self.windows, *self.twins):
            window.settled(
                at,
                window.rule.units(recipients),
                since=since,
                reservation_id=reservation_id,
                next_id=self.next_id,
                certain=certain,
            )
        if self.row is not None:
            self.row.settled(at)
        self.latest = max(self.latest, at)

    def give_back(self, reservation_id: int) -> None:
        """Forget a message that was refused before it was accepted. Raises KeyError when it is not open."""
        _, recipients = self.pending.pop(reservation_id)
        self.pending_recipients -= recipients

    def lost_at(self, now: float, reserved_at: float) -> float:
        """Return when a message counts as settled that a crash cut off: as late as it may have been accepted."""
        return min(now, max(self.latest, reserved_at + LONGEST_TRANSACTION_S))

    def lose(self, since: float, at: float, messages: int, recipients: int) -> None:
        """Count messages that a power cut made us forget: reserved from ``since`` on, accepted by ``at`` if at all."""
        for window in (*self.windows, *self.twins):
            units = recipients if window.rule.unit == "recipients" else messages
            window.settled(at, units, since=since, reservation_id=0, next_id=self.next_id, certain=False)
        if self.row is not None:
            self.row.settled(at, messages)
        self.latest = max(self.latest, at)

    def set_back(self, now: float) -> None:
        """Treat every time in the future as now: the clock was set back.

        It shortens no wait that was true, and none is longer from now on than one duration or pause.
        """
        for window in (*self.windows, *self.twins):
            window.set_back(now)
        if self.row is not None:
            self.row.set_back(now)
        self.pending = {
            reservation_id: (min(at, now), recipients) for reservation_id, (at, recipients) in self.pending.items()
        }
        self.latest = min(self.latest, now)


def empty_tally(rules: Rules) -> Tally:
    """Return the tally of an account that has sent nothing yet."""
    return Tally(
        rules=rules,
        windows=[empty_window(throttle) for throttle in rules.throttles],
        twins=[empty_window(throttle.twin) for throttle in rules.throttles],
        row=Row(rules.flood) if rules.flood is not None else None,
    )


def full_tally(rules: Rules, now: float) -> Tally:
    """Return the tally of which nothing is known but that it may be full: every limit is used up, right now."""
    tally = empty_tally(rules)
    for window in (*tally.windows, *tally.twins):
        window.settled(now, window.rule.limit, since=now, reservation_id=0, next_id=1, certain=False)
    if tally.row is not None:
        tally.row.settled(now, tally.row.rule.threshold)
    tally.latest = now
    return tally


def empty_window(throttle: Throttle) -> Window:
    """Return the window of a throttle under which nothing was sent yet."""
    return SlidingWindow(throttle) if throttle.sliding else FixedWindow(throttle)
