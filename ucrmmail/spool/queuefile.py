"""The queue file: envelope and message in one, so that one rename accepts both.

    ucrmmail-queue 1 1c291ca3 5183          format, CRC-32 and length of everything after this line
    from billing@isp.example                exactly one; empty is the null reverse-path
    to joe@example.com                      one or more
    flags 8bit utf8                         when the message needs 8BITMIME, SMTPUTF8
                                            an empty line, then the message as it goes on the wire

A file that was torn, or of which one bit has changed, is told from a whole one. The first two lines of it are enough
for a person with ``head``. Written by every submission, so this module imports only what is loaded already.
"""

from __future__ import annotations

import os
import zlib

from ucrmmail.errors import DataError, NoUserError
from ucrmmail.message.envelope import MOST_RECIPIENTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ucrmmail.message.arrival import Stored

CHUNK_BYTES = 1 << 18
# Room for the envelope of a message to as many recipients as may be; what is longer is refused, or damage.
LARGEST_ENVELOPE_BYTES = 1 << 25
# spool.max_message_size leaves room in it for the envelope.
_LARGEST_FILE_BYTES = 1 << 31
_MAGIC = b"ucrmmail-queue 1 "
_LONGEST_FIRST_LINE = 48


class DamagedError(Exception):
    """A queue file does not hold what was accepted; the text says what is wrong with it."""


class QueueFile:
    """What a queue file holds besides the message, and where in it the message starts (``offset``).

    A plain class, since dataclasses cost every submission 16 ms.
    """

    __slots__ = ("eight_bit", "offset", "recipients", "reverse_path", "size_bytes", "utf8")

    def __init__(
        self,
        reverse_path: str,
        recipients: tuple[str, ...],
        *,
        eight_bit: bool,
        utf8: bool,
        offset: int,
        size_bytes: int,
    ) -> None:
        self.reverse_path = reverse_path
        self.recipients = recipients
        self.eight_bit = eight_bit
        self.utf8 = utf8
        self.offset = offset
        self.size_bytes = size_bytes


def parts_of(message: bytes | Stored) -> Iterable[bytes]:
    """Return the pieces in which a message is written: one, unless it is too large for that."""
    return (message,) if isinstance(message, bytes) else message.pieces()


def encode_head(
    reverse_path: str, recipients: Sequence[str], message: bytes | Stored, *, eight_bit: bool, utf8: bool
) -> bytes:
    """Return what stands before the message in its queue file.

    Raises NoUserError for an address that could not be read back as it is, or when there is no recipient; DataError for
    what is too large to be read back; TemporaryError from the file of a stored message.
    """
    lines = [f"from {reverse_path}"]
    lines += [f"to {recipient}" for recipient in recipients]
    if eight_bit or utf8:
        lines.append("flags" + " 8bit" * eight_bit + " utf8" * utf8)
    if not recipients:
        raise NoUserError("the message has no recipient", remedy="name one")
    for address in (*recipients, reverse_path or "-"):
        if not address or not address.isprintable():
            raise NoUserError(
                f"{address!r} is not an address", why="it is empty or holds control characters", remedy="correct it"
            )
    envelope = ("\n".join(lines) + "\n\n").encode()
    if len(recipients) > MOST_RECIPIENTS or len(envelope) > LARGEST_ENVELOPE_BYTES - _LONGEST_FIRST_LINE:
        raise DataError(
            f"the message goes to {len(recipients)} recipients, more than fit into one envelope",
            remedy="send it to fewer at a time",
        )
    if len(envelope) + len(message) > _LARGEST_FILE_BYTES - _LONGEST_FIRST_LINE:
        raise DataError(
            f"the message has {len(message)} bytes as it goes on the wire, more than the queue can hold",
            remedy="send less",
        )
    crc = zlib.crc32(envelope)
    for part in parts_of(message):
        crc = zlib.crc32(part, crc)
    return _first_line(crc, len(envelope) + len(message)) + envelope


def _first_line(crc: int, length: int) -> bytes:
    return b"%b%08x %d\n" % (_MAGIC, crc, length)


def is_queue_file(beginning: bytes) -> bool:
    """Return whether this begins as a queue file does, which no message can: its first line is no header field."""
    return beginning.startswith(_MAGIC)


