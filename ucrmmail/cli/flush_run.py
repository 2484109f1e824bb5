"""One flush as a command: under its lock, with the real parts, and shown as it was asked for."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ucrmmail.cli.invocation import Invocation
from ucrmmail.cli.quick import BUSY, CHECKED_CONFIG, config_stamp, taken_lock, was_set_back
from ucrmmail.config.location import LAST_FLUSH
from ucrmmail.config.submission import refuse_missing
from ucrmmail.dataclass import replace
from ucrmmail.delivery.report import RunReport
from ucrmmail.errors import InputOutputError, UcrmmailError, from_os_error
from ucrmmail.files import Locked
from ucrmmail.output import human
from ucrmmail.spool.layout import make_spool
from ucrmmail.streams import StandardOutput

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.cli.flush_request import FlushRequest
    from ucrmmail.cli.runtime import FlushParts
    from ucrmmail.config.load import Config
    from ucrmmail.delivery.flush import Watcher
    from ucrmmail.message.outcome import Trouble

# A server that loses whole queues behind their dots is told otherwise; what is kept here is looked at each time.
_MOST_DOUBTFUL = 1000


def run_flush(request: FlushRequest, *, busy: bool = False) -> int:
    """Flush, show what came of it, and return the exit code; ``busy``: another that sends was seen already.

    Raises UcrmmailError, OSError.
    """
    called = Invocation(request.config_option)
    refuse_missing(called.location())
    readers: list[Callable[[], None]] = []
    try:
        report, was_told = _busy() if busy else _flush(request, called, called.config(), readers)
    finally:
        _wait_for(readers)
    told = _tell(report, as_json=request.as_json)
    if told:
        was_told()
    if not request.as_json and (request.verbose or human.on_terminal(stderr=True)):
        _sum_up(report)
    if not told and report.needs_person and not report.exit_code:
        raise InputOutputError(
            "what a person has to know of this run could not be written", remedy="the next run tells it again"
        )
    return report.exit_code


def _wait_for(readers: list[Callable[[], None]]) -> None:
    """Wait for those who read what the run has said; others may send meanwhile, and a signal ends this at once."""
    from ucrmmail.delivery.stop import end_at_once

    end_at_once()  # a run that has failed, too
    for catch_up in readers:
        with suppress(OSError):  # standard output remembers it
            catch_up()


def _busy() -> tuple[RunReport, Callable[[], None]]:
    return RunReport(reason=BUSY), lambda: None


def _flush(
    request: FlushRequest, called: Invocation, config: Config, readers: list[Callable[[], None]]
) -> tuple[RunReport, Callable[[], None]]:
    """Run the flush under its lock, with the real clock, network and secret.

    Returns its report, and what to call when all in it that needs a person was written. Adds to ``readers`` what waits
    for those who have not read all that was said, which must be behind the lock.
    """
    directory = config.text("spool.directory")
    make_spool(directory)
    try:
        return _flush_here(request, called, config, readers)
    except (UcrmmailError, OSError) as error:
        # A program, and whoever looks on, is told each time.
        if request.as_json or request.verbose or human.on_terminal(stderr=True):
            raise
        return _not_begun(directory, error)


def _not_begun(directory: str, error: UcrmmailError | OSError) -> tuple[RunReport, Callable[[], None]]:
    """Return the same for a run that could not begin, as each one could not: it is told once an hour."""
    from ucrmmail.delivery.hourly import remember, were_told

    told = error if isinstance(error, UcrmmailError) else from_os_error(error)
    report = RunReport(
        trouble=_of_the_queue(told), exit_code=told.exit_code, told=were_told(directory, [told.what], now=time.time())
    )

    def was_told() -> None:
        if not report.told:
            with suppress(OSError):  # then it is told once more
                remember(directory, [told.what], now=time.time())

    return report, was_told


def _of_the_queue(error: UcrmmailError) -> Trouble:
    from ucrmmail.message.outcome import Stage
    from ucrmmail.smtp.trouble import account_trouble

    return account_trouble(Stage.QUEUE, error.what, why=error.why, remedy=error.remedy, exit_code=error.exit_code)


def _flush_here(
    request: FlushRequest, called: Invocation, config: Config, readers: list[Callable[[], None]]
) -> tuple[RunReport, Callable[[], None]]:
    """Do as `_flush` in a spool that is there, and ours. Raises UcrmmailError, OSError when the run cannot begin."""
    directory = config.text("spool.directory")
    lock = f"{directory}/lock"
    with Locked(lock, wait=False, fd=taken_lock(lock)) as obtained:
        if not obtained:
            return _busy()
        # What follows is a third of the start, and not for one that finds the lock taken.
        from ucrmmail.cli.runtime import account_path, flush_parts, warner_of
        from ucrmmail.delivery.account import remember_told
        from ucrmmail.delivery.flush import Options
        from ucrmmail.delivery.hourly import remember, were_told
        from ucrmmail.delivery.stop import end_at_once
        from ucrmmail.spool.host import claim_host

        claim_host(directory)
        stamp = config_stamp(called.location().path)
        options = Options(
            time_limit_s=request.time_limit_s,
            message_limit=request.message_limit,
            wait=request.wait,
            keep_messages=request.as_json,
            connections=config.integer("smtp.connections"),
        )
        parts = flush_parts(config, options, set_back=was_set_back(directory, time.time()))
        on_terminal = human.on_terminal(stderr=True) and not request.as_json
        verbose = request.verbose and not request.as_json
        report = _watched(parts, readers, verbose=verbose, on_terminal=on_terminal)
        warner = warner_of(config)
        if warner is not None:
            warner.look(report.trouble, now=time.time())
        try:
            _keep(directory, stamp, report)
        except OSError:
            pass  # a full disk: what the run has to tell is worth more
        kept = parts.concerns.recall()
        hourly = parts.concerns.hourly
        # A program, and whoever looks on, is told each time.
        watched = request.as_json or human.on_terminal(stderr=True)
        hushed = not watched and were_told(directory, hourly, now=time.time())
        if hushed and _was_cut_short(report):
            report = replace(report, told=True)
        left_out = set(hourly) if hushed else ()
        report = replace(report, needs_person=tuple(line for line in parts.concerns.lines if line not in left_out))
        # Who finds the lock free finds a process that a signal ends.
        end_at_once()

    def was_told() -> None:
        with suppress(OSError):  # then it is told once more
            if kept is not None and parts.concerns.untold is not None:
                parts.concerns.untold.forget(kept)
            # What a run that sends meets, one that has nothing to send does not: it shows nothing mended.
            has_sent = report.relayed or report.deferred or report.failed
            if not (hushed or request.as_json) and (hourly or has_sent):
                remember(directory, hourly, now=time.time())
            if report.trouble is None or report.told or request.as_json:
                return
            with Locked(lock, wait=False) as obtained:
                if obtained:
                    remember_told(account_path(config), report.trouble, now=time.time(), owner=os.geteuid())

    return report, was_told


def _watched(parts: FlushParts, readers: list[Callable[[], None]], *, verbose: bool, on_terminal: bool) -> RunReport:
    """Run the flush with whatever the person wants to see of it."""
    from ucrmmail.delivery.flush import Watcher
    from ucrmmail.output.run_report import RunProgress, say_message

    if verbose:
        if isinstance(sys.stdout, StandardOutput):
            readers.append(_never_wait_on(sys.stdout))
        return _run(parts, Watcher(settled=say_message))
    waiting = parts.spool.count_waiting() if on_terminal else 0
    if not waiting:
        return _run(parts, Watcher())
    progress = RunProgress(waiting)
    readers.append(progress.finish)
    progress.start()
    try:
        return _run(parts, Watcher(settled=progress.settled, waiting=progress.waiting))
    finally:
        progress.stop()


def _never_wait_on(output: StandardOutput) -> Callable[[], None]:
    """Let no line of ``-v`` wait for its reader; return what waits for him."""
    from ucrmmail.reader import SlowReader

    reader = SlowReader(output.fileno())
    output.never_wait(reader)

    def catch_up() -> None:
        output.wait_again()
        if reader.left_out:
            human.say(f"{reader.left_out} lines were left out here, since nobody had read those before them")

    return catch_up


def _run(parts: FlushParts, watcher: Watcher) -> RunReport:
    """Run the flush. One that the disk has ended has a report too: what it sent is in no other. Raises OSError."""
    begun: list[Callable[[], RunReport]] = []
    try:
        return parts.run(replace(watcher, begun=begun.append))
    except OSError as error:
        if not begun:
            raise
        return _cut_short(begun[0](), parts, error)


def _cut_short(report: RunReport, parts: FlushParts, error: OSError) -> RunReport:
    """Return the report of a run that an error has ended."""
    from ucrmmail.spool.listing import counts

    told = from_os_error(error)
    waiting = 0
    try:
        parts.spool.abandon()
        waiting = counts(parts.spool.directory).waiting
    except OSError:
        pass  # what has ended the run may keep us from counting
    # Whichever file it was: each run may meet another one.
    parts.concerns.hourly.append(error.strerror or str(error))
    return replace(
        report,
        held_back=waiting,
        trouble=_of_the_queue(told),
        exit_code=told.exit_code,
        needs_person=tuple(parts.concerns.lines),
    )


def _was_cut_short(report: RunReport) -> bool:
    from ucrmmail.message.outcome import Stage

    return report.trouble is not None and report.trouble.stage is Stage.QUEUE


def _keep(directory: str, stamp: str, report: RunReport) -> None:
    """Keep what the next runs and ``status`` want to know: that this configuration is sound, and what was done."""
    from ucrmmail.cli.last_flush import doubtful_in
    from ucrmmail.files import replace_file
    from ucrmmail.output.run_report import last_flush_line

    doubtful = dict.fromkeys([*doubtful_in(directory), *report.doubtful])
    replace_file(f"{directory}/{CHECKED_CONFIG}", stamp.encode("utf-8", "surrogateescape"), durable=False)
    now = time.time()
    line = last_flush_line(report, list(doubtful)[-_MOST_DOUBTFUL:], now)
    replace_file(f"{directory}/{LAST_FLUSH}", line.encode(), durable=False)
    # By our clock, not by that of a file server.
    os.utime(f"{directory}/{LAST_FLUSH}", (now, now))


def _tell(report: RunReport, *, as_json: bool) -> bool:
    """Print what came of the run; return whether what needs a person was written to where one may read it."""
    from ucrmmail.output import machine, run_report

    if not as_json:
        return run_report.tell_person(report)
    machine.print_document(run_report.run_document(report))
    return not (isinstance(sys.stdout, StandardOutput) and (sys.stdout.goes_nowhere or sys.stdout.trouble()))


def _sum_up(report: RunReport) -> None:
    from ucrmmail.output.run_report import summary

    human.say(summary(report))
