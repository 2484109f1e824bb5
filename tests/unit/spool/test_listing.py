"""What people see of the queue, while a flush may be at work."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import at_each_call, cannot_be_looked_at, cannot_be_opened
from tests.support.spools import (
    ANN,
    JOE,
    MAX_DELAY_S,
    MESSAGE,
    NOW,
    StillClock,
    everything_in,
    new_spool,
    put,
    reported,
    settle,
)
from tests.unit.spool.test_queue import hostile
from ucrmmail.errors import PermissionDeniedError
from ucrmmail.spool import manage
from ucrmmail.spool.layout import path_in_queue
from ucrmmail.spool.listing import Counts, QueuedMessage, counts, due, is_doubtful, message, messages, queue_ids
from ucrmmail.spool.moves import find_all
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.unread import Unread


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return new_spool(tmp_path)


def seen(directory: str) -> list[tuple[str, str]]:
    return [(each.queue_id, each.state) for each in messages(directory)]


def only(directory: str) -> QueuedMessage:
    (found,) = messages(directory)
    return found


def one_of_each(directory: str) -> dict[str, str]:
    ids = {state: put(directory, now=NOW + n) for n, state in enumerate(["waiting", "deferred", "held", "failed"])}
    spool = Spool(directory, clock=StillClock())
    settle(spool, ids["deferred"], "deferred", in_s=300)
    settle(spool, ids["failed"], "failed")
    spool.finish()
    list(manage.hold(directory, [ids["held"]]))
    return ids


def test_each_state_has_its_name(directory: str) -> None:
    ids = one_of_each(directory)
    assert seen(directory) == [(queue_id, state) for state, queue_id in ids.items()]
    for state, queue_id in ids.items():
        assert [each.queue_id for each in messages(directory, states=[state])] == [queue_id]
        assert list(queue_ids(directory, [state])) == [queue_id]
        found = message(directory, queue_id)
        assert found is not None
        assert found.state == state


def test_all_of_a_message_is_shown(directory: str) -> None:
    queue_id = put(directory, JOE, ANN, priority="bulk", reverse_path="")
    found = only(directory)
    assert (found.queue_id, found.state, found.priority) == (queue_id, "waiting", "bulk")
    assert (found.reverse_path, found.recipients) == ("", (JOE, ANN))
    assert (found.message_id, found.size_bytes) == ("<1@isp.example>", len(MESSAGE))
    assert (found.accepted_at, found.next_attempt_at, found.reason) == (NOW, 0.0, "")
    assert found.beginning == MESSAGE
    assert found.path == path_in_queue(directory, queue_id)


@pytest.mark.parametrize("recipients", [1, 400])
@pytest.mark.parametrize("header_bytes", [10, 3900, 4096, 9000])
def test_a_list_reads_to_the_end_of_the_header(directory: str, header_bytes: int, recipients: int) -> None:
    """A page of the file is read at first; an envelope or a header that is longer is read too, the body is not."""
    padding = b"X-Padding: " + b"x" * header_bytes + b"\r\n"
    content = padding + MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + b"line\r\n" * 100_000
    to = [f"user{number}@example.com" for number in range(recipients)]
    queue_id = put(directory, *to, message=content)
    found = only(directory)
    assert found.message_id == "<1@isp.example>"
    assert found.recipients == tuple(to)
    assert found.size_bytes == len(content)
    assert content.startswith(found.beginning)
    assert len(found.beginning) < 1 << 18
    whole = message(directory, queue_id)
    assert whole is not None
    assert len(whole.beginning) > 200_000


def test_why_and_until_when_it_is_deferred(directory: str) -> None:
    queue_id = put(directory)
    spool = Spool(directory)
    settle(spool, queue_id, "deferred", in_s=300)
    spool.finish()
    found = only(directory)
    assert (found.reason, found.next_attempt_at) == ("said deferred", NOW + 300)
    assert found.delivery.attempts == 1


@pytest.mark.requirement("R8")
def test_why_it_failed(directory: str) -> None:
    queue_id = put(directory)
    spool = Spool(directory)
    state = settle(spool, queue_id, "failed")
    spool.update_state(queue_id, reported(state))
    spool.finish()
    found = only(directory)
    assert (found.state, found.reason, found.next_attempt_at) == ("failed", "said failed", 0.0)


def test_what_is_settled_and_not_moved_yet_is_shown_as_it_will_be(directory: str) -> None:
    spool = Spool(directory, clock=StillClock())
    ids = [put(directory, now=NOW + number) for number in range(5)]
    for queue_id, result in zip(ids, ["relayed", "deferred", "failed"], strict=False):
        settle(spool, queue_id, result, in_s=300 if result == "deferred" else 0)
    settle(spool, ids[3], "")
    expected = [(ids[1], "deferred"), (ids[2], "failed"), (ids[3], "waiting"), (ids[4], "waiting")]
    assert sorted(seen(directory)) == expected
    assert [each.queue_id for each in messages(directory, states=["failed"])] == [ids[2]]
    assert message(directory, ids[0]) is None
    found = message(directory, ids[1])
    assert found is not None
    assert (found.state, found.next_attempt_at) == ("deferred", NOW + 300)
    for _ in range(2):
        counted = counts(directory)
        assert (counted.waiting, counted.deferred, counted.failed) == (2, 1, 1)
        assert sorted(seen(directory)) == expected
        spool.finish()
        spool = Spool(directory)


def test_what_a_person_has_retried_since_its_record_waits_again(directory: str) -> None:
    spool = Spool(directory, clock=StillClock())
    queue_id = put(directory)
    settle(spool, queue_id, "failed")
    spool.sync()
    assert seen(directory) == [(queue_id, "failed")]
    list(manage.retry(directory, [queue_id]))
    assert seen(directory) == [(queue_id, "waiting")]


def test_a_file_in_the_place_of_a_bucket_hides_no_message(directory: str) -> None:
    (Path(directory) / "queue" / "0-20261123T1026").write_text("")
    queue_id = put(directory)
    assert seen(directory) == [(queue_id, "waiting")]
    assert counts(directory).waiting == 1


def test_what_a_run_would_try_is_in_its_order_with_what_has_come_back(directory: str, tmp_path: Path) -> None:
    ids = [put(directory, now=NOW + number) for number in range(4)]
    spool = Spool(directory, clock=StillClock())
    settle(spool, ids[0], "deferred", in_s=30)
    settle(spool, ids[1], "deferred", in_s=31)
    settle(spool, ids[2], "deferred", in_s=MAX_DELAY_S * 2)
    spool.sync()
    urgent = put(directory, priority="urgent", now=NOW + 9)
    before = everything_in(directory)

    def tried(now: float, max_delay_s: float = MAX_DELAY_S) -> list[str]:
        return [message.queue_id for message in due(directory, now, max_delay_s)]

    # What is further ahead than any delay shows a clock that was set back.
    assert tried(NOW + 29) == [urgent, ids[2], ids[3]]
    assert tried(NOW + 30) == [urgent, ids[0], ids[2], ids[3]]
    assert tried(NOW + 31) == [urgent, *ids]
    assert tried(NOW - 300, max_delay_s=0.0) == [urgent, *ids]
    assert everything_in(directory) == before
    for number, now in enumerate((NOW + 29, NOW + 30, NOW + 31)):
        run = Spool(shutil.copytree(directory, f"{tmp_path}/{number}"), clock=StillClock(now))
        run.promote_due(now, MAX_DELAY_S)
        assert list(run.due()) == tried(now)


def test_what_is_settled_and_not_moved_yet_is_tried_when_its_time_has_come(directory: str) -> None:
    deferred, relayed, failed = (put(directory, now=NOW + number) for number in range(3))
    spool = Spool(directory, clock=StillClock())
    settle(spool, deferred, "deferred", in_s=30)
    settle(spool, relayed, "relayed")
    settle(spool, failed, "failed")
    assert [message.queue_id for message in due(directory, NOW + 29, MAX_DELAY_S)] == []
    assert [message.queue_id for message in due(directory, NOW + 30, MAX_DELAY_S)] == [deferred]


def test_counts_are_of_names(directory: str) -> None:
    one_of_each(directory)
    for place, names in {"corrupt": ["a", "a.reason"], "rejected": ["b.eml", "b.eml.reason", "c.eml"]}.items():
        for name in names:
            (Path(directory) / place / name).write_text("")
    assert counts(directory) == Counts(
        waiting=1, deferred=1, held=1, failed=1, corrupt=1, rejected=2, oldest_accepted_at=NOW, oldest_to_send_at=NOW
    )


@pytest.mark.parametrize("oldest", ["waiting", "urgent", "deferred", "held"])
def test_the_oldest_is_found_wherever_it_is(directory: str, oldest: str) -> None:
    spool = Spool(directory, clock=StillClock())
    for number, state in enumerate(["waiting", "urgent", "deferred", "held"]):
        at = NOW - 1000 if state == oldest else NOW + 100 * number
        queue_id = put(directory, now=at, priority="urgent" if state == "urgent" else "bulk")
        if state == "deferred":
            settle(spool, queue_id, "deferred", in_s=MAX_DELAY_S)
            spool.sync()
        if state == "held":
            list(manage.hold(directory, [queue_id]))
    found = counts(directory)
    assert found.oldest_accepted_at == NOW - 1000
    # What is held is not to be sent.
    assert found.oldest_to_send_at == (NOW if oldest == "held" else NOW - 1000)


def test_a_foreign_name_does_not_hide_the_oldest(directory: str) -> None:
    put(directory)
    (Path(directory) / "queue" / "1-20261123T1106" / "0-!").write_text("")
    assert counts(directory).oldest_accepted_at == NOW


def test_a_spool_that_was_never_used_is_empty(tmp_path: Path) -> None:
    directory = str(tmp_path / "nothing")
    assert list(messages(directory)) == []
    assert counts(directory) == Counts()
    assert message(directory, "1-20261123T110559.123456-k3x9qa") is None
    assert list(queue_ids(directory, ["waiting"])) == []
    assert not os.path.exists(directory)


def test_an_open_spool_is_not_listed(directory: str) -> None:
    os.chmod(directory, 0o755)
    for look in (lambda: list(messages(directory)), lambda: counts(directory)):
        with pytest.raises(PermissionDeniedError):
            look()


@pytest.mark.parametrize("queue_id", ["", "../../etc/passwd", "1-20261123T110559.123456-k3x9qa", "x" * 31])
def test_an_unknown_id_is_no_message(directory: str, queue_id: str) -> None:
    assert message(directory, queue_id) is None


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "hard link", "FIFO", "directory", "sparse file"])
def test_hostile_files_are_left_out_of_the_list(directory: str, tmp_path: Path, kind: str) -> None:
    bad, good = put(directory), put(directory, now=NOW + 1)
    path = Path(path_in_queue(directory, bad))
    (tmp_path / "secret").write_bytes(path.read_bytes())
    path.unlink()
    hostile(path, kind, tmp_path / "secret")
    assert seen(directory) == [(good, "waiting")]
    assert message(directory, bad) is None


@pytest.mark.requirement("R4", "S19")
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES], ids=errno.errorcode.get)
def test_what_cannot_be_read_is_named_and_hides_no_other(directory: str, number: int) -> None:
    bad, good = put(directory), put(directory, now=NOW + 1)
    path = path_in_queue(directory, bad)
    named = Unread.because_of(OSError(number, os.strerror(number), path), bad, "")
    looks: list[Callable[[list[Unread] | None], object]] = [
        lambda unread: [each.queue_id for each in messages(directory, unread=unread)],
        lambda unread: [each.queue_id for each in due(directory, NOW + 2, MAX_DELAY_S, unread=unread)],
        lambda unread: message(directory, bad, unread=unread) or [good],
    ]
    with cannot_be_opened(path, number):
        for look in looks:
            unread: list[Unread] = []
            assert look(unread) == [good]
            assert unread == [named]
            with pytest.raises(OSError, match=os.strerror(number)):
                look(None)
    with cannot_be_opened(path, errno.EMFILE), pytest.raises(OSError, match="Too many open files"):
        list(messages(directory, unread=[]))


def test_an_error_of_reading_names_the_file(directory: str) -> None:
    path = path_in_queue(directory, put(directory))

    def fails(_: int, name: str) -> None:
        raise OSError(errno.EIO, name)

    with at_each_call(fails, ("pread",)), pytest.raises(OSError, match=path):
        list(messages(directory))


def test_a_message_without_an_id_of_its_own_has_none(directory: str) -> None:
    put(directory, message=b"Subject: x\r\n\r\nMessage-ID: <in the body>\r\n")
    assert only(directory).message_id == ""


@pytest.mark.parametrize("kept", [None, 5, "", "no id", "1-20261123T110559.123456-k3x9qa"])
def test_what_is_no_message_of_the_queue_is_in_no_doubt(directory: str, kept: object) -> None:
    assert not is_doubtful(directory, kept)


@pytest.mark.parametrize("order", [(0, 60, 120), (120, 60, 0), (60, 0, 120)])
def test_all_buckets_and_minutes_are_counted_and_the_oldest_is_of_any(
    directory: str, order: tuple[int, int, int]
) -> None:
    spool = Spool(directory, clock=StillClock())
    for priority, seconds in zip(("bulk", "normal", "urgent"), order, strict=True):
        for number in range(2):
            put(directory, now=NOW + seconds + number, priority=priority)
    for seconds in (300, 900, 1800):
        settle(spool, put(directory, now=NOW + 500), "deferred", in_s=seconds)
    spool.sync()
    found = counts(directory)
    assert (found.waiting, found.deferred, found.oldest_accepted_at) == (6, 3, NOW)


def test_an_older_message_of_the_same_minute_in_another_bucket_is_the_oldest(directory: str) -> None:
    put(directory, now=NOW + 1, priority="urgent")
    put(directory, now=NOW, priority="bulk")
    assert counts(directory).oldest_accepted_at == NOW


def test_a_name_that_is_no_id_hides_none_and_is_counted_for_none(directory: str) -> None:
    for place in ("held", "failed"):
        (Path(directory) / place / "0-stray").write_text("")
    one_of_each(directory)
    assert {state for _, state in seen(directory)} == {"waiting", "deferred", "held", "failed"}
    assert len(seen(directory)) == 4
    assert counts(directory).oldest_accepted_at == NOW


@pytest.mark.parametrize("odd", ["queue/0-20201231T2359", "deferred/20201231T2359"])
def test_a_directory_that_cannot_be_read_is_told_and_hides_no_other_message(tmp_path: Path, odd: str) -> None:
    directory = new_spool(tmp_path)
    there = [put(directory, now=NOW + number) for number in range(30)]
    # A link to itself is what nobody can read.
    os.symlink(f"{directory}/{odd}", f"{directory}/{odd}")
    unread: list[Unread] = []
    assert [message.queue_id for message in messages(directory, unread=unread)] == there
    assert [(each.queue_id, each.path) for each in unread] == [("", f"{directory}/{odd}")]
    with pytest.raises(OSError, match="symbolic links"):
        list(messages(directory))
    gone = there[0][:-6] + "aaaaaa"
    assert set(find_all(directory, [*there, gone])) == set(there)


def test_of_a_spool_that_is_not_there_nothing_is_due(tmp_path: Path) -> None:
    assert list(due(str(tmp_path / "nowhere"), 0.0, 60.0)) == []


def test_a_message_that_cannot_be_looked_at_is_not_said_to_be_gone(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    queue_id = put(directory)
    path = path_in_queue(directory, queue_id)
    unread: list[Unread] = []
    with cannot_be_looked_at(path, errno.EIO):
        assert message(directory, queue_id, unread=unread) is None
        for look in (message, is_doubtful):
            with pytest.raises(OSError, match="Input/output"):
                look(directory, queue_id)
    assert [each.line for each in unread] == [
        f"{queue_id} cannot be read: {path}: Input/output error; mend the disk, or run `ucrmmail queue remove {queue_id}`"
    ]


def test_a_place_that_cannot_be_looked_into_has_no_message_unless_nothing_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = new_spool(tmp_path)
    wanted = [f"1-20261127T000000.{number:06d}-abcdef" for number in range(100)]
    Path(f"{directory}/deferred/20261127T0000").write_text("no directory")
    assert find_all(directory, wanted) == {}

    def too_many(_path: str) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "scandir", too_many)
    with pytest.raises(OSError, match="Too many open files"):
        find_all(directory, wanted)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EMFILE], ids=errno.errorcode.get)
def test_a_deferred_message_that_goes_while_it_is_looked_at_is_not_due_unless_nothing_can_be_opened(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(new_spool(tmp_path))
    settle(spool, put(spool.directory), "deferred", in_s=300)
    spool.sync()
    lstat = os.lstat

    def gone(path: str) -> os.stat_result:
        if "/deferred/" in path:
            raise OSError(number, os.strerror(number), path)
        return lstat(path)

    monkeypatch.setattr(os, "lstat", gone)
    if number == errno.EMFILE:
        with pytest.raises(OSError, match="Too many open files"):
            list(due(spool.directory, NOW + 600, MAX_DELAY_S))
    else:
        assert list(due(spool.directory, NOW, MAX_DELAY_S)) == []
