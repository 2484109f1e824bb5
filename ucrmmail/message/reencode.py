"""A message that cannot be carried, with a line over 998 bytes, a NUL, or 8-bit text, made one that can.

Cutting a line would change what it says. So the MIME parts in which the trouble is are encoded anew (RFC 2045): what is
base64 is wrapped again, all else becomes quoted-printable; they decode to the bytes that they were. A header line is
folded at a blank. Every other byte stays: parts are found and replaced in place, never parsed and written again.

A signature over such a message breaks, but it would have broken on its way, or the message refused.
"""

from __future__ import annotations

import binascii
import re
from codecs import getincrementaldecoder
from email import message_from_bytes
from typing import TYPE_CHECKING

from ucrmmail.errors import DataError
from ucrmmail.message.header import (
    CRLF,
    LONGEST_LINE,
    by_name,
    joined,
    unsendable,
    without,
)
from ucrmmail.message.plain import quoted_printable
from ucrmmail.message.stretch import Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ucrmmail.message.header import Fields

_ENCODING = "content-transfer-encoding"
# With what programs write in their place, and readers take for them.
_AS_IT_IS = ("", "7bit", "8bit", "binary", "7-bit", "8-bit", "utf-8", "utf8")
# A comment (RFC 2045 section 6.1), or a parameter, which there is none of: PHP's "8bit;".
_BEHIND_ENCODING = re.compile(r"[(;].*", re.DOTALL)
# Deeper than any mailer nests; each level reads what it holds once more.
_DEEPEST = 30
# More than any mailer makes; ten thousand take some 70 ms.
_MOST_PARTS = 100_000
_BASE64_LINE = 76
_QUOTED_LINE = 76
_SOFT_BREAK = b"=\r\n"
# A name of a file may be there twice, at three bytes each for a byte of it. The email package looks for the next
# semicolon from each one on: with 40,000 of them it took four seconds, with a million forty minutes.
_LONGEST_DESCRIPTION = 8000
_MOST_PARAMETERS = 200
# Programs join addresses with a comma and no blank. One in quotes or in a comment separates nothing.
_OF_ADDRESSES = frozenset({"to", "cc", "reply-to", "resent-to", "resent-cc", "from", "mail-followup-to"})
_MARKS = re.compile(rb'\\.|["(),]', re.DOTALL)
# A line that is longer is cut before its end has come.
_LONG_LINE = 1 << 12


class _Ailment:
    """What is to be encoded, as ``shows`` tells of a stretch, and in how many parts it was looked for.

    ``is_sent_else``: it goes as it is, another way. A line that is too long would be cut on each.
    """

    __slots__ = ("_parts", "_shows", "is_sent_else")

    def __init__(self, shows: Callable[[Stretch], bool], *, is_sent_else: bool) -> None:
        self._shows = shows
        self.is_sent_else = is_sent_else
        self._parts = 0

    def __call__(self, stretch: Stretch) -> bool:
        return self._shows(stretch)

    def count_part(self) -> None:
        """Count one part more. Raises DataError for one too many."""
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise DataError(
                f"the message has more than {_MOST_PARTS} parts",
                why="one of them has a line longer than 998 bytes, a NUL, or 8-bit text, and would have to be encoded",
                remedy="let the application encode it",
            )


def reencoded(message: bytes) -> bytes:
    """Return the message, with CRLF line ends, without NUL and without a line over 998 bytes.

    Raises DataError where that cannot be: a NUL in a header, a header line without a blank to fold it at, a line
    outside of the parts, or an encoding that is not known.
    """
    fields, body = Stretch.of(message).split()
    mended = b"".join(sendable(fields, body))
    check_sendable(Stretch.of(mended))
    return mended


def seven_bit(message: bytes) -> bytes:
    """Return the message, with CRLF line ends, for a server without 8BITMIME: its 8-bit parts as quoted-printable.

    Raises DataError where that cannot be: 8-bit text in a header, or in what is said to be encoded already; and for a
    message that is signed, or a part of it, of which a signature holds as long as nobody changes it.
    """
    fields, body = Stretch.of(message).split()
    if "dkim-signature" in by_name(fields):
        raise _signed()
    mended = b"".join(_sendable(fields, body, _Ailment(_has_eight_bits, is_sent_else=True)))
    if not mended.isascii():
        raise DataError(
            "the message has 8-bit text where it cannot be encoded",
            remedy="let the application encode it, or send it through a smarthost that offers 8BITMIME",
        )
    return mended


def _signed() -> DataError:
    return DataError(
        "the message has 8-bit text, and is signed",
        remedy="let the application encode it before it signs, or send it through a smarthost that offers 8BITMIME",
    )


def sendable(fields: Fields, body: Stretch) -> Iterator[bytes]:
    """Yield a message, that of these fields and this body, so that it can be sent, as far as it can be encoded."""
    return _sendable(fields, body, _Ailment(Stretch.unsendable, is_sent_else=False))


def _has_eight_bits(stretch: Stretch) -> bool:
    return not stretch.isascii()


