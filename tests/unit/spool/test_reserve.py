"""The room that is held for a full disk: given up once, held again when there is some."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import fails_at
from tests.support.spools import JOE, NOW, StillClock, after, claim, everything_in, new_spool, put, settle
from ucrmmail.errors import TemporaryError
from ucrmmail.journal import Journal
from ucrmmail.limits.ledger import Ledger
from ucrmmail.limits.rules import rules_from
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.reserve import Reserve


def held_bytes(directory: Path) -> int:
    path = directory / "reserve"
    return path.stat().st_blocks * 512 if path.exists() else 0


def test_what_is_held_is_given_up_once_and_held_again(tmp_path: Path) -> None:
    reserve = Reserve(str(tmp_path))
    reserve.give_up()
    assert not (tmp_path / "reserve").exists()
    for _ in range(2):
        reserve.hold()
        assert held_bytes(tmp_path) >= 1 << 20
        reserve.give_up()
        assert not (tmp_path / "reserve").exists()


@pytest.mark.requirement("R26")
def test_what_is_given_up_is_shortened_before_it_is_removed(tmp_path: Path) -> None:
    """XFS frees the blocks of a removed file in its own time: who asked how many are free had been refused."""
    reserve = Reserve(str(tmp_path))
    reserve.hold()
    with fails_at(0, 0, names=("ftruncate", "unlink")) as called:
        reserve.give_up()
    assert called == ["ftruncate", "unlink"]


@pytest.mark.requirement("R26")
@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC], ids=errno.errorcode.get)
def test_where_a_full_disk_shortens_no_file_what_is_held_is_removed(tmp_path: Path, number: int) -> None:
    reserve = Reserve(str(tmp_path))
    reserve.hold()
    with fails_at(1, number, names=("ftruncate",)):
        reserve.give_up()
    assert not (tmp_path / "reserve").exists()
    reserve.hold()
    assert held_bytes(tmp_path) >= 1 << 20


def test_what_is_wrong_with_the_disk_but_room_is_not_kept_quiet(tmp_path: Path) -> None:
    reserve = Reserve(str(tmp_path))
    reserve.hold()
    with fails_at(1, errno.EIO, names=("ftruncate",)), pytest.raises(OSError, match="Input/output"):
        reserve.give_up()
    assert held_bytes(tmp_path) >= 1 << 20


@pytest.mark.requirement("R26")
def test_who_needs_a_file_on_a_disk_without_room_for_another_gets_that_of_the_room(tmp_path: Path) -> None:
    """What was deferred had not come back, nor could a first ledger be made: a directory, or a file, takes an inode."""
    directory = new_spool(tmp_path)
    used = len(everything_in(directory, without=()))
    with no_new_files(but_for=lambda: not (tmp_path / "spool" / "reserve").exists()):
        ledger = Ledger(
            f"{directory}/ledger", rules_from(message_limit=10), NOW, "", make_room=Reserve(directory).give_up
        )
        ledger.close(NOW)
    assert len(everything_in(directory, without=())) == used


@pytest.mark.requirement("R26")
def test_a_disk_without_room_holds_nothing_and_fails_nothing(tmp_path: Path) -> None:
    reserve = Reserve(str(tmp_path))
    with fails_at(1, errno.ENOSPC, names=("posix_fallocate",), and_later=True):
        reserve.hold()
    assert held_bytes(tmp_path) == 0
    with fails_at(1, errno.EOPNOTSUPP, names=("posix_fallocate",)):
        reserve.hold()
    assert held_bytes(tmp_path) == 0
    (tmp_path / "reserve").unlink()
    with fails_at(1, errno.EROFS, names=("open",)):
        reserve.hold()
    assert not (tmp_path / "reserve").exists()


@pytest.mark.requirement("R26")
def test_of_a_disk_that_has_less_room_a_part_is_held_and_more_when_there_is(tmp_path: Path) -> None:
    reserve = Reserve(str(tmp_path))
    real, room = os.posix_fallocate, 300_000

    def some_room(fd: int, offset: int, size_bytes: int) -> None:
        real(fd, offset, min(size_bytes, room))  # what it got before the disk was full
        if size_bytes > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_fallocate", some_room)
        for _ in range(2):
            reserve.hold()
            assert held_bytes(tmp_path) == 1 << 18, "and no more, which others may need"
        room = 900_000
        reserve.hold()
        assert held_bytes(tmp_path) == 1 << 19
    reserve.hold()
    assert held_bytes(tmp_path) == 1 << 20


@pytest.mark.requirement("R26")
def test_the_room_is_held_from_the_first_submission_and_later_ones_do_not_look(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    before = os.umask(0o277)
    try:
        put(str(spool))
    finally:
        os.umask(before)
    assert held_bytes(spool) >= 1 << 20
    assert {stat.S_IMODE((spool / name).stat().st_mode) for name in ("lock", "reserve")} == {0o600}
    (spool / "reserve").unlink()
    (spool / "lock").unlink()
    put(str(spool))
    assert not {"lock", "reserve"} & set(os.listdir(spool))


@pytest.mark.requirement("R26")
def test_a_disk_without_room_for_a_file_is_drained_by_the_first_flush(tmp_path: Path) -> None:
    directory = str(tmp_path / "spool")
    put(directory)
    with no_new_files():
        spool = Spool(directory)
        spool.recover(NOW)
        (queue_id,) = spool.due()
        claimed = claim(spool, queue_id)
        spool.ensure_room(claimed)
        spool.settle(claimed, after(claimed.state, "relayed"))
        spool.finish()
    assert everything_in(directory) == []


@contextmanager
def no_new_files(but_for: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Be a disk without a free inode, unless one was given up."""
    real = os.open

    def opened(name: str, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_CREAT and not os.path.lexists(name) and not but_for():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        return real(name, flags, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", opened)
        yield


@pytest.mark.requirement("R26")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_spool_whose_room_cannot_be_held_takes_nothing_until_it_can(tmp_path: Path, number: int) -> None:
    directory = str(tmp_path / "spool")
    for _ in range(2):
        with fails_at(1, number, names=("posix_fallocate",)), pytest.raises(TemporaryError) as caught:
            put(directory)
        assert os.strerror(number) in caught.value.what
        assert everything_in(directory, without=("lock",)) == []
    put(directory)
    assert held_bytes(tmp_path / "spool") >= 1 << 20


@pytest.mark.requirement("R26")
def test_of_two_who_make_a_spool_on_a_full_disk_both_are_told_that_it_is_full(tmp_path: Path) -> None:
    """Each removes what it could not hold, and the second finds nothing: that is no reason to give up for good."""
    directory = tmp_path / "spool"

    def full(_fd: int, _offset: int, _size_bytes: int) -> None:
        (directory / "reserve").unlink()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(TemporaryError, match="No space left"):
            put(str(directory))


def test_a_limit_of_the_process_keeps_nobody_from_submitting(tmp_path: Path) -> None:
    with fails_at(1, errno.EFBIG, names=("posix_fallocate",)):
        put(str(tmp_path / "spool"))
    assert held_bytes(tmp_path / "spool") == 0


def test_a_place_that_was_removed_from_a_full_disk_is_made_anew(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    Reserve(directory).give_up()
    (tmp_path / "spool" / "tmp").rmdir()
    with fails_at(1, errno.ENOSPC, names=("posix_fallocate",), and_later=True):
        put(directory)
    assert held_bytes(tmp_path / "spool") == 0


@pytest.mark.requirement("S15")
def test_no_link_is_followed(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"x" * 10)
    (tmp_path / "reserve").symlink_to(foreign)
    reserve = Reserve(str(tmp_path))
    reserve.hold()
    with pytest.raises(OSError, match="symbolic links"):
        reserve.give_up()
    assert foreign.read_bytes() == b"x" * 10


@pytest.mark.requirement("S15")
def test_no_fifo_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "reserve")
    reserve = Reserve(str(tmp_path))
    reserve.hold()
    with pytest.raises(OSError, match="No such device"):
        reserve.give_up()


@pytest.mark.requirement("R26")
def test_what_the_journal_gives_back_at_the_end_can_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that deferred mail has filled there was no other room, and no later run could record anything."""
    spool = Spool(new_spool(tmp_path), clock=StillClock())
    # What is reported later stays in the journal, which a full disk does not let be written anew.
    settle(spool, put(spool.directory, JOE), "failed")

    def no_room(_journal: Journal, _payloads: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Journal, "keep_only", no_room)
    journal_bytes: list[int] = []
    monkeypatch.setattr(Reserve, "hold", lambda _: journal_bytes.append(os.stat(f"{spool.directory}/journal").st_size))
    spool.finish()
    assert len(journal_bytes) == 1
    assert 0 < journal_bytes[0] < 1000
