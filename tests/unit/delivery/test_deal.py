"""Ids go to whoever is free, in the queue's order, each to one; notes come back whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from ucrmmail.delivery.deal import Deal, Dealer


@pytest.fixture
def deal() -> Iterator[Deal]:
    made = Deal()
    yield made
    made.leave()


def once(queued: Iterable[str]) -> Callable[[], Iterator[str]]:
    """A queue that has these ids, and later none."""
    left = iter(queued)
    return lambda: left


def ids(count: int, priority: int = 1) -> list[str]:
    return [f"{priority}-20261124T0500{number // 1000:02d}.{number:06d}-aaaaaa" for number in range(count)]


def test_every_id_arrives_once_and_in_order_however_many_there_are(deal: Deal) -> None:
    dealt: dict[str, None] = {}
    queued = ids(500)
    dealer = Dealer(deal, once(queued), dealt)
    got: list[str] = []
    taken = deal.ids()
    while not deal.closed:
        dealer.hand_out()
        if len(got) < len(queued):
            assert not deal.closed, "what comes before the last one is taken may pass it"
            got.append(next(taken))
    assert list(taken) == []
    assert got == queued
    assert list(dealt) == queued


def test_what_is_dealt_and_still_in_the_queue_is_not_dealt_again(deal: Deal) -> None:
    first, second, third = ids(3)
    queue = [first, second]
    dealt: dict[str, None] = {}
    dealer = Dealer(deal, lambda: iter(queue), dealt)
    dealer.look_again()
    queue.append(third)
    del dealt[first]
    dealer.hand_out()
    assert dealer.waits_for_the_last
    assert sorted(deal.take_back()) == [first, first, second, third]
    dealer.hand_out()
    assert deal.closed


def test_what_the_queue_names_again_before_its_end_is_dealt_once(deal: Deal) -> None:
    """It goes through a bucket anew that has changed meanwhile."""
    first, second, third = ids(3)
    dealer = Dealer(deal, once([first, second, first, second, third, third]), {})
    dealer.hand_out()
    assert deal.take_back() == [first, second, third]


def test_only_a_moments_work_is_on_the_line(deal: Deal) -> None:
    queued = ids(500)
    Dealer(deal, once(queued), {}).hand_out()
    on_the_line = deal.take_back()
    assert on_the_line == queued[: len(on_the_line)]
    assert 4 <= len(on_the_line) <= 64


def test_urgent_mail_passes_what_no_worker_has_taken_yet(deal: Deal) -> None:
    bulk, (urgent,) = ids(200, priority=2), ids(1, priority=0)
    queue = [*bulk[:64], urgent, *bulk[64:]]
    dealer = Dealer(deal, once(queue), {})
    dealer.hand_out()
    dealer.look_again()
    dealer.hand_out()
    taken = deal.ids()
    assert next(taken) == urgent
    assert next(taken) == bulk[0]


def test_urgent_mail_passes_all_of_a_short_queue_that_no_worker_has_taken_yet(deal: Deal) -> None:
    bulk, (urgent,) = ids(5, priority=2), ids(1, priority=0)
    queue = list(bulk)
    dealer = Dealer(deal, lambda: iter(queue), {})
    dealer.hand_out()
    taken = deal.ids()
    assert next(taken) == bulk[0]
    queue.append(urgent)
    dealer.look_again()
    dealer.hand_out()
    assert [next(taken) for _ in range(5)] == [urgent, *bulk[1:]]
    dealer.hand_out()
    assert deal.closed


def test_the_queue_is_not_listed_again_and_again_while_the_last_ids_wait_for_busy_workers(deal: Deal) -> None:
    listed: list[int] = []

    def due() -> Iterator[str]:
        listed.append(1)
        return iter(ids(5) if len(listed) == 1 else ())

    dealer = Dealer(deal, due, {})
    for _ in range(100):
        dealer.hand_out()
    assert len(listed) <= 2
    assert not deal.closed


def test_two_workers_never_get_the_same_id(deal: Deal) -> None:
    queued = ids(20)
    dealer = Dealer(deal, once(queued), {})
    dealer.hand_out()
    one, other = deal.ids(), deal.ids()
    got = [next(taken) for _ in range(10) for taken in (one, other)]
    assert got == queued
    dealer.hand_out()
    assert (list(one), list(other)) == ([], []), "the line was closed behind the last id"
