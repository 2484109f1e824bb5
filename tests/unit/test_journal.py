"""A journal gives back every whole record that was confirmed, and never a part of one."""

from __future__ import annotations

import errno
import os
import resource
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.faults import at_each_call, cannot_be_opened, fails_at
from ucrmmail.files import DistrustError, TooLargeError
from ucrmmail.journal import Journal, journal_of, read_journal, read_past_damage

PAYLOADS = st.lists(st.binary(max_size=60).map(lambda data: data.replace(b"\n", b" ").replace(b"\0", b" ")), max_size=8)


@pytest.mark.requirement("R26")
def test_where_a_full_disk_shortens_no_file_a_journal_is_opened_all_the_same(tmp_path: Path) -> None:
    made: list[int] = []
    path = str(tmp_path / "journal")
    journal = Journal(path)
    journal.append(b"one")
    with fails_at(1, errno.EDQUOT, names=("ftruncate",)):
        torn = Journal(path, make_room=lambda: made.append(1))
    assert (torn.replayed, made) == ([b"one"], [1])
    with fails_at(1, errno.EDQUOT, names=("ftruncate",), and_later=True):
        assert Journal(path, make_room=lambda: made.append(1)).replayed == [b"one"]
    with fails_at(1, errno.EIO, names=("ftruncate",)), pytest.raises(OSError, match="Input/output"):
        Journal(_torn(path), make_room=lambda: made.append(1))
    assert made == [1]


def _torn(path: str) -> str:
    """A journal that ends in the middle of a record."""
    with open(path, "ab") as file:
        file.write(b"0000")
    return path


def test_a_missing_journal_is_empty(tmp_path: Path) -> None:
    assert read_journal(str(tmp_path / "journal")) == ([], 0)


@settings(max_examples=40)
@given(first=PAYLOADS, second=PAYLOADS)
def test_what_was_appended_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, first: list[bytes], second: list[bytes]
) -> None:
    path = str(tmp_path_factory.mktemp("journal") / "journal")
    for before, payloads in (([], first), (first, second)):
        journal = Journal(path)
        assert journal.replayed == before
        for payload in payloads:
            journal.append(payload)
        # In the kernel already: what a killed process leaves.
        assert read_journal(path)[0] == before + payloads
        journal.sync()
        journal.close()
    assert os.path.getsize(path) == read_journal(path)[1]


