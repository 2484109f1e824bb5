"""When a deferred message comes back, and when it is given up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.delivery.schedule import Retry, next_attempt

RETRY = Retry()
FIRST = 1_800_000_000.0
DAY = 86_400.0
SEEDS = st.text(min_size=1, max_size=40)
RETRIES = st.builds(
    Retry,
    first_delay_s=st.floats(1, 3600),
    max_delay_s=st.floats(3600, 86_400),
    give_up_after_s=st.floats(0, 30 * DAY),
)


def attempts_of(seed: str, retry: Retry = RETRY, *, down_for_s: float = 0.0) -> Iterator[float]:
    """Yield the times at which a message is tried that every attempt defers."""
    now: float | None = FIRST + down_for_s
    for attempts in itertools.count(1):
        assert now is not None
        yield now
        now = next_attempt(attempts, first_at=FIRST, now=now, retry=retry, seed=seed)
        if now is None:
            return


def delays_of(seed: str, retry: Retry = RETRY) -> list[float]:
    times = list(attempts_of(seed, retry))
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.mark.requirement("R9")
def test_the_first_delay_is_five_minutes_and_at_most_a_quarter_more() -> None:
    for seed in map(str, range(100)):
        assert 300 <= delays_of(seed)[0] <= 375


@pytest.mark.requirement("R9")
def test_delays_double_until_the_greatest_one() -> None:
    delays = delays_of("1-20261123T110559.123456-k3x9qa")
    for step, nominal in enumerate([300, 600, 1200, 2400, 4800, 9600]):
        assert nominal <= delays[step] <= nominal * 1.25
    assert all(4 * 3600 / 1.25 <= delay <= 4 * 3600 for delay in delays[6:-1])


def test_messages_deferred_together_come_back_apart() -> None:
    firsts = {round(delays_of(str(seed))[0]) for seed in range(200)}
    at_the_bound = {round(delays_of(str(seed))[8]) for seed in range(200)}
    assert len(firsts) > 50
    assert len(at_the_bound) > 100


@given(SEEDS, RETRIES, st.integers(1, 2000), st.floats(0, 40 * DAY))
def test_the_same_message_gets_the_same_answer(seed: str, retry: Retry, attempts: int, age: float) -> None:
    first, second = (next_attempt(attempts, first_at=FIRST, now=FIRST + age, retry=retry, seed=seed) for _ in range(2))
    assert first == second


@given(SEEDS, RETRIES, st.integers(1, 100_000), st.floats(-400 * DAY, 400 * DAY))
def test_no_delay_is_longer_than_the_greatest_nor_shorter_than_the_first(
    seed: str, retry: Retry, attempts: int, age: float
) -> None:
    now = FIRST + age
    again = next_attempt(attempts, first_at=FIRST, now=now, retry=retry, seed=seed)
    if again is not None:
        assert retry.first_delay_s - 1e-6 <= again - now <= retry.max_delay_s + 1e-6


@pytest.mark.requirement("R8")
def test_a_message_is_tried_for_five_days_and_last_when_they_are_over() -> None:
    for seed in map(str, range(20)):
        *_, last = attempts_of(seed)
        assert 5 * DAY <= last - FIRST <= 5 * DAY + 375


def test_a_deadline_that_is_near_does_not_bring_a_message_back_at_once() -> None:
    now = FIRST + 5 * DAY - 1
    again = next_attempt(30, first_at=FIRST, now=now, retry=RETRY, seed="x")
    assert again is not None
    assert again - now == 300


@pytest.mark.requirement("R21")
def test_a_machine_that_was_off_for_a_week_tries_once_more_before_it_gives_up() -> None:
    assert list(attempts_of("x", down_for_s=7 * DAY)) == [FIRST + 7 * DAY]


@pytest.mark.requirement("R21")
def test_a_clock_that_leapt_ten_years_expires_a_message_only_after_an_attempt_behind_the_leap() -> None:
    before = next_attempt(3, first_at=FIRST, now=FIRST + 3600, retry=RETRY, seed="x")
    assert before is not None, "the attempt before the leap gives up nothing"
    assert next_attempt(4, first_at=FIRST, now=FIRST + 3650 * DAY, retry=RETRY, seed="x") is None


@pytest.mark.requirement("R21")
@pytest.mark.parametrize("step", [-3600.0, -DAY, -3650 * DAY])
def test_a_clock_set_back_neither_expires_a_message_nor_keeps_it_for_ever(step: float) -> None:
    now: float | None = FIRST + step
    start = FIRST + step
    for attempts in range(1, 1000):
        assert now is not None
        last = now
        now = next_attempt(attempts, first_at=FIRST, now=now, retry=RETRY, seed="x")
        if now is None:
            break
    assert now is None
    assert 4 * DAY <= last - start <= 5 * DAY + 2 * DAY


def test_giving_up_after_nothing_means_one_attempt() -> None:
    assert list(attempts_of("x", Retry(give_up_after_s=0.0))) == [FIRST]


def test_equal_first_and_greatest_delay_are_kept_exactly() -> None:
    assert delays_of("x", Retry(first_delay_s=60, max_delay_s=60, give_up_after_s=600)) == [60.0] * 10
