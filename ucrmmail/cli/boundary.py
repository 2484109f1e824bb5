"""Where a command's errors become words on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer
from typer import exceptions

from ucrmmail.errors import InputOutputError, TemporaryError, UcrmmailError, UsageError
from ucrmmail.output.human import note, print_error

if TYPE_CHECKING:
    from collections.abc import Callable

_TEMPORARY_ERRNOS = frozenset({"ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN"})


def run_command(arguments: list[str], unwritten: Callable[[], OSError | None] = lambda: None) -> int:
    """Parse the arguments, run the command, and return its exit code; every error is told, none is a traceback.

    ``unwritten()`` writes what waits for standard output, and returns what keeps it from being written.
    """
    code = _run(arguments, unwritten)
    trouble = unwritten()
    # A reader that has gone (head, a closed pager) has seen enough; and what went wrong first decides the code.
    if trouble is None or isinstance(trouble, BrokenPipeError) or code:
        return code
    told = InputOutputError(
        f"the result could not be written to standard output: {trouble.strerror}",
        remedy="see what the command did before you run it again",
    )
    print_error(told)
    return told.exit_code


def _run(arguments: list[str], unwritten: Callable[[], OSError | None]) -> int:
    from ucrmmail.cli.main import command_tree

    try:
        code = command_tree(arguments)(arguments, prog_name="ucrmmail", standalone_mode=False)
    except UcrmmailError as error:
        print_error(error)
        return error.exit_code
    except exceptions.TyperException as error:
        return _tell_usage(error)
    except typer.Abort:
        note("ucrmmail: stopped; nothing was changed")
        return 130
    except OSError as error:
        if unwritten():
            return 0  # told by the caller
        told = _from_os_error(error)
        print_error(told)
        return told.exit_code
    except Exception as error:  # noqa: BLE001 # the boundary: a fault of ours must not look like a verdict (1)
        return _tell_fault(error)
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


def _from_os_error(error: OSError) -> UcrmmailError:
    import errno

    name = errno.errorcode.get(error.errno or 0, "")
    kind = TemporaryError if name in _TEMPORARY_ERRNOS else InputOutputError
    where = f"{error.filename}: " if error.filename else ""
    return kind(f"{where}{error.strerror or error}", remedy="mend this, then run the same command again")


def _tell_fault(error: Exception) -> int:
    """Say in one line that we are at fault and where; the whole trace only for one who asks (no locals are shown)."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    where = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "unknown place"
    note(f"ucrmmail: internal error: {type(error).__name__} at {where}")
    note("  remedy: please report this with the output of the same command under UCRMMAIL_DEBUG=1")
    if os.environ.get("UCRMMAIL_DEBUG"):
        for line in traceback.format_tb(error.__traceback__):
            for part in line.rstrip().split("\n"):
                note(part)
    return UcrmmailError.exit_code
