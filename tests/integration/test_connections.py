"""Several connections at once: one queue, one limit, and never more than the server wants."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.smtp_server import DROP, SmtpServer, Wait

BUSY = "421 4.7.0 too many connections"


def enqueue(program: Program, tmp_path: Path, count: int) -> None:
    for number in range(count):
        (tmp_path / f"{number}.eml").write_bytes(
            b"From: a@isp.example\nTo: b@example.com\nSubject: %d\n\nhi\n" % number
        )
    program.run("enqueue", *(str(tmp_path / f"{number}.eml") for number in range(count)))


def subjects(server: SmtpServer) -> list[int]:
    return sorted(int(message.content.split(b"Subject: ")[1].split()[0]) for message in server.accepted)


def test_a_slow_message_does_not_hold_up_those_on_other_connections(program: Program, tmp_path: Path) -> None:
    with SmtpServer(faults={"final-dot": [Wait(2.0)]}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 30)
        program.run("flush")
        server.wait_until_idle()
        assert subjects(server) == list(range(30))
        used = [dialogue for dialogue in server.connections if b"DATA" in dialogue.commands]
        assert 2 <= len(used) <= 3
        slow = max(server.accepted, key=lambda message: message.at)
        others = [message.at for message in server.accepted if message is not slow]
        assert max(others) < slow.at, "the others were through when the slow one ended"
    assert program.queue() == []


@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_the_limit_holds_over_all_connections(program: Program, tmp_path: Path, pipelining: str) -> None:
    with SmtpServer(faults={"final-dot": [Wait(0.1)] * 50}) as server:
        program.configure(
            server.port,
            smtp=f"connections = 4\npipelining = {pipelining}",
            throttler='message_limit = 10\nduration = "1h"',
        )
        enqueue(program, tmp_path, 25)
        report = program.run("flush", "--no-wait", "--json").json
        server.wait_until_idle()
        assert (report["relayed"], report["held_back"], report["reason"]) == (10, 15, "throttler")
        assert len(server.accepted) == 10
        assert program.run("flush", "--no-wait", "--json").json["relayed"] == 0
    assert program.run("status", "--json").json["throttler"][0]["used"] == 10


def test_a_server_that_wants_fewer_connections_gets_fewer(program: Program, tmp_path: Path) -> None:
    with SmtpServer(faults={"greeting": [None, BUSY, BUSY, BUSY], "final-dot": [Wait(0.05)] * 50}) as server:
        program.configure(server.port, smtp="connections = 4")
        enqueue(program, tmp_path, 20)
        run = program.run("flush")
        server.wait_until_idle()
        assert (run.stdout, run.stderr) == ("", "")
        assert subjects(server) == list(range(20))
    assert program.queue() == []


def test_a_trouble_of_the_account_on_one_connection_ends_all_and_loses_nothing(
    program: Program, tmp_path: Path
) -> None:
    told = iter([None] * 7 + ["421 4.7.0 too many messages"] * 100)
    with SmtpServer(faults={"mail": lambda _line: next(told)}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 20)
        program.run("flush", code=75)
        server.wait_until_idle()
        relayed = subjects(server)
    waiting = program.queue()
    assert len(relayed) + len(waiting) == 20
    assert len(set(relayed)) == len(relayed) == 7
    assert {message["attempts"] for message in waiting} == {0}


def test_a_lost_connection_defers_only_its_own_message(program: Program, tmp_path: Path) -> None:
    with SmtpServer(faults={"data": [None, None, None, DROP], "final-dot": [Wait(0.05)] * 50}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 15)
        report = program.run("flush", "--json").json
        server.wait_until_idle()
        assert (report["relayed"], report["deferred"], report["failed"]) == (14, 1, 0)
        assert len(subjects(server)) == 14
    assert [message["state"] for message in program.queue()] == ["deferred"]


def test_a_message_that_the_server_always_answers_with_421_does_not_stop_the_others(
    program: Program, tmp_path: Path
) -> None:
    said = iter(["421 4.3.0 filter trouble"] * 2)
    with SmtpServer(faults={"final-dot": lambda _line: next(said, None)}) as server:
        program.configure(server.port, retry='first_delay = "1s"\nmax_delay = "1s"')
        enqueue(program, tmp_path, 3)
        program.run("flush", code=75)
        assert {message["attempts"] for message in program.queue()} == {0}, "the account may be to blame"
        time.sleep(1.1)
        report = program.run("flush", "--json").json
        server.wait_until_idle()
        assert (report["relayed"], report["deferred"], report["failed"]) == (2, 1, 0)
        assert subjects(server) == [1, 2]
        (left,) = program.queue()
        assert (left["state"], left["attempts"]) == ("deferred", 1)
        assert "filter trouble" in left["reason"]
        time.sleep(1.1)
        program.run("flush")
    assert program.queue() == []
