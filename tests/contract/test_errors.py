"""Every error that ends a command says what to do: it has a remedy, where it is raised."""

from __future__ import annotations

import ast
import importlib
import inspect
from multiprocessing.connection import Pipe
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


def all_kinds(of: type[errors.UcrmmailError] = errors.UcrmmailError) -> set[type[errors.UcrmmailError]]:
    return {of, *(below for kind in of.__subclasses__() for below in all_kinds(kind))}


def test_an_error_of_a_worker_process_reaches_its_run_whole() -> None:
    for module in PACKAGE.rglob("*.py"):
        if "class" in module.read_text() and module.stem != "__main__":
            importlib.import_module(".".join(["ucrmmail", *module.relative_to(PACKAGE).with_suffix("").parts]))
    kinds = all_kinds()
    assert {"ConfigError", "ClientRefusedError", "NotTomlError"} <= {kind.__name__ for kind in kinds}
    heard, notes = Pipe(duplex=False)
    for kind in kinds:
        wanted = {"code": "invalid_client", "path": "config.toml", "reason": "it is wrong"}
        known = inspect.signature(kind.__init__).parameters
        given = {name: value for name, value in wanted.items() if name in known}
        error = kind(**given, **({} if "path" in known else {"what": "no", "why": "so", "remedy": "do"}))
        notes.send(error)
        found = heard.recv()
        assert type(found) is kind
        assert (str(found), vars(found), found.exit_code) == (str(error), vars(error), kind.exit_code)
    heard.close()
    notes.close()
