"""The flush: one run over the queue, from the lock to the report.

    lock -> recover what a crash left -> take the drop directory -> bring back what is due -> account allowed?
         -> connect and send (``run``) -> settle, sync, report

Everything it needs is passed in: the spool, the ledger, the way to connect, the clock. It reads no configuration and
prints nothing.
"""

from __future__ import annotations

import math
import os
from functools import partial
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.delivery.account import (
    AccountState,
    after_error,
    load_account,
    may_connect_at,
    said_of,
    save_account,
    secret_mark,
    was_told,
)
from ucrmmail.delivery.ending import EX_TEMPFAIL
from ucrmmail.delivery.feed import QueueFeed
from ucrmmail.delivery.lessons import after_calm_run, after_troubled_run, lessons_of
from ucrmmail.delivery.report import MessageReport, RunReport
from ucrmmail.delivery.run import Run, Window
from ucrmmail.errors import InputOutputError, UcrmmailError
from ucrmmail.message.outcome import Result, Stage
from ucrmmail.smtp.trouble import account_trouble
from ucrmmail.spool.layout import CORRUPT
from ucrmmail.spool.moves import aside_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.concerns import Concerns
    from ucrmmail.delivery.crew import Crew
    from ucrmmail.delivery.drops import Drops
    from ucrmmail.delivery.lessons import Lessons
    from ucrmmail.delivery.log import DeliveryLog
    from ucrmmail.delivery.notices import Reporter
    from ucrmmail.delivery.schedule import Retry
    from ucrmmail.delivery.stop import Stop
    from ucrmmail.limits.ledger import Ledger
    from ucrmmail.message.outcome import Trouble
    from ucrmmail.smtp.session import Session
    from ucrmmail.spool.queue import Spool

# Without a time limit of its own, a run waits for limits as long as one that cron starts each minute may.
DEFAULT_WAIT_S = 50.0
LEAST_GRACE_S = 3.0
LONGEST_GRACE_S = 5.0
_LIES = {
    "PIPELINING": "the smarthost offers PIPELINING and fell silent, hung up or objected when it was used, so it is not "
    "used for a week: run `ucrmmail config set smtp.pipelining false` to settle it",
    "CHUNKING": "the smarthost offers CHUNKING and does not know BDAT, or answers it as it does RCPT, so it is not "
    "used for a week: run `ucrmmail config set smtp.chunking false` to settle it",
}
_LEDGER_DAMAGED = "the record of what was sent (ledger) could not be read: its limits count as used up once"
_EX_NOPERM = 77


@dataclass(frozen=True, slots=True)
class Account:
    """How to reach the smarthost, and how to tell whether that was changed since a run failed.

    ``connect(within_s)`` returns a session that is logged in, or raises SessionError with a trouble of the account; it
    ends one command's time behind these seconds, which the run has left (``inf``: no matter), at the latest.
    ``secret()`` returns what changes when a person has changed the secret: a password itself, "" when none is used; of
    an access token, which changes every hour, when the person signed in. ``fetch_secret()`` gets what ``connect()``
    logs in with, and keeps it. All are called only when there is a message to send.

    They raise UcrmmailError when there is no secret: one ``by_server`` is a trouble as a refused login is.
    """

    connect: Callable[[float], Session]
    fetch_secret: Callable[[], object]
    secret: Callable[[], str]
    settings_mark: str
    state_path: str


@dataclass(frozen=True, slots=True)
class Options:
    """What a person or cron asks of a run. ``message_limit`` 0 is none, ``time_limit_s`` 0.0 is none."""

    time_limit_s: float = 0.0
    message_limit: int = 0
    wait: bool = True
    connections: int = 1
    keep_messages: bool = False


