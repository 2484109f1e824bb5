"""A session with the smarthost: resolve, connect, greeting, EHLO, TLS, login; after that transactions can go.

Nothing learnt before TLS survives it, and there is no way from TLS back to plain text. Every failure here is the
account's: no message is to blame.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ucrmmail.message.outcome import Stage, Trouble
from ucrmmail.smtp.auth import LoginError, choose_mechanism, log_in
from ucrmmail.smtp.capabilities import Capabilities, parse_ehlo
from ucrmmail.smtp.tls import context_for, tls_trouble
from ucrmmail.smtp.trouble import account_trouble, classify
from ucrmmail.smtp.wire import ConnectionLostError, ProtocolError, StoppedError, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.wire import Observer, Stopper

# RFC 5321 section 4.5.3.2.1 gives the greeting five minutes; a person or cron gives it the command's own time.
_QUIT_TIMEOUT_S = 2.0


class SessionError(Exception):
    """No session could be opened; ``trouble`` is of the account."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.what)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage of the dialogue, as a connection test shows it."""

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


class Session:
    """An open session, logged in."""

    def __init__(self, wire: Wire, smarthost: Smarthost, capabilities: Capabilities) -> None:
        self.wire = wire
        self.smarthost = smarthost
        self.capabilities = capabilities

    @property
    def pipelining(self) -> bool:
        """Whether commands may go in groups (RFC 2920)."""
        return self.capabilities.pipelining and self.smarthost.pipelining

    def is_alive(self) -> bool:
        """Return whether the server has neither closed the connection nor said good-bye."""
        return self.wire.is_quiet()

    def quit(self) -> None:
        """Say QUIT and close. What was accepted is accepted, so nothing that goes wrong here matters."""
        try:
            self.wire.send(b"QUIT\r\n", _QUIT_TIMEOUT_S)
            self.wire.read_reply(_QUIT_TIMEOUT_S)
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
    return _Opening(smarthost, secret, clock, stop=stop, observer=observer, watcher=watcher).open()


