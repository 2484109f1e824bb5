"""The limits as they are shown, and the schedule of a dry run."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from tests.support.limits_oracle import longest_row, most_in_any_span, most_in_fixed_windows
from tests.unit.limits.test_adapt import sent, under
from ucrmmail.limits.adapt import adapted
from ucrmmail.limits.rules import Flood, Rules, Throttle
from ucrmmail.limits.tally import empty_tally
from ucrmmail.limits.view import FloodView, ThrottleView, schedule, view_limits


def test_an_unused_limit_has_nothing_to_reset() -> None:
    throttle = Throttle(3, 60.0)
    view = view_limits(empty_tally(Rules((throttle,), Flood(2, 30.0))), 100.0)
    assert view.throttles == (ThrottleView(throttle, 0, None),)
    assert view.flood == FloodView(2, 30.0, 0, None)


def test_a_window_shows_what_was_used_and_when_it_is_over() -> None:
    tally = sent(Rules((Throttle(3, 60.0),), Flood(2, 30.0)), 100.0, 110.0)
    view = view_limits(tally, 111.0)
    assert (view.throttles[0].used, view.throttles[0].resets_at) == (2, 160.0)
    assert view.flood == FloodView(2, 30.0, 2, 140.0)
    assert view_limits(tally, 160.0).throttles[0].used == 0
    assert view_limits(tally, 140.0).flood == FloodView(2, 30.0, 0, None)


def test_what_is_on_its_way_is_shown_as_used() -> None:
    tally = empty_tally(Rules((Throttle(3, 60.0), Throttle(9, 60.0, unit="recipients")), Flood(5, 30.0)))
    tally.reserve(100.0, 4)
    view = view_limits(tally, 101.0)
    assert [throttle.used for throttle in view.throttles] == [1, 4]
    assert view.flood is not None
    assert view.flood.count == 1


def test_no_limit_is_shown_as_more_than_used_up() -> None:
    """It was lowered: 3 of 2 messages would be read as a fault of the limit."""
    tally = adapted(sent(under(Throttle(3, 60.0)), 0.0, 1.0, 2.0), under(Throttle(2, 60.0)))
    assert view_limits(tally, 3.0).throttles[0].used == 2


def test_without_antiflood_none_is_shown() -> None:
    assert view_limits(empty_tally(under(Throttle(3, 60.0))), 0.0).flood is None


def test_a_schedule_says_when_each_message_could_leave() -> None:
    tally = sent(Rules((Throttle(3, 60.0),), Flood(2, 10.0)), 0.0)
    assert list(schedule(tally, 5.0, [1] * 6)) == [5.0, 15.0, 60.0, 60.0, 70.0, 120.0]


def test_a_schedule_changes_nothing() -> None:
    tally = sent(Rules((Throttle(3, 60.0, sliding=True),), Flood(2, 10.0)), 0.0)
    before = deepcopy(tally)
    list(schedule(tally, 5.0, [1] * 6))
    assert tally == before


def test_a_message_to_more_recipients_than_there_is_room_for_goes_in_parts() -> None:
    tally = empty_tally(under(Throttle(3, 60.0, unit="recipients")))
    assert list(schedule(tally, 0.0, [7, 1, 2, 1])) == [0.0, 120.0, 120.0, 180.0]


def test_without_limits_everything_leaves_at_once() -> None:
    assert list(schedule(empty_tally(Rules()), 7.0, [1, 500])) == [7.0, 7.0]


@given(
    st.lists(st.integers(1, 9), max_size=40),
    st.integers(1, 9),
    st.integers(1, 9),
    st.booleans(),
)
def test_a_schedule_keeps_every_limit(recipients: list[int], limit: int, threshold: int, sliding: bool) -> None:
    throttle = Throttle(limit, 60.0, sliding=sliding)
    times = list(schedule(empty_tally(Rules((throttle,), Flood(threshold, 25.0))), 0.0, recipients))
    events = [(at, 1) for at in times]
    assert times == sorted(times)
    most = most_in_any_span if sliding else most_in_fixed_windows
    assert most(events, 60.0) <= limit
    assert longest_row(events, 25.0) <= threshold
