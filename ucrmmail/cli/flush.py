"""``ucrmmail flush``, as Typer reads it; the plain forms come in through ``flush_request``."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.flush_request import FlushRequest, read_time_limit
from ucrmmail.cli.flush_run import run_flush
from ucrmmail.config.submission import refuse_missing
from ucrmmail.errors import InputOutputError

if TYPE_CHECKING:
    from ucrmmail.config.load import Config
    from ucrmmail.spool.unread import Unread

EXAMPLES = """\b
Examples:
  ucrmmail flush                      # send what is due
  ucrmmail flush --dry-run            # what would go, and when
  ucrmmail flush --no-wait --json     # do not wait for a limit
In cron:
  * * * * *  ucrmmail flush --time-limit 50s"""


def flush(
    context: typer.Context,
    time_limit: Annotated[
        str | None,
        typer.Option("--time-limit", metavar="DURATION", help="Begin no message after this time, such as 50s."),
    ] = None,
    message_limit: Annotated[
        int, typer.Option("--message-limit", metavar="N", min=0, help="Begin at most N messages (0: no limit).")
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
    called = invocation(context)
    request = FlushRequest(
        called.config_option,
        time_limit_s=read_time_limit(time_limit),
        message_limit=message_limit,
        wait=wait,
        verbose=verbose,
        as_json=as_json,
    )
    if dry_run:
        refuse_missing(called.location())
        _dry_run(called.config(), message_limit, as_json=as_json)
        return
    exit_code = run_flush(request)
    if exit_code:
        raise typer.Exit(exit_code)


def _dry_run(config: Config, message_limit: int, *, as_json: bool) -> None:
    """Show what would go, in which order and when, if each message took no time."""
    from ucrmmail.cli.quick import was_set_back
    from ucrmmail.cli.runtime import account_opens_at, rules_of
    from ucrmmail.delivery.forecast import forecast
    from ucrmmail.limits.ledger import read_boot_id
    from ucrmmail.output.forecast import show_forecast
    from ucrmmail.spool.intake import count_drops
    from ucrmmail.spool.layout import check_root

    directory = config.text("spool.directory")
    # Whose queue it is comes before what of it may be read. Where there is none yet, nothing would go.
    with suppress(FileNotFoundError):
        check_root(directory)
    now = time.time()
    opens_at = account_opens_at(config, now)
    unread: list[Unread] = []
    found = forecast(
        directory,
        rules_of(config),
        now=now,
        opens_at=opens_at,
        boot_id=read_boot_id(),
        max_delay_s=0.0 if was_set_back(directory, now) else config.seconds("retry.max_delay"),
        message_limit=message_limit,
        unread=unread,
    )
    show_forecast(
        found,
        unread,
        deferred_until=opens_at if opens_at > now else 0.0,
        dropped=count_drops(directory),
        as_json=as_json,
    )
    if unread:
        raise typer.Exit(InputOutputError.exit_code)
