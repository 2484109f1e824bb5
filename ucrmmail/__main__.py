"""``main()``: the one boundary where errors become exit codes.

What a command raises ends here: an error of ours is told in its three parts, a wrong command line is told with the
command that helps, and the unexpected becomes 70 in one line. So 1 always means "checked, and it does not hold".
"""

from __future__ import annotations

import os
import sys

from ucrmmail.streams import StandardOutput, complain, discard, open_what_is_closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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
    from ucrmmail.cli.quick import nothing_to_flush  # noqa: PLC0415 # keeps the cron job's start-up short

    if nothing_to_flush(arguments):
        return 0
    if arguments[:1] == ["__complete"]:
        # Not in the command tree: a Tab key should not wait for typer.
        from ucrmmail.cli.completion import print_completions  # noqa: PLC0415

        print_completions(arguments[1:])
        return 0
    from ucrmmail.cli.boundary import run_command  # noqa: PLC0415

    sys.stdout = output = StandardOutput(sys.stdout)
    return run_command(list(arguments), output.trouble)


if __name__ == "__main__":
    sys.exit(main())
