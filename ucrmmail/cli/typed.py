"""A command line as Typer reads it, and what is said about one that it cannot read."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import typer
from typer import exceptions

from ucrmmail.cli.main import command_tree, first_word
from ucrmmail.errors import UsageError
from ucrmmail.output.human import note

if TYPE_CHECKING:
    from collections.abc import Sequence

# What the parser says in its own terms, in those of who typed it. It repeats what may be a secret: see mistyped.
_PLAINLY = (
    (r" is not a valid int(?:eger|(?: range)?)\.", " is not a whole number"),
    (r"^Option '(.*)' requires an argument\.$", r"\1 needs a value"),
    (r"^(No such option: --?[\w-]*)[^\w-].*$", r"\1"),
    (r"^No such command .*\.$", "there is no such command"),
)
_SURPLUS = "Got unexpected extra argument"


def run_typed(arguments: list[str]) -> int:
    """Run the command that the arguments name and return its exit code. What the command raises passes through."""
    try:
        code = command_tree(arguments)(arguments, prog_name="ucrmmail", standalone_mode=False)
    except exceptions.TyperException as error:
        return _tell_usage(error, arguments)
    except typer.Abort:
        note("ucrmmail: stopped; nothing was changed")
        return 130
    except SystemExit as ended:
        # Click ends by itself when a pipe breaks, with 1, which means a verdict here: our boundary knows whose pipe.
        if isinstance(ended.__context__, OSError):
            raise ended.__context__ from None
        raise
    return code if isinstance(code, int) else 0


def _tell_usage(error: exceptions.TyperException, arguments: Sequence[str]) -> int:
    context = getattr(error, "ctx", None)
    # An option without its value has none.
    command = context.command_path if context else f"ucrmmail {first_word(arguments)}".rstrip()
    message = _said(error)
    if context and message.startswith(_SURPLUS):
        message = f"too many arguments: `{command}` takes {_arguments_of(context.command)}"
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(message + "\n")
        return UsageError.exit_code
    note(f"ucrmmail: {message}")
    near = getattr(error, "possibilities", None)
    meant = f"did you mean {' or '.join(near)}? else " if near else ""
    if message == "No such option: --config":
        meant = "it goes before the command, as in `ucrmmail --config FILE flush`; "
    note(f"  remedy: {meant}see `{command} --help`")
    return int(getattr(error, "exit_code", UsageError.exit_code))


def _said(error: exceptions.TyperException) -> str:
    """Return what is wrong, with the name of the argument or option as it is typed."""
    param = getattr(error, "param", None)
    message = getattr(error, "message", "")
    for theirs, ours in _PLAINLY:
        message = re.sub(theirs, ours, message)
    if param is None:
        return message or str(error)
    if not message:
        # In a usage line it stands in braces.
        return f"{(param.metavar or param.name.upper()).strip('{}[]')} is missing"
    return f"{max(param.opts, key=len) if param.param_type_name == 'option' else param.metavar}: {message}"


def _arguments_of(command: Any) -> str:
    """Return how many arguments a command takes, and which."""
    names = [param.metavar.strip("[]") for param in command.params if param.param_type_name == "argument"]
    return f"{len(names)}: {' and '.join(names)}" if names else "none"
