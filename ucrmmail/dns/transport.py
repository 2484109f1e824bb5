"""One question and its answer as bytes, over UDP or TCP (RFC 1035 section 4.2, RFC 7766).

Who asks decides what belongs to the question: a datagram that does not is dropped and the wait goes on, so that a
forger has to hit the port and the id before the server answers.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.dns.nameserver import Nameserver

T = TypeVar("T")


class _Datagrams(asyncio.DatagramProtocol, Generic[T]):
    """A socket of its own for each question, which gives it a port that cannot be foreseen."""

    def __init__(self, judge: Callable[[bytes], T | None], result: asyncio.Future[T]) -> None:
        self._judge = judge
        self._result = result

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 # asyncio's signature; the socket is connected
        if self._result.done():
            return
        judged = self._judge(data)
        if judged is not None:
            self._result.set_result(judged)

    def error_received(self, exc: Exception) -> None:
        if not self._result.done():
            self._result.set_exception(exc)


async def ask_udp(server: Nameserver, wire: bytes, judge: Callable[[bytes], T | None]) -> T:
    """Send a query and return what ``judge`` makes of the first datagram it does not drop (None drops it).

    Raises OSError, such as ConnectionRefusedError when nothing listens there. The caller sets the time limit.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(judge, result), remote_addr=(server.host, server.port)
    )
    try:
        transport.sendto(wire)
        return await result
    finally:
        transport.close()


async def ask_tcp(server: Nameserver, wire: bytes) -> bytes:
    """Send a query over TCP and return the first answer's bytes.

    Raises OSError, and EOFError when the connection ends before the answer. The caller sets the time limit.
    """
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(struct.pack("!H", len(wire)) + wire)
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)
    finally:
        writer.close()
