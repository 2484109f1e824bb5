"""A message's header, on bytes: where it ends, its fields, new fields; no other byte is touched (RFC 5322 section 2.2).

A DKIM signature of the application covers bytes, so nothing is parsed and written again. From ``split`` on, lines end
with CRLF; a *field* is the bytes of its name, value and line ends, folded lines included.

Where the header ends:

- The first line that is empty ends it. It belongs to neither header nor body.
- A line that is neither a field (``Name:``) nor the continuation of one ends it too, and begins the body. So a message
  whose first line is no field has no header, and all of it is body: ``echo All is well | sendmail root``. What was
  submitted is refused when a Bcc would become body this way, or a NUL is what spoils the field: ``refuse_cut_off``.
- The separators that an mbox file puts before a message (``From joe Mon Nov 23 ...``) are left out, if a field follows.

Line ends: CRLF, LF, or a mixture. A lone CR is a line end in the body, and in a message that has no LF at all. In a
header it becomes a blank: an application that lets a CR from a web form into a subject must not have made a Bcc.
"""

from __future__ import annotations

import time

from ucrmmail.errors import DataError
from ucrmmail.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    # (name in lower case, bytes), in the order of the message.
    Fields = list[tuple[str, bytes]]
    FieldsByName = dict[str, list[bytes]]

CRLF = b"\r\n"
# RFC 5322 section 2.1.1, without the line end.
LONGEST_LINE = 998
LONGEST_NAME = LONGEST_LINE
# In bytes. The header of a message is in memory some times over; Postfix cuts a field off at 100 KiB.
LARGEST_HEADER = 4_000_000
# A field of three bytes takes some two hundred in memory; no relay adds so many. What is shown of a message has fewer.
MOST_FIELDS = 100_000
SEPARATORS = (b"From ", b">From ")
# All of C0 but the tab and what ends a line, and DEL.
_CONTROLS = bytes(code for code in (*range(32), 127) if code not in b"\t\r\n")
_NOT_PLAIN = _CONTROLS + bytes(range(128, 256))
_NEVER_SENT = (b"bcc", b"resent-bcc")
_SHOWN = 60
# Printable ASCII without the colon (RFC 5322 section 3.6.8).
NAME_BYTES = bytes(byte for byte in range(33, 127) if byte != ord(":"))

_NOT_TAKEN = "no server takes such a one: what belongs into the body may look like fields"
_END_THE_HEADER = "let the application end the header with an empty line, then write the text"
_CONTROL_CHARACTERS = _CONTROLS.decode("ascii")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def split(raw: bytes) -> tuple[Fields, bytes]:
    """Return (fields, body) of a message as it was submitted, with CRLF for every line end and one at the end.

    Raises DataError as ``split_canonical`` does.
    """
    return split_canonical(with_crlf(raw))


def with_crlf(raw: bytes) -> bytes:
    """Return a message as it was submitted, with CRLF for every line end and one at the end, without separators."""
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    raw = without_separators(raw)
    returns = raw.count(b"\r")
    pairs = raw.count(CRLF) if returns else 0
    if returns != pairs:
        lines, rest = header_lines(raw) if begins_field(raw) else ([], 0)
        raw = b"".join(lines) + raw[rest:].replace(CRLF, b"\n").replace(b"\r", b"\n")
        pairs = 0
    if pairs != raw.count(b"\n"):
        raw = raw.replace(CRLF, b"\n").replace(b"\n", CRLF)
    if raw and not raw.endswith(CRLF):
        raw += CRLF
    return raw


def split_canonical(message: bytes) -> tuple[Fields, bytes]:
    """Return (fields, body) of a message, or of a MIME part, whose lines end with CRLF already.

    Raises DataError for more than ``MOST_FIELDS`` fields.
    """
    found: Fields = []
    at, size = 0, len(message)
    while at < size and not message.startswith(CRLF, at):
        end = _next_line(message, at)
        colon = message.find(b":", at, end)
        name = message[at:colon].rstrip(b" \t") if colon > at else b""
        if not name or name.translate(None, NAME_BYTES):
            return found, message[at:]
        while message[end : end + 1] in (b" ", b"\t"):
            end = _next_line(message, end)
        if len(found) == MOST_FIELDS:
            raise DataError(f"the header has more than {MOST_FIELDS} fields", why=_NOT_TAKEN, remedy=_END_THE_HEADER)
        found.append((name.decode("ascii").lower(), message[at:end]))
        at = end
    return found, message[at + 2 :]


def by_name(fields: Fields) -> FieldsByName:
    """Return the fields under their names; those of one name in their order."""
    found: FieldsByName = {}
    for name, field in fields:
        found.setdefault(name, []).append(field)
    return found


def without(fields: Fields, names: Container[str]) -> Fields:
    """Return the fields whose names (in lower case) are not among these."""
    return [field for field in fields if field[0] not in names]


def joined(fields: Fields) -> bytes:
    """Return the bytes of the header, without the empty line that ends it."""
    return b"".join(field for _name, field in fields)


def value_of(field: bytes) -> str:
    """Return a field's value, unfolded; bytes that are not UTF-8 are kept as surrogate escapes."""
    value = field.partition(b":")[2].replace(CRLF, b"")
    return value.decode("utf-8", "surrogateescape").strip(" \t")


def new_field(name: str, value: str) -> bytes:
    """Return a field of our own.

    Raises DataError when the value holds a control character: a line end in it would begin another field, or the body.
    """
    for character in value if not value.isprintable() else "":
        if character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff":
            raise DataError(
                f"the value for the {name} header holds the character U+{ord(character):04X}",
                why="a line end in it would begin another header",
                remedy="write it on one line, in plain text",
            )
    return f"{name}: {value}\r\n".encode()