def read_checked(fd: int, size_bytes: int) -> tuple[QueueFile, bytes]:
    """Return a queue file of ``size_bytes`` with its whole content checked, and the content when it is small.

    A large file is read in pieces, so that it never has to fit into memory; then b"" stands for its content.
    Raises DamagedError, OSError.
    """
    # One byte more than there should be shows a file that is still growing.
    content = os.pread(fd, min(size_bytes + 1, CHUNK_BYTES), 0)
    start = content.find(b"\n", 0, _LONGEST_FIRST_LINE) + 1
    if not start or not content.startswith(_MAGIC):
        raise DamagedError("it does not begin as a queue file")
    if size_bytes > _LARGEST_FILE_BYTES:
        raise DamagedError(f"it has {size_bytes} bytes, more than any message")
    crc = zlib.crc32(memoryview(content)[start:])
    end = len(content)
    if end == CHUNK_BYTES:
        for part in pieces(fd, end):
            crc = zlib.crc32(part, crc)
            end += len(part)
    # Compared as a whole: no second way to write a number, no flipped bit, passes.
    if content[:start] != _first_line(crc, end - start):
        raise DamagedError("its length or checksum is not that of what was accepted")
    if end > len(content):
        return _parse(_whole_envelope(fd, content, start), start, end), b""
    return _parse(content, start, end), content


def read_unchecked(fd: int, size_bytes: int, beginning_bytes: int = CHUNK_BYTES) -> tuple[QueueFile, bytes]:
    """Return the envelope and the beginning of the message, without reading all of it: for lists, not for sending.

    ``beginning_bytes`` are read of the file; more when the envelope and the header do not end in them.
    Raises DamagedError, OSError.
    """
    content = os.pread(fd, beginning_bytes, 0)
    start = content.find(b"\n", 0, _LONGEST_FIRST_LINE) + 1
    if not start or not content.startswith(_MAGIC):
        raise DamagedError("it does not begin as a queue file")
    if len(content) == beginning_bytes < CHUNK_BYTES and content.find(b"\r\n\r\n", start) < 0:
        content = os.pread(fd, CHUNK_BYTES, 0)
    content = _whole_envelope(fd, content, start)
    file = _parse(content, start, size_bytes)
    return file, content[file.offset :]


def pieces(fd: int, offset: int) -> Iterator[bytes]:
    """Yield what is in a file from ``offset`` on."""
    while part := os.pread(fd, CHUNK_BYTES, offset):
        yield part
        offset += len(part)


def _whole_envelope(fd: int, content: bytes, start: int) -> bytes:
    """Return the beginning of the file, with all of its envelope; only with a thousand recipients there is more."""
    if content.find(b"\n\n", start) < 0 and len(content) == CHUNK_BYTES:
        return os.pread(fd, LARGEST_ENVELOPE_BYTES, 0)
    return content


def _parse(content: bytes, start: int, end: int) -> QueueFile:
    head_end = content.find(b"\n\n", start)
    if head_end < 0:
        raise DamagedError("its envelope has no end")
    # Any user may hand such a file over: it is not taken apart first. Besides the recipients there are two lines.
    if content.count(b"\n", start, head_end) > MOST_RECIPIENTS + 1:
        raise DamagedError(f"its envelope has more than {MOST_RECIPIENTS} recipients")
    try:
        text = content[start:head_end].decode()
    except UnicodeDecodeError as error:
        raise DamagedError("its envelope is not UTF-8") from error
    lines = text.split("\n")
    flags = lines.pop().split(" ") if lines[-1].startswith("flags ") else []
    recipients = tuple([line[3:] for line in lines[1:] if line.startswith("to ")])
    # Recipients first: without one there may be no line at all.
    if not recipients or not lines[0].startswith("from ") or len(recipients) + 1 != len(lines):
        raise DamagedError("its envelope is incomplete")
    # Whoever wrote it: nothing that could end a command goes to the wire.
    if not text.replace("\n", " ").isprintable() or "" in recipients:
        raise DamagedError("its envelope holds an address that was never accepted")
    offset = head_end + 2
    return QueueFile(
        lines[0][5:],
        recipients,
        eight_bit="8bit" in flags,
        utf8="utf8" in flags,
        offset=offset,
        size_bytes=end - offset,
    )
