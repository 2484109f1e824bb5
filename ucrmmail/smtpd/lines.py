"""What the client of a session writes: command lines and the text of messages, wherever the pipe cuts them.

How the first line ends, with CRLF or with LF, is how all lines of the session end, and what makes a line of the dot
that ends a message. SMTP knows CRLF only; a person at a terminal, or ``printf ... | sendmail -bs``, writes LF. The two
are never mixed: a client doubles the dots behind *its* line ends (RFC 5321 section 4.5.2), so a dot behind another one
may come from whoever wrote the message, and to see the end there would take the rest of the message for commands (SMTP
smuggling, VU#302671). A command with the other line end may be part of an address that nobody looked at: the session
ends there, as Postfix does it with ``smtpd_forbid_bare_newline = reject``.

Imported by ``sendmail -bs`` only, and as sparing with imports as all submissions.
"""

from __future__ import annotations

from ucrmmail.errors import DataError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# RFC 5321 section 4.5.3.1.4 asks for 512 bytes, and for more with each extension; Postfix takes as many as here.
LONGEST_LINE_BYTES = 2048


class CutOffError(DataError):
    """The input ended, or cannot be trusted to go on, where something was to come."""


class TooLongError(Exception):
    """A command line is longer than ``LONGEST_LINE_BYTES``; it was read to its end."""


class Lines:
    """What ``read`` returns piece by piece (b"" at the end), as command lines and texts."""

    __slots__ = ("_at", "_held", "_line_end", "_read", "within_text")

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._held = b""
        self._at = 0
        self._line_end = b""
        # What comes next belongs to a text: its end did not come yet, and may never be found after an error.
        self.within_text = False

    def command(self) -> bytes | None:
        """Return the next line without its end; None at the end of the input. A line that was cut off is no command.

        Raises TooLongError, and CutOffError when it does not end as those before it; what ``read`` raises.
        """
        line = b""
        while True:
            end = self._held.find(b"\n", self._at) + 1
            line += self._held[self._at : end or None]
            if end:
                self._at = end
                break
            # Of what is too long anyhow, the end is enough.
            line = line[-LONGEST_LINE_BYTES - 1 :]
            if not self._next_piece():
                return None
        line_end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
        self._line_end = self._line_end or line_end
        if line_end != self._line_end:
            raise CutOffError(
                f"a line ends with {_name_of(line_end)}, and those before it with {_name_of(self._line_end)}",
                why="nothing tells where such a message would end",
                remedy="end all lines with CRLF",
            )
        if len(line) > LONGEST_LINE_BYTES:
            raise TooLongError
        return line[: -len(line_end)]

    def text(self) -> Iterator[bytes]:
        """Yield the text of a message up to the line that is a single dot, the dots that the client added left out.

        Raises CutOffError when the input ends before it; what ``read`` raises.
        """
        self.within_text = True
        line_end = self._line_end
        last = line_end + b"." + line_end
        # The text begins at the beginning of a line, which is not ours to yield.
        held, not_ours = line_end, len(line_end)
        while True:
            if not self.has_more() and not self._next_piece():
                raise CutOffError(
                    "the input ended before the message did",
                    why=f"a line that is a single dot ends it, with {_name_of(line_end)} before and behind it",
                    remedy="submit the message again",
                )
            data = held + self._held[self._at :]
            self._at = len(self._held)
            end = data.find(last)
            # Without an end, the next piece may make one of what this piece ends with.
            cut = end + len(line_end) if end >= 0 else len(data) - _overlap(data, last)
            if cut:
                yield data[:cut].replace(last[: -len(line_end)], line_end)[not_ours:]
                held, not_ours = data[cut:], 0
            else:
                held = data
            if end >= 0:
                self._held, self._at = data, end + len(last)
                self.within_text = False
                return

    def has_more(self) -> bool:
        """Return whether more was read than the commands and texts that were returned."""
        return self._at < len(self._held)

    def _next_piece(self) -> bool:
        self._held, self._at = self._read(), 0
        return bool(self._held)


def _overlap(data: bytes, last: bytes) -> int:
    """Return how many bytes at the end of the data may be the beginning of ``last``."""
    return next(size for size in range(len(last) - 1, -1, -1) if data.endswith(last[:size]))


def _name_of(line_end: bytes) -> str:
    return "CRLF" if line_end == b"\r\n" else "LF"
