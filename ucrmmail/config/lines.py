"""On which line of a TOML document each key stands: for messages and origins, since tomllib does not tell.

Only a document that tomllib has read is given here, so there is nothing to check: texts, comments and brackets are
skipped, and what stands before ``=`` or between ``[`` and ``]`` at the outermost level is a name.

    [smtp]                  smtp            1
    host = "a"              smtp.host       2
    "port" = 25             smtp.port       3
    smtp.timeout = "1s"     (the full name counts from the table it stands in)
"""

from __future__ import annotations

import re

# One step over the document. Texts of several lines come first: their beginning looks like an empty text.
_TOKEN = re.compile(
    r'(?P<skip>"""(?:[^\\]|\\.)*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|#[^\n]*|[ \t\r]+)'
    r'|(?P<text>"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\')'
    r"|(?P<word>[A-Za-z0-9_+:\-]+)"
    r"|(?P<mark>.)",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def key_lines(text: str) -> dict[str, int]:
    """Return the line (from 1) of each table and key by its path, ``smtp.port``; the first counts."""
    lines: dict[str, int] = {}
    table: list[str] = []
    names: list[str] = []
    line, depth, in_value, in_header = 1, 0, False, False
    for token in _TOKEN.finditer(text):
        kind, found = token.lastgroup, token.group()
        if kind in ("word", "text") and depth == 0 and not in_value:
            names += _names(found)
        elif found == "=" and depth == 0 and not in_value:
            lines.setdefault(".".join(table + names), line)
            in_value = True
        elif found in ("[", "{"):
            in_header = not in_value
            depth += in_value
        elif found in ("]", "}") and in_header:
            if names:
                table, names = names, []
                lines.setdefault(".".join(table), line)
        elif found in ("]", "}"):
            depth -= 1
        elif found == "\n" and depth == 0:
            names, in_value, in_header = [], False, False
        line += found.count("\n")
    return lines


def _names(token: str) -> list[str]:
    """Return the names in a token: a bare dotted name was cut at its dots already."""
    if token[0] == '"':
        return [_ESCAPE.sub(_unescaped, token[1:-1])]
    return [token[1:-1]] if token[0] == "'" else [token]


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1) or match.group(2)
    return chr(int(code, 16)) if code else _ESCAPED.get(match.group(3), match.group(3))
