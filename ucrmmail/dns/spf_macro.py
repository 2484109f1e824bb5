"""Macros of SPF: the text ``%{ir}.%{v}._spf.%{d2}`` read once, then expanded for a connection (RFC 7208 section 7).

Reading and expanding are pure. The one macro that asks the DNS, ``%{p}``, is given as a value like the others:
``Macro.letters`` tells beforehand whether it is needed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NAME = 253
# What a reply may hold of an explanation: a reply line has 512 octets, and no server says it in more than a few.
MAX_EXPLANATION = 2048
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_EXPAND = re.compile(r"%(?:\{([A-Za-z])([0-9]*)([rR]?)([.\-+,/_=]*)\}|([%_\-]))")
_PLAIN = {"%": "%", "_": " ", "-": "%20"}
_LETTERS = frozenset("slodiphv")
_EXPLANATION_LETTERS = frozenset("slodiphvcrt")


class MacroError(ValueError):
    """A macro is malformed; ``start`` and ``end`` say where in the text."""

    def __init__(self, reason: str, start: int, end: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.start = start
        self.end = end


@dataclass(frozen=True, slots=True)
class Expansion:
    """One ``%{...}``: a letter (lower case), and how its value is cut up; ``keep`` is 0 for all parts."""

    letter: str
    keep: int
    reverse: bool
    delimiters: str
    escape: bool

    def of(self, value: str) -> str:
        """Return the value split, reversed, cut to the rightmost parts, joined with dots and perhaps URL-escaped."""
        # Nothing said about parts: the value stays as it is, also when it holds none or many dots.
        parts = re.split("[" + re.escape(self.delimiters) + "]", value)
        if self.reverse:
            parts.reverse()
        text = ".".join(parts[-self.keep :] if self.keep else parts)
        return _url_escaped(text) if self.escape else text


@dataclass(frozen=True, slots=True)
class Macro:
    """A macro-string: literal text and expansions in turn.

    ``ends_in_expansion`` is true when a macro-expand (``%%``, ``%_`` and ``%-`` among them) comes last, which may end
    a domain-spec as a top label does.
    """

    parts: tuple[str | Expansion, ...]
    ends_in_expansion: bool

    @property
    def letters(self) -> frozenset[str]:
        """The macro letters used, in lower case."""
        return frozenset(part.letter for part in self.parts if isinstance(part, Expansion))

    def expand(self, values: Mapping[str, str], *, limit: int) -> str | None:
        """Return the text for these values of the letters, or None when it would be longer than ``limit``."""
        pieces: list[str] = []
        length = 0
        for part in self.parts:
            piece = part if isinstance(part, str) else part.of(values[part.letter])
            length += len(piece)
            if length > limit:
                return None
            pieces.append(piece)
        return "".join(pieces)

    def expand_name(self, values: Mapping[str, str]) -> str:
        """Return the domain name for these values, without the final dot.

        A name over 253 characters loses labels on its left until it fits (RFC 7208 section 7.3).
        """
        # A record's own text bounds the number of expansions; the generous limit only stops what cannot be a name.
        name = self.expand(values, limit=64 * MAX_NAME)
        if name is None:
            return ""
        name = name.removesuffix(".")
        while len(name) > MAX_NAME:
            _, dot, name = name.partition(".")
            if not dot:
                return ""
        return name


def parse_macro(text: str, *, explanation: bool = False) -> Macro:
    """Return the macro-string read from a term, or, with ``explanation``, from an explain-string.

    An explain-string may hold blanks and the letters c, r and t besides (RFC 7208 section 7.1).

    Raises MacroError for anything outside the grammar.
    """
    allowed = _EXPLANATION_LETTERS if explanation else _LETTERS
    lowest = " " if explanation else "!"
    parts: list[str | Expansion] = []
    literal: list[str] = []
    position = 0
    expanded = False
    while position < len(text):
        character = text[position]
        expanded = character == "%"
        if not expanded:
            if not lowest <= character <= "~":
                raise MacroError(f"the character {_named(character)} is not allowed", position, position + 1)
            literal.append(character)
            position += 1
            continue
        found = _EXPAND.match(text, position)
        if found is None:
            closing = text.find("}", position)
            end = closing + 1 if text.startswith("%{", position) and closing > 0 else min(position + 2, len(text))
            raise MacroError("a % that starts no macro", position, end)
        if found[5]:
            literal.append(_PLAIN[found[5]])
        else:
            if literal:
                parts.append("".join(literal))
                literal = []
            parts.append(_expansion(found, allowed))
        position = found.end()
    if literal:
        parts.append("".join(literal))
    return Macro(tuple(parts), expanded)


def _expansion(found: re.Match[str], allowed: frozenset[str]) -> Expansion:
    letter, digits, reverse, delimiters = found[1], found[2], found[3], found[4]
    if letter.lower() not in allowed:
        raise MacroError(f"there is no macro %{{{letter}}} here", found.start(), found.end())
    # Any number of digits is allowed by the grammar; more than 128 parts are in no value.
    keep = min(int(digits[-9:]) if len(digits.lstrip("0")) < 9 else 128, 128) if digits else 0
    if digits and keep == 0:
        raise MacroError("a macro cannot keep 0 parts", found.start(), found.end())
    return Expansion(letter.lower(), keep, bool(reverse), delimiters or ".", letter.isupper())


def _url_escaped(text: str) -> str:
    """Return the text with everything outside RFC 3986's unreserved set as %XX."""
    return "".join(
        chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape")
    )


def _named(character: str) -> str:
    return f"U+{ord(character):04X}" if not "!" <= character <= "~" else repr(character)
