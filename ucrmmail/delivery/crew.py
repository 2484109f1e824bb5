"""Several connections without a limit between them: each is a process, since one interpreter runs one thread at a time.

The run itself holds no connection. It hands out the queue in its order, a few ids at a time, and counts what the
workers (``worker``) tell. The first worker shows that the login works before the others start; one that is refused
later only means that the server wants fewer. A trouble of the account on one connection ends all.

A worker does not know what the others send, but how much: what they relay shows who is to blame for its trouble
(`suspicion`). When it had nothing else to try, the run knows better: if something was relayed, a further round shows it
(``Ending.excused``).

Under a limit nothing would be won, since then the limit is what mail waits for: there the connections are threads of
``run``, and each message asks the same ledger.
"""

from __future__ import annotations

import mmap
import select
import signal
from contextlib import suppress
from multiprocessing.connection import Pipe
from multiprocessing.context import ForkProcess
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.delivery.concerns import Concerns
from ucrmmail.delivery.deal import Deal, Dealer
from ucrmmail.delivery.report import HELD_BACK, MessageReport
from ucrmmail.delivery.suspicion import COUNTS
from ucrmmail.delivery.worker import Connected, Counted, Disconnected, Ended, Settled, work
from ucrmmail.errors import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.feed import QueueFeed
    from ucrmmail.delivery.lessons import Lessons
    from ucrmmail.delivery.run import Run, Window
    from ucrmmail.delivery.stop import Stop
    from ucrmmail.spool.queue import Spool

# More urgent mail is looked for this often while the workers are busy, and the time limit.
_LOOK_AGAIN_S = 1.0
# Who takes the last message tells nobody, and those who are free wait for the line to end.
_LOOK_AT_THE_END_S = 0.01
_COUNT_BYTES = 8
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)


@dataclass(slots=True)
class _Worker:
    process: ForkProcess
    notes: Connection
    heard: bool = False
    dismissed: bool = False
    ended: bool = False


