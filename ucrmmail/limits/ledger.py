"""The limits across runs, crashes and reboots: the only I/O of this room. ``records`` says what the file holds.

    earliest -> reserve (in the file, then the message may leave) -> confirm, or refund

Nothing leaves before its reservation is written, so that a crash can only make us send less. Written is enough for a
process that is killed: the kernel has it. For a power cut it must be on the disk, and half a millisecond for each
message would be too much: so a *block* of reservations is announced and synced ahead of use, and after a power cut
all that is left of it counts as used.

One process at a time: the caller holds the flush lock. Its threads may share the ledger. Without any rule nothing is
counted and no file is touched; a limit that is set later starts from nothing.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.files import is_there
from ucrmmail.journal import Journal, journal_of, replace_making_room
from ucrmmail.limits.records import Block, state_record
from ucrmmail.limits.recovery import BLOCK_LASTS_S, OVERTAKEN_S, recover

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.limits.rules import Rules

# A power cut costs no more than a tenth of a limit, or so many messages.
_LARGEST_BLOCK = 64
# A record beside the state is shorter than this. Its settlement must fit on a disk that filled up meanwhile.
_RECORD_BYTES = 80
# The file is written afresh when so much was added to it: at the end of a run, and in a run that goes on for long.
_LONG_BYTES = 1 << 16
_VERY_LONG_BYTES = 1 << 22


class TooEarlyError(ValueError):
    """A reservation was asked for that a limit does not allow yet."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A place under the limits, taken for one transaction to so many recipients."""

    number: int
    recipients: int


