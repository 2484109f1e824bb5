"""Whose turn it is, in a process that takes its messages from a line and in one that asks the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.campaign.machine import Machine
from tests.support.spools import put
from ucrmmail.dataclass import replace
from ucrmmail.delivery.suspicion import Suspicion
from ucrmmail.delivery.turns import Turns
from ucrmmail.spool.queue import Spool


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("is_dealt", [False, True], ids=["queue", "line"])
def test_next_to_the_first_that_shows_something_the_others_go_from_the_end_of_the_queue(
    tmp_path: Path, is_dealt: bool
) -> None:
    """From the line they came from its head again, where those stand that are refused alike."""
    machine = Machine(tmp_path)
    queue_ids = [
        put(machine.directory, f"user{number}@example.com", now=machine.clock.now() + number / 1000)
        for number in range(5)
    ]
    spool = Spool(machine.directory, clock=machine.clock)
    suspicion = Suspicion()
    suspicion.in_trouble, suspicion.passes_over = True, 15
    line = iter(queue_ids)
    due: Callable[[], Iterator[str]] | None = (lambda: line) if is_dealt else None
    turns = Turns(spool, suspicion, machine.clock, left_s=lambda: 60.0, due=due)
    went = []
    while turns.look(others_are_out=False) is not None:
        assert turns.holds_work
        claimed = turns.take()
        assert claimed is not None
        went.append(claimed.queue_id)
        suspicion.count_relayed("a@isp.example")
    assert went == queue_ids[::-1]
    assert not turns.holds_work


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("is_suspected", [False, True], ids=["nobody", "somebody"])
def test_where_no_message_is_suspected_one_connection_does_not_keep_a_queue_that_was_tried_from_the_others(
    tmp_path: Path, is_suspected: bool
) -> None:
    """Behind an outage, the first one looked for what was never tried: it took all there was, and sent it alone."""
    machine = Machine(tmp_path)
    queue_ids = [
        put(machine.directory, f"user{number}@example.com", now=machine.clock.now() + number / 1000)
        for number in range(700)
    ]
    spool = Spool(machine.directory, clock=machine.clock)
    for queue_id in queue_ids:
        claimed = spool.claim(queue_id)
        assert claimed is not None
        spool.update_state(queue_id, replace(claimed.state, attempts=1))
        spool.release(claimed)
    suspicion = Suspicion()
    suspicion.in_trouble = True
    if is_suspected:
        # What is like it may be all that stands here: another one is looked for as far back as the queue is.
        suspicion.suspects.add("1-of-another-queue")
    line = iter(queue_ids)
    turns = Turns(spool, suspicion, machine.clock, left_s=lambda: 60.0, due=lambda: line)
    claimed = turns.look(others_are_out=False)
    assert claimed is not None
    assert claimed.queue_id == queue_ids[0]
    assert len(list(line)) == (0 if is_suspected else 100)


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("is_dealt", [False, True], ids=["queue", "line"])
def test_mail_of_a_sender_who_is_suspected_no_more_does_not_wait_for_a_proof_that_cannot_come(
    tmp_path: Path, is_dealt: bool
) -> None:
    """A suspect that was settled leaves proof awaited: the run ended as if there were nothing to send."""
    machine = Machine(tmp_path)
    queue_ids = [
        put(machine.directory, reverse_path=sender, now=machine.clock.now() + number / 1000)
        for number, sender in enumerate(["a@isp.example", "b@far.example"])
    ]
    spool = Spool(machine.directory, clock=machine.clock)
    suspicion = Suspicion()
    line = iter(queue_ids)
    due: Callable[[], Iterator[str]] | None = (lambda: line) if is_dealt else None
    turns = Turns(spool, suspicion, machine.clock, left_s=lambda: 60.0, due=due)
    suspicion.suspect_sender("a@isp.example")
    other = turns.look(others_are_out=False)
    assert other is not None
    assert other.queue_id == queue_ids[1]
    turns.take()
    suspicion.count_relayed("b@far.example")
    assert not suspicion.is_suspected("a@isp.example")
    suspicion.postpone(["1-settled-meanwhile"])
    claimed = turns.look(others_are_out=False)
    assert claimed is not None
    assert claimed.queue_id == queue_ids[0]


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("is_dealt", [False, True], ids=["queue", "line"])
def test_a_suspect_has_its_turn_behind_two_that_were_to_blame_before(tmp_path: Path, is_dealt: bool) -> None:
    """Where those ended the run each time, a sender waited whose quota was long over."""
    machine = Machine(tmp_path)
    to_blame = [
        put(machine.directory, reverse_path="bad@isp.example", now=machine.clock.now() + number / 1000)
        for number in range(5)
    ]
    suspects = [
        put(machine.directory, reverse_path="over@isp.example", now=machine.clock.now() - 1.0 + number / 1000)
        for number in range(2)
    ]
    spool = Spool(machine.directory, clock=machine.clock)
    for queue_id in to_blame:
        claimed = spool.claim(queue_id)
        assert claimed is not None
        spool.update_state(queue_id, replace(claimed.state, attempts=1, blamed="421"))
        spool.release(claimed)
    suspicion = Suspicion()
    suspicion.suspects.update(suspects)
    suspicion.postpone(suspects)
    line = iter([*suspects, *to_blame])
    due: Callable[[], Iterator[str]] | None = (lambda: line) if is_dealt else None
    turns = Turns(spool, suspicion, machine.clock, left_s=lambda: 60.0, due=due)
    went = []
    while (claimed := turns.look(others_are_out=False)) is not None:
        turns.take()
        spool.leave_out(claimed)
        went.append("suspect" if claimed.queue_id in suspects else "to blame")
    assert went == [*["to blame"] * 2, "suspect", *["to blame"] * 3, "suspect"]


@pytest.mark.requirement("S19", "R9")
def test_where_nothing_but_suspects_is_there_another_one_is_asked_first_in_another_run(tmp_path: Path) -> None:
    """The head of the queue was asked each time, and what it was refused for was over for all but that one."""
    machine = Machine(tmp_path)
    suspects = [put(machine.directory, now=machine.clock.now() + number / 1000) for number in range(3)]
    asked = set()
    for _ in range(40):
        suspicion = Suspicion()
        suspicion.suspects.update(suspects)
        suspicion.postpone(suspects)
        turns = Turns(Spool(machine.directory, clock=machine.clock), suspicion, machine.clock, left_s=lambda: 60.0)
        claimed = turns.look(others_are_out=False)
        assert claimed is not None
        asked.add(claimed.queue_id)
        turns.put_back()
    assert asked == set(suspects)


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("is_dealt", [False, True], ids=["queue", "line"])
def test_where_all_senders_are_suspected_each_is_asked_and_for_a_message_that_is_no_suspect(
    tmp_path: Path, is_dealt: bool
) -> None:
    """A suspect is what was refused: to a recipient of whom it was said, it is again, and the rest waited for hours."""
    machine = Machine(tmp_path)
    queue_ids = [
        put(machine.directory, reverse_path=f"{name}@isp.example", now=machine.clock.now() + number / 1000)
        for number, name in enumerate("abaaab")
    ]
    suspects = [queue_ids[at] for at in (0, 1, 2, 3)]
    spool = Spool(machine.directory, clock=machine.clock)
    suspicion = Suspicion()
    suspicion.suspects.update(suspects)
    suspicion.postpone(suspects)
    for sender in ("b@isp.example", "a@isp.example"):
        suspicion.suspect_sender(sender)
    suspicion.gives_up_domains()
    line = iter(queue_ids)
    due: Callable[[], Iterator[str]] | None = (lambda: line) if is_dealt else None
    turns = Turns(spool, suspicion, machine.clock, left_s=lambda: 60.0, due=due)
    went = []
    for _ in range(2):
        claimed = turns.look(others_are_out=False)
        assert claimed is not None
        turns.take()
        spool.leave_out(claimed)
        went.append(claimed.queue_id)
    assert went == [queue_ids[5], queue_ids[4]]
    assert suspicion.had_turn == {"a@isp.example", "b@isp.example"}
