"""Header values of the trace, taken apart: comments, quoted strings and words (RFC 5322 section 3.2).

What is read here was written by any server on the way, so nothing is taken for granted: an unclosed comment or string
ends with the value.
"""

from __future__ import annotations

_LONGEST = 20_000


def split_comments(value: str) -> tuple[str, list[str]]:
    """Return the value without its comments (each becomes a blank), and the comments without their brackets.

    Comments nest; in a quoted string there are none. Only the first 20,000 characters are read.
    """
    outside: list[str] = []
    inside: list[str] = []
    comments: list[str] = []
    depth = 0
    quoted = escaped = False
    for character in value[:_LONGEST]:
        plain = not escaped
        escaped = plain and character == "\\" and (quoted or depth > 0)
        if plain and depth == 0 and character == '"':
            quoted = not quoted
        if plain and not quoted and character == "(":
            depth += 1
            if depth == 1:
                continue
        if plain and not quoted and character == ")" and depth:
            depth -= 1
            if depth == 0:
                comments.append(" ".join("".join(inside).split()))
                inside.clear()
                outside.append(" ")
                continue
        (inside if depth else outside).append(character)
    return "".join(outside), comments


def split_quoted(value: str, separator: str) -> list[str]:
    """Return the parts between separators that are not in a quoted string, without blanks around them."""
    parts = [""]
    quoted = escaped = False
    for character in value:
        if character == '"' and not escaped:
            quoted = not quoted
        escaped = quoted and character == "\\" and not escaped
        if character == separator and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def unquoted(value: str) -> str:
    """Return a word, or what is in a quoted string."""
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
