"""TLS 1.2 has a second handshake (RFC 5246 section 7.4.1.1), which a server may ask for at any time."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO

import pytest

from tests.support.certificates import TestAuthority
from tests.support.network import wait_until
from tests.support.never import NEVER_S
from tests.unit.smtp.test_wire import Awaited, in_background
from ucrmmail.smtp.tls import unverified_context
from ucrmmail.smtp.wire import Wire


@dataclass
class Between:
    """Passes bytes on between us and a server; ``hold()`` keeps its answer to what we say next until ``released``."""

    ours: socket.socket
    theirs: socket.socket
    released: threading.Event
    ended: threading.Event = field(default_factory=threading.Event)
    holds: bool = False
    held: bool = False

    def hold(self) -> None:
        self.holds = True

    def run(self) -> None:
        while not self.ended.is_set():
            awaited = [self.ours] if self.held and not self.released.is_set() else [self.ours, self.theirs]
            for sock in [one for one in awaited if wait([one], 0.005)]:
                self.held = self.held or (self.holds and sock is self.ours)
                (self.theirs if sock is self.ours else self.ours).sendall(sock.recv(1 << 16))


@pytest.fixture
def openssl(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """OpenSSL's own server with TLS 1.2, which begins another handshake when it is told to, and its port."""
    certificate, key = TestAuthority(tmp_path).client_files("server")
    server = subprocess.Popen(
        ["openssl", "s_server", "-tls1_2", "-accept", "127.0.0.1:0", "-cert", certificate, "-key", key],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert server.stdout is not None
    yield server, int(read_to(server.stdout, b"ACCEPT ").rpartition(b":")[2])
    server.kill()
    server.communicate()


def read_to(output: IO[bytes], wanted: bytes) -> bytes:
    """Return the first line that has this in it."""
    for line in output:
        if wanted in line:
            return line
    raise EOFError(f"the server ended without {wanted!r}")


def test_a_server_that_wants_another_handshake_gets_it_in_the_middle_of_what_we_send(
    openssl: tuple[subprocess.Popen[bytes], int],
) -> None:
    server, port = openssl
    assert server.stdin is not None
    assert server.stdout is not None
    clock = Awaited()
    ours, to_us = socket.socketpair()
    wire = Wire(ours, clock=clock)
    with to_us, socket.create_connection(("127.0.0.1", port)) as theirs:
        between = Between(to_us, theirs, released=clock.somebody_waits)
        with in_background(between.run):
            try:
                wire.start_tls(unverified_context(), "localhost", NEVER_S)
                wait_until(lambda: not wire.has_spoken(), "quiet")
                clock.begin()
                between.hold()
                server.stdin.write(b"r\n")
                server.stdin.flush()
                wait_until(lambda: wire.has_spoken() or between.held, "the other handshake")
                wire.send(b"MAIL FROM:<billing@isp.example>\r\n", NEVER_S)
                read_to(server.stdout, b"MAIL FROM:<billing@isp.example>")
            finally:
                between.ended.set()
    wire.close()