def format_date(now: float) -> str:
    """Return a time, in seconds since the epoch, as a Date field has it (RFC 5322 section 3.3), in local time."""
    local = time.localtime(now)
    sign = "-" if local.tm_gmtoff < 0 else "+"
    hours, minutes = divmod(abs(local.tm_gmtoff) // 60, 60)
    return (
        f"{_DAYS[local.tm_wday]}, {local.tm_mday:02d} {_MONTHS[local.tm_mon - 1]} {local.tm_year:04d} "
        f"{local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d} {sign}{hours:02d}{minutes:02d}"
    )


def refuse_controls(fields: Fields) -> None:
    """Raise DataError for a field with a control character: the terminal of who reads it, or a log, would obey it.

    So are the bytes of C1 by themselves: a terminal that reads no UTF-8 obeys them. That they are quotation marks in
    Windows-1252 helps nobody, since no header may hold that. Behind the first byte of a character they are what is left
    of one that an application has cut in two, and no worse than in a whole one.
    """
    header = joined(fields)
    if header.isascii() and len(header.translate(None, _CONTROLS)) == len(header):
        return
    for name, field in fields:
        in_letter = False
        for character in value_of(field):
            byte = "\udc80" <= character <= "\udc9f" and not in_letter
            in_letter = "\udcc2" <= character <= "\udcf4" or (in_letter and "\udc80" <= character <= "\udcbf")
            if byte or character in _CONTROL_CHARACTERS or "\x80" <= character <= "\x9f":
                code = ord(character) & 0xFF
                raise DataError(
                    f"the {name.title()} header holds the control character U+{code:04X}" + " as one byte" * byte,
                    why="terminals and mail programs would obey it",
                    remedy="let the application leave it out, or encode the text (RFC 2047)",
                )


def refuse_cut_off(fields: Fields, rest: bytes) -> None:
    """Raise DataError when a header is ended by a line that is no field, and not all of it can have been meant as text.

        To: joe@example.com
        no field
        Bcc: ann@example.com       text by now, which Joe would read

    ``rest`` begins with that line; it may be an empty one, in front of the header. Who writes a text without a header,
    or with a first line such as "Warning: ...", is left alone.
    """
    line = rest.partition(CRLF)[0]
    ends = f"the line {line[:_SHOWN].decode('utf-8', 'surrogateescape')!r} is no field and ends the header"
    if not line:
        ends = "an empty line in front of the header ends it"
    remedy = "let the application write fields and nothing else, then an empty line, then the text"
    if b"\0" in line and (fields or begins_field(line.replace(b"\0", b""))):
        raise DataError(ends, why="a NUL in it", remedy=remedy)
    paragraph = rest.lstrip(CRLF).partition(CRLF + CRLF)[0].translate(None, _NOT_PLAIN).lower()
    for name in _NEVER_SENT if b"bcc" in paragraph else ():
        if any(each.partition(b":")[0].rstrip(b" \t") == name for each in paragraph.split(CRLF) if b":" in each):
            raise DataError(
                f"{ends}, with {name.decode().title()} in or below it",
                why="it would go to all recipients as text",
                remedy=remedy,
            )


def refuse_large(size_bytes: int) -> None:
    """Raise DataError for a header, or the header of a MIME part, of so many bytes, if those are too many."""
    if size_bytes > LARGEST_HEADER:
        raise DataError(
            f"the header is larger than {format_size(LARGEST_HEADER)}",
            why=_NOT_TAKEN,
            remedy=_END_THE_HEADER,
        )


def unsendable(data: bytes) -> bool:
    """Return whether data with CRLF line ends holds a NUL or a line over 998 bytes."""
    if b"\0" in data:
        return True
    # The last line end within reach of the longest line allowed: a large message is crossed in large steps.
    at = 0
    while len(data) - at > LONGEST_LINE:
        end = data.rfind(CRLF, at, at + LONGEST_LINE + 2)
        if end < 0:
            return True
        at = end + 2
    return False


def holds_utf8(data: bytes) -> bool:
    """Return whether data is UTF-8 and more than ASCII."""
    if data.isascii():
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _next_line(message: bytes, at: int) -> int:
    end = message.find(CRLF, at)
    return len(message) if end < 0 else end + 2


def begins_field(raw: bytes, at: int = 0) -> bool:
    """Return whether a field begins there; its first ``LONGEST_NAME`` bytes tell."""
    name = raw[at : max(at, raw.find(b":", at, at + LONGEST_NAME))].rstrip(b" \t")
    return bool(name) and not name.translate(None, NAME_BYTES)


def separators_end(raw: bytes) -> int:
    """Return where the lines end that an mbox, or a relay of old (``>From``), puts first; 0 when one has no end."""
    at = 0
    while raw.startswith(SEPARATORS, at):
        at = raw.find(b"\n", at) + 1
        if not at:
            break
    return at


def without_separators(raw: bytes) -> bytes:
    """Leave out these lines, if a field follows."""
    at = separators_end(raw)
    # A body without a header may begin with the same word: "From now on, backups are kept for a year."
    return raw[at:] if at and begins_field(raw, at) else raw


def header_lines(raw: bytes) -> tuple[list[bytes], int]:
    """Return the lines up to the first empty one, rid of their CRs and ended by LF, and where the rest begins.

    Lines that end with CR CR LF are known from programs that convert line ends twice.
    """
    lines: list[bytes] = []
    at = 0
    while at < len(raw):
        end = raw.find(b"\n", at)
        end = len(raw) if end < 0 else end
        line = raw[at:end].rstrip(b"\r").replace(b"\r", b" ")
        if not line:
            return lines, end
        lines.append(line + b"\n")
        at = end + 1
    return lines, at
