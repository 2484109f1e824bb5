"""Every error that ends a command says what to do: it has a remedy, where it is raised."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ucrmmail import errors

PACKAGE = Path(errors.__file__).parent
KINDS = {
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.UcrmmailError)
}
# What was found is the message, and the report above it has the remedies.
WITHOUT = {"CheckFailedError"}


def raised_without_remedy(module: Path) -> list[int]:
    calls = [
        node.exc
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    ]
    return [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id in KINDS - WITHOUT
        and not any(keyword.arg in ("remedy", None) for keyword in call.keywords)
    ]


@pytest.mark.parametrize("module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_an_error_names_what_to_do(module: Path) -> None:
    assert raised_without_remedy(module) == []


def test_an_error_without_a_remedy_would_be_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('raise UsageError("no")\nraise UsageError("no", remedy="do")\nraise ValueError("no")\n')
    assert raised_without_remedy(module) == [1]
