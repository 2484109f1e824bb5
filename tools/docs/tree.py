"""The command tree as plain data: what there is to say of each command, its arguments and its options."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from typer.main import get_command

from ucrmmail.cli.main import command_tree as application

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer import Typer

_NO_WRAP = "\b"


@dataclass(frozen=True, slots=True)
class Option:
    """An option: its names as they are typed, those that switch it off, and the name of its value ("" for a flag).

    ``group`` is that of the help, "" for none.
    """

    names: tuple[str, ...]
    negatives: tuple[str, ...]
    metavar: str
    help: str
    repeatable: bool
    group: str = ""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument: the name of its value, and whether it must be there and may be repeated."""

    metavar: str
    help: str
    required: bool
    repeatable: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command or a group; ``path`` are the words after ``ucrmmail``, none for the program itself.

    ``help`` are paragraphs, ``examples`` lines as they are typed, ``notes`` what else stands below the help.
    """

    path: tuple[str, ...]
    help: tuple[str, ...]
    examples: tuple[str, ...]
    notes: tuple[str, ...]
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]
    commands: tuple[Command, ...]

    @property
    def name(self) -> str:
        """The last word: what is typed for it."""
        return self.path[-1] if self.path else "ucrmmail"

    @property
    def purpose(self) -> str:
        """The first sentence of the help, without its full stop."""
        return self.help[0].partition(". ")[0].removesuffix(".") if self.help else ""

    def walk(self) -> Iterator[Command]:
        """Yield this command and all below it, groups before their commands."""
        yield self
        for command in self.commands:
            yield from command.walk()


@cache
def command_tree() -> Command:
    """Return the tree that ``ucrmmail`` parses its arguments with."""
    return tree_of(application())


def tree_of(app: Typer) -> Command:
    """Return the tree of an application."""
    return _command(get_command(app), ())


def _command(found: Any, path: tuple[str, ...]) -> Command:
    examples, notes = _epilog(found.epilog or "")
    return Command(
        path=path,
        help=_paragraphs(found.help or ""),
        examples=examples,
        notes=notes,
        arguments=tuple(_argument(each) for each in found.params if each.param_type_name == "argument"),
        options=tuple(_option(each) for each in found.params if each.param_type_name == "option" and not each.hidden),
        commands=tuple(
            _command(each, (*path, name)) for name, each in getattr(found, "commands", {}).items() if not each.hidden
        ),
    )


def _argument(found: Any) -> Argument:
    metavar = found.metavar or found.name.upper()
    return Argument(metavar.strip("[]."), found.help or "", required=found.required, repeatable=found.nargs == -1)


def _option(found: Any) -> Option:
    metavar = "" if found.is_flag else found.metavar or found.name.upper()
    group = found.rich_help_panel or ""
    return Option(tuple(found.opts), tuple(found.secondary_opts), metavar, found.help or "", found.multiple, group)


def _paragraphs(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n") if part.strip())


def _epilog(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split an epilog into lines to type, which are indented there, and paragraphs."""
    examples: list[str] = []
    notes: list[str] = []
    for block in text.replace(_NO_WRAP + "\n", "").split("\n\n"):
        lines = [line for line in block.split("\n") if line.strip()]
        typed = [line.strip() for line in lines if line.startswith("  ")]
        if typed:
            examples += typed
        elif lines:
            notes.append(" ".join(lines))
    return tuple(examples), tuple(notes)
