"""What commands have in common when Typer reads them."""

from __future__ import annotations

from typing import Annotated

import typer

from ucrmmail.cli.invocation import Invocation

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def invocation(context: typer.Context) -> Invocation:
    """Return the invocation that the top-level callback left in Typer's context."""
    found = context.find_object(Invocation)
    return found if found is not None else Invocation()
