"""Hold, release, retry, remove: never a message that is on the wire."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.faults import at_each_call, at_the_opening_of, cannot_be_opened, close_fails, dies_at
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
from ucrmmail.spool.closer import Closer
from ucrmmail.spool.layout import path_in_queue
from ucrmmail.spool.listing import STATES, messages, queue_ids
from ucrmmail.spool.manage import BUSY, UNKNOWN, Change, hold, release, remove, retry
from ucrmmail.spool.moves import Moves, read_state
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.unread import Unread


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
    spool.finish()
    os.unlink(f"{spool.directory}/state/{queue_id}")
    list(retry(spool.directory, [queue_id]))
    assert claim(Spool(spool.directory), queue_id).pending == (JOE, ANN)


def test_what_makes_no_sense_changes_nothing(spool: Spool) -> None:
    waiting, ended = put(spool.directory), failed(spool)
    assert list(retry(spool.directory, [waiting])) == [Change(waiting, "waiting", "waiting")]
    assert list(release(spool.directory, [waiting])) == [Change(waiting, "waiting", "waiting")]
    assert list(hold(spool.directory, [ended])) == [Change(ended, "failed", "failed")]


def unmoved(spool: Spool, result: str) -> str:
    """A message of which a flush has recorded that, and was killed before it could move it."""
    queue_id = put(spool.directory, JOE, ANN)
    settle(spool, queue_id, result, in_s=3600.0 if result == "deferred" else 0.0)
    # What the kernel does when the process dies.
    spool.abandon()
    assert place_of(spool.directory, queue_id) == "queue"
    return queue_id


CHANGES = [
    ("deferred", retry, "waiting"), ("deferred", hold, "held"), ("deferred", release, "deferred"),
    ("deferred", remove, ""), ("failed", retry, "waiting"), ("failed", hold, "failed"), ("failed", release, "failed"),
    ("failed", remove, ""),
]  # fmt: skip


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(("result", "command", "after"), CHANGES)
def test_what_a_killed_flush_has_recorded_is_what_is_changed(
    directory: str, result: str, command: Callable[..., Iterator[Change]], after: str, moved: bool
) -> None:
    killed = Spool(directory, clock=StillClock())
    queue_id = unmoved(killed, result)
    (listed,) = messages(directory)
    assert (listed.state, listed.attempts) == (result, 1)
    if moved:
        Moves(directory).write_state(queue_id, listed.delivery)
    assert list(queue_ids(directory, [result])) == [queue_id]
    assert list(queue_ids(directory, ["waiting"])) == []
    assert list(command(directory, [queue_id])) == [Change(queue_id, result, after)]
    assert [(each.state, each.attempts) for each in messages(directory)] == (
        [(after, 0 if (result, after) == ("failed", "waiting") else 1)] if after else []
    )
    again = Spool(directory, clock=StillClock())
    again.recover(NOW)
    again.finish()
    place = {"waiting": "queue"}.get(after, after)
    assert place_of(directory, queue_id) == place, "the next flush leaves it there"
    assert list(again.due()) == ([queue_id] if after == "waiting" else [])


@pytest.mark.parametrize("command", [hold, release, retry, remove])
def test_what_a_killed_flush_has_relayed_is_not_in_the_queue(
    directory: str, command: Callable[..., Iterator[Change]]
) -> None:
    queue_id = unmoved(Spool(directory, clock=StillClock()), "relayed")
    assert list(messages(directory)) == []
    assert list(queue_ids(directory, STATES)) == []
    assert list(command(directory, [queue_id])) == [Change(queue_id, trouble=UNKNOWN)]
    again = Spool(directory, clock=StillClock())
    again.recover(NOW)
    assert place_of(directory, queue_id) == ""


def test_a_held_message_takes_over_what_a_killed_flush_has_recorded(directory: str) -> None:
    killed = Spool(directory, clock=StillClock())
    queue_id = unmoved(killed, "deferred")
    # As a power cut may leave it: the person's move is on the disk, and the state is not.
    Moves(directory).to_held(path_in_queue(directory, queue_id), queue_id)
    assert list(release(directory, [queue_id])) == [Change(queue_id, "held", "waiting")]
    again = Spool(directory, clock=StillClock())
    again.recover(NOW)
    assert list(again.due()) == [queue_id]
    assert claim(again, queue_id).state.attempts == 1


def test_what_a_running_flush_has_settled_is_left_to_it(spool: Spool) -> None:
    queue_id = put(spool.directory)
    settle(spool, queue_id, "deferred", in_s=3600.0)
    assert list(retry(spool.directory, [queue_id])) == [Change(queue_id, trouble=BUSY)]


def test_removed_is_gone(spool: Spool) -> None:
    ids = [put(spool.directory), deferred(spool), failed(spool)]
    held = put(spool.directory)
    list(hold(spool.directory, [held]))
    assert [change.after for change in remove(spool.directory, [*ids, held])] == [""] * 4
    assert everything_in(spool.directory) == []


def test_removed_files_are_closed_together(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To free one waits for a disk to which others sync: a hundred thousand took minutes, one by one."""
    together: list[int] = []

    def close(_closer: Closer, fds: list[int]) -> None:
        together.append(len(fds))
        for fd in fds:
            os.close(fd)

    monkeypatch.setattr(Closer, "close", close)
    ids = [put(directory, JOE) for _ in range(5)]
    assert [change.after for change in remove(directory, ids)] == [""] * 5
    assert together == [5]


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
@pytest.mark.parametrize("place", ["held", "failed", "deferred", "state", "tmp"])
def test_a_place_that_somebody_removed_is_made_anew(directory: str, place: str) -> None:
    queue_id = put(directory)
    os.rmdir(f"{directory}/{place}")
    assert list(hold(directory, [queue_id])) == [Change(queue_id, before="waiting", after="held")]
    assert list(release(directory, [queue_id])) == [Change(queue_id, before="held", after="waiting")]


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("command", [hold, remove])
def test_what_is_missing_and_not_the_message_ends_the_command(directory: str, command: type) -> None:
    queue_id = put(directory)

    def is_missing(_number: int, _name: str) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "the place")

    with at_each_call(is_missing, ("rename", "unlink")), pytest.raises(FileNotFoundError, match="the place"):
        list(command(directory, [queue_id]))
    assert place_of(directory, queue_id) == "queue"


