"""One document over HTTPS, for policies and pictures that the DNS points to. Nothing else here speaks HTTP.

The certificate is checked against the name, redirects are not followed (RFC 8461 section 3.3), and size and time are
bounded. The standard library's client works in a thread: it is one request a domain, and needs no further library.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from http.client import HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Protocol

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.clock import Clock

MAX_BYTES = 64 * 1024
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a web server answered. ``problem`` is "" or why there is no answer.

    refused (nobody takes the connection, or it was cut off), tls, http (no HTTP came back), unreachable (no way there
    from here) or time (no whole answer before the deadline).

    ``status`` is the number of HTTP (0 without an answer), ``media_type`` is in lower case and without parameters,
    ``body`` is cut off at ``MAX_BYTES``, which ``is_cut`` tells; ``location`` is where a redirect points.
    """

    status: int = 0
    media_type: str = ""
    body: bytes = b""
    is_cut: bool = False
    location: str = ""
    problem: str = ""
    detail: str = ""


class Fetcher(Protocol):
    """Gets documents; never raises for what a web server did or did not do."""

    async def get(self, host: str, path: str, addresses: Sequence[IPv4Address | IPv6Address]) -> Fetched:
        """Return what ``https://HOST/PATH`` answers at these addresses, tried in turn."""
        ...


class HttpsFetcher:
    """Implements ``Fetcher`` over the network. ``deadline_s`` is for all of one document, in seconds.

    ``port`` and ``ca_file`` ("": the system's authorities) are for a server that stands elsewhere.
    """

    def __init__(self, *, clock: Clock, deadline_s: float = 10.0, port: int = 443, ca_file: str = "") -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self._port = port
        self._ca_file = ca_file

    async def get(self, host: str, path: str, addresses: Sequence[IPv4Address | IPv6Address]) -> Fetched:
        """Return what ``https://HOST/PATH`` answers; see ``Fetcher.get``."""
        request = _Request(host, path, [str(address) for address in addresses], self._port)
        ends_at = self._clock.monotonic() + self._deadline_s
        try:
            context = ssl.create_default_context(cafile=self._ca_file or None)
        except OSError as error:
            return Fetched(problem="tls", detail=f"the certificate authorities cannot be read: {error}")
        # A thread of its own that nobody waits for at the end: the pool's threads would delay the exit of the program.
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Fetched] = loop.create_future()

        def deliver(fetched: Fetched) -> None:
            if not done.done():
                done.set_result(fetched)

        def work() -> None:
            fetched = request.run(context, lambda: ends_at - self._clock.monotonic())
            with contextlib.suppress(RuntimeError):  # the loop was closed, so nobody waits any more
                loop.call_soon_threadsafe(deliver, fetched)

        threading.Thread(target=work, name=f"https {host}", daemon=True).start()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await done
        except TimeoutError:
            return Fetched(problem="time", detail=f"no whole answer in {self._deadline_s:g} s")
        finally:
            request.abandon()


class _Request:
    """One document; runs in a thread, and may be abandoned from another."""

    def __init__(self, host: str, path: str, addresses: Sequence[str], port: int) -> None:
        self._host = host
        self._path = path
        self._addresses = addresses
        self._port = port
        self._socket: socket.socket | None = None

    def abandon(self) -> None:
        """End what the thread waits for: a server that sends a byte now and then would hold it for ever."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not the method of the TLS socket: it forgets the session under the hands of the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def run(self, context: ssl.SSLContext, left_s: Callable[[], float]) -> Fetched:
        """Return the answer of the first address that gives one; else the first thing that went wrong on the way."""
        failures: list[Fetched] = []
        for address in self._addresses:
            if (wait_s := left_s()) <= 0:
                break
            try:
                return self._from(address, context, wait_s, left_s)
            except TimeoutError:
                failures.append(Fetched(problem="time", detail=f"{address} did not answer in time"))
            except ssl.SSLCertVerificationError as error:
                failures.append(Fetched(problem="tls", detail=error.verify_message or str(error)))
            except ssl.SSLError as error:
                failures.append(Fetched(problem="tls", detail=error.reason or str(error)))
            except ConnectionError as error:
                failures.append(Fetched(problem="refused", detail=f"{address}: {error.strerror or error}"))
            except (HTTPException, ValueError) as error:
                failures.append(Fetched(problem="http", detail=f"{type(error).__name__}: {error}"))
            except OSError as error:
                failures.append(Fetched(problem="unreachable", detail=f"{address}: {error.strerror or error}"))
        failures.append(Fetched(problem="unreachable", detail="no address could be tried"))
        # A machine without IPv6 reaches no such address, which says nothing about the server.
        return next((failure for failure in failures if failure.problem != "unreachable"), failures[0])

    def _from(self, address: str, context: ssl.SSLContext, wait_s: float, left_s: Callable[[], float]) -> Fetched:
        """Return what the server at one address answers. Raises OSError, HTTPException and ValueError."""
        plain = socket.create_connection((address, self._port), timeout=wait_s)
        with plain, context.wrap_socket(plain, server_hostname=self._host, do_handshake_on_connect=False) as secure:
            self._socket = secure
            secure.do_handshake()
            connection = HTTPSConnection(self._host, self._port)
            connection.sock = secure
            connection.request("GET", self._path, headers={"User-Agent": "ucrmmail", "Accept-Encoding": "identity"})
            with connection.getresponse() as response:
                body = bytearray()
                while len(body) <= MAX_BYTES and left_s() > 0 and (chunk := response.read1(_CHUNK)):
                    body += chunk
                if left_s() <= 0:
                    raise TimeoutError
                if response.length and len(body) <= MAX_BYTES:
                    return Fetched(problem="http", detail=f"the answer ends {response.length} bytes too early")
                return Fetched(
                    response.status,
                    response.headers.get_content_type() if "Content-Type" in response.headers else "",
                    bytes(body[:MAX_BYTES]),
                    is_cut=len(body) > MAX_BYTES,
                    location=response.headers.get("Location", ""),
                )
