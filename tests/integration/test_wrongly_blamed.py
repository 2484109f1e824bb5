"""Mail that failed, lost attempts, waited, or cost logins, for what was not its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.campaign.machine import Machine, MovedClock
from tests.support.policies import LikeTheFirst
from tests.support.smtp_server import DROP, Action, SmtpServer, Wait
from tests.support.spools import put
from ucrmmail.delivery.account import load_account
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.search import Search
from ucrmmail.delivery.suspicion import Suspicion
from ucrmmail.limits.rules import Rules, Throttle
from ucrmmail.spool.state import MessageState

OTHER_POLICY = (
    "452 4.5.3 Domain policy size per transaction exceeded. Please send this recipient in a separate transaction."
)


LIMITED = pytest.mark.parametrize("rules", [Rules(), Rules((Throttle(100_000, 1e8),))], ids=["processes", "threads"])


def put_some(machine: Machine, how_many: int) -> None:
    for number in range(how_many):
        put(machine.directory, f"user{number}@example.com", now=machine.clock.now() + number / 1000)


def connections() -> Callable[[], int]:
    """Return what tells, in a server's answers, over which connection it was asked: it has a thread for each."""
    here, following = threading.local(), count()

    def number() -> int:
        if not hasattr(here, "number"):
            here.number = next(following)
        return int(here.number)

    return number


@pytest.mark.requirement("R7")
def test_recipients_of_as_many_policies_are_not_all_asked_for_in_each_transaction(tmp_path: Path) -> None:
    """Each who is refused is an error: of 1,000 domains, a server that hangs up at 20 got 794 in a week, 206 failed."""
    machine = Machine(tmp_path)
    put(machine.directory, *[f"user@d{number}.example" for number in range(60)], now=machine.clock.now())
    policy = LikeTheFirst(bytes, OTHER_POLICY)
    with SmtpServer(faults={"mail": policy.at_mail, "rcpt": policy.at_rcpt}) as server:
        machine.flush(machine.to(server))
        server.wait_until_idle()
        assert len(server.accepted) == 60
        assert sum(command.startswith(b"RCPT") for command in server.commands) <= 2 * 60


