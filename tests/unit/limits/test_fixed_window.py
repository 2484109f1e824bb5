"""The fixed window where it matters that a message takes time: whose window is it, ours or the server's next?

Each of these examples is one that a simpler rule gets wrong, by the server's clock.
"""

from __future__ import annotations

import pytest

from ucrmmail.limits.fixed import FixedWindow
from ucrmmail.limits.rules import Rules, Throttle
from ucrmmail.limits.tally import Tally, empty_tally

N, D = 3, 60.0


def tally_of(limit: int = N, duration_s: float = D) -> Tally:
    return empty_tally(Rules((Throttle(limit, duration_s),)))


def send(tally: Tally, at: float, until: float | None = None, *, certain: bool = True) -> None:
    """Reserve and settle a message, which takes no time unless ``until`` is given."""
    assert tally.opens(at, 1) == at
    tally.settle(tally.reserve(at, 1), until or at, 1, certain=certain)


def free_places(tally: Tally, now: float) -> int:
    """Return how many messages could leave at once now."""
    window = tally.windows[0]
    return window.rule.limit - window.used(now) - len(tally.pending)


def test_the_window_starts_when_the_first_message_is_settled() -> None:
    tally = tally_of()
    send(tally, 0.0, 20.0)
    send(tally, 21.0)
    send(tally, 22.0)
    assert tally.opens(60.0, 1) == 80.0, "the server may have accepted the first one at 20"


def test_while_its_first_message_is_on_its_way_a_window_cannot_be_over() -> None:
    tally = tally_of(limit=1)
    number = tally.reserve(0.0, 1)
    assert tally.opens(500.0, 1) == 560.0, "if it were settled right now"
    tally.settle(number, 500.0, 1, certain=True)
    assert tally.opens(500.0, 1) == 560.0


@pytest.mark.requirement("R22")
def test_a_refused_message_gives_its_place_back() -> None:
    tally = tally_of(limit=1)
    number = tally.reserve(0.0, 1)
    tally.give_back(number)
    assert tally.opens(0.0, 1) == 0.0


@pytest.mark.requirement("R22")
def test_a_window_that_only_a_refused_message_had_opened_is_closed_again() -> None:
    tally = tally_of()
    tally.give_back(tally.reserve(0.0, 1))
    send(tally, 50.0)
    send(tally, 50.0)
    send(tally, 50.0)
    assert tally.opens(60.0, 1) == 110.0


def test_a_long_body_that_ends_behind_the_window_counts_in_the_next_one() -> None:
    tally = tally_of()
    send(tally, 0.0)
    send(tally, 59.0, 359.0)
    assert free_places(tally, 359.0) == N - 1


def test_what_is_on_its_way_counts_in_every_window() -> None:
    tally = tally_of()
    send(tally, 0.0)
    tally.reserve(59.0, 1)
    assert free_places(tally, 61.0) == N - 1


def test_what_may_belong_to_the_servers_next_window_is_counted_in_both() -> None:
    tally = tally_of()
    send(tally, 0.0, 2.0)
    # The server's window is over at some time between 60 and 62.
    send(tally, 61.0)
    assert free_places(tally, 61.0) == N - 2
    assert free_places(tally, 62.0) == N - 1
    assert free_places(tally, 121.0) == N


def test_the_stretch_that_belongs_to_two_windows_is_carried_on_with_them() -> None:
    tally = tally_of(limit=3, duration_s=4.0)
    send(tally, 0.0, 1.0)
    send(tally, 4.0, 4.5)
    send(tally, 5.0)
    # Accepted at 4.0, the second one opened a window of the server that is over at 8.0: this one opens another.
    send(tally, 8.0, 8.25)
    assert free_places(tally, 9.0) == 2


def test_an_uncertain_message_counts_but_does_not_settle_when_the_window_starts() -> None:
    tally = tally_of()
    send(tally, 0.0, certain=False)
    send(tally, 10.0)
    send(tally, 10.0)
    assert tally.opens(60.0, 1) == 70.0, "if the first was never accepted, the server's window started at 10"


def test_any_number_of_uncertain_messages_does_not_settle_when_the_window_starts() -> None:
    tally = tally_of()
    send(tally, 0.0, certain=False)
    send(tally, 10.0, certain=False)
    send(tally, 20.0)
    assert tally.opens(60.0, 1) == 80.0


def test_a_straggler_of_the_last_window_does_not_settle_when_the_next_starts() -> None:
    tally = tally_of(limit=4)
    send(tally, 0.0)
    straggler = tally.reserve(50.0, 1)
    first = tally.reserve(60.0, 1)
    # The straggler may have been accepted at 59: then the next window starts with the message behind it.
    tally.settle(straggler, 61.0, 1, certain=True)
    tally.settle(first, 65.0, 1, certain=True)
    send(tally, 66.0)
    send(tally, 67.0)
    assert tally.opens(121.0, 1) == 125.0


def test_the_oldest_message_on_its_way_may_have_opened_the_window() -> None:
    tally = tally_of(limit=4, duration_s=10.0)
    oldest = tally.reserve(0.0, 1)
    send(tally, 5.0)
    # Accepted at 0, the oldest opened a window that is over at 10, and this one opens another.
    send(tally, 12.0)
    tally.settle(oldest, 12.0, 1, certain=True)
    assert free_places(tally, 15.0) == 2


def test_what_was_carried_leaves_by_itself_before_the_window_is_over() -> None:
    tally = tally_of(limit=2)
    send(tally, 0.0, 2.0)
    send(tally, 61.0)
    send(tally, 100.0)
    assert tally.opens(101.0, 1) == 121.0


def test_a_window_that_only_carries_is_over_when_that_has_left() -> None:
    tally = tally_of(limit=2)
    send(tally, 0.0, 2.0)
    send(tally, 61.0)
    window = tally.windows[0]
    assert isinstance(window, FixedWindow)
    assert window.resets_at(61.5) == 62.0
    assert window.resets_at(70.0) == 121.0
    assert window.resets_at(121.0) is None


@pytest.mark.requirement("R21")
def test_a_clock_set_back_never_waits_longer_than_one_window() -> None:
    tally = tally_of(limit=1)
    send(tally, 1000.0)
    tally.set_back(400.0)
    assert tally.opens(400.0, 1) == 460.0
    assert tally.opens(430.0, 1) == 460.0, "and it does not move with the clock"
