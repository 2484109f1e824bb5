"""What the three shells have in common: how the value of an option or argument is completed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.docs.tree import Option
from ucrmmail.cli.completion import KINDS

if TYPE_CHECKING:
    from tools.docs.tree import Command

FILE, VALUE = "file", "value"
HELP = Option(("-h", "--help"), (), "", "Show what it does, its options and examples.", repeatable=False)


def kind_of(metavar: str) -> str:
    """Return how a value is completed: ``file``, a kind of ``ucrmmail __complete``, "" when nobody can know it.

    The name of a value says it, so that a new command is completed without a word here.
    """
    kind = metavar.lower().replace("_", "-")
    return kind if kind == FILE or kind in KINDS else ""


def options_of(command: Command) -> tuple[Option, ...]:
    """Return the options of a command, ``--help`` too."""
    return (*command.options, HELP)


def place_of(command: Command) -> str:
    """Return a command as the scripts write it: ``/config/set``, "" for the program itself."""
    return "".join(f"/{word}" for word in command.path)


def brief(help_text: str) -> str:
    """Return the first sentence of a help text, without its full stop, as lists of candidates show it."""
    return help_text.partition(". ")[0].removesuffix(".")


@dataclass(frozen=True, slots=True)
class Position:
    """An argument by its place: from which position to which (0: to the end) it is completed as ``kind``."""

    metavar: str
    kind: str
    first: int
    last: int
    required: bool


def positions_of(command: Command) -> tuple[Position, ...]:
    """Return the arguments of a command by their places."""
    return tuple(
        Position(each.metavar, kind_of(each.metavar), place, 0 if each.repeatable else place, each.required)
        for place, each in enumerate(command.arguments, 1)
    )
