"""The room that is held for a full disk: given up once, held again when there is some."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.faults import fails_at
from ucrmmail.spool.reserve import Reserve


def held_bytes(directory: Path) -> int:
    return (directory / "reserve").stat().st_blocks * 512


def test_what_is_held_is_given_up_once_and_held_again(tmp_path: Path) -> None:
    reserve = Reserve(str(tmp_path))
    reserve.give_up()
    assert not (tmp_path / "reserve").exists()
    for _ in range(2):
        reserve.hold()
        assert held_bytes(tmp_path) >= 1 << 20
        reserve.give_up()
        assert held_bytes(tmp_path) == 0


@pytest.mark.requirement("R26")
def test_a_disk_without_room_holds_nothing_and_fails_nothing(tmp_path: Path) -> None:
    reserve = Reserve(str(tmp_path))
    with fails_at(1, errno.ENOSPC, names=("posix_fallocate",)):
        reserve.hold()
    assert held_bytes(tmp_path) == 0
    (tmp_path / "reserve").unlink()
    with fails_at(1, errno.EROFS, names=("open",)):
        reserve.hold()
    assert not (tmp_path / "reserve").exists()


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
