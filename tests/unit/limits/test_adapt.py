"""A configuration that changed between two runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.dataclass import replace
from ucrmmail.limits.adapt import adapted
from ucrmmail.limits.rules import Flood, Rules, Throttle, Unit
from ucrmmail.limits.tally import Tally, empty_tally

DAY = 86_400.0
UNITS: tuple[Unit, ...] = ("messages", "recipients")


def sent(rules: Rules, *times: float, recipients: int = 1) -> Tally:
    """Return the tally after messages were sent at these times."""
    tally = empty_tally(rules)
    for at in times:
        tally.settle(tally.reserve(at, recipients), at, recipients, certain=True)
    return tally


def under(*throttles: Throttle) -> Rules:
    return Rules(throttles)


def test_a_tally_under_the_same_rules_is_the_same() -> None:
    tally = sent(under(Throttle(5, DAY)), 0.0)
    assert adapted(tally, under(Throttle(5, DAY))) is tally


def test_a_changed_limit_goes_on_in_the_same_window() -> None:
    tally = sent(under(Throttle(2, DAY)), 0.0, 10.0)
    assert adapted(tally, under(Throttle(3, DAY))).opens(20.0, 1) == 20.0
    assert adapted(tally, under(Throttle(1, DAY))).opens(20.0, 1) == DAY


def test_a_changed_duration_goes_on_from_the_same_start() -> None:
    tally = sent(under(Throttle(2, DAY)), 0.0, 10.0)
    assert adapted(tally, under(Throttle(2, 3600.0))).opens(20.0, 1) == 3600.0


def test_from_fixed_to_sliding_all_counts_from_the_last_message() -> None:
    tally = sent(under(Throttle(2, 60.0)), 0.0, 30.0)
    assert adapted(tally, under(Throttle(2, 60.0, sliding=True))).opens(40.0, 1) == 90.0


def test_from_sliding_to_fixed_all_counts_until_the_last_message_has_left() -> None:
    tally = sent(under(Throttle(3, 60.0, sliding=True)), 0.0, 30.0)
    fixed = adapted(tally, under(Throttle(3, 60.0)))
    assert fixed.opens(40.0, 1) == 40.0
    assert fixed.opens(40.0, 1) < adapted(tally, under(Throttle(2, 60.0))).opens(40.0, 1) == 90.0


@pytest.mark.parametrize("sliding", [True, False])
def test_another_unit_finds_what_was_sent_in_it(sliding: bool) -> None:
    """What is not known would have to be counted: three messages of a hundred had become 103 of 100 recipients."""
    in_messages = under(Throttle(10, 60.0, sliding=sliding))
    in_recipients = under(Throttle(10, 60.0, sliding=sliding, unit="recipients"))
    tally = sent(in_messages, 0.0, 1.0, recipients=4)
    recipients = adapted(tally, in_recipients)
    assert recipients.windows[0].used(2.0) == 8
    assert recipients.opens(2.0, 2) == 2.0
    assert recipients.opens(2.0, 3) == 60.0
    recipients.settle(recipients.reserve(2.0, 2), 2.0, 2, certain=True)
    messages = adapted(recipients, in_messages)
    assert messages.windows[0].used(3.0) == 3
    assert adapted(messages, in_recipients).windows[0].used(3.0) == 10


def test_another_unit_and_another_kind_of_window_find_what_was_sent_in_it() -> None:
    tally = sent(under(Throttle(10, 60.0)), 0.0, 1.0, recipients=4)
    assert adapted(tally, under(Throttle(10, 60.0, sliding=True, unit="recipients"))).windows[0].used(2.0) == 8


@given(st.lists(st.tuples(st.floats(0.0, 90.0), st.integers(1, 5)), max_size=12), st.booleans())
def test_a_window_counts_the_same_whichever_unit_it_was_in(messages: list[tuple[float, int]], sliding: bool) -> None:
    tallies = [empty_tally(under(Throttle(99, 60.0, sliding=sliding, unit=unit))) for unit in UNITS]
    now = 0.0
    for gap, recipients in messages:
        now += gap
        for tally in tallies:
            tally.settle(tally.reserve(now, recipients), now, recipients, certain=True)
    in_messages, in_recipients = tallies
    assert in_messages.twins == in_recipients.windows
    assert in_recipients.twins == in_messages.windows


def of_an_older_version(tally: Tally) -> Tally:
    return replace(tally, twins=[])


def test_from_recipients_to_messages_the_count_of_an_older_version_stays() -> None:
    tally = of_an_older_version(sent(under(Throttle(10, 60.0, unit="recipients")), 0.0, recipients=4))
    messages = adapted(tally, under(Throttle(5, 60.0)))
    assert messages.windows[0].used(1.0) == 4


@pytest.mark.parametrize("sliding", [True, False])
def test_from_messages_to_recipients_the_window_of_an_older_version_is_full_until_it_is_over(sliding: bool) -> None:
    tally = of_an_older_version(sent(under(Throttle(10, 60.0, sliding=sliding)), 0.0))
    recipients = adapted(tally, under(Throttle(10, 60.0, sliding=sliding, unit="recipients")))
    assert recipients.opens(1.0, 1) == 60.0
    assert recipients.opens(60.0, 10) == 60.0
    assert adapted(recipients, tally.rules).windows[0].used(1.0) == 1


def test_the_window_of_an_older_version_stays_full_under_a_higher_limit() -> None:
    known = adapted(of_an_older_version(sent(under(Throttle(10, 60.0)), 0.0)), under(Throttle(10, 60.0)))
    assert known.opens(1.0, 9) == 1.0
    assert adapted(known, under(Throttle(10_000, 60.0, unit="recipients"))).opens(1.0, 1) == 60.0


def test_from_messages_to_recipients_an_unused_window_stays_unused() -> None:
    tally = empty_tally(under(Throttle(10, 60.0)))
    assert adapted(tally, under(Throttle(10, 60.0, unit="recipients"))).opens(1.0, 10) == 1.0


def test_a_throttle_keeps_its_window_when_another_is_put_before_it() -> None:
    tally = sent(under(Throttle(1, 60.0)), 0.0)
    both = adapted(tally, under(Throttle(500, DAY), Throttle(1, 60.0)))
    assert [window.used(1.0) for window in both.windows] == [1, 1]
    assert both.windows[1].opens(1.0, 1, 0) == 60.0


def test_a_throttle_keeps_its_window_when_the_one_before_it_is_removed() -> None:
    tally = sent(under(Throttle(500, DAY), Throttle(2, 60.0)), 0.0, 1.0)
    assert adapted(tally, under(Throttle(2, 60.0))).opens(2.0, 1) == 60.0


def test_two_throttles_of_the_same_duration_keep_their_order() -> None:
    tally = sent(under(Throttle(9, 60.0, unit="recipients"), Throttle(5, 60.0)), 0.0, recipients=3)
    again = adapted(tally, under(Throttle(8, 60.0, unit="recipients"), Throttle(4, 60.0)))
    assert [window.used(1.0) for window in again.windows] == [3, 1]


def test_a_new_throttle_that_is_shorter_takes_all_for_just_sent() -> None:
    """When in the day they were sent, nobody knows."""
    tally = sent(under(Throttle(500, DAY)), *range(100))
    assert adapted(tally, under(Throttle(500, DAY), Throttle(1, 60.0))).opens(100.0, 1) == 159.0
    assert adapted(tally, under(Throttle(500, DAY), Throttle(101, 60.0))).opens(100.0, 1) == 100.0


def test_antiflood_keeps_its_row_when_its_figures_change() -> None:
    tally = sent(Rules(flood=Flood(5, 60.0)), 0.0, 1.0, 2.0)
    assert adapted(tally, Rules(flood=Flood(3, 60.0))).opens(3.0, 1) == 62.0
    assert adapted(tally, Rules(flood=Flood(3, 90.0))).opens(3.0, 1) == 92.0
    assert adapted(tally, Rules()).opens(3.0, 1) == 3.0
    assert adapted(adapted(tally, Rules()), Rules(flood=Flood(1, 60.0))).opens(3.0, 1) == 3.0


def test_the_old_tally_is_not_changed() -> None:
    tally = sent(under(Throttle(2, 60.0, sliding=True)), 0.0)
    other = adapted(tally, under(Throttle(2, 90.0, sliding=True)))
    other.settle(other.reserve(1.0, 1), 1.0, 1, certain=True)
    assert tally.windows[0].used(1.0) == 1


@pytest.mark.parametrize("sliding", [True, False])
def test_a_throttle_that_is_added_counts_what_was_sent_before(sliding: bool) -> None:
    """It is added because the provider counts so: with ten of its twelve used, twelve more went at once."""
    tally = sent(under(Throttle(100, DAY, sliding=sliding)), *range(10))
    day = Throttle(100, DAY, sliding=sliding)
    assert adapted(tally, under(day, Throttle(11, 3600.0, sliding=sliding))).opens(20.0, 1) == 20.0
    assert adapted(tally, under(day, Throttle(10, 3600.0, sliding=sliding))).opens(20.0, 1) == 3600.0
    assert adapted(tally, under(day, Throttle(10, 5.0, sliding=sliding))).opens(20.0, 1) == 20.0


def test_a_throttle_of_recipients_that_is_added_counts_those_of_the_messages_sent_before() -> None:
    tally = sent(under(Throttle(100, DAY)), *range(10), recipients=2)
    both = under(Throttle(100, DAY), Throttle(22, 3600.0, unit="recipients"))
    assert adapted(tally, both).opens(20.0, 2) == 20.0
    assert adapted(tally, both).opens(20.0, 3) == 3600.0


def test_the_first_throttle_of_all_begins_with_nothing() -> None:
    tally = sent(Rules(flood=Flood(5, 60.0)), 0.0, 1.0)
    assert adapted(tally, under(Throttle(1, DAY))).opens(2.0, 1) == 2.0


def test_a_new_throttle_begins_with_nothing_where_nothing_counts_any_more() -> None:
    tally = sent(Rules((Throttle(9, 50.0),), Flood(5, 5.0)), 0.0)
    later = replace(tally, latest=100.0)
    assert adapted(later, under(Throttle(9, 50.0), Throttle(1, 20.0))).opens(100.0, 1) == 100.0
