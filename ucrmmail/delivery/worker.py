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

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from ucrmmail.delivery.deal import Deal
    from ucrmmail.delivery.feed import QueueFeed
    from ucrmmail.delivery.report import MessageReport
    from ucrmmail.delivery.run import Run
    from ucrmmail.delivery.suspicion import Known
    from ucrmmail.spool.queue import Spool


@dataclass(frozen=True, slots=True)
class Connected:
    """The login worked."""


@dataclass(frozen=True, slots=True)
class Settled:
    """These messages are recorded on the disk, and stand where they belong, but those that are ``unmoved``."""

    messages: tuple[MessageReport, ...]
    unmoved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """The same, with no doubt in it, when nobody watches: (queue id, result) of each, a twentieth of the work."""

    results: tuple[tuple[str, str], ...]
    unmoved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker is through. ``failure`` is what the run must raise; the rest is as in ``Run`` and ``Spool``.

    ``senders`` are those that it suspects, and ``left_out`` those that it leaves out, as in ``Suspicion``. What is
    ``unmoved`` has only its record: nobody else may send it before the next run has carried that out.
    """

    ending: Ending = field(default_factory=Ending)
    senders: dict[str, Known] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    failure: BaseException | None = None
    concerns: Concerns = field(default_factory=Concerns)
    corrupt: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    unmoved: tuple[str, ...] = ()


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
    """Send what comes over the line until nothing more does, and return the last note.

    ``run``, ``feed`` and ``spool`` are those of the run, after which the worker makes its own; the first worker tells
    when its login worked. ``watched`` asks for whole reports of what is settled; ``concerns`` are the worker's own.
    Raises OSError, UcrmmailError.
    """
    settled: list[MessageReport] = []

    def tell() -> None:
        if settled:
            unmoved = own_spool.unmoved
            if watched or any(message.uncertain for message in settled):
                notes.send(Settled(tuple(settled), unmoved))
            else:
                notes.send(Counted(tuple([(message.queue_id, message.result) for message in settled]), unmoved))
            settled.clear()

    own_spool = spool.beside(number)
    own_feed = feed.beside(
        own_spool,
        number,
        due=deal.ids,
        on_settled=settled.append,
        on_synced=tell,
        concerns=concerns,
    )
    own_run = run.beside(own_feed)
    try:
        own_run.drive_one(
            (lambda: notes.send(Connected())) if number == 1 else None,
            work_waits=lambda: own_feed.holds_work or deal.waits(),
        )
    finally:
        try:
            own_feed.put_back()
        finally:
            # What a disk that refuses has left to tell, the run hears from nobody else.
            tell()
    unmoved = own_spool.finish()
    own_feed.conclude()
    tell()
    return Ended(
        ending=own_run.ending,
        senders=own_feed.suspicion.senders,
        left_out=frozenset(own_feed.suspicion.left_out),
        concerns=concerns,
        corrupt=tuple(own_spool.corrupt),
        problems=tuple(own_spool.problems),
        unmoved=unmoved,
    )
