"""Wherever a command of ours is named in backticks, it exists: in remedies, help texts, pages and remarks in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_lines import ARGUMENT_MISSING, VALUE_MISSING, mistake_in
from tests.support.manual import ROOT

_SPAN = re.compile(r"`(ucrmmail(?: [^`]*)?)`")
# What a sentence is completed with when it is told; a key stands for any.
_FILLED_IN = "smtp.host"
_PAGES = [
    *ROOT.glob("*.md"),
    *(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "reference"),
    *(ROOT / "man" / "src").glob("*.txt"),
]
# Not in the command tree, and for the shells alone.
_HIDDEN = "ucrmmail __complete"


def texts_of(module: Path) -> Iterator[str]:
    """The strings of a module, what is filled in replaced."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else _FILLED_IN for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def mistakes(texts: Iterator[str] | list[str]) -> list[str]:
    found = []
    for text in texts:
        for span in _SPAN.findall(text):
            command = " ".join(span.split())
            # A whole command may be filled in, or left to the reader.
            if command == _HIDDEN or command.startswith(f"ucrmmail {_FILLED_IN}") or command.endswith("..."):
                continue
            if (mistake := mistake_in(f"{command} ")) not in ("", ARGUMENT_MISSING, VALUE_MISSING):
                found.append(f"{command}: {mistake}")
    return found


@pytest.mark.parametrize(
    "module", sorted((ROOT / "ucrmmail").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_what_the_program_tells_to_type_exists(module: Path) -> None:
    # One half of a key may be filled in as well: table and name.
    texts = (text.replace(f"{_FILLED_IN}.{_FILLED_IN}", _FILLED_IN) for text in texts_of(module))
    assert mistakes(texts) == []


@pytest.mark.parametrize("page", sorted(_PAGES), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_mentions_exists(page: Path) -> None:
    assert mistakes([page.read_text()]) == []


def test_what_does_not_exist_would_be_seen() -> None:
    assert mistakes(["run `ucrmmail flsh`", "or `ucrmmail config set smtp.hots x`, or `ucrmmail flush --fast`"]) == [
        "ucrmmail flsh: there is no command flsh",
        "ucrmmail config set smtp.hots x: there is no key smtp.hots",
        "ucrmmail flush --fast: flush has no option --fast",
    ]
    assert mistakes(["see `ucrmmail queue show` and `ucrmmail login --flow`"]) == []
