r"""Results for programs: one JSON document, or JSON lines where it streams; plain ASCII whatever is in it.

A byte of a reply, a header or a file name that is not UTF-8 is ``\xNN``, as people see it: half a surrogate pair, which
``json`` would write for it, is no text (RFC 8259 section 8.2), and strict readers refuse the document for it.
"""

from __future__ import annotations

import json
import sys
from itertools import chain, islice
from typing import TYPE_CHECKING

from ucrmmail.output.escape import decodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ucrmmail.errors import UcrmmailError

SCHEMA_VERSION = 1
# The beginning of a character beyond the 65,536 first as well, which is made of two.
_SURROGATE = "\\ud"


def print_document(fields: Mapping[str, object]) -> None:
    """Print one JSON document on standard output; ``schema_version`` comes first. Fields are only ever added."""
    document = {"schema_version": SCHEMA_VERSION, **fields}
    sys.stdout.write(_encoded(document, indent=2) + "\n")


def print_error_document(error: UcrmmailError) -> None:
    """Print the document of a command that could not do what it was asked for."""
    print_document({"error": {"what": error.what, "why": error.why, "remedy": error.remedy}})


def print_listing(
    name: str, items: Iterable[Mapping[str, object]], behind: Callable[[], Mapping[str, object]] = dict
) -> None:
    """Print one JSON document whose field ``name`` is a list, item by item: a long list needs no memory.

    ``behind()`` are the fields that are known when the list has come to its end.
    """
    items = iter(items)
    # What keeps the list from being read at all is raised before a document is begun.
    first = list(islice(items, 1))
    sys.stdout.write(f'{{"schema_version": {SCHEMA_VERSION}, {_encoded(name)}: [')
    separator = "\n"
    for item in chain(first, items):
        sys.stdout.write(separator + _encoded(item))
        separator = ",\n"
    more = "".join(f",\n{_encoded(key)}: {_encoded(value)}" for key, value in behind().items())
    sys.stdout.write(f"]{more}}}\n")


def _encoded(value: object, *, indent: int | None = None) -> str:
    text = json.dumps(value, ensure_ascii=True, indent=indent, allow_nan=False)
    if _SURROGATE not in text:  # nearly always: a hundred thousand messages are not gone through once more
        return text
    return json.dumps(_decodable(value), ensure_ascii=True, indent=indent, allow_nan=False)


def _decodable(value: object) -> object:
    """Return a value of JSON with each text, and each name of a field, made decodable."""
    match value:
        case str():
            return decodable(value)
        case dict():
            return {_decodable(name): _decodable(each) for name, each in value.items()}
        case list() | tuple():
            return [_decodable(each) for each in value]
        case _:
            return value
