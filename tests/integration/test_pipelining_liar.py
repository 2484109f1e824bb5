"""A server that offers PIPELINING and loses what comes behind a command: noticed, gone around, and remembered."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.machine import Machine
from tests.support.flushes import run
from tests.support.program import Program
from tests.support.smtp_server import DROP, EXTENSIONS, HANG, Action, Fault, SmtpServer, Wait
from tests.support.spools import put


class Liar:
    """Answers the first command of whatever it reads at a time, and forgets the rest, or hangs up at it."""

    def __init__(self, *, hangs_up: bool = False) -> None:
        self._hangs_up = hangs_up
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
        # One that is not needed any more may go in the middle of its login.
        with connection, contextlib.suppress(ConnectionError):
            connection.sendall(b"220 liar.example ESMTP\r\n")
            while data := connection.recv(1 << 16):
                line, _, rest = data.partition(b"\r\n")
                self.lost += rest.count(b"\r\n")
                if rest and self._hangs_up:
                    return
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
    assert (report["relayed"], report["deferred"], report["failed"]) == (6, 0, 0)
    assert any("offers PIPELINING and fell silent" in line for line in report["needs_person"])
    lost = liar.lost
    assert lost > 0

    for _ in range(3):
        program.sendmail("-t")
    again = program.run("flush", "--json").json
    assert again["needs_person"] == []
    assert again["relayed"] == 3
    assert (liar.lost, liar.accepted) == (lost, 9), "not tried again, and nothing sent twice"


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_message_for_each_connection_is_enough_to_notice_and_goes_in_the_same_run(
    program: Program, hangs_up: bool, connections: int
) -> None:
    server = Liar(hangs_up=hangs_up)
    program.configure(server.port, smtp=f'timeout = "1s"\nconnections = {connections}')
    for _ in range(connections):
        program.sendmail("-t")
    report = program.run("flush", "--json").json
    server.close()
    assert (report["relayed"], report["deferred"], server.accepted) == (connections, 0, connections)
    # Servers hang up for many reasons: that alone is no proof, and nothing to remember.
    assert any("offers PIPELINING" in line for line in report["needs_person"]) is not hangs_up


@pytest.mark.parametrize("connections", [1, 2])
def test_a_server_that_hangs_up_at_a_group_twice_is_remembered(program: Program, connections: int) -> None:
    server = Liar(hangs_up=True)
    program.configure(server.port, smtp=f'timeout = "1s"\nconnections = {connections}')
    lost = []
    for number in range(4):
        for _ in range(3):
            program.sendmail("-t")
        report = program.run("flush", "--json").json
        assert report["relayed"] == 3
        assert any("offers PIPELINING" in line for line in report["needs_person"]) is (number == 1)
        lost.append(server.lost)
    server.close()
    assert 0 < lost[0] < lost[1] == lost[2] == lost[3]


def test_two_connections_lost_in_a_group_with_others_between_show_nothing(program: Program) -> None:
    acts: list[Action] = []
    with SmtpServer(faults={"rcpt": lambda _line: acts.pop() if acts else None}) as server:
        program.configure(server.port, smtp='timeout = "1s"')
        for act in ([DROP], [], [DROP], []):
            acts += act
            for _ in range(3):
                program.sendmail("-t")
            assert program.run("flush", "--json").json["needs_person"] == []
        assert server.connections[-1].pipelined


@pytest.mark.parametrize("envelope_timeout", ["2s", "5m"])
def test_a_run_that_ends_in_the_silence_leaves_its_doubt_to_the_next(
    program: Program, liar: Liar, envelope_timeout: str
) -> None:
    program.configure(liar.port, smtp=f'timeout = "2s"\nenvelope_timeout = "{envelope_timeout}"')
    program.sendmail("-t")
    first = program.run("flush", "--json", "--time-limit", "1s").json
    assert (first["relayed"], first["deferred"], first["held_back"]) == (0, 0, 1), "it is not the message's fault"
    second = program.run("flush", "--json", "--time-limit", "1s").json
    assert second["relayed"] == liar.accepted == 1
    assert any("offers PIPELINING" in line for line in second["needs_person"])


def test_a_server_that_calls_pipelining_an_error_bounces_nothing(program: Program) -> None:
    objection = "554 5.5.0 SMTP protocol synchronization error"
    with SmtpServer(faults={"mail": [objection], "rcpt": ["503 5.5.1 MAIL first"], "data": ["503 5.5.1 no"]}) as server:
        program.configure(server.port)
        program.sendmail("-t")
        report = program.run("flush", "--json").json
    assert (report["relayed"], report["failed"], len(server.accepted)) == (1, 0, 1)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_server_that_offers_chunking_and_does_not_know_it_gets_its_mail_with_data(
    program: Program, at_once: bool
) -> None:
    faults: dict[str, Fault] = {} if at_once else {"final-dot": ["502 5.5.1 not implemented"]}
    with SmtpServer(extensions=[*EXTENSIONS, "CHUNKING"], faults=faults, lies_about_chunking=at_once) as server:
        program.configure(server.port)
        for _ in range(3):
            program.sendmail("-t")
        report = program.run("flush", "--json").json
        assert (report["relayed"], report["failed"], report["uncertain"]) == (3, 0, 0)
        assert any("offers CHUNKING" in line for line in report["needs_person"])
        assert [message.by_chunks for message in server.accepted] == [False] * 3
        program.sendmail("-t")
        assert program.run("flush", "--json").json["needs_person"] == []
        assert not server.accepted[-1].by_chunks, "it is remembered"


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


@pytest.mark.parametrize("limits", [{}, {"throttler": "message_limit = 100"}], ids=["processes", "threads"])
def test_what_another_connection_sends_in_groups_is_no_proof_that_groups_do_not_work(
    program: Program, limits: dict[str, str]
) -> None:
    def silent(line: bytes) -> Action | None:
        return HANG if b"culprit" in line else None

    # The other connection ends its round while the doubt is open: after the first silence, and before the second.
    with SmtpServer(faults={"rcpt": silent, "final-dot": [Wait(1.5)]}) as server:
        program.configure(server.port, smtp='timeout = "1s"\nfinal_timeout = "10s"\nconnections = 2', **limits)
        program.sendmail("culprit@example.com")
        program.sendmail("joe@example.com")
        report = program.run("flush", "--json").json
        assert (report["relayed"], report["deferred"], report["needs_person"]) == (1, 1, [])
    kept = Path(program.spool / "account.json")
    assert not kept.exists() or json.loads(kept.read_text())["pipelining_failed_at"] == 0.0


@pytest.mark.parametrize("connections", [1, 2])
def test_a_doubt_that_was_refuted_is_none_for_the_rest_of_the_run(program: Program, connections: int) -> None:
    with SmtpServer(lies_about_pipelining=True) as server:
        program.configure(server.port, smtp=f'timeout = "1s"\nconnections = {connections}')
        program.sendmail("-t")
        program.run("flush", "--time-limit", "1s")
        assert json.loads(Path(program.spool / "account.json").read_text())["doubted"] == "PIPELINING"

        arriving = iter([True])

        def another_arrives(_line: bytes) -> None:
            if next(arriving, False):
                program.sendmail("-t", "late@example.com")

        server.lies_about_pipelining = False
        # Without PIPELINING the connection is lost as well: so it was not that.
        server.faults = {"mail": [None, DROP], "final-dot": another_arrives}
        server.connections.clear()
        report = program.run("flush", "--json").json
        server.wait_until_idle()
        assert (report["relayed"], report["needs_person"]) == (2, [])
        late = [dialogue for dialogue in server.connections if b"late@" in dialogue.received]
        assert [dialogue.pipelined for dialogue in late] == [True]


def test_a_server_that_is_slow_at_one_sender_is_not_said_to_lie_about_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks his domain up for longer than it may be silent: two runs in a row gave groups up for a week."""
    monkeypatch.setattr("ucrmmail.smtp.asking._FIRST_ALONG_S", 0.05)
    machine = Machine(tmp_path)
    with SmtpServer(faults={"mail": lambda line: Wait(0.15) if b"slow" in line else None}) as server:
        for _ in range(2):
            for number, name in enumerate(("ann", "slow", "bob")):
                at = machine.clock.now() + number / 1000
                put(machine.directory, reverse_path=f"{name}@{name}.example", now=at)
            report = run(machine, server)
            assert (report.relayed, report.needs_person) == (3, ())
