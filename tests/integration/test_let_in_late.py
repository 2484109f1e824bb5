"""A run whose time is over before anything can be sent: a person is told that mail waits, and why."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.campaign.machine import Machine, MovedClock
from tests.support.flushes import mail
from tests.support.smtp_server import SmtpServer, Wait
from ucrmmail.delivery.account import load_account
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.report import RunReport

SLOW = Wait(1.0)


def run_of(machine: Machine, server: SmtpServer, *, time_limit_s: float, connections: int = 1) -> RunReport:
    options = Options(wait=False, keep_messages=True, connections=connections, time_limit_s=time_limit_s)
    return machine.flush(machine.to(server), options=options)


@pytest.mark.requirement("R9", "R18")
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("place", ["greeting", "ehlo"])
def test_a_run_whose_time_went_into_the_opening_says_so_and_makes_no_pause(
    tmp_path: Path, place: str, connections: int
) -> None:
    """It ended with 0, run after run, and no mail went."""
    machine = Machine(tmp_path)
    mail(machine, "joe@example.com")
    mail(machine, "ann@example.com")
    with SmtpServer(faults={place: SLOW}) as server:
        for told in (False, True):
            report = run_of(machine, server, time_limit_s=0.6, connections=connections)
            assert (report.exit_code, report.reason, report.relayed, report.held_back) == (75, "account", 0, 2)
            assert report.trouble is not None
            assert "let this run in when no time was left" in report.trouble.what
            assert re.match(r"it took [0-9]+\.[0-9] s: ", report.trouble.why)
            assert re.match(r"let `flush` have a --time-limit well above [1-9]s; ", report.trouble.remedy)
            # Cron mails what each run prints.
            assert report.told is told
        assert load_account(f"{machine.directory}/account.json", owner=os.geteuid()).not_before == 0.0
        report = run_of(machine, server, time_limit_s=5.0, connections=connections)
        assert (report.exit_code, report.relayed, report.trouble) == (0, 2, None)
    assert not load_account(f"{machine.directory}/account.json", owner=os.geteuid()).deferred


@pytest.mark.requirement("R9")
def test_of_several_connections_one_that_is_let_in_late_is_no_trouble(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for number in range(80):
        mail(machine, f"user{number}@example.com")
    slow = {1}
    with SmtpServer(
        faults={
            "greeting": lambda _line: Wait(1.5) if len(server.connections) - 1 in slow else None,
            "final-dot": lambda _line: Wait(0.02),
        }
    ) as server:
        report = run_of(machine, server, time_limit_s=0.8, connections=3)
    assert (report.exit_code, report.trouble) == (0, None)
    assert report.relayed


@pytest.mark.requirement("R18")
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("reason", ["time limit", "stopped"])
def test_a_run_that_has_no_time_to_look_who_is_to_blame_says_that_mail_waits(
    tmp_path: Path, reason: str, connections: int
) -> None:
    """It ended as if the queue was empty: of a suspected sender nothing goes before others, and nobody looked on."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    for number in range(3):
        mail(machine, f"user{number}@example.com")
    with SmtpServer(faults={"final-dot": lambda _line: "530 5.7.0 Authentication required"}) as server:
        assert run_of(machine, server, time_limit_s=5.0).reason == "account"
        clock.offset += 3600.0
        if reason == "stopped":
            machine.stop.request(signal.SIGTERM)
        report = run_of(machine, server, time_limit_s=1e-9, connections=connections)
    assert (report.reason, report.held_back, report.exit_code) == (reason, 3, 0)


def test_a_run_whose_time_is_over_when_all_has_gone_does_not_say_so(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with SmtpServer() as server:
        report = run_of(machine, server, time_limit_s=1e-9)
    assert (report.reason, report.held_back, report.exit_code) == ("", 0, 0)
