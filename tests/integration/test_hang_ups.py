"""A server that hangs up instead of an answer to MAIL: one connection and several come to the same verdict (R9)."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.network import wait_until
from tests.support.never import NEVER_S
from tests.support.program import Program
from tests.support.smtp_server import DROP, HANG, Action, SmtpServer, Wait

CULPRIT = b"culprit@isp.example"
CONNECTIONS = [1, 2, 4]
# With a limit, several connections are threads of one process; without, they are processes.
LIMITED = {"throttler": 'message_limit = 1000\nduration = "1h"'}


def enqueue(program: Program, *senders: str) -> None:
    for sender in senders:
        program.sendmail("-f", f"{sender}@isp.example", "joe@example.com")


def at_the_culprit(line: bytes) -> Action | None:
    return DROP if CULPRIT in line else None


def end_the_pause(program: Program) -> None:
    """Let time go by: ``queue retry`` as a person who knows better gives it."""
    path = Path(program.spool / "account.json")
    path.write_text(json.dumps(account_of(program) | {"not_before": 0.0}))


def account_of(program: Program) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(Path(program.spool / "account.json").read_text())
    return kept


def senders(server: SmtpServer) -> list[str]:
    return sorted(message.reverse_path.partition("@")[0] for message in server.accepted)


@pytest.mark.requirement("R9", "R22")
@pytest.mark.parametrize("connections", CONNECTIONS)
@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_a_server_that_hangs_up_at_each_message_is_a_trouble_of_the_account(
    program: Program, count: int, connections: int
) -> None:
    with SmtpServer(faults={"mail": DROP}) as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        enqueue(program, *["a"] * count)
        report = program.run("flush", "--json", code=69).json
        assert "one connection after the other was lost" in report["error"]["what"]
        assert (report["reason"], report["held_back"], report["deferred"]) == ("account", count, 0)
        # One that doubts PIPELINING, and two that count; no more on each of the connections that it may have.
        assert len(server.connections) <= 3 * connections
        seen = len(server.connections)
        assert program.run("flush", "--json", code=75).json["reason"] == "account", "now there is a pause"
        assert len(server.connections) == seen
    assert account_of(program)["failures"] == 1
    assert {message["attempts"] for message in program.queue()} == {0}


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("limits", [{}, LIMITED], ids=["processes", "threads"])
@pytest.mark.parametrize("connections", CONNECTIONS)
@pytest.mark.parametrize(
    "queued",
    [["culprit", "b"], ["b", "culprit"], ["culprit", "b", "c", "d", "e", "f"], ["b", "c", "d", "culprit", "e", "f"]],
    ids=" ".join,
)
def test_a_message_at_which_the_server_always_hangs_up_is_deferred_and_the_others_go(
    program: Program, queued: list[str], connections: int, limits: dict[str, str]
) -> None:
    with SmtpServer(faults={"mail": at_the_culprit}) as server:
        program.configure(server.port, smtp=f"connections = {connections}", **limits)
        enqueue(program, *queued)
        report = program.run("flush", "--json").json
        server.wait_until_idle()
        assert (report["relayed"], report["deferred"], report["held_back"]) == (len(queued) - 1, 1, 0)
        assert report["error"] is None
        assert senders(server) == sorted(set(queued) - {"culprit"})
        # With PIPELINING, without, twice lost, and again with another in front; each thread may do so by itself.
        assert len(server.connections) <= 6 * (connections + 1)
    (left,) = program.queue()
    assert (left["state"], left["reverse_path"], left["attempts"]) == ("deferred", CULPRIT.decode(), 1)
    assert "(at mail)" in left["reason"]


@pytest.mark.parametrize("connections", CONNECTIONS)
def test_alone_it_is_told_each_time_and_to_blame_as_soon_as_another_goes(program: Program, connections: int) -> None:
    with SmtpServer(faults={"mail": at_the_culprit}) as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        enqueue(program, "culprit")
        program.run("flush", code=69)
        assert account_of(program)["lost"] == program.queue()[0]["queue_id"]
        end_the_pause(program)
        enqueue(program, "b")
        report = program.run("flush", "--json").json
        assert (report["relayed"], report["deferred"]) == (1, 1)
        assert senders(server) == ["b"]


@pytest.mark.requirement("R2")
def test_a_run_that_waits_for_the_others_to_show_who_is_to_blame_still_ends_when_it_is_asked_to(
    program: Program,
) -> None:
    def answer(line: bytes) -> Action | None:
        return Wait(NEVER_S) if b"slow@" in line else at_the_culprit(line)

    with SmtpServer(faults={"mail": answer}) as server:
        program.configure(server.port, smtp="connections = 2\npipelining = false")
        enqueue(program, "first", "slow", "culprit")
        flush = program.start("flush", "--json")
        # One worker waits for its server, the other has given up on its own message.
        wait_until(lambda: sum(CULPRIT in command for command in server.commands) >= 2, "the second loss")
        flush.send_signal(signal.SIGTERM)
        said, _ = flush.communicate()
    assert json.loads(said)["relayed"] == 1


@pytest.mark.parametrize("connections", [1, 2])
def test_a_message_at_whose_mail_the_server_falls_silent_stops_no_others(program: Program, connections: int) -> None:
    def silent(line: bytes) -> Action | None:
        return HANG if CULPRIT in line else None

    with SmtpServer(faults={"mail": silent}) as server:
        program.configure(server.port, smtp=f'timeout = "1s"\nconnections = {connections}')
        enqueue(program, "culprit", "b", "c")
        report = program.run("flush", "--json").json
        assert (report["relayed"], report["deferred"]) == (2, 1)


@pytest.mark.requirement("R9", "S4")
@pytest.mark.parametrize(
    ("place", "codes"),
    # One command of a group that was answered may mean a server without PIPELINING, which the next run finds out.
    [("mail", [69, 75]), ("rcpt", [0, 69, 75])],
    ids=["mail", "rcpt"],
)
@pytest.mark.parametrize("connections", [1, 2])
def test_a_server_that_falls_silent_for_longer_than_the_run_may_last_is_told_and_left_alone(
    program: Program, connections: int, place: str, codes: list[int]
) -> None:
    with SmtpServer(faults={place: HANG}) as server:
        smtp = f'timeout = "1s"\nenvelope_timeout = "5m"\nconnections = {connections}'
        program.configure(server.port, smtp=smtp)
        enqueue(program, *"abcdefghijkl")
        runs = [program.run("flush", "--time-limit", "1s", code=None) for _ in codes[:-1]]
        seen = len(server.connections)
        runs.append(program.run("flush", "--time-limit", "1s", code=None))
        assert [run.code for run in runs] == codes
        assert len(server.connections) == seen, "now there is a pause"
        told = [run.stderr for run in runs if run.stderr]
        assert len(told) == 1, "once an hour"
        assert f"did not answer in time (at {place})" in told[0]
    if place == "mail":
        assert {message["attempts"] for message in program.queue()} == {0}


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("connections", [1, 2])
def test_one_message_at_which_the_server_falls_silent_takes_the_time_of_one_run_alone(
    program: Program, connections: int
) -> None:
    with SmtpServer(faults={"mail": lambda line: HANG if CULPRIT in line else None}) as server:
        smtp = f'timeout = "1s"\nenvelope_timeout = "5m"\nconnections = {connections}'
        program.configure(server.port, smtp=smtp, throttler=LIMITED["throttler"])
        enqueue(program, "culprit")
        program.run("flush", "--time-limit", "1s", code=69)
        end_the_pause(program)
        enqueue(program, "b", "c")
        report = program.run("flush", "--time-limit", "1s", "--json").json
        assert (report["relayed"], report["deferred"]) == (2, 1)
        assert senders(server) == ["b", "c"]


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("connections", [1, 2])
def test_nor_when_others_were_relayed_before_it_in_each_run(program: Program, connections: int) -> None:
    with SmtpServer(faults={"mail": lambda line: HANG if CULPRIT in line else None}) as server:
        smtp = f'timeout = "1s"\nenvelope_timeout = "5m"\nconnections = {connections}'
        program.configure(server.port, smtp=smtp, throttler=LIMITED["throttler"])
        bulk = b"To: joe@example.com\nPrecedence: bulk\n\nhi\n"
        for name in ("culprit", "b", "c"):
            program.sendmail("-f", f"{name}@isp.example", "joe@example.com", message=bulk)
        enqueue(program, "fresh1")
        program.run("flush", "--time-limit", "1s")
        enqueue(program, "fresh2")
        program.run("flush", "--time-limit", "1s")
        assert senders(server) == ["b", "c", "fresh1", "fresh2"]
    (left,) = program.queue()
    assert (left["state"], left["attempts"]) == ("deferred", 1)


@pytest.mark.parametrize("connections", CONNECTIONS)
def test_a_server_that_hangs_up_now_and_then_costs_no_message_an_attempt(program: Program, connections: int) -> None:
    def every_third() -> Callable[[bytes], Action | None]:
        seen = iter(range(1000))
        return lambda _line: DROP if next(seen) % 3 == 0 else None

    with SmtpServer(faults={"mail": every_third()}) as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        enqueue(program, *"abcdefgh")
        report = program.run("flush", "--json", code=None).json
        server.wait_until_idle()
        assert report["deferred"] == report["failed"] == 0
        assert len(senders(server)) == report["relayed"]
    assert {message["attempts"] for message in program.queue()} <= {0}
