"""``ucrmmail flush``: what cron runs every minute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import Invocation, JsonOption, invocation
from ucrmmail.cli.quick import CHECKED_CONFIG, LAST_FLUSH, config_stamp, taken_lock
from ucrmmail.errors import UsageError
from ucrmmail.output import human
from ucrmmail.units import parse_duration

if TYPE_CHECKING:
    from ucrmmail.cli.runtime import FlushParts
    from ucrmmail.config.load import Config
    from ucrmmail.delivery.flush import Options
    from ucrmmail.delivery.report import RunReport

EXAMPLES = """\b
Examples:
  ucrmmail flush                      # send what is due
  ucrmmail flush --dry-run            # show what would go, in which order, and when
  ucrmmail flush --no-wait --json     # leave at once when a limit is in the way
In cron:
  * * * * *  ucrmmail flush --time-limit 50s"""


def flush(
    context: typer.Context,
    time_limit: Annotated[
        str, typer.Option("--time-limit", metavar="DURATION", help="Begin no message after this time, such as 50s.")
    ] = "",
    message_limit: Annotated[
        int, typer.Option("--message-limit", metavar="N", min=0, help="Send at most N messages (0: no limit).")
    ] = 0,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Sleep through pauses that fit the time limit, or leave at once."),
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing: show what would go, and when.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Print a line for each recipient.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send what is queued, within the limits. Silent unless something needs a person."""
    from ucrmmail.delivery.flush import Options

    called = invocation(context)
    config = called.config()
    options = Options(
        time_limit_s=_time_limit(time_limit),
        message_limit=message_limit,
        wait=wait,
        keep_messages=as_json,
        connections=config.integer("smtp.connections"),
    )
    if dry_run:
        _dry_run(config, options, as_json=as_json)
        return
    report = _flush(called, config, options, verbose=verbose, quiet=as_json)
    _show(report, verbose=verbose, as_json=as_json)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _time_limit(text: str) -> float:
    if not text:
        return 0.0
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--time-limit: {error}", remedy="such as --time-limit 50s") from None
    if seconds <= 0:
        raise UsageError("--time-limit: must be more than 0", remedy="leave it out for no limit")
    return seconds


def _flush(called: Invocation, config: Config, options: Options, *, verbose: bool, quiet: bool) -> RunReport:
    """Run the flush under its lock, with the real clock, network and secret."""
    from ucrmmail.cli.runtime import flush_parts
    from ucrmmail.delivery.report import RunReport
    from ucrmmail.files import Locked
    from ucrmmail.spool.host import claim_host
    from ucrmmail.spool.layout import make_spool

    directory = config.text("spool.directory")
    make_spool(directory)
    lock = f"{directory}/lock"
    with Locked(lock, wait=False, fd=taken_lock(lock)) as obtained:
        if not obtained:
            return RunReport(reason="another flush is running")
        claim_host(directory)
        stamp = config_stamp(called.location().path)
        parts = flush_parts(config, options)
        on_terminal = human.on_terminal(stderr=True) and not quiet
        report = _watched(parts, verbose=verbose and not quiet, on_terminal=on_terminal)
        _keep(directory, stamp, report)
        return report


def _watched(parts: FlushParts, *, verbose: bool, on_terminal: bool) -> RunReport:
    """Run the flush with whatever the person wants to see of it."""
    from ucrmmail.delivery.flush import Watcher
    from ucrmmail.output.run_report import RunProgress, say_message

    if verbose:
        return parts.run(Watcher(settled=say_message))
    if not on_terminal:
        return parts.run(Watcher())
    progress = RunProgress(parts.spool.count_waiting())
    progress.start()
    try:
        return parts.run(Watcher(settled=progress.settled, waiting=progress.waiting))
    finally:
        progress.stop()


def _keep(directory: str, stamp: str, report: RunReport) -> None:
    """Keep what the next runs and ``status`` want to know: that this configuration is sound, and what was done."""
    from ucrmmail.files import replace_file
    from ucrmmail.output.run_report import last_flush_line

    replace_file(f"{directory}/{CHECKED_CONFIG}", stamp.encode("utf-8", "surrogateescape"), durable=False)
    replace_file(f"{directory}/{LAST_FLUSH}", last_flush_line(report).encode(), durable=False)


def _show(report: RunReport, *, verbose: bool, as_json: bool) -> None:
    from ucrmmail.output import machine, run_report

    if as_json:
        machine.print_document(run_report.run_document(report))
        return
    run_report.tell_person(report)
    if verbose or human.on_terminal(stderr=True):
        human.say(run_report.summary(report))


def _dry_run(config: Config, options: Options, *, as_json: bool) -> None:
    """Show what would go, in which order and when, if each message took no time."""
    from ucrmmail.cli.runtime import rules_of
    from ucrmmail.delivery.forecast import forecast
    from ucrmmail.limits.ledger import read_boot_id
    from ucrmmail.output.forecast import show_forecast

    show_forecast(
        forecast(
            config.text("spool.directory"),
            rules_of(config),
            now=time.time(),
            boot_id=read_boot_id(),
            message_limit=options.message_limit,
        ),
        as_json=as_json,
    )
