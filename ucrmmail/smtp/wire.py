"""The connection: replies in, bytes out, each with a deadline, and bounds on all that a server may send.

A server can answer with a line that never ends, a reply that never ends, a byte a second, or not at all; it can stop
reading in the middle of a message. So a line and a reply have a largest size, every command has a deadline on the
monotonic clock, which a slow drip cannot stretch, and ``allow`` bounds a whole session or message besides.

A bare LF ends a line as CRLF does: what some servers send, and harmless in replies, which nobody passes on.
"""

from __future__ import annotations

import functools
import math
import re
import select
import socket
from typing import TYPE_CHECKING, Protocol, cast

from ucrmmail.message.reply import Reply

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from ucrmmail.clock import Clock

LONGEST_LINE = 4096
MOST_LINES = 100
LARGEST_REPLY = 65536
_READ_BYTES = 16384
_REDACTED = b"[redacted]"
# A server says the same few sentences to every message.
_REMEMBERED_REPLIES = 64
_STATUS = re.compile(r"[2-5]\.[0-9]{1,3}\.[0-9]{1,3}(?= |$)")
# poll(2) takes no longer time, of milliseconds: somewhat more than 24 days.
_LONGEST_POLL_S = 2_147_483.0
# Shorter secrets would tear holes into every reply, and protect nothing.
_SHORTEST_HIDDEN = 4
# Linux keeps the acknowledgement of what it has back for 40 ms. A server that answers a group command by command, each
# with a write of its own, may wait for it before the next one (Nagle's algorithm, as Haraka): at each message.
_ACKNOWLEDGE_AT_ONCE = getattr(socket, "TCP_QUICKACK", None)


class ProtocolError(Exception):
    """The server sent what is no SMTP reply here, or too much of it."""


class ConnectionLostError(Exception):
    """The connection broke. ``unsent`` bytes of what was to be sent were not given to the network."""

    def __init__(self, what: str, unsent: int = 0) -> None:
        super().__init__(what)
        self.unsent = unsent


class NoAnswerError(ConnectionLostError):
    """The server did not answer, or did not read, in time."""


class HandshakeError(Exception):
    """TLS was not agreed on; ``error`` is what OpenSSL says, such as that the certificate is not trusted."""

    def __init__(self, error: ssl.SSLError) -> None:
        super().__init__(str(error))
        self.error = error


class StoppedError(Exception):
    """The run was asked to end while it waited for the server."""


class Stopper(Protocol):
    """What can ask the run to end: a descriptor that becomes readable then."""

    @property
    def requested(self) -> bool:
        """Whether it was asked to."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Observer(Protocol):
    """Who wants to see the dialogue: a transcript, or nobody. Neither side's lines hold a secret of the login."""

    def sent(self, data: bytes) -> None:
        """See what goes to the server."""

    def received(self, line: bytes) -> None:
        """See one line from the server."""


def parse_reply(lines: list[bytes]) -> Reply:
    """Return the reply that these lines (without their line ends) make (RFC 5321 section 4.2, RFC 2034).

        250-first line
        250 2.1.0 last line

    Raises ProtocolError when they are no reply.
    """
    if len(lines) == 1:
        return _parse_line(lines[0])
    return _parse(lines)


@functools.lru_cache(_REMEMBERED_REPLIES)
def _parse_line(line: bytes) -> Reply:
    return _parse([line])


def _parse(lines: list[bytes]) -> Reply:
    code = lines[0][:3]
    if not (len(code) == 3 and code.isdigit() and code[:1] in b"2345"):
        raise ProtocolError(f"the server sent {_shown(lines[0])}, which is no reply")
    last = len(lines) - 1
    for number, line in enumerate(lines):
        mark = line[3:4]
        if line[:3] != code or not (mark == b"-" if number < last else mark in (b" ", b"")):
            raise ProtocolError("the lines of a reply do not belong together")
    texts = [line[4:].decode("utf-8", "surrogateescape") for line in lines]
    enhanced = _enhanced(texts[0], code.decode())
    if enhanced:
        texts = [text.removeprefix(enhanced).lstrip(" ") for text in texts]
    return Reply(int(code), enhanced, tuple(texts))