def _sendable(fields: Fields, body: Stretch, ails: _Ailment, depth: int = 0) -> Iterator[bytes]:
    if ails(body) and "mime-version" not in by_name(fields):
        fields = fields + _mime_fields(fields, body)
    return _mended(fields, body, depth, ails)


def check_sendable(mended: Stretch) -> None:
    """Raise DataError when a message still has what SMTP cannot carry."""
    if mended.unsendable():
        header = (f"the {name.title()} header" for name, field in mended.split()[0] if unsendable(field))
        raise DataError(
            f"{next(header, 'the body')} has a line longer than 998 bytes, or a NUL, where it cannot be encoded",
            why="no mail server takes such a line (RFC 5321 section 4.5.3.1.6)",
            remedy="let the application fold or encode it",
        )


def _mime_fields(fields: Fields, body: Stretch) -> Fields:
    """Return what makes a message without MIME fields one with them, so that its encoding can be told to readers."""
    new = [("mime-version", b"MIME-Version: 1.0\r\n")]
    if "content-type" not in by_name(fields) and not body.isascii():
        # Without this, readers that guessed UTF-8 so far would take the decoded text for ASCII.
        charset = b"utf-8" if _is_utf8(body) else b"unknown-8bit"
        new.append(("content-type", b"Content-Type: text/plain; charset=" + charset + CRLF))
    return new


def _is_utf8(body: Stretch) -> bool:
    decode = getincrementaldecoder("utf-8")().decode
    try:
        for piece in body.pieces():
            decode(piece)
        decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _entity(entity: Stretch, depth: int, ails: _Ailment, *, is_message: bool = False) -> Iterator[bytes]:
    """Yield a MIME part that is inside of a message, or a message, mended where it has to be."""
    if depth > _DEEPEST or not ails(entity):
        return entity.pieces()
    fields, body = entity.split()
    return _sendable(fields, body, ails, depth) if is_message else _mended(fields, body, depth, ails)


def _mended(fields: Fields, body: Stretch, depth: int, ails: _Ailment) -> Iterator[bytes]:
    """Yield a message or MIME part with its header folded, and with the parts of its body, or its body, encoded.

    ``ails`` tells of what is encoded anew; what is not stays to the byte.
    """
    fields = [(name, _folded(name, field)) for name, field in fields]
    pieces = body.pieces()
    if ails(body):
        kind, boundary, encoding = _described(fields)
        if kind == "multipart/signed" and ails.is_sent_else:
            # It may be one part of several: a list puts it beside its footer.
            raise _signed()
        # What has parts is not encoded itself, whatever it says (RFC 2045 section 6.4): each part says it of itself.
        has_parts = encoding in _AS_IT_IS or body.find(b"--" + boundary) >= 0
        if boundary and kind.startswith("multipart/") and has_parts:
            pieces = _mended_parts(body, b"--" + boundary, depth, ails)
        elif kind in ("message/rfc822", "message/global") and encoding in _AS_IT_IS:
            pieces = _entity(body, depth + 1, ails, is_message=True)
        elif encoding == "base64":
            pieces = _wrapped(body)
        elif encoding == "quoted-printable":
            pieces = _softly_broken(body)
        elif encoding in _AS_IT_IS:
            name = b"Content-Transfer-Encoding: quoted-printable\r\n"
            fields = [*without(fields, (_ENCODING,)), (_ENCODING, name)]
            pieces = _quoted(body)
    yield joined(fields) + CRLF
    yield from pieces


def _described(fields: Fields) -> tuple[str, bytes, str]:
    """Return content type, boundary (b"" when it has none) and encoding of an entity, both words in lower case."""
    known = by_name(fields)
    describing = [known[name][0] for name in ("content-type", _ENCODING) if name in known]
    for field in describing:
        if len(field) > _LONGEST_DESCRIPTION or field.count(b";") > _MOST_PARAMETERS:
            raise _unreadable("it is too long")
    try:
        described = message_from_bytes(b"".join(describing) + CRLF)
        boundary = described.get_boundary() or ""
        encoding = _BEHIND_ENCODING.sub("", str(described.get(_ENCODING, ""))).strip().lower()
        return described.get_content_type(), boundary.encode("utf-8", "surrogateescape"), encoding
    except Exception as error:
        # The email package raises what it likes for parameters that are meant to confuse it (RFC 2231 charsets with a
        # NUL, continuations without a start); such a message is the submitter's mistake, not a fault of ours.
        raise _unreadable(f"{type(error).__name__}: {error}") from error


def _unreadable(why: str) -> DataError:
    return DataError(
        "the Content-Type of the message, or of one of its parts, cannot be read",
        why=why,
        remedy="send it without parameters that are encoded",
    )


def _mended_parts(body: Stretch, delimiter: bytes, depth: int, ails: _Ailment) -> Iterator[bytes]:
    """Yield a multipart body in which each part is mended; preamble, delimiters and epilogue stay."""
    at, in_part = 0, False
    for start, end, closing in _delimiters(body, delimiter, ails):
        part = body.part(at, start)
        # The CRLF before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
        if in_part and part.ends_with(CRLF):
            yield from _entity(part.part(0, len(part) - 2), depth + 1, ails)
            yield CRLF
        else:
            yield from part.pieces()
        yield from body.part(start, end).pieces()
        at, in_part = end, not closing
        if closing:
            break
    rest = body.part(at)
    yield from _entity(rest, depth + 1, ails) if in_part else rest.pieces()


