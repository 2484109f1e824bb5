"""The command tree: every group and command by name, and the options that go before them."""

from __future__ import annotations

from typing import Annotated

import typer

from ucrmmail.cli import config as config_commands
from ucrmmail.cli import credentials as credentials_commands
from ucrmmail.cli import queue as queue_commands
from ucrmmail.cli.context import Invocation
from ucrmmail.cli.enqueue import enqueue
from ucrmmail.cli.flush import EXAMPLES as FLUSH_EXAMPLES
from ucrmmail.cli.flush import flush
from ucrmmail.cli.status import EXAMPLES as STATUS_EXAMPLES
from ucrmmail.cli.status import status
from ucrmmail.cli.test_send import EXAMPLES as TEST_SEND_EXAMPLES
from ucrmmail.cli.test_send import test_send
from ucrmmail.cli.version import show_version
from ucrmmail.errors import UsageError

app = typer.Typer(
    name="ucrmmail",
    no_args_is_help=True,
    # Rich help costs 115 ms a start; the plain form reads as well through a pager.
    rich_markup_mode=None,
    # Typer's own tracebacks show local variables, and one of them may be the password.
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  ucrmmail config set smtp.transport gmail
  ucrmmail config set smtp.password
  ucrmmail test-send me@example.com
  ucrmmail flush --dry-run
  ucrmmail queue list

The guide is in the manual: `man 7 ucrmmail`.""",
)


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="Use this configuration file (before UCRMMAIL_CONFIG)."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --version: Python, libraries and paths too.")] = False,
) -> None:
    """Configure outgoing mail, prove that it works, and send what is queued within the provider's limits."""
    context.obj = Invocation(config_option=config)
    if version:
        show_version(context.obj.location(), as_json=as_json)
        raise typer.Exit
    if as_json:
        raise UsageError("--json stands before a command", remedy="put it behind the command")
    if context.invoked_subcommand is None:
        context.fail("Missing command.")


app.add_typer(config_commands.app, name="config")
app.command(
    epilog="""\b
Examples:
  ucrmmail enqueue invoices/*.eml
  ucrmmail enqueue --priority bulk --from news@isp.example newsletter/*.eml
  generate-mail | ucrmmail enqueue --to joe@example.com -"""
)(enqueue)
app.add_typer(queue_commands.app, name="queue")
app.add_typer(credentials_commands.app, name="credentials")
app.command(epilog=FLUSH_EXAMPLES)(flush)
app.command(epilog=STATUS_EXAMPLES)(status)
app.command("test-send", epilog=TEST_SEND_EXAMPLES)(test_send)
