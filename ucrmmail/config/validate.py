"""From a TOML document to checked values, and all that is wrong with it at once.

A problem is one line that names the file, the line, the key, what is wrong and what is allowed:

    /etc/ucrmmail/config.toml:3: smtp.port: 99999 is out of range; allowed: 1-65535
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ucrmmail.config.lines import key_lines
from ucrmmail.config.schema import KEYS, TABLES, nearest, nearest_table
from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ucrmmail.config.kinds import Value


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one key (or table) of the file at ``path``; line and column are 0 when not known."""

    path: str
    line: int
    key: str
    what: str
    allowed: str = ""
    column: int = 0

    def __str__(self) -> str:
        where = ":".join([self.path, *(str(number) for number in (self.line, self.column) if number)])
        name = f"{self.key}: " if self.key else ""
        return f"{where}: {name}{self.what}" + (f"; allowed: {self.allowed}" if self.allowed else "")


@dataclass(frozen=True, slots=True)
class Setting:
    """A key that is set: as the file has it, and the value to work with."""

    written: object
    value: Value


def validate(document: Mapping[str, object], text: str, path: str) -> tuple[dict[str, Setting], tuple[Problem, ...]]:
    """Return the settings that are right, by key, and the problems in the order of the file.

    ``text`` is what the document was read from, for the lines.
    """
    settings: dict[str, Setting] = {}
    wrong: list[tuple[str, str, str]] = []
    for name, found in document.items():
        if name in TABLES and isinstance(found, dict):
            for key, written in found.items():
                wrong += _check_key(f"{name}.{key}", written, settings)
        else:
            wrong.append(_wrong_table(name, found))
    wrong += _check_together(settings)
    if not wrong:
        return settings, ()
    lines = key_lines(text)
    problems = (
        Problem(path, lines.get(key, lines.get(key.partition(".")[0], 0)), key, what, allowed)
        for key, what, allowed in wrong
    )
    return settings, tuple(sorted(problems, key=lambda problem: problem.line))


def _check_key(path: str, written: object, settings: dict[str, Setting]) -> list[tuple[str, str, str]]:
    """Put a right value into ``settings``; return what is wrong with it otherwise."""
    key = KEYS.get(path)
    if key is None:
        return [(path, unknown_key(path), "")]
    try:
        settings[path] = Setting(written, key.kind.check(written))
    except ValueError as error:
        if key.secret:
            return [(path, f"{error}; delete the line and run `ucrmmail config set {path}`", "")]
        return [(path, str(error), key.allowed)]
    return []


def unknown_key(path: str) -> str:
    """Return what to say of a key that does not exist."""
    near = nearest(path)
    return "there is no such key" + (f"; did you mean {near}?" if near else "; see `ucrmmail config list`")


def _wrong_table(name: str, found: object) -> tuple[str, str, str]:
    if name in TABLES:
        return name, f"is a table: write [{name}] on a line of its own, and its keys below", ""
    if name in KEYS:
        table, _, key = name.partition(".")
        return name, f"is written as {key} = ... below a line [{table}]", ""
    if not isinstance(found, dict):
        return name, unknown_key(name), ""
    near = nearest_table(name)
    return name, "there is no such table" + (f"; did you mean [{near}]?" if near else ""), ", ".join(TABLES)


def _check_together(settings: Mapping[str, Setting]) -> list[tuple[str, str, str]]:
    """Return what is wrong with keys that are right by themselves."""
    if _value(settings, "retry.first_delay") > _value(settings, "retry.max_delay"):
        key = "retry.first_delay" if "retry.first_delay" in settings else "retry.max_delay"
        return [(key, "the first delay is longer than the longest", "retry.first_delay up to retry.max_delay")]
    return []


def _value(settings: Mapping[str, Setting], path: str) -> Any:
    return settings[path].value if path in settings else KEYS[path].kind.check(KEYS[path].default)
