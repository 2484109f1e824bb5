"""Several connections at once: one queue, one limit, and never more than the server wants."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.campaign.machine import Machine
from tests.support.faults import cannot_be_moved, cannot_be_opened
from tests.support.flushes import mail, run, taken
from tests.support.never import NEVER_S
from tests.support.program import Program
from tests.support.smtp_server import DROP, EXTENSIONS, HANG, Raw, SmtpServer, Wait
from tests.support.spools import NOW, put
from ucrmmail.delivery.flush import Options
from ucrmmail.files import try_lock
from ucrmmail.limits.rules import Rules, Throttle
from ucrmmail.spool.layout import path_in_queue
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.records import journal_path

BUSY = "421 4.7.0 too many connections"
# Under a limit the connections are threads.
MANY = Rules((Throttle(1000, 3600.0),))


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


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.requirement("R4", "R26")
@pytest.mark.parametrize("reply", ["451 4.3.0 later", "550 5.1.1 no such user"], ids=["deferred", "failed"])
def test_what_no_connection_can_move_is_sent_once_in_a_run(program: Program, tmp_path: Path, reply: str) -> None:
    """A worker records it, cannot bring it to its place, and lets go of it when its connection ends."""
    with SmtpServer(faults={"rcpt": lambda line: reply if b"joe@" in line else None}) as server:
        program.configure(server.port, smtp="connections = 2")
        for number in range(6):
            put(str(program.spool), "joe@example.com", "ann@example.com", now=NOW + number)
        # As of a file system that has no room for one more name.
        refused = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=rename:error=ENOSPC"]
        run = subprocess.run(
            [*refused, *program.command("flush", "--time-limit", "10s")],
            env=program.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "the next run tries again" in run.stderr
        program.run("flush")
        server.wait_until_idle()
    assert [message.recipients for message in server.accepted].count(["ann@example.com"]) == 6


@pytest.mark.parametrize("limits", ["", "throttler"], ids=["no limit", "limit"])
def test_slow_messages_go_side_by_side(program: Program, tmp_path: Path, limits: str) -> None:
    """One connection took three of them before the others were there, and each connection one behind another."""
    throttler = 'message_limit = 1000\nduration = "1h"' if limits else ""
    with SmtpServer(faults={"final-dot": [Wait(1.5)] * 12}) as server:
        program.configure(server.port, smtp="connections = 4", throttler=throttler)
        enqueue(program, tmp_path, 12)
        program.run("flush")
        server.wait_until_idle()
        assert subjects(server) == list(range(12))
        taken = [dialogue.commands.count(b"DATA") for dialogue in server.connections]
    # In the time that each has for the first one, no connection can have been through with three.
    assert sorted(taken) == [3, 3, 3, 3]


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("pipelining", [True, False])
def test_no_message_begins_behind_the_time_limit_however_late_the_answer_to_the_last(
    program: Program, tmp_path: Path, connections: int, pipelining: bool
) -> None:
    with SmtpServer(faults={"final-dot": [None] * connections + [Wait(2.5)] * 20}) as server:
        # The first one is quick, so that the next envelope goes with its end.
        settings = f"connections = {connections}\npipelining = {str(pipelining).lower()}"
        program.configure(server.port, smtp=settings)
        enqueue(program, tmp_path, 20)
        program.run("flush", "--time-limit", "1s")
        server.wait_until_idle()
        # Of each connection one that was slow: it was under way when the time was over.
        assert connections < len(server.accepted) <= 2 * connections
    assert len(program.queue()) == 20 - len(server.accepted)


@pytest.mark.parametrize("limits", ["", "throttler"], ids=["no limit", "limit"])
@pytest.mark.parametrize(
    "said",
    ["432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "421 4.7.0 Too many concurrent SMTP connections"],
)
def test_a_server_that_says_at_mail_that_it_wants_fewer_connections_has_them(
    program: Program, tmp_path: Path, said: str, limits: str
) -> None:
    """It had paused the account, although two connections were welcome."""

    def refuse_the_third(line: bytes) -> str | None:
        number = next(at for at, each in enumerate(server.connections) if each.commands and each.commands[-1] is line)
        earlier = [each for each in server.connections[:number] if each.sock.fileno() >= 0]
        return said if len(earlier) >= 2 else None

    throttler = 'message_limit = 1000\nduration = "1h"' if limits else ""
    with SmtpServer(faults={"mail": refuse_the_third, "final-dot": [Wait(0.05)] * 99}) as server:
        program.configure(server.port, smtp="connections = 4", throttler=throttler)
        enqueue(program, tmp_path, 40)
        run = program.run("flush", "--json")
        server.wait_until_idle()
        assert subjects(server) == list(range(40))
    assert (run.json["relayed"], run.json["error"]) == (40, None)
    assert not program.run("status", "--json").json["account"]["deferred"]


def test_a_message_that_nobody_can_have_does_not_let_the_run_wait_for_a_greeting(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    ids = [mail(machine, f"user{number}@example.com") for number in range(6)]
    with (
        open(path_in_queue(machine.directory, ids[2]), "rb") as worked_on,
        SmtpServer(faults={"greeting": [None, HANG, HANG], "final-dot": [Wait(0.05)] * 9}) as server,
    ):
        assert try_lock(worked_on.fileno())
        report = machine.flush(machine.to(server, timeout_s=NEVER_S), options=Options(wait=False, connections=3))
        assert len(server.connections) == 3
    assert (report.relayed, report.held_back, report.exit_code) == (5, 0, 0)


@pytest.mark.requirement("R18")
@pytest.mark.parametrize("limits", ["", "throttler"], ids=["no limit", "limit"])
def test_connections_that_get_no_greeting_keep_no_message_from_the_one_that_did(
    program: Program, tmp_path: Path, limits: str
) -> None:
    """Nor does the run wait for them when everything is sent, or take the smarthost for one that was not reached."""
    throttler = 'message_limit = 1000\nduration = "1h"' if limits else ""
    with SmtpServer(faults={"greeting": [None, HANG, HANG, HANG], "final-dot": [Wait(0.05)] * 99}) as server:
        program.configure(server.port, smtp=f'connections = 4\ntimeout = "{NEVER_S:.0f}s"', throttler=throttler)
        enqueue(program, tmp_path, 20)
        run = program.run("flush")
        server.wait_until_idle()
        assert [int(message.content.split(b"Subject: ")[1].split()[0]) for message in server.accepted] == [*range(20)]
        assert len(server.connections) == 4
    assert (run.stdout, run.stderr) == ("", "")
    assert program.queue() == []
    assert program.run("status", "--json").json["last_flush"]["relayed"] == 20


def test_a_trouble_of_the_account_does_not_let_the_run_wait_for_a_greeting(tmp_path: Path) -> None:
    machine = Machine(tmp_path, rules=MANY)
    mail(machine, "joe@example.com")
    blocked = "550 5.7.1 this account is suspended"
    with SmtpServer(faults={"greeting": [None, HANG, HANG], "final-dot": lambda _line: blocked}) as server:
        report = machine.flush(machine.to(server, timeout_s=NEVER_S), options=Options(wait=False, connections=3))
    assert (report.exit_code, report.held_back) == (77, 1)


@pytest.mark.parametrize("rules", [Rules(), MANY], ids=["no limit", "limit"])
def test_a_connection_that_gets_no_greeting_anew_does_not_let_the_run_wait_for_it(tmp_path: Path, rules: Rules) -> None:
    machine = Machine(tmp_path, rules=rules)
    for number in range(20):
        mail(machine, f"user{number}@example.com")
    with SmtpServer(
        extensions=(*EXTENSIONS, "LIMITS MAILMAX=4"),
        faults={"greeting": [None, None, HANG], "final-dot": lambda _line: Wait(0.03)},
    ) as server:
        report = machine.flush(machine.to(server, timeout_s=NEVER_S), options=Options(wait=False, connections=2))
        assert len(server.connections) > 3
    assert (report.relayed, report.held_back, report.exit_code) == (20, 0, 0)


def test_a_disk_that_ends_the_run_does_not_let_it_wait_for_a_greeting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, rules=MANY)
    for number in range(3):
        mail(machine, f"user{number}@example.com")

    def settle(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Spool, "settle", settle)
    with (
        SmtpServer(faults={"greeting": [None, HANG], "final-dot": lambda _line: Wait(0.1)}) as server,
        pytest.raises(OSError, match="Input/output error"),
    ):
        machine.flush(machine.to(server, timeout_s=NEVER_S), options=Options(wait=False, connections=2))


@pytest.mark.requirement("R9", "R15")
@pytest.mark.parametrize("rules", [Rules(), MANY], ids=["no limit", "limit"])
def test_a_server_that_says_good_bye_behind_each_login_is_left_alone(tmp_path: Path, rules: Rules) -> None:
    """It was logged in to again and again until the time was over: providers block who does that."""
    machine = Machine(tmp_path, rules=rules)
    for number in range(4):
        mail(machine, f"user{number}@example.com")
    good_bye = Raw(b"250 mx.example.com\r\n421 4.7.0 too many connections\r\n")
    with SmtpServer(faults={"ehlo": good_bye}) as server:
        options = Options(time_limit_s=10.0, wait=False, connections=2)
        report = machine.flush(machine.to(server, timeout_s=NEVER_S), options=options)
        assert len(server.connections) <= 10
    assert (report.reason, report.exit_code, report.held_back) == ("account", 75, 4)


@pytest.mark.requirement("R19")
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


@pytest.mark.requirement("R22", "S19")
def test_a_trouble_of_the_account_on_one_connection_ends_all_and_loses_nothing(
    program: Program, tmp_path: Path
) -> None:
    told = iter([None] * 7 + ["421 4.7.0 too many messages"] * 100)

    def seven_then_no_more(_line: bytes) -> str | None:
        said = next(told)
        ends_at = time.monotonic() + 10
        # A connection that is stopped gives back what it has begun: so the others are let finish before.
        while said is not None and len(server.accepted) < 7 and time.monotonic() < ends_at:
            time.sleep(0.005)
        return said

    with SmtpServer(faults={"mail": seven_then_no_more}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 20)
        program.run("flush", code=75)
        server.wait_until_idle()
        relayed = subjects(server)
    waiting = program.queue()
    assert len(relayed) + len(waiting) == 20
    assert len(set(relayed)) == len(relayed) == 7
    assert {message["attempts"] for message in waiting} == {0}


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("limit", ["", "message_limit = 1000"], ids=["processes", "threads"])
def test_too_many_on_one_connection_ends_all_before_they_begin_another_message(
    program: Program, tmp_path: Path, limit: str
) -> None:
    refused_at: list[float] = []

    def one_too_many(_line: bytes) -> str | None:
        if len(server.accepted) < 9 or refused_at:
            return None
        refused_at.append(time.monotonic())
        return "450 4.7.0 too many messages from this account"

    with SmtpServer(faults={"mail": one_too_many, "final-dot": [Wait(0.1)] * 200}) as server:
        program.configure(server.port, smtp="connections = 3", throttler=limit)
        enqueue(program, tmp_path, 100)
        program.run("flush", code=75)
        server.wait_until_idle()
        after = [message for message in server.accepted if message.at > refused_at[0]]
    # What each had on the wire, and the one behind whose envelope was out.
    assert len(after) <= 2 * 3
    assert {message["attempts"] for message in program.queue()} == {0}


def test_a_lost_connection_defers_only_its_own_message(program: Program, tmp_path: Path) -> None:
    with SmtpServer(faults={"data": [None, None, None, DROP], "final-dot": [Wait(0.05)] * 50}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 15)
        report = program.run("flush", "--json").json
        server.wait_until_idle()
        assert (report["relayed"], report["deferred"], report["failed"]) == (14, 1, 0)
        assert len(subjects(server)) == 14
    assert [message["state"] for message in program.queue()] == ["deferred"]


@pytest.mark.requirement("S19")
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


# --- processes: several connections without a limit --------------------------------------------------------------------


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The children of a running flush."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def start_and_wait_for_workers(program: Program, count: int) -> tuple[subprocess.Popen[bytes], list[int]]:
    flush = program.start("flush", "--json")
    deadline = time.monotonic() + 20
    while len(pids := workers_of(flush)) < count:
        assert time.monotonic() < deadline, "no workers"
        time.sleep(0.01)
    return flush, pids


def test_each_connection_is_a_process_and_their_journals_are_gone_at_the_end(program: Program, tmp_path: Path) -> None:
    with SmtpServer(faults={"final-dot": [Wait(0.05)] * 100}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 40)
        flush, pids = start_and_wait_for_workers(program, 3)
        output, errors = flush.communicate(timeout=60)
        server.wait_until_idle()
    assert (len(pids), flush.returncode, errors) == (3, 0, b"")
    report = json.loads(output)
    assert (report["relayed"], report["held_back"], report["reason"]) == (40, 0, "")
    assert sorted(message["result"] for message in report["messages"]) == ["relayed"] * 40
    assert subjects(server) == list(range(40))
    assert sorted(path.name for path in program.spool.glob("journal*")) == ["journal"]
    log = (program.spool / "delivery.log").read_text().splitlines()
    assert len(log) == 40, "each worker appends whole lines to the same log"


def test_a_worker_that_is_killed_is_told_and_what_it_had_is_sent_once_by_the_next_run(
    program: Program, tmp_path: Path
) -> None:
    with SmtpServer(faults={"final-dot": [Wait(0.1)] * 100}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 40)
        flush, pids = start_and_wait_for_workers(program, 3)
        time.sleep(0.3)
        os.kill(pids[1], signal.SIGKILL)
        output, _ = flush.communicate(timeout=60)
        report = json.loads(output)
        assert any("ended from outside (signal 9)" in line for line in report["needs_person"])
        assert flush.returncode == 75
        assert report["relayed"] < 40
        assert report["held_back"] >= 40 - report["relayed"] - 6, "but what was on the wire or not moved yet"
        assert report["relayed"] >= 20, "the other connections went on"
        program.run("flush")
        server.wait_until_idle()
        numbers = subjects(server)
    assert sorted(set(numbers)) == list(range(40)), "lost"
    assert len(numbers) - 40 <= 1, "only what was between the final dot and its record"
    assert program.queue() == []
    assert sorted(path.name for path in program.spool.glob("journal*")) == ["journal"]


def test_a_run_whose_workers_were_all_killed_counts_what_waits_and_tells_what_they_could_not(
    program: Program, tmp_path: Path
) -> None:
    refused: list[bytes] = []

    def refuse_the_first(line: bytes) -> str | None:
        refused.append(line)
        return "550 5.1.1 No such user" if len(refused) == 1 else None

    with SmtpServer(faults={"rcpt": refuse_the_first, "final-dot": [Wait(0.3)] * 100}) as server:
        program.configure(server.port, smtp="connections = 3")
        program.config.write_text(program.config.read_text().replace('notification = "admin@isp.example"\n', ""))
        (tmp_path / "bounce.eml").write_bytes(b"From: a@isp.example\nTo: no@example.com\n\nhi\n")
        queue_id = program.run("enqueue", "--from", "", str(tmp_path / "bounce.eml")).stdout.strip()
        enqueue(program, tmp_path, 40)
        flush, pids = start_and_wait_for_workers(program, 3)
        time.sleep(0.5)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        output, _ = flush.communicate(timeout=60)
        report = json.loads(output)
        assert (flush.returncode, report["relayed"] < 20) == (75, True)
        assert report["held_back"] >= 40 - len(server.accepted)
        assert f"{queue_id} to no@example.com failed: 550 5.1.1 No such user" in report["needs_person"]
        assert any("ended from outside (signal 9)" in line for line in report["needs_person"])
        last = program.run("status", "--json").json["last_flush"]
        assert (last["held_back"], last["exit_code"]) == (report["held_back"], 75)
        again = program.run("flush", "--json").json
        server.wait_until_idle()
        assert not any("failed" in line for line in again["needs_person"])
        assert sorted(set(subjects(server))) == list(range(40)), "lost"
    assert program.queue("--state", "waiting") == []


@pytest.mark.requirement("R1", "R26")
@pytest.mark.parametrize("reply", [None, "450 4.2.0 later", "550 5.1.1 no such user"], ids=["taken", "later", "never"])
def test_what_cannot_be_moved_behind_its_answer_is_asked_for_once_in_a_run(tmp_path: Path, reply: str | None) -> None:
    """A further round had found it in the queue, and sent it, and so had the next, without an end."""
    machine = Machine(tmp_path)
    ids = [mail(machine, f"user{number}@example.com") for number in range(6)]
    asked: list[bytes] = []

    def note(line: bytes) -> str | None:
        asked.append(line)
        return reply if b"<user2" in line else None

    with SmtpServer(faults={"rcpt": note}) as server:
        with cannot_be_moved(path_in_queue(machine.directory, ids[2]), errno.EPERM):
            report = run(machine, server, connections=2)
        assert sum(b"<user2" in line for line in asked) == 1
        assert [message.queue_id for message in report.messages].count(ids[2]) == 1
        assert any(ids[2] in line and "the next run tries again" in line for line in report.needs_person)
        run(machine, server, connections=2)
    assert sorted(taken(server)) == sorted(f"user{each}@example.com" for each in range(6) if each != 2 or not reply)
    assert [message.state for message in machine.queue()] == {None: [], "4": ["deferred"], "5": ["failed"]}[
        reply and reply[0]
    ]


@pytest.mark.requirement("R1", "R26")
def test_what_cannot_be_moved_is_sent_once_though_the_queue_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mail that came meanwhile let the queue name the rest of its bucket twice at once, and each had another worker."""
    machine = Machine(tmp_path)
    for number in range(90):
        put(machine.directory, f"user{number}@example.com", now=NOW)
    real = os.unlink

    def unlink(path: str, **options: int) -> None:
        if path.startswith(f"{machine.directory}/queue/"):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)
        real(path, **options)

    def come(line: bytes) -> None:
        if b"<user1@" in line:
            put(machine.directory, "late@example.com", now=NOW + 1)

    # Of fewer, each process lets go of what it cannot move while it still sends.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with SmtpServer(faults={"rcpt": come, "final-dot": [Wait(0.02)] * 300}) as server:
        monkeypatch.setattr(os, "unlink", unlink)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 60, hard))
        try:
            run(machine, server, connections=2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            monkeypatch.undo()
        everyone = ["late@example.com", *(f"user{number}@example.com" for number in range(90))]
        assert sorted(taken(server)) == sorted(everyone)
        run(machine, server, connections=2)
        assert len(taken(server)) == 91
    assert machine.queue() == []


@pytest.mark.requirement("R26")
@pytest.mark.parametrize("worker", [1, 3])
def test_a_disk_on_which_no_more_files_can_be_made_keeps_no_mail_back(tmp_path: Path, worker: int) -> None:
    """What one connection would have sent, several did not: each run ended at the journal of the first, or of another."""
    machine = Machine(tmp_path)
    for number in range(20):
        mail(machine, f"user{number}@example.com")
    no_room = cannot_be_opened(journal_path(machine.directory, worker), errno.ENOSPC)
    with SmtpServer(faults={"final-dot": [Wait(0.05)] * 99}) as server, no_room:
        report = run(machine, server, connections=3)
    assert (report.relayed, report.exit_code, report.needs_person) == (20, 0, ())
    assert len(taken(server)) == 20
    assert len(server.connections) == worker // 2 + 1
    assert sorted(path.name for path in Path(machine.directory).glob("journal*")) == ["journal"]


@pytest.mark.requirement("R1")
def test_workers_end_with_the_run_that_was_killed_and_nothing_is_sent_twice(program: Program, tmp_path: Path) -> None:
    with SmtpServer(faults={"final-dot": [Wait(0.05)] * 200}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 100)
        flush, _ = start_and_wait_for_workers(program, 3)
        time.sleep(0.2)
        flush.kill()
        # The end of their output is the end of the last of them.
        flush.communicate(timeout=60)
        assert len(server.accepted) < 100, "they did not go through the queue without it"
        program.run("flush")
        server.wait_until_idle()
        assert subjects(server) == list(range(100))
    assert program.queue() == []


@pytest.mark.requirement("R4")
def test_an_error_of_the_disk_that_ends_the_run_ends_its_processes_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had waited for all that they waited for, and told of each that it was ended from outside."""
    machine = Machine(tmp_path)
    for number in range(100):
        mail(machine, f"user{number}@example.com")
    real, run_itself = os.listdir, os.getpid()

    def listed(path: str = ".") -> list[str]:
        if path == f"{machine.directory}/queue" and len(server.accepted) > 9 and os.getpid() == run_itself:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path)

    monkeypatch.setattr(os, "listdir", listed)
    with SmtpServer(faults={"greeting": [None, None, HANG], "final-dot": [Wait(0.05)] * 200}) as server:
        connect = machine.to(server, timeout_s=NEVER_S)
        with pytest.raises(OSError, match="Input/output"):
            machine.flush(connect, options=Options(wait=False, connections=3))
        assert sorted(path.name for path in Path(machine.directory).glob("journal*")) == ["journal"]
        monkeypatch.undo()
        run(machine, server, connections=2)
        assert sorted(taken(server)) == sorted(f"user{number}@example.com" for number in range(100))


@pytest.mark.requirement("R2", "R18")
def test_a_run_whose_only_process_was_asked_to_end_says_that_it_was_stopped(program: Program, tmp_path: Path) -> None:
    """As the run itself would; it had ended as if nothing waited."""
    with SmtpServer(faults={"greeting": [HANG]}) as server:
        program.configure(server.port, smtp=f'connections = 3\ntimeout = "{NEVER_S:.0f}s"')
        enqueue(program, tmp_path, 5)
        flush, (worker,) = start_and_wait_for_workers(program, 1)
        deadline = time.monotonic() + 20
        while not server.connections and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(worker, signal.SIGTERM)
        output, errors = flush.communicate(timeout=60)
    report = json.loads(output)
    assert (report["reason"], report["held_back"], flush.returncode, errors) == ("stopped", 5, 0, b"")


@pytest.mark.requirement("R18")
def test_a_run_that_sends_its_waiting_connections_home_was_not_stopped(tmp_path: Path) -> None:
    """They end as at a signal, and one was killed: what that one had waits, and nobody asked the run to end."""
    machine = Machine(tmp_path)
    for number in range(4):
        mail(machine, f"user{number}@example.com")

    def kill_at_the_last(line: bytes) -> None:
        if b"<user3@" in line:
            os.kill(workers[0], signal.SIGKILL)

    def children() -> list[int]:
        found = Path(f"/proc/{os.getpid()}/task/{threading.main_thread().native_id}/children").read_text()
        return [int(pid) for pid in found.split()]

    # Of other tests.
    before = children()
    workers: list[int] = []

    def note(_: bytes) -> None:
        workers[:] = workers or [pid for pid in children() if pid not in before][:1]

    with SmtpServer(
        faults={"greeting": [None, HANG, HANG], "mail": note, "rcpt": kill_at_the_last, "final-dot": [Wait(0.1)] * 9}
    ) as server:
        report = machine.flush(machine.to(server, timeout_s=NEVER_S), options=Options(wait=False, connections=3))
    assert ["signal 9" in line for line in report.needs_person] == [True]
    assert (report.reason, report.exit_code) == ("", 75)


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_reaches_all_connections(program: Program, tmp_path: Path, number: signal.Signals) -> None:
    with SmtpServer(faults={"final-dot": [Wait(0.05)] * 200}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 100)
        flush, _ = start_and_wait_for_workers(program, 3)
        time.sleep(0.2)
        flush.send_signal(number)
        output, errors = flush.communicate(timeout=30)
        report = json.loads(output)
        assert (report["reason"], errors) == ("stopped", b"")
        assert 0 < report["relayed"] < 100
        assert report["held_back"] == 100 - report["relayed"]
        program.run("flush")
        server.wait_until_idle()
        assert subjects(server) == list(range(100))


@pytest.mark.requirement("R2")
def test_a_request_to_stop_before_the_first_connection_leaves_no_journal_behind(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    mail(machine, "user@example.com")
    machine.stop.request(signal.SIGTERM)
    with SmtpServer() as server:
        report = run(machine, server, connections=3)
    assert (report.reason, report.held_back) == ("stopped", 1)
    assert sorted(path.name for path in Path(machine.directory).glob("journal*")) == ["journal"]


@pytest.mark.requirement("S4")
def test_a_time_limit_ends_all_connections(program: Program, tmp_path: Path) -> None:
    with SmtpServer(faults={"final-dot": [Wait(0.1)] * 200}) as server:
        program.configure(server.port, smtp="connections = 3")
        enqueue(program, tmp_path, 100)
        report = program.run("flush", "--json", "--time-limit", "1s").json
        server.wait_until_idle()
    assert report["reason"] == "time limit"
    assert 0 < report["relayed"] < 100
    assert report["relayed"] + report["held_back"] == 100


def test_urgent_mail_does_not_wait_behind_what_was_dealt_out_before(program: Program, tmp_path: Path) -> None:
    with SmtpServer(faults={"final-dot": [Wait(0.2)] * 200}) as server:
        program.configure(server.port, smtp="connections = 2")
        enqueue(program, tmp_path, 60)
        flush, _ = start_and_wait_for_workers(program, 2)
        (tmp_path / "now.eml").write_bytes(b"From: a@isp.example\nTo: b@example.com\nSubject: 1000\n\nhi\n")
        program.run("enqueue", "--priority", "urgent", str(tmp_path / "now.eml"))
        flush.communicate(timeout=60)
        server.wait_until_idle()
        order = [int(message.content.split(b"Subject: ")[1].split()[0]) for message in server.accepted]
    assert len(order) == 61
    assert order.index(1000) < 40


def test_a_stop_while_the_server_does_not_greet_ends_the_run_in_good_order(program: Program, tmp_path: Path) -> None:
    with SmtpServer(faults={"greeting": [Wait(30.0)] * 3}) as server:
        program.configure(server.port)
        enqueue(program, tmp_path, 1)
        flush = program.start("flush", "--json")
        deadline = time.monotonic() + 20
        while not server.connections and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        flush.send_signal(signal.SIGTERM)
        output, errors = flush.communicate(timeout=20)
    assert errors == b""
    assert json.loads(output)["reason"] == "stopped"
    assert [message["attempts"] for message in program.queue()] == [0]


def test_a_stop_before_the_first_connection_ends_the_run(program: Program, tmp_path: Path) -> None:
    with SmtpServer() as server:
        # The password is fetched before any process is started: here the signal comes in the middle of that.
        command = tmp_path / "password"
        command.write_text("#!/bin/sh\nkill -TERM $PPID\nsleep 0.2\necho secret\n")
        command.chmod(0o700)
        program.configure(
            server.port,
            smtp='connections = 3\nusername = "joe"\nallow_insecure_login = true',
            credentials=f'source = "command"\ncommand = ["{command}"]',
        )
        enqueue(program, tmp_path, 2)
        report = program.run("flush", "--json", timeout=30).json
        assert (report["reason"], report["held_back"]) == ("stopped", 2)
        assert server.accepted == []


def test_where_no_more_processes_may_be_started_fewer_connections_do_the_work(program: Program, tmp_path: Path) -> None:
    with SmtpServer() as server:
        program.configure(server.port, smtp="connections = 50")
        enqueue(program, tmp_path, 30)
        traced = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=clone",
            "-e",
            "inject=clone:error=EAGAIN:when=2+",
        ]
        done = subprocess.run(
            [*traced, *program.command("flush", "--json")], env=program.env, capture_output=True, timeout=60, check=True
        )
        server.wait_until_idle()
    assert json.loads(done.stdout)["relayed"] == 30
    assert len(server.connections) == 1
