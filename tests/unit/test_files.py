"""An error names its file, also where the call that failed knew its number alone; a killed writer leaves a known name."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.support.faults import as_user, dies_at, locked_as_on_nfs
from ucrmmail.files import DistrustError, Locked, Naming, fsync_directory, is_replacement, replace_file, try_lock


def test_the_error_of_a_call_on_a_descriptor_gets_the_path_of_its_file() -> None:
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="Invalid argument") as caught, Naming("/var/spool/x"):
        os.fsync(reader)
    os.close(reader)
    os.close(writer)
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, "/var/spool/x")


def test_the_number_of_a_descriptor_is_no_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with open(tmp_path / "file", "rb") as file:
        with pytest.raises(NotADirectoryError) as caught, Naming("/var/spool/x"):
            os.listdir(file.fileno())
        assert caught.value.filename == "/var/spool/x"


def test_a_path_that_is_known_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, Naming("/var/spool/x"):
        os.stat(tmp_path / "missing")
    assert caught.value.filename == str(tmp_path / "missing")


def test_a_reason_of_our_own_stays_as_it_was_told() -> None:
    with pytest.raises(DistrustError) as caught, Naming("/var/spool/x"):
        raise DistrustError("it is a symbolic link")
    assert str(caught.value) == "it is a symbolic link"


def test_what_is_no_error_of_the_system_passes_through() -> None:
    with pytest.raises(ValueError, match="another"), Naming("/var/spool/x"):
        raise ValueError("another")


def test_a_directory_that_cannot_be_synced_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error") as caught:
        fsync_directory(str(tmp_path))
    assert caught.value.filename == str(tmp_path)


def test_a_directory_that_no_file_system_can_sync_is_none_that_fails() -> None:
    # A directory of /proc is one; those of some network file systems are too.
    fsync_directory("/proc/self")


@pytest.mark.requirement("S15")
def test_a_lock_that_is_a_link_is_called_one(tmp_path: Path) -> None:
    """It had been "Too many levels of symbolic links", which sends a reader to look for a loop."""
    path = tmp_path / "lock"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DistrustError, match=r"^/\S+/lock is a symbolic link$"), Locked(str(path)):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_is_on_nothing_is_named(tmp_path: Path) -> None:
    lock = Locked(str(tmp_path / "lock"))
    lock.__enter__()
    os.close(lock._fd)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        lock.__exit__()
    assert caught.value.filename == str(tmp_path / "lock")


@pytest.mark.parametrize("name", ["journal", "journal.12", "last-flush.json", "host"])
def test_what_a_killed_writer_leaves_is_known_by_its_name_and_nothing_else_is(tmp_path: Path, name: str) -> None:
    def write(_say: object) -> None:
        replace_file(str(tmp_path / name), b"new")

    for step in range(1, 9):
        dies_at(step, write)
    left = set(os.listdir(tmp_path))
    assert name in left
    assert {each for each in left if is_replacement(each)} == left - {name} != set()


@pytest.mark.requirement("S15")
def test_a_link_is_replaced_and_what_it_points_to_is_left_alone_unless_it_is_to_be_followed(tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    elsewhere.write_bytes(b"theirs")
    link.symlink_to(elsewhere)
    replace_file(str(link), b"new", follows_link=True)
    assert (link.is_symlink(), elsewhere.read_bytes()) == (True, b"new")
    replace_file(str(link), b"ours")
    assert (link.is_symlink(), link.read_bytes(), elsewhere.read_bytes()) == (False, b"ours", b"new")


def test_nothing_but_a_file_is_replaced_by_one(tmp_path: Path) -> None:
    """As root ``check-dns --save /dev/null`` had left a file there in place of the device."""
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    for path, follows_link in ((fifo, False), (link, True)):
        with pytest.raises(OSError, match="not a regular file"):
            replace_file(str(path), b"new", follows_link=follows_link)
    assert (stat.S_ISFIFO(fifo.lstat().st_mode), sorted(os.listdir(tmp_path))) == (True, ["fifo", "link"])


# --- locks on a network file system -----------------------------------------------------------------------------------


@pytest.mark.requirement("R24")
def test_a_descriptor_for_reading_gets_the_lock_that_nfs_gives_to_who_may_write(tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_text("mail")
    fd, other = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for _ in range(2))
    with locked_as_on_nfs():
        assert try_lock(fd)
        assert not try_lock(other)
        assert os.pread(fd, 10, 0) == b"mail"
        assert not os.get_inheritable(fd)
        os.close(fd)
        assert try_lock(other)
    os.close(other)


@pytest.mark.requirement("R24")
def test_the_lock_of_a_file_that_may_not_be_written_is_refused_there(tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_text("mail")
    path.chmod(0o444)
    fd = os.open(path, os.O_RDONLY)
    with locked_as_on_nfs(), as_user(12345), pytest.raises(PermissionError) as caught, Naming(str(path)):
        try_lock(fd)
    os.close(fd)
    assert caught.value.filename == str(path)
