r"""A message's bytes on the wire, behind DATA (RFC 5321 section 4.5.2) or as chunks of BDAT (RFC 3030).

    Block  b"",                     b"Subject: x\r\n\r\n..dot\r\n", b".\r\n"      behind DATA: a leading dot is doubled
    Block  b"BDAT 21 LAST\r\n",     b"Subject: x\r\n\r\n.dot\r\n",  b""           a chunk: counted, nothing is doubled

Line ends are CRLF, and the message ends with one. Whatever the input holds, the five bytes that end the DATA appear
only where this module puts them. A lone CR or LF, which some servers read as a line end, never leaves (SMTP smuggling,
CVE-2023-51764); a chunk could hold them, but the server would pass them on.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from ucrmmail.message.lineends import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

END = b".\r\n"
# A body is gathered up to this size before it is written, so that a small message is one write.
_WRITE_BYTES = 1 << 17
# Each chunk has a reply, which is waited for.
_CHUNK_BYTES = 1 << 20


class Block(NamedTuple):
    """One write: a part of the message, what stands before it, and what behind it."""

    head: bytes
    data: bytes
    tail: bytes


def behind_data(chunks: Iterable[bytes]) -> Iterator[Block]:
    """Yield the message as it goes behind DATA; the last block has the final dot."""
    for data, is_last in _gathered(stuffed(chunks), _WRITE_BYTES):
        yield Block(b"", data, END if is_last else b"")


def in_chunks(chunks: Iterable[bytes], *, try_first: bool = False) -> Iterator[Block]:
    """Yield the message as BDAT commands; the last one says so.

    With ``try_first`` the first chunk ends before the first line does. A server, or a proxy before one, that offers
    CHUNKING and does not know it reads what follows BDAT as commands: so it gets none, and says 500 before more comes.
    """
    pieces = canonical(chunks)
    if try_first:
        first = next(filter(None, pieces), b"")
        begun, end, rest = first.partition(b"\r")
        if begun:
            yield _chunk(begun, is_last=False)
        pieces = chain((end + rest,), pieces)
    for data, is_last in _gathered(pieces, _CHUNK_BYTES):
        yield _chunk(data, is_last=is_last)


def _chunk(data: bytes, *, is_last: bool) -> Block:
    return Block(b"BDAT %d%b\r\n" % (len(data), b" LAST" if is_last else b""), data, b"")


def stuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the message as it goes behind DATA, without the final dot: a dot that begins a line is doubled."""
    at_line_start = True
    for data in canonical(chunks):
        out = data.replace(b"\r\n.", b"\r\n..")
        yield b"." + out if at_line_start and out.startswith(b".") else out
        at_line_start = data.endswith(b"\r\n")


def _gathered(pieces: Iterable[bytes], size_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Yield (data, is it the last) in larger pieces; there is always a last one."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > size_bytes and waiting:
            yield b"".join(waiting), False
            waiting, size = [], 0
        waiting.append(piece)
        size += len(piece)
    yield b"".join(waiting), True