def _nobody(_message: MessageReport) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who wants to see the run as it goes.

    ``begun(so_far)`` comes first: ``so_far()`` returns what was done until then, also when the run has raised.
    """

    settled: Callable[[MessageReport], None] = _nobody
    waiting: Callable[[str, float], None] = lambda _reason, _until: None
    begun: Callable[[Callable[[], RunReport]], None] = lambda _so_far: None


def flush(
    *,
    spool: Spool,
    drops: Drops,
    ledger: Ledger,
    account: Account,
    reporter: Reporter,
    log: DeliveryLog,
    retry: Retry,
    clock: Clock,
    stop: Stop,
    started: float,
    options: Options,
    watcher: Watcher,
    concerns: Concerns,
) -> RunReport:
    """Send what is due and may leave; the caller holds the flush lock and has recovered the spool.

    ``started``, on the monotonic clock, is when that began: the time limit counts from there.
    Returns the report; its exit code is that of ``ucrmmail flush``. Raises OSError when an outcome could not be
    recorded: the run ends before another message leaves.
    """
    counts = _Counts(options.keep_messages, watcher.settled)
    watcher.begun(counts.report)
    window = _window(started, options)
    if ledger.damaged:
        concerns.keep(_LEDGER_DAMAGED)
    feed = QueueFeed(
        spool=spool,
        ledger=ledger,
        reporter=reporter,
        log=log,
        retry=retry,
        clock=clock,
        left_s=lambda: 0.0 if stop.requested else window.sends_until - clock.monotonic(),
        message_limit=options.message_limit,
        on_settled=counts.add,
        more_came=drops.look_again,
        concerns=concerns,
        has_others=options.connections > 1,
    )
    report = RunReport()
    if feed.has_work():
        run = Run(
            feed,
            connect=account.connect,
            fetch_secret=account.fetch_secret,
            clock=clock,
            stop=stop,
            window=window,
            on_wait=lambda until: watcher.waiting(feed.limit_in_the_way(), until),
        )
        driver: Run | Crew = run
        if options.connections > 1 and feed.unlimited:
            from ucrmmail.delivery.crew import Crew  # noqa: PLC0415 # what most runs do without

            driver = Crew(
                run,
                feed,
                spool,
                fetch_secret=account.fetch_secret,
                clock=clock,
                stop=stop,
                window=window,
                on_settled=counts.add,
                watched=options.keep_messages or watcher.settled is not _nobody,
                concerns=concerns,
            )
        try:
            save = partial(save_account, account.state_path, make_room=spool.make_room)
            report = _send(driver, account, retry, clock, save=save, options=options, counts=counts)
        finally:
            feed.put_back()
        feed.conclude()
        concerns.add_once(*[_LIES[extension] for extension in sorted(driver.ending.lies)])
    spool.finish()
    ledger.close(clock.now())
    log.write()
    _tell_of_the_disk(spool, ledger, concerns)
    if not report.reason and report.trouble is None:
        # Asked to end, or out of time, it looked no further: that it found no work says nothing.
        ended = "stopped" if stop.requested else "time limit" if clock.monotonic() >= window.sends_until else ""
        if ended and spool.count_waiting():
            report = replace(report, reason=ended)
    is_whole = not (report.reason or report.trouble is not None or concerns.exit_code or feed.suspicion.left_out)
    return _whole(report, counts.report(), spool, concerns, now=clock.now(), is_whole=is_whole)


def _tell_of_the_disk(spool: Spool, ledger: Ledger, concerns: Concerns) -> None:
    """Let a person know of what the disk has lost, damaged, or refused to do."""
    if ledger.damaged:
        concerns.add(_LEDGER_DAMAGED)
    # Kept already, before they were set aside.
    concerns.add(*[aside_line(CORRUPT, name, why) for name, why in spool.corrupt])
    concerns.add(*spool.lost)
    if spool.problems:
        # What two connections met, or a run before it dealt, is told once.
        concerns.add_hourly(*dict.fromkeys(spool.problems), exit_code=InputOutputError.exit_code)


def _whole(
    report: RunReport, settled: RunReport, spool: Spool, concerns: Concerns, *, now: float, is_whole: bool
) -> RunReport:
    """Return why the run ended, with what it has ``settled`` and what it leaves: nothing where it ``is_whole``."""
    held_back = 0 if is_whole else spool.count_waiting()
    # What it had no turn for may leave at once.
    had_no_turn = held_back and report.reason in {"message limit", "time limit", "stopped"}
    due_at = now if had_no_turn else spool.next_due_at()
    return replace(
        report,
        relayed=settled.relayed,
        deferred=settled.deferred,
        failed=settled.failed,
        held_back=held_back,
        doubtful=settled.doubtful,
        next_at=report.next_at or due_at or 0.0,
        needs_person=tuple(concerns.lines),
        exit_code=report.exit_code or concerns.exit_code,
        messages=settled.messages,
    )


def _send(
    driver: Run | Crew,
    account: Account,
    retry: Retry,
    clock: Clock,
    *,
    save: Callable[[AccountState], None],
    options: Options,
    counts: _Counts,
) -> RunReport:
    """Send unless the account is deferred, and ``save`` what this run learnt of the account for the next."""
    state = load_account(account.state_path, owner=os.geteuid())
    try:
        opens_at = _account_opens_at(state, account, clock.now(), retry)
        if opens_at > clock.now():
            return RunReport(
                reason="account",
                trouble=_known(state),
                # Unless nobody could read it, or a program alone; whoever looks on is told again.
                told=bool(state.told_at),
                next_at=opens_at,
                exit_code=EX_TEMPFAIL,
            )
        lessons = lessons_of(state, now=clock.now(), settings_mark=account.settings_mark)
        trouble = _drive(driver, options.connections, lessons)
        ending = driver.ending
        # What a person may mend with another secret, or a new sign-in.
        mark = ""
        if trouble is not None and (trouble.exit_code == _EX_NOPERM or trouble.stage is Stage.SECRET):
            mark = _mark_of(account, was_refused=trouble.reply is not None)
    except UcrmmailError as error:
        # The configuration or the secret: the operator's to mend. The queue stays as it is, and the next run looks
        # again: a look on this machine costs nobody anything, and it connects to no server before that has shown more.
        return _without_pause(state, _of_error(error), account, clock.now(), save)
    now = clock.now()
    if trouble is None:
        after = after_calm_run(
            state,
            ending,
            relayed=bool(counts.relayed),
            answered=bool(counts.deferred or counts.failed) and ending.denied is None,
            now=now,
            settings_mark=account.settings_mark,
        )
        if after is not state:
            save(after)
        if ending.denied is not None and not ending.relayed:
            # Each message is deferred, and all of them for want of a login.
            return _without_pause(after, ending.denied, account, now, save)
        if ending.let_in_late is not None and not (ending.relayed or counts.deferred or counts.failed):
            # Each run would do as well, and say nothing.
            return _without_pause(after, ending.let_in_late, account, now, save)
        return RunReport(reason=ending.reason, next_at=ending.next_at)
    told = not ending.relayed and was_told(state, said_of(trouble), trouble.exit_code, now=now)
    state = after_troubled_run(
        state,
        ending,
        trouble,
        now=now,
        retry=retry,
        settings_mark=account.settings_mark,
        secret_mark=mark,
        told_at=state.told_at if told else 0.0,
    )
    save(state)
    return RunReport(
        reason="account", trouble=trouble, next_at=state.not_before, exit_code=trouble.exit_code, told=told
    )


def _drive(driver: Run | Crew, connections: int, lessons: Lessons) -> Trouble | None:
    """Send, and return the trouble of the account. Raises OSError, and UcrmmailError that is no server's."""
    try:
        driver.drive(connections, lessons)
    except UcrmmailError as error:
        if not error.by_server:
            raise
        return _of_error(error)
    return driver.ending.trouble


