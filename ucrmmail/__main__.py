"""``main()``: the one boundary where errors become exit codes.

What a command raises ends here: an error of ours is told in its three parts, a wrong command line is told with the
command that helps, and the unexpected becomes 70 in one line. So 1 always means "checked, and it does not hold".
"""

from __future__ import annotations

import os
import sys

from ucrmmail.streams import StandardOutput, complain, discard, leave, open_what_is_closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.cli.flush_request import FlushRequest

EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the command line and return the exit code (design: sysexits, and 1, 2, 130)."""
    # First of all: whatever this process makes, nobody else may read.
    os.umask(0o077)
    open_what_is_closed()
    arguments = sys.argv[1:]
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (head, a closed pager) has seen enough.
        discard(sys.stdout)
        return 0
    except MemoryError:
        complain("ucrmmail: out of memory")
        return 75


def _run(arguments: Sequence[str]) -> int:
    from ucrmmail.cli.flush_request import read_request  # noqa: PLC0415 # keeps the cron job's start-up short

    request = read_request(arguments)
    if request is not None:
        return _flush(request)
    if arguments[:1] == ["__complete"]:
        # Not in the command tree: a Tab key should not wait for typer.
        from ucrmmail.cli.completion import print_completions  # noqa: PLC0415

        sys.stdout = StandardOutput(sys.stdout)
        print_completions(arguments[1:])
        return 0
    from ucrmmail.cli.boundary import run_command  # noqa: PLC0415

    sys.stdout = output = StandardOutput(sys.stdout)
    return run_command(list(arguments), output)


def _written(text: str) -> bool:
    """Write a result; False when it cannot be: then the real command says why."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        return False
    return True


def _flush(request: FlushRequest) -> int:
    """Flush without Typer, and without anything at all when nothing is to do and nobody looks on."""
    from ucrmmail.cli.quick import BUSY, BUSY_DOCUMENT, WORK, look  # noqa: PLC0415

    # Whoever looks on is told why nothing was done.
    watched = request.as_json or request.verbose or os.isatty(2)
    found = look(request, watched=watched)
    if not watched and found != WORK:
        return 0
    if request.as_json and found == BUSY and _written(BUSY_DOCUMENT):
        return 0
    import signal  # noqa: PLC0415

    # Until the run can stop in good order, Ctrl-C ends it at once: a module that is being imported may swallow it else.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ucrmmail.cli.boundary import within_boundary  # noqa: PLC0415

    sys.stdout = output = StandardOutput(sys.stdout)

    def command() -> int:
        from ucrmmail.cli.flush_run import run_flush  # noqa: PLC0415

        return run_flush(request, busy=found == BUSY)

    return within_boundary(command, output, as_json=request.as_json)


if __name__ == "__main__":
    leave(main())
