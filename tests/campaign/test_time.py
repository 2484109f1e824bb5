"""Clocks that step, leap and stop, while cron starts a flush every minute: no limit is exceeded, nothing is stuck or lost.

Time is a number here, and so is every sleep; spool, ledger, server and the bytes between them are real. True time is
what the server sees. The machine's clock shows something else once it was stepped, and its monotonic clock stands
while the machine is suspended (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.campaign.machine import DAY_S, Machine, number_in
from tests.campaign.world import LONG, dice
from tests.support.limits_oracle import windows_can_be_drawn
from tests.support.smtp_server import SmtpServer
from tests.support.spools import NOW
from ucrmmail.clock import Clock
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.report import RunReport
from ucrmmail.limits.rules import rules_from

pytestmark = pytest.mark.timeout(7200)

HOUR_S = 3600.0
YEAR_S = 365 * DAY_S
LIMIT = 5
WINDOW_S = 300.0
STEPS = [-DAY_S, -HOUR_S, -1.0, 1.0, HOUR_S, DAY_S, 10 * YEAR_S]


class Time(Clock):
    """True time, and what the machine makes of it. ``plan`` holds what happens at which true time."""

    def __init__(self) -> None:
        self.true = NOW
        self.offset = 0.0
        self.suspended = 0.0
        self.gained = 0.0
        self.plan: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.true + self.offset

    def monotonic(self) -> float:
        return self.true - self.suspended

    def pass_by(self, seconds: float) -> None:
        """Let time pass, with all that is planned for it."""
        until = self.true + seconds
        while self.plan and self.plan[0][0] <= until:
            at, happens = self.plan.pop(0)
            self.true = max(self.true, at)
            happens()
        self.true = max(self.true, until)

    def step(self, seconds: float) -> None:
        self.offset += seconds
        self.gained += max(seconds, 0.0)

    def suspend(self, seconds: float) -> None:
        self.true += seconds
        self.suspended += seconds


class Office:
    """A machine whose time is ours, and when the server accepted each message in true time."""

    def __init__(self, home: Path, **rules: object) -> None:
        self.time = Time()
        self.machine = Machine(home, clock=self.time, rules=rules_from(**rules))  # type: ignore[arg-type]
        self.machine.stop.sleeping = self.time.pass_by
        self.accepted: list[float] = []
        # The same, and what the clock had gained by its steps forward: all the time that the machine may believe has passed.
        self.believed: list[float] = []
        self.server = SmtpServer(faults={"final-dot": self._accept})

    def _accept(self, _message: bytes) -> None:
        self.accepted.append(self.time.true)
        self.believed.append(self.time.true + self.time.gained)

    def flush(self, time_limit_s: float = 50.0, *, wait: bool = True) -> RunReport:
        return self.machine.flush(
            self.machine.to(self.server), options=Options(time_limit_s=time_limit_s, wait=wait, keep_messages=True)
        )

    def sent(self) -> Counter[int]:
        return Counter(number_in(message.content) for message in self.server.accepted)


def fullest(times: list[float], span_s: float) -> int:
    """The most of these that lie within one such span."""
    return max((bisect_right(times, at + span_s) - n for n, at in enumerate(times)), default=0)


@pytest.fixture(params=["UTC", "Europe/Berlin"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The time zone of the process; in the second one the hour changes in what follows."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def trouble_ahead(clock: Time, random: Random, hours: int) -> None:
    """Plan steps and suspensions."""
    for _ in range(4):
        at = NOW + random.uniform(0, hours * HOUR_S)
        if random.random() < 0.3:
            away = random.choice([30.0, 2 * HOUR_S])
            clock.plan.append((at, lambda away=away: clock.suspend(away)))  # type: ignore[misc]
        else:
            step = random.choice(STEPS)
            clock.plan.append((at, lambda step=step: clock.step(step)))  # type: ignore[misc]
    clock.plan.sort(key=lambda planned: planned[0])


@pytest.mark.requirement("R21")
@pytest.mark.parametrize("window", ["sliding", "fixed"])
@pytest.mark.parametrize("number", range(100 if LONG else 4))
def test_no_play_of_the_clock_exceeds_a_limit_or_holds_mail_for_ever(tmp_path: Path, number: int, window: str) -> None:
    random = dice(f"time {number} {window}")
    office = Office(tmp_path, message_limit=LIMIT, duration_s=WINDOW_S, window=window)
    hours = 2
    trouble_ahead(office.time, random, hours)
    queued: list[int] = []
    with office.server:
        while office.time.true < NOW + hours * HOUR_S:
            if random.random() < 0.3 and len(queued) < 80:
                queued += office.machine.put(random.randint(1, 6))
            begun = office.time.monotonic()
            office.flush()
            assert office.time.monotonic() - begun <= 50.0 + 5.0 + 2.0, "longer than its time limit and the grace"
            office.time.pass_by(60.0 - (office.time.true % 60.0))
        # What a step held back waits for one window from when it was noticed, and everything else for its turn.
        turns = len(queued) / LIMIT + len(STEPS)
        while office.machine.queue() and turns > 0:
            office.flush()
            office.time.pass_by(WINDOW_S)
            turns -= 1
        office.server.wait_until_idle()
    assert office.machine.queue() == [], "stuck"
    assert office.sent() == Counter(queued), "each once"
    # A step forward may end the window that it falls into, and nothing else may: a step back gives nothing.
    if window == "sliding":
        assert fullest(office.believed, WINDOW_S - 0.1) <= LIMIT
    else:
        assert windows_can_be_drawn([(at, 1) for at in office.believed], WINDOW_S - 0.1, LIMIT)


def test_a_window_that_ends_while_the_run_sleeps_is_used_by_the_same_run(tmp_path: Path) -> None:
    office = Office(tmp_path, message_limit=LIMIT, duration_s=40.0)
    office.machine.put(LIMIT + 2)
    with office.server:
        report = office.flush()
    assert (report.relayed, report.reason) == (LIMIT + 2, "")
    assert 39.0 <= office.accepted[LIMIT] - office.accepted[LIMIT - 1] <= 42.0


@pytest.mark.requirement("R21")
@pytest.mark.parametrize("step", [HOUR_S, -HOUR_S, 0.5, -0.5])
def test_a_clock_that_is_stepped_while_the_run_sleeps_opens_at_most_one_window(tmp_path: Path, step: float) -> None:
    office = Office(tmp_path, message_limit=LIMIT, duration_s=40.0)
    queued = office.machine.put(3 * LIMIT)
    office.time.plan = [(NOW + 10.0, lambda: office.time.step(step))]
    with office.server:
        for _ in range(4):
            begun = office.time.monotonic()
            office.flush()
            assert office.time.monotonic() - begun <= 57.0
            office.time.pass_by(60.0)
        office.server.wait_until_idle()
    assert office.sent() == Counter(queued)
    assert fullest(office.accepted, 39.0) <= (2 if step > 0 else 1) * LIMIT


@pytest.mark.requirement("S4")
def test_a_deadline_in_the_middle_of_a_pause_ends_the_run_before_the_pause(tmp_path: Path) -> None:
    office = Office(tmp_path, message_limit=LIMIT, duration_s=40.0)
    office.machine.put(2 * LIMIT)
    with office.server:
        report = office.flush(20.0)
        assert (report.relayed, report.held_back, report.reason) == (LIMIT, LIMIT, "throttler")
        assert office.time.true == NOW, "it would sleep for nothing"
        assert NOW + 39.0 <= report.next_at <= NOW + 41.0
        office.time.pass_by(41.0)
        assert office.flush(20.0).relayed == LIMIT


@pytest.mark.requirement("R20", "R21")
def test_a_machine_suspended_in_a_pause_sends_what_is_due_and_no_more(tmp_path: Path) -> None:
    office = Office(tmp_path, activation_threshold=3, pause_s=30.0)
    queued = office.machine.put(9)
    office.time.plan = [(NOW + 15.0, lambda: office.time.suspend(8 * HOUR_S))]
    with office.server:
        for _ in range(4):
            office.flush()
            office.time.pass_by(60.0)
        office.server.wait_until_idle()
    assert office.sent() == Counter(queued)
    gaps = [later - earlier for earlier, later in zip(office.accepted, office.accepted[1:], strict=False)]
    assert sum(gap >= 29.9 for gap in gaps) == 2, gaps


@pytest.mark.requirement("R21")
@pytest.mark.parametrize("step", [10 * YEAR_S, -DAY_S])
def test_no_message_expires_by_a_step_of_the_clock_without_a_real_attempt(tmp_path: Path, step: float) -> None:
    office = Office(tmp_path)
    queued = office.machine.put(3)
    with office.server:
        office.server.faults["rcpt"] = "451 4.3.0 later"
        assert office.flush().deferred == 3
        office.time.step(step)
        del office.server.faults["rcpt"]
        office.time.pass_by(HOUR_S)
        report = office.flush()
        office.server.wait_until_idle()
    assert (report.relayed, report.failed) == (3, 0)
    assert office.sent() == Counter(queued)


@pytest.mark.requirement("R21")
def test_the_hour_that_summer_time_takes_or_doubles_changes_nothing(tmp_path: Path, zone: str) -> None:
    # 2026-10-25, 01:00 UTC: in Berlin it becomes 2 o'clock once more.
    office = Office(tmp_path, message_limit=1, duration_s=HOUR_S)
    office.time.true = 1_792_890_000.0 - 2 * HOUR_S
    queued = office.machine.put(5)
    with office.server:
        for _ in range(5 * 60):
            office.flush(wait=False)
            office.time.pass_by(60.0)
        office.server.wait_until_idle()
    assert office.sent() == Counter(queued), zone
    gaps = [later - earlier for earlier, later in zip(office.accepted, office.accepted[1:], strict=False)]
    assert all(HOUR_S <= gap <= HOUR_S + 61.0 for gap in gaps), gaps
