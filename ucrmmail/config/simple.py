"""A reader for plain TOML, or none: it saves every submission the 15 ms that importing tomllib costs.

    # a comment
    [smtp]
    host = "mail.isp.example"
    port = 587
    pipelining = true
    domains = ["a.example", "b.example"]

Only bare names, simple strings (no escapes), decimal integers, booleans and one-line arrays of simple strings. For
anything else the answer is None, never a guess: then tomllib decides, and knows what to say about errors. Whenever
there is an answer it is the one that tomllib gives (TOML 1.0).
"""

from __future__ import annotations

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_BLANK = " \t"
# Beyond 18 digits TOML leaves it open what an integer means.
_MOST_DIGITS = 18

_NONE = object()


def parse_simple(data: bytes) -> dict[str, object] | None:
    """Return what the document says, tables as dictionaries, or None when it is not plain."""
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None
    document: dict[str, object] = {}
    table = document
    for line in text.split("\n"):
        if not line.isprintable() and _has_control(line):
            return None
        stripped = line.strip(_BLANK)
        if not stripped or stripped[0] == "#":
            continue
        if stripped[0] == "[":
            name = _table_name(stripped)
            if name is None or name in document:
                return None
            table = {}
            document[name] = table
            continue
        key, equals, rest = stripped.partition("=")
        key = key.rstrip(_BLANK)
        value = _value(rest.lstrip(_BLANK))
        if not equals or not _is_bare(key) or key in table or value is _NONE:
            return None
        table[key] = value
    return document


def _has_control(line: str) -> bool:
    return any((character < " " and character != "\t") or character == "\x7f" for character in line)


def _table_name(line: str) -> str | None:
    name, bracket, rest = line[1:].partition("]")
    name = name.strip(_BLANK)
    return name if bracket and _is_bare(name) and _is_end(rest) else None


def _is_bare(name: str) -> bool:
    return bool(name) and _BARE.issuperset(name)


def _is_end(rest: str) -> bool:
    """Return whether nothing but blanks and a comment follows."""
    rest = rest.lstrip(_BLANK)
    return not rest or rest[0] == "#"


def _value(text: str) -> object:
    """Return the value that stands behind the equals sign, or _NONE."""
    if text[:1] == '"':
        string, rest = _string(text)
        return string if string is not None and _is_end(rest) else _NONE
    if text[:1] == "[":
        return _array(text[1:].lstrip(_BLANK))
    word = text.partition("#")[0].rstrip(_BLANK)
    if word in ("true", "false"):
        return word == "true"
    digits = word[1:] if word[:1] in ("-", "+") else word
    if digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS and (digits[0] != "0" or digits == "0"):
        return int(word)
    return _NONE


def _string(text: str) -> tuple[str | None, str]:
    """Split a text that starts with a quote into the string and what follows it."""
    end = text.find('"', 1)
    # A quote behind an empty string would open a string of several lines.
    if end < 0 or "\\" in text[:end] or text.startswith('"""'):
        return None, ""
    return text[1:end], text[end + 1 :]


def _array(text: str) -> object:
    """Return the strings of an array whose opening bracket was read, or _NONE."""
    strings: list[str] = []
    while text[:1] == '"':
        string, rest = _string(text)
        if string is None:
            return _NONE
        strings.append(string)
        rest = rest.lstrip(_BLANK)
        if rest[:1] != ",":
            text = rest
            break
        text = rest[1:].lstrip(_BLANK)
    return strings if text[:1] == "]" and _is_end(text[1:]) else _NONE
