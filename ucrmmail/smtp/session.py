"""A session with the smarthost: resolve, connect, greeting, EHLO, TLS, login; after that transactions can go.

Nothing learnt before TLS survives it, and there is no way from TLS back to plain text. Every failure here is the
account's: no message is to blame.
"""

from __future__ import annotations

import math
import ssl
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ucrmmail.message.outcome import Stage, Trouble
from ucrmmail.smtp.auth import choose_mechanism, log_in
from ucrmmail.smtp.capabilities import Capabilities, parse_ehlo
from ucrmmail.smtp.connect import Address, connect, resolve
from ucrmmail.smtp.tls import context_for, seen_certificate, tls_trouble, unverified_context
from ucrmmail.smtp.trouble import RefusedError, account_trouble, classify
from ucrmmail.smtp.wire import ConnectionLostError, NoAnswerError, ProtocolError, StoppedError, Wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.certificate import Certificate
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.wire import Observer, Stopper

# Every command of the opening has the command's own time; all together have this many times as much.
_OPENING_TIMES = 3
_QUIT_TIMEOUT_S = 2.0
_PEEK_TIMEOUT_S = 10.0
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-._")


class SessionError(Exception):
    """No session could be opened; ``trouble`` is of the account."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.what)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage of the dialogue, as a test of the connection shows it."""

    stage: Stage
    ok: bool
    seconds: float
    detail: str = ""
    reply: str = ""
    remedy: str = ""


class Watcher(Protocol):
    """Who wants to see the stages."""

    def stage(self, report: StageReport) -> None:
        """See one stage that is over."""


class Stages:
    """Tells a watcher how long each stage took; without one it does nothing."""

    def __init__(self, watcher: Watcher | None, clock: Clock) -> None:
        self._watcher = watcher
        self._clock = clock
        self._began = clock.monotonic()

    @property
    def watched(self) -> bool:
        """Whether anybody sees the stages."""
        return self._watcher is not None

    def over(self, stage: Stage, detail: str, *, ok: bool = True, reply: Reply | None = None, remedy: str = "") -> None:
        """Report that this stage is over; the next one begins."""
        if self._watcher is not None:
            began, self._began = self._began, self._clock.monotonic()
            said = str(reply) if reply is not None else ""
            self._watcher.stage(StageReport(stage, ok, self._began - began, detail, said, remedy))

    def failed(self, trouble: Trouble) -> None:
        """Report a stage that ended with this trouble."""
        self.over(trouble.stage, trouble.what, ok=False, reply=trouble.reply, remedy=trouble.remedy)


class Session:
    """An open session, logged in. ``transactions_left`` is how many more the server allows on it."""

    def __init__(self, wire: Wire, smarthost: Smarthost, capabilities: Capabilities, stages: Stages) -> None:
        self.wire = wire
        self.smarthost = smarthost
        self.capabilities = capabilities
        self.stages = stages
        self.pipelining = capabilities.pipelining and smarthost.pipelining
        self.transactions_left: float = capabilities.most_transactions or math.inf

    def is_alive(self) -> bool:
        """Return whether the server has neither closed the connection nor said good-bye."""
        return not self.wire.has_spoken()

    def quit(self) -> None:
        """Say QUIT and close. What was accepted is accepted, so nothing that goes wrong here matters."""
        try:
            self.wire.allow(2 * _QUIT_TIMEOUT_S)
            self.wire.send(b"QUIT\r\n", _QUIT_TIMEOUT_S)
            reply = self.wire.read_reply(_QUIT_TIMEOUT_S)
            self.stages.over(Stage.QUIT, reply.text, reply=reply)
        except (ConnectionLostError, ProtocolError, StoppedError):
            pass
        finally:
            self.wire.close()

    def close(self) -> None:
        """Close the connection without a word."""
        self.wire.close()


def open_session(
    smarthost: Smarthost,
    *,
    secret: Callable[[], str],
    clock: Clock,
    stop: Stopper | None = None,
    observer: Observer | None = None,
    watcher: Watcher | None = None,
) -> Session:
    """Return a session that is ready for transactions.

    ``secret()`` is called only when the server has said that it takes a login. Raises SessionError with the trouble,
    StoppedError when the run was asked to end; errors of ``secret()`` pass through.
    """
    stages = Stages(watcher, clock)
    opening = _Opening(smarthost, secret, clock, stop=stop, observer=observer, stages=stages)
    try:
        return opening.open()
    except (RefusedError, ConnectionLostError, ProtocolError, ssl.SSLError) as error:
        trouble = opening.trouble_of(error)
        stages.failed(trouble)
        raise SessionError(trouble) from error


