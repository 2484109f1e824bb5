"""Each requirement is shown by a test that bears its name, and no mark names what nobody asked for.

``pytest tests --requirement R19`` runs what shows R19. Here the marks are read from the text: no test is collected.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
README = TESTS / "campaign" / "README.md"
KNOWN = [f"R{number}" for number in range(1, 33)] + [f"S{number}" for number in range(1, 20)]


@dataclass(frozen=True)
class Mark:
    """A requirement that a test, or a whole module, is marked with."""

    name: object
    file: str
    line: int
    test: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.test}: {self.name}"


def marks_in(text: str, file: str) -> Iterator[Mark]:
    """Find ``pytest.mark.requirement(...)``, as a decorator of a test or in ``pytestmark``."""
    places: Sequence[ast.AST]
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            places, test = node.decorator_list, node.name
        elif isinstance(node, ast.Assign) and any(getattr(to, "id", "") == "pytestmark" for to in node.targets):
            places, test = [node.value], "pytestmark"
        else:
            places, test = [node], ""
        for call in (found for place in places for found in ast.walk(place)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.requirement":
                yield from (Mark(getattr(name, "value", None), file, call.lineno, test) for name in call.args)


@cache
def marks() -> list[Mark]:
    texts = {path: path.read_text("utf-8") for path in sorted(TESTS.rglob("test_*.py"))}
    # A syntax tree is made of those alone that have a mark: there are two hundred files.
    return [
        mark
        for path, text in texts.items()
        if "mark.requirement" in text
        for mark in marks_in(text, str(path.relative_to(TESTS)))
    ]


@pytest.mark.requirement("R27")
def test_each_requirement_has_a_test_that_bears_its_name() -> None:
    shown = {mark.name for mark in marks()}
    assert [name for name in KNOWN if name not in shown] == []


def test_a_mark_names_requirements_that_exist_on_a_test() -> None:
    assert [str(mark) for mark in marks() if mark.name not in KNOWN] == []
    assert [str(mark) for mark in marks() if not re.match(r"test_|pytestmark$", mark.test)] == []


def test_the_table_of_requirements_has_a_row_for_each_and_names_files_that_bear_it() -> None:
    told = []
    for line in README.read_text("utf-8").splitlines():
        cells = line.split("|")
        names = re.findall(r"\b[RS]\d+\b", cells[1]) if len(cells) == 5 else []
        told += names
        bearing = {Path(mark.file).name for mark in marks() if mark.name in names}
        files = set(re.findall(r"test_\w+\.py", cells[2])) if names else set()
        assert files <= bearing, f"{', '.join(names)}: no test bears it in {', '.join(files - bearing)}"
    assert sorted(told) == sorted(KNOWN)


def test_a_mark_that_is_wrong_would_be_seen() -> None:
    text = (
        'pytestmark = [pytest.mark.timeout(9), pytest.mark.requirement("R1")]\n'
        '@pytest.mark.requirement("S5", "S20")\ndef test_a() -> None: ...\n'
        '@pytest.mark.requirement("R2")\ndef helper() -> None: ...\n'
        "both = pytest.mark.requirement(NAME)\n"
    )
    assert [(mark.test, mark.name) for mark in marks_in(text, "")] == [
        ("pytestmark", "R1"), ("test_a", "S5"), ("test_a", "S20"), ("helper", "R2"), ("", None),
    ]  # fmt: skip