class _Opening:
    def __init__(
        self,
        smarthost: Smarthost,
        secret: Callable[[], str],
        clock: Clock,
        *,
        stop: Stopper | None,
        observer: Observer | None,
        watcher: Watcher | None,
    ) -> None:
        self._smarthost = smarthost
        self._secret = secret
        self._clock = clock
        self._stop = stop
        self._observer = observer
        self._watcher = watcher
        self._stage = Stage.RESOLVE
        self._started = clock.monotonic()

    def open(self) -> Session:
        wire: Wire | None = None
        try:
            wire = self._connected()
            session = self._greeted(wire)
        except BaseException as error:
            if wire is not None:
                wire.close()
            trouble = self._trouble_of(error)
            if trouble is None:
                raise
            self._passed(trouble.what, ok=False, reply=trouble.reply, remedy=trouble.remedy)
            raise SessionError(trouble) from None
        return session

    def _trouble_of(self, error: BaseException) -> Trouble | None:
        """Return the trouble that an exception means, None for one that is not ours to explain."""
        host = self._smarthost.name
        if isinstance(error, (SessionError, LoginError)):
            return error.trouble
        if isinstance(error, ConnectionLostError):
            hint = ""
            if self._stage is Stage.GREETING and self._smarthost.encryption != "tls":
                hint = "a port for TLS (465) waits in silence: run `ucrmmail config set smtp.encryption tls`"
            return account_trouble(
                self._stage, f"{host}: {error} (at {self._stage.value})",
                remedy=hint or "check that the smarthost is up; the next run tries again",
            )  # fmt: skip
        if isinstance(error, ProtocolError):
            return account_trouble(
                self._stage, f"{host}: {error} (at {self._stage.value})", remedy="check host, port and encryption"
            )
        if isinstance(error, ssl.SSLError):
            return tls_trouble(self._smarthost, error)
        if isinstance(error, OSError) and not isinstance(error, BlockingIOError) and self._stage is Stage.TLS:
            return account_trouble(
                Stage.TLS, f"smtp.ca_file or smtp.client_certificate cannot be used: {error}",
                remedy="check the file", exit_code=78,
            )  # fmt: skip
        return None

    def _passed(self, detail: str, *, ok: bool = True, reply: Reply | None = None, remedy: str = "") -> None:
        now = self._clock.monotonic()
        if self._watcher is not None:
            said = str(reply) if reply is not None else ""
            self._watcher.stage(StageReport(self._stage, ok, now - self._started, detail, said, remedy))
        self._started = now

    def _connected(self) -> Wire:
        smarthost = self._smarthost
        try:
            found = socket.getaddrinfo(smarthost.host, smarthost.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise SessionError(
                account_trouble(
                    Stage.RESOLVE,
                    f"the name {smarthost.host} was not found: {getattr(error, 'strerror', None) or error}",
                    remedy="check smtp.host and the resolver of this machine",
                )
            ) from None
        addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
        self._passed(", ".join(addresses))
        self._stage = Stage.CONNECT
        problems = []
        for family, kind, protocol, _name, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(smarthost.timeout_s)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                problems.append(f"{address[0]}: {error.strerror or 'no answer in time'}")
            else:
                self._passed(str(address[0]))
                return Wire(sock, clock=self._clock, stop=self._stop, observer=self._observer)
        raise SessionError(
            account_trouble(
                Stage.CONNECT,
                f"no connection to {smarthost.name} ({'; '.join(problems)})",
                remedy="check smtp.host and smtp.port, and that no firewall is in between; nothing was lost",
            )
        )

    def _greeted(self, wire: Wire) -> Session:
        smarthost = self._smarthost
        in_tls = False
        if smarthost.encryption == "tls":
            in_tls = self._secured(wire)
        self._stage = Stage.GREETING
        greeting = wire.read_reply(smarthost.timeout_s)
        if greeting.code != 220:
            raise SessionError(classify(Stage.GREETING, greeting))
        self._passed(greeting.text, reply=greeting)
        capabilities = self._ehlo(wire)
        if smarthost.encryption == "starttls":
            self._ask_for_tls(wire, capabilities)
            in_tls = self._secured(wire)
            # What the server offered in clear may have been a forger's word.
            capabilities = self._ehlo(wire)
        if smarthost.username and smarthost.authentication != "none":
            self._stage = Stage.AUTH
            mechanism = choose_mechanism(smarthost, capabilities, in_tls=in_tls)
            reply = log_in(wire, smarthost, mechanism, self._secret)
            self._passed(f"{mechanism} as {smarthost.username}", reply=reply)
        return Session(wire, smarthost, capabilities)

    def _ehlo(self, wire: Wire) -> Capabilities:
        self._stage = Stage.EHLO
        smarthost = self._smarthost
        for verb in ("EHLO", "HELO"):
            wire.send(f"{verb} {smarthost.local_hostname}\r\n".encode(), smarthost.timeout_s)
            reply = wire.read_reply(smarthost.timeout_s)
            if reply.code == 250:
                capabilities = parse_ehlo(reply) if verb == "EHLO" else Capabilities()
                self._passed(", ".join(capabilities.keywords) or "no extensions", reply=None)
                return capabilities
            if reply.code not in (500, 501, 502, 504):
                break
        raise SessionError(classify(Stage.EHLO, reply))

    def _ask_for_tls(self, wire: Wire, capabilities: Capabilities) -> None:
        self._stage = Stage.STARTTLS
        smarthost = self._smarthost
        if not capabilities.starttls:
            raise SessionError(
                account_trouble(
                    Stage.STARTTLS,
                    f"{smarthost.name} does not offer STARTTLS, and nothing is sent without it",
                    why="the server has no TLS on this port, or somebody in between takes the offer out",
                    remedy="run `ucrmmail config set smtp.encryption tls` if it is a port for TLS (465)",
                )
            )
        wire.send(b"STARTTLS\r\n", smarthost.timeout_s)
        reply = wire.read_reply(smarthost.timeout_s)
        if reply.code != 220:
            raise SessionError(classify(Stage.STARTTLS, reply))
        if wire.pending:
            raise SessionError(
                account_trouble(
                    Stage.STARTTLS,
                    f"{smarthost.name} sent more in clear behind its reply to STARTTLS",
                    why="somebody in between may have put it there to be read as if it came through TLS",
                    remedy="try another network; mail waits here",
                )
            )
        self._passed(reply.text, reply=reply)

    def _secured(self, wire: Wire) -> bool:
        self._stage = Stage.TLS
        wire.start_tls(context_for(self._smarthost), self._smarthost.host, self._smarthost.timeout_s)
        sock = wire.socket
        if isinstance(sock, ssl.SSLSocket):
            cipher = sock.cipher()
            self._passed(f"{sock.version()}, {cipher[0] if cipher else 'unknown cipher'}")
        return True
