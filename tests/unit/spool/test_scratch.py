"""A large message comes in through a file without a name: accepted whole and durable, or nothing is left of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import pytest

from tests.support.faults import as_user, dies_at, fails_at
from tests.support.runs import recovered
from tests.support.scratch import cut
from tests.support.spools import JOE, NOW, everything_in, new_spool
from tests.support.submission import submit
from ucrmmail.errors import NoUserError, PermissionDeniedError, TemporaryError
from ucrmmail.message.prepare import LARGEST_IN_MEMORY, Prepared, gather
from ucrmmail.spool.accept import accept
from ucrmmail.spool.batch import Batch
from ucrmmail.spool.handover import hand_over
from ucrmmail.spool.layout import make_spool, new_queue_id
from ucrmmail.spool.queuefile import encode_head
from ucrmmail.spool.scratch import Scratch

Taken = TypeVar("Taken")

# With bare LF, so that what comes in is not what is stored; and one that has to be encoded anew.
LARGE = b"Subject: large\nBcc: eve@example.com\n\n" + b"line h\xc3\xa9\n" * (LARGEST_IN_MEMORY // 8)
LONG_LINE = b"Subject: long\n\n" + b"x" * (LARGEST_IN_MEMORY + 1)


def taken(raw: bytes, scratch: Scratch) -> Prepared:
    return submit(gather(cut(raw, 1 << 19), lambda: scratch))


def take(directory: str, raw: bytes = LARGE, min_free_bytes: int = 0) -> str:
    """Take a message in as a submission does."""
    return _submit_by(accept, directory, raw, min_free_bytes, handed_over=False)


def hand(directory: str, raw: bytes = LARGE, min_free_bytes: int = 0) -> None:
    """Hand a message over as a submission does."""
    _submit_by(hand_over, directory, raw, min_free_bytes, handed_over=True)


def _submit_by(
    way: Callable[..., Taken], directory: str, raw: bytes, min_free_bytes: int, *, handed_over: bool
) -> Taken:
    with Scratch(directory, min_free_bytes=min_free_bytes, handed_over=handed_over) as scratch:
        prepared = taken(raw, scratch)
        return way(
            directory,
            reverse_path=prepared.reverse_path,
            recipients=prepared.recipients,
            message=prepared.content,
            priority=prepared.priority,
            eight_bit=prepared.eight_bit,
            utf8=prepared.utf8,
            now=NOW,
            min_free_bytes=min_free_bytes,
        )


def refused(work: Callable[[str], object], directory: str) -> TemporaryError | None:
    try:
        work(directory)
    except TemporaryError as error:
        return error
    return None


def queue_file(raw: bytes) -> bytes:
    """The queue file of a message that was in memory all the time."""
    prepared = submit(raw)
    head = encode_head(
        prepared.reverse_path,
        prepared.recipients,
        prepared.message,
        eight_bit=prepared.eight_bit,
        utf8=prepared.utf8,
    )
    return head + prepared.message


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[str]:
    """A spool; no descriptor is left open."""
    before = open_files()
    yield new_spool(tmp_path)
    assert open_files() == before


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("raw", [LARGE, LONG_LINE], ids=["lines", "one line"])
def test_a_large_message_is_queued_byte_by_byte_as_from_memory(directory: str, raw: bytes) -> None:
    queue_id = take(directory, raw)
    assert everything_in(directory) == [f"queue/{queue_id[:15]}/{queue_id}"]
    assert (Path(directory) / "queue" / queue_id[:15] / queue_id).read_bytes() == queue_file(raw)


@pytest.mark.requirement("R13")
def test_a_large_message_is_handed_over_byte_by_byte_as_from_memory(directory: str) -> None:
    hand(directory)
    (name,) = everything_in(directory)
    assert name.startswith("drop/")
    assert (Path(directory) / name).read_bytes() == queue_file(LARGE)


def test_nobody_sees_it_while_it_arrives(directory: str) -> None:
    for handed_over in (False, True):
        with Scratch(directory, min_free_bytes=0, handed_over=handed_over) as scratch:
            file = scratch.new_file()
            file.write(b"half a mess")
            assert everything_in(directory) == []
            assert file.read(4, 5) == b"a me"


def test_a_file_that_another_was_made_from_takes_no_room_any_more(directory: str) -> None:
    before = open_files()
    with Scratch(directory, min_free_bytes=0) as scratch:
        taken(LONG_LINE.replace(b"\n", b"\r"), scratch)
        assert len(open_files() - before) == 1


def test_the_spool_is_made_at_the_first_submission(tmp_path: Path) -> None:
    take(str(tmp_path / "var" / "spool"))
    assert len(everything_in(str(tmp_path / "var" / "spool"))) == 1


def test_a_spool_open_to_others_takes_nothing(directory: str) -> None:
    os.chmod(directory, 0o755)
    with pytest.raises(PermissionDeniedError):
        take(directory)


@pytest.mark.requirement("R4", "R6")
@pytest.mark.parametrize("work", [take, hand])
def test_an_error_at_any_call_leaves_nothing_and_says_so(tmp_path: Path, work: Callable[[str], object]) -> None:
    directory = new_spool(tmp_path)
    with fails_at(0, errno.EIO) as called:
        work(directory)
    assert len(called) > 12
    for step, name in enumerate(called, 1):
        directory = new_spool(tmp_path / str(step))
        with fails_at(step, errno.EIO):
            refusal = refused(work, directory)
        if refusal is None:
            assert (name, step) == ("close", len(called)), "only the scratch file is needed no more"
            continue
        assert refusal.what.endswith(": Input/output error")
        assert refusal.why == "the message was not accepted"
        assert refusal.remedy == "mend this, then submit the message again"
        assert everything_in(directory) == []


@pytest.mark.requirement("R4", "R6")
@pytest.mark.parametrize("work", [take, hand])
def test_what_was_written_and_cannot_be_read_is_not_accepted(directory: str, work: Callable[..., object]) -> None:
    make_spool(directory)
    with fails_at(0, errno.EIO, names=("pread",)) as called:
        work(directory)
    for name in everything_in(directory):
        os.unlink(f"{directory}/{name}")
    for step in range(1, len(called) + 1):
        with fails_at(step, errno.EIO, names=("pread",)), pytest.raises(TemporaryError, match="Input/output error"):
            work(directory)
        assert everything_in(directory) == []


def test_a_scratch_file_that_lost_its_end_is_not_accepted(directory: str) -> None:
    with Scratch(directory, min_free_bytes=0) as scratch:
        file = scratch.new_file()
        file.write(b"half a mess")
        with pytest.raises(TemporaryError, match=f"^{directory}: Input/output error"):
            file.read(12, 0)


@pytest.mark.requirement("S15", "S16")
@pytest.mark.parametrize(("handed_over", "place"), [(False, "tmp"), (True, "drop")])
def test_a_scratch_file_is_begun_in_its_room_for_its_owner_alone(
    directory: str, handed_over: bool, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int]] = []
    unlink = os.unlink

    def seen(path: str) -> None:
        made.append((path, os.stat(path).st_mode & 0o777))
        unlink(path)

    before = os.umask(0)
    monkeypatch.setattr(os, "unlink", seen)
    try:
        with Scratch(f"{directory}/", min_free_bytes=0, handed_over=handed_over) as scratch:
            scratch.new_file()
    finally:
        os.umask(before)
    ((path, mode),) = made
    assert (os.path.dirname(path), mode) == (f"{directory}/{place}", 0o600)
    # The dot keeps it from being taken from drop/ as it is.
    assert os.path.basename(path).startswith(".") is handed_over


@pytest.mark.requirement("R26")
@pytest.mark.parametrize("work", [take, hand])
def test_room_is_kept_free(directory: str, work: Callable[..., object]) -> None:
    with pytest.raises(TemporaryError) as caught:
        work(directory, min_free_bytes=1 << 60)
    assert "free" in caught.value.what
    assert "min_free_space" in caught.value.why
    assert everything_in(directory) == []


@pytest.mark.requirement("R26")
def test_room_is_kept_free_by_what_comes_through_a_pipe_without_end(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk with 10 MiB free, of which 4 MiB are kept."""
    written = 0
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=(10 << 20) - written, f_frsize=1, f_files=0))
    with Scratch(directory, min_free_bytes=4 << 20) as scratch:
        file = scratch.new_file()
        for _ in range(6):
            file.write(b"x" * (1 << 20))
            written += 1 << 20
        with pytest.raises(TemporaryError, match="free"):
            file.write(b"x")


