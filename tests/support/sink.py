"""A real SMTP server on loopback that keeps what it is given: bytes exactly as they came, and when.

Run as a program it is the sink of the demo and of the benchmarks' slow half:

    python -m tests.support.sink --port 2525
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.network import wait_until


@dataclass(frozen=True, slots=True)
class Received:
    """One message as the server got it."""

    reverse_path: str
    recipients: list[str]
    content: bytes
    at: float
    options: list[str]
    login: str


@dataclass
class Sink:
    """A handler for aiosmtpd: accepts everything unless told otherwise.

    ``on_rcpt`` and ``on_data`` may return a reply to give instead of accepting; ``logins`` maps users to passwords.
    """

    logins: dict[str, str] = field(default_factory=dict)
    on_rcpt: Callable[[str], str | None] = lambda _address: None
    on_data: Callable[[Envelope], str | None] = lambda _envelope: None
    on_mail: Callable[[str], str | None] = lambda _address: None
    on_ehlo: Callable[[], str | None] = lambda: None
    messages: list[Received] = field(default_factory=list)
    port: int = 0
    sessions: int = 0
    dialogues: int = 0
    login_attempts: int = 0

    def authenticate(
        self, _server: object, _session: object, _envelope: object, mechanism: str, data: object
    ) -> AuthResult:
        self.login_attempts += 1
        if mechanism in ("PLAIN", "LOGIN") and isinstance(data, LoginPassword):
            good = self.logins.get(data.login.decode()) == data.password.decode()
            return AuthResult(success=good, handled=False, auth_data=data.login.decode())
        return AuthResult(success=False, handled=False)

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:  # the name aiosmtpd asks for
        self.sessions += 1
        session.host_name = hostname
        refused = self.on_ehlo()
        return [refused] if refused else responses

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refused = self.on_mail(address)
        if refused:
            return refused
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refused = self.on_rcpt(address)
        if refused:
            return refused
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        refused = self.on_data(envelope)
        if refused:
            return refused
        content = envelope.original_content or b""
        login = session.auth_data if isinstance(session.auth_data, str) else ""
        self.messages.append(
            Received(
                "" if envelope.mail_from == "<>" else envelope.mail_from or "",
                list(envelope.rcpt_tos),
                content,
                time.time(),
                list(envelope.mail_options),
                login,
            )
        )
        return f"250 2.0.0 queued as {len(self.messages):05d}"

    def wait_until_idle(self) -> None:
        """Return when no dialogue is going on: what a client that was killed had sent is accepted by then, or not."""
        wait_until(lambda: self.dialogues == 0, "the end of every dialogue")


class _CountedSmtp(SMTP):
    async def _handle_client(self) -> None:
        sink = self.event_handler
        sink.dialogues += 1
        try:
            await super()._handle_client()
        finally:
            sink.dialogues -= 1


class SinkController(Controller):
    """Starts and stops the server in a thread of its own; ``port`` 0 lets the system choose."""

    def __init__(
        self, sink: Sink, *, port: int = 0, tls: ssl.SSLContext | None = None, smtps: bool = False, **options: Any
    ) -> None:
        self.sink = sink
        if sink.logins:
            options.setdefault("authenticator", sink.authenticate)
            # aiosmtpd does not count TLS from the first byte as TLS, and warns of a login that it takes for unprotected.
            options.setdefault("auth_required", not smtps)
            options.setdefault("auth_require_tls", tls is not None and not smtps)
        if tls is not None and not smtps:
            options.update(tls_context=tls, require_starttls=True)
        super().__init__(sink, hostname="127.0.0.1", port=port, ssl_context=tls if smtps else None, **options)

    def factory(self) -> SMTP:
        return _CountedSmtp(self.handler, **self.SMTP_kwargs)

    def start(self) -> None:
        # Port 0: the base class would probe the port it was told, before it knows the one it got.
        loop = self.loop
        started = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(loop)
            server = loop.run_until_complete(self._create_server())
            assert isinstance(server, asyncio.Server)
            self.server = server
            self.sink.port = self.port = server.sockets[0].getsockname()[1]
            started.set()
            loop.run_forever()

        self._sink_thread = threading.Thread(target=run, daemon=True)
        self._sink_thread.start()
        if not started.wait(10):
            raise RuntimeError("the sink did not start")

    def stop(self, no_assert: bool = False) -> None:
        async def close() -> None:
            assert self.server is not None
            self.server.close()
            await self.server.wait_closed()

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._sink_thread.join(10)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="An SMTP sink on loopback.")
    parser.add_argument("--port", type=int, default=2525)
    parser.add_argument("--seconds", type=float, default=3600.0)
    arguments = parser.parse_args()
    with SinkController(Sink(), port=arguments.port):
        time.sleep(arguments.seconds)


if __name__ == "__main__":
    main()
