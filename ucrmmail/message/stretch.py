r"""A stretch of message text, in memory or in a file: searched, cut and read like bytes, a window of it at a time.

    message  Subject: x\r\n\r\n--b\r\n...\r\n--b--\r\n
    body                      --b\r\n...\r\n--b--\r\n       a part of the stretch: nothing is copied

So a large message costs the memory of a window. Lines end with CRLF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.message.header import (
    CRLF,
    LARGEST_HEADER,
    LONGEST_LINE,
    NAME_BYTES,
    joined,
    refuse_large,
    split_canonical,
    unsendable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ucrmmail.message.header import Fields


class Stretch:
    """What is between two places of a source."""

    __slots__ = ("_end", "_source", "_start")

    def __init__(self, source: _Source, start: int, end: int) -> None:
        self._source = source
        self._start = start
        self._end = end

    @classmethod
    def of(cls, text: bytes) -> Stretch:
        """Return a text in memory as a stretch."""
        source = _Source(lambda size_bytes, at: text[at : at + size_bytes], len(text), max(1, len(text)))
        return cls(source, 0, len(text))

    @classmethod
    def read_by(cls, read: Callable[[int, int], bytes], size_bytes: int, window_bytes: int) -> Stretch:
        """Return a text that ``read(size_bytes, at)`` reads, a window at a time."""
        return cls(_Source(read, size_bytes, window_bytes), 0, size_bytes)

    def __len__(self) -> int:
        return self._end - self._start

    def part(self, start: int, end: int | None = None) -> Stretch:
        """Return what is from ``start`` on, up to ``end``; a stretch has no part outside of it."""
        to = self._end if end is None else min(self._start + end, self._end)
        return Stretch(self._source, min(self._start + start, to), to)

    def beginning(self, size_bytes: int) -> bytes:
        """Return the first bytes, at the most ``size_bytes``."""
        return self._source.read(min(size_bytes, len(self)), self._start)

    def ends_with(self, tail: bytes) -> bool:
        """Return whether these are the last bytes."""
        return len(self) >= len(tail) and self.part(len(self) - len(tail)).beginning(len(tail)) == tail

    def pieces(self) -> Iterator[bytes]:
        """Yield all of it."""
        step = self._source.window_bytes
        for at in range(self._start, self._end, step):
            yield self._source.read(min(step, self._end - at), at)

    def find(self, wanted: bytes, start: int = 0) -> int:
        """Return where these bytes begin, at ``start`` or behind it; -1 when they are not there."""
        at = self._start + start
        while at + len(wanted) <= self._end:
            first, window = self._source.window(at, len(wanted))
            found = window.find(wanted, at - first, self._end - first)
            if found >= 0:
                return first + found - self._start
            at = first + len(window) - len(wanted) + 1
        return -1

    def isascii(self) -> bool:
        """Return whether no byte is outside ASCII."""
        return all(piece.isascii() for piece in self.pieces())

    def unsendable(self) -> bool:
        """Return whether it holds a NUL or a line over 998 bytes."""
        line = b""
        for piece in self.pieces():
            data = line + piece
            end = data.rfind(CRLF) + 2 if CRLF in data else 0
            # One more: a CR whose LF is still to come.
            if len(data) - end > LONGEST_LINE + 1 or unsendable(data[:end]):
                return True
            line = data[end:]
        return unsendable(line)

    def split(self) -> tuple[Fields, Stretch]:
        """Return (fields, body) as ``split_canonical`` does. Raises DataError for a header that is too large."""
        size_bytes = self._source.window_bytes
        while True:
            text = self.beginning(size_bytes)
            fields, rest = split_canonical(text)
            at = len(joined(fields))
            if len(text) == len(self) or text.startswith(CRLF, at) or self._is_no_field(rest, at):
                return fields, self.part(at + 2 if text.startswith(CRLF, at) else at)
            # The empty line that ends it would be among them, but for one byte.
            refuse_large(size_bytes - 1)
            size_bytes = min(4 * size_bytes, LARGEST_HEADER + len(CRLF))

    def _is_no_field(self, line: bytes, at: int) -> bool:
        """Return whether a line that begins ``at``, as far as ``line`` shows it, can be no field whatever follows."""
        if line in (b"", b"\r"):
            return False
        if CRLF in line or b":" in line:
            return True
        # One endless word: its colon may come beyond all that was read. A blank may stand between them.
        skipped = NAME_BYTES
        for piece in self.part(at).pieces():
            left = piece.lstrip(skipped)
            if left and skipped is NAME_BYTES:
                skipped = b" \t"
                left = left.lstrip(skipped)
            if left:
                return not left.startswith(b":")
        return True


class _Source:
    """Where the text is, and the window of it that was looked at last: searches go forward in small steps."""

    __slots__ = ("_at", "_size_bytes", "_window", "read", "window_bytes")

    def __init__(self, read: Callable[[int, int], bytes], size_bytes: int, window_bytes: int) -> None:
        self.read = read
        self.window_bytes = window_bytes
        self._size_bytes = size_bytes
        self._at = 0
        self._window = b""

    def window(self, at: int, size_bytes: int) -> tuple[int, bytes]:
        """Return (where it begins, text) of a window that holds these bytes."""
        if not self._at <= at <= at + size_bytes <= self._at + len(self._window):
            self._at = at
            self._window = self.read(min(max(size_bytes, self.window_bytes), self._size_bytes - at), at)
        return self._at, self._window
