"""Accepted means durable; what could not be made durable was not accepted."""

from __future__ import annotations

import errno
import os
import resource
import stat
import threading
import time
from pathlib import Path

import pytest

from tests.support.faults import at_each_call, at_the_opening_of, fails_at
from tests.support.spools import JOE, MESSAGE, NOW, everything_in, new_spool, place_of, put
from ucrmmail.errors import CannotCreateError, NoUserError, PermissionDeniedError, TemporaryError
from ucrmmail.spool.accept import accept
from ucrmmail.spool.batch import Batch
from ucrmmail.spool.layout import accepted_at, is_queue_id, new_queue_id
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.scratch import Scratch

ERRNOS = (
    errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EACCES, errno.EDQUOT, errno.EROFS, errno.ENOMEM,
)  # fmt: skip


def test_an_accepted_message_waits_in_its_bucket(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    queue_id = put(directory, priority="urgent")
    assert is_queue_id(queue_id)
    assert accepted_at(queue_id) == NOW
    assert everything_in(directory) == [f"queue/{queue_id[:15]}/{queue_id}"]
    text = (Path(directory) / "queue" / queue_id[:15] / queue_id).read_bytes()
    assert text.split(b"\n")[1:4] == [b"from billing@isp.example", b"to joe@example.com", b""]
    assert text.endswith(b"\n\n" + MESSAGE)


def test_the_spool_is_made_at_the_first_submission(tmp_path: Path) -> None:
    directory = str(tmp_path / "var" / "spool")
    queue_id = put(directory)
    assert place_of(directory, queue_id) == "queue"


@pytest.mark.requirement("S16")
def test_whatever_the_umask_only_the_owner_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = str(tmp_path / "spool")
        put(directory)
    finally:
        os.umask(before)
    for parent, directories, files in os.walk(directory):
        assert {stat.S_IMODE(os.stat(os.path.join(parent, name)).st_mode) for name in files} <= {0o600}
        assert {stat.S_IMODE(os.stat(os.path.join(parent, name)).st_mode) for name in directories} <= {0o700}


@pytest.mark.requirement("R3")
def test_the_file_is_synced_before_it_has_a_name_in_the_queue_and_the_name_before_the_yes(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    called: list[str] = []
    with at_each_call(lambda _, name: called.append(name)):
        put(directory)
    assert [name for name in called if name in ("write", "fsync", "rename")] == [
        "write", "write", "fsync", "rename", "fsync", "fsync",
    ]  # fmt: skip


@pytest.mark.requirement("R4", "R6")
@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.get)
def test_an_error_at_any_call_leaves_nothing_and_says_where(tmp_path: Path, number: int) -> None:
    directory = new_spool(tmp_path)
    with fails_at(0, number) as called:
        put(directory)
    assert len(called) > 8
    for step in range(1, len(called) + 1):
        directory = new_spool(tmp_path / str(step))
        with fails_at(step, number), pytest.raises(TemporaryError) as caught:
            put(directory)
        assert os.strerror(number) in caught.value.what
        assert "not accepted" in caught.value.why
        assert "\n" not in caught.value.what
        assert everything_in(directory) == []


@pytest.mark.parametrize("name", ["statvfs", "lstat"])
def test_a_spool_that_cannot_be_looked_at_refuses(tmp_path: Path, name: str) -> None:
    directory = new_spool(tmp_path)
    with fails_at(1, errno.EIO, names=(name,)), pytest.raises(TemporaryError, match="Input/output"):
        put(directory)


def test_an_interrupted_submission_leaves_nothing(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)

    step = 0

    def interrupt(count: int, _: str) -> None:
        if count == step:
            raise KeyboardInterrupt

    for step in range(1, 9):  # noqa: B007 # seen by interrupt()
        with at_each_call(interrupt), pytest.raises(KeyboardInterrupt):
            put(directory)
        assert everything_in(directory) == []


@pytest.mark.requirement("R26")
def test_room_is_kept_free(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    with pytest.raises(TemporaryError) as caught:
        accept(
            directory,
            reverse_path="",
            recipients=(JOE,),
            message=MESSAGE,
            priority="normal",
            eight_bit=False,
            utf8=False,
            now=NOW,
            min_free_bytes=1 << 60,
        )
    assert "free" in caught.value.what
    assert "min_free_space" in caught.value.why
    assert everything_in(directory) == []


@pytest.mark.requirement("R26")
@pytest.mark.parametrize(
    ("total", "free", "taken"), [(1000, 100, True), (1000, 99, False), (0, 0, True), (1000, -1, True)]
)
def test_room_for_some_files_is_kept_free_where_they_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, total: int, free: int, taken: bool
) -> None:
    directory = new_spool(tmp_path)
    found = os.statvfs(directory)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*found[:5], total, free, free, *found[8:])))
    if taken:
        put(directory)
        return
    with pytest.raises(TemporaryError, match="room for only 99 files") as caught:
        put(directory)
    assert "not accepted" in caught.value.why
    assert everything_in(directory) == []


