"""A raw SMTP server for tests that does as it is told, also the wrong thing, at any line of the dialogue.

For a well-behaved server there is ``sink.py`` (aiosmtpd); this one is for faults. It keeps every byte it was sent.

    with SmtpServer() as server:                                     takes everything
        ... Smarthost("127.0.0.1", server.port, encryption="none") ...
    server.messages[0].content                                       exactly the bytes of the message, dots undone

    SmtpServer(faults={"rcpt": "550 5.1.1 no such user"})            always
    SmtpServer(faults={"final-dot": [None, "451 4.3.0 later"]})      the second time only; afterwards as usual
    SmtpServer(faults={"rcpt": lambda line: "450 later" if b"ann@" in line else None})
    SmtpServer(faults={"ehlo": HANG, "quit": DROP})                  say nothing; close
    SmtpServer(tls=context, faults={"starttls": Raw(b"220 go\\r\\n250 injected\\r\\n")})

The places of faults are those of ``ucrmmail.message.outcome.Stage``: greeting, ehlo, starttls, tls, auth, mail, rcpt,
data, body, final-dot, rset, quit; ``auth-answer``, the client's answer to a challenge; and ``chunk``, a BDAT (RFC 3030)
that is not the last, whose place is ``final-dot``. A fault is a reply (text
without its line end), or an ``Action``.
"""

from __future__ import annotations

import base64
import hmac
import itertools
import json
import select
import socket
import ssl
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

