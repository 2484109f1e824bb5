"""Handing over is durable when it is told, and whatever goes wrong leaves nothing behind in somebody else's directory."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.faults import as_user, fails_at
from tests.support.spools import JOE, MESSAGE, NOW, everything_in, new_spool
from ucrmmail.errors import TemporaryError
from ucrmmail.spool.handover import hand_over, takes_from_others
from ucrmmail.spool.layout import new_queue_id
from ucrmmail.spool.queue import Spool

OWNER, OTHER = 65534, 987654


def hand(directory: str) -> None:
    hand_over(
        directory, reverse_path="app@isp.example", recipients=(JOE,), message=MESSAGE, priority="normal",
        eight_bit=False, utf8=False, now=NOW, min_free_bytes=0,
    )  # fmt: skip


def test_who_is_let_in_is_asked_of_the_user_whose_rights_the_program_has() -> None:
    # Who has started it, the real user, is root here.
    with TemporaryDirectory() as home:
        directory = new_spool(Path(home))
        os.chmod(home, 0o755)
        os.chmod(directory, 0o711)
        for path in (directory, f"{directory}/drop"):
            os.chown(path, OWNER, OWNER)
        with as_user(OTHER):
            assert not takes_from_others(directory)
        os.chmod(f"{directory}/drop", 0o1733)
        with as_user(OTHER):
            assert takes_from_others(directory)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES], ids=errno.errorcode.get)
def test_an_error_at_any_call_leaves_nothing_and_says_so(tmp_path: Path, number: int) -> None:
    directory = new_spool(tmp_path)
    with fails_at(0, number) as called:
        hand(directory)
    (name,) = everything_in(directory)
    assert name.startswith("drop/1-20261123T1106")
    assert name.endswith(".eml")
    os.unlink(f"{directory}/{name}")
    assert called == ["open", "write", "write", "fsync", "rename", "fsync", "close"]
    for step in range(1, len(called)):
        with fails_at(step, number), pytest.raises(TemporaryError) as caught:
            hand(directory)
        assert os.strerror(number) in caught.value.what
        assert "not accepted" in caught.value.why
        assert everything_in(directory) == []


def test_what_a_hand_over_that_died_has_left_is_removed_when_nobody_can_be_at_it(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    drop = Path(directory, "drop")
    half = f".{new_queue_id(NOW, 'normal')}"
    for name, age_h in (
        (f"{half}.old", 37),
        (half, 37),
        (f"{half}.young", 35),
        (".profile", 1000),
        ("x.eml.part", 1000),
    ):
        (drop / name).write_bytes(b"half a mess")
        os.utime(drop / name, (NOW - age_h * 3600,) * 2)
    # In a directory that others can write to: what cannot be removed is in nobody's way.
    (drop / f"{half}.directory").mkdir()
    os.utime(drop / f"{half}.directory", (0, 0))
    Spool(directory).recover(NOW)
    assert sorted(os.listdir(drop)) == sorted([f"{half}.young", f"{half}.directory", ".profile", "x.eml.part"])
