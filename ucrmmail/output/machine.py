"""Results for programs: one JSON document, or JSON lines where it streams; plain ASCII whatever is in it."""

from __future__ import annotations

import json
import sys
from itertools import chain, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ucrmmail.errors import UcrmmailError

SCHEMA_VERSION = 1


def print_document(fields: Mapping[str, object]) -> None:
    """Print one JSON document on standard output; ``schema_version`` comes first. Fields are only ever added."""
    document = {"schema_version": SCHEMA_VERSION, **fields}
    sys.stdout.write(json.dumps(document, ensure_ascii=True, indent=2, allow_nan=False) + "\n")


def print_error_document(error: UcrmmailError) -> None:
    """Print the document of a command that could not do what it was asked for."""
    print_document({"error": {"what": error.what, "why": error.why, "remedy": error.remedy}})


def print_listing(name: str, items: Iterable[Mapping[str, object]]) -> None:
    """Print one JSON document whose field ``name`` is a list, item by item: a long list needs no memory."""
    items = iter(items)
    # What keeps the list from being read at all is raised before a document is begun.
    first = list(islice(items, 1))
    sys.stdout.write(f'{{"schema_version": {SCHEMA_VERSION}, {json.dumps(name)}: [')
    separator = "\n"
    for item in chain(first, items):
        sys.stdout.write(separator + json.dumps(item, ensure_ascii=True, allow_nan=False))
        separator = ",\n"
    sys.stdout.write("]}\n")
