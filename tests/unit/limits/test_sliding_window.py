"""The sliding window: exact, and cheap however long its memory is."""

from __future__ import annotations

import pytest

from ucrmmail.limits.rules import Throttle
from ucrmmail.limits.sliding import SlidingWindow

D = 86_400.0


def settle(window: SlidingWindow, at: float, units: int = 1) -> None:
    window.reserved(at, 1)
    window.settled(at, units)


def test_each_message_leaves_the_window_one_duration_after_its_own_settlement() -> None:
    window = SlidingWindow(Throttle(3, 60.0, sliding=True))
    for at in (0.0, 10.0, 59.0):
        settle(window, at)
    assert window.opens(59.5, 1, 0) == 60.0
    settle(window, 60.0)
    assert window.opens(60.0, 1, 0) == 70.0
    assert window.opens(60.0, 2, 0) == 119.0
    assert window.opens(120.0, 3, 0) == 120.0


def test_more_units_than_fit_beside_those_on_their_way_wait_at_least_one_duration() -> None:
    window = SlidingWindow(Throttle(3, 60.0, sliding=True))
    assert window.opens(5.0, 2, 2) == 65.0


@pytest.mark.requirement("R21")
def test_what_lies_in_the_future_counts_as_now() -> None:
    window = SlidingWindow(Throttle(3, 60.0, sliding=True))
    for at in (0.0, 150.0, 200.0):
        settle(window, at)
    window.set_back(250.0)
    assert window.opens(201.0, 2, 0) == 210.0, "nothing lay in the future"
    window.set_back(50.0)
    assert window.used(50.0) == 3 - 1, "the first had left the window when the clock was right"
    assert window.opens(50.0, 2, 0) == 110.0


def test_the_oldest_that_counts_is_the_next_to_leave() -> None:
    window = SlidingWindow(Throttle(3, 60.0, sliding=True))
    assert window.resets_at(0.0) is None
    settle(window, 0.0)
    settle(window, 30.0)
    assert window.resets_at(30.0) == 60.0
    assert window.resets_at(60.0) == 90.0
    assert window.used(60.0) == 1
    assert window.resets_at(90.0) is None


def test_every_message_of_a_limit_up_to_a_hundred_thousand_is_remembered_by_itself() -> None:
    window = SlidingWindow(Throttle(100_000, D, sliding=True))
    for number in range(1000):
        settle(window, number / 1000)
    assert len(window.entries) == 1000


@pytest.mark.parametrize("gap_s", [0.0001, 0.3, 0.5])
def test_the_memory_of_a_huge_limit_is_bounded_and_it_never_lets_more_through(gap_s: float) -> None:
    window = SlidingWindow(Throttle(1_000_000, D, sliding=True))
    times = [number * gap_s for number in range(20_000)]
    for at in times:
        settle(window, at)
    grain_s = D / 100_000
    assert len(window.entries) <= times[-1] / grain_s * 2 + 2
    assert window.used(times[-1]) == len(times)
    for at in (D + 1.0, D + times[-1] / 2):
        exact = sum(time + D > at for time in times)
        assert exact <= window.used(at) <= exact + 2 * grain_s / gap_s + 2
