"""Taking in a message that is too large for the memory: it goes into a file while it arrives.

    pieces of the application -> line ends, separators -> a scratch file -> fields in memory, body there
                                                       -> another one, where SMTP could not carry the body

What comes out is byte by byte what ``header.split`` and ``reencode`` make of a message in memory. A scratch file has no
name: it ends with the process, and nobody has to clean up. Only the header is in memory, and has a largest size.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Protocol

from ucrmmail.message.header import (
    CRLF,
    LONGEST_NAME,
    SEPARATORS,
    begins_field,
    header_lines,
    joined,
    refuse_large,
    separators_end,
    split_canonical,
    unsendable,
    without_separators,
)
from ucrmmail.message.lineends import canonical
from ucrmmail.message.stretch import Stretch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_LONGEST_CUT_OFF = 1 << 20


class ScratchFile(Protocol):
    """A file of our own; it keeps what it cannot do from the message: its errors are those of the spool."""

    def write(self, data: bytes) -> None:
        """Write behind what it holds."""

    def read(self, size_bytes: int, at: int) -> bytes:
        """Return so many bytes, no fewer, from a place in it."""


class Scratch(Protocol):
    """Where scratch files come from, and how much of one may be in memory at a time."""

    window_bytes: int

    def new_file(self) -> ScratchFile:
        """Return an empty file; the caller of ours closes it when the message is accepted or refused."""

    def keep(self, kept: ScratchFile) -> None:
        """Close the others at once, for the room that they take."""


class Stored:
    """A message that is ready for the queue: its beginning in memory, the rest in a scratch file."""

    __slots__ = ("_beginning", "_rest")

    def __init__(self, beginning: bytes, rest: Stretch) -> None:
        self._beginning = beginning
        self._rest = rest

    def __len__(self) -> int:
        return len(self._beginning) + len(self._rest)

    def isascii(self) -> bool:
        """Return whether no byte is outside ASCII."""
        return self._beginning.isascii() and self._rest.isascii()

    def pieces(self) -> Iterator[bytes]:
        """Yield the message, as often as asked."""
        yield self._beginning
        yield from self._rest.pieces()


class Arrived:
    """A message as it was handed over, in a scratch file with CRLF line ends. Its length is that of before.

    ``cut_off`` is what begins with a line that is no field, when no empty line ends the header, or one in front of it
    does: as much of it as anyone could have meant for a header.
    """

    __slots__ = ("_body", "_scratch", "_size_bytes", "cut_off", "fields")

    def __init__(self, text: Stretch, size_bytes: int, scratch: Scratch) -> None:
        self.fields, self._body = text.split()
        unended = len(self._body) == len(text) - len(joined(self.fields))
        self.cut_off = self._body.beginning(_LONGEST_CUT_OFF) if unended else b""
        if not self.fields:
            self.cut_off = text.beginning(_LONGEST_CUT_OFF)
        self._size_bytes = size_bytes
        self._scratch = scratch

    def __len__(self) -> int:
        return self._size_bytes

    def under(self, header: bytes) -> Stored:
        """Return the message with this header, encoded anew where SMTP cannot carry it. Raises DataError."""
        if not unsendable(header) and not self._body.unsendable():
            return Stored(header + CRLF, self._body)
        from ucrmmail.message.reencode import check_sendable, sendable  # noqa: PLC0415 # loads the email package

        message = _stored(sendable(split_canonical(header)[0], self._body), self._scratch)
        check_sendable(message)
        return Stored(b"", message)


def arrived(begun: Iterable[bytes], rest: Iterator[bytes], scratch: Scratch) -> Arrived:
    """Return a message of which some pieces have come. Raises what the scratch files, and the rest of it, raise."""
    counted = _Counted(chain(begun, rest))
    text = _stored(canonical(_in_order(counted, scratch)), scratch)
    return Arrived(text, counted.size_bytes, scratch)


class _Counted:
    """Pieces, and how many bytes they were."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.size_bytes += len(chunk)
        return chunk


def _stored(pieces: Iterable[bytes], scratch: Scratch) -> Stretch:
    file = scratch.new_file()
    size_bytes = 0
    for piece in pieces:
        file.write(piece)
        size_bytes += len(piece)
    # What it was made from is in it now.
    scratch.keep(file)
    return Stretch.read_by(file.read, size_bytes, scratch.window_bytes)


def _in_order(chunks: Iterator[bytes], scratch: Scratch) -> Iterator[bytes]:
    """Return the message without separators; in the header, if it has one, a CR is no line end any more."""
    beginning = _beginning(chunks)
    if b"\n" not in beginning:
        # Only all of it tells whether its lines end with CR alone.
        raw = _stored(chain((beginning,), chunks), scratch)
        chunks = raw.pieces()
        if raw.find(b"\n") < 0:
            chunks = (piece.replace(b"\r", b"\n") for piece in chunks)
        beginning = _beginning(chunks)
    beginning = without_separators(beginning)
    chunks = chain((beginning,), chunks)
    return _header_mended(chunks) if begins_field(beginning) else chunks


def _beginning(chunks: Iterator[bytes]) -> bytes:
    """Return as much as tells what the message begins with: the separators, and the name of the first field."""
    parts: list[bytes] = []
    size, enough = 0, LONGEST_NAME
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= enough:
            beginning = b"".join(parts)
            end = separators_end(beginning)
            if size - end >= LONGEST_NAME and (end or not beginning.startswith(SEPARATORS)):
                break
            enough = 2 * size
    return b"".join(parts)


def _header_mended(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines up to the first empty one as ``header_lines`` makes them, and the rest as it is."""
    line: list[bytes] = []
    size_bytes = 0
    for chunk in chunks:
        line.append(chunk)
        if b"\n" not in chunk:
            refuse_large(size_bytes := size_bytes + len(chunk))
            continue
        data = b"".join(line)
        end = data.rfind(b"\n") + 1
        lines, rest = header_lines(data[:end])
        yield b"".join(lines)
        if rest < end:
            yield data[rest:]
            yield from chunks
            return
        line, size_bytes = [data[end:]], len(data) - end
    yield b"".join(header_lines(b"".join(line))[0])
