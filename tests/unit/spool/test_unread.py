"""What a person is told of a message that cannot be read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ucrmmail.files import DistrustError
from ucrmmail.spool.layout import CORRUPT, DEFERRED, FAILED, HELD, QUEUE, REJECTED, SENT
from ucrmmail.spool.unread import Unread, UnreadError, is_left_to_a_person, is_of_all

QUEUE_ID = "1-20261123T110559.123456-k3x9qa"


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.EACCES, "give the file back its owner and mode 600"),
        (errno.EPERM, "give the file back its owner and mode 600"),
        (errno.EIO, "mend the disk"),
    ],
)
def test_it_is_told_which_file_why_and_what_to_do(number: int, mend: str) -> None:
    why = os.strerror(number)
    unread = Unread.because_of(OSError(number, why, "/spool/state/x"), QUEUE_ID, "/spool/queue/x")
    assert unread.line == (
        f"{QUEUE_ID} cannot be read: /spool/state/x: {why}; {mend}, or run `ucrmmail queue remove {QUEUE_ID}`"
    )
    assert unread.line == f"{QUEUE_ID} {unread.trouble}"
    assert str(UnreadError(unread)) == unread.line


@pytest.mark.parametrize("filename", [None, 7])
def test_an_error_that_knows_no_path_is_of_the_file_that_was_read(filename: int | None) -> None:
    error = OSError(errno.EIO, "the disk")
    error.filename = filename
    assert Unread.because_of(error, QUEUE_ID, "/spool/queue/x").path == "/spool/queue/x"
    assert Unread.because_of(OSError("no words"), QUEUE_ID, "/spool/queue/x").why == "no words"


def test_only_what_keeps_us_from_any_file_is_of_all() -> None:
    assert [is_of_all(OSError(number, "")) for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)] == [True] * 3
    assert not any(is_of_all(OSError(number, "")) for number in (errno.EIO, errno.EACCES, errno.EPERM, errno.ENOLCK))


def test_what_cannot_be_believed_can_be_removed_unless_it_is_a_directory(tmp_path: Path) -> None:
    places = {place: tmp_path / place for place in ("file", "link", "directory")}
    places["file"].write_bytes(b"")
    places["directory"].mkdir()
    places["link"].symlink_to(places["directory"])
    told = {}
    for place, path in places.items():
        unread = Unread.doubted(DistrustError(f"{path} is not a regular file"), QUEUE_ID, str(path))
        assert unread.why == "it is not a regular file"
        told[place] = unread.remedy
    remove = f"`ucrmmail queue remove {QUEUE_ID}` removes it"
    assert told == {"file": remove, "link": remove, "directory": "move it away"}


def test_where_a_flush_looks_at_once_nothing_is_left_to_a_person() -> None:
    assert [
        place for place in (QUEUE, DEFERRED, HELD, FAILED, SENT, CORRUPT, REJECTED) if is_left_to_a_person(place)
    ] == [DEFERRED, HELD, FAILED]
