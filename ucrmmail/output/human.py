"""Results for people: plain lines, and tables with boxes and colour where there is a terminal to show them.

Results go to standard output, everything else to standard error. Through a pipe a table is lines of
tab-separated values, so that ``cut`` and ``awk`` work. Every text passes through ``escape.visible``; rich markup is
never interpreted. NO_COLOR and TERM=dumb are respected (by rich).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ucrmmail.output.escape import visible
from ucrmmail.streams import complain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import Console

    from ucrmmail.errors import UcrmmailError

_NARROWEST = 20


def say(text: str = "") -> None:
    """Print a result line on standard output."""
    sys.stdout.write(visible(text) + "\n")


def say_item(head: str, text: str) -> None:
    """Print ``head`` and a text, which goes on in its own column where a terminal is too narrow.

    Through a pipe it is one line, whatever its length.
    """
    lines = [text]
    if on_terminal():
        import shutil  # noqa: PLC0415 # only a terminal needs them
        import textwrap  # noqa: PLC0415

        width = max(shutil.get_terminal_size().columns - len(head), _NARROWEST)
        # What is copied (a name, an address) stays in one piece.
        lines = textwrap.wrap(visible(text), width, break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        say((head if number == 0 else " " * len(head)) + line)


def say_message(message: bytes) -> None:
    """Print a message on standard output: to a terminal its lines, made harmless; through a pipe its very bytes."""
    if not on_terminal():
        sys.stdout.flush()
        sys.stdout.buffer.write(message)
        sys.stdout.buffer.flush()
        return
    for line in message.decode("utf-8", "surrogateescape").split("\r\n"):
        say(line)


def note(text: str) -> bool:
    """Print a remark on standard error: what a person should know, and no program reads. Return whether it could be."""
    try:
        sys.stdout.flush()
    except OSError:
        pass  # it fails again where the command ends, and is told there
    return complain(visible(text))


def print_error(error: UcrmmailError, *, program: str = "ucrmmail") -> None:
    """Print what happened, why, and what to do, on standard error."""
    note(f"{program}: {error.what}")
    for problem in error.problems:
        note(f"  {problem}")
    note_advice(error.why, error.remedy)


def note_advice(why: str, remedy: str) -> None:
    """Print why something happened and what to do, on standard error; nothing for ""."""
    for line in _advice(why, remedy):
        note(f"  {line}")


def say_advice(why: str, remedy: str, *, indent: str) -> None:
    """Print the same as a result."""
    for line in _advice(why, remedy):
        say(f"{indent}{line}")


def _advice(why: str, remedy: str) -> list[str]:
    return [f"{name} {text}" for name, text in (("why:   ", why), ("remedy:", remedy)) if text]


def console(*, stderr: bool = False, file: TextIO | None = None) -> Console:
    """Return a rich console, on ``file`` if there is one, that interprets no markup, emoji codes or highlights."""
    from rich.console import Console  # noqa: PLC0415 # 90 ms that only a terminal needs

    return Console(stderr=stderr, file=file, markup=False, emoji=False, highlight=False)


def on_terminal(*, stderr: bool = False) -> bool:
    """Return whether a person looks at the stream."""
    stream = sys.stderr if stderr else sys.stdout
    return stream.isatty()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print a table on standard output: with a frame on a terminal, as tab-separated lines through a pipe."""
    if not on_terminal():
        say_fields(columns)
        for row in rows:
            say_fields(row)
        return
    from rich.table import Table  # noqa: PLC0415 # 95 ms that only a terminal needs
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=Text(visible(title)) if title else None, title_justify="left")
    for place, column in enumerate(columns):
        # The first column names a thing (a key, a queue id): it is copied, so it must not be broken.
        table.add_column(Text(visible(column)), overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console().print(table)


def say_fields(fields: Sequence[str]) -> None:
    """Print one line of tab-separated values."""
    text = "".join(fields)
    if not (text.isascii() and text.isprintable()):  # seldom: a hundred thousand lines are looked at as a whole
        fields = [visible(field) for field in fields]
    sys.stdout.write("\t".join(fields) + "\n")