@pytest.mark.requirement("R9", "S19")
def test_one_recipient_after_the_other_who_is_refused_as_too_many_costs_no_connection_each(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for number in range(40):
        name = "bad" if number % 2 else "good"
        put(machine.directory, f"{name}{number}@example.com", now=machine.clock.now() + number / 1000)
    with SmtpServer(
        faults={"rcpt": lambda line: "452 4.5.3 too many recipients" if b"<bad" in line else None}
    ) as server:
        report = machine.flush(machine.to(server))
        server.wait_until_idle()
        assert (report.relayed, report.deferred) == (20, 20)
        assert len(server.connections) <= 3


@pytest.mark.requirement("R22", "S19")
@pytest.mark.parametrize(
    "said", ["432 4.3.2 sender thread limit exceeded", "450 4.7.1 Error: too much mail from 10.0.0.1"]
)
def test_a_connection_that_is_refused_whatever_comes_defers_no_message_after_the_other(
    tmp_path: Path, said: str
) -> None:
    """What others relay meanwhile made each of them one more: half of the queue lost an attempt."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock, rules=Rules((Throttle(100_000, 1e8),)))
    for number in range(200):
        name = "bad" if number == 0 else f"user{number}"
        sender = f"user{number % 3}@isp.example"
        put(machine.directory, f"{name}@example.com", now=clock.now() + number / 1000, reverse_path=sender)
    connection = connections()

    def at_mail(_line: bytes) -> str | None:
        time.sleep(0.001)
        return said if connection() % 2 else None

    def at_rcpt(line: bytes) -> str | None:
        return "450 4.7.1 Error: too much mail from 10.0.0.1" if b"<bad" in line else None

    deferred = 0
    with SmtpServer(faults={"mail": at_mail, "rcpt": at_rcpt}) as server:
        for _ in range(4):
            report = machine.flush(machine.to(server), options=Options(wait=False, keep_messages=True, connections=2))
            server.wait_until_idle()
            deferred += report.deferred
            clock.offset += max(
                61.0, load_account(f"{machine.directory}/account.json", owner=os.geteuid()).not_before - clock.now() + 1
            )
    assert deferred <= 16


@pytest.mark.requirement("R9")
def test_the_last_message_does_not_wait_where_its_connection_was_one_too_many_and_the_others_were_through(
    tmp_path: Path,
) -> None:
    """It was left, and the account paused for it: under a limit there was no further round."""
    machine = Machine(tmp_path, rules=Rules((Throttle(100_000, 1e8),)))
    put_some(machine, 2)
    connection = connections()

    def at_mail(_line: bytes) -> str | None:
        if connection() != 1:
            return None
        time.sleep(0.8)
        return "421 4.7.0 too many concurrent connections"

    with SmtpServer(faults={"mail": at_mail, "final-dot": [Wait(0.3)]}) as server:
        report = machine.flush(machine.to(server), options=Options(wait=False, connections=2))
        server.wait_until_idle()
        assert len(server.accepted) == 2
    assert (report.relayed, report.trouble, report.exit_code) == (2, None, 0)


@pytest.mark.requirement("R9")
@LIMITED
def test_a_connection_that_is_refused_in_other_words_than_those_of_concurrency_ends_no_run_either(
    tmp_path: Path, rules: Rules
) -> None:
    """Each run ended with it, behind the few messages that had left over the one that was welcome."""
    machine = Machine(tmp_path, rules=rules)
    put_some(machine, 60)
    connection = connections()

    def at_mail(_line: bytes) -> str | None:
        time.sleep(0.2 if connection() in (1, 2) else 0.005)
        return "421 4.7.0 try again later" if connection() in (1, 2) else None

    with SmtpServer(faults={"mail": at_mail}) as server:
        report = machine.flush(machine.to(server), options=Options(wait=False, connections=3))
        server.wait_until_idle()
        assert len(server.accepted) == 60
        assert len(server.connections) <= 6
    assert (report.relayed, report.deferred, report.trouble) == (60, 0, None)


@pytest.mark.requirement("R9")
@LIMITED
def test_where_the_time_ends_while_others_may_show_whether_a_connection_is_one_too_many_it_is_not_made_anew(
    tmp_path: Path, rules: Rules
) -> None:
    """It was opened, and logged in, behind the time limit, for as long as the server let it wait."""
    machine = Machine(tmp_path, rules=rules)
    put_some(machine, 10)
    connection = connections()

    def at_mail(_line: bytes) -> Action | None:
        return DROP if connection() else None

    with SmtpServer(faults={"mail": at_mail, "final-dot": [Wait(1.5)]}) as server:
        options = Options(wait=False, connections=2, time_limit_s=0.8)
        report = machine.flush(machine.to(server, pipelining=False), options=options)
        server.wait_until_idle()
        assert len(server.connections) == 2
    assert (report.relayed, report.reason, report.exit_code) == (1, "time limit", 0)


@pytest.mark.requirement("R9")
@LIMITED
def test_where_all_connections_are_refused_since_there_are_several_one_is_tried(tmp_path: Path, rules: Rules) -> None:
    """In run after run all of them were there at once, and nothing left, while the pauses grew."""
    machine = Machine(tmp_path, rules=rules)
    put_some(machine, 2)

    def at_mail(_line: bytes) -> str | None:
        # Until the others are there, too.
        time.sleep(0.3)
        is_one = sum(each.sock.fileno() >= 0 for each in server.connections) == 1
        return None if is_one and len(server.connections) > 2 else "432 4.3.2 sender thread limit exceeded"

    with SmtpServer(faults={"mail": at_mail}) as server:
        report = machine.flush(machine.to(server), options=Options(wait=False, connections=2))
        server.wait_until_idle()
        assert len(server.accepted) == 2
    assert (report.relayed, report.deferred, report.trouble) == (2, 0, None)


@pytest.mark.requirement("R9", "R22")
@LIMITED
def test_an_account_that_is_blocked_when_the_last_message_is_alone_on_its_connection_costs_it_no_attempt(
    tmp_path: Path, rules: Rules
) -> None:
    """What had left over the other connection was taken for the proof: an attempt in each run, and nobody was told."""
    machine = Machine(tmp_path, rules=rules)
    put_some(machine, 2)
    connection = connections()

    def at_mail(_line: bytes) -> str | None:
        if connection() == 0:
            return None
        time.sleep(0.8)
        return "421 4.7.0 try again later"

    with SmtpServer(faults={"mail": at_mail, "final-dot": [Wait(0.3)]}) as server:
        report = machine.flush(machine.to(server, pipelining=False), options=Options(wait=False, connections=2))
        server.wait_until_idle()
        assert len(server.accepted) == 1
    assert (report.relayed, report.deferred, report.held_back, report.exit_code) == (1, 0, 1, 75)
    assert [message.delivery.attempts for message in machine.queue()] == [0]


@pytest.mark.requirement("R9")
def test_where_one_connection_is_welcome_what_the_others_had_costs_no_connection_each(tmp_path: Path) -> None:
    """Each round began with all of them again, and seven were refused in it: 24 to 40 logins for 60 messages."""
    machine = Machine(tmp_path)
    put_some(machine, 60)

    def at_mail(_line: bytes) -> str | None:
        time.sleep(0.002)
        is_one = sum(each.sock.fileno() >= 0 for each in server.connections) == 1
        return None if is_one else "421 4.7.0 too many connections"

    with SmtpServer(faults={"mail": at_mail}) as server:
        report = machine.flush(machine.to(server), options=Options(wait=False, connections=8))
        server.wait_until_idle()
        assert len(server.accepted) == 60
        assert len(server.connections) <= 8 + 1
    assert (report.relayed, report.deferred, report.trouble) == (60, 0, None)


@pytest.mark.requirement("R9")
@LIMITED
@pytest.mark.parametrize("said", ["421 4.7.0 try again later", "432 4.3.2 sender thread limit exceeded"])
def test_behind_a_trouble_of_the_account_one_connection_shows_first_that_something_goes(
    tmp_path: Path, rules: Rules, said: str
) -> None:
    """All were made, and refused, in each run: a server that takes one, and says so in general words, got no mail."""
    clock = MovedClock()
    machine = Machine(tmp_path, rules=rules, clock=clock)
    put_some(machine, 12)
    blocked = True
    with SmtpServer(faults={"mail": lambda _line: said if blocked else None}) as server:
        machine.flush(machine.to(server), options=Options(wait=False, connections=4))
        server.wait_until_idle()
        before = len(server.connections)
        clock.offset += 310.0
        report = machine.flush(machine.to(server), options=Options(wait=False, connections=4))
        server.wait_until_idle()
        # One after the other: at the first came what another run had met at others.
        assert len(server.connections) - before <= 2
        assert (report.exit_code, report.deferred) == (75, 0)
        blocked = False
        clock.offset += 610.0
        report = machine.flush(machine.to(server), options=Options(wait=False, connections=4))
        server.wait_until_idle()
        assert len(server.accepted) == 12
    assert (report.relayed, report.trouble) == (12, None)


@pytest.mark.requirement("R9")
def test_one_that_was_greylisted_is_in_nobodys_way_once_others_went() -> None:
    """Behind a limit that ends each run, it waited an hour longer than it had to."""
    clock = MovedClock()
    suspicion = Suspicion()
    suspicion.in_trouble = True
    search = Search(suspicion, clock, left_s=lambda: 60.0)
    tried = MessageState((), attempts=1, next_attempt_at=clock.now() - 1.0)
    blamed = MessageState((), attempts=1, next_attempt_at=clock.now() - 1.0, blamed="421")
    assert search.passes("1a", tried)
    assert search.passes("1b", blamed)
    assert search.end() == {"1a": False, "1b": True}
