"""Messages of our own: a header whose values cannot break out of it, and plain text that every server takes.

What is composed here is 7-bit (text outside ASCII is quoted-printable, subjects are encoded words), with CRLF line ends
and short lines; only an address outside ASCII can ask for SMTPUTF8.
"""

from __future__ import annotations

import binascii
import textwrap
from typing import TYPE_CHECKING

from ucrmmail.message.header import CRLF, format_date, new_field, unsendable
from ucrmmail.message.phrase import encoded_words

if TYPE_CHECKING:
    from collections.abc import Iterable

# Marks what ucrmmail tells people on its own, so that a report which fails is not reported by mail again.
REPORT_FIELD = "X-Ucrmmail-Report"

_WIDTH = 76
_LONGEST_WORD = 70
# A hostname has at the most 64 bytes on Linux, a domain name 253.
LONGEST_HOSTNAME = 255


def header(
    *,
    from_: str,
    to: Iterable[str],
    subject: str,
    now: float,
    message_id: str,
    more: Iterable[tuple[str, str]] = (),
    utf8: bool = False,
) -> bytes:
    """Return the header of a message of ours; ``from_`` is the whole value, ``subject`` any text.

    With ``utf8`` a subject outside ASCII stays as it is (RFC 6532), which asks every server on the way for SMTPUTF8.
    Raises DataError for a control character in a value.
    """
    values = [
        ("From", from_),
        ("To", ", ".join(to)),
        ("Subject", subject if utf8 else unstructured(subject)),
        ("Date", format_date(now)),
        ("Message-ID", message_id),
        *more,
        ("MIME-Version", "1.0"),
    ]
    return b"".join(folded_field(name, value) for name, value in values)


def plain_part(text: str) -> bytes:
    """Return a text as a MIME part: its fields, the empty line, its lines with CRLF."""
    body = CRLF.join(line.encode() for line in text.split("\n"))
    encoding = b"7bit"
    if not body.isascii() or unsendable(body):
        encoding = b"quoted-printable"
        body = quoted_printable(body)
    return (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: " + encoding + CRLF + CRLF + body + CRLF
    )


def quoted_printable(content: bytes) -> bytes:
    """Return content with CRLF line ends as quoted-printable (RFC 2045 section 6.7)."""
    return binascii.b2a_qp(content, istext=True).replace(CRLF, b"\n").replace(b"\n", CRLF)


def unstructured(text: str) -> str:
    """Return a text as a Subject can hold it. Raises DataError for a control character."""
    if text.isascii() and text.isprintable() and all(len(word) <= _LONGEST_WORD for word in text.split(" ")):
        return text
    return encoded_words(text)


def folded_field(name: str, value: str) -> bytes:
    """Return a field of ours, folded at blanks when it is long. Raises DataError for a control character."""
    field = new_field(name, value)
    if len(field) <= _WIDTH + len(CRLF):
        return field
    lines = [f"{name}:"]
    for word in value.split():
        # The first word stays beside the name: some programs do not find an id on the second line.
        if len(lines[-1]) + 1 + len(word) > _WIDTH and lines != [f"{name}:"]:
            lines.append("")
        lines[-1] += f" {word}"
    return "".join(f"{line}\r\n" for line in lines).encode()


def visible(text: str, longest: int = 2000) -> str:
    r"""Return foreign text on one line; what a reader could not see, or would obey, as ``\xNN`` or ``\u{NNNN}``.

    It is cut to its ``longest`` first characters: a server, or a header, may be hostile by its size.
    """
    shown = "".join(character if character.isprintable() else _escaped(ord(character)) for character in text[:longest])
    return shown[:longest]


def _escaped(code: int) -> str:
    if code in (0x09, 0xA0):  # tab, no-break space
        return " "
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{{{code:04x}}}"


def wrapped(text: str, indent: str = "") -> str:
    """Return a paragraph in lines of at most 76 characters; a longer word stays whole."""
    return textwrap.fill(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
