"""A message that SMTP cannot carry, with a line over 998 bytes or a NUL, made one that it can.

Cutting a line would change what it says. So the MIME parts in which the trouble is are encoded anew (RFC 2045): what is
base64 is wrapped again, all else becomes quoted-printable; they decode to the bytes that they were. A header line is
folded at a blank. Every other byte stays: parts are found and replaced in place, never parsed and written again.

A signature over such a message breaks, but it would have broken on its way, or the message refused.
"""

from __future__ import annotations

from email import message_from_bytes
from typing import TYPE_CHECKING

from ucrmmail.errors import DataError
from ucrmmail.message.header import (
    CRLF,
    LONGEST_LINE,
    by_name,
    holds_utf8,
    joined,
    split_canonical,
    unsendable,
    without,
)
from ucrmmail.message.plain import quoted_printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.message.header import Fields

_ENCODING = "content-transfer-encoding"
_AS_IT_IS = ("", "7bit", "8bit", "binary")
# Deeper than any mailer nests; each level reads what it holds once more.
_DEEPEST = 30
_BASE64_LINE = 76
_QUOTED_LINE = 76


def reencoded(message: bytes) -> bytes:
    """Return the message, with CRLF line ends, without NUL and without a line over 998 bytes.

    Raises DataError where that cannot be: a NUL in a header, a header line without a blank to fold it at, a line
    outside of the parts, or an encoding that is not known.
    """
    fields, body = split_canonical(message)
    if unsendable(body) and "mime-version" not in by_name(fields):
        fields = fields + _mime_fields(fields, body)
        message = joined(fields) + CRLF + body
    mended = _mended(message, 0)
    if unsendable(mended):
        header = (f"the {name.title()} header" for name, field in split_canonical(mended)[0] if unsendable(field))
        raise DataError(
            f"{next(header, 'the body')} has a line longer than 998 bytes, or a NUL, where it cannot be encoded",
            why="no mail server takes such a line (RFC 5321 section 4.5.3.1.6)",
            remedy="let the application fold or encode it",
        )
    return mended


def _mime_fields(fields: Fields, body: bytes) -> Fields:
    """Return what makes a message without MIME fields one with them, so that its encoding can be told to readers."""
    new = [("mime-version", b"MIME-Version: 1.0\r\n")]
    if "content-type" not in by_name(fields) and not body.isascii():
        # Without this, readers that guessed UTF-8 so far would take the decoded text for ASCII.
        charset = b"utf-8" if holds_utf8(body) else b"unknown-8bit"
        new.append(("content-type", b"Content-Type: text/plain; charset=" + charset + CRLF))
    return new


def _mended(entity: bytes, depth: int) -> bytes:
    """Return a message or MIME part with its header folded, and with the parts of its body, or its body, encoded."""
    if not unsendable(entity) or depth > _DEEPEST:
        return entity
    fields, body = split_canonical(entity)
    fields = [(name, _folded(field)) for name, field in fields]
    if unsendable(body):
        kind, boundary, encoding = _described(fields)
        if boundary and kind.startswith("multipart/") and encoding in _AS_IT_IS:
            body = _mended_parts(body, b"--" + boundary, depth)
        elif kind in ("message/rfc822", "message/global") and encoding in _AS_IT_IS:
            body = _mended(body, depth + 1)
        else:
            fields, body = _leaf(fields, body, encoding)
    return joined(fields) + CRLF + body


def _described(fields: Fields) -> tuple[str, bytes, str]:
    """Return content type, boundary (b"" when it has none) and encoding of an entity, both words in lower case."""
    try:
        described = message_from_bytes(joined(fields) + CRLF)
        boundary = described.get_boundary() or ""
        encoding = str(described.get(_ENCODING, "")).strip().lower()
        return described.get_content_type(), boundary.encode("utf-8", "surrogateescape"), encoding
    except Exception as error:
        # The email package raises what it likes for parameters that are meant to confuse it (RFC 2231 charsets with a
        # NUL, continuations without a start); such a message is the submitter's mistake, not a fault of ours.
        raise DataError(
            "the Content-Type of the message, or of one of its parts, cannot be read",
            why=f"{type(error).__name__}: {error}",
            remedy="send it without parameters that are encoded",
        ) from error


