"""Whatever happens to the machine, the server never sees more than the limits allow, and mail goes on.

The oracle counts by brute force what the server accepted, by the server's own clock.
"""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.campaign.world import LONG
from tests.support.limits_oracle import (
    longest_row,
    most_in_any_span,
    most_in_fixed_windows,
    windows_can_be_drawn,
)
from tests.support.limits_world import Step, World, perform
from ucrmmail.limits.rules import Flood, Rules, Throttle, Unit

PROPERTY = settings(max_examples=250 if LONG else 100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Eighths of a second are exact in binary: a wait that ends right at the limit does so in the test too.
EIGHTHS = st.integers(0, 8 * 25).map(lambda eighths: eighths / 8)
SMALL = st.integers(1, 5)


def step(name: str, number: st.SearchStrategy[float] | None = None) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), number if number is not None else st.just(0.0), SMALL)


QUIET = [
    step("send"),
    step("send"),
    step("burst"),
    step("wait", EIGHTHS),
    step("wait", EIGHTHS),
    step("wait until open"),
    step("restart"),
]
SLOW = [
    step("reserve"),
    step("reserve"),
    step("accept"),
    step("accept"),
    step("settle"),
    step("settle"),
    step("no reply"),
]
CRASHES = [step("kill", EIGHTHS), step("power", EIGHTHS)]
LEAPS = [step("clock", st.sampled_from([0.125, 3.0, 20.0, 3600.0, 315_360_000.0]))]
SETBACKS = [step("clock", st.sampled_from([-0.125, -0.875, -2.0, -15.0, -3600.0, -315_360_000.0]))]


def steps(*kinds: list[st.SearchStrategy[Step]]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.one_of([strategy for kind in kinds for strategy in kind]), min_size=5, max_size=60)


def throttles(*, sliding: bool) -> st.SearchStrategy[Throttle]:
    units: list[Unit] = ["messages", "recipients"]
    return st.builds(
        Throttle,
        limit=st.integers(1, 6),
        duration_s=st.sampled_from([4.0, 10.0, 32.5]),
        sliding=st.just(sliding),
        unit=st.sampled_from(units),
    )


def rules(*, sliding: bool) -> st.SearchStrategy[Rules]:
    return st.lists(throttles(sliding=sliding), min_size=1, max_size=2).map(lambda both: Rules(tuple(both)))


FLOODS = st.builds(Flood, threshold=st.integers(1, 4), pause_s=st.sampled_from([2.0, 7.5, 30.0]))


def live(rules: Rules, happenings: list[Step]) -> World:
    """Return the world after all that has happened, when mail has been shown to go on."""
    with tempfile.TemporaryDirectory() as directory, World(f"{directory}/ledger", rules) as world:
        for happening in happenings:
            perform(world, happening)
        for work in list(world.in_flight):
            world.settle(work)
        world.wait_until_open(5)
        assert world.send(5), "mail must go on"
        world.wait(world.longest_wait_s + 1)
        assert world.send(5), "mail must go on when every limit is over"
        return world


@pytest.mark.requirement("R19", "R21")
@given(rules(sliding=False), steps(QUIET, SLOW, CRASHES, LEAPS))
@PROPERTY
def test_no_fixed_window_holds_more_than_the_limit_by_the_servers_clock(rules: Rules, happenings: list[Step]) -> None:
    world = live(rules, happenings)
    for throttle in rules.throttles:
        assert most_in_fixed_windows(world.events(throttle.unit), throttle.duration_s) <= throttle.limit


@pytest.mark.requirement("R21")
@given(rules(sliding=False), steps(QUIET, SLOW, CRASHES, SETBACKS))
@PROPERTY
def test_a_clock_set_back_makes_no_window_shorter_or_fuller(rules: Rules, happenings: list[Step]) -> None:
    world = live(rules, happenings)
    for throttle in rules.throttles:
        assert windows_can_be_drawn(world.events(throttle.unit), throttle.duration_s, throttle.limit)


@pytest.mark.requirement("R19", "R21")
@given(rules(sliding=True), steps(QUIET, SLOW, CRASHES, LEAPS, SETBACKS))
@PROPERTY
def test_no_span_holds_more_than_the_limit_of_a_sliding_window(rules: Rules, happenings: list[Step]) -> None:
    world = live(rules, happenings)
    for throttle in rules.throttles:
        assert most_in_any_span(world.events(throttle.unit), throttle.duration_s) <= throttle.limit


@pytest.mark.requirement("R20", "R21")
@given(FLOODS, steps(QUIET, SLOW, CRASHES, LEAPS, SETBACKS))
@PROPERTY
def test_no_pause_of_antiflood_is_shorter_than_it_should_be(flood: Flood, happenings: list[Step]) -> None:
    world = live(Rules(flood=flood), happenings)
    assert longest_row(world.events(), flood.pause_s) <= flood.threshold


@pytest.mark.requirement("R19", "R20")
@given(
    st.tuples(throttles(sliding=False), throttles(sliding=True), throttles(sliding=False)),
    FLOODS,
    steps(QUIET, SLOW, CRASHES, LEAPS),
)
@PROPERTY
def test_all_limits_hold_together(throttles: tuple[Throttle, ...], flood: Flood, happenings: list[Step]) -> None:
    world = live(Rules(throttles, flood), happenings)
    for throttle in throttles:
        most = most_in_any_span if throttle.sliding else most_in_fixed_windows
        assert most(world.events(throttle.unit), throttle.duration_s) <= throttle.limit
    assert longest_row(world.events(), flood.pause_s) <= flood.threshold


@pytest.mark.parametrize("sliding", [False, True])
@given(data=st.data())
@PROPERTY
def test_mail_that_takes_no_time_leaves_as_early_as_the_rule_allows(sliding: bool, data: st.DataObject) -> None:
    limits = data.draw(rules(sliding=sliding))
    happenings = data.draw(steps(QUIET))
    with tempfile.TemporaryDirectory() as directory, World(f"{directory}/ledger", limits) as world:
        for happening in happenings:
            if happening[0] != "send":
                perform(world, happening)
                continue
            recipients = min(happening[2], limits.largest_transaction or happening[2])
            before, now = list(world.accepted), world.server_now
            sent = world.send(recipients)
            world.accepted = [*before, (now, recipients)]
            most = most_in_any_span if sliding else most_in_fixed_windows
            allowed = all(most(world.events(rule.unit), rule.duration_s) <= rule.limit for rule in limits.throttles)
            assert sent == allowed
            if not sent:
                world.accepted = before
