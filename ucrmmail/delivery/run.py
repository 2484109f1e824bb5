"""One run of the flush over one or more connections: connect, submit, wait for limits, and know when to stop.

The run sleeps through a pause when that fits its time limit, else it stops and leaves the rest to the next one. What
it holds back is not failed, and costs no attempt.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field
from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.smtp.session import SessionError
from ucrmmail.smtp.submit import submit
from ucrmmail.smtp.trouble import is_of_concurrency
from ucrmmail.smtp.wire import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.feed import QueueFeed
    from ucrmmail.delivery.stop import Stop
    from ucrmmail.delivery.suspicion import Lessons
    from ucrmmail.smtp.session import Session
    from ucrmmail.smtp.transaction import End

# A login costs more than an idle connection, but servers close those that idle for minutes (RFC 5321: five).
LONGEST_IDLE_S = 90.0
# So many connections in a row that were lost without a message relayed are a trouble of the account.
LOST_CONNECTIONS = 2
# A server that takes so many messages on a connection may count it for a moment after its end.
CLOSED_COUNTS_S = 1.0
# So many in a row may end for what is on them, a recipient who does not exist or a message that is to blame: while
# nothing was relayed in the run, blame is in doubt, and MOST_IN_DOUBT holds.
EXCUSED_CONNECTIONS = 20
# So many messages may meet what is a lasting trouble of the account before it is taken for that: others are tried. It
# is less often one sender's than one recipient's.
MOST_IN_DOUBT = 5
MOST_SENDERS_IN_DOUBT = 2
EX_UNAVAILABLE = 69


@dataclass(slots=True)
class Window:
    """Until when a run may send, and until when it may wait for a limit, on the monotonic clock (``inf``: for ever)."""

    sends_until: float
    waits_until: float

    def extend_to(self, monotonic: float) -> None:
        """Let the run send until then: a limit that it waited for opens just after its end."""
        self.sends_until = max(self.sends_until, monotonic)


@dataclass(slots=True)
class Ending:
    """Why a run ended: a trouble of the account, or a limit in the way; shared by its connections.

    ``refused`` is the message at which the trouble came last, "" when it came at none, and ``sender`` who it may be
    that is refused with all his messages. ``in_doubt``: it may be the message's own, since it came there in an earlier
    run too, or each time that the server hung up. ``suspects`` are the messages at which one came that may be their
    own, and ``senders`` those of whom it may be.

    ``unconnected`` is why a connection ended that had worked before, or that was not the first one: nothing is wrong
    with the account while others go on. ``relayed``: the server took a message, or a part of one. ``denied`` is a
    refusal to relay that a login may mend.

    ``unresolved`` are the messages at whose MAIL a connection was lost, and no time was left to see who is to blame.

    ``lies`` are the extensions that the server offers and was found not to understand, ``doubted`` is one of which that
    is still open, ``refuted`` are those of which it was and that are not to blame.
    """

    trouble: Trouble | None = None
    reason: str = ""
    next_at: float = 0.0
    refused: str = ""
    sender: str = ""
    in_doubt: bool = False
    suspects: dict[str, None] = field(default_factory=dict)
    senders: set[str] = field(default_factory=set)
    unconnected: Trouble | None = None
    relayed: bool = False
    denied: Trouble | None = None
    unresolved: set[str] = field(default_factory=set)
    lies: set[str] = field(default_factory=set)
    doubted: str = ""
    refuted: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _excused: set[str] = field(default_factory=set)

    def because_of(self, trouble: Trouble, refused: str = "", *, sender: str = "", in_doubt: bool = False) -> None:
        """Remember the first trouble; one beyond doubt rather than one in doubt."""
        with self.lock:
            if self.trouble is None or (self.in_doubt and not in_doubt):
                self.trouble, self.refused, self.sender, self.in_doubt = trouble, refused, sender, in_doubt

    def resolve_unconnected(self, has_work: Callable[[], bool]) -> None:
        """Take it for a trouble of the account that the last connection could not be made anew, if it ``has_work``."""
        if self.unconnected is not None and self.trouble is None and not self.reason and has_work():
            self.because_of(self.unconnected)

    def excused(self, feed: QueueFeed) -> bool:
        """Take a trouble in doubt back if the run has relayed others: should it come again, the message is to blame.

        Returns whether it was so; never twice for the same message or sender, nor for more than some. What was relayed
        before shows nothing of an account that was blocked during the run, and the next message would be no other.
        """
        if not (self.in_doubt and feed.suspicion.progress) or {self.refused, self.sender} & self._excused - {""}:
            return False
        if len(self._excused) >= EXCUSED_CONNECTIONS:
            return False
        self._excused.update((self.refused, self.sender))
        if self.refused and self.trouble is not None and self.trouble.exit_code == EX_UNAVAILABLE:
            self.unresolved.add(self.refused)
        feed.suspicion.convict(self.refused)
        self.trouble, self.refused, self.sender, self.in_doubt = None, "", "", False
        return True


@dataclass(slots=True)
class _Losses:
    """Connections in a row that were lost with nothing relayed; the last one ``at`` the MAIL of this, "" if not.

    ``trouble`` is how the last one was lost. ``excused`` counts those that ended for what was on them.
    """

    count: int = 0
    excused: int = 0
    at: str = ""
    trouble: Trouble | None = None


class Run:
    """Drives connections over a feed until nothing is due or nothing more may leave.

    ``distrusted`` are the extensions that are not used whatever the server offers; what a connection finds is added.
    """

    def __init__(
        self,
        feed: QueueFeed,
        *,
        connect: Callable[[float], Session],
        clock: Clock,
        stop: Stop,
        window: Window,
        on_wait: Callable[[float], None],
    ) -> None:
        self.distrusted: set[str] = set()
        self._feed = feed
        self._connect = connect
        self._clock = clock
        self._stop = stop
        self._window = window
        self._on_wait = on_wait
        self._in_doubt = 0
        self.ending = Ending()

    def drive(self, connections: int, lessons: Lessons) -> None:
        """Send what is due over up to ``connections`` connections; ``ending`` then says why it stopped.

        The first connection shows that the login works before the others try; one that is refused later, anew or for
        the first time, only means that the server wants fewer, unless none is left. Raises OSError when an outcome
        could not be recorded, UcrmmailError from the secret.
        """
        self._feed.heed(lessons)
        self.doubt(lessons.distrusted, lessons.doubted)
        self._drive_all(connections)
        while self.ending.excused(self._feed):
            self._drive_all(connections)

    def _drive_all(self, connections: int) -> None:
        others: list[threading.Thread] = []

        def start_others() -> None:
            for _ in range(connections - 1 - len(others)):
                thread = threading.Thread(target=self._drive_extra, daemon=True)
                others.append(thread)
                thread.start()

        self._feed.closed = False
        self.ending.unconnected = None
        try:
            self.drive_one(start_others)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for thread in others:
                thread.join()
        if self._failure is not None:
            raise self._failure
        self.ending.resolve_unconnected(self._feed.has_work)

    _failure: BaseException | None = None

    def _drive_extra(self) -> None:
        try:
            self.drive_one(None)
        except BaseException as error:  # noqa: BLE001 # a thread's error is raised again in the main one
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Let no other connection begin a message: what becomes of it could not be recorded either."""
        self._failure = self._failure or error
        self._feed.closed = True

    def doubt(self, distrusted: Collection[str], doubted: str) -> None:
        """Go without what earlier runs found not to work, or doubt to work."""
        self.distrusted.update(distrusted, {doubted} - {""})
        self.ending.doubted = doubted

    def beside(self, feed: QueueFeed) -> Run:
        """Return the run of another process over its own feed."""
        run = Run(
            feed,
            connect=self._connect,
            clock=self._clock,
            stop=self._stop,
            window=self._window,
            on_wait=self._on_wait,
        )
        run.doubt(self.distrusted, self.ending.doubted)
        return run

    def drive_one(self, connected: Callable[[], None] | None, *, work_waits: Callable[[], bool] | None = None) -> None:
        """Send over one connection; ``connected`` is for the first one alone, and is called when its login has worked.

        ``work_waits()`` is for one that takes its messages from a line: it waits for work without taking it, so that
        none is kept from the others for as long as the connection takes; False when no more comes. Raises as ``drive``.
        """
        session: Session | None = None
        losses, without, used_up = _Losses(), frozenset[str](), False
        try:
            while self.ending.trouble is None and self._failure is None:
                if session is None and work_waits is not None and not self._must_end:
                    if not work_waits():
                        return
                    without = frozenset(self.distrusted)
                    session = self._begin(without, connected, patient=used_up)
                    if session is None:
                        return
                    connected = None
                if not self._wait_until_open(session):
                    if self.ending.reason == "time limit":
                        self._look_back(losses)
                    return
                if session is not None and not session.is_alive():
                    # Servers say good-bye to a connection that idles, some within seconds: no message is to meet that.
                    session.close()
                    session = None
                if session is None:
                    # What another connection doubts from here on, this one has not gone without.
                    without = frozenset(self.distrusted)
                    session = self._begin(without, connected, patient=used_up)
                    if session is None:
                        return
                    connected = None
                try:
                    end = submit(session, self._feed)
                finally:
                    self._feed.tell()
                used_up = end.used_up
                self._judge(end, without)
                if self._is_one_too_many(end):
                    # As at a connection that is refused: the others go on, and have its message too. Should it come
                    # there again, that is what the server means.
                    self.ending.unconnected = end.trouble
                    self.ending.suspects[end.refused] = None
                    self._feed.suspect((end.refused,))
                    self.ending.relayed |= end.relayed
                    return
                postponed, of_account = False, end.trouble is not None and end.trouble.scope is Scope.ACCOUNT
                if end.trouble is not None and of_account:
                    most = MOST_SENDERS_IN_DOUBT if end.sender else MOST_IN_DOUBT
                    # Another of the same sender was on its way already, and tells nothing new.
                    is_known = self._feed.suspicion.is_suspected(end.sender)
                    if end.trouble.kind is Kind.PERMANENT and end.refused and (is_known or self._in_doubt < most):
                        # Another message shows at once whether it is the account's; one of another sender, if need be.
                        self._in_doubt += not is_known
                        self._feed.suspect((end.refused,), sender=end.sender)
                        self.ending.suspects[end.refused] = None
                    if end.trouble.kind is Kind.PERMANENT and end.sender:
                        self.ending.senders.add(end.sender)
                    postponed = self._feed.postpone(end.refused)
                    if not postponed:
                        in_doubt = end.refused in self._feed.suspicion.suspects
                        self._end_all(end.trouble, end.refused, sender=end.sender, in_doubt=in_doubt)
                self.ending.relayed |= end.relayed
                self.ending.denied = end.denied or self.ending.denied
                most = EXCUSED_CONNECTIONS if end.decided or self.ending.relayed else MOST_IN_DOUBT
                is_excused = (end.blamed or end.decided or end.passed_over) and losses.excused < most
                if end.relayed or (is_excused and not end.passed_over):
                    at = "" if of_account or end.alive else end.refused
                    losses = _Losses(at=at, excused=0 if end.relayed else losses.excused + 1)
                elif is_excused:
                    losses.excused += 1
                if not end.alive:
                    session.close()
                    session = None
                    is_stopped = end.trouble is None and self._must_end
                    if not (end.relayed or is_excused or end.used_up or end.distrust or postponed or is_stopped):
                        # With the doubt it is tried once more: that is the one which counts.
                        self._count(losses, end)
        finally:
            if session is not None:
                session.quit()

    def _is_one_too_many(self, end: End) -> bool:
        """Return whether the server wants fewer connections at a time, and says so when it is to take a message."""
        if end.trouble is None or end.trouble.reply is None or end.trouble.stage is not Stage.MAIL:
            return False
        is_new = bool(end.refused) and end.refused not in self._feed.suspicion.suspects
        return self._feed.is_shared and not end.alive and is_new and is_of_concurrency(end.trouble.reply)

    @property
    def _must_end(self) -> bool:
        return self._stop.requested or self._clock.monotonic() >= self._window.sends_until

    def _end_all(self, trouble: Trouble, refused: str, *, sender: str = "", in_doubt: bool) -> None:
        """Let the run end for the account's trouble: every connection ends what it has in hand, and begins no more."""
        self.ending.because_of(trouble, refused, sender=sender, in_doubt=in_doubt)
        self._feed.closed = True

    def _count(self, losses: _Losses, end: End) -> None:
        """Count a connection that was lost; behind the first, another message shows whether it was this one."""
        losses.count += 1
        again, losses.at, losses.trouble = end.refused == losses.at, end.refused, end.trouble
        if losses.count >= LOST_CONNECTIONS:
            in_doubt = bool(end.refused) and again
            if end.refused:
                # The next run lets others go first: it may be these two, or their sender's all, and not the account.
                self.ending.unresolved.add(end.refused)
                self.ending.senders.update({end.sender} - {""})
            self._end_all(_connections_are_lost(losses), end.refused, in_doubt=in_doubt)
        elif end.refused:
            self._feed.suspect((end.refused,))
            self._feed.postpone(end.refused)

    def _look_back(self, losses: _Losses) -> None:
        """Remember, at the end of the time, that it was the server which took it, and would take that of each run."""
        if losses.count and not self._feed.suspicion.progress:
            self.ending.because_of(_connections_are_lost(losses), losses.at, in_doubt=True)
        elif losses.at:
            self.ending.unresolved.add(losses.at)

    def _judge(self, end: End, without: frozenset[str]) -> None:
        """Learn from a round which extensions the server does not understand: mail that goes without is the proof."""
        ending = self.ending
        if end.distrust:
            self.distrusted.add(end.distrust)
            if end.distrust == "CHUNKING":
                # It said so itself.
                ending.lies.add(end.distrust)
            elif not end.passing:
                ending.doubted = end.distrust
        elif (doubted := ending.doubted) in without:
            if end.relayed:
                ending.lies.add(doubted)
                ending.doubted = ""
            elif not end.alive:
                # It was not that, and others may go as they were offered.
                ending.refuted.add(doubted)
                self.distrusted.discard(doubted)
                ending.doubted = ""

    def _begin(self, without: frozenset[str], connected: Callable[[], None] | None, *, patient: bool) -> Session | None:
        """Connect, and log in; None when the run is over for this connection. ``patient``: it is asked twice."""
        try:
            session = self._connect(self._feed.left_s())
        except SessionError as error:
            if patient and error.trouble.stage is Stage.GREETING and not self._must_end:
                self._stop.sleep(CLOSED_COUNTS_S)
                return self._begin(without, connected, patient=False)
            if connected is not None:
                self.ending.because_of(error.trouble)
            else:
                self.ending.unconnected = error.trouble
        except StoppedError:
            self.ending.reason = "stopped"
        else:
            session.do_without(without)
            if connected is not None:
                connected()
            return session
        return None

    def _wait_until_open(self, session: Session | None) -> bool:
        """Wait until a message may leave; return False when none will in this run."""
        while True:
            if self._stop.requested:
                self.ending.reason = "stopped"
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


def _connections_are_lost(losses: _Losses) -> Trouble:
    trouble = losses.trouble
    what = "the smarthost keeps closing the connection" if losses.count > 1 else "the connection was lost"
    return Trouble(
        scope=Scope.ACCOUNT,
        kind=Kind.TRANSIENT,
        stage=trouble.stage if trouble is not None else Stage.CONNECT,
        what=f"{what}: {trouble.what}" if trouble is not None else what,
        remedy="run `ucrmmail test-connection`; nothing was lost, the next run tries again",
        reply=trouble.reply if trouble is not None else None,
        exit_code=EX_UNAVAILABLE,
    )
