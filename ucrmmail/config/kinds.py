"""Kinds of values: how one is read from the command line, checked when it comes from the file, and described.

    kind       in the file                in use                   typed at the shell
    text       "billing@isp.example"      str                      the same without quotes
    choice     "starttls"                 str, one of a few        in any case
    integer    587                        int
    flag       true                       bool                     yes, no, on, off, true, false
    duration   "1h30m"                    float, seconds
    size       "50MB" or 50000000         int, bytes
    list       ["a.example", "b.example"] tuple of str             a.example,b.example or one argument for each
    command    ["pass", "show", "smtp"]   tuple of str             quoted as for a shell, or one argument for each

What stands in the file for a list or a command may be typed too, as one argument.

What is wrong is said by a NotAllowedError, in the middle of a sentence; ``Kind.allowed`` says what would be right.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ucrmmail.config.texts import plain, shown
from ucrmmail.dataclass import dataclass
from ucrmmail.units import format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # What TOML holds for a key, and what the program works with.
    Written = str | int | bool | list[str]
    Value = str | int | float | bool | tuple[str, ...]

_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})


class NotAllowedError(ValueError):
    """A value is not what its key may hold."""


def _one(arguments: Sequence[str]) -> str:
    if len(arguments) != 1:
        raise NotAllowedError(f"{len(arguments)} values were given, one is expected")
    return arguments[0]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a key may hold: its name, what is allowed in a few words, and the words to complete with.

    ``check`` returns the value to work with for what the file has; ``read`` returns what is written into the file for
    the arguments of ``config set``. Both raise ValueError. ``is_list``: several values may be given, which ``join``
    writes as one argument.
    """

    name: str
    allowed: str
    check: Callable[[object], Value]
    read: Callable[[Sequence[str]], Written] = _one
    choices: tuple[str, ...] = ()
    is_list: bool = False
    join: Callable[[Sequence[str]], str] = ",".join


def text(allowed: str, validate: Callable[[str], str] = plain, name: str = "text") -> Kind:
    """Return the kind of a text that ``validate`` finds right; "" stands for none."""

    def check(written: object) -> Value:
        found = _text(written)
        return validate(found) if found else ""

    return Kind(name, allowed, check)


def choice(*words: str) -> Kind:
    """Return the kind of one word out of a few."""

    def check(written: object) -> Value:
        found = _text(written)
        if found.lower() in words:
            return found.lower()
        from difflib import get_close_matches  # noqa: PLC0415 # only for a mistake

        near = get_close_matches(found.lower(), words, n=1)
        raise NotAllowedError(f"{shown(found)} is not known" + (f", did you mean {near[0]}?" if near else ""))

    def read(arguments: Sequence[str]) -> Written:
        return str(check(_one(arguments)))

    return Kind("choice", ", ".join(words), check, read, choices=words)


def integer(smallest: int, largest: int) -> Kind:
    """Return the kind of a whole number in a range."""

    def check(written: object) -> Value:
        if isinstance(written, bool) or not isinstance(written, int):
            raise NotAllowedError(f"{_described(written)} is not a whole number without quotes")
        if not smallest <= written <= largest:
            raise NotAllowedError(f"{written} is out of range")
        return written

    def read(arguments: Sequence[str]) -> Written:
        found = _one(arguments).strip()
        digits = found.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
            raise NotAllowedError(f"{shown(found)} is not a whole number")
        return int(found)

    return Kind("integer", f"{smallest}-{largest}", check, read)


def flag() -> Kind:
    """Return the kind of yes or no."""

    def check(written: object) -> Value:
        if not isinstance(written, bool):
            raise NotAllowedError(f"{_described(written)} is not true or false without quotes")
        return written

    def read(arguments: Sequence[str]) -> Written:
        word = _one(arguments).strip().lower()
        if word not in _YES | _NO:
            raise NotAllowedError(f"{shown(word)} is neither yes nor no")
        return word in _YES

    return Kind("flag", "true or false", check, read, choices=("true", "false"))