def _without_pause(
    state: AccountState, trouble: Trouble, account: Account, now: float, save: Callable[[AccountState], None]
) -> RunReport:
    """Return the report of a run that a setting keeps from sending."""
    told = was_told(state, said_of(trouble), trouble.exit_code, now=now)
    if not (told and state.deferred):
        after = after_error(state, trouble, now=now, settings_mark=account.settings_mark)
        save(replace(after, told_at=state.told_at if told else 0.0))
    return RunReport(reason="account", trouble=trouble, exit_code=trouble.exit_code, told=told)


def _account_opens_at(state: AccountState, account: Account, now: float, retry: Retry) -> float:
    """Return when a run may connect: a new password, or sign-in, ends the pause after a refused login or token."""
    opens_at = may_connect_at(state, now=now, max_delay_s=retry.max_delay_s, settings_mark=account.settings_mark)
    if opens_at <= now or not state.secret_mark:
        return opens_at
    try:
        mark = secret_mark(account.settings_mark, account.secret())
    except UcrmmailError:
        # A keyring that is locked at times, or a shell that lacks what cron has, shows nobody who mended it. If that
        # ended the pause, the next run would try the login that was refused, and providers lock accounts.
        return opens_at
    return opens_at if mark == state.secret_mark else now


def _mark_of(account: Account, *, was_refused: bool) -> str:
    """Return the mark of the secret, "" when it cannot be had now, but was when the login was refused.

    There is a pause then, which a new secret does not end. Raises UcrmmailError when the secret is what is missing.
    """
    try:
        return secret_mark(account.settings_mark, account.secret())
    except UcrmmailError:
        if not was_refused:
            raise
        return ""


