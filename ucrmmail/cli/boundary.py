"""Where a command's errors become words on standard error and an exit code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.errors import InputOutputError, TemporaryError, UcrmmailError, UsageError, from_os_error
from ucrmmail.output.human import note, print_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.streams import StandardOutput


def run_command(arguments: list[str], output: StandardOutput) -> int:
    """Parse the arguments with Typer, run the command, and return its exit code, as ``within_boundary`` does."""
    from ucrmmail.cli.typed import run_typed

    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return within_boundary(lambda: run_typed(arguments), output, as_json="--json" in options)


def within_boundary(command: Callable[[], int], output: StandardOutput, *, as_json: bool) -> int:
    """Run a command and return its exit code; every error is told, none is a traceback.

    ``output`` is where its result goes; a program that asked for JSON gets a document with the error there.
    """
    code = _run(command, output, as_json=as_json)
    trouble = output.trouble()
    # A reader that has gone (head, a closed pager) has seen enough.
    if trouble is None or isinstance(trouble, BrokenPipeError):
        return code
    told = InputOutputError(
        f"the result could not be written to standard output: {trouble.strerror}",
        remedy="see what the command did before you run it again",
    )
    if code == told.exit_code:
        # The command has told it itself, and knows what it had to say.
        return code
    print_error(told)
    # What went wrong first decides the code, such as a check that does not hold, whose findings are lost now.
    return code or told.exit_code


def _run(command: Callable[[], int], output: StandardOutput, *, as_json: bool) -> int:
    try:
        return command()
    except UcrmmailError as error:
        told = error
    except OSError as error:
        if output.trouble():
            return 0  # told by the caller
        told = from_os_error(error)
    except ImportError as error:
        # Some modules are loaded late, and a machine without descriptors, or a disk that fails, hides their files.
        told = TemporaryError(
            f"a part of this program cannot be read: {error.name}",
            remedy="run the same command again; if that does not help, install it anew",
        )
    except Exception as error:  # noqa: BLE001 # the boundary: a fault of ours must not look like a verdict (1)
        return _tell_fault(error)
    print_error(told)
    # Who has written the command line wrong gets no document: what could be asked for is not known.
    if as_json and not output.used and not isinstance(told, UsageError):
        from ucrmmail.output.machine import print_error_document

        print_error_document(told)
    return told.exit_code


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
