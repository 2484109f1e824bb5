"""What holds the account back between two runs, and what a session shows to be over."""

from __future__ import annotations

import pytest

from ucrmmail.delivery.account import AccountState
from ucrmmail.doctor.account import judge_account, judge_limits, with_hindsight
from ucrmmail.doctor.check import Check, Verdict
from ucrmmail.limits.rules import Flood, Rules, Throttle
from ucrmmail.limits.tally import empty_tally
from ucrmmail.limits.view import FloodView, LimitsView, ThrottleView, view_limits

NOW = 1795431959.0
THROTTLE = Throttle(10, 3600.0)


def test_without_limits_nothing_is_held_back() -> None:
    assert judge_limits(view_limits(empty_tally(Rules()), NOW), 5, NOW).detail == "none is set"


@pytest.mark.parametrize(
    ("used", "waiting", "verdict"),
    [(9, 5, Verdict.OK), (10, 0, Verdict.OK), (10, 5, Verdict.WARN), (11, 1, Verdict.WARN)],
)
def test_a_limit_matters_when_it_is_used_up_and_mail_waits(used: int, waiting: int, verdict: Verdict) -> None:
    limits = LimitsView((ThrottleView(THROTTLE, used, NOW + 60),), None)
    assert judge_limits(limits, waiting, NOW).verdict is verdict


def test_the_latest_of_all_limits_is_told() -> None:
    limits = LimitsView((ThrottleView(THROTTLE, 10, NOW + 60),), FloodView(3, 60.0, 3, NOW + 120))
    found = judge_limits(limits, 1, NOW)
    assert found.detail == (
        "10 of 10 messages in 1h, 3 of 3 in a row: used up until 2026-11-23T11:07:59.000Z, and 1 wait for it"
    )
    over = LimitsView((), FloodView(3, 60.0, 3, NOW - 1))
    assert judge_limits(over, 1, NOW).verdict is Verdict.OK
    assert judge_limits(view_limits(empty_tally(Rules(flood=Flood(3, 60.0))), NOW), 1, NOW).verdict is Verdict.OK


def account(exit_code: int) -> Check:
    return judge_account(AccountState(failures=1, what="went wrong", exit_code=exit_code), NOW + 60, NOW)


@pytest.mark.parametrize(
    ("exit_code", "login", "verdict"),
    [
        (77, Verdict.OK, Verdict.WARN), (69, Verdict.OK, Verdict.WARN), (77, Verdict.FAIL, Verdict.FAIL),
        # A session says nothing about a quota.
        (75, Verdict.OK, Verdict.FAIL), (77, Verdict.SKIPPED, Verdict.FAIL),
    ],
)  # fmt: skip
def test_only_a_session_that_works_makes_light_of_the_last_run(
    exit_code: int, login: Verdict, verdict: Verdict
) -> None:
    checks = (Check("connection", Verdict.OK, ""), Check("login", login, ""), account(exit_code))
    assert with_hindsight(checks)[-1].verdict is verdict


def test_a_pause_that_is_over_is_told_as_such() -> None:
    state = AccountState(failures=1, what="went wrong", exit_code=69)
    assert judge_account(state, NOW, NOW).detail == "went wrong; the next run tries again"
    assert judge_account(AccountState(), NOW, NOW).verdict is Verdict.OK