def _window(started: float, options: Options) -> Window:
    limit_s = options.time_limit_s
    waits_s = limit_s or DEFAULT_WAIT_S
    # A limit that opens just after the run would end is waited for: cron's jitter must not cost every second run.
    grace_s = min(LONGEST_GRACE_S, max(LEAST_GRACE_S, waits_s / 10))
    waits_until = started + waits_s + grace_s if options.wait else -math.inf
    return Window(sends_until=started + limit_s if limit_s else math.inf, waits_until=waits_until)


def _of_error(error: UcrmmailError) -> Trouble:
    return account_trouble(Stage.SECRET, error.what, why=error.why, remedy=error.remedy, exit_code=error.exit_code)


def _known(state: AccountState) -> Trouble:
    """Return the trouble that an earlier run has met, with the way to try again sooner."""
    remedy = f"{state.remedy}; " if state.remedy else ""
    return account_trouble(
        Stage(state.stage) if state.stage in list(Stage) else Stage.CONNECT,
        state.what,
        why=state.why,
        remedy=f"{remedy}`ucrmmail queue retry --state deferred` ends the pause",
        exit_code=state.exit_code,
    )


class _Counts:
    """Counts messages by what became of them, and keeps them when asked."""

    def __init__(self, keep: bool, watch: Callable[[MessageReport], None]) -> None:
        self._keep = keep
        self._watch = watch
        self.relayed = self.deferred = self.failed = 0
        self.doubtful: list[str] = []
        self.messages: list[MessageReport] = []

    def add(self, message: MessageReport) -> None:
        """Count one message that was settled."""
        if message.result == Result.RELAYED.value:
            self.relayed += 1
        else:
            self.deferred += message.result == Result.DEFERRED.value
            self.failed += message.result == Result.FAILED.value
            if message.uncertain:
                self.doubtful.append(message.queue_id)
        if self._keep:
            self.messages.append(message)
        self._watch(message)

    def report(self) -> RunReport:
        """Return what was settled so far."""
        return RunReport(
            relayed=self.relayed,
            deferred=self.deferred,
            failed=self.failed,
            doubtful=tuple(self.doubtful),
            messages=tuple(self.messages),
        )
