"""The command tree: every group and command by name, and the options that go before them.

A command line names one command, and importing the others would cost it 20 ms: so the tree is built with the one that
is named, and whole for ``--help``, for a name that is not known, and for the documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.grouped import Day
from ucrmmail.cli.invocation import Invocation
from ucrmmail.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_EXAMPLES = """\b
Examples:
  ucrmmail setup
  ucrmmail doctor
  ucrmmail test-send me@example.com
  ucrmmail flush --dry-run
  ucrmmail queue list

The guide is in the manual: `man 7 ucrmmail`."""


def command_tree(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the commands that this command line may mean: the one that it names, else all of them."""
    app = typer.Typer(
        name="ucrmmail",
        cls=_Day,
        no_args_is_help=True,
        # Rich help costs 115 ms a start; the plain form reads as well through a pager.
        rich_markup_mode=None,
        # Typer's own tracebacks show local variables, and one of them may be the password.
        pretty_exceptions_enable=False,
        # Typer's would start Python at each Tab; those in completions/ do not.
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=_EXAMPLES,
    )
    app.callback(invoke_without_command=True)(_top)
    named = _ADD.get(first_word(arguments))
    for add in _ADD.values() if named is None else (named,):
        add(app)
    return app


def first_word(arguments: Sequence[str]) -> str:
    """Return the first argument that is neither an option nor the value of ``--config``; "" behind ``--help``."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "--config":
            next(rest, None)
        elif argument in ("-h", "--help"):
            return ""
        elif not argument.startswith("-"):
            return argument
    return ""


def _top(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="Use this configuration file (before UCRMMAIL_CONFIG)."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --version: Python, libraries and paths too.")] = False,
) -> None:
    """Configure outgoing mail, prove that it works, and send what is queued within the provider's limits."""
    if config == "":
        # A variable of a script that is not set: another account's configuration would be taken.
        raise UsageError("--config names no file", remedy="leave it out for the default, see `ucrmmail config path`")
    context.obj = Invocation(config_option=config)
    if version:
        from ucrmmail.cli.version import show_version

        show_version(context.obj.location(), as_json=as_json)
        raise typer.Exit
    if as_json:
        raise UsageError("--json stands before a command", remedy="put it behind the command")
    if context.invoked_subcommand is None:
        context.fail("Missing command.")


def _add_setup(app: typer.Typer) -> None:
    from ucrmmail.cli.grouped import GroupedCommand
    from ucrmmail.cli.setup import EXAMPLES, setup

    app.command(cls=GroupedCommand, epilog=EXAMPLES)(setup)


def _add_config(app: typer.Typer) -> None:
    from ucrmmail.cli import config

    app.add_typer(config.app, name="config")


def _add_credentials(app: typer.Typer) -> None:
    from ucrmmail.cli import credentials

    app.add_typer(credentials.app, name="credentials")


def _add_login(app: typer.Typer) -> None:
    from ucrmmail.cli.login import EXAMPLES, login

    app.command("login", epilog=EXAMPLES)(login)


def _add_test_connection(app: typer.Typer) -> None:
    from ucrmmail.cli.test_connection import EXAMPLES, test_connection

    app.command("test-connection", epilog=EXAMPLES)(test_connection)


def _add_test_send(app: typer.Typer) -> None:
    from ucrmmail.cli.grouped import GroupedCommand
    from ucrmmail.cli.test_send import EXAMPLES, test_send

    app.command("test-send", cls=GroupedCommand, epilog=EXAMPLES)(test_send)


def _add_doctor(app: typer.Typer) -> None:
    from ucrmmail.cli.doctor import EXAMPLES, doctor

    app.command(epilog=EXAMPLES)(doctor)


def _add_check_dns(app: typer.Typer) -> None:
    from ucrmmail.cli.check_dns import EXAMPLES, check_dns
    from ucrmmail.cli.grouped import GroupedCommand

    app.command("check-dns", cls=GroupedCommand, epilog=EXAMPLES)(check_dns)


def _add_enqueue(app: typer.Typer) -> None:
    from ucrmmail.cli.enqueue import EXAMPLES, enqueue

    app.command(epilog=EXAMPLES)(enqueue)


def _add_flush(app: typer.Typer) -> None:
    from ucrmmail.cli.flush import EXAMPLES, flush

    app.command(epilog=EXAMPLES)(flush)


def _add_queue(app: typer.Typer) -> None:
    from ucrmmail.cli import queue

    app.add_typer(queue.app, name="queue")


def _add_status(app: typer.Typer) -> None:
    from ucrmmail.cli.status import EXAMPLES, status

    app.command(epilog=EXAMPLES)(status)


class _Day(Day):
    """The groups of `ucrmmail --help`."""

    groups: Mapping[str, Sequence[str]] = {
        "Set up": ("setup", "config", "credentials", "login"),
        "Prove that it works": ("test-connection", "test-send", "check-dns", "doctor"),
        "Send": ("enqueue", "flush", "queue", "status"),
    }


# In the order of an administrator's day, which is the order of the man pages.
_ADD: dict[str, Callable[[typer.Typer], None]] = {
    "setup": _add_setup,
    "config": _add_config,
    "credentials": _add_credentials,
    "login": _add_login,
    "test-connection": _add_test_connection,
    "test-send": _add_test_send,
    "check-dns": _add_check_dns,
    "doctor": _add_doctor,
    "enqueue": _add_enqueue,
    "flush": _add_flush,
    "queue": _add_queue,
    "status": _add_status,
}