@pytest.mark.requirement("S15")
def test_a_spool_open_to_others_takes_nothing(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    os.chmod(directory, 0o755)
    with pytest.raises(PermissionDeniedError):
        put(directory)


@pytest.mark.parametrize("place", ["file", "file/spool", "file/deep/spool", "x" * 256])
def test_a_spool_that_can_never_be_made_there_is_a_no_for_good(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CannotCreateError) as caught:
        put(str(tmp_path / place))
    assert caught.value.exit_code == 73
    assert str(tmp_path) in caught.value.what
    assert caught.value.why == "the spool cannot be made"
    assert "spool.directory" in caught.value.remedy
    with Batch(str(tmp_path / place), min_free_bytes=0) as batch, pytest.raises(CannotCreateError):
        add(batch, new_queue_id(NOW, "normal"))
    with Scratch(str(tmp_path / place), min_free_bytes=0) as scratch, pytest.raises(CannotCreateError):
        scratch.new_file()
    assert (tmp_path / "file").read_text() == "kept"


def test_a_spool_behind_a_closed_directory_is_a_no_for_good(tmp_path: Path) -> None:
    def closed(number: int, name: str) -> None:
        """Stand in for a directory that is closed to us: root, who may run this, meets none."""
        if number == 1 or name == "mkdir":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with at_each_call(closed, ("lstat", "mkdir")), pytest.raises(CannotCreateError, match="Permission denied"):
        put(str(tmp_path / "spool"))


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENOMEM])
def test_a_spool_that_the_disk_does_not_let_us_make_is_a_no_for_now(tmp_path: Path, number: int) -> None:
    with fails_at(1, number, names=("mkdir",)), pytest.raises(TemporaryError) as caught:
        put(str(tmp_path / "spool"))
    assert os.strerror(number) in str(caught.value)
    assert caught.value.why == "the message was not accepted"
    assert caught.value.remedy