class _Opening:
    def __init__(
        self,
        smarthost: Smarthost,
        secret: Callable[[], str],
        clock: Clock,
        *,
        stop: Stopper | None,
        observer: Observer | None,
        stages: Stages,
    ) -> None:
        self._smarthost = smarthost
        self._timeout_s = smarthost.timeout_s
        self._secret = secret
        self._clock = clock
        self._stop = stop
        self._observer = observer
        self._stages = stages
        self._stage = Stage.RESOLVE
        self._certificate: Certificate | None = None

    def open(self) -> Session:
        # A file that cannot be used is found before anything is sent.
        context = context_for(self._smarthost) if self._smarthost.encryption != "none" else None
        wire, address = self._connected()
        try:
            return self._introduced(wire, context)
        except ssl.SSLCertVerificationError:
            self._certificate = self._peek(address)
            wire.close()
            raise
        except BaseException:
            wire.close()
            raise

    def _connected(self) -> tuple[Wire, Address]:
        deadline = self._clock.monotonic() + self._timeout_s
        smarthost, clock, stop = self._smarthost, self._clock, self._stop
        addresses = resolve(smarthost, clock=clock, stop=stop, deadline=deadline)
        self._stages.over(Stage.RESOLVE, ", ".join(address.text for address in addresses))
        self._stage = Stage.CONNECT
        sock, address = connect(smarthost, addresses, clock=clock, stop=stop, deadline=deadline)
        self._stages.over(Stage.CONNECT, address.text)
        return Wire(sock, clock=clock, stop=stop, observer=self._observer), address

    def _introduced(self, wire: Wire, context: ssl.SSLContext | None) -> Session:
        """Go from the greeting to the login (RFC 5321 section 3.1, RFC 3207, RFC 4954)."""
        smarthost = self._smarthost
        wire.allow(_OPENING_TIMES * self._timeout_s)
        if context is not None and smarthost.encryption == "tls":
            self._secure(wire, context)
        self._greeted(wire)
        capabilities = self._ehlo(wire)
        if context is not None and smarthost.encryption == "starttls":
            self._ask_for_tls(wire, capabilities)
            self._secure(wire, context)
            # What the server offered in clear may have been a forger's word.
            capabilities = self._ehlo(wire)
        if smarthost.username and smarthost.authentication != "none":
            self._stage = Stage.AUTH
            mechanism = choose_mechanism(smarthost, capabilities, in_tls=context is not None)
            reply = log_in(wire, smarthost, mechanism, self._secret)
            self._stages.over(Stage.AUTH, f"{mechanism} as {smarthost.username}", reply=reply)
        wire.allow(math.inf)
        return Session(wire, smarthost, capabilities, self._stages)

    def _greeted(self, wire: Wire) -> None:
        self._stage = Stage.GREETING
        greeting = wire.read_reply(self._timeout_s)
        if greeting.code != 220:
            raise RefusedError(classify(Stage.GREETING, greeting))
        self._stages.over(Stage.GREETING, greeting.text, reply=greeting)

    def _ehlo(self, wire: Wire) -> Capabilities:
        self._stage = Stage.EHLO
        name = _own_name(self._smarthost, wire)
        reply = self._ask(wire, f"EHLO {name}")
        if reply.code == 250:
            capabilities = parse_ehlo(reply)
            self._stages.over(Stage.EHLO, ", ".join(capabilities.keywords) or "no extensions")
            return capabilities
        if reply.code in {500, 501, 502, 504}:
            # A server from before 1995; it offers nothing (RFC 5321 section 3.2).
            reply = self._ask(wire, f"HELO {name}")
            if reply.code == 250:
                self._stages.over(Stage.EHLO, "HELO only: no extensions", reply=reply)
                return Capabilities()
        raise RefusedError(classify(Stage.EHLO, reply))

    def _ask(self, wire: Wire, command: str) -> Reply:
        wire.send(command.encode() + b"\r\n", self._timeout_s)
        return wire.read_reply(self._timeout_s)

    def _ask_for_tls(self, wire: Wire, capabilities: Capabilities) -> None:
        self._stage = Stage.STARTTLS
        name = self._smarthost.name
        if not capabilities.starttls:
            raise RefusedError(
                account_trouble(
                    Stage.STARTTLS,
                    f"{name} does not offer STARTTLS, and nothing is sent without it",
                    why="it has no TLS on this port, or somebody in between takes the offer out",
                    remedy="run `ucrmmail config set smtp.encryption tls` if this is a port for TLS (465)",
                )
            )
        reply = self._ask(wire, "STARTTLS")
        if reply.code != 220:
            raise RefusedError(classify(Stage.STARTTLS, reply))
        if wire.pending:
            raise RefusedError(
                account_trouble(
                    Stage.STARTTLS,
                    f"{name} sent more in clear behind its reply to STARTTLS: an injected reply",
                    why="somebody in between may have put it there to be read as if it came through TLS",
                    remedy="try from another network; mail waits here",
                )
            )
        self._stages.over(Stage.STARTTLS, reply.text, reply=reply)

    def _secure(self, wire: Wire, context: ssl.SSLContext) -> None:
        self._stage = Stage.TLS
        wire.start_tls(context, self._smarthost.host, self._timeout_s)
        if self._stages.watched:
            self._stages.over(Stage.TLS, _told_tls(wire.socket, self._clock.now()))

    def _peek(self, address: Address) -> Certificate | None:
        """Return the certificate that was not trusted, from a second connection on which nothing else is said."""
        deadline = self._clock.monotonic() + min(self._timeout_s, _PEEK_TIMEOUT_S)
        wire: Wire | None = None
        try:
            sock, _ = connect(self._smarthost, [address], clock=self._clock, stop=self._stop, deadline=deadline)
            wire = Wire(sock, clock=self._clock, stop=self._stop)
            wire.allow(deadline - self._clock.monotonic())
            if self._smarthost.encryption == "starttls":
                wire.read_reply(self._timeout_s)
                self._ask(wire, f"EHLO {_own_name(self._smarthost, wire)}")
                self._ask(wire, "STARTTLS")
            wire.start_tls(unverified_context(), self._smarthost.host, self._timeout_s)
            return seen_certificate(wire.socket)
        except (RefusedError, ConnectionLostError, ProtocolError, ssl.SSLError):
            return None
        finally:
            if wire is not None:
                wire.close()

    def trouble_of(self, error: Exception) -> Trouble:
        """Return the trouble of the account that an exception means."""
        if isinstance(error, RefusedError):
            return error.trouble
        if isinstance(error, ssl.SSLError):
            return tls_trouble(self._smarthost, error, self._certificate)
        remedy = "check smtp.host, smtp.port and smtp.encryption; nothing was lost"
        if self._stage is Stage.GREETING and self._smarthost.encryption != "tls":
            if isinstance(error, NoAnswerError):
                remedy = "if this is a port for TLS (465), run `ucrmmail config set smtp.encryption tls`"
        elif "CERTIFICATE_REQUIRED" in str(error):
            remedy = "the server wants a certificate from us: set smtp.client_certificate and smtp.client_key"
        return account_trouble(self._stage, f"{self._smarthost.name}: {error} (at {self._stage.value})", remedy=remedy)


def _own_name(smarthost: Smarthost, wire: Wire) -> str:
    """Return what we call ourselves: the name, or an address literal when that is no name (RFC 5321 section 4.1.4)."""
    name = smarthost.local_hostname
    if name and _NAME_CHARACTERS.issuperset(name):
        return name
    address = str(wire.socket.getsockname()[0])
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _told_tls(sock: socket.socket, now: float) -> str:
    """Return what was negotiated, and until when the certificate holds."""
    if not isinstance(sock, ssl.SSLSocket):
        return ""
    cipher = sock.cipher()
    told = f"{sock.version()}, {cipher[0] if cipher else 'no cipher'}"
    certificate = seen_certificate(sock)
    if certificate is not None:
        days = int((certificate.not_after.timestamp() - now) // 86400)
        told += f"; certificate for {certificate.told_names}, from {certificate.issuer}, good for {days} days"
    return told