def _mended_parts(body: bytes, delimiter: bytes, depth: int) -> bytes:
    """Return a multipart body in which each part is mended; preamble, delimiters and epilogue stay."""
    pieces: list[bytes] = []
    at, in_part = 0, False
    for start, end, closing in _delimiters(body, delimiter):
        part = body[at:start]
        # The CRLF before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
        pieces += (_mended(part[:-2], depth + 1) + CRLF if in_part and part.endswith(CRLF) else part, body[start:end])
        at, in_part = end, not closing
        if closing:
            break
    pieces.append(_mended(body[at:], depth + 1) if in_part else body[at:])
    return b"".join(pieces)


def _delimiters(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, whether it closes) of the delimiter lines."""
    # A delimiter stands at the beginning of a line; -2 is where the CRLF before the first line would begin.
    at = -2 if body.startswith(delimiter) else body.find(CRLF + delimiter)
    while at != -1:
        start = at + 2
        end = body.find(CRLF, start)
        end = len(body) if end < 0 else end + 2
        rest = body[start + len(delimiter) : end].rstrip(b" \t\r\n")
        if rest in (b"", b"--"):
            yield start, end, rest == b"--"
        at = body.find(CRLF + delimiter, end - 2)


def _leaf(fields: Fields, body: bytes, encoding: str) -> tuple[Fields, bytes]:
    """Return a part's fields and body in an encoding that SMTP carries."""
    if encoding == "base64":
        return fields, _wrapped(body)
    if encoding == "quoted-printable":
        return fields, CRLF.join(_softly_broken(line) for line in body.replace(b"\0", b"=00").split(CRLF))
    if encoding not in _AS_IT_IS:
        return fields, body
    name = b"Content-Transfer-Encoding: quoted-printable\r\n"
    return [*without(fields, (_ENCODING,)), (_ENCODING, name)], quoted_printable(body)


def _wrapped(body: bytes) -> bytes:
    """Return base64 in lines of 76 characters; what is not of its alphabet is skipped by every decoder."""
    text = body.translate(None, b"\r\n\0 \t")
    return b"".join(text[at : at + _BASE64_LINE] + CRLF for at in range(0, len(text), _BASE64_LINE))


def _softly_broken(line: bytes) -> bytes:
    """Return a line that is quoted-printable already, too long ones in pieces that readers join again."""
    if len(line) <= LONGEST_LINE:
        return line
    pieces: list[bytes] = []
    start = 0
    while len(line) - start > _QUOTED_LINE:
        end = start + _QUOTED_LINE - 1
        escape = line.rfind(b"=", end - 2, end)  # =C3 must stay in one piece
        end = escape if escape >= 0 else end
        pieces.append(line[start:end])
        start = end
    pieces.append(line[start:])
    return b"=\r\n".join(pieces)


def _folded(field: bytes) -> bytes:
    """Return a header field with its long lines folded at blanks (RFC 5322 section 2.2.3)."""
    if not unsendable(field):
        return field
    lines: list[bytes] = []
    for line in field.removesuffix(CRLF).split(CRLF):
        start, end = 0, len(line.rstrip(b" \t"))
        while len(line) - start > LONGEST_LINE:
            at = _last_blank(line, start + 1, start + LONGEST_LINE + 1)
            # A line of blanks alone would end the header for some readers.
            if at < 0 or at >= end or line[start:at].isspace():
                break
            lines.append(line[start:at])
            start = at
        lines.append(line[start:])
    return CRLF.join(lines) + CRLF


def _last_blank(line: bytes, start: int, end: int) -> int:
    return max(line.rfind(b" ", start, end), line.rfind(b"\t", start, end))
