"""Hold, release, retry, remove: never a message that is on the wire."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.faults import at_each_call, at_the_opening_of
from tests.support.spools import (
    ANN,
    JOE,
    MAX_DELAY_S,
    NOW,
    StillClock,
    claim,
    everything_in,
    new_spool,
    place_of,
    put,
    reported,
    settle,
)
from ucrmmail.errors import PermissionDeniedError
from ucrmmail.spool.layout import path_in_queue
from ucrmmail.spool.manage import BUSY, UNKNOWN, Change, hold, release, remove, retry
from ucrmmail.spool.moves import read_state
from ucrmmail.spool.queue import Spool


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return new_spool(tmp_path)


@pytest.fixture
def spool(directory: str) -> Spool:
    return Spool(directory, clock=StillClock())


def deferred(spool: Spool) -> str:
    queue_id = put(spool.directory, JOE, ANN)
    settle(spool, queue_id, "deferred", in_s=3600)
    spool.sync()
    return queue_id


def failed(spool: Spool) -> str:
    queue_id = put(spool.directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE])
    state = settle(spool, queue_id, "failed", only=[ANN])
    spool.update_state(queue_id, reported(state))
    spool.sync()
    return queue_id


def test_a_held_message_is_not_sent_until_it_is_released(spool: Spool) -> None:
    waiting, back = put(spool.directory), deferred(spool)
    assert list(hold(spool.directory, [waiting, back])) == [
        Change(waiting, "waiting", "held"),
        Change(back, "deferred", "held"),
    ]
    spool.promote_due(NOW + 7200, MAX_DELAY_S)
    assert list(spool.due()) == []
    assert list(hold(spool.directory, [waiting])) == [Change(waiting, "held", "held")]
    assert [change.after for change in release(spool.directory, [waiting, back])] == ["waiting", "waiting"]
    assert list(spool.due()) == sorted([waiting, back])
    state = claim(spool, back).state
    # What could not be tried meanwhile is not given up for that.
    assert (state.attempts, state.first_attempt_at) == (1, 0.0)


def test_a_retried_message_is_due_now(spool: Spool) -> None:
    queue_id = deferred(spool)
    assert list(retry(spool.directory, [queue_id])) == [Change(queue_id, "deferred", "waiting")]
    claimed = claim(spool, queue_id)
    assert claimed.pending == (JOE, ANN)
    assert (claimed.state.attempts, claimed.state.next_attempt_at) == (1, 0.0)


def test_a_retry_of_a_failed_message_begins_anew_with_those_who_failed(spool: Spool) -> None:
    queue_id = failed(spool)
    assert list(retry(spool.directory, [queue_id])) == [Change(queue_id, "failed", "waiting")]
    claimed = claim(spool, queue_id)
    assert claimed.pending == (ANN,)
    assert (claimed.state.attempts, claimed.state.first_attempt_at, claimed.state.reason) == (0, 0.0, "")
    assert not claimed.state.recipients[1].reported


def test_a_retry_whose_state_is_lost_begins_with_everyone(spool: Spool) -> None:
    queue_id = failed(spool)
    os.unlink(f"{spool.directory}/state/{queue_id}")
    list(retry(spool.directory, [queue_id]))
    assert claim(spool, queue_id).pending == (JOE, ANN)


def test_what_makes_no_sense_changes_nothing(spool: Spool) -> None:
    waiting, ended = put(spool.directory), failed(spool)
    assert list(retry(spool.directory, [waiting])) == [Change(waiting, "waiting", "waiting")]
    assert list(release(spool.directory, [waiting])) == [Change(waiting, "waiting", "waiting")]
    assert list(hold(spool.directory, [ended])) == [Change(ended, "failed", "failed")]


def test_removed_is_gone(spool: Spool) -> None:
    ids = [put(spool.directory), deferred(spool), failed(spool)]
    held = put(spool.directory)
    list(hold(spool.directory, [held]))
    assert [change.after for change in remove(spool.directory, [*ids, held])] == [""] * 4
    assert everything_in(spool.directory) == []


@pytest.mark.parametrize("command", [hold, release, retry, remove])
def test_a_message_on_the_wire_is_never_touched(spool: Spool, command: type) -> None:
    queue_id = put(spool.directory)
    claimed = claim(spool, queue_id)
    assert [change.trouble for change in command(spool.directory, [queue_id])] == [BUSY]
    assert os.path.exists(path_in_queue(spool.directory, queue_id))
    spool.release(claimed)
    assert [change.trouble for change in command(spool.directory, [queue_id])] == [""]


@pytest.mark.parametrize("command", [hold, release, retry, remove])
def test_what_is_not_there_is_told(directory: str, tmp_path: Path, command: type) -> None:
    unknown = "1-20261123T110559.123456-k3x9qa"
    assert [change.trouble for change in command(directory, [unknown])] == [UNKNOWN]
    assert [change.trouble for change in command(str(tmp_path / "none"), [unknown])] == [UNKNOWN]
    for name in ("", "../journal", "journal", "x" * 31, "1-20261123T110559.123456-k3x9qa/../../../journal"):
        assert [change.trouble for change in command(directory, [name])] == ["is not a queue id"]


@pytest.mark.requirement("S15")
def test_a_link_is_not_followed(directory: str, tmp_path: Path) -> None:
    queue_id = put(directory)
    path = Path(path_in_queue(directory, queue_id))
    path.rename(tmp_path / "secret")
    path.symlink_to(tmp_path / "secret")
    (change,) = remove(directory, [queue_id])
    assert "symbolic link" in change.trouble
    assert (tmp_path / "secret").exists()


def test_an_open_spool_is_not_changed(directory: str) -> None:
    os.chmod(directory, 0o755)
    with pytest.raises(PermissionDeniedError):
        list(remove(directory, ["x"]))


@pytest.mark.parametrize(("command", "place"), [(hold, "held"), (remove, ""), (retry, "queue")])
def test_a_message_that_comes_back_at_this_moment_is_found_again(spool: Spool, command: type, place: str) -> None:
    queue_id = deferred(spool)
    moved = False

    def flush_brings_it_back(_: int, name: str) -> None:
        nonlocal moved
        if not moved and name in ("rename", "unlink"):
            moved = True
            spool.promote_due(NOW + 3600, MAX_DELAY_S)

    with at_each_call(flush_brings_it_back, ("rename", "unlink")):
        (change,) = command(spool.directory, [queue_id])
    assert moved
    assert change.trouble == ""
    assert place_of(spool.directory, queue_id) == place


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("command", "place"), [(hold, "held"), (remove, ""), (retry, "queue")])
def test_a_message_that_goes_away_while_it_is_opened_is_found_where_it_is(
    spool: Spool, command: Callable[[str, list[str]], Iterator[Change]], place: str, moment: str
) -> None:
    """Before it is opened there is nothing to open; after that, the lock would be on a file that is elsewhere."""
    queue_id = put(spool.directory)
    path = path_in_queue(spool.directory, queue_id)

    def a_run_defers_it() -> None:
        os.makedirs(f"{spool.directory}/deferred/20261123T1200")
        os.rename(path, f"{spool.directory}/deferred/20261123T1200/{queue_id}")

    with at_the_opening_of(path, **{moment: a_run_defers_it}):
        (change,) = command(spool.directory, [queue_id])
    assert change.trouble == ""
    assert place_of(spool.directory, queue_id) == place


@pytest.mark.requirement("R3")
def test_changes_are_durable_before_they_are_told(directory: str) -> None:
    ids = [put(directory, now=NOW + number) for number in range(3)]
    called: list[str] = []
    with at_each_call(lambda _, name: called.append(name), ("rename", "fsync")):
        changes = hold(directory, ids)
        next(changes)
        assert called[:3] == ["rename"] * 3
        assert called.count("fsync") >= 2
        assert called[-1] == "fsync"


def test_a_great_many_are_changed(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ucrmmail.spool import manage

    monkeypatch.setattr(manage, "_TOGETHER", 3)
    ids = [put(directory, now=NOW + number) for number in range(8)]
    assert [change.queue_id for change in hold(directory, ids)] == ids
    assert read_state(directory, ids[0]) is None
    assert [place_of(directory, queue_id) for queue_id in ids] == ["held"] * 8
