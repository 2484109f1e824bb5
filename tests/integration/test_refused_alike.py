"""Many messages that are refused alike, as if it were the account: what they keep waiting, and for how many runs."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.campaign.machine import Machine, MovedClock
from tests.support.flushes import at_the_bad, people, run, taken
from tests.support.smtp_server import DROP, Action, SmtpServer
from tests.support.spools import put
from ucrmmail.delivery.account import load_account
from ucrmmail.delivery.schedule import Retry

PAUSE = "421 4.7.0 try again later"
TOO_MUCH = "450 4.7.1 Error: too much mail from 10.0.0.1"


def machine_with(tmp_path: Path, *recipients: str, senders: int = 1) -> tuple[Machine, MovedClock]:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    for number, recipient in enumerate(recipients):
        sender = f"user{number % senders}@isp.example"
        put(machine.directory, recipient, now=clock.now() + number / 1000, reverse_path=sender)
    return machine, clock


def wait_for_the_pause(machine: Machine, clock: MovedClock) -> None:
    not_before = load_account(f"{machine.directory}/account.json", owner=os.geteuid()).not_before
    clock.offset += max(61.0, not_before - clock.now() + 1)


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize(("act", "count"), [(PAUSE, 40), (DROP, 40), (PAUSE, 12)])
def test_what_stands_behind_many_that_are_refused_alike_goes_after_few_runs(
    tmp_path: Path, act: str | Action, count: int
) -> None:
    """Each run learnt of one of them, while the pauses doubled: behind ten the rest waited for a day."""
    bad = people(count, *range(count))
    machine, clock = machine_with(tmp_path, *bad, *people(60))
    with SmtpServer(faults={"rcpt": at_the_bad(act)}) as server:
        runs, begun_at = 0, clock.now()
        while len(taken(server)) < 20:
            assert (runs := runs + 1) <= 6
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert clock.now() - begun_at < 2 * 3600
        assert len(server.connections) <= 5 * runs


@pytest.mark.requirement("S19")
def test_at_the_end_of_the_queue_the_last_one_shows_whether_any_may_leave(tmp_path: Path) -> None:
    machine, clock = machine_with(tmp_path, *people(8, *range(8)), "good@example.com")
    with SmtpServer(faults={"rcpt": at_the_bad(PAUSE)}) as server:
        for _ in range(4):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert taken(server) == ["good@example.com"]


@pytest.mark.requirement("S19")
def test_what_was_passed_over_comes_behind_the_rest_of_its_priority_once_some_went(tmp_path: Path) -> None:
    bad = [f"bad{number}@example.com" for number in range(6)]
    machine, clock = machine_with(tmp_path, *bad, *people(40))
    with SmtpServer(faults={"rcpt": at_the_bad(PAUSE)}) as server:
        for _ in range(2):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert not taken(server)
        put(
            machine.directory,
            "urgent@example.com",
            now=clock.now(),
            priority="urgent",
            reverse_path="user0@isp.example",
        )
        run(machine, server)
        # The first of them shows that the account works, and the urgent one was passed over for it.
        went = taken(server)
        assert went.index("urgent@example.com") <= 3
        assert len(went) >= 25
        # Those which were passed over beside the bad ones are last.
        assert "good0@example.com" not in went[:20]


@pytest.mark.requirement("R9")
def test_behind_a_smarthost_that_was_down_mail_leaves_in_its_order(tmp_path: Path) -> None:
    machine, clock = machine_with(tmp_path, *people(30))
    with SmtpServer(faults={"ehlo": PAUSE}) as server:
        for _ in range(3):
            run(machine, server)
            wait_for_the_pause(machine, clock)
    with SmtpServer() as server:
        run(machine, server)
        assert taken(server) == people(30)


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("senders", [1, 7])
@pytest.mark.parametrize(("said", "place"), [(PAUSE, "rcpt"), (PAUSE, "final-dot"), (TOO_MUCH, "rcpt")])
def test_one_in_twenty_that_is_refused_ends_no_run_but_the_first(
    tmp_path: Path, connections: int, senders: int, said: str, place: str
) -> None:
    """Each of them ended a run: the pauses of a queue of 5,000 with 250 such messages were those of a day."""
    machine, clock = machine_with(tmp_path, *people(200, *range(10, 200, 20)), senders=senders)
    here = threading.local()

    def rcpt(line: bytes) -> str | None:
        here.is_bad = b"<bad" in line
        return said if place == "rcpt" and here.is_bad else None

    def dot(_line: bytes) -> str | None:
        return said if place == "final-dot" and here.is_bad else None

    with SmtpServer(faults={"rcpt": rcpt, "final-dot": dot}) as server:
        runs = 0
        while len(taken(server)) < 190:
            # Over several connections another one may be refused before the first has shown something.
            assert (runs := runs + 1) <= (2 if connections == 1 else 9)
            run(machine, server, connections=connections)
            wait_for_the_pause(machine, clock)
        assert len(server.connections) <= 40


@pytest.mark.requirement("S19", "R9")
def test_refusals_of_two_kinds_in_turn_end_no_run_each(tmp_path: Path) -> None:
    """Of the first kind nothing was known any more behind the second: a run sent nineteen messages, and ended."""
    machine, clock = machine_with(tmp_path, *people(200, *range(10, 200, 20)))
    kinds = (PAUSE, "421 4.3.0 temporary system problem")

    def rcpt(line: bytes) -> str | None:
        return kinds[int(line.split(b"<bad")[1].split(b"@")[0]) // 20 % 2] if b"<bad" in line else None

    with SmtpServer(faults={"rcpt": rcpt}) as server:
        for _ in range(2):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert len(taken(server)) == 190


@pytest.mark.requirement("R9")
def test_an_account_that_is_blocked_behind_others_who_were_to_blame_is_asked_less_and_less_often(
    tmp_path: Path,
) -> None:
    """What it said was taken for the quotas of those who met it: its pauses grew no more, 230 logins in two days."""
    machine, clock = machine_with(tmp_path, *people(60, *range(3, 60, 4)), senders=7)
    machine.retry = Retry()
    limit = "451 4.7.1 sender rate limit exceeded"
    with SmtpServer(
        faults={
            "rcpt": lambda line: TOO_MUCH if b"<bad" in line else None,
            "mail": lambda _line: limit if len(server.accepted) >= 12 else None,
        }
    ) as server:
        begun_at = clock.now()
        while clock.now() < begun_at + 86_400:
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert len(taken(server)) == 12
        assert len(server.connections) <= 40
    assert not any(message.delivery.attempts for message in machine.queue() if "bad" not in str(message.delivery))


@pytest.mark.requirement("R9")
@pytest.mark.parametrize("place", ["mail", "rcpt", "final-dot"])
@pytest.mark.parametrize("senders", [1, 7])
def test_an_account_at_its_limit_is_asked_no_more_often_for_that(tmp_path: Path, place: str, senders: int) -> None:
    machine, clock = machine_with(tmp_path, *people(120), senders=senders)
    until = 0

    def limit(_line: bytes) -> str | None:
        return PAUSE if len(server.accepted) >= until else None

    with SmtpServer(faults={place: limit}) as server:
        for number in range(1, 5):
            until, before = 30 * number, len(server.connections)
            run(machine, server)
            assert len(server.accepted) == until
            # One for what was refused by the run before.
            assert len(server.connections) - before <= 2
            wait_for_the_pause(machine, clock)
    assert all(message.delivery.attempts == 0 for message in machine.queue())


@pytest.mark.requirement("S19", "R7")
@pytest.mark.parametrize("connections", [1, 4])
def test_an_account_that_is_blocked_behind_a_message_of_its_own_trouble_fails_none(
    tmp_path: Path, connections: int
) -> None:
    """What others were refused for in passing is no reason to give one up that the account is refused for."""
    machine, clock = machine_with(tmp_path, *people(100, 0, 10), senders=5)

    def act(line: bytes) -> str | None:
        if len(server.accepted) >= 50:
            return "550 5.7.501 Access denied, account suspended"
        return PAUSE if b"<bad" in line else None

    with SmtpServer(faults={"rcpt": act}) as server:
        for _ in range(4):
            run(machine, server, connections=connections)
            wait_for_the_pause(machine, clock)
        assert len(taken(server)) >= 50
    assert not [message for message in machine.queue() if message.state == "failed"]


@pytest.mark.requirement("R9", "S19")
@pytest.mark.parametrize("place", ["mail", "rcpt"])
def test_a_sender_at_whose_mail_the_server_says_good_bye_costs_few_connections_a_run(
    tmp_path: Path, place: str
) -> None:
    """Between the mail of others each of his messages cost a login: 293 in a run."""
    machine, clock = machine_with(tmp_path)
    for number in range(200):
        sender = "other@isp.example" if number % 4 == 0 else "news@isp.example"
        put(machine.directory, f"u{number}@example.com", now=clock.now() + number / 1000, reverse_path=sender)
    news = set[int]()

    def mail(line: bytes) -> str | None:
        number = len(server.connections)
        news.discard(number)
        if b"<news" in line:
            news.add(number)
        return PAUSE if place == "mail" and number in news else None

    def rcpt(_line: bytes) -> str | None:
        return PAUSE if place == "rcpt" and len(server.connections) in news else None

    with SmtpServer(faults={"mail": mail, "rcpt": rcpt}) as server:
        for _ in range(6):
            before = len(server.connections)
            run(machine, server)
            assert len(server.connections) - before <= 8
            wait_for_the_pause(machine, clock)
        assert len(taken(server)) == 50


@pytest.mark.requirement("S19", "R9")
def test_half_of_the_mail_refused_alike_in_a_mixed_queue_keeps_the_other_half_for_one_pause(tmp_path: Path) -> None:
    """The envelope behind the proof was on its way with it, and ended the run: so did each, for 17 hours."""
    machine, clock = machine_with(tmp_path, *people(240, *range(0, 240, 2)))
    with SmtpServer(faults={"rcpt": at_the_bad(TOO_MUCH.replace("too much mail from", "rate limit for"))}) as server:
        run(machine, server)
        wait_for_the_pause(machine, clock)
        run(machine, server)
        assert len(taken(server)) == 120


@pytest.mark.requirement("R9", "S19")
@pytest.mark.parametrize(("said", "most"), [(PAUSE, 2), (TOO_MUCH, 1)])
def test_an_account_at_its_limit_behind_a_message_that_was_to_blame_costs_others_few_attempts(
    tmp_path: Path, said: str, most: int
) -> None:
    """Each that is met then may be one more of those: all but the first wait for a while, and nothing else is kept."""
    machine, clock = machine_with(tmp_path, *people(100, 0))

    def limit(line: bytes) -> str | None:
        return said if b"<bad" in line or len(server.accepted) >= 30 else None

    with SmtpServer(faults={"rcpt": limit}) as server:
        for _ in range(2):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert len(taken(server)) == 30
        tried = [message for message in machine.queue() if message.delivery.attempts]
        assert len(tried) <= most
        assert len(server.connections) <= 10
