"""One further connection as a process of its own: it takes ids, sends, and records what became of each by itself.

What makes a message safe is the same as in a run alone: it is locked by the kernel, its outcome is in a journal before
the next body leaves, and only then is it moved. The journal is the worker's own. The run only learns of it, to count
and to show; should it die, the worker ends at the next note that it cannot hand over, and the lock of the flush, which
both hold, with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field
from ucrmmail.delivery.concerns import Concerns
from ucrmmail.delivery.ending import Ending
from ucrmmail.journal import FULL

if TYPE_CHECKING:
    from collections.abc import Collection
    from multiprocessing.connection import Connection

    from ucrmmail.delivery.deal import Deal
    from ucrmmail.delivery.feed import QueueFeed
    from ucrmmail.delivery.report import MessageReport
    from ucrmmail.delivery.run import Run
    from ucrmmail.delivery.suspicion import Known
    from ucrmmail.spool.queue import Spool


@dataclass(frozen=True, slots=True)
class Connected:
    """The login worked, the first time or anew."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection has ended with nothing in hand. It is made anew when work waits, which the others may do first."""


@dataclass(frozen=True, slots=True)
class Settled:
    """These messages are recorded on the disk, and stand where they belong: others may take what is due again."""

    messages: tuple[MessageReport, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """The same, with no doubt in it, when nobody watches: (queue id, result) of each, a twentieth of the work."""

    results: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker is through. ``failure`` is what the run must raise; the rest is as in ``Run`` and ``Spool``.

    ``unmoved`` are settled, and may stand in the queue all the same: who took one now would send it again.
    ``senders`` are those that it suspects, and ``left_out`` those that it leaves out, as in ``Suspicion``.
    """

    ending: Ending = field(default_factory=Ending)
    senders: dict[str, Known] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    failure: BaseException | None = None
    unmoved: tuple[MessageReport, ...] = ()
    concerns: Concerns = field(default_factory=Concerns)
    corrupt: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()


def work(
    run: Run,
    feed: QueueFeed,
    spool: Spool,
    deal: Deal,
    notes: Connection,
    *,
    number: int,
    watched: bool,
    concerns: Concerns,
) -> Ended:
    """Send what comes over the line until nothing more does, or something fails, and return the last note.

    ``run``, ``feed`` and ``spool`` are those of the run, after which the worker makes its own; the first worker tells
    when its login worked. ``watched`` asks for whole reports of what is settled; ``concerns`` are the worker's own.
    """
    teller = _Teller(notes, watched)
    try:
        own_spool = spool.beside(number)
    except Exception as error:  # noqa: BLE001 # as below
        # Where there can be no more files, those that are there send as well, only slower.
        is_one_too_many = number > 1 and isinstance(error, OSError) and error.errno in FULL
        return Ended(failure=None if is_one_too_many else error)
    try:
        own_feed = feed.beside(
            own_spool,
            number,
            due=deal.ids,
            on_settled=teller.settled.append,
            on_synced=lambda: teller.tell(own_spool.unmoved),
            concerns=concerns,
        )
        own_run = run.beside(own_feed)
        _drive(own_run, own_feed, deal, teller, is_first=number == 1)
        unmoved = own_spool.finish()
        own_feed.conclude()
        teller.tell(unmoved)
    except Exception as error:  # noqa: BLE001 # the run raises it
        return Ended(failure=error, unmoved=tuple(teller.settled))
    return Ended(
        ending=own_run.ending,
        senders=own_feed.suspicion.senders,
        left_out=frozenset(own_feed.suspicion.left_out),
        unmoved=tuple(teller.settled),
        concerns=concerns,
        corrupt=tuple(own_spool.corrupt),
        problems=tuple(own_spool.problems),
    )


def _drive(run: Run, feed: QueueFeed, deal: Deal, teller: _Teller, *, is_first: bool) -> None:
    """Send what comes over the line. Raises OSError, UcrmmailError."""
    try:
        run.drive_one(
            teller.connected if is_first else None,
            work_waits=lambda: feed.holds_work or (teller.is_free() and deal.waits()),
            let_in=teller.connected,
        )
    except BaseException:
        # What a disk that refuses has left to tell goes with the failure, behind which the run deals no more.
        teller.has_failed = True
        raise
    finally:
        feed.put_back()


class _Teller:
    """Tells the run what was ``settled``, as soon as it stands where it belongs: it may deal what is in the queue."""

    def __init__(self, notes: Connection, watched: bool) -> None:
        self._notes = notes
        self._watched = watched
        self._is_known = False
        self.settled: list[MessageReport] = []
        self.has_failed = False

    def is_free(self) -> bool:
        """Tell that there is no connection any more, if there was one, and nothing in hand; return True."""
        if self._is_known:
            self._is_known = False
            self._notes.send(Disconnected())
        return True

    def connected(self) -> None:
        """Tell, once each time, that the login worked."""
        if not self._is_known:
            self._is_known = True
            self._notes.send(Connected())

    def tell(self, unmoved: Collection[str]) -> None:
        """Tell of all but the ``unmoved``; of nothing more behind a failure."""
        if self.has_failed:
            return
        moved = [message for message in self.settled if message.queue_id not in unmoved]
        self.settled[:] = [message for message in self.settled if message.queue_id in unmoved]
        if not moved:
            return
        if self._watched or any(message.uncertain for message in moved):
            self._notes.send(Settled(tuple(moved)))
        else:
            self._notes.send(Counted(tuple([(message.queue_id, message.result) for message in moved])))
