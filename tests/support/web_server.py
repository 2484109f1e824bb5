"""A web server on loopback that speaks HTTPS and says what a test tells it to, byte for byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Behaviour = Callable[[ssl.SSLSocket], None]


class WebServer:
    """``requests`` are those that came through TLS, each as it was sent."""

    def __init__(self, context: ssl.SSLContext, answer: bytes | Behaviour, host: str) -> None:
        self._context = context
        self._answer = answer
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with plain, contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as secure:
                secure.settimeout(10)
                request = b""
                while b"\r\n\r\n" not in request and (data := secure.recv(4096)):
                    request += data
                self.requests.append(request)
                if isinstance(self._answer, bytes):
                    secure.sendall(self._answer)
                else:
                    self._answer(secure)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@contextmanager
def web_server(context: ssl.SSLContext, answer: bytes | Behaviour, host: str = "127.0.0.1") -> Iterator[WebServer]:
    server = WebServer(context, answer, host)
    try:
        yield server
    finally:
        server.close()


def page(body: bytes, *, status: str = "200 OK", media_type: str = "text/plain", more: str = "") -> bytes:
    """Return an answer with this body; ``more`` are further header lines, each ending in CRLF."""
    kind = f"Content-Type: {media_type}\r\n" if media_type else ""
    return f"HTTP/1.1 {status}\r\n{kind}Content-Length: {len(body)}\r\n{more}\r\n".encode() + body


def dripping(secure: ssl.SSLSocket) -> None:
    """Send a byte now and then, and never come to an end."""
    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    for _ in range(200):
        secure.sendall(b"x")
        time.sleep(0.02)


def endless(secure: ssl.SSLSocket) -> None:
    """Send far more than anybody wants."""
    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    for _ in range(1000):
        secure.sendall(b"x" * 16_384)
