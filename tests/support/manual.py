"""The manual as a reader sees it: each page rendered, and its sections."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAN = ROOT / "man"

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
