"""A scripted IMAP server on loopback with TLS, for what no real server would say.

    with imap_server(context, {b"CAPABILITY": b"* CAPABILITY IMAP4rev1\\r\\nTAG OK\\r\\n"}) as server: ...

Each command (its first word, or ``UID SEARCH``) is answered with its bytes, TAG replaced; without a script for it with
OK. An answer of None is silence until the client goes.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class ImapServer:
    """Where it listens, and the commands that it was sent."""

    port: int = 0
    commands: list[bytes] = field(default_factory=list)


@contextmanager
def imap_server(
    context: ssl.SSLContext, script: Mapping[bytes, bytes | None], greeting: bytes | None = b"* OK ready\r\n"
) -> Iterator[ImapServer]:
    """Serve until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = ImapServer(listener.getsockname()[1])
    done = threading.Event()

    def converse(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as connection, connection.makefile("rb") as stream:
            if greeting is None:
                done.wait(10)
                return
            connection.sendall(greeting)
            while line := stream.readline():
                server.commands.append(line.rstrip(b"\r\n"))
                tag, _, rest = line.partition(b" ")
                words = rest.upper().split()
                name = b" ".join(words[: 2 if words[:1] == [b"UID"] else 1])
                answer = script.get(name, b"TAG OK done\r\n")
                if answer is None:
                    done.wait(10)
                    return
                connection.sendall(answer.replace(b"TAG", tag))
                if answer.startswith(b"+"):
                    server.commands.append(stream.readline().rstrip(b"\r\n"))
                    connection.sendall(tag + b" OK in\r\n")

    def serve() -> None:
        while not done.is_set():
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with plain:
                try:
                    converse(plain)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
