"""The standard streams as a caller left them: closed by a daemon, on a full disk, or read by one who has gone.

A closed descriptor is dangerous: the next file that is opened takes its number, and what is meant for a terminal is
written into it. This module is loaded by every submission, so it imports next to nothing.
"""

from __future__ import annotations

import codecs
import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TextIO

    from _typeshed import ReadableBuffer

    from ucrmmail.reader import SlowReader


def open_what_is_closed() -> None:
    """Occupy the descriptors 0, 1 and 2 where the caller closed them: what is said then goes nowhere.

    Reading a standard input that was closed stays an error: it must not look like an empty message.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY)  # takes the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 # it lives as long as the process
    if sys.stdout is None:
        sys.stdout = Nowhere(1)
    if sys.stderr is None:
        sys.stderr = Nowhere(2)


class Nowhere(io.TextIOWrapper):
    """A standard stream that was closed, or has failed: writing to it is no error, and nobody reads what is written."""

    def __init__(self, number: int) -> None:
        descriptor = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        super().__init__(descriptor, encoding="utf-8", errors="backslashreplace")


# Escapes what the reader's charset does not have, as output/escape does with what a terminal would obey.
_ESCAPE = "ucrmmail.escape"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelled_out, error.object[error.start : error.end])), error.end


def _spelled_out(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that was not UTF-8
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{{{code:04x}}}"


class _Descriptor(io.FileIO):
    """A descriptor that remembers what kept it from being written: of who writes it, not all tell."""

    error: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


class StandardOutput(io.TextIOWrapper):
    """Standard output whose failure can be told from that of any other file, and that takes any text.

    A server says what it wants, and who reads it may have Latin-1, or no more than ASCII.
    """

    def __init__(self, stream: TextIO) -> None:
        stream.flush()
        codecs.register_error(_ESCAPE, _escaped)
        self.goes_nowhere = isinstance(stream, Nowhere)
        self._descriptor = _Descriptor(stream.fileno(), "w", closefd=False)
        super().__init__(
            io.BufferedWriter(self._descriptor),
            encoding=stream.encoding,
            errors=_ESCAPE,
            line_buffering=stream.isatty(),
        )

    used = False
    _reader: SlowReader | None = None

    def write(self, text: str, /) -> int:
        """Write, and remember that something was."""
        self.used = True
        if self._reader is None:
            return super().write(text)
        self._reader.say(text.encode(self.encoding, _ESCAPE))
        return len(text)

    def never_wait(self, reader: SlowReader) -> None:
        """Let what is written from now on wait for ``reader``, and nobody for him: until ``wait_again``."""
        self._reader = reader

    def wait_again(self) -> None:
        """Write what the reader has not taken so far, however long that lasts. Raises OSError."""
        reader, self._reader = self._reader, None
        if reader is None:
            return
        rest = reader.leave()
        if reader.error is not None:
            self._descriptor.error = reader.error
        self.buffer.write(rest)
        self.flush()

    def trouble(self) -> OSError | None:
        """Write what waits; return what kept it, now or earlier, from being written, and give up: None when all is."""
        try:
            self.flush()
        except OSError as error:
            self._descriptor.error = error
        if self._descriptor.error:
            discard(self)
        return self._descriptor.error


def leave(code: int) -> NoReturn:
    """End the process with this exit code, at once.

    What is durable is durable by now. To take the interpreter apart first, object by object, costs a submission 2 ms
    and a command that has loaded much 14 ms.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # a reader that has gone, or a stream that was closed: what could be said of it has been
    os._exit(code)


def discard(stream: TextIO) -> None:
    """Send what a stream still holds, and all that is written to it from now on, nowhere.

    Python would try again at exit, and end with a code (120) that says nothing.
    """
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, stream.fileno())
    os.close(null)


def complain(line: str) -> bool:
    """Write a line to standard error; return whether somebody may read it: not where it was closed, or has failed.

    Neither is an error: what has happened decides the exit code.
    """
    if isinstance(sys.stderr, Nowhere):
        return False
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)
        # Nor is a later line written now.
        sys.stderr = Nowhere(2)
        return False
    return True
