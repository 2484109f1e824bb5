"""Text from people, as header fields can hold it: display names (RFC 5322 section 3.2.5) and encoded words (RFC 2047).

Loaded by submissions, which may have to write a From; hence no email package.
"""

from __future__ import annotations

from ucrmmail.errors import DataError

# Those that RFC 2047 section 5 allows in an encoded word everywhere, also in a display name.
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
# An encoded word has at the most 75 characters; "=?utf-8?q?" and "?=" take 12.
_LONGEST_WORD = 63


def phrase(name: str) -> str:
    """Return a display name as From can hold it: as a quoted string, outside ASCII as encoded words.

    Raises DataError for a control character: it could begin another header.
    """
    if not name.isascii():
        return encoded_words(name)
    if not name.isprintable():
        raise _unprintable(name)
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def encoded_words(text: str) -> str:
    """Return a text as encoded words in UTF-8; each is whole characters, so that a reader can decode them one by one.

    Raises DataError for a control character, or bytes that were not UTF-8.
    """
    words = [""]
    for character in text:
        code = ord(character)
        if code < 0x20 or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF:
            raise _unprintable(text)
        encoded = "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in character.encode())
        encoded = "_" if character == " " else encoded
        if len(words[-1]) + len(encoded) > _LONGEST_WORD:
            words.append("")
        words[-1] += encoded
    return " ".join(f"=?utf-8?q?{word}?=" for word in words)


def _unprintable(text: str) -> DataError:
    return DataError(
        f"the name or subject {text[:80]!r} holds a control character, or bytes that are not UTF-8",
        why="in a header, a line end would begin another header",
        remedy="write it on one line, in plain text",
    )
