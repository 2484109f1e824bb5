"""The rooms of the package and who may import whom, held over the syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ucrmmail"

LEAVES = {"errors", "clock", "dataclass", "units", "files", "journal", "jsontext", "reader", "streams"}
# What each room may import besides itself. A room that is missing here fails the test.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "clock": set(),
    "dataclass": set(),
    "reader": set(),
    "streams": {"reader"},
    "units": {"errors"},
    "files": {"errors"},
    "journal": {"errors", "files"},
    "jsontext": set(),
    "message": LEAVES,
    "config": LEAVES | {"message"},
    "credentials": LEAVES | {"message"},
    "oauth": LEAVES | {"credentials"},
    "limits": LEAVES | {"message"},
    "spool": LEAVES | {"message"},
    "smtp": LEAVES | {"message"},
    "dns": LEAVES | {"message"},
    "mailbox": LEAVES | {"message"},
    "delivery": LEAVES | {"message", "limits", "spool", "smtp"},
    "doctor": LEAVES | {"message", "config", "limits", "spool", "smtp", "dns", "delivery"},
    "output": LEAVES
    | {"message", "config", "credentials", "limits", "spool", "smtp", "dns", "mailbox", "delivery", "doctor"},
    "cli": LEAVES
    | {
        "message",
        "config",
        "credentials",
        "oauth",
        "limits",
        "spool",
        "smtp",
        "dns",
        "mailbox",
        "delivery",
        "doctor",
        "output",
        "__init__",
    },
    "smtpd": LEAVES | {"message", "output"},
    "sendmail": LEAVES | {"message", "config", "spool", "output", "smtpd"},
    "__main__": {"errors", "streams", "cli"},
    "__init__": set(),
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: Path) -> str:
    first = module.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(module: Path) -> list[tuple[int, str]]:
    """Return (line, dotted name) of each import, those for annotations and inside functions too."""
    found = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}:{node.lineno}: relative imports are banned"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(module: Path) -> None:
    room = room_of(module)
    assert room in ARROWS, f"the room {room} is not listed: say what it may import"
    for line, name in imports_of(module):
        parts = name.split(".")
        if parts[0] != "ucrmmail":
            continue
        target = parts[1] if (PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists() else "__init__"
        assert target == room or target in ARROWS[room], f"{module.name}:{line}: {room} must not import {name}"


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("dns", {"dns/resolver.py"}),
        ("tomlkit", {"config/edit.py"}),
        ("smtplib", set()),
        ("requests", {"oauth/endpoint.py"}),
        ("pickle", set()),
    ],
)
def test_a_library_has_one_importer(library: str, owners: set[str]) -> None:
    importers = {
        str(module.relative_to(PACKAGE))
        for module in MODULES
        for _, name in imports_of(module)
        if name.split(".")[0] == library
    }
    assert importers <= owners


def test_keyring_is_imported_in_one_room() -> None:
    importers = {room_of(m) for m in MODULES for _, name in imports_of(m) if name.split(".")[0] == "keyring"}
    assert importers <= {"credentials"}


def test_only_output_prints() -> None:
    for module in MODULES:
        if room_of(module) == "output":
            continue
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{module}:{node.lineno}"


def test_only_the_boundary_ends_the_process() -> None:
    for module in MODULES:
        if module.name in ("__main__.py", "sendmail.py") and module.parent == PACKAGE:
            continue
        text = module.read_text()
        assert "sys.exit" not in text, module
        assert "os._exit" not in text or module.name == "streams.py", module
        assert not any(name == "ucrmmail.streams.leave" for _, name in imports_of(module)), module