EXTENSIONS = ("PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


class _OverError(Exception):
    """The dialogue is over."""


@dataclass(frozen=True)
class Said:
    """The fault was the answer to the command, which has the effect that its code says."""

    reply: str


class Action(ABC):
    """Something a server does in the place of its reply."""

    @abstractmethod
    def act(self, dialogue: Dialogue) -> Said | None:
        """Do it; return what was said, None to go on as usual."""


@dataclass(frozen=True)
class Raw(Action):
    """Send these bytes. The command has the effect that the first line says (STARTTLS, 220: the handshake follows)."""

    data: bytes

    def act(self, dialogue: Dialogue) -> Said:
        dialogue.send(self.data)
        return Said(self.data.decode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class Split(Action):
    """Send these bytes in pieces: at this position, or after every byte."""

    data: bytes
    at: int = -1

    def act(self, dialogue: Dialogue) -> Said:
        pieces = (
            [self.data[n : n + 1] for n in range(len(self.data))]
            if self.at < 0
            else [self.data[: self.at], self.data[self.at :]]
        )
        for piece in pieces:
            dialogue.send(piece)
            time.sleep(0.001)
        return Said(self.data.decode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class Drip(Action):
    """Send a reply one byte at a time, for ever: line after line when the data is used up."""

    data: bytes = b"250-dripping\r\n"
    every_s: float = 0.02

    def act(self, dialogue: Dialogue) -> None:
        while True:
            for number in range(len(self.data)):
                dialogue.send(self.data[number : number + 1])
                dialogue.pause(self.every_s)


@dataclass(frozen=True)
class Endless(Action):
    """Send the same bytes again and again, as fast as the client takes them."""

    data: bytes = b"250-and another thing\r\n"

    def act(self, dialogue: Dialogue) -> None:
        block = self.data * (65536 // len(self.data))
        while True:
            dialogue.send(block)


@dataclass(frozen=True)
class Wait(Action):
    """Do nothing for a while, then go on as usual."""

    seconds: float

    def act(self, dialogue: Dialogue) -> None:
        dialogue.pause(self.seconds)


@dataclass(frozen=True)
class Cut(Action):
    """Send these bytes, and close the connection before the line or the reply that they begin is whole."""

    data: bytes

    def act(self, dialogue: Dialogue) -> None:
        dialogue.send(self.data)
        raise _OverError


class _Hang(Action):
    """Say nothing more, and read nothing more, until the client goes away."""

    def act(self, dialogue: Dialogue) -> None:
        dialogue.pause(3600)
        raise _OverError


@dataclass(frozen=True)
class Leave(Action):
    """Be silent for a while, then close the connection."""

    after_s: float

    def act(self, dialogue: Dialogue) -> None:
        dialogue.pause(self.after_s)
        raise _OverError


class _Drop(Action):
    """Close the connection."""

    def act(self, dialogue: Dialogue) -> None:
        raise _OverError


class _Reset(Action):
    """Close the connection with an RST."""

    def act(self, dialogue: Dialogue) -> None:
        dialogue.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _OverError


HANG, DROP, RESET = _Hang(), _Drop(), _Reset()
GARBAGE = Raw(b"\x00\xff\x1b[2J what is this\r\n")

Fault = str | Action | Callable[[bytes], "str | Action | None"] | Sequence["str | Action | None"] | None


@dataclass
class Message:
    """A message as the server got it: ``raw`` as on the wire, ``content`` with the doubled dots undone.

    What came ``by_chunks`` (RFC 3030) has no dots doubled.
    """

    reverse_path: str
    recipients: list[str]
    options: list[str]
    raw: bytes
    at: float
    answer: str = ""
    by_chunks: bool = False

    @property
    def content(self) -> bytes:
        if self.by_chunks:
            return self.raw
        lines = self.raw.split(b"\r\n")
        return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)

    @property
    def accepted(self) -> bool:
        return self.answer.startswith("2")


@dataclass
class Dialogue:
    """One connection, and all that the client sent on it."""

    sock: socket.socket
    server: SmtpServer
    received: bytearray = field(default_factory=bytearray)
    received_in_clear: bytearray = field(default_factory=bytearray)
    commands: list[bytes] = field(default_factory=list)
    sent_bytes: int = 0
    in_tls: bool = False
    login: str = ""
    client_certificate: object = None
    tls_error: str = ""
    ended_by: str = ""
    reads: list[bytes] = field(default_factory=list)
    _buffer: bytes = b""

    @property
    def pipelined(self) -> bool:
        """Whether an envelope came in a group."""
        return any(b"MAIL FROM" in read and b"RCPT TO" in read for read in self.reads)

    def send(self, data: bytes) -> None:
        try:
            while data:
                count = self.sock.send(data)
                self.sent_bytes += count
                data = data[count:]
        except OSError as error:
            raise _OverError from error

    def pause(self, seconds: float) -> None:
        """Wait without reading; a client that closed is noticed."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.server.stopping.wait(min(left, 0.05)):
                raise _OverError
            poll = select.poll()
            poll.register(self.sock, select.POLLRDHUP)
            if poll.poll(0):
                raise _OverError

    def reply(self, text: str) -> None:
        self.send(text.replace("\n", "\r\n").encode("utf-8", "surrogateescape") + b"\r\n")

    def _fill(self) -> None:
        try:
            data = self.sock.recv(65536)
        except OSError as error:
            raise _OverError from error
        if not data:
            raise _OverError
        self.received += data
        self.reads.append(data)
        if not self.in_tls:
            self.received_in_clear += data
        self._buffer += data

    def line(self) -> bytes:
        while b"\n" not in self._buffer:
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        # A server that lies about PIPELINING forgets what came behind the command.
        if self.server.lies_about_pipelining:
            self._buffer = b""
        return line.removesuffix(b"\r")

    def body(self) -> bytes:
        """Return what comes before CRLF.CRLF, with its last CRLF."""
        while not self._buffer.startswith(b".\r\n") and b"\r\n.\r\n" not in self._buffer:
            self._fill()
        if self._buffer.startswith(b".\r\n"):
            self._buffer = self._buffer[3:]
            return b""
        body, _, self._buffer = self._buffer.partition(b"\r\n.\r\n")
        return body + b"\r\n"

    def forget_behind(self) -> int:
        """Forget the commands that came behind this one, and are here; return how many they are."""
        lines, self._buffer = self._buffer.count(b"\n"), b""
        return lines

    def counted(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        while len(self._buffer) < size:
            self._fill()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def start_tls(self) -> None:
        self.server.fault(self, "tls", b"")
        context = self.server.tls
        assert context is not None
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True)
        except OSError as error:
            self.tls_error = str(error)
            raise _OverError from error
        self.in_tls = True
        self._buffer = b""
        assert isinstance(self.sock, ssl.SSLSocket)
        self.client_certificate = self.sock.getpeercert()


class SmtpServer:
    """Listens on 127.0.0.1 and serves each connection in a thread of its own; see the module's docstring.

    ``logins`` maps users to passwords (or tokens) and makes a login necessary; ``mechanisms`` are those offered.
    ``tokens(user, token)`` tells in their place whether an access token is good.
    ``tls`` is the context for STARTTLS, or with ``smtps`` from the first byte. ``offer_starttls=False`` takes the offer
    out, as a man in the middle does. ``words`` are what it says of what it takes, by place, with ``{id}`` for what is
    another each time. ``buffer_bytes`` is what the kernel may hold on the server's side of a connection,
    each way (it doubles the number, for its own needs): what was sent, or could be sent, says then more exactly what the
    other side has read.
    """

    def __init__(
        self,
        *,
        faults: Mapping[str, Fault] | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        smtps: bool = False,
        offer_starttls: bool = True,
        logins: Mapping[str, str] | None = None,
        tokens: Callable[[str, str], bool] | None = None,
        mechanisms: str = "PLAIN LOGIN CRAM-MD5 XOAUTH2 OAUTHBEARER",
        most_recipients: int = 0,
        lies_about_pipelining: bool = False,
        lies_about_chunking: bool = False,
        words: Mapping[str, str] | None = None,
        buffer_bytes: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.faults = dict(faults or {})
        self.extensions = tuple(extensions)
        self.tls = tls
        self.smtps = smtps
        self.offer_starttls = offer_starttls
        self.logins = dict(logins or {})
        self.tokens = tokens
        self.mechanisms = mechanisms
        self.most_recipients = most_recipients
        self.lies_about_pipelining = lies_about_pipelining
        self.lies_about_chunking = lies_about_chunking
        self.words = dict(words or {})
        self._ids = itertools.count(1)
        self.stopping = threading.Event()
        self.connections: list[Dialogue] = []
        self.messages: list[Message] = []
        self._seen: dict[str, int] = {}
        # Where an action is over that a test wants.
        self.acted: set[str] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=64
        )
        if buffer_bytes:
            # What is accepted has the buffers of the listener.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.port: int = self._listener.getsockname()[1]

    # --- what tests ask ----------------------------------------------------------------------------------------

    @property
    def received(self) -> bytes:
        """Every byte of every connection, as it came out of TLS."""
        return b"".join(bytes(dialogue.received) for dialogue in self.connections)

    @property
    def received_in_clear(self) -> bytes:
        """Every byte that anybody in between could have read."""
        return b"".join(bytes(dialogue.received_in_clear) for dialogue in self.connections)

    @property
    def commands(self) -> list[bytes]:
        """The command lines of all connections, in order."""
        return [line for dialogue in self.connections for line in dialogue.commands]

    @property
    def accepted(self) -> list[Message]:
        """The messages that were answered with 2yz."""
        return [message for message in self.messages if message.accepted]

    # --- its life ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        # Closing alone does not wake a thread that sits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(5)
        self._listener.close()
        for dialogue in self.connections:
            try:
                dialogue.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(5)

    def wait_until_idle(self, timeout_s: float = 5.0) -> None:
        """Wait until every dialogue is over, so that what it recorded is complete."""
        with self._starting:
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout_s)
        with self._starting:
            # A hundred thousand dialogues are too many to ask each time.
            self._threads = [thread for thread in self._threads if thread.is_alive()]

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            dialogue = Dialogue(sock, self)
            self.connections.append(dialogue)
            thread = threading.Thread(target=self._serve, args=(dialogue,), daemon=True)
            with self._starting:
                self._threads.append(thread)
                thread.start()

    def _serve(self, dialogue: Dialogue) -> None:
        try:
            _Service(self, dialogue).run()
        except _OverError:
            pass
        finally:
            dialogue.sock.close()

    # --- faults ------------------------------------------------------------------------------------------------

    def fault(self, dialogue: Dialogue, place: str, line: bytes) -> str | Said | None:
        """Do what the test wants here; return the reply to give, or what was said; None to go on as usual."""
        wanted = self.faults.get(place)
        with self._lock:
            number = self._seen.get(place, 0)
            self._seen[place] = number + 1
        if isinstance(wanted, Sequence) and not isinstance(wanted, str):
            wanted = wanted[number] if number < len(wanted) else None
        elif callable(wanted):
            wanted = wanted(line)
        if isinstance(wanted, Action):
            said = wanted.act(dialogue)
            self.acted.add(place)
            return said
        return wanted

    def in_its_words(self, place: str, usual: str) -> str:
        """Return what this server says in the place of a reply that takes something, and any other as it is."""
        if usual[0] not in "23" or place not in self.words:
            return usual
        return self.words[place].format(id=f"{next(self._ids):06}")


class _Service:
    """The dialogue of one connection (RFC 5321), with the faults of the test in it."""

    def __init__(self, server: SmtpServer, dialogue: Dialogue) -> None:
        self._server = server
        self._dialogue = dialogue
        self._reverse_path: str | None = None
        self._recipients: list[str] = []
        self._options: list[str] = []
        self._chunks = b""
        self._failed = False

    def _answer(self, place: str, line: bytes, usual: str) -> str:
        """Reply, and return the reply that was given."""
        instead = self._server.fault(self._dialogue, place, line)
        if isinstance(instead, Said):
            return instead.reply
        reply = self._server.in_its_words(place, usual) if instead is None else instead
        self._dialogue.reply(reply)
        return reply

    def run(self) -> None:
        if self._server.smtps:
            self._dialogue.start_tls()
        if not self._answer("greeting", b"", "220 test.example ESMTP").startswith("220"):
            # RFC 5321 section 3.1: after a 554 the server waits for QUIT.
            self._dialogue.line()
            return
        while True:
            line = self._dialogue.line()
            self._dialogue.commands.append(line)
            verb = line.split(b" ", 1)[0].upper().decode("ascii", "replace")
            handler = getattr(self, f"_{verb.lower()}", None) if verb.isalpha() else None
            if verb == "BDAT" and self._server.lies_about_chunking:
                handler = None
            if handler is None:
                self._dialogue.reply("500 5.5.2 what?")
            else:
                handler(line)

    def _offers(self) -> list[str]:
        server = self._server
        offers = list(server.extensions)
        if server.tls is not None and not self._dialogue.in_tls and server.offer_starttls:
            offers.append("STARTTLS")
        if server.logins and (self._dialogue.in_tls or server.tls is None):
            offers.append(f"AUTH {server.mechanisms}")
        return offers

    def _ehlo(self, line: bytes) -> None:
        lines = ["test.example greets you", *self._offers()]
        usual = "\n".join(f"250-{text}" for text in lines[:-1]) + ("\n" if lines[1:] else "") + f"250 {lines[-1]}"
        self._answer("ehlo", line, usual)

    def _helo(self, line: bytes) -> None:
        self._answer("helo", line, "250 test.example")

    def _starttls(self, line: bytes) -> None:
        if self._answer("starttls", line, "220 2.0.0 go ahead").startswith("220"):
            self._dialogue.start_tls()

    def _auth(self, line: bytes) -> None:
        words = line.split()
        mechanism = words[1].decode().upper()
        instead = self._server.fault(self._dialogue, "auth", line)
        if isinstance(instead, str):
            self._dialogue.reply(instead)
        if instead is not None:
            return
        said = self._say_login(mechanism, words[2] if len(words) > 2 else None)
        if said:
            self._dialogue.login = said
            self._dialogue.reply("235 2.7.0 welcome")
        else:
            self._dialogue.reply("535 5.7.8 Username and Password not accepted")

    def _challenge(self, text: bytes) -> bytes:
        self._answer("auth-answer", text, "334 " + base64.b64encode(text).decode())
        answer = self._dialogue.line()
        self._dialogue.commands.append(answer)
        return base64.b64decode(answer)

    def _say_login(self, mechanism: str, initial: bytes | None) -> str:
        """Return the user that logged in, "" when the login is wrong."""
        if mechanism == "PLAIN":
            _, user, password = (self._challenge(b"") if initial is None else base64.b64decode(initial)).split(b"\0")
        elif mechanism == "LOGIN":
            user, password = self._challenge(b"Username:"), self._challenge(b"Password:")
        elif mechanism == "CRAM-MD5":
            challenge = b"<1896.697170952@test.example>"
            user, _, digest = self._challenge(challenge).rpartition(b" ")
            known = self._server.logins.get(user.decode(), "")
            good = known and hmac.new(known.encode(), challenge, "md5").hexdigest().encode() == digest
            return user.decode() if good else ""
        else:
            return self._token(mechanism, base64.b64decode(initial or b""))
        return user.decode() if self._server.logins.get(user.decode()) == password.decode() else ""

    def _token(self, mechanism: str, initial: bytes) -> str:
        """Check a bearer token as Google's XOAUTH2 and RFC 7628 write it; a wrong one gets the error challenge."""
        fields = dict(part.partition(b"=")[::2] for part in initial.split(b"\1") if part)
        if mechanism == "XOAUTH2":
            user, token = fields.get(b"user", b""), fields.get(b"auth", b"").removeprefix(b"Bearer ")
        else:
            user = (
                initial.split(b"\1")[0].split(b",")[1].removeprefix(b"a=").replace(b"=2C", b",").replace(b"=3D", b"=")
            )
            token = fields.get(b"auth", b"").removeprefix(b"Bearer ")
        known = self._server.logins.get(user.decode()) == token.decode()
        if self._server.tokens(user.decode(), token.decode()) if self._server.tokens is not None else known:
            return user.decode()
        told = {"status": "401" if mechanism == "XOAUTH2" else "invalid_token", "schemes": "bearer", "scope": "mail"}
        self._challenge(json.dumps(told).encode())
        return ""

    def _mail(self, line: bytes) -> None:
        usual = "250 2.1.0 sender ok"
        if self._server.logins and not self._dialogue.login:
            usual = "530 5.7.0 Authentication required"
        elif self._reverse_path is not None:
            usual = "503 5.5.1 nested MAIL command"
        if self._answer("mail", line, usual).startswith("2"):
            address, *options = line[len("MAIL FROM:") :].decode("utf-8", "surrogateescape").rsplit(">", 1)[0:2]
            self._reverse_path = address.lstrip("<")
            self._options = options[0].split() if options else []
            self._recipients = []

    def _rcpt(self, line: bytes) -> None:
        usual = "250 2.1.5 recipient ok"
        if self._reverse_path is None:
            usual = "503 5.5.1 need MAIL first"
        elif self._server.most_recipients and len(self._recipients) >= self._server.most_recipients:
            usual = "452 4.5.3 too many recipients"
        if self._answer("rcpt", line, usual).startswith("2"):
            self._recipients.append(line[len("RCPT TO:<") :].decode("utf-8", "surrogateescape").rsplit(">", 1)[0])

    def _data(self, line: bytes) -> None:
        if self._reverse_path is None:
            usual = "503 5.5.1 need MAIL first"
        elif not self._recipients:
            usual = "554 5.5.1 no valid recipients"
        else:
            usual = "354 go ahead"
        if not self._answer("data", line, usual).startswith("354"):
            return
        self._server.fault(self._dialogue, "body", b"")
        message = Message(
            self._reverse_path or "", self._recipients, self._options, self._dialogue.body(), time.monotonic()
        )
        self._server.messages.append(message)
        usual = "250 2.0.0 queued" if message.recipients else "554 5.5.1 no valid recipients"
        message.answer = self._answer("final-dot", message.raw, usual)
        self._forget()

    def _bdat(self, line: bytes) -> None:
        _, size, *last = line.split()
        self._server.fault(self._dialogue, "body", line)
        self._chunks += self._dialogue.counted(int(size))
        usual = "250 2.0.0 queued" if last else "250 2.0.0 so far so good"
        if self._failed or not self._recipients:
            usual = "503 5.5.1 need RCPT first"
        if not last:
            self._failed = not self._answer("chunk", line, usual).startswith("2")
            return
        message = Message(
            self._reverse_path or "", self._recipients, self._options, self._chunks, time.monotonic(), by_chunks=True
        )
        self._server.messages.append(message)
        message.answer = self._answer("final-dot", message.raw, usual)
        self._forget()

    def _forget(self) -> None:
        self._chunks, self._failed = b"", False
        self._reverse_path, self._recipients, self._options = None, [], []

    def _rset(self, line: bytes) -> None:
        if self._answer("rset", line, "250 2.0.0 forgotten").startswith("2"):
            self._forget()

    def _noop(self, _line: bytes) -> None:
        self._dialogue.reply("250 2.0.0 ok")

    def _quit(self, line: bytes) -> None:
        self._dialogue.ended_by = "quit"
        self._answer("quit", line, "221 2.0.0 bye")
        raise _OverError
