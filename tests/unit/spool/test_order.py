"""Urgent before normal before bulk, oldest first; with what arrives, or comes back, meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.faults import at_each_call, vanishes_when_listed
from tests.support.spools import MAX_DELAY_S, NOW, StillClock, claim, everything_in, new_spool, place_of, put, settle
from ucrmmail.spool import order
from ucrmmail.spool.layout import PRIORITIES
from ucrmmail.spool.queue import Spool


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def spool(tmp_path: Path, clock: StillClock) -> Spool:
    return Spool(new_spool(tmp_path), clock=clock)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(PRIORITIES), st.integers(0, 300)), max_size=25))
def test_urgent_first_then_oldest_first(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[tuple[str, int]]
) -> None:
    directory = new_spool(tmp_path_factory.mktemp("order"))
    ids = [put(directory, priority=priority, now=NOW + seconds) for priority, seconds in arrivals]
    expected = [
        queue_id
        for _, _, queue_id in sorted(
            (PRIORITIES.index(priority), seconds, queue_id)
            for (priority, seconds), queue_id in zip(arrivals, ids, strict=True)
        )
    ]
    assert list(Spool(directory).due()) == expected


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100])
def test_a_large_bucket_is_read_in_parts(spool: Spool, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(order, "_NAMES_AT_ONCE", at_once)
    ids = [put(spool.directory, now=NOW + number / 1000) for number in range(20)]
    assert list(spool.due()) == ids


def test_urgent_mail_that_arrives_meanwhile_goes_first_within_a_second(spool: Spool, clock: StillClock) -> None:
    bulk = [put(spool.directory, priority="bulk", now=NOW + number) for number in range(6)]
    due = spool.due()
    assert next(due) == bulk[0]
    urgent = put(spool.directory, priority="urgent")
    assert next(due) == bulk[1]
    clock.move(1.0)
    assert next(due) == urgent
    assert list(due) == bulk


def test_a_second_urgent_message_of_the_same_minute_is_seen_too(spool: Spool, clock: StillClock) -> None:
    first = put(spool.directory, priority="urgent")
    bulk = [put(spool.directory, priority="bulk", now=NOW + number) for number in range(4)]
    due = spool.due()
    assert [next(due), next(due)] == [first, bulk[0]]
    clock.move(1.0)
    second = put(spool.directory, priority="urgent", now=NOW + 1)
    # Time stamps of directories are not finer than a clock tick.
    os.utime(Path(spool.directory) / "queue" / second[:15], ns=(1, 1))
    assert next(due) == first
    assert next(due) == second


def test_what_arrives_at_the_end_is_still_found(spool: Spool) -> None:
    first = put(spool.directory)
    due = spool.due()
    assert next(due) == first
    later = put(spool.directory, now=NOW + 60)
    assert list(due) == [later]


def test_settled_messages_are_not_offered_again(spool: Spool) -> None:
    first, second = put(spool.directory), put(spool.directory, now=NOW + 1)
    settle(spool, first, "relayed")
    assert list(spool.due()) == [second]
    assert spool.count_waiting() == 1


def test_many_minutes_with_mail_are_gone_through_once_not_once_for_each(spool: Spool, clock: StillClock) -> None:
    ids = [put(spool.directory, now=NOW + 60 * minute) for minute in range(200)]
    looked: list[str] = []
    sent = []
    with at_each_call(lambda _, name: looked.append(name), ("lstat", "listdir")):
        for queue_id in spool.due():
            sent.append(queue_id)
            settle(spool, queue_id, "relayed")
            spool.sync()
            clock.move(0.01)
    assert sent == ids
    assert looked.count("lstat") < 20 * len(ids)
    assert looked.count("listdir") < 20


# --- what was deferred ------------------------------------------------------------------------------------------------


def deferred(spool: Spool, in_s: float) -> str:
    queue_id = put(spool.directory)
    settle(spool, queue_id, "deferred", in_s=in_s)
    spool.sync()
    return queue_id


@pytest.mark.parametrize("in_s", [0.001, 1.0, 30.0, 59.5, 60.0, 61.0, 3600.0])
def test_a_deferred_message_comes_back_at_its_time_and_not_before(spool: Spool, in_s: float) -> None:
    queue_id = deferred(spool, in_s)
    assert spool.next_due_at() == pytest.approx(NOW + in_s, abs=1e-3)
    assert spool.promote_due(NOW + in_s - 0.0009, MAX_DELAY_S) == 0
    assert list(spool.due()) == []
    assert spool.promote_due(NOW + in_s, MAX_DELAY_S) == 1
    assert list(spool.due()) == [queue_id]
    assert spool.next_due_at() == 0.0


def test_what_becomes_due_during_the_run_comes_back_in_it(spool: Spool, clock: StillClock) -> None:
    old = deferred(spool, 10)
    waiting = [put(spool.directory, now=NOW + number) for number in range(1, 4)]
    spool.promote_due(NOW, MAX_DELAY_S)
    due = spool.due()
    assert next(due) == waiting[0]
    clock.move(10)
    assert next(due) == old
    assert set(due) == set(waiting)


def test_what_becomes_due_at_the_end_is_still_sent(spool: Spool, clock: StillClock) -> None:
    old = deferred(spool, 10)
    waiting = put(spool.directory, now=NOW + 1)
    spool.promote_due(NOW, MAX_DELAY_S)
    due = spool.due()
    assert next(due) == waiting
    claim(spool, waiting).close()
    clock.at += 10
    assert old in list(due)


def no_room_for_a_directory(unless: Callable[[], bool] = lambda: False) -> Callable[[int, str], None]:
    def fail(_: int, _name: str) -> None:
        if not unless():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fail


@pytest.mark.requirement("R26")
def test_what_comes_back_on_a_full_disk_takes_the_room_that_is_held_for_it(spool: Spool, clock: StillClock) -> None:
    old, later = deferred(spool, 1), deferred(spool, 600)
    spool.recover(NOW)
    reserve = Path(spool.directory) / "reserve"
    assert reserve.stat().st_size
    Path(spool.directory, "queue", old[:15]).rmdir()
    # Room for what is in the directory, and for the directory itself.
    with at_each_call(no_room_for_a_directory(unless=lambda: not reserve.exists()), ("mkdir",)):
        assert spool.promote_due(NOW + 1, MAX_DELAY_S) == 1
        clock.move(600)
        assert set(spool.due()) == {old, later}
    assert spool.problems == []


@pytest.mark.requirement("R26", "S19")
def test_what_cannot_come_back_on_a_full_disk_is_told_once_and_does_not_stop_what_waits(
    spool: Spool, clock: StillClock
) -> None:
    old = [deferred(spool, delay) for delay in (1, 61, 600)]
    Path(spool.directory, "queue", old[0][:15]).rmdir()
    waiting = put(spool.directory, now=NOW + 60)
    with at_each_call(no_room_for_a_directory(), ("mkdir",)):
        assert spool.promote_due(NOW + 61, MAX_DELAY_S) == 0
        clock.move(600)
        assert list(spool.due()) == [waiting]
    (problem,) = spool.problems
    assert problem.endswith("deferred: not all that is due can come back into the queue: No space left on device")
    assert sorted(spool.due()) == sorted([*old, waiting])


def test_a_clock_set_back_does_not_keep_mail_for_years(spool: Spool) -> None:
    queue_id = deferred(spool, 3600)
    assert spool.promote_due(NOW - 10 * 365 * 86400, MAX_DELAY_S) == 1
    assert list(spool.due()) == [queue_id]


def test_a_clock_set_forward_brings_everything_back(spool: Spool) -> None:
    ids = [deferred(spool, delay) for delay in (60, 3600, 14400)]
    assert spool.promote_due(NOW + 10 * 365 * 86400, MAX_DELAY_S) == 3
    assert sorted(spool.due()) == sorted(ids)


def test_the_longest_delay_with_jitter_is_waited_for(spool: Spool) -> None:
    deferred(spool, MAX_DELAY_S * 1.2)
    assert spool.promote_due(NOW, MAX_DELAY_S) == 0


def test_a_great_many_come_back_a_part_at_a_time(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_BACK_AT_ONCE", 2)
    ids = sorted(deferred(spool, delay) for delay in (1, 2, 61, 62, 121))
    assert spool.promote_due(NOW + 300, MAX_DELAY_S) == 2
    assert len(list(spool.due())) == 2
    spool.promote_due(NOW + 300, MAX_DELAY_S)
    spool.promote_due(NOW + 300, MAX_DELAY_S)
    assert sorted(spool.due()) == ids


def test_the_time_of_a_full_minute_is_told_by_its_name(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        deferred(spool, 30)
    monkeypatch.setattr(order, "_BACK_AT_ONCE", 2)
    assert NOW - 30 <= spool.next_due_at() <= NOW + 30


def test_what_a_person_takes_away_at_this_moment_is_passed_over(spool: Spool) -> None:
    ids = [deferred(spool, 1), deferred(spool, 1)]

    def somebody_holds_it(_: int, _name: str) -> None:
        path = spool.find(ids[0])
        if path is not None and "/deferred/" in path:
            os.link(path, f"{spool.directory}/held/{ids[0]}")
            os.unlink(path)

    with at_each_call(somebody_holds_it, ("rename",)):
        spool.promote_due(NOW + 1, MAX_DELAY_S)
    assert list(spool.due()) == [ids[1]]
    assert (spool.corrupt, spool.problems) == ([], [])


def test_a_bucket_that_vanishes_at_this_moment_is_passed_over(spool: Spool) -> None:
    """Another worker sends the last message of a bucket and removes it, before it is looked at or before it is read."""
    bucket = Path(spool.directory) / "queue" / "0-20261123T1026"
    good = put(spool.directory)
    for function in ("lstat", "scandir"):
        bucket.mkdir()

        def a_worker_removes_it(_: int, _name: str) -> None:
            if bucket.exists():
                bucket.rmdir()

        with at_each_call(a_worker_removes_it, (function,)):
            assert list(spool.due()) == [good]
    assert (spool.corrupt, spool.problems) == ([], [])


def test_a_stray_message_that_vanishes_at_this_moment_is_nobodys(spool: Spool) -> None:
    queue = Path(spool.directory) / "queue"
    stray = queue / put(spool.directory)
    os.rename(queue / stray.name[:15] / stray.name, stray)
    (queue / stray.name[:15]).rmdir()

    def somebody_removes_it(_: int, _name: str) -> None:
        stray.unlink()

    with at_each_call(somebody_removes_it, ("lstat",)):
        assert list(spool.due()) == []
    assert (spool.corrupt, spool.problems) == ([], [])
    assert everything_in(spool.directory) == []


def test_a_foreign_file_that_vanishes_before_it_is_set_aside_is_nobodys(spool: Spool) -> None:
    stray = Path(spool.directory) / "queue" / "README"
    stray.write_text("not a message")

    def somebody_removes_it(_: int, _name: str) -> None:
        stray.unlink()

    with at_each_call(somebody_removes_it, ("rename",)):
        assert list(spool.due()) == []
    assert (spool.corrupt, spool.problems) == ([], [])


def test_of_a_full_minute_a_part_comes_back_at_a_time(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {deferred(spool, 1) for _ in range(3)}
    monkeypatch.setattr(order, "_BACK_AT_ONCE", 2)
    assert spool.promote_due(NOW + 300, MAX_DELAY_S) == 2
    assert spool.promote_due(NOW + 300, MAX_DELAY_S) == 1
    assert set(spool.due()) == ids


def test_a_minute_or_a_message_in_it_that_vanishes_is_not_waited_for(spool: Spool) -> None:
    later = deferred(spool, 120)
    gone = deferred(spool, 60)
    with vanishes_when_listed(gone):
        assert spool.next_due_at() == pytest.approx(NOW + 120, abs=1e-3)
    minute = Path(spool.directory) / "deferred" / "20261123T1107"
    assert list(minute.iterdir()) == []

    def a_worker_removes_it(_: int, _name: str) -> None:
        if minute.exists():
            minute.rmdir()

    with at_each_call(a_worker_removes_it, ("scandir",)):
        assert spool.next_due_at() == pytest.approx(NOW + 120, abs=1e-3)
    assert place_of(spool.directory, later) == "deferred"


# --- what does not belong there ------------------------------------------------------------------------------------------


def test_a_message_in_the_wrong_directory_goes_to_its_bucket(spool: Spool) -> None:
    queue_id = put(spool.directory)
    queue = Path(spool.directory) / "queue"
    for wrong in (queue / queue_id, queue / "0-20200101T0000" / queue_id):
        wrong.parent.mkdir(exist_ok=True)
        (queue / queue_id[:15] / queue_id).rename(wrong)
        assert list(spool.due()) in ([], [queue_id])
        assert list(spool.due()) == [queue_id]
        assert spool.corrupt == []


@pytest.mark.parametrize("parent", ["queue", "queue/1-20261123T1026", "deferred", "deferred/20200101T0000"])
@pytest.mark.parametrize("name", ["README", "evil\n.eml", "\x1b[31m", "..hidden", "x" * 255, "-rf"])
def test_a_foreign_name_is_set_aside_once_with_the_reason(spool: Spool, parent: str, name: str) -> None:
    path = Path(spool.directory) / parent / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("not a message")
    good = put(spool.directory, now=1_795_429_560.0)
    for _ in range(2):
        spool.promote_due(NOW, MAX_DELAY_S)
        assert set(spool.due()) == {good}
    assert len(spool.corrupt) == 1
    kept, reason = spool.corrupt[0]
    assert name.startswith(kept)
    assert (Path(spool.directory) / "corrupt" / kept).read_text() == "not a message"
    assert (Path(spool.directory) / "corrupt" / f"{kept}.reason").read_text() == f"{reason}\n"


def test_a_bucket_that_is_no_directory_is_set_aside(spool: Spool, tmp_path: Path) -> None:
    queue = Path(spool.directory) / "queue"
    (queue / "0-20261123T1026").write_text("")
    good = put(spool.directory)
    assert spool.count_waiting() == 1
    (queue / "0-20261123T1027").symlink_to(tmp_path)
    assert list(spool.due()) == [good]
    assert len(spool.corrupt) == 2
    assert tmp_path.is_dir()
    assert place_of(spool.directory, good) == "queue"
    assert [path for path in everything_in(spool.directory) if path.startswith("queue/0")] == []


def test_messages_are_counted_over_all_buckets_whatever_else_is_there(spool: Spool) -> None:
    for minute in range(3):
        for second in range(minute + 1):
            put(spool.directory, now=NOW + 60 * minute + second)
    for name in ("0-stray", "9-stray"):
        (Path(spool.directory) / "queue" / name).write_bytes(b"")
    assert spool.count_waiting() == 6


def test_a_message_that_vanishes_or_does_not_belong_hides_none_behind_it(spool: Spool) -> None:
    ids = [deferred(spool, 10 + number / 10) for number in range(4)]
    minute = next((Path(spool.directory) / "deferred").iterdir())
    (minute / "0-stray").write_bytes(b"")
    assert spool.promote_due(NOW + 3600, MAX_DELAY_S) == 4
    assert list(spool.due()) == sorted(ids)
    assert spool.corrupt


def test_what_is_beyond_any_delay_counts_as_now_and_what_is_just_within_does_not(spool: Spool) -> None:
    """A quarter longer, and two minutes."""
    within = deferred(spool, MAX_DELAY_S * 1.25 + 60)
    assert spool.promote_due(NOW, MAX_DELAY_S) == 0
    beyond = deferred(spool, MAX_DELAY_S * 1.25 + 240)
    assert spool.promote_due(NOW, MAX_DELAY_S) == 1
    assert list(spool.due()) == [beyond]
    assert within != beyond


def test_no_more_than_some_thousands_come_back_at_a_time(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_BACK_AT_ONCE", 3)
    ids = sorted(deferred(spool, 10 + 60 * (number % 2) + number / 100) for number in range(8))
    came: list[int] = []
    while back := spool.promote_due(NOW + 3600, MAX_DELAY_S):
        came.append(back)
    assert came == [3, 3, 2]
    assert list(spool.due()) == ids
