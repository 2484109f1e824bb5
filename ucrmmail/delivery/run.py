"""One run of the flush over one or more connections: connect, submit, wait for limits, and know when to stop.

The run sleeps through a pause when that fits its time limit, else it stops and leaves the rest to the next one. What
it holds back is not failed, and costs no attempt.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field
from ucrmmail.delivery.ending import Ending
from ucrmmail.delivery.judgement import Judgement, Losses
from ucrmmail.errors import TemporaryError
from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.opening import SessionError
from ucrmmail.smtp.submit import submit
from ucrmmail.smtp.trouble import account_trouble
from ucrmmail.smtp.wire import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.feed import QueueFeed
    from ucrmmail.delivery.lessons import Lessons
    from ucrmmail.delivery.stop import Stop
    from ucrmmail.smtp.session import Session

# A login costs more than an idle connection, but servers close those that idle for minutes (RFC 5321: five).
LONGEST_IDLE_S = 90.0
# A server that takes so many messages on a connection may count it for a moment after its end.
CLOSED_COUNTS_S = 1.0
_LOOKS_EVERY_S = 0.02
# Where a server that has had enough for the moment says so; of several addresses the last may not even answer.
_NOT_LET_IN = frozenset({Stage.CONNECT, Stage.GREETING})


@dataclass(slots=True)
class Window:
    """Until when a run may send, and until when it may wait for a limit, on the monotonic clock (``inf``: for ever)."""

    sends_until: float
    waits_until: float

    def extend_to(self, monotonic: float) -> None:
        """Let the run send until then: a limit that it waited for opens just after its end."""
        self.sends_until = max(self.sends_until, monotonic)


@dataclass(slots=True)
class _Connection:
    """One of the connections of a run: its session, while there is one, and what became of those before it.

    ``without`` are the extensions that it goes without. ``used_up``: the last session ended since the server takes only
    so many messages on one, ``most_recipients`` how many recipients in a transaction, and ``counts_recipients`` whether
    it may count those of a connection.
    """

    session: Session | None = None
    without: frozenset[str] = frozenset()
    used_up: bool = False
    most_recipients: int = sys.maxsize
    counts_recipients: bool = True
    losses: Losses = field(default_factory=Losses)

    def end_session(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


class Run:
    """Drives connections over a feed until nothing is due or nothing more may leave; ``ending`` then says why."""

    def __init__(
        self,
        feed: QueueFeed,
        *,
        connect: Callable[[float], Session],
        fetch_secret: Callable[[], object],
        clock: Clock,
        stop: Stop,
        window: Window,
        on_wait: Callable[[float], None],
    ) -> None:
        self._feed = feed
        self._connect = connect
        self._fetch_secret = fetch_secret
        self._secret_first = False
        self._clock = clock
        self._stop = stop
        self._window = window
        self._on_wait = on_wait
        self._failure: BaseException | None = None
        self._is_first_over = False
        # How many connections are driven, and how many of those are being made; who is dismissed finds nothing to do.
        self._driven = self._connecting = 0
        self._dismissed = False
        self._lock = threading.Lock()
        self.ending = Ending()
        self._judgement = Judgement(feed, self.ending)

    def drive(self, connections: int, lessons: Lessons) -> None:
        """Send what is due over up to ``connections`` connections.

        The first connection shows that the login works before the others try; one that is refused later, anew or for
        the first time, only means that the server wants fewer, unless none is left. Raises OSError when an outcome
        could not be recorded, UcrmmailError from the secret.
        """
        self._feed.heed(lessons)
        self._secret_first = lessons.secret_first
        self.ending.go_without(lessons.distrusted, lessons.doubted)
        self.ending.guessed_before = lessons.guessed
        goes_on = True
        while goes_on:
            is_left = self._drive_all(connections)
            goes_on = is_left or self.ending.excused(self._feed.suspicion)
            if is_left:
                # A server may count all that are there, and refuse each of them.
                connections, self._feed.has_others = 1, False
        self.ending.resolve_unconnected(self._feed.has_work)

    def _drive_all(self, connections: int) -> bool:
        """Drive the connections until none goes on; return whether work is left since the server wants fewer."""
        others: list[threading.Thread] = []

        def start_others() -> None:
            for _ in range(connections - 1 - len(others)):
                thread = threading.Thread(target=self._drive_extra, daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return  # no more of them: those that are there send as well, only slower
                others.append(thread)

        self._feed.closed = self._is_first_over = self._dismissed = False
        self.ending.unconnected = None
        try:
            self.drive_one(start_others)
        finally:
            self._is_first_over = True
            for thread in others:
                thread.join()
            if self._dismissed:
                self._stop.rest()
        if self._failure is not None:
            raise self._failure
        # A connection that was one too many may have given back what it had when the others were through.
        return bool(others) and self.ending.lacks_connections and self._feed.has_work()

    def _drive_extra(self) -> None:
        try:
            if self._wait_for_the_first():
                self.drive_one(None)
        except BaseException as error:  # noqa: BLE001 # a thread's error is raised again in the main one
            self._fail(error)

    def _wait_for_the_first(self) -> bool:
        """Wait, behind a trouble of the account, until the first connection shows that something goes; False if never.

        Each costs a login, and may be one too many.
        """
        while self._feed.suspicion.prefers_untried:
            if self._is_first_over or self._must_end or self.ending.trouble is not None or self._failure is not None:
                return False
            self._stop.sleep(_LOOKS_EVERY_S)
        return True

    def _fail(self, error: BaseException) -> None:
        """Let no other connection begin a message: what becomes of it could not be recorded either."""
        self._failure = self._failure or error
        self._feed.closed = True

    def _end_one(self) -> None:
        """Let go of one connection; dismiss those that wait for a greeting when nothing is left for them to do.

        A server that serves few at a time lets them wait for minutes. What one of them was given back may have come
        behind the last look of this one, or this one was one too many, and they may be let in.
        """
        with self._lock:
            self._driven -= 1
            if not self._connecting or self._driven > self._connecting:
                return
            is_over = self.ending.trouble is not None or self.ending.reason or self._failure is not None
            if is_over or not self._feed.has_work():
                self._dismissed = True
                self._stop.wake()

    def beside(self, feed: QueueFeed) -> Run:
        """Return the run of another process over its own feed."""
        run = Run(
            feed,
            connect=self._connect,
            fetch_secret=self._fetch_secret,
            clock=self._clock,
            stop=self._stop,
            window=self._window,
            on_wait=self._on_wait,
        )
        run.ending.go_without(self.ending.distrusted, self.ending.doubted)
        run.ending.guessed_before = self.ending.guessed_before
        return run

    def drive_one(
        self,
        connected: Callable[[], None] | None,
        *,
        work_waits: Callable[[], bool] | None = None,
        let_in: Callable[[], None] = lambda: None,
    ) -> None:
        """Send over one connection; ``connected`` is for the first one alone, and is called when its login has worked.

        ``work_waits()`` is for one that takes its messages from a line: it waits for work without taking it, so that
        none is kept from the others for as long as the connection takes; False when no more comes. ``let_in()`` follows
        when the connection is made, each time. Raises as ``drive``.
        """
        own = _Connection()
        with self._lock:
            self._driven += 1
        try:
            while self.ending.trouble is None and self._failure is None:
                is_new = own.session is None
                if own.session is None and work_waits is not None and not self._must_end:
                    if not (work_waits() and self._connect_anew(own, connected)):
                        return
                    connected = None
                    let_in()
                if not self._wait_until_open(own.session):
                    if self.ending.reason == "time limit":
                        self._judgement.out_of_time(own.losses)
                    return
                if own.session is not None and not own.session.is_alive():
                    # Servers say good-bye to a connection that idles, some within seconds: no message is to meet that.
                    own.end_session()
                    if not is_new:
                        continue
                    # The next one is used however alive it is, so that a server which lets nobody stay is met as one.
                if own.session is None:
                    if not self._connect_anew(own, connected):
                        return
                    connected = None
                if own.session is not None and not self._submit(own, own.session):
                    return
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self.ending.cleared |= self._feed.suspicion.cleared
            self.ending.had_turn |= self._feed.suspicion.had_turn
            self.ending.over_quota |= self._feed.suspicion.over_quota
            if own.session is not None:
                own.session.quit()
            self._end_one()

    def _wait_for_others(self, losses: Losses) -> None:
        """Give others a moment to relay something, behind a loss: it shows whether this connection is one too many."""
        until = self._clock.monotonic() + CLOSED_COUNTS_S
        while not self._judgement.is_one_of_several(losses) and self._clock.monotonic() < until:
            if self._must_end or self.ending.trouble is not None or self._failure is not None:
                return
            self._stop.sleep(_LOOKS_EVERY_S)

    def _submit(self, own: _Connection, session: Session) -> bool:
        """Send what may leave over this session; False when the connection is one too many."""
        try:
            end = submit(session, self._feed)
        finally:
            self._feed.tell()
        own.used_up, own.most_recipients = end.used_up, session.most_recipients
        own.counts_recipients = session.counts_recipients
        goes_on = self._judgement.goes_on(end, own.losses, own.without, must_end=self._must_end)
        if goes_on and not end.alive:
            own.end_session()
            # Behind a trouble of the account, they wait for this one.
            if own.losses.count and self._feed.has_others and not self._feed.suspicion.prefers_untried:
                self._wait_for_others(own.losses)
        return goes_on

    @property
    def _must_end(self) -> bool:
        return self._stop.requested or self._clock.monotonic() >= self._window.sends_until

    def _connect_anew(self, own: _Connection, connected: Callable[[], None] | None) -> bool:
        """Connect, and log in; False when the run is over for this connection."""
        # What another connection doubts from here on, this one has not gone without.
        own.without = frozenset(self.ending.distrusted)
        began, may_send = self._clock.monotonic(), not self._must_end
        try:
            own.session = self._session(patient=own.used_up)
        except SessionError as error:
            if connected is not None:
                self.ending.because_of(error.trouble)
            else:
                self.ending.unconnected = error.trouble
        except TemporaryError as error:
            if connected is not None:
                raise
            # As many threads as there may be: those that are connected send all the same.
            stage = Stage.SECRET if error.by_server else Stage.RESOLVE
            self.ending.unconnected = account_trouble(
                stage, error.what, why=error.why, remedy=error.remedy, exit_code=error.exit_code
            )
        except StoppedError:
            if self._stop.requested:
                self.ending.reason = "stopped"
        else:
            own.session.do_without(own.without)
            own.session.most_recipients = min(own.session.most_recipients, own.most_recipients)
            own.session.counts_recipients = own.counts_recipients
            if connected is not None:
                connected()
            if may_send and self._must_end and not self._stop.requested:
                self._judgement.let_in_late(self._clock.monotonic() - began)
        return own.session is not None and not self._dismissed

    def _session(self, *, patient: bool) -> Session:
        """Return a session that is logged in; ``patient``: it is asked for twice. Raises as ``connect``."""
        with self._lock:
            self._connecting += 1
        try:
            if self._secret_first:
                self._fetch_secret()
            return self._connect(self._feed.left_s())
        except SessionError as error:
            if not patient or error.trouble.stage not in _NOT_LET_IN or self._must_end:
                raise
            self._stop.sleep(CLOSED_COUNTS_S)
            return self._connect(self._feed.left_s())
        finally:
            with self._lock:
                self._connecting -= 1

    def _wait_until_open(self, session: Session | None) -> bool:
        """Wait until a message may leave; return False when none will in this run."""
        opens_at = 0.0
        while True:
            if self._stop.requested:
                self.ending.reason, self.ending.next_at = "stopped", opens_at
                return False
            if not self._feed.has_work():
                if self._must_end:
                    # Asked to end, it looks no further.
                    self.ending.reason = "stopped" if self._stop.requested else "time limit"
                return False
            if self._feed.message_limit_reached:
                self.ending.reason = "message limit"
                return False
            monotonic = self._clock.monotonic()
            if monotonic >= self._window.sends_until:
                self.ending.reason = "time limit"
                return False
            now = self._clock.now()
            opens_at = self._feed.limits_open_at(now)
            pause_s = opens_at - now
            if pause_s <= 0:
                return True
            if monotonic + pause_s > self._window.waits_until:
                self.ending.reason, self.ending.next_at = self._feed.limit_in_the_way(), opens_at
                self._feed.put_back()
                return False
            self._window.extend_to(monotonic + pause_s + 1.0)
            # Mail that is more urgent may arrive during the pause and goes first.
            self._feed.put_back()
            if session is not None and pause_s > LONGEST_IDLE_S:
                session.quit()
            self._on_wait(opens_at)
            self._stop.sleep(min(pause_s, 1.0))
