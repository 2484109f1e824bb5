"""A link that is slow to answer: ``python -m tests.bench.delay PORT MILLISECONDS`` prints its own port, and relays.

Each direction takes half of the round trip, however much is sent: only the latency is that of a long line.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Copy one direction, everything ``delay_s`` late."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            loop.call_later(delay_s, writer.write, data)
    loop.call_later(delay_s, writer.close)


async def serve(port: int, round_trip_s: float) -> None:
    """Listen on a free port of loopback, and relay to ``port``."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(relay(reader, back, round_trip_s / 2), relay(there, writer, round_trip_s / 2))

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