def _enhanced(text: str, code: str) -> str:
    """Return the status code of RFC 3463 that a text begins with, "" when there is none."""
    found = _STATUS.match(text)
    return found[0] if found is not None and text[0] == code[0] else ""


def _shown(line: bytes) -> str:
    return ascii(line[:80].decode("latin-1"))


class Wire:
    """A socket that speaks lines. ``stop`` (may be None) ends a wait; ``observer`` (may be None) sees the dialogue."""

    def __init__(
        self, sock: socket.socket, *, clock: Clock, stop: Stopper | None = None, observer: Observer | None = None
    ) -> None:
        sock.setblocking(False)
        self._clock = clock
        self._stop = stop
        self._observer = observer
        self._buffer = b""
        self._limit = math.inf
        self._secrets: tuple[bytes, ...] = ()
        # What the socket raises that has to wait. In TLS it may have to read before it can write on.
        self._not_yet: tuple[type[OSError], ...] = (BlockingIOError,)
        self._wants_to_read: tuple[type[OSError], ...] = ()
        self._use(sock)

    def _use(self, sock: socket.socket) -> None:
        self._sock = sock
        # While a reply to a final dot is due, nothing but the server ends the wait.
        self._patiently = select.poll()
        self._patiently.register(sock, select.POLLIN)
        self._watching = select.poll()
        self._watching.register(sock, select.POLLIN)
        self._waited_for = select.POLLIN
        if self._stop is not None:
            self._watching.register(self._stop.fileno(), select.POLLIN)
        self._acknowledges = self._acknowledge()
        # Since the last command.
        self._has_heard = False

    def _acknowledge(self) -> bool:
        """Let the server know what has come so far; return whether that can be told to the system here."""
        if _ACKNOWLEDGE_AT_ONCE is None:
            return False
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, _ACKNOWLEDGE_AT_ONCE, 1)
        except OSError:
            return False
        return True

    @property
    def socket(self) -> socket.socket:
        """The socket, for what only it can tell: the certificate, the peer's address."""
        return self._sock

    @property
    def stop(self) -> Stopper | None:
        """What ends a wait."""
        return self._stop

    @property
    def observed(self) -> bool:
        """Whether anybody sees the dialogue."""
        return self._observer is not None

    @property
    def pending(self) -> bytes:
        """What the server sent that nobody has read yet."""
        return self._buffer

    def allow(self, seconds: float) -> None:
        """Give everything from now on this much time in all, whatever each command may take."""
        self._limit = self._clock.monotonic() + seconds

    @property
    def now_s(self) -> float:
        """The time of the clock that deadlines are on."""
        return self._clock.monotonic()

    @property
    def left_s(self) -> float:
        """How much is left of the time that ``allow`` gave."""
        return self._limit - self._clock.monotonic()

    def hide(self, *secrets: bytes) -> None:
        """Take these out of everything that the server says from now on: some echo what they refuse."""
        known = {*self._secrets, *(secret for secret in secrets if len(secret) >= _SHORTEST_HIDDEN)}
        # The longest first: one may be part of another.
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def _deadline(self, timeout_s: float) -> float:
        return min(self._clock.monotonic() + timeout_s, self._limit)

    def _wait(self, events: int, deadline: float, *, patient: bool) -> int:
        """Wait until the socket is ready and return for what. ``patient`` ignores a request to stop."""
        left_s = deadline - self._clock.monotonic()
        if left_s <= 0:
            raise NoAnswerError("the server did not answer in time")
        if events != self._waited_for:
            self._waited_for = events
            self._patiently.modify(self._sock, events)
            self._watching.modify(self._sock, events)
        ready = ready_of(self._patiently if patient else self._watching, left_s)
        if not ready:
            raise NoAnswerError("the server did not answer in time")
        if not patient and self._stop is not None and self._stop.fileno() in ready:
            raise StoppedError
        return ready.get(self._sock.fileno(), 0)

    def end_if_asked(self) -> None:
        """Raise StoppedError when the run was asked to end, which a server that answers at once leaves unnoticed."""
        if self._stop is not None and self._stop.requested:
            raise StoppedError

    def send(self, data: bytes, timeout_s: float, *, shown: bytes | None = None, patient: bool = False) -> None:
        """Send everything within the time; the observer sees ``shown`` instead, if that is given.

        What the server says meanwhile is kept: a server that answers a long pipelined group as it comes would
        otherwise wait for us to read while we wait for it (RFC 2920 section 3.1).

        Raises ConnectionLostError, StoppedError.
        """
        if self._observer is not None:
            self._observer.sent(data if shown is None else shown)
        deadline = self._deadline(timeout_s)
        self._has_heard = False
        view = memoryview(data)
        try:
            while view:
                view = view[self._send_some(view, deadline, patient=patient) :]
        except ConnectionLostError as error:
            error.unsent = len(view)
            raise

    def _send_some(self, view: memoryview, deadline: float, *, patient: bool) -> int:
        try:
            return self._sock.send(view)
        except self._wants_to_read:
            events = select.POLLIN
        except self._not_yet:
            events = select.POLLOUT
        except OSError as error:
            # What the server said before it hung up, such as a TLS alert, tells more than a broken pipe.
            self._take()
            raise ConnectionLostError(f"the connection broke: {_reason(error)}") from error
        if len(self._buffer) < LARGEST_REPLY:
            events |= select.POLLIN
        if self._wait(events, deadline, patient=patient) & select.POLLIN:
            self._take()
        return 0

    def _take(self) -> bool:
        """Add what the server has sent to the buffer; False when there is nothing. Raises ConnectionLostError."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except self._not_yet:
            return False
        except OSError as error:
            raise ConnectionLostError(f"the connection broke: {_reason(error)}") from error
        if not data:
            raise ConnectionLostError("the server closed the connection")
        self._buffer += data
        self._has_heard = True
        return True

    def read_reply(self, timeout_s: float, *, patient: bool = False) -> Reply:
        """Return the next reply. Raises ConnectionLostError, ProtocolError, StoppedError."""
        deadline = 0.0
        lines: list[bytes] = []
        size = 0
        while True:
            line = self._line_in_buffer()
            if line is None:
                # Most replies of a pipelined group are here already, and need no look at the clock.
                deadline = deadline or self._deadline(timeout_s)
                self._receive(deadline, patient=patient)
                continue
            if self._secrets:
                line = self._redacted(line)
            if self._observer is not None:
                self._observer.received(line)
            if not lines and line[3:4] != b"-":
                return _parse_line(line)
            lines.append(line)
            size += len(line)
            if len(lines) > MOST_LINES or size > LARGEST_REPLY:
                raise ProtocolError("the server's reply does not end")
            if line[3:4] != b"-" or line[:3] != lines[0][:3]:
                return parse_reply(lines)

    def _redacted(self, line: bytes) -> bytes:
        # The code of a reply is no echo: a secret such as "2500" must not make it unreadable.
        kept = 4 if line[:3].isdigit() and line[3:4] in (b"", b" ", b"-") else 0
        text = line[kept:]
        for secret in self._secrets:
            text = text.replace(secret, _REDACTED)
        return line[:kept] + text

    def _line_in_buffer(self) -> bytes | None:
        """Return the next line, without its end; None when the server has not sent all of it."""
        buffer = self._buffer
        end = buffer.find(b"\n", 0, LONGEST_LINE + 2)
        if end >= 0:
            self._buffer = buffer[end + 1 :]
            return buffer[: end - 1] if buffer[end - 1 : end] == b"\r" else buffer[:end]
        if len(buffer) > LONGEST_LINE:
            raise ProtocolError("the server sent a line that does not end")
        return None

    def _receive(self, deadline: float, *, patient: bool) -> None:
        """Take more from the server, and wait for it if there is none yet.

        Asked first, since poll does not see what TLS has decrypted already, and a reply is mostly there by now: its
        message was on the way while we were at work on the next one.
        """
        if not self._take():
            # Linux forgets it at the next command, which acknowledges by itself.
            if self._has_heard:
                self._acknowledges = self._acknowledges and self._acknowledge()
            self._wait(select.POLLIN, deadline, patient=patient)
            self._take()
        elif self._clock.monotonic() > deadline:
            raise NoAnswerError("the server did not answer in time")

    def has_spoken(self, within_s: float = 0.0) -> bool:
        """Return whether there is something from the server that nobody has asked for, or the end of the connection.

        What was answered before is to be settled first: no request to stop ends the wait.
        """
        if self._buffer:
            return True
        try:
            if not self._take() and within_s:
                self._wait(select.POLLIN, self._deadline(within_s), patient=True)
                self._take()
            return bool(self._buffer)
        except NoAnswerError:
            return False
        except ConnectionLostError:
            return True

    def last_words(self) -> Reply | None:
        """Return the reply that a server sent before it closed the connection, unasked; None when there is none."""
        self.has_spoken()
        lines = self._buffer[:LARGEST_REPLY].replace(b"\r\n", b"\n").split(b"\n")[:-1]
        for number, line in enumerate(lines[:MOST_LINES]):
            if line[3:4] != b"-":
                try:
                    return parse_reply([self._redacted(each) for each in lines[: number + 1]])
                except ProtocolError:
                    return None
        return None

    def start_tls(self, context: ssl.SSLContext, host: str, timeout_s: float) -> None:
        """Go on in TLS. Raises HandshakeError, ConnectionLostError, StoppedError.

        The caller has made sure that nothing is ``pending``: what a man in the middle puts behind the reply to STARTTLS
        would be read as if it came through TLS (the flaw of CVE-2011-0411).
        """
        self._shake_hands(context, host, self._deadline(timeout_s))

    def begin_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Say the first words of TLS, whatever the answer is: ``start_tls`` goes on from there. Raises as that does."""
        try:
            self._shake_hands(context, host, -math.inf)
        except ConnectionLostError:
            pass  # it is met again

    def _shake_hands(self, context: ssl.SSLContext, host: str, deadline: float) -> None:
        import ssl  # noqa: PLC0415 # a tenth of the start, which a connection in clear need not wait for

        self._wants_to_read = (ssl.SSLWantReadError,)
        self._not_yet = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        try:
            # A connection that is over already would leave wrap_socket with a descriptor that nobody closes.
            self._sock.getpeername()
            if not isinstance(self._sock, ssl.SSLSocket):
                self._use(context.wrap_socket(self._sock, server_hostname=host, do_handshake_on_connect=False))
            sock = cast("ssl.SSLSocket", self._sock)
            while True:
                try:
                    return sock.do_handshake()
                except ssl.SSLWantReadError:
                    self._wait(select.POLLIN, deadline, patient=False)
                except ssl.SSLWantWriteError:
                    self._wait(select.POLLOUT, deadline, patient=False)
        except ssl.SSLError as error:
            raise HandshakeError(error) from error
        except OSError as error:
            raise ConnectionLostError(f"the connection broke in the TLS handshake: {_reason(error)}") from error

    def close(self) -> None:
        """Close the connection without a word."""
        try:
            self._sock.close()
        except OSError:
            pass  # the descriptor is gone all the same, and so is the connection


def ready_of(poll: select.poll, within_s: float) -> dict[int, int]:
    """Return what is ready by then, or becomes so first, and for what; nothing when the time is over."""
    return dict(poll.poll(min(max(within_s, 0.0), _LONGEST_POLL_S) * 1000))


def first_to_speak(wires: Sequence[Wire], within_s: float) -> Wire | None:
    """Return the first of these on which something comes, or the end; None when nothing does. Raises StoppedError."""
    poll = select.poll()
    for wire in wires:
        poll.register(wire.socket, select.POLLIN)
    stop = wires[0].stop
    if stop is not None:
        poll.register(stop.fileno(), select.POLLIN)
    ready = ready_of(poll, within_s)
    if stop is not None and stop.fileno() in ready:
        raise StoppedError
    return next((wire for wire in wires if wire.socket.fileno() in ready), None)


def _reason(error: OSError) -> str:
    """Return why, in words: OpenSSL's short name (``TLSV13_ALERT_CERTIFICATE_REQUIRED``) or the system's text."""
    return getattr(error, "reason", None) or error.strerror or str(error)
