"""The queue as the SMTP client sees it: hand out the next message that may leave, take back what became of it.

Here the spool, the limits and the client meet; whose turn it is, `turns` and `suspicion` know. The order of the calls
is what keeps mail from being lost, sent twice, or sent beyond a limit:

    ready():   claim -> limits open? -> room for the record -> reserve (durable) -> the message may leave
    settle():  the spool records the outcome -> the limits count it -> failures are reported -> only then the next body
    idle():    while the server works on that body: log and counts of what was relayed a moment ago, the next claim
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.delivery.apart import is_alone, is_over, may_pass_over, turn_of
from ucrmmail.delivery.opening import beginning_of, report_failures
from ucrmmail.delivery.report import HELD_BACK
from ucrmmail.delivery.room import Room
from ucrmmail.delivery.settlement import after_attempt, forgotten, given_up_besides, result_of, told, unreported
from ucrmmail.delivery.suspicion import Suspicion
from ucrmmail.delivery.telling import Teller
from ucrmmail.delivery.turns import Turns
from ucrmmail.errors import InputOutputError, TemporaryError
from ucrmmail.message.outcome import Outcome, Result
from ucrmmail.smtp.transaction import (
    ALIKE,
    LOST,
    LOST_AT_MAIL,
    NO_MARKS,
    ONCE,
    QUOTA,
    Marks,
    Transaction,
    kind_of,
    sender_of,
)
from ucrmmail.smtp.trouble import CLOSING
from ucrmmail.spool.unrecorded import UnrecordedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.concerns import Concerns
    from ucrmmail.delivery.lessons import Lessons
    from ucrmmail.delivery.log import DeliveryLog
    from ucrmmail.delivery.notices import Reporter
    from ucrmmail.delivery.report import MessageReport
    from ucrmmail.delivery.schedule import Retry
    from ucrmmail.limits.ledger import Ledger, Reservation
    from ucrmmail.spool.claimed import Claimed
    from ucrmmail.spool.queue import Spool
    from ucrmmail.spool.state import MessageState

# Outcomes are brought to the disk together, at the most this often (reliability: "what is synced when").
SYNC_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class _Work:
    claimed: Claimed
    reservation: Reservation


class QueueFeed:
    """Hands out transactions under the limits and settles them; shared by all connections of a run.

    ``left_s()`` is for how many seconds the run may begin another message: none when it was asked to stop, ``inf``
    without a time limit. ``due()`` names what was dealt to a process beside others; without it the queue is asked.
    ``more_came()`` looks whether mail has come into the queue that may be more urgent.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        ledger: Ledger,
        reporter: Reporter,
        log: DeliveryLog,
        retry: Retry,
        clock: Clock,
        left_s: Callable[[], float],
        message_limit: int,
        on_settled: Callable[[MessageReport], None],
        concerns: Concerns,
        due: Callable[[], Iterator[str]] | None = None,
        more_came: Callable[[], bool] = lambda: False,
        suspicion: Suspicion | None = None,
        on_synced: Callable[[], None] = lambda: None,
        has_others: bool = False,
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._reporter = reporter
        self._log = log
        self._teller = Teller(log, on_settled)
        self._retry = retry
        self._clock = clock
        self._left_s = left_s
        self._message_limit = message_limit
        self._on_synced = on_synced
        self._concerns = concerns
        self.more_came = more_came
        # Whether what is refused here, or waits for a slow answer, may go over another connection in this round.
        self.has_others = has_others
        self.suspicion = suspicion or Suspicion()
        self._turns = Turns(spool, self.suspicion, clock, left_s=left_s, due=due)
        self._lock = threading.RLock()
        self._open: dict[str, _Work] = {}
        self._room = Room(spool)
        self._synced_at = clock.monotonic()
        self._unsynced = False
        # Messages that this run has begun, as far as there is a limit for them, and those that wait for another part.
        self._begun: set[str] = set()
        self._in_parts: set[str] = set()
        # Nothing more leaves on any connection: the account is in trouble.
        self.closed = False

    @property
    def unlimited(self) -> bool:
        """Whether messages need not ask one another when they may leave."""
        return not (self._ledger.limited or self._message_limit)

    def beside(
        self,
        spool: Spool,
        number: int,
        *,
        due: Callable[[], Iterator[str]],
        on_settled: Callable[[MessageReport], None],
        on_synced: Callable[[], None],
        concerns: Concerns,
    ) -> QueueFeed:
        """Return the feed of the process of this ``number`` over ``spool``, for an ``unlimited`` run.

        ``on_synced()`` is called whenever what was settled is on the disk and stands where it belongs.
        """
        return QueueFeed(
            spool=spool,
            ledger=self._ledger,
            reporter=self._reporter,
            log=self._log,
            retry=self._retry,
            clock=self._clock,
            left_s=self._left_s,
            message_limit=0,
            on_settled=on_settled,
            concerns=concerns,
            due=due,
            suspicion=self.suspicion.copy(number),
            on_synced=on_synced,
            has_others=self.has_others,
        )

    @property
    def awaits_proof(self) -> bool:
        """Whether what becomes of the message on the wire decides whose turn is next."""
        return self._turns.has_aside and self.suspicion.awaits_proof

    @property
    def holds_work(self) -> bool:
        """Whether a message is in hand already, or was set aside, that nobody else will send meanwhile."""
        return self._turns.holds_work

    def has_work(self) -> bool:
        """Return whether a message is due and could be claimed, whatever the limits say."""
        with self._lock:
            return self._look() is not None

    def _look(self) -> Claimed | None:
        if self.more_came():
            self._turns.put_back()
            self._turns.ask_anew()
        return self._turns.look(others_are_out=bool(self._open))

    def put_back(self) -> None:
        """Let go of a message that was claimed ahead, so that a more urgent one can come before it.

        All that was settled has been told then, stands in the log, and is on the disk: what follows may be a pause.
        """
        with self._lock:
            self.tell()
            if self._unsynced:
                self._sync()
            self._log.write()
            self._turns.put_back()

    def limits_open_at(self, now: float) -> float:
        """Return when the message that is next may leave, ``now`` if at once; ``has_work()`` comes first."""
        with self._lock:
            return self._ledger.earliest(now, self._amount(self._turns.next, now))

    def limit_in_the_way(self) -> str:
        """Return which limit the next message waits for: "throttler" or "antiflood"."""
        with self._lock:
            now = self._clock.now()
            return self._ledger.in_the_way(now, self._amount(self._turns.next, now)) or "throttler"

    @property
    def message_limit_reached(self) -> bool:
        """Whether this run has begun as many messages as it may, and the next one is none of them."""
        if not self._message_limit or len(self._begun) < self._message_limit:
            return False
        return self._turns.next is None or self._turns.next.queue_id not in self._in_parts

    def ready(self) -> Transaction | None:
        """Return the next message, reserved and ready to leave, or None when none may leave right now.

        A large mailing that finds no room for the record of what becomes of it waits for another run, and lets the next
        message go. Raises OSError when none finds any.
        """
        with self._lock:
            if self.closed or self.left_s() <= 0:
                return None
            claimed = self._look()
            if claimed is None or self.message_limit_reached:
                return None
            now = self._clock.now()
            turn = turn_of(claimed.state)
            amount = self._ledger.part(now, len(turn))
            if self._ledger.earliest(now, amount) > now:
                return None
            if not self._room.is_there_for(claimed):
                self._turns.take()
                self._spool.leave_out(claimed)
                return self.ready()
            reservation = self._ledger.reserve(now, amount)
            self._turns.take()
            if self._message_limit:
                self._begun.add(claimed.queue_id)
            self._open[claimed.queue_id] = _Work(claimed, reservation)
            return Transaction(
                queue_id=claimed.queue_id,
                reverse_path=claimed.reverse_path,
                recipients=turn[:amount],
                size_bytes=claimed.size_bytes,
                eight_bit=claimed.eight_bit,
                utf8=claimed.utf8,
                chunks=claimed.chunks,
                may_pass_over=may_pass_over(claimed.state, has_relayed=bool(self.suspicion.progress)),
                is_alone=is_alone(claimed.state),
                blamed=claimed.state.blamed,
            )

    def left_s(self) -> float:
        """Return for how many seconds more the run may begin a message."""
        return self._left_s()

    def heed(self, lessons: Lessons) -> None:
        """Let what earlier runs have learnt decide whose turn it is."""
        with self._lock:
            self.suspicion.in_trouble, self.suspicion.passes_over = lessons.in_trouble, lessons.passes_over
            self.suspicion.was_over_quota.update(lessons.over_quota)
            if lessons.in_trouble:
                self._turns.put_back()
            self.suspect(lessons.suspects)
            self.suspect(lessons.lost, hung_up=True, others_first=True)
            for sender in lessons.senders:
                self.suspicion.suspect_sender(sender)
            if lessons.senders:
                self._turns.set_suspect_aside()

    def suspect(
        self, queue_ids: Collection[str], *, sender: str = "", hung_up: bool = False, others_first: bool = False
    ) -> None:
        """Take these for what may be to blame, and all of this ``sender``; with ``others_first`` they are postponed.

        ``hung_up``: the server did so at them, or was silent.
        """
        with self._lock:
            self.suspicion.suspects.update(queue_ids)
            if hung_up:
                self.suspicion.lost.update(queue_ids)
            self.suspicion.suspect_sender(sender)
            if others_first and queue_ids:
                self.suspicion.postpone(queue_ids)
                self._turns.set_suspect_aside()

    def postpone(self, queue_id: str) -> bool:
        """Let other messages go before a suspect, which shows who is to blame; False when there are none."""
        with self._lock:
            if queue_id not in self.suspicion.suspects:
                return False
            self.suspicion.postpone((queue_id,))
            # While it was searched for others, some may have gone over other connections.
            return self._turns.let_others_first() or bool(self._open) or self.suspicion.is_to_blame(queue_id)

    def idle(self) -> None:
        """Tell of what was relayed, and open and check what comes next, while the server is at work on a message."""
        with self._lock:
            self.tell()
            if not (self.has_others or self.message_limit_reached) and self.left_s() > 0:
                self.has_work()

    def unused(self, transaction: Transaction) -> None:
        """Take back a message that never left, for reasons not its own: nothing is counted, no attempt is lost."""
        with self._lock:
            work = self._open.pop(transaction.queue_id)
            self._ledger.refund(work.reservation)
            self._spool.release(work.claimed)
            if transaction.queue_id not in self._in_parts:
                self._begun.discard(transaction.queue_id)
            # Behind the one that was claimed ahead it would be lost with the next connection, for the same reason.
            self._turns.go_on_with(transaction.queue_id)

    def settle(self, transaction: Transaction, outcomes: tuple[Outcome, ...], marks: Marks = NO_MARKS) -> None:
        """Record what became of a message, or of a part. Raises OSError when it cannot be: the run must end then.

        What is known of it is logged and counted all the same.
        """
        with self._lock:
            work = self._open.pop(transaction.queue_id)
            now = self._clock.now()
            claimed = work.claimed
            state = after_attempt(
                claimed.state,
                outcomes,
                queue_id=claimed.queue_id,
                now=now,
                retry=self._retry,
                marks=marks,
                is_over=is_over(transaction, outcomes, late=marks.late),
            )
            if marks.blamed:
                self._learn(transaction, outcomes, state, marks.blamed)
            is_part = bool(state.pending) and not state.next_attempt_at
            # Settled, it may be closed already.
            # Who failed in a part is reported with the others, when the attempt is over; or by the next run.
            to_report = not is_part and bool(unreported(state))
            original = beginning_of(claimed) if to_report else b""
            try:
                self._spool.settle(claimed, state)
                self._unsynced = True
                self._count(work, outcomes, now, is_part=is_part)
            except OSError as error:
                self._tell_last(claimed, outcomes, state, now, error)
                raise
            if state.relayed and not self._sync_is_due:
                # The connection is idle until the next body leaves, and that is soon: messages are quick now.
                self._teller.relayed(claimed, outcomes, now)
                return
            self.tell()
            if is_part:
                if self._message_limit:
                    self._in_parts.add(claimed.queue_id)
                self._teller.part(claimed, outcomes, now)
                self._turns.go_on_with(claimed.queue_id)
            else:
                self._tell_settled(claimed, outcomes, state, now)
            if to_report:
                report_failures(
                    self._spool, claimed, state, self._reporter, original=original, now=now, concerns=self._concerns
                )
            # Never while a body is on the wire: a disk that refuses could not take down what becomes of it either.
            if self._sync_is_due:
                self._sync()

    def _learn(self, transaction: Transaction, outcomes: tuple[Outcome, ...], state: MessageState, blamed: str) -> None:
        """Remember what a message was found to be to blame for: more of its kind, or of its sender, may come."""
        deferred = [outcome for outcome in outcomes if outcome.result is Result.DEFERRED]
        if deferred and blamed not in (LOST, LOST_AT_MAIL):
            kind = kind_of(deferred[-1].stage, deferred[-1].reply)
            self.suspicion.blame(kind, is_proved=blamed != ALIKE)
        if blamed in (QUOTA, ONCE) and not any(one.result == Result.RELAYED for one in state.recipients):
            # The rest of his would be refused as well; where others got this one, it was said of a recipient.
            self.suspicion.leave_out(transaction.sender)
            self._turns.leave_out()
        elif blamed == str(CLOSING):
            self.suspicion.count_closed(transaction.sender, transaction.queue_id)
            self._turns.leave_out()

    def _count(self, work: _Work, outcomes: tuple[Outcome, ...], now: float, *, is_part: bool) -> None:
        """Count under the limits what was relayed, or may have been. Raises OSError."""
        counted = [outcome for outcome in outcomes if outcome.result is Result.RELAYED or outcome.uncertain]
        if not counted:
            self._ledger.refund(work.reservation)
            return
        doubt = all(outcome.uncertain for outcome in counted)
        self._ledger.confirm(work.reservation, now, len(counted), uncertain=doubt)
        # What is in parts has shown nothing of others: it may be to blame for what happens at its next one.
        if not (doubt or is_part):
            self.suspicion.count_relayed(sender_of(work.claimed.reverse_path))

    def _tell_last(
        self, claimed: Claimed, outcomes: tuple[Outcome, ...], state: MessageState, now: float, error: OSError
    ) -> None:
        """Tell of the message at which the disk ends the run: of one without a record, no run will know more."""
        self.tell()
        stays = bool(state.pending) and not state.next_attempt_at
        if isinstance(error, UnrecordedError):
            stays = not (state.relayed and error.is_kept)
            if not error.is_kept:
                outcomes = forgotten(outcomes)
        if stays:
            self._teller.settled(claimed, outcomes, now, HELD_BACK)
        else:
            self._tell_settled(claimed, outcomes, state, now)

    def _tell_settled(self, claimed: Claimed, outcomes: tuple[Outcome, ...], state: MessageState, now: float) -> None:
        outcomes = (*told(outcomes, state), *given_up_besides(outcomes, claimed.state, state))
        self._teller.settled(claimed, outcomes, now, result_of(state), state.next_attempt_at)

    def tell(self) -> None:
        """Log and count what was relayed and waits for it: when a connection ends, however it ends."""
        with self._lock:
            self._teller.tell()

    def conclude(self) -> None:
        """Tell what is known at the end alone: what a limit holds back in part, or a disk, and what the log lacks."""
        self._teller.conclude()
        if self._room.complaints:
            self._concerns.add_hourly(*self._room.complaints, exit_code=TemporaryError.exit_code)
        if self._log.complaint:
            # The next run meets the same, but these lines are missing for good.
            self._concerns.keep(self._log.complaint)
            self._concerns.add_hourly(self._log.complaint, exit_code=InputOutputError.exit_code)

    def _amount(self, claimed: Claimed | None, now: float) -> int:
        """Return to how many recipients the next transaction goes, 1 when there is none."""
        return 1 if claimed is None else self._ledger.part(now, len(turn_of(claimed.state)))

    @property
    def _sync_is_due(self) -> bool:
        return self._clock.monotonic() - self._synced_at >= SYNC_INTERVAL_S

    def _sync(self) -> None:
        # A sync that failed is not tried again as if it had not.
        self._unsynced = False
        try:
            self._spool.sync()
        finally:
            self._log.write()
        self._on_synced()
        self._synced_at = self._clock.monotonic()
