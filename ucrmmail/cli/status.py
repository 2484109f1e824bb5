"""``ucrmmail status``: what waits, what is used of the limits, and how the last run ended."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import typer

from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.quick import LAST_FLUSH

if TYPE_CHECKING:
    from ucrmmail.config.load import Config
    from ucrmmail.limits.view import LimitsView

EXAMPLES = """\b
Examples:
  ucrmmail status
  ucrmmail status --json | jq .waiting"""


def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what waits, the limits, and how the last run ended."""
    from ucrmmail.delivery.account import load_account
    from ucrmmail.output import machine
    from ucrmmail.output.status import say_status, status_document
    from ucrmmail.spool.listing import counts

    config = invocation(context).config()
    directory = config.text("spool.directory")
    document = status_document(
        counts(directory),
        _limits(config),
        load_account(f"{directory}/account.json", owner=os.geteuid()),
        last_flush(directory),
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


def last_flush(directory: str) -> dict[str, Any] | None:
    """Return what the last run left, and when it was; None when there was none."""
    from ucrmmail.clock import rfc3339
    from ucrmmail.files import DistrustError, open_untrusted, read_all

    try:
        fd = open_untrusted(f"{directory}/{LAST_FLUSH}", owner=os.geteuid())
    except (OSError, DistrustError):
        return None
    try:
        fields = json.loads(read_all(fd, 65536))
        at = os.fstat(fd).st_mtime
    except (ValueError, DistrustError):
        return None
    finally:
        os.close(fd)
    return {"at": rfc3339(at), **fields} if isinstance(fields, dict) else None
