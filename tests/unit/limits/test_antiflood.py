"""The row of AntiFlood."""

from __future__ import annotations

import pytest

from ucrmmail.limits.antiflood import Row
from ucrmmail.limits.rules import Flood, Rules
from ucrmmail.limits.tally import empty_tally


def row_of(threshold: int = 3, pause_s: float = 60.0, *, sent_at: tuple[float, ...] = ()) -> Row:
    row = Row(Flood(threshold, pause_s))
    for at in sent_at:
        row.reserved(at, 0)
        row.settled(at)
    return row


def test_idleness_of_exactly_one_pause_does_not_end_a_row_that_is_not_full() -> None:
    assert row_of(sent_at=(0.0, 60.0)).counted(60.0, 0) == 2


@pytest.mark.requirement("R20")
def test_idleness_of_more_than_one_pause_ends_it() -> None:
    assert row_of(sent_at=(0.0, 60.5)).counted(60.5, 0) == 1
    assert row_of(sent_at=(0.0, 1.0)).counted(61.5, 0) == 0


@pytest.mark.requirement("R20")
def test_a_full_row_ends_with_exactly_one_pause() -> None:
    row = row_of(sent_at=(0.0, 1.0, 2.0))
    assert row.opens(61.0, 0) == 62.0
    assert row.opens(62.0, 0) == 62.0
    assert row.paused_until(61.0) == 62.0
    assert row.paused_until(62.0) is None


def test_the_pause_begins_when_the_last_message_is_settled() -> None:
    tally = empty_tally(Rules(flood=Flood(2, 60.0)))
    for reserved, settled in ((0.0, 1.0), (2.0, 30.0)):
        tally.settle(tally.reserve(reserved, 1), settled, 1, certain=True)
    assert tally.opens(31.0, 1) == 90.0


def test_messages_on_their_way_count_and_no_pause_is_over_before_they_are_settled() -> None:
    tally = empty_tally(Rules(flood=Flood(2, 60.0)))
    first, second = tally.reserve(0.0, 1), tally.reserve(0.0, 1)
    assert tally.opens(500.0, 1) == 560.0
    tally.settle(first, 500.0, 1, certain=True)
    assert tally.opens(500.0, 1) == 560.0
    tally.give_back(second)
    assert tally.opens(500.0, 1) == 500.0, "refused: only one was sent"


def test_while_a_message_is_on_its_way_there_is_no_idleness() -> None:
    tally = empty_tally(Rules(flood=Flood(2, 60.0)))
    tally.settle(tally.reserve(0.0, 1), 0.0, 1, certain=True)
    tally.reserve(1.0, 1)
    assert tally.opens(62.0, 1) == 122.0, "the second may be accepted at 59, or only now"


def test_a_refused_message_does_not_lengthen_the_row() -> None:
    tally = empty_tally(Rules(flood=Flood(2, 60.0)))
    for _ in range(5):
        tally.give_back(tally.reserve(0.0, 1))
    tally.settle(tally.reserve(1.0, 1), 1.0, 1, certain=True)
    assert tally.opens(1.0, 1) == 1.0


@pytest.mark.requirement("R20", "R21")
def test_a_clock_set_back_never_waits_longer_than_one_pause() -> None:
    row = row_of(threshold=1, sent_at=(1000.0,))
    row.set_back(10.0)
    assert row.opens(10.0, 0) == 70.0
