"""Messages that stand together at the head of the queue, and end each run: those behind them are found in few runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.campaign.machine import Machine, MovedClock
from tests.support.flushes import at_the_bad, people, run, taken
from tests.support.smtp_server import DROP, Action, SmtpServer
from tests.support.spools import put
from ucrmmail.delivery.account import load_account

PAUSE = "421 4.7.0 try again later"


def machine_with(tmp_path: Path, *recipients: str) -> tuple[Machine, MovedClock]:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    for number, recipient in enumerate(recipients):
        put(machine.directory, recipient, now=clock.now() + number / 1000)
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
        for _ in range(3):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert not taken(server)
        put(machine.directory, "urgent@example.com", now=clock.now(), priority="urgent")
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