class Ledger:
    """The durable tally of one account.

    ``limited`` tells whether there is any rule, ``damaged`` that the file could not be read and all counts as used.
    """

    def __init__(
        self, path: str, rules: Rules, now: float, boot_id: str, *, make_room: Callable[[], None] = lambda: None
    ) -> None:
        """Open the ledger at ``path`` and settle what a crash left open.

        ``boot_id`` tells this boot of the machine from others (``read_boot_id``). ``make_room`` is as in ``Journal``.
        Raises DistrustError when the file
        is a link or another user's, OSError.
        """
        self._rules = rules
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._block = Block()
        self._journal: Journal | None = None
        self.damaged = False
        self.limited = rules.any
        self.largest_amount = rules.largest_transaction or 0
        if not rules.any:
            return
        recovered = recover(path, rules, now, boot_id)
        self._tally = recovered.tally
        self.damaged = recovered.damaged
        begins_anew = recovered.damaged or not is_there(path)
        if begins_anew:
            # In one step: a file that was cut off where it is damaged would pass for a whole one, and a new one that is
            # empty yet is as one whose content is lost.
            replace_making_room(path, journal_of(recovered.changes), make_room)
        self._journal = Journal(path, make_room=make_room)
        for record in recovered.changes if not begins_anew else ():
            self._journal.append(record)
        self._journal.sync()
        self._short_bytes = self._journal.offset

    def earliest(self, now: float, recipients: int = 1) -> float:
        """Return when a message may leave to so many recipients: ``now`` if at once, else a later time.

        With messages on their way it is a time before which none may leave unless one of them is refunded: ask again
        when one was settled. To more recipients than ``largest_amount`` no message can go at once: it is the time for
        a part of that size. Raises OSError.
        """
        if self._journal is None:
            return now
        with self._lock:
            at = self._steady(self._journal, now)
            opens_at = self._tally.opens(at, self._units(recipients))
            return now if opens_at <= at else opens_at

    def part(self, now: float, recipients: int) -> int:
        """Return to how many of these recipients the next transaction goes, whenever that is: see ``Tally.part``."""
        if self._journal is None:
            return recipients
        with self._lock:
            return self._tally.part(self._steady(self._journal, now), recipients)

    def in_the_way(self, now: float, recipients: int = 1) -> str:
        """Return which limit a message has to wait for: "throttler", "antiflood", or "" when it may leave."""
        if self._journal is None:
            return ""
        with self._lock:
            at, units = self._steady(self._journal, now), self._units(recipients)
            opens_at = self._tally.opens(at, units)
            if opens_at <= at:
                return ""
            return "throttler" if self._tally.throttle_opens(at, units) == opens_at else "antiflood"

    def reserve(self, now: float, recipients: int = 1) -> Reservation:
        """Take a place for one transaction; when this returns it is written, and the message may leave.

        Raises TooEarlyError when ``earliest`` is later than ``now``, or when the recipients are more than
        ``largest_amount``. Raises OSError when it cannot be written, or its outcome could not be: then no message may
        leave.
        """
        if self._journal is None:
            return _FREE
        with self._lock:
            at = self._steady(self._journal, now)
            tally, block = self._tally, self._block
            if tally.opens(at, recipients) > at:
                raise TooEarlyError(f"a limit does not allow a message to {recipients} recipients yet")
            if block.messages < 1 or block.recipients < recipients or at >= block.at + BLOCK_LASTS_S:
                self._announce_block(self._journal, at, recipients)
            self._journal.ensure_room(_RECORD_BYTES * (2 + len(tally.pending)))
            self._journal.append(b"reserve %d %a %d" % (tally.next_id, at, recipients))
            self._block.messages -= 1
            self._block.recipients -= recipients
            return Reservation(tally.reserve(at, recipients), recipients)

    def confirm(
        self, reservation: Reservation, now: float, recipients: int | None = None, *, uncertain: bool = False
    ) -> None:
        """Count a message that the server accepted, for so many of its recipients (None: for all).

        ``uncertain`` when it may have accepted it: the connection broke after the final dot. It counts all the same.
        Raises KeyError when the reservation is not open; OSError.
        """
        if self._journal is None:
            return
        with self._lock:
            self._must_be_open(reservation)
            at = self._steady(self._journal, now)
            count = reservation.recipients if recipients is None else recipients
            word = b"uncertain" if uncertain else b"accepted"
            self._journal.append(b"%b %d %a %d" % (word, reservation.number, at, count))
            self._tally.settle(reservation.number, at, count, certain=not uncertain)

    def refund(self, reservation: Reservation) -> None:
        """Give back the place of a message that was refused before it was accepted.

        Raises KeyError when the reservation is not open; OSError.
        """
        if self._journal is None:
            return
        with self._lock:
            self._must_be_open(reservation)
            self._journal.append(b"refund %d" % reservation.number)
            self._tally.give_back(reservation.number)

    def sync(self) -> None:
        """Bring what is written to the disk. Raises OSError; from then on nothing more can be reserved."""
        if self._journal is not None:
            with self._lock:
                self._journal.sync()

    def close(self, now: float) -> None:
        """Give back what is left of the block, and close the file. Raises OSError.

        A reservation that is still open stays so, and counts as used when the ledger is opened again.
        """
        if self._journal is None:
            return
        with self._lock:
            self._steady(self._journal, now)
            if self._block.messages:
                self._journal.append(b"end")
                self._journal.sync()
            self._shorten(self._journal, _LONG_BYTES)
            self._journal.close()
            self._journal = None

    def _units(self, recipients: int) -> int:
        return min(recipients, self.largest_amount) if self.largest_amount else 1

    def _must_be_open(self, reservation: Reservation) -> None:
        """Raise KeyError when it is not: a record that makes no sense would spoil the whole file."""
        if reservation.number not in self._tally.pending:
            raise KeyError(reservation.number)

    def _steady(self, journal: Journal, now: float) -> float:
        """Return the time to count with: it never runs backwards, unless the clock was set back, which is recorded."""
        latest = self._tally.latest
        if now >= latest:
            return now
        if now >= latest - OVERTAKEN_S:
            return latest
        journal.append(b"clock %a" % now)
        self._tally.set_back(now)
        self._block.at = min(self._block.at, now)
        return now

    def _announce_block(self, journal: Journal, at: float, recipients: int) -> None:
        """Have it on the disk that so many reservations may follow."""
        self._shorten(journal, _VERY_LONG_BYTES)
        messages = min([_LARGEST_BLOCK, *(max(1, throttle.limit // 10) for throttle in self._rules.throttles)])
        # What counts recipients alone is worth a sync for each large message.
        recipients = max(recipients, messages) if self.largest_amount else recipients * messages
        journal.append(b"block %a %d %d %b" % (at, messages, recipients, self._boot_id.encode() or b"-"))
        journal.sync()
        self._block = Block(self._boot_id, at, messages, recipients)

    def _shorten(self, journal: Journal, long_bytes: int) -> None:
        """Write the file afresh, with the state alone, when so much was added to it."""
        if journal.offset - self._short_bytes < long_bytes:
            return
        try:
            journal.keep_only([state_record(self._tally)])
        except OSError:
            # A full disk: the long file is as good. Where the disk is really broken, the next record says so.
            pass
        self._short_bytes = journal.offset


_FREE = Reservation(0, 0)


def read_boot_id(path: str = "/proc/sys/kernel/random/boot_id") -> str:
    """Return what tells this boot of the machine from all others, "" when the system does not say."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
