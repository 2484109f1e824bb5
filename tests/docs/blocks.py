"""What a page of the documentation says: its commands, their output, and its files.

    <!-- test: account -->                  the page needs this; at its top
    <!-- test: types you@isp.example | yes --> what a reader types at the questions of the next block's command
    <!-- test: afresh -->                   what the reader has set so far is forgotten: another way to do the same
    <!-- test: exits 1 -->                  how the last command of the next block ends; 0 without it
    <!-- test: file invoice.eml -->         the next block is the content of this file

In a ``console`` block a line that begins with ``$`` is typed by a user, one with ``#`` by root, one with ``>`` goes on
with the line before; what follows is the output. In an ``sh`` block each line is a command of a user, and no output is
shown. Other blocks are not run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FENCE = re.compile(r"^( *)```(\w*)\s*$")
_COMMENT = re.compile(r"^<!-- test: (\w+)(?: (.*?))? -->$")
SHELL = ("console", "sh")


@dataclass(slots=True)
class Command:
    """A command as it is typed, who types it, and the output that is shown; ``shows`` is None where none is meant."""

    line: int
    text: str
    root: bool = False
    shows: list[str] | None = None
    exit_code: int = 0
    types: tuple[str, ...] = ()


@dataclass(slots=True)
class File:
    """A file that the page gives the content of."""

    line: int
    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Afresh:
    """The account that was set up so far is forgotten."""


@dataclass(slots=True)
class Page:
    """A page: what it needs, and what happens on it, in order."""

    path: Path
    needs: list[str] = field(default_factory=list)
    steps: list[Command | File | Afresh] = field(default_factory=list)

    @property
    def commands(self) -> list[Command]:
        return [step for step in self.steps if isinstance(step, Command)]


def all_pages(root: Path) -> list[Page]:
    """Read the README and every page below docs."""
    return [read_page(path) for path in (root / "README.md", *sorted((root / "docs").rglob("*.md")))]


def read_page(path: Path) -> Page:
    """Read a page. Raises ValueError for a remark to the test that is not understood, or that belongs to no block."""
    page = Page(path)
    remarks: dict[str, str] = {}
    lines = path.read_text().splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if found := _COMMENT.match(line.strip()):
            kind, value = found[1], found[2] or ""
            if kind == "afresh":
                page.steps.append(Afresh())
            elif kind in ("types", "exits", "file"):
                remarks[kind] = value
            else:
                page.needs += [kind, *value.split()]
        elif fence := _FENCE.match(line):
            first = number
            while lines[number].strip() != "```":
                number += 1
            body = [text.removeprefix(fence[1]) for text in lines[first:number]]
            number += 1
            page.steps += _steps(fence[2], body, first + 1, remarks, path)
            remarks = {}
        elif line.strip() and remarks:
            raise ValueError(f"{path}:{number}: {remarks} belongs to no block")
    return page


def _steps(language: str, body: list[str], line: int, remarks: dict[str, str], path: Path) -> list[Command | File]:
    if "file" in remarks:
        return [File(line, remarks["file"], "\n".join(body) + "\n")]
    if language not in SHELL:
        if remarks:
            raise ValueError(f"{path}:{line}: {remarks} before a block that is not run")
        return []
    commands = _console(body, line) if language == "console" else _script(body, line)
    if not commands:
        raise ValueError(f"{path}:{line}: a {language} block without a command")
    commands[-1].exit_code = int(remarks.get("exits", "0"))
    commands[-1].types = tuple(part.strip() for part in remarks["types"].split("|")) if "types" in remarks else ()
    return list(commands)


def _console(body: list[str], line: int) -> list[Command]:
    commands: list[Command] = []
    # One of the two in a block: a line of output may begin with the other.
    prompt = body[0][:2] if body and body[0].startswith(("$ ", "# ")) else "$ "
    for number, text in enumerate(body, line):
        if text.startswith(prompt):
            commands.append(Command(number, text[2:], root=prompt == "# ", shows=[]))
        elif not commands:
            raise ValueError(f"line {number}: output before a command: {text}")
        elif text.startswith("> ") and not commands[-1].shows:
            commands[-1].text += "\n" + text[2:]
        else:
            shows = commands[-1].shows
            assert shows is not None
            shows.append(text)
    return commands


def _script(body: list[str], line: int) -> list[Command]:
    commands: list[Command] = []
    going_on = False
    for number, text in enumerate(body, line):
        if going_on:
            commands[-1].text += "\n" + text
        elif text.strip() and not text.startswith("#"):
            commands.append(Command(number, text))
        going_on = text.endswith("\\")
    return commands
