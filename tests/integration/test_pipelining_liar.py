"""A server that offers PIPELINING and loses what comes behind a command: noticed, gone around, and remembered."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import Program


class Liar:
    """Answers the first command of whatever it reads at a time, and forgets the rest."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self.lost = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"220 liar.example ESMTP\r\n")
            while data := connection.recv(1 << 16):
                line, _, rest = data.partition(b"\r\n")
                self.lost += rest.count(b"\r\n")
                verb = line[:4].upper()
                if verb == b"DATA":
                    connection.sendall(b"354 go on\r\n")
                    while not data.endswith(b"\r\n.\r\n"):
                        data += connection.recv(1 << 16)
                    self.accepted += 1
                connection.sendall(
                    b"250-liar.example\r\n250 PIPELINING\r\n" if verb == b"EHLO" else b"250 2.0.0 Ok\r\n"
                )

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def liar() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


@pytest.mark.parametrize("connections", [1, 2])
def test_what_a_server_makes_of_pipelining_is_noticed_and_remembered(
    program: Program, liar: Liar, connections: int
) -> None:
    program.configure(
        liar.port,
        smtp=f'timeout = "1s"\nconnections = {connections}',
        retry='first_delay = "1s"\nmax_delay = "1s"',
    )
    for _ in range(6):
        program.sendmail("-t")
    report = program.run("flush", "--json").json
    assert (report["failed"], report["deferred"]) == (0, 6 - report["relayed"])
    assert report["relayed"] >= 6 - connections, "all but those that it was noticed with"
    assert any("offers PIPELINING and fell silent" in line for line in report["needs_person"])
    lost = liar.lost
    assert lost > 0

    program.run("queue", "retry", "--all", code=None)
    for _ in range(3):
        program.sendmail("-t")
    again = program.run("flush", "--json").json
    assert again["needs_person"] == []
    assert again["relayed"] == 9 - report["relayed"]
    assert (liar.lost, liar.accepted) == (lost, 9), "not tried again, and nothing sent twice"


def test_other_settings_are_another_server(program: Program, liar: Liar) -> None:
    program.configure(liar.port, smtp='timeout = "1s"')
    program.sendmail("-t")
    program.sendmail("-t")
    program.run("flush", code=None)
    kept = json.loads(Path(program.spool / "account.json").read_text())
    assert kept["pipelining_failed_at"] > 0
    lost = liar.lost
    program.run("config", "set", "smtp.host", "localhost")
    for _ in range(2):
        program.sendmail("-t")
    program.run("flush", code=None)
    assert liar.lost > lost
