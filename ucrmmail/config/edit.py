"""Changing the configuration file: one key, or all of it, so that nothing else is lost.

A change is read, made, checked and written under one lock beside the file, and the file is replaced in one step. In an
existing file only the lines of the key itself change: comments, order, blank lines and line endings are the user's.
tomlkit keeps them, tomli-w writes what is written afresh. tomlkit is imported by this module only, and this module
only by the commands that write.
"""

from __future__ import annotations

import os
import tomllib
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import tomli_w
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from ucrmmail.config.load import examine_bytes, problems_error
from ucrmmail.config.schema import KEYS
from ucrmmail.config.source import LIMIT_BYTES, parse, read_file
from ucrmmail.dataclass import dataclass
from ucrmmail.errors import ConfigError, PermissionDeniedError, TemporaryError, UsageError
from ucrmmail.files import Locked, replace_file, replacements_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ucrmmail.config.kinds import Written
    from ucrmmail.config.load import Config, Examination
    from ucrmmail.config.location import Location


_TOO_LARGE = f"would be larger than the {LIMIT_BYTES} bytes that are read of it"


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did: whether the file is another now, and what is found in it."""

    changed: bool
    found: Examination


def set_value(location: Location, key: str, written: Written) -> Change:
    """Set a key, making the file if there is none. Errors of other keys do not hinder: they may be mended one by one.

    Raises UsageError when the value is not allowed (nothing is changed then), ConfigError when the file is not TOML,
    PermissionDeniedError when it may not be written, OSError.
    """
    try:
        KEYS[key].kind.check(written)
    except ValueError as error:
        raise UsageError(f"{key}: {error}; allowed: {KEYS[key].allowed}", remedy="see `ucrmmail config list`") from None

    def change(text: str) -> str:
        table, _, name = key.partition(".")
        if not text.strip():
            return text + tomli_w.dumps({table: {name: written}})
        return _with_key(text, table, name, written)

    return _change(location, change)


def change_values(location: Location, values: Mapping[str, Written | None]) -> Change:
    """Set several keys in one step, and take those out whose value is None: all of them are changed, or none.

    Raises as ``set_value`` does.
    """
    return _change(location, lambda text: _with_values(text, values))


def preview_values(location: Location, values: Mapping[str, Written | None]) -> Config:
    """Return the configuration as it would be after ``change_values``; nothing is written.

    Raises ConfigError when it would not be valid, and what reading the file raises.
    """
    before = read_file(location.path, location.euid) or b""
    parse(before, location.path)
    found = examine_bytes(
        _keeping_line_ends(before.decode(), lambda text: _with_values(text, values)).encode(), location
    )
    if found.problems:
        raise problems_error(location.path, found.problems)
    return found.config


def _with_values(text: str, values: Mapping[str, Written | None]) -> str:
    for key, written in values.items():
        table, _, name = key.partition(".")
        if written is None:
            text = _without_key(text, table, name)
        elif text.strip():
            text = _with_key(text, table, name, written)
        else:
            text += tomli_w.dumps({table: {name: written}})
    return text


def unset_value(location: Location, key: str) -> Change:
    """Take a key out of the file, so that its default applies again; no change when it was not set.

    Raises as ``set_value`` does.
    """
    table, _, name = key.partition(".")
    return _change(location, lambda text: _without_key(text, table, name))


def read_text(location: Location) -> bytes | None:
    """Return the content for an editor, None when there is no file; root may edit what belongs to others."""
    return read_file(location.path, location.euid, any_owner=location.euid == 0)


def replace_text(location: Location, data: bytes, expected: bytes | None) -> None:
    """Replace the whole content, which was ``expected`` when the user began to edit it.

    Raises ConfigError with all problems of the new content, TemporaryError when another change came in between;
    the file is as it was then.
    """
    if len(data) > LIMIT_BYTES:
        raise ConfigError(f"{location.path}: {_TOO_LARGE}", remedy="take out what is not needed there")
    found = examine_bytes(data, location)
    if found.problems:
        raise problems_error(location.path, found.problems)
    with _locked(location):
        if read_text(location) != expected:
            raise TemporaryError(
                f"{location.path}: was changed by another command while it was edited",
                remedy="look at both texts, then edit again",
            )
        _write(location, data)


def _change(location: Location, change: Callable[[str], str]) -> Change:
    with _locked(location):
        before = read_text(location)
        # What is not TOML cannot be changed key by key: this raises.
        parse(before or b"", location.path)
        earlier = examine_bytes(before or b"", location)
        after = _keeping_line_ends((before or b"").decode(), change).encode()
        if after == (before or b""):
            return Change(changed=False, found=earlier)
        if len(after) > LIMIT_BYTES:
            raise UsageError(f"{location.path}: {_TOO_LARGE}, so nothing was changed", remedy="give a shorter value")
        found = examine_bytes(after, location)
        known = {(problem.key, problem.what) for problem in earlier.problems}
        new = tuple(problem for problem in found.problems if (problem.key, problem.what) not in known)
        if new:
            raise UsageError(
                "; ".join(f"{problem.key}: {problem.what}" for problem in new),
                why="the file would not be valid any more, so nothing was changed",
                remedy="change several keys at once with `ucrmmail config edit`",
            )
        _write(location, after)
        return Change(changed=True, found=found)


@contextmanager
def _locked(location: Location) -> Iterator[None]:
    """Hold the lock of the file that a symbolic link leads to: both names mean the same file."""
    target = os.path.realpath(location.path)
    if os.path.exists(target) and not os.path.isfile(target):
        # This raises, before there is a lock beside it, as in /dev.
        read_text(location)
    with _explained(location):
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        lock = Locked(f"{target}.lock")
        lock.__enter__()
    try:
        with _explained(location):
            # Who holds the lock is the only writer: the others have died.
            for left in replacements_left(target):
                os.unlink(left)
        yield
    finally:
        lock.__exit__()


def _write(location: Location, data: bytes) -> None:
    with _explained(location):
        replace_file(location.path, data, mode=0o600, follows_link=True)


@contextmanager
def _explained(location: Location) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{error.filename or location.path}: permission denied",
            why=f"the configuration file is {location.path}: {location.reason}",
            remedy="run the command as its owner, or keep a file of your own:"
            " `ucrmmail --config ~/.config/ucrmmail/config.toml config set ...`",
        ) from None


def _keeping_line_ends(text: str, change: Callable[[str], str]) -> str:
    """Apply ``change`` to a text whose lines may all end in CRLF: new lines shall end as the others do."""
    if text.count("\r\n") != text.count("\n") or "\n" not in text:
        return change(text)
    return change(text.replace("\r\n", "\n")).replace("\n", "\r\n")


def _document(text: str, table: str) -> dict[str, Any]:
    document = tomllib.loads(text)
    if not isinstance(document.get(table, {}), dict):
        raise _beyond_us(f"{table} is not a table there")
    return document


def _with_key(text: str, table: str, name: str, written: Written) -> str:
    """Return a TOML text (not an empty one) in which the key has a value."""
    document = _document(text, table)
    if document.get(table, {}).get(name) == written and type(document[table][name]) is type(written):
        return text
    wanted = deepcopy(document)
    wanted.setdefault(table, {})[name] = written
    if table not in document:
        # A new table goes to the end, apart from what stands there.
        end = "" if text.endswith("\n") else "\n"
        return _verified(f"{text}{end}\n{tomli_w.dumps({table: {name: written}})}", wanted)

    def put(edited: Any) -> None:
        found = edited[table]
        if name not in found and isinstance(found, Table):
            _append(found, name, written)
        else:
            found[name] = written

    return _verified(_edited(text, put), wanted)


def _append(table: Table, name: str, written: Written) -> None:
    """Put a new key below the last one: blank lines and comments at the end may belong to the next table."""
    body = table.value.body
    last = max(
        (place for place, (key, item) in enumerate(body) if key and not isinstance(item, (Table, AoT))), default=-1
    )
    tail = body[last + 1 :]
    del body[last + 1 :]
    table.append(name, written)
    body.extend(tail)


def _without_key(text: str, table: str, name: str) -> str:
    """Return the TOML text without the key; a table that was there for it alone goes too."""
    document = _document(text, table)
    if name not in document.get(table, {}):
        return text
    wanted = deepcopy(document)
    del wanted[table][name]

    def take(edited: Any) -> None:
        del edited[table][name]

    after = _verified(_edited(text, take), wanted)
    if wanted[table]:
        return after
    # The header, and the blank line before it, as _with_key has put them there.
    header = f"[{table}]\n"
    if after == header:
        return ""
    return after.removesuffix("\n" + header) if after.endswith("\n\n" + header) else after


def _edited(text: str, edit: Callable[[Any], None]) -> str:
    try:
        document = tomlkit.parse(text)
        edit(document)
        return tomlkit.dumps(document)
    except TOMLKitError as error:
        raise _beyond_us(str(error)) from error


def _verified(text: str, wanted: dict[str, object]) -> str:
    """Return the text if it says what it should: an editor's mistake must not reach the file."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _beyond_us(str(error)) from error
    # As texts, since a NaN is not equal to itself.
    if repr(_in_order(found)) != repr(_in_order(wanted)):
        raise _beyond_us("it would change other keys too")
    return text


def _in_order(value: object) -> object:
    if isinstance(value, dict):
        return sorted((key, _in_order(item)) for key, item in value.items() if item != {})
    return value


def _beyond_us(why: str) -> ConfigError:
    return ConfigError(
        "the file is written in a way that cannot be changed key by key", why=why, remedy="use `ucrmmail config edit`"
    )