class Crew:
    """Drives worker processes over the queue; the same to its caller as ``Run``.

    ``run``, ``feed`` and ``spool`` are the patterns for what each worker makes for itself; ``ending`` is that of
    ``run``. ``fetch_secret()`` is called before the first fork: a secret is read once. ``on_settled`` sees every
    message, as if it was sent here; unless it is ``watched``, only its queue id and result.
    """

    def __init__(
        self,
        run: Run,
        feed: QueueFeed,
        spool: Spool,
        *,
        fetch_secret: Callable[[], object],
        clock: Clock,
        stop: Stop,
        window: Window,
        on_settled: Callable[[MessageReport], None],
        watched: bool,
        concerns: Concerns,
    ) -> None:
        self._run = run
        self._feed = feed
        self._spool = spool
        self._fetch_secret = fetch_secret
        self._clock = clock
        self._stop = stop
        self._window = window
        self._on_settled = on_settled
        self._watched = watched
        self._concerns = concerns
        self._workers: list[_Worker] = []
        self._connected = False
        self._dealt: dict[str, None] = {}
        self._settled = 0
        self._parts: dict[str, MessageReport] = {}
        self._died = False
        # A signal came to a worker that had something to do.
        self._was_stopped = False
        self._failure: BaseException | None = None
        self.ending = run.ending

    def drive(self, connections: int, lessons: Lessons) -> None:
        """Send what is due over up to ``connections`` connections; ``ending`` then says why it stopped.

        Where the disk has no room for their journals, it is one, as one alone is sure to find some.
        Raises OSError when an outcome could not be recorded, UcrmmailError from the secret.
        """
        self._fetch_secret()
        if not self._spool.has_room_beside(connections):
            self._feed.has_others = False
            self._run.drive(1, lessons)
            return
        # Memory that all processes share: counts for us, and for each worker.
        shared = mmap.mmap(-1, _COUNT_BYTES * COUNTS * (connections + 1))
        self._feed.suspicion.share(memoryview(shared).cast("Q"))
        self._feed.heed(lessons)
        # Whether there is mail of senders that are not suspected, a worker knows of its own messages alone.
        self._feed.has_work()
        self.ending.go_without(lessons.distrusted, lessons.doubted)
        self.ending.guessed_before = lessons.guessed
        while True:
            self._feed.put_back()
            before = self._settled, len(self.ending.distrusted)
            self.ending.refuted.clear()
            self.ending.unconnected = None
            self._play(connections)
            # What came meanwhile, or was given back by a connection that broke, is left for another round.
            got_on = before != (self._settled, len(self.ending.distrusted))
            got_on |= self.ending.excused(self._feed.suspicion)
            # A server may count all that are there, and refuse each of them: what they left goes over a single one.
            wants_fewer = self.ending.lacks_connections and connections > 1
            if self._ends or self._died or not (got_on or wants_fewer) or not self._feed.has_work():
                break
            if wants_fewer:
                connections, self._feed.has_others = 1, False
            self._dealt.clear()
        for message in self._parts.values():
            self._on_settled(message)
        if self._failure is not None:
            raise self._failure
        if self._stop.requested:
            self.ending.reason = "stopped"
        elif self._out_of_time and self._feed.has_work():
            self.ending.reason = "time limit"
        elif self._was_stopped and self.ending.trouble is None and self._feed.has_work():
            self.ending.reason = "stopped"
        self.ending.resolve_unconnected(self._feed.has_work)

    @property
    def _ends(self) -> bool:
        return self._must_end or self._out_of_time

    @property
    def _must_end(self) -> bool:
        return self._stop.requested or self.ending.trouble is not None or self._failure is not None

    @property
    def _out_of_time(self) -> bool:
        return self._clock.monotonic() >= self._window.sends_until

    @property
    def _has_none_at_work(self) -> bool:
        """Whether all that are left wait for a connection: what was dealt and is not settled, nobody could claim."""
        return self._connected and not any(worker.heard for worker in self._workers)

    def _play(self, connections: int) -> None:
        """Let workers send until nothing more is due, or all must end; return when the last one is gone."""
        deal = Deal()
        dealer = Dealer(deal, self._spool.due, self._dealt)
        self._connected = False
        try:
            self._keep_at_work(deal, dealer, connections)
        except Exception as error:  # noqa: BLE001 # raised again when all are gone
            # They have mail in hand, of which nobody else tells, or wait for a greeting that nobody needs any more.
            self._failure = self._failure or error
            deal.close()
            self._tell_all_to_stop()
            while self._workers:
                self._wait(deal, dealer)
        finally:
            deal.leave()
            for worker in self._workers:
                self._see_off(worker)

    def _keep_at_work(self, deal: Deal, dealer: Dealer, connections: int) -> None:
        """Deal to the workers, starting them as they are needed, until the last one is gone. Raises OSError."""
        started = told = 0
        look_at = self._clock.monotonic() + _LOOK_AGAIN_S
        while True:
            if self._ends:
                deal.close()
                # While one message may be to blame, what the others have in hand shows whether it is.
                waits = self.ending.in_doubt and not self._stop.requested and self._failure is None
                if self._must_end and not told and not waits:
                    told = self._tell_all_to_stop()
            dealer.hand_out()
            # Behind a trouble of the account, the first shows that something goes: each costs a login, and may be
            # one too many.
            others_may = self._connected and not self._feed.suspicion.prefers_untried
            while not self._ends and started < (connections if others_may else 1):
                started += 1
                try:
                    self._start(deal, started)
                except OSError:
                    # No more processes: those that are there send as well, only slower.
                    if not self._workers:
                        raise
                    connections = started
            if not self._workers:
                return
            self._wait(deal, dealer)
            if deal.closed and (not self._dealt or self._has_none_at_work):
                self._dismiss_silent()
            if self._clock.monotonic() >= look_at:
                look_at = self._clock.monotonic() + _LOOK_AGAIN_S
                self._feed.more_came()
                dealer.look_again()

    def _wait(self, deal: Deal, dealer: Dealer) -> None:
        """Take the notes that come, until there is room for more ids, a request to stop, or nothing for a while."""
        poll = select.poll()
        if not self._stop.requested:
            poll.register(self._stop.fileno(), select.POLLIN)
        at_the_end = dealer.waits_for_the_last
        if not (deal.closed or at_the_end):
            poll.register(deal.fileno(), select.POLLOUT)
        for worker in self._workers:
            poll.register(worker.notes.fileno(), select.POLLIN)
        ready = {fd for fd, _ in poll.poll((_LOOK_AT_THE_END_S if at_the_end else _LOOK_AGAIN_S) * 1000)}
        for worker in list(self._workers):
            if worker.notes.fileno() in ready:
                self._listen_to(worker)

    def _listen_to(self, worker: _Worker) -> None:
        try:
            note = worker.notes.recv()
        except (EOFError, OSError):
            # It is gone, perhaps in the middle of a note.
            self._workers.remove(worker)
            self._see_off(worker)
            return
        worker.heard = not isinstance(note, Disconnected)
        match note:
            case Settled():
                for message in note.messages:
                    self._count(message)
            case Counted():
                for queue_id, result in note.results:
                    self._count(MessageReport(queue_id, "", result, ()))
            case Connected():
                self._connected = True
            case Ended():
                worker.ended = True
                self._was_stopped |= note.ending.reason == "stopped" and not worker.dismissed
                self._take_leave(note)

    def _count(self, message: MessageReport) -> None:
        self._dealt.pop(message.queue_id, None)
        self._settled += 1
        before = self._parts.pop(message.queue_id, None)
        if before is not None:
            # Another connection went on with it.
            outcomes = {outcome.recipient: outcome for outcome in (*before.outcomes, *message.outcomes)}
            message = replace(message, reverse_path=before.reverse_path, outcomes=tuple(outcomes.values()))
        if message.result == HELD_BACK:
            self._parts[message.queue_id] = message
        else:
            self._on_settled(message)

    def _take_leave(self, note: Ended) -> None:
        self._failure = self._failure or note.failure
        for message in note.unmoved:
            self._spool.exclude(message.queue_id)
            self._count(message)
        self.ending.take_over(note.ending)
        self._feed.suspect(note.ending.suspects)
        self._feed.suspicion.take_over(note.senders, note.left_out)
        self._concerns.take_over(note.concerns)
        self._spool.corrupt += note.corrupt
        self._spool.problems += note.problems

    def _see_off(self, worker: _Worker) -> None:
        """Wait for the end of a process; one that ended without a word left its journal to the next run."""
        worker.notes.close()
        worker.process.join()
        if not worker.ended:
            self._died = True
            status = worker.process.exitcode or 0
            how = f"signal {-status}" if status < 0 else f"status {status}"
            self._concerns.add_once(
                f"a connection's process was ended from outside ({how}): the next run goes on with what it had",
                # What it had in hand is not tried, nor all that was due when it was the last one.
                exit_code=TemporaryError.exit_code,
            )

    def _dismiss_silent(self) -> None:
        """End those that still wait for a connection when all is sent: some servers let them wait for minutes."""
        for worker in self._workers:
            # What it has said meanwhile may be that it is connected, and has taken the last message.
            if not (worker.heard or worker.notes.poll()):
                worker.heard = worker.dismissed = True
                worker.process.terminate()

    def _tell_all_to_stop(self) -> int:
        """Ask every worker to end as a signal would; return how many those were."""
        for worker in self._workers:
            worker.process.terminate()
        return len(self._workers)

    # --- the other side of the fork ---------------------------------------------------------------------------

    def _start(self, deal: Deal, number: int) -> None:
        """Start a worker. Raises OSError when there can be no more processes."""
        heard, notes = Pipe(duplex=False)
        others = [heard, *(worker.notes for worker in self._workers)]
        process = ForkProcess(target=self._be_worker, args=(deal, number, notes, others))
        # A signal that came between the fork and the worker's own pipe would be heard by nobody, or by all.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            process.start()
        except OSError:
            heard.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            notes.close()
        self._workers.append(_Worker(process, heard))

    def _be_worker(self, deal: Deal, number: int, notes: Connection, others: list[Connection]) -> None:
        """Live as a worker: what the run began is not ended here as well, since the process ends behind this."""
        for other in others:
            other.close()
        deal.close()
        self._stop.renew()
        # The run ends its workers so, whatever was ignored when it began.
        signal.signal(signal.SIGTERM, self._stop.request)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        concerns = Concerns(untold=self._concerns.untold)
        last = work(
            self._run, self._feed, self._spool, deal, notes,
            number=number, watched=self._watched, concerns=concerns,
        )  # fmt: skip
        with suppress(OSError):
            # A run that is gone needs no last note: the journal has it all.
            notes.send(last)
