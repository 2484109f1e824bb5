"""``ucrmmail status``: what waits, what is used of the limits, and how the last run ended."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import typer

from ucrmmail.cli.context import JsonOption, invocation

if TYPE_CHECKING:
    from ucrmmail.config.load import Config
    from ucrmmail.limits.view import LimitsView

EXAMPLES = """\b
Examples:
  ucrmmail status
  ucrmmail status --json | jq .waiting"""


def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what waits, the limits, and how the last run ended."""
    from ucrmmail.cli.last_flush import doubtful_in, last_flush
    from ucrmmail.cli.runtime import account_opens_at
    from ucrmmail.config.submission import refuse_missing
    from ucrmmail.delivery.account import load_account
    from ucrmmail.output import machine
    from ucrmmail.output.status import say_status, status_document
    from ucrmmail.spool.intake import count_drops
    from ucrmmail.spool.listing import counts

    called = invocation(context)
    refuse_missing(called.location())
    config = called.config()
    directory = config.text("spool.directory")
    # Whose queue it is comes first.
    found = counts(directory)
    now = time.time()
    opens_at = account_opens_at(config, now)
    document = status_document(
        found,
        _limits(config),
        load_account(f"{directory}/account.json", owner=os.geteuid()),
        last_flush(directory),
        account_opens_at=opens_at if opens_at > now else 0.0,
        uncertain=len(doubtful_in(directory)),
        dropped=count_drops(directory),
    )
    if as_json:
        machine.print_document(document)
    else:
        say_status(document)


def _limits(config: Config) -> LimitsView:
    from ucrmmail.cli.runtime import rules_of
    from ucrmmail.limits.ledger import read_boot_id
    from ucrmmail.limits.view import read_tally, view_limits

    now = time.time()
    ledger = f"{config.text('spool.directory')}/ledger"
    return view_limits(read_tally(ledger, rules_of(config), now, read_boot_id()), now)