def test_a_record_torn_at_any_byte_takes_only_itself(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    journal = Journal(path)
    ends = [0]
    for payload in (b"one", b"two two", b"three"):
        journal.append(payload)
        ends.append(journal.offset)
    journal.close()
    whole = Path(path).read_bytes()
    for length in range(len(whole)):
        Path(path).write_bytes(whole[:length])
        intact = max(count for count, end in enumerate(ends) if end <= length)
        reopened = Journal(path)
        assert len(reopened.replayed) == intact
        reopened.append(b"after")
        reopened.close()
        assert read_journal(path)[0] == [*reopened.replayed, b"after"]


def test_a_flipped_bit_ends_the_journal_there(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    for payload in (b"one", b"two"):
        journal.append(payload)
    journal.close()
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            assert read_journal(str(path))[0] in ([], [b"one"])


def four_records(path: Path) -> bytes:
    journal = Journal(str(path))
    for payload in (b"one", b"two", b"three", b"four"):
        journal.append(payload)
    journal.close()
    return path.read_bytes()


def test_a_flipped_bit_takes_nothing_from_what_is_behind_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    whole = four_records(path)
    second, fourth = whole.index(b"\n") + 1, whole.rindex(b"\n", 0, -1) + 1
    # Without its line end a record takes the next one with it.
    expected = ([b"one", b"three", b"four"], [b"one", b"two", b"four"], [b"one", b"four"])
    for position in range(second, fourth - 1):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            payloads, places = read_past_damage(str(path))
            assert payloads in expected
            assert places == 1
            assert read_journal(str(path))[0] in ([b"one"], [b"one", b"two"])


def test_what_is_torn_at_the_end_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    whole = four_records(path)
    for length in range(len(whole) + 1):
        for zeros in (0, 1, 5000):
            path.write_bytes(whole[:length] + bytes(zeros))
            assert read_past_damage(str(path))[1] == 0
    path.write_bytes(whole + bytes(4096) + b"torn")
    assert read_past_damage(str(path)) == ([b"one", b"two", b"three", b"four"], 0)


def test_a_flipped_bit_in_the_last_record_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    whole = four_records(path)
    for position in range(whole.rindex(b"\n", 0, -1) + 1, len(whole) - 1):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            for more in (b"", bytes(4096), b"torn"):
                path.write_bytes(damaged + more)
                assert read_past_damage(str(path)) == ([b"one", b"two", b"three"], 1)
    path.write_bytes(b"garbage\n" * 3)
    assert read_past_damage(str(path)) == ([], 1)


def test_pages_that_a_power_cut_has_lost_are_one_damage_each(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    for number in range(2000):
        journal.append(b"%d" % number)
    journal.close()
    damaged = bytearray(path.read_bytes())
    damaged[4096:8192] = bytes(4096)
    damaged[12288:16384] = bytes(4096)
    path.write_bytes(damaged)
    payloads, places = read_past_damage(str(path))
    assert places == 2
    assert payloads[0] == b"0"
    assert payloads[-1] == b"1999"
    assert 1200 < len(payloads) < 1500


def test_a_journal_with_damage_goes_on_behind_its_last_record(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(four_records(path).replace(b"two", b"twe") + b"torn")
    journal = Journal(str(path), past_damage=True)
    assert (journal.replayed, journal.damaged) == ([b"one", b"three", b"four"], 1)
    journal.append(b"five")
    assert read_past_damage(str(path)) == ([b"one", b"three", b"four", b"five"], 1)
    journal.keep_only([b"four"])
    assert read_past_damage(str(path)) == ([b"four"], 0)
    journal.close()


def test_a_shorter_record_over_a_torn_one_leaves_no_tail(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    journal.append(b"first")
    end = journal.offset
    journal.append(b"x" * 30 + b" 8cdc1683 forged")
    journal.close()
    path.write_bytes(path.read_bytes()[:-3])
    reopened = Journal(str(path))
    reopened.append(b"y")
    reopened.close()
    assert read_journal(str(path))[0] == [b"first", b"y"]
    assert path.stat().st_size == end + 11


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_room_is_made_by_hand_where_the_file_system_does_not_make_it(tmp_path: Path, number: int) -> None:
    """As of NFS and FUSE with musl, whose posix_fallocate does not write zeros as that of glibc does."""
    path = str(tmp_path / "journal")
    journal = Journal(path)
    with fails_at(1, number, names=("posix_fallocate",), and_later=True):
        journal.append(b"one")
        journal.ensure_room(1 << 20)
    assert min(os.stat(path).st_size, os.stat(path).st_blocks * 512) > 1 << 20
    assert read_journal(path)[0] == [b"one"]
    journal.append(b"two")
    journal.close()
    assert read_journal(path)[0] == [b"one", b"two"]


@pytest.mark.requirement("R26")
def test_a_disk_that_is_full_where_room_is_made_by_hand_gets_back_what_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    journal = Journal(path)
    journal.append(b"one")
    room = os.path.getsize(path)
    with (
        fails_at(1, errno.EOPNOTSUPP, names=("posix_fallocate",), and_later=True),
        fails_at(2, errno.ENOSPC, names=("pwrite",), and_later=True),
        pytest.raises(OSError, match="No space left"),
    ):
        journal.ensure_room(1 << 20)
    assert os.path.getsize(path) == room


@pytest.mark.requirement("R4")
def test_below_a_limit_of_the_process_a_record_needs_no_more_room_than_it_takes(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        journal = Journal(path)
        for _ in range(9):
            journal.append(b"x" * 10_000)
        with pytest.raises(OSError, match="File too large"):
            journal.ensure_room(10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(read_journal(path)[0]) == 9


def test_room_ahead_of_use_reads_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    journal.append(b"one")
    journal.ensure_room(1_000_000)
    assert path.stat().st_size > 1_000_000
    assert read_journal(str(path)) == ([b"one"], journal.offset)
    journal.close()
    assert path.stat().st_size == journal.offset


def test_a_cleared_journal_is_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    journal.append(b"one")
    journal.clear()
    assert path.stat().st_size == 0
    journal.append(b"two")
    assert read_journal(str(path))[0] == [b"two"]
    journal.close()


def test_the_records_that_are_kept_replace_all(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    for number in range(100):
        journal.append(b"%d" % number)
    journal.keep_only([b"41", b"42"])
    journal.append(b"after")
    journal.close()
    assert read_journal(str(path))[0] == [b"41", b"42", b"after"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    journal = Journal(str(path))
    journal.keep_only([])
    assert path.stat().st_size == 0
    journal.close()
    assert os.listdir(tmp_path) == ["journal"]


def test_records_that_cannot_be_replaced_stay(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    journal.append(b"one")
    with fails_at(1, errno.ENOSPC, names=("write",)), pytest.raises(OSError, match="No space"):
        journal.keep_only([b"two"])
    journal.append(b"three")
    journal.close()
    assert read_journal(str(path))[0] == [b"one", b"three"]
    assert os.listdir(tmp_path) == ["journal"]


def test_a_replaced_journal_whose_name_is_not_durable_takes_no_more_records(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal"))
    journal.append(b"one")
    with fails_at(2, errno.EIO, names=("fsync",)), pytest.raises(OSError, match="Input/output"):
        journal.keep_only([b"two"])
    with pytest.raises(OSError, match="earlier sync failed"):
        journal.append(b"three")


@pytest.mark.requirement("R4")
def test_a_replaced_journal_that_cannot_be_opened_takes_no_more_records_and_writes_into_no_other_file(
    tmp_path: Path,
) -> None:
    journal = Journal(str(tmp_path / "journal"))
    journal.append(b"one")
    with cannot_be_opened(str(tmp_path / "journal"), errno.ENFILE), pytest.raises(OSError, match="Too many open files"):
        journal.keep_only([b"two"])
    # Were the journal's descriptor closed by now, this would get its number.
    with open(tmp_path / "other", "w+b") as other:
        with pytest.raises(OSError, match="earlier sync failed"):
            journal.append(b"three")
        journal.close()
        assert os.fstat(other.fileno()).st_size == 0
    assert read_journal(str(tmp_path / "journal"))[0] == [b"two"]


@pytest.mark.requirement("R3")
def test_after_a_failed_sync_nothing_is_believed(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal"))
    journal.append(b"one")
    with fails_at(1, errno.EIO, names=("fdatasync",)), pytest.raises(OSError, match="Input/output"):
        journal.sync()
    for call in (journal.sync, lambda: journal.append(b"two"), lambda: journal.ensure_room(1)):
        with pytest.raises(OSError, match="earlier sync failed") as caught:
            call()
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(tmp_path / "journal"))


@pytest.mark.parametrize("at_once", [1, 5, 11])
def test_a_record_that_the_kernel_takes_in_pieces_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:at_once], offset))
    journal = Journal(str(tmp_path / "journal"))
    for payload in (b"one", b"two two two"):
        journal.append(payload)
    assert read_journal(str(tmp_path / "journal")) == ([b"one", b"two two two"], journal.offset)


@pytest.mark.requirement("R26")
def test_a_full_disk_is_noticed_before_it_matters(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal"))
    journal.ensure_room(100)
    # The room is there: from now on the disk may be full.
    with fails_at(1, errno.ENOSPC, names=("posix_fallocate",), and_later=True):
        journal.append(b"x" * 80)
        with pytest.raises(OSError, match="No space"):
            journal.ensure_room(1 << 20)
    assert read_journal(str(tmp_path / "journal"))[0] == [b"x" * 80]


def test_the_last_blocks_of_a_disk_are_taken_for_what_is_needed_now(tmp_path: Path) -> None:
    asked = []

    def make_room() -> None:
        asked.append("room")

    journal = Journal(str(tmp_path / "journal"), make_room=make_room)
    with fails_at(1, errno.ENOSPC, names=("posix_fallocate",)):
        journal.ensure_room(5000)
    assert asked == ["room"]
    assert (tmp_path / "journal").stat().st_size == 5000


@pytest.mark.requirement("R26")
@pytest.mark.parametrize(("blocks", "free", "asks"), [(1000, 99, False), (1000, 100, True), (0, 0, True)])
def test_a_disk_is_not_asked_for_more_than_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, blocks: int, free: int, asks: bool
) -> None:
    """ext4 gives all that it has before it refuses: for that moment, nobody else could write to it."""
    journal = Journal(str(tmp_path / "journal"))
    found = os.statvfs_result((4096, 4096, blocks, free, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda _fd: found)
    with fails_at(0, 0, names=("posix_fallocate",)) as called:
        if asks:
            journal.ensure_room(409_600)
        else:
            with pytest.raises(OSError, match="No space left") as caught:
                journal.ensure_room(409_600)
            assert caught.value.filename == str(tmp_path / "journal")
        assert called == ["posix_fallocate"] * asks
        # What a few messages need, it is asked for.
        journal.ensure_room(5000)
    assert called == ["posix_fallocate"]


def test_a_disk_that_is_broken_is_not_asked_twice(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal"))
    with (
        fails_at(1, errno.EIO, names=("posix_fallocate",)) as called,
        pytest.raises(OSError, match="Input/output"),
    ):
        journal.ensure_room(5000)
    assert called == ["posix_fallocate"]
    assert (tmp_path / "journal").stat().st_size == 0


def test_the_name_of_a_new_journal_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    Journal(str(tmp_path / "journal")).close()
    Journal(str(tmp_path / "journal")).close()
    assert synced == [str(tmp_path)]


def test_a_link_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("keep me")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", tmp_path / "hard")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "hard", "fifo"):
        with pytest.raises(DistrustError):
            Journal(str(tmp_path / name))
    assert (tmp_path / "secret").read_text() == "keep me"


def test_a_hard_link_that_is_made_at_this_moment_is_refused_and_nothing_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    journal.append(b"one")
    journal.close()

    def somebody_links_it(number: int, _name: str) -> None:
        if number == 2:  # it was read already
            os.link(path, tmp_path / "other")

    with at_each_call(somebody_links_it, ("open",)), pytest.raises(DistrustError, match="hard links"):
        Journal(str(path))
    path.unlink()
    assert read_journal(str(tmp_path / "other"))[0] == [b"one"]


def test_a_journal_that_is_too_large_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.touch()
    os.truncate(path, 1 << 30)
    with path.open("ab") as file:
        file.write(b"x")
    for read in (read_journal, read_past_damage, Journal):
        with pytest.raises(TooLargeError, match=r"^the file is larger than 1073741824 bytes$") as raised:
            read(str(path))
        assert raised.value.filename == str(path)


def test_room_ahead_of_use_is_not_read_however_much_it_is(tmp_path: Path) -> None:
    """Two mailings to 100,000 recipients that are out at a time may need more than the largest journal holds."""
    path = tmp_path / "journal"
    journal = Journal(str(path))
    journal.append(b"one")
    os.truncate(path, 1 << 31)  # who is killed leaves it so
    assert read_journal(str(path)) == ([b"one"], journal.offset)
    with fails_at(1, errno.EIO, names=("lseek",)), pytest.raises(OSError, match="Input/output"):
        read_journal(str(path))
    opened = Journal(str(path), past_damage=True)
    assert (opened.replayed, opened.damaged, path.stat().st_size) == ([b"one"], 0, journal.offset)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_room_ahead_of_use_is_read_where_the_file_system_does_not_tell_of_it(tmp_path: Path, number: int) -> None:
    """As of a share of SMB whose server does not say which parts of a file are in use: a kill had stopped all mail."""
    path = tmp_path / "journal"
    journal = Journal(str(path))
    journal.append(b"one")
    os.truncate(path, 5 << 20)
    with fails_at(1, number, names=("lseek",), and_later=True) as called:
        assert read_journal(str(path)) == ([b"one"], journal.offset)
        assert called
        opened = Journal(str(path), past_damage=True)
    assert (opened.replayed, opened.damaged, path.stat().st_size) == ([b"one"], 0, journal.offset)


def test_records_are_found_behind_much_that_a_power_cut_has_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path))
    journal.append(b"one")
    with path.open("r+b") as file:
        file.seek((5 << 20) + 17)
        file.write(b"\n" + journal_of([b"two"]))
        end = file.tell()
        file.truncate(9 << 20)
    opened = Journal(str(path), past_damage=True)
    assert (opened.replayed, opened.damaged, opened.offset) == ([b"one", b"two"], 1, end)
    assert read_journal(str(path)) == ([b"one"], journal.offset)
