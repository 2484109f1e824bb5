"""``python -m tests.docs.record [--anew] PAGE...``: run pages, and write what came in place of what does not match.

``--anew`` writes all of it, but what was shortened by hand: ids and times of a page belong together then.

The author reads the difference, and shortens it with lines of three dots. Needs root, as the test does.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from tests.docs.blocks import read_page
from tests.docs.output import DOTS, matches
from tests.docs.session import prepared, read_aloud
from tests.docs.world import machine, world, world_of_a_receiver


def record(paths: list[Path], *, anew: bool) -> None:
    """Run the pages, each on a machine of its own."""
    with tempfile.TemporaryDirectory(prefix="ucrmmail-docs-") as directory, contextlib.ExitStack() as stack:
        usual = stack.enter_context(world(Path(directory)))
        for path in paths:
            page = read_page(path)
            running = stack.enter_context(world_of_a_receiver()) if "receiver" in page.needs else usual
            lines = path.read_text().splitlines()
            changes: list[tuple[int, int, list[str]]] = []
            with machine(running) as made, prepared(page, made):
                for came in read_aloud(page, made):
                    command = came.command
                    if came.exit_code != command.exit_code:
                        shown = "\n".join(came.output)
                        print(f"{path}:{command.line}: exit code {came.exit_code}: {command.text}\n{shown}")
                    shortened = any(line.strip() == DOTS for line in command.shows or [])
                    if command.shows is not None and (
                        not matches(command.shows, came.output) or (anew and not shortened)
                    ):
                        first = command.line + command.text.count("\n")
                        output = [line.replace("ucrmmail tests", "Example Trust Services") for line in came.output]
                        changes.append((first, first + len(command.shows), output))
            for first, last, output in reversed(changes):
                lines[first:last] = output
            path.write_text("\n".join(lines) + "\n")
            print(f"{path}: {len(changes)} changed")


if __name__ == "__main__":
    record([Path(name) for name in sys.argv[1:] if name != "--anew"], anew="--anew" in sys.argv)
