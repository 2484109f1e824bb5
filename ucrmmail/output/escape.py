r"""Foreign text made safe for a terminal or a log: the one place where it is done.

Replies, DNS records, headers, file names and exception texts come from outside. A control character in them
could recolour, clear or retitle the reader's terminal, put text into the clipboard (OSC 52), or reverse the
reading order; rich markup could hide parts or crash the renderer. ``visible`` turns each such character into
``\xNN`` or ``\u{NNNN}``, and nothing printed by this package goes through rich markup.
"""

from __future__ import annotations

# Bidirectional controls, zero-width characters, line and paragraph separators, tags, and variation selectors.
_UNSEEN = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0xE0000, 0xE0FFF),
)


def visible(text: str) -> str:
    r"""Return ``text`` with every character that a reader could not see, or a terminal would obey, spelled out.

    A tab becomes a blank; a line feed becomes ``\x0a``, so that one value stays on one line. A byte that was not
    UTF-8 (a surrogate escape) becomes its ``\xNN``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible_character(character) for character in text)


def decodable(text: str) -> str:
    r"""Return ``text`` as it is, but for what no encoding of Unicode holds: a byte that was not UTF-8 is ``\xNN``."""
    return "".join(_visible_character(each) if "\ud800" <= each <= "\udfff" else each for each in text)


def _visible_character(character: str) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return character
    if character == "\t":
        return " "
    if code <= 0x9F:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if 0xD800 <= code <= 0xDFFF or any(first <= code <= last for first, last in _UNSEEN):
        return f"\\u{{{code:04x}}}"
    return character if character.isprintable() or character == "\u00a0" else f"\\u{{{code:04x}}}"
