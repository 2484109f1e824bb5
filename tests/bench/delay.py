"""A link that is slow to answer: ``python -m tests.bench.delay PORT MILLISECONDS`` prints its own port, and relays.

Each direction takes half of the round trip, however much is sent: only the latency is that of a long line. Each is two
threads that sleep to the tenth of a millisecond; an event loop rounds its timers up to whole ones, which made a round
trip of 20 ms one of 21.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import sys
import threading
import time


def listen(source: socket.socket, late: queue.SimpleQueue[tuple[float, bytes]], delay_s: float) -> None:
    """Note what comes, and when it is to leave; b"" at its end."""
    data = b"?"
    while data:
        try:
            data = source.recv(1 << 16)
        except OSError:
            data = b""
        late.put((time.monotonic() + delay_s, data))


def speak(late: queue.SimpleQueue[tuple[float, bytes]], target: socket.socket) -> None:
    """Send each when it is due."""
    with contextlib.suppress(OSError):
        while True:
            due, data = late.get()
            time.sleep(max(due - time.monotonic(), 0.0))
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)


def relay(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    """Copy one direction, everything ``delay_s`` late."""
    late: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
    for work in (lambda: listen(source, late, delay_s), lambda: speak(late, target)):
        threading.Thread(target=work, daemon=True).start()


def main(port: int, round_trip_s: float) -> None:
    """Listen on a free port of loopback, and relay to ``port``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            here, _ = server.accept()
            there = socket.create_connection(("127.0.0.1", port))
            for end in (here, there):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            relay(here, there, round_trip_s / 2)
            relay(there, here, round_trip_s / 2)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) / 1000)