def _delimiters(body: Stretch, delimiter: bytes, ails: _Ailment) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, whether it closes) of the delimiter lines.

    A line that goes on behind the delimiter is none, and takes as long to look at: each counts as a part.
    """
    # A delimiter stands at the beginning of a line; -2 is where the CRLF before the first line would begin.
    at = -2 if body.beginning(len(delimiter)) == delimiter else body.find(CRLF + delimiter)
    while at != -1:
        ails.count_part()
        start = at + 2
        end = body.find(CRLF, start)
        end = len(body) if end < 0 else end + 2
        line = body.part(start + len(delimiter), end)
        rest = line.beginning(len(line)).rstrip(b" \t\r\n")
        if rest in (b"", b"--"):
            yield start, end, rest == b"--"
        at = body.find(CRLF + delimiter, end - 2)


def _wrapped(body: Stretch) -> Iterator[bytes]:
    """Yield base64 in lines of 76 characters; what is not of its alphabet is skipped by every decoder."""
    text = b""
    for piece in body.pieces():
        text += piece.translate(None, b"\r\n\0 \t")
        whole = len(text) - len(text) % _BASE64_LINE
        yield b"".join(text[at : at + _BASE64_LINE] + CRLF for at in range(0, whole, _BASE64_LINE))
        text = text[whole:]
    if text:
        yield text + CRLF


def _quoted(body: Stretch) -> Iterator[bytes]:
    """Yield what is not encoded yet as ``quoted_printable`` does with all of it, piece by piece."""
    left = b""
    for piece in body.pieces():
        left += piece
        end = left.rfind(CRLF) + 2
        if end > 1:
            yield quoted_printable(left[:end])
            left = left[end:]
        elif len(left) > _LONG_LINE:
            # A line without end is cut where it was broken anyway. What was encoded last depends on what follows.
            encoded = quoted_printable(left)
            cut = encoded.rfind(_SOFT_BREAK, 0, -_LONG_LINE // 2) + len(_SOFT_BREAK)
            yield encoded[:cut]
            left = left[len(left) - len(binascii.a2b_qp(encoded[cut:])) :]
    yield quoted_printable(left)


def _softly_broken(body: Stretch) -> Iterator[bytes]:
    """Yield what is quoted-printable already, its too long lines in pieces that readers join again."""
    left, is_broken = b"", False
    for piece in body.pieces():
        left += piece.replace(b"\0", b"=00")
        *lines, left = left.split(CRLF)
        for line in lines:
            yield _short(line, is_broken=is_broken) + CRLF
            is_broken = False
        if len(left) > _LONG_LINE:
            done, left = _broken(left, _LONG_LINE // 2)
            is_broken = True
            yield done
    yield _short(left, is_broken=is_broken)


def _short(line: bytes, *, is_broken: bool) -> bytes:
    """Return the rest of a line, broken softly when it is too long or its beginning was."""
    return b"".join(_broken(line, _QUOTED_LINE)) if is_broken or len(line) > LONGEST_LINE else line


def _broken(line: bytes, most_left: int) -> tuple[bytes, bytes]:
    """Return (lines that end with a soft break, what is left: at the most so many bytes)."""
    pieces: list[bytes] = []
    start = 0
    while len(line) - start > most_left:
        end = start + _QUOTED_LINE - 1
        escape = line.rfind(b"=", end - 2, end)  # =C3 must stay in one piece
        end = escape if escape >= 0 else end
        pieces.append(line[start:end] + _SOFT_BREAK)
        start = end
    return b"".join(pieces), line[start:]


def _folded(name: str, field: bytes) -> bytes:
    """Return a header field with its long lines folded at blanks (RFC 5322 section 2.2.3), addresses behind commas."""
    if not unsendable(field):
        return field
    folded = _folded_at_blanks(field)
    if name in _OF_ADDRESSES and unsendable(folded):
        return _folded_at_blanks(_with_blanks(field))
    return folded


def _with_blanks(addresses: bytes) -> bytes:
    """Return a field of addresses with a blank behind each comma between two of them."""
    parts: list[bytes] = []
    at, depth, quoted = 0, 0, False
    for found in _MARKS.finditer(addresses):
        mark = found[0]
        if quoted or mark == b'"':
            # In a comment a quote is one character more.
            quoted = mark != b'"' if quoted else not depth
        elif mark in (b"(", b")"):
            depth = max(0, depth + (1 if mark == b"(" else -1))
        elif mark == b"," and not depth and addresses[found.end() : found.end() + 1] not in (b" ", b"\t", b"\r"):
            parts += (addresses[at : found.end()], b" ")
            at = found.end()
    return b"".join(parts) + addresses[at:]


def _folded_at_blanks(field: bytes) -> bytes:
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