def test_what_is_refused_leaves_nothing(directory: str) -> None:
    with Scratch(directory, min_free_bytes=0) as scratch, pytest.raises(NoUserError):
        submit(gather(cut(LARGE, 1 << 19), lambda: scratch), recipients=(), extract_recipients=False)
    assert everything_in(directory) == []


@pytest.mark.requirement("R5", "R6")
def test_killed_at_any_step_it_was_told_yes_or_a_flush_finds_nothing_of_it(tmp_path: Path) -> None:
    step = 0
    died = True
    while died:
        step += 1
        directory = str(tmp_path / f"step-{step}")
        make_spool(directory)
        died, said = dies_at(step, lambda say, directory=directory: say(take(directory)))  # type: ignore[misc]
        queued = list(recovered(directory).due())
        assert set(said) <= set(queued)
        assert len(queued) <= 1
        assert os.listdir(f"{directory}/tmp") == []
    assert step > 12


def test_in_a_batch_it_stands_beside_the_small_ones(directory: str) -> None:
    with Batch(directory, min_free_bytes=0) as batch:
        for number, raw in enumerate([b"Subject: x\n\nhi\n", LARGE, b"Subject: y\n\nhi\n"]):
            with Scratch(directory, min_free_bytes=0) as scratch:
                prepared = taken(raw, scratch)
                batch.add(
                    new_queue_id(NOW + number, "normal"),
                    reverse_path="a@b.example",
                    recipients=(JOE,),
                    message=prepared.content,
                    eight_bit=prepared.eight_bit,
                    utf8=prepared.utf8,
                )
        assert len(batch.commit()) == 3


def test_a_directory_that_takes_no_file_of_ours_is_a_no_for_now(directory: str) -> None:
    os.chmod(directory, 0o711)
    with as_user(12345), pytest.raises(TemporaryError, match="Permission denied"):
        hand(directory)
