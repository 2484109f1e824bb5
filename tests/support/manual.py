"""The manual as a reader sees it: each page rendered, and its sections."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MAN = ROOT / "man"

# Their fields are named by data: keys of the configuration, addresses, libraries.
_NAMED_BY_DATA = ("keys", "recipients", "outcomes", "libraries", "optional_libraries")
_OVERSTRIKE = re.compile(r".\x08")


@cache
def rendered(page: str) -> str:
    """The text of a page such as ``ucrmmail-queue.1``, with each paragraph on one line."""
    done = subprocess.run(
        ["mandoc", "-T", "ascii", "-O", "width=1000,indent=2", page], cwd=MAN, capture_output=True, check=True
    )
    return _OVERSTRIKE.sub("", done.stdout.decode())


def section(page: str, title: str) -> str:
    """The text of one section, "" when the page has none."""
    found = re.search(rf"^{re.escape(title)}\n(.*?)(?=^\S)", rendered(page), re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def holds_word(text: str, word: str) -> bool:
    """Whether a word stands in the text, not as a part of a longer one."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def fields_of(document: Any) -> Iterator[str]:
    """All names of fields in a document, nested ones too."""
    if isinstance(document, list):
        for item in document:
            yield from fields_of(item)
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name
            named_by_data = name in _NAMED_BY_DATA and isinstance(value, dict)
            yield from fields_of(list(value.values()) if named_by_data else value)
