"""The certificate that a mail exchange presents after STARTTLS (RFC 3207), to hold its TLSA records against.

Nothing is sent but EHLO, STARTTLS and QUIT. The certificate is not judged here: whoever asked compares it. Many
networks block port 25, so not getting there says nothing about the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Protocol

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

# A greeting or an answer to EHLO has far fewer lines; a server that says more than these is not listened to.
_MOST_LINES = 100
_MOST_ADDRESSES = 2
_LEAVE_S = 1.0
_MOST_MISSES = 3
# More than any run has.
_MOST_EXCHANGES = 1_000_000


@dataclass(frozen=True, slots=True)
class Presented:
    """What a server presented. ``problem`` is "" or why there is nothing.

    unreachable (no connection from here, or no answer in time), smtp (it speaks no SMTP, or turns us away), plain (it
    does not offer STARTTLS, or refuses it) or tls (the handshake failed).

    ``chain`` holds the certificates in DER, the server's own first; ``is_whole`` tells that those above it are there
    too, when it sent any: before Python 3.13 the standard library shows the first alone.
    """

    chain: tuple[bytes, ...] = ()
    is_whole: bool = False
    problem: str = ""
    detail: str = ""


class Presenter(Protocol):
    """Gets certificates; never raises for what a mail server did or did not do."""

    async def presented(self, host: str, addresses: Sequence[IPv4Address | IPv6Address]) -> Presented:
        """Return what the exchange presents at the first of these addresses that takes the connection."""
        ...


class _TurnedAwayError(Exception):
    """The server does not go on; holds what it said."""


class SmtpPresenter:
    """Implements ``Presenter`` over the network, for one run and one event loop.

    ``deadline_s`` is for all of one exchange, in seconds. An exchange of several domains is asked once. When the first
    few cannot be reached the others are not tried: port 25 is blocked here, and a run must not wait for each of them.
    """

    def __init__(self, *, deadline_s: float = 5.0, port: int = 25) -> None:
        self._deadline_s = deadline_s
        self._port = port
        self._asked: dict[str, asyncio.Task[Presented]] = {}
        self._misses = 0

    async def presented(self, host: str, addresses: Sequence[IPv4Address | IPv6Address]) -> Presented:
        """Return what the exchange presents; see ``Presenter.presented``."""
        task = self._asked.get(host)
        if task is None:
            task = asyncio.create_task(self._ask(host, addresses))
            self._asked[host] = task
        return await asyncio.shield(task)

    async def _ask(self, host: str, addresses: Sequence[IPv4Address | IPv6Address]) -> Presented:
        if self._misses >= _MOST_MISSES:
            return Presented(problem="unreachable", detail=f"no exchange could be reached at port {self._port}")
        found = await self._at_any(host, addresses)
        # One that answers shows that the way is open, and what is closed are servers.
        self._misses = self._misses + 1 if found.problem == "unreachable" else -_MOST_EXCHANGES
        return found

    async def _at_any(self, host: str, addresses: Sequence[IPv4Address | IPv6Address]) -> Presented:
        failed = Presented(problem="unreachable", detail="it has no address")
        tried = addresses[:_MOST_ADDRESSES]
        for address in tried:
            try:
                async with asyncio.timeout(self._deadline_s / len(tried)):
                    found = await self._from(host, str(address))
            except (TimeoutError, OSError, EOFError) as error:
                why = str(error) or "no answer in time"
                found = Presented(problem="unreachable", detail=f"{address}, port {self._port}: {why}")
            if found.problem != "unreachable":
                return found
            failed = found
        return failed

    async def _from(self, host: str, address: str) -> Presented:
        """Return what the server at one address presents. Raises OSError and EOFError."""
        reader, writer = await asyncio.open_connection(address, self._port)
        plain = writer.transport
        try:
            try:
                await _reply(reader, b"2")
                writer.write(b"EHLO [127.0.0.1]\r\n")
                offered = await _reply(reader, b"2")
            except (_TurnedAwayError, ValueError) as error:
                return Presented(problem="smtp", detail=str(error))
            if not any(line[4:].strip().upper() == b"STARTTLS" for line in offered):
                return Presented(problem="plain", detail="it does not offer STARTTLS")
            writer.write(b"STARTTLS\r\n")
            try:
                await _reply(reader, b"2")
            except (_TurnedAwayError, ValueError) as error:
                return Presented(problem="plain", detail=f"STARTTLS: {error}")
            try:
                await writer.start_tls(_context(), server_hostname=host)
            except (ssl.SSLError, ConnectionError) as error:
                return Presented(problem="tls", detail=getattr(error, "reason", "") or str(error) or "it hung up")
            presented = _of(writer.get_extra_info("ssl_object"))
            writer.write(b"QUIT\r\n")
            with contextlib.suppress(OSError, ValueError, TimeoutError):
                # A connection that is cut off before would look like a fault in the server's log.
                async with asyncio.timeout(_LEAVE_S):
                    await reader.readline()
            return presented
        finally:
            with contextlib.suppress(OSError):
                writer.close()
            # The end of TLS waits for the server's word, and a socket that is left to it outlives the run.
            plain.abort()
            await asyncio.sleep(0)


async def _reply(reader: asyncio.StreamReader, wanted: bytes) -> list[bytes]:
    """Return the lines of a reply. Raises _TurnedAwayError, ValueError for an endless line, EOFError and OSError."""
    lines: list[bytes] = []
    while len(lines) < _MOST_LINES:
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the server hung up")
        lines.append(line)
        if line[3:4] != b"-":
            break
    if not lines[-1].startswith(wanted) or not lines[-1][:3].isdigit():
        raise _TurnedAwayError(lines[-1].decode("utf-8", "replace").strip())
    return lines


def _context() -> ssl.SSLContext:
    """Return a context that believes any certificate: it is looked at, and nothing is told to the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _of(connection: ssl.SSLObject) -> Presented:
    own = connection.getpeercert(binary_form=True)
    if own is None:
        return Presented(problem="tls", detail="the server has no certificate")
    whole = getattr(connection, "get_unverified_chain", None)
    return Presented((own,)) if whole is None else Presented(tuple(whole()), is_whole=True)
