"""The questions of a guide: asked on a terminal only, never of a script; leaving at any of them changes nothing.

A question may hold what the DNS said, so that it is escaped like everything else that a terminal is shown.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

import typer

from ucrmmail.dataclass import dataclass, field
from ucrmmail.errors import UcrmmailError, UsageError
from ucrmmail.output import human
from ucrmmail.output.escape import visible

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Whom the guide talks to: ``asks`` is False for a script, ``yes`` answers every yes-or-no with yes."""

    asks: bool
    yes: bool
    findings: list[str] = field(default_factory=list)

    def find(self, text: str) -> None:
        """Tell a person, in a sentence, what was found on the way; a script hears it with the flag that is missing."""
        self.findings.append(text)
        self.say(text)

    def say(self, text: str) -> None:
        """Tell a person what is going on, on standard error; a script is told the result only."""
        if self.asks:
            human.note(text)

    def ask(self, question: str, check: Callable[[str], T], *, default: str = "", missing: str) -> T:
        """Return the answer as ``check`` makes it, asking again while that raises.

        Raises UsageError that names the ``missing`` flag when there is nobody to ask.
        """
        if not self.asks:
            raise nobody_to_ask(missing, why=" ".join(self.findings))
        while True:
            given = typer.prompt(visible(question), default=default or None, show_default=bool(default), err=True)
            try:
                return check(str(given).strip())
            except UcrmmailError as error:
                human.print_error(error)

    def ask_secret(self, question: str) -> str:
        """Return what is typed and not shown; "" is an answer. A script is not asked."""
        return str(typer.prompt(visible(question), hide_input=True, default="", show_default=False, err=True))

    def agrees(self, question: str, *, default: bool = True, unasked: bool = False) -> bool:
        """Return whether a person agrees; a script has with --yes, else ``unasked`` counts."""
        if self.yes:
            return True
        return typer.confirm(visible(question), default=default, err=True) if self.asks else unasked


def dialogue(*, yes: bool, as_json: bool) -> Dialogue:
    """Return the dialogue with whoever started the command."""
    return Dialogue(asks=not as_json and sys.stdin.isatty() and sys.stderr.isatty(), yes=yes)


def nobody_to_ask(missing: str, why: str = "") -> UsageError:
    """Return the error of a script that leaves out what only a person could say."""
    what = f"{missing} is missing, and there is no terminal to ask on"
    return UsageError(what, why=why, remedy="see `ucrmmail setup --help`")