def duration(smallest_s: float = 0.0) -> Kind:
    """Return the kind of a time span; its value is in seconds."""

    def check(written: object) -> Value:
        # 0 means the same in every unit, so it may stand without quotes too.
        found = "0" if written == 0 and not isinstance(written, bool) else _text(written)
        try:
            seconds = parse_duration(found)
        except ValueError as error:
            raise NotAllowedError(str(error).partition(";")[0]) from None
        if seconds < smallest_s:
            raise NotAllowedError(f"{shown(found)} is too short")
        return seconds

    least = f", at least {smallest_s:g}s" if smallest_s else ""
    return Kind("duration", "a number and a unit (s, m, h, d, w), such as 90s, 24h or 1h30m" + least, check)


def size(smallest_bytes: int = 0, largest_bytes: int = 0) -> Kind:
    """Return the kind of an amount of data; its value is in bytes. ``largest_bytes`` 0 is none."""

    def check(written: object) -> Value:
        if not isinstance(written, (str, int)) or isinstance(written, bool):
            raise NotAllowedError(f"{_described(written)} is not a size")
        try:
            size_bytes = parse_size(str(written))
        except (ValueError, OverflowError):
            raise NotAllowedError(f"{_described(written)} is not a size") from None
        if size_bytes < smallest_bytes:
            raise NotAllowedError(f"{_described(written)} is too small")
        if largest_bytes and size_bytes > largest_bytes:
            raise NotAllowedError(f"{_described(written)} is too large")
        return size_bytes

    most = f", at most {format_size(largest_bytes)}" if largest_bytes else ""
    return Kind("size", "bytes with a unit (kB, MB, GB, KiB, MiB, GiB), such as 50MB" + most, check)


def _in_brackets(arguments: Sequence[str]) -> list[str] | None:
    """Return the items of a list that was typed in the words of the file, or None, as for the server ``[::1]:53``."""
    if len(arguments) != 1 or not arguments[0].lstrip().startswith("["):
        return None
    import tomllib  # noqa: PLC0415 # 15 ms that everything else does without

    try:
        document = tomllib.loads(f"typed = {arguments[0]}")
    except (ValueError, RecursionError):
        return None
    items: object = document.pop("typed")
    if document or not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        return None
    return items


def words(items: str, validate: Callable[[str], str]) -> Kind:
    """Return the kind of a list of texts (``items`` in words) that are checked one by one."""

    def check(written: object) -> Value:
        return tuple(validate(item) for item in _items(written))

    def read(arguments: Sequence[str]) -> Written:
        if (items := _in_brackets(arguments)) is not None:
            return items
        # No item of any list holds a comma or a blank, so both part items, in one argument or in several.
        return [item for argument in arguments for item in argument.replace(",", " ").split()]

    return Kind("list", f"a list of {items}", check, read, is_list=True)


def command() -> Kind:
    """Return the kind of a program and its arguments, run without a shell."""

    def check(written: object) -> Value:
        items = _items(written)
        if any("\0" in item for item in items):
            raise NotAllowedError("an argument holds a NUL")
        if items and not items[0]:
            raise NotAllowedError("the program has no name")
        return items

    def read(arguments: Sequence[str]) -> Written:
        if (items := _in_brackets(arguments)) is not None:
            return items
        if len(arguments) != 1:
            return list(arguments)
        try:
            return shlex.split(arguments[0])
        except ValueError:
            raise NotAllowedError(f"{shown(arguments[0])} has a quote that is not closed") from None

    allowed = 'a program and its arguments, such as ["pass", "show", "smtp"]'
    return Kind("command", allowed, check, read, is_list=True, join=shlex.join)


def secret() -> Kind:
    """Return the kind of a password or token: kept in the credential store, never in the file."""

    def check(written: object) -> Value:
        # The text is not repeated: it is the secret.
        del written
        raise NotAllowedError("a secret must not stand in this file")

    return Kind("secret", "nothing here: it is kept in the credential store", check)


def _text(written: object) -> str:
    if not isinstance(written, str):
        raise NotAllowedError(f"{_described(written)} is not text in quotes")
    return written


def _items(written: object) -> tuple[str, ...]:
    if not isinstance(written, list):
        raise NotAllowedError(f"{_described(written)} is not a list")
    for item in written:
        if not isinstance(item, str):
            raise NotAllowedError(f"{_described(item)} in the list is not text in quotes")
    return tuple(written)


def _described(written: object) -> str:
    """Return a wrong value as TOML has it."""
    match written:
        case bool():
            return str(written).lower()
        case dict():
            return "a table"
        case list():
            return "a list"
        case str():
            return shown(written)
        case _:
            return str(written)[:80]
