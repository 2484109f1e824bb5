"""A command line as Typer reads it, and what is said about one that it cannot read."""

from __future__ import annotations

import sys

import typer
from typer import exceptions

from ucrmmail.cli.main import command_tree
from ucrmmail.errors import UsageError
from ucrmmail.output.human import note


def run_typed(arguments: list[str]) -> int:
    """Run the command that the arguments name and return its exit code. What the command raises passes through."""
    try:
        code = command_tree(arguments)(arguments, prog_name="ucrmmail", standalone_mode=False)
    except exceptions.TyperException as error:
        return _tell_usage(error)
    except typer.Abort:
        note("ucrmmail: stopped; nothing was changed")
        return 130
    return code if isinstance(code, int) else 0


def _tell_usage(error: exceptions.TyperException) -> int:
    context = getattr(error, "ctx", None)
    message = _said(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(message + "\n")
        return UsageError.exit_code
    note(f"ucrmmail: {message}")
    if context is not None:
        near = getattr(error, "possibilities", None)
        meant = f"did you mean {' or '.join(near)}? else " if near else ""
        note(f"  remedy: {meant}see `{context.command_path} --help`")
    return int(getattr(error, "exit_code", UsageError.exit_code))


def _said(error: exceptions.TyperException) -> str:
    """Return what is wrong, with the name of the argument or option as it is typed."""
    param = getattr(error, "param", None)
    message = getattr(error, "message", "")
    if param is None:
        return message or str(error)
    if not message:
        # In a usage line it stands in braces.
        return f"{(param.metavar or param.name.upper()).strip('{}[]')} is missing"
    return f"{max(param.opts, key=len) if param.param_type_name == 'option' else param.metavar}: {message}"