def removing(directory: str, queue_id: str) -> Callable[[Callable[[str], None]], None]:
    def work(_say: Callable[[str], None]) -> None:
        list(remove(directory, [queue_id]))

    return work


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("state", ["deferred", "failed"])
def test_a_removal_that_is_killed_leaves_the_message_or_nothing(tmp_path: Path, state: str) -> None:
    died, step, kept = True, 0, []
    while died:
        step += 1
        spool = Spool(new_spool(tmp_path / str(step)), clock=StillClock())
        queue_id = deferred(spool) if state == "deferred" else failed(spool)
        spool.finish()
        directory = spool.directory
        died, _ = dies_at(step, removing(directory, queue_id))
        Spool(directory, clock=StillClock()).recover(4e9)
        is_kept = bool(place_of(directory, queue_id))
        assert (read_state(directory, queue_id) is not None) == is_kept
        assert len(everything_in(directory)) == 2 * is_kept
        kept.append(is_kept)
    assert kept == sorted(kept, reverse=True), "once it is gone it does not come back"
    assert kept[0]
    assert not kept[-1]


@pytest.mark.requirement("R26")
def test_a_message_can_be_removed_from_a_full_disk(spool: Spool) -> None:
    queue_id = failed(spool)

    def full(_number: int, _name: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with at_each_call(full, ("rename",)):
        assert list(remove(spool.directory, [queue_id])) == [Change(queue_id, before="failed", after="")]
    assert everything_in(spool.directory) == []


@pytest.mark.requirement("R1", "R26")
@pytest.mark.parametrize("step", [1, 2, 3])
def test_who_dies_as_he_removes_from_a_full_disk_leaves_no_message_without_its_state(spool: Spool, step: int) -> None:
    queue_id = failed(spool)
    removed = 0

    def full_until_it_dies(_number: int, name: str) -> None:
        nonlocal removed
        removed += name == "unlink"
        if name == "rename":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if removed == step:
            raise ZeroDivisionError

    with at_each_call(full_until_it_dies, ("rename", "unlink")), pytest.raises(ZeroDivisionError):
        list(remove(spool.directory, [queue_id]))
    assert not place_of(spool.directory, queue_id) or read_state(spool.directory, queue_id) is not None


def test_a_link_is_not_followed(directory: str, tmp_path: Path) -> None:
    queue_id = put(directory)
    path = Path(path_in_queue(directory, queue_id))
    path.rename(tmp_path / "secret")
    path.symlink_to(tmp_path / "secret")
    (change,) = remove(directory, [queue_id])
    assert "symbolic link" in change.trouble
    assert change.unread
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


@pytest.mark.requirement("R3")
def test_a_state_that_a_person_changes_is_on_the_disk_before_the_one_it_replaces_goes(spool: Spool) -> None:
    queue_id = failed(spool)
    called: list[str] = []
    with at_each_call(lambda _, name: called.append(name), ("rename", "fsync")):
        list(retry(spool.directory, [queue_id]))
    assert called[:3] == ["fsync", "rename", "rename"]


def test_a_great_many_are_changed(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ucrmmail.spool import manage

    monkeypatch.setattr(manage, "_TOGETHER", 3)
    ids = [put(directory, now=NOW + number) for number in range(8)]
    assert [change.queue_id for change in hold(directory, ids)] == ids
    assert read_state(directory, ids[0]) is None
    assert [place_of(directory, queue_id) for queue_id in ids] == ["held"] * 8


@pytest.mark.requirement("R3")
def test_what_was_changed_before_an_error_is_durable_and_told(directory: str) -> None:
    ids = [put(directory, now=NOW + number) for number in range(3)]
    third = path_in_queue(directory, ids[2])
    called: list[str] = []
    with (
        at_each_call(lambda _, name: called.append(name), ("rename", "fsync")),
        cannot_be_opened(third, errno.EMFILE),
    ):
        changes = hold(directory, ids)
        assert [next(changes).queue_id, next(changes).queue_id] == ids[:2]
        assert called[-1] == "fsync"
        with pytest.raises(OSError, match="Too many open files"):
            next(changes)
    assert [place_of(directory, queue_id) for queue_id in ids] == ["held", "held", "queue"]


@pytest.mark.parametrize("command", [release, retry])
def test_a_bucket_that_a_flush_finds_empty_before_the_message_is_in_it_is_made_again(
    spool: Spool, command: type
) -> None:
    queue_id = put(spool.directory) if command is release else deferred(spool)
    if command is release:
        list(hold(spool.directory, [queue_id]))
    flush = Moves(spool.directory)
    removed = 0

    def a_flush_ends(_: int, _name: str) -> None:
        nonlocal removed
        if removed < 5:
            removed += 1
            flush.remove_empty()

    with at_each_call(a_flush_ends, ("rename",)):
        (change,) = command(spool.directory, [queue_id])
    assert removed == 5
    assert (change.trouble, place_of(spool.directory, queue_id)) == ("", "queue")


UNREAD = [errno.EIO, errno.EACCES, errno.EPERM]


@pytest.mark.requirement("R4", "S19")
@pytest.mark.parametrize("number", UNREAD, ids=errno.errorcode.get)
@pytest.mark.parametrize(("command", "done"), [(hold, "held"), (release, "waiting"), (retry, "waiting")])
def test_a_message_that_cannot_be_opened_stops_no_other(directory: str, command: type, done: str, number: int) -> None:
    ids = [put(directory, now=NOW + second) for second in range(3)]
    path = path_in_queue(directory, ids[1])
    with cannot_be_opened(path, number):
        changes = list(command(directory, ids))
    assert [change.after for change in changes] == [done, "", done]
    assert [change.unread for change in changes] == [False, True, False]
    expected = Unread.because_of(OSError(number, os.strerror(number), path), ids[1], "")
    assert changes[1].trouble == expected.trouble
    assert place_of(directory, ids[1]) == "queue"


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("number", UNREAD, ids=errno.errorcode.get)
def test_a_message_that_cannot_be_opened_can_be_removed(spool: Spool, number: int) -> None:
    queue_id = failed(spool)
    with cannot_be_opened(f"{spool.directory}/failed/{queue_id}", number):
        assert list(remove(spool.directory, [queue_id])) == [Change(queue_id, "failed", "")]
    assert everything_in(spool.directory) == []


def test_one_that_is_gone_when_it_cannot_be_opened_is_not_in_the_queue(directory: str) -> None:
    queue_id = put(directory)
    path = path_in_queue(directory, queue_id)
    with cannot_be_opened(path, errno.EIO, first=lambda: os.unlink(path)):
        assert list(remove(directory, [queue_id])) == [Change(queue_id, trouble=UNKNOWN)]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("command", [hold, release, retry, remove])
def test_one_that_is_relayed_while_it_is_opened_is_not_in_the_queue(directory: str, command: type, moment: str) -> None:
    queue_id = put(directory)
    path = path_in_queue(directory, queue_id)
    with at_the_opening_of(path, **{moment: lambda: os.unlink(path)}):
        assert list(command(directory, [queue_id])) == [Change(queue_id, trouble=UNKNOWN)]


@pytest.mark.parametrize("command", [hold, release, retry, remove])
def test_a_message_that_cannot_be_locked_is_left_alone(directory: str, command: type) -> None:
    """Somebody may be sending it: to remove what cannot be opened is another thing."""
    queue_id = put(directory)
    path = path_in_queue(directory, queue_id)

    def no_lock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    before = os.listdir("/proc/self/fd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", no_lock)
        (change,) = command(directory, [queue_id])
    assert change.unread
    assert f"{path}: {os.strerror(errno.ENOLCK)}" in change.trouble
    assert place_of(directory, queue_id) == "queue"
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("command", [hold, release, retry, remove])
def test_when_no_file_can_be_opened_at_all_the_command_ends(spool: Spool, command: type) -> None:
    queue_id = put(spool.directory)
    with (
        cannot_be_opened(path_in_queue(spool.directory, queue_id), errno.EMFILE),
        pytest.raises(OSError, match="Too many open files"),
    ):
        list(command(spool.directory, [queue_id]))
    queue_id = deferred(spool)
    with (
        cannot_be_opened(f"{spool.directory}/state/{queue_id}", errno.EMFILE),
        pytest.raises(OSError, match="Too many open files"),
    ):
        list(retry(spool.directory, [queue_id]))


@pytest.mark.parametrize(("command", "place"), [(release, "held"), (retry, "deferred")])
def test_what_must_be_known_of_it_and_cannot_be_read_keeps_it_where_it_is(
    spool: Spool, command: type, place: str
) -> None:
    other, queue_id = deferred(spool), deferred(spool)
    if place == "held":
        list(hold(spool.directory, [other, queue_id]))
    state = f"{spool.directory}/state/{queue_id}"
    with cannot_be_opened(state, errno.EIO):
        changes = list(command(spool.directory, [queue_id, other]))
    assert [change.after for change in changes] == ["", "waiting"]
    assert (changes[0].unread, changes[0].trouble.startswith(f"cannot be read: {state}: ")) == (True, True)
    assert place_of(spool.directory, queue_id) == place
    assert [change.trouble for change in command(spool.directory, [queue_id])] == [""]


def test_a_deferred_message_is_found_without_looking_through_all_others(spool: Spool) -> None:
    """A hundred thousand that are retried would else be looked for in each minute of deferred/, one by one."""
    ids = [put(spool.directory, now=NOW + number) for number in range(60)]
    for number, queue_id in enumerate(ids):
        settle(spool, queue_id, "deferred", in_s=60.0 * (number + 1))
    spool.sync()
    looked: list[str] = []
    with at_each_call(lambda _, name: looked.append(name), ("lstat", "listdir", "scandir")):
        changes = list(retry(spool.directory, ids))
    assert [change.after for change in changes] == ["waiting"] * 60
    assert len(looked) < 12 * len(ids)


def test_more_than_are_looked_for_at_a_time_are_changed(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ucrmmail.spool import manage

    monkeypatch.setattr(manage, "_LOOKED_FOR", 3)
    ids = [put(directory, now=NOW + number) for number in range(7)]
    named = [*ids[:4], "1-20261123T110559.123456-k3x9qa", "no id", *ids[4:]]
    changes = list(hold(directory, named))
    assert [change.queue_id for change in changes] == named
    assert [change.trouble for change in changes] == ["", "", "", "", UNKNOWN, "is not a queue id", "", "", ""]


@pytest.mark.requirement("R4")
def test_a_message_that_cannot_be_closed_is_named(directory: str) -> None:
    queue_id = put(directory, JOE)
    path = path_in_queue(directory, queue_id)
    held = f"{directory}/held/{queue_id}"
    with close_fails(held, errno.EIO), pytest.raises(OSError, match="Input/output error") as caught:
        list(hold(directory, [queue_id]))
    assert caught.value.filename == path
    assert place_of(directory, queue_id) == "held"
