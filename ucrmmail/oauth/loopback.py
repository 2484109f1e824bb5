"""The port of this machine that the browser is sent back to (RFC 8252 section 7.3): one answer, then it is closed."""

from __future__ import annotations

import contextlib
import selectors
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ucrmmail.clock import Clock

_LARGEST_REQUEST = 1 << 16
_PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
    b"Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n"
    b"<!doctype html><title>ucrmmail</title><p>ucrmmail has its answer. You can close this window.</p>\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_REQUEST_S = 5.0


class Loopback:
    """A listener on 127.0.0.1, on a port that is free."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def answer(self, state: str, *, clock: Clock, life_s: float, other: int = -1) -> str:
        """Return the address that the browser asks for, "" when ``life_s`` is over or ``other`` is ready to read.

        A request without our ``state`` is somebody else's and is not answered: any web page can send one here.
        ``other`` is a file descriptor, such as a terminal on which the address may be pasted.
        """
        ends_at = clock.monotonic() + life_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            if other >= 0:
                selector.register(other, selectors.EVENT_READ)
            while (left_s := ends_at - clock.monotonic()) > 0:
                for key, _ in selector.select(left_s):
                    if key.fd == other:
                        return ""
                    found = self._served(state)
                    if found:
                        return found
        return ""

    def _served(self, state: str) -> str:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(_REQUEST_S)
                path = _path_of(connection)
                ours = f"state={state}" in path.partition("?")[2].split("&")
                connection.sendall(_PAGE if ours else _NOT_FOUND)
                if ours:
                    return f"http://127.0.0.1:{self.port}{path}"
        return ""


def _path_of(connection: socket.socket) -> str:
    """Return what a GET asks for, "" for another request."""
    request = b""
    while b"\r\n\r\n" not in request and len(request) < _LARGEST_REQUEST:
        data = connection.recv(4096)
        if not data:
            break
        request += data
    words = request.split(b"\r\n", 1)[0].split(b" ")
    return words[1].decode("ascii", "replace") if len(words) == 3 and words[0] == b"GET" else ""