def test_a_wrong_address_takes_nothing(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    with pytest.raises(NoUserError):
        put(directory, "joe@example.com\nto thief@example.com")
    assert everything_in(directory) == []


def test_a_bucket_that_a_flush_removes_meanwhile_is_made_again(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    bucket = Path(directory) / "queue" / "1-20261123T1026"
    removed = 0

    def flush_removes_it(_: int, name: str) -> None:
        nonlocal removed
        if name == "rename" and removed < 20:
            bucket.rmdir()
            removed += 1

    with at_each_call(flush_removes_it):
        queue_id = put(directory, now=1_795_429_560.0)
    assert place_of(directory, queue_id) == "queue"
    assert removed == 20


def test_a_bucket_that_never_stays_is_given_up(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    bucket = Path(directory) / "queue" / "1-20261123T1026"

    def somebody_always_removes_it(_: int, name: str) -> None:
        if name == "rename":
            bucket.rmdir()

    with at_each_call(somebody_always_removes_it), pytest.raises(TemporaryError, match="No such file"):
        put(directory, now=1_795_429_560.0)
    assert everything_in(directory) == []


def test_a_file_that_somebody_takes_out_of_tmp_is_not_accepted(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)

    def somebody_cleans_up(_: int, _name: str) -> None:
        for path in (Path(directory) / "tmp").iterdir():
            path.unlink()

    with at_each_call(somebody_cleans_up, ("rename",)), pytest.raises(TemporaryError, match="No such file"):
        put(directory)
    assert everything_in(directory) == []


def test_a_message_that_a_flush_has_sent_already_is_accepted_all_the_same(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)

    def flush_sends_it(_: int, name: str) -> None:
        for path in (Path(directory) / "queue").glob("*/*"):
            if name == "fsync":
                path.unlink()
                path.parent.rmdir()

    with at_each_call(flush_sends_it):
        assert is_queue_id(put(directory))
    assert everything_in(directory) == []


# --- many at once ---------------------------------------------------------------------------------------------------


def add(batch: Batch, queue_id: str) -> None:
    batch.add(queue_id, reverse_path="a@b.example", recipients=(JOE,), message=MESSAGE, eight_bit=False, utf8=False)


def test_a_batch_is_accepted_in_order(tmp_path: Path) -> None:
    directory = str(tmp_path / "spool")
    ids = [new_queue_id(NOW + 20 * number, "normal") for number in range(10)]
    with Batch(directory, min_free_bytes=0) as batch:
        for queue_id in ids:
            add(batch, queue_id)
        assert len(batch) == 10
        assert not any(path.startswith("queue") for path in everything_in(directory))
        assert batch.commit() == tuple(ids)
        assert len(batch) == 0
        assert batch.commit() == ()
    assert [path.split("/")[-1] for path in everything_in(directory)] == ids
    assert list(Spool(directory).due()) == ids


def test_a_message_of_a_batch_is_sent_as_it_was_given(tmp_path: Path) -> None:
    directory = str(tmp_path / "spool")
    with Batch(directory, min_free_bytes=0) as batch:
        for number, (eight_bit, utf8) in enumerate([(True, False), (False, True)]):
            batch.add(
                new_queue_id(NOW + number, "normal"),
                reverse_path="a@b.example",
                recipients=(JOE,),
                message=MESSAGE,
                eight_bit=eight_bit,
                utf8=utf8,
            )
        first, second = batch.commit()
    spool = Spool(directory)
    for queue_id, flags in ((first, (True, False)), (second, (False, True))):
        claimed = spool.claim(queue_id)
        assert claimed is not None
        assert (claimed.reverse_path, claimed.recipients) == ("a@b.example", (JOE,))
        assert (claimed.eight_bit, claimed.utf8) == flags
        spool.release(claimed)


def test_what_was_not_committed_is_forgotten(tmp_path: Path) -> None:
    directory = str(tmp_path / "spool")
    with Batch(directory, min_free_bytes=0) as batch:
        add(batch, new_queue_id(NOW, "normal"))
    assert everything_in(directory) == []


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_batch_is_accepted_as_a_whole_or_not_at_all(tmp_path: Path, number: int) -> None:
    directory = new_spool(tmp_path)
    step = 0
    while True:
        step += 1
        accepted: tuple[str, ...] = ()
        # The opened and closed directories of threads come in any order: what fails is counted, not named.
        with fails_at(step, number, names=("write", "fsync", "rename")) as called:
            try:
                with Batch(directory, min_free_bytes=0) as batch:
                    for each in range(3):
                        add(batch, new_queue_id(NOW + each, "normal"))
                    accepted = batch.commit()
            except TemporaryError:
                assert everything_in(directory) == []
                continue
        break
    assert len(accepted) == 3
    assert step > len(called) > 8


def test_a_message_that_does_not_fit_concerns_no_other(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    with Batch(directory, min_free_bytes=0) as batch:
        first = new_queue_id(NOW, "normal")
        add(batch, first)
        with pytest.raises(TemporaryError), fails_at(2, errno.ENOSPC, names=("write",)):
            add(batch, new_queue_id(NOW + 1, "normal"))
        assert batch.commit() == (first,)
    assert len(everything_in(directory)) == 1


def test_an_interrupted_batch_leaves_nothing(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)

    def interrupt(number: int, _name: str) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with Batch(directory, min_free_bytes=0) as batch:
        for number in range(3):
            add(batch, new_queue_id(NOW + number, "normal"))
        with at_each_call(interrupt, ("rename",)), pytest.raises(KeyboardInterrupt):
            batch.commit()
        assert everything_in(directory) == []


def aged_batch(directory: str, batch: Batch) -> Path:
    """Add a message whose batch has been waiting for more than a minute; returns its file."""
    queue_id = new_queue_id(NOW, "normal")
    add(batch, queue_id)
    path = Path(directory, "tmp", queue_id)
    os.utime(path, (time.time() - 100,) * 2)
    return path


@pytest.mark.requirement("R6")
def test_a_flush_leaves_alone_what_waits_long_for_the_rest_of_its_batch(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    with Batch(directory, min_free_bytes=0) as batch:
        path = aged_batch(directory, batch)
        Spool(directory).recover(time.time())
        assert path.exists()

        def a_flush_looks(_number: int, name: str) -> None:
            if name == "rename" and path.exists():
                Spool(directory).recover(time.time())

        with at_each_call(a_flush_looks, ("rename",)):
            assert batch.commit() == (path.name,)
    assert everything_in(directory) == [f"queue/{path.name[:15]}/{path.name}"]


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("moment", ["looked at", "opened"])
def test_a_flush_that_looks_for_leftovers_does_not_meet_a_batch_that_ends(tmp_path: Path, moment: str) -> None:
    directory = new_spool(tmp_path)
    spool = Spool(directory)
    with Batch(directory, min_free_bytes=0) as batch:
        path = aged_batch(directory, batch)

        def end() -> None:
            assert batch.commit() == (path.name,)

        before, after = (end, None) if moment == "looked at" else (None, end)
        with at_the_opening_of(str(path), before=before, after=after):
            spool.recover(time.time())
    assert (spool.problems, spool.corrupt) == ([], [])
    assert list(spool.due()) == [path.name]


@pytest.mark.requirement("R6")
def test_a_file_that_a_batch_lets_go_of_while_a_flush_opens_it_is_no_leftover(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    path = Path(directory, "tmp", new_queue_id(NOW, "normal"))
    path.touch()
    os.utime(path, (time.time() - 100,) * 2)
    with at_the_opening_of(str(path), after=lambda: os.utime(path)):
        Spool(directory).recover(time.time())
    assert path.exists()


@pytest.mark.requirement("R14")
def test_a_batch_is_full_before_a_process_has_no_descriptor_left(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for allowed, most in ((soft, 256), (40, 10), (2, 1)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        try:
            batch = Batch(directory, min_free_bytes=0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with batch:
            while not batch.is_full:
                add(batch, new_queue_id(NOW + len(batch), "normal"))
            assert len(batch) == most
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("started", [0, 1])
def test_a_batch_without_threads_is_accepted_and_a_sync_that_failed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    directory = new_spool(tmp_path)
    start, threads = threading.Thread.start, iter([None] * started)

    def start_or_not(thread: threading.Thread) -> None:
        if next(threads, thread) is thread:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_not)
    ids = [new_queue_id(NOW + number, "normal") for number in range(9)]
    with Batch(directory, min_free_bytes=0) as batch:
        for queue_id in ids:
            add(batch, queue_id)
        assert batch.commit() == tuple(ids)
    assert list(Spool(directory).due()) == ids
    with (
        fails_at(1, errno.EIO, names=("fsync",), and_later=True),
        Batch(directory, min_free_bytes=0) as batch,
    ):
        add(batch, new_queue_id(NOW + 10, "normal"))
        with pytest.raises(TemporaryError, match="Input/output"):
            batch.commit()
    assert len(everything_in(directory)) == 9
