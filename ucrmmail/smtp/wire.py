"""The connection: lines in, bytes out, each with a deadline, and bounds on all that a server may send.

A server can answer with a line that never ends, a reply that never ends, a byte a second, or not at all. So a line
and a reply have a largest size, and a command has a deadline on the monotonic clock, which a slow drip cannot stretch.
"""

from __future__ import annotations

import select
import ssl
from typing import TYPE_CHECKING, Protocol

from ucrmmail.message.reply import Reply

if TYPE_CHECKING:
    import socket

    from ucrmmail.clock import Clock

LONGEST_LINE = 4096
MOST_LINES = 100
LARGEST_REPLY = 65536
_READ_BYTES = 16384


class ProtocolError(Exception):
    """The server sent what is no SMTP reply, or too much of it."""


class ConnectionLostError(Exception):
    """The connection broke, or the server did not answer in time."""


class StoppedError(Exception):
    """The run was asked to end while it waited for the server."""


class Stopper(Protocol):
    """What can ask the run to end: a descriptor that becomes readable."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Observer(Protocol):
    """Who wants to see the dialogue: a transcript, or nobody."""

    def sent(self, data: bytes) -> None:
        """See what goes to the server."""

    def received(self, line: bytes) -> None:
        """See one line from the server."""


def parse_reply(lines: list[bytes]) -> Reply:
    """Return the reply that these lines (without their line ends) make (RFC 5321 section 4.2, RFC 2034).

    Raises ProtocolError when they are no reply.
    """
    code = lines[0][:3]
    if len(code) != 3 or not code.isdigit() or code[:1] not in b"2345":
        raise ProtocolError(f"the server sent {_shown(lines[0])}, which is no reply")
    if any(line[:3] != code or line[3:4] not in (b"", b" ", b"-") for line in lines):
        raise ProtocolError("the lines of a reply do not belong together")
    texts = [line[4:].decode("utf-8", "surrogateescape") for line in lines]
    enhanced = _enhanced(texts[0], code.decode())
    if enhanced:
        texts = [text.removeprefix(enhanced).lstrip() for text in texts]
    return Reply(int(code), enhanced, tuple(texts))


def _enhanced(text: str, code: str) -> str:
    """Return the status code of RFC 3463 that a text begins with, "" when there is none."""
    word = text.partition(" ")[0]
    parts = word.split(".")
    if (
        len(parts) == 3
        and parts[0] == code[0]
        and all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts)
    ):
        return word
    return ""


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("utf-8", "backslashreplace"))


class Wire:
    """A socket that speaks lines. ``stop`` (may be None) ends a wait; ``observer`` (may be None) sees the dialogue."""

    def __init__(self, sock: socket.socket, *, clock: Clock, stop: Stopper | None, observer: Observer | None) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._clock = clock
        self._stop = stop
        self._observer = observer
        self._buffer = b""
        self._hidden: tuple[bytes, ...] = ()
        self._poll_for(sock)

    def _poll_for(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reads, self._writes = select.poll(), select.poll()
        self._reads.register(sock, select.POLLIN)
        self._writes.register(sock, select.POLLOUT)
        if self._stop is not None:
            self._reads.register(self._stop.fileno(), select.POLLIN)
            self._writes.register(self._stop.fileno(), select.POLLIN)

    @property
    def socket(self) -> socket.socket:
        """The socket, for what only it can tell: the certificate, the peer's address."""
        return self._sock

    @property
    def pending(self) -> bytes:
        """What the server sent that nobody has read yet."""
        return self._buffer

    def _wait(self, poll: select.poll, deadline: float, *, patient: bool) -> None:
        """Wait until the socket is ready. ``patient`` ignores a request to stop: a reply to a final dot is due."""
        left_s = deadline - self._clock.monotonic()
        if left_s <= 0:
            raise ConnectionLostError("the server did not answer in time")
        ready = poll.poll(left_s * 1000)
        if not ready:
            raise ConnectionLostError("the server did not answer in time")
        if self._stop is not None and len(ready) == 1 and ready[0][0] == self._stop.fileno():
            if not patient:
                raise StoppedError
            # The stop descriptor stays readable: wait for the socket alone from now on.
            poll.unregister(self._stop.fileno())

    def send(self, data: bytes, timeout_s: float, *, secret: bool = False, patient: bool = False) -> None:
        """Send everything within the time. Raises ConnectionLostError, StoppedError."""
        if self._observer is not None:
            self._observer.sent(b"[secret]\r\n" if secret else data)
        deadline = self._clock.monotonic() + timeout_s
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(self._writes, deadline, patient=patient)
            except ssl.SSLWantReadError:
                self._wait(self._reads, deadline, patient=patient)
            except OSError as error:
                raise ConnectionLostError(f"the connection broke: {error.strerror or error}") from error

    def read_reply(self, timeout_s: float, *, patient: bool = False) -> Reply:
        """Return the next reply. Raises ConnectionLostError, ProtocolError, StoppedError."""
        deadline = self._clock.monotonic() + timeout_s
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._without_secrets(self._read_line(deadline, patient=patient))
            if self._observer is not None:
                self._observer.received(line)
            lines.append(line)
            size += len(line)
            if len(lines) > MOST_LINES or size > LARGEST_REPLY:
                raise ProtocolError("the server's reply does not end")
            if line[3:4] != b"-":
                return parse_reply(lines)
            if not line[:3].isdigit():
                raise ProtocolError(f"the server sent {_shown(line)}, which is no reply")

    def hide(self, *texts: bytes) -> None:
        """Take these texts out of every line that the server sends from now on.

        A server that echoes a login in its reply must not bring the secret into an error, a log or a state file. The
        longest come first: one text may be part of another.
        """
        known = {*self._hidden, *(text for text in texts if text)}
        self._hidden = tuple(sorted(known, key=len, reverse=True))

    def _without_secrets(self, line: bytes) -> bytes:
        # The code of a reply is no echo: a secret such as "250" must not make it unreadable.
        kept = 4 if line[:3].isdigit() and line[3:4] in (b"", b" ", b"-") else 0
        text = line[kept:]
        for hidden in self._hidden:
            text = text.replace(hidden, b"[redacted]")
        return line[:kept] + text

    def _read_line(self, deadline: float, *, patient: bool) -> bytes:
        while True:
            end = self._buffer.find(b"\n", 0, LONGEST_LINE + 2)
            if end >= 0:
                line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
                return line.removesuffix(b"\r")
            if len(self._buffer) > LONGEST_LINE:
                raise ProtocolError("the server sent a line that does not end")
            self._fill(deadline, patient=patient)

    def _fill(self, deadline: float, *, patient: bool) -> None:
        while True:
            # A drip that keeps the socket readable must not outlive the deadline either.
            if self._clock.monotonic() > deadline:
                raise ConnectionLostError("the server did not answer in time")
            try:
                data = self._sock.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(self._reads, deadline, patient=patient)
                continue
            except ssl.SSLWantWriteError:
                self._wait(self._writes, deadline, patient=patient)
                continue
            except OSError as error:
                raise ConnectionLostError(f"the connection broke: {error.strerror or error}") from error
            if not data:
                raise ConnectionLostError("the server closed the connection")
            self._buffer += data
            return

    def is_quiet(self) -> bool:
        """Return whether the connection is open and the server has said nothing that nobody asked for."""
        if self._buffer:
            return False
        try:
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        # Data that nobody asked for, or the end of the stream.
        return False

    def start_tls(self, context: ssl.SSLContext, host: str, timeout_s: float) -> None:
        """Go on in TLS. Raises ssl.SSLError (with its verification error), ConnectionLostError.

        What arrived in clear before the handshake is dropped by the caller's check of ``pending``: a man in the middle
        may have put it there to be read as if it came through TLS (the flaw of CVE-2011-0411).
        """
        sock = context.wrap_socket(self._sock, server_hostname=host, do_handshake_on_connect=False)
        self._poll_for(sock)
        deadline = self._clock.monotonic() + timeout_s
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(self._reads, deadline, patient=False)
            except ssl.SSLWantWriteError:
                self._wait(self._writes, deadline, patient=False)
            except ssl.SSLError:
                raise
            except OSError as error:
                raise ConnectionLostError(f"the connection broke during the handshake: {error.strerror}") from error
            else:
                return

    def close(self) -> None:
        """Close the connection without a word."""
        self._sock.close()
