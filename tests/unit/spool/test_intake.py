"""The drop directory: what is complete is taken once, what is hostile is never opened."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.faults import (
    as_user,
    at_each_call,
    at_the_opening_of,
    cannot_be_looked_at,
    directories_cannot_be_synced,
    fails_at,
    vanishes_when_listed,
)
from tests.support.spools import ANN, JOE, NOW, claim, content, everything_in, new_spool, settle
from tests.support.submission import submit
from tests.unit.spool.test_queue import KINDS, hostile
from ucrmmail.errors import DataError, NoUserError, PermissionDeniedError
from ucrmmail.message.arrival import Arrived
from ucrmmail.message.prepare import LARGEST_IN_MEMORY, Prepared
from ucrmmail.spool import intake, manage
from ucrmmail.spool.intake import Intake, take_drops
from ucrmmail.spool.layout import path_in_queue, priority_of
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.queuefile import LARGEST_ENVELOPE_BYTES, encode_head

LARGEST = 10_000


def prepare(raw: bytes) -> Prepared:
    """Enough of preparing to see what goes in and what comes out."""
    if b"no recipients" in raw:
        raise NoUserError("the message has no recipients")
    if b"torn" in raw:
        raise DataError("the message is torn")
    if b"bug" in raw:
        raise ZeroDivisionError("a fault of ours")
    return Prepared(
        reverse_path="a@isp.example",
        recipients=(JOE,),
        message=raw,
        priority="urgent" if b"urgent" in raw else "normal",
        eight_bit=False,
        utf8=False,
        message_id="<1@x>",
    )


@dataclass
class Drop:
    """The drop directory and what takes from it."""

    directory: str

    @property
    def path(self) -> Path:
        return Path(self.directory) / "drop"

    def add(self, name: str, data: bytes = b"mail") -> Path:
        path = self.path / name
        path.write_bytes(data)
        return path

    def take(
        self,
        later_s: float = 1.0,
        prepare: Callable[[bytes], Prepared] = prepare,
        limit: int = 100,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> Intake:
        times = [
            os.lstat(os.path.join(self.path, name)).st_ctime
            for name in os.listdir(os.fsencode(self.path).decode("utf-8", "surrogateescape"))
        ]
        now = max(times, default=1.8e9) + later_s
        return take_drops(
            self.directory,
            prepare=prepare,
            now=now,
            max_size_bytes=LARGEST,
            min_free_bytes=0,
            limit=limit,
            may_go_on=may_go_on,
        )

    def queued(self) -> list[bytes]:
        spool = Spool(self.directory)
        found = []
        for queue_id in list(spool.due()):
            claimed = claim(spool, queue_id)
            found.append(content(claimed))
            spool.release(claimed)
        return found


@pytest.fixture
def drop(tmp_path: Path) -> Drop:
    return Drop(new_spool(tmp_path))


def test_a_message_that_is_too_large_for_the_queue_is_rejected_and_stops_no_other(drop: Drop) -> None:
    recipients = ("x" * (LARGEST_ENVELOPE_BYTES // 2),) * 2
    drop.add("1.eml", b"to too many")
    drop.add("2.eml")

    def to_many(raw: bytes) -> Prepared:
        prepared = prepare(raw)
        prepared.recipients = recipients if b"many" in raw else (JOE,)
        return prepared

    taken = drop.take(prepare=to_many)
    assert taken.rejected == [("1.eml", "the message goes to 2 recipients, more than fit into one envelope")]
    assert [name for name, _ in taken.accepted] == ["2.eml"]
    assert taken.problems == []


def test_complete_files_are_taken_in_the_order_of_their_changes(drop: Drop) -> None:
    for number, name in enumerate(["z.eml", "a.eml", "m.eml"]):
        os.utime(drop.add(name, name.encode()), (1e9 + number, 1e9 + number))
    result = drop.take()
    assert [name for name, _ in result.accepted] == ["z.eml", "a.eml", "m.eml"]
    assert (result.rejected, result.problems, result.quiet_at) == ([], [], 0.0)
    assert drop.queued() == [b"z.eml", b"a.eml", b"m.eml"]
    assert os.listdir(drop.path) == os.listdir(f"{drop.directory}/tmp") == []


def test_the_priority_of_the_message_is_that_of_its_id(drop: Drop) -> None:
    drop.add("1.eml", b"slow")
    drop.add("2.eml", b"urgent")
    result = drop.take()
    assert sorted(priority_of(queue_id) for _, queue_id in result.accepted) == ["normal", "urgent"]
    assert drop.queued() == [b"urgent", b"slow"]


def test_other_names_are_not_looked_at(drop: Drop) -> None:
    for name in ("readme.txt", ".hidden.eml", "mail.eml.tmp", "mail.EML", "eml"):
        drop.add(name)
    assert drop.take() == Intake()
    assert len(os.listdir(drop.path)) == 5


ODD_NAMES = ["new\nline.eml", "\x1b[31mred.eml", "-rf.eml", "a b;$(id).eml", "\udcff.eml", "x" * 251 + ".eml"]


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_only_names(drop: Drop, name: str) -> None:
    drop.add(name)
    drop.add("torn " + name[-200:], b"torn")
    result = drop.take()
    assert [each for each, _ in result.accepted] == [name]
    assert len(result.rejected) == 1
    assert drop.queued() == [b"mail"]


def test_what_an_intake_that_must_end_leaves_is_taken_by_the_next(drop: Drop) -> None:
    for number in range(5):
        os.utime(drop.add(f"{number}.eml", b"%d" % number), (1e9 + number, 1e9 + number))
    asked = iter([True, True, False])
    result = drop.take(may_go_on=lambda: next(asked))
    assert [name for name, _ in result.accepted] == ["0.eml", "1.eml"]
    assert sorted(os.listdir(drop.path)) == ["2.eml", "3.eml", "4.eml"]
    assert [name for name, _ in drop.take(later_s=2.0).accepted] == ["2.eml", "3.eml", "4.eml"]
    assert drop.queued() == [b"0", b"1", b"2", b"3", b"4"]


def test_what_was_taken_by_a_run_that_died_waits_for_one_that_may_go_on(drop: Drop) -> None:
    os.rename(drop.add("1.eml"), f"{drop.directory}/tmp/1-20261123T110559.123456-k3x9qa.eml")
    assert drop.take(may_go_on=lambda: False) == Intake()
    assert len(drop.take().accepted) == 1


def test_a_file_that_changed_a_moment_ago_is_looked_at_again(drop: Drop) -> None:
    changed_at = drop.add("new.eml").stat().st_ctime
    result = drop.take(later_s=0.1)
    assert result.accepted == []
    assert changed_at + 0.1 < result.quiet_at <= changed_at + 0.26
    assert drop.take(later_s=0.26).accepted


def test_a_file_that_is_being_written_is_left_alone(drop: Drop) -> None:
    path = drop.path / "slow.eml"
    with path.open("wb") as writer:
        writer.write(b"half")
        writer.flush()
        for later_s in (1.0, 60.0, 599.0):
            result = drop.take(later_s=later_s)
            assert result.accepted == result.rejected == []
            assert result.quiet_at > 0
        writer.write(b" and half")
    assert drop.take().accepted
    assert drop.queued() == [b"half and half"]


def test_a_writer_that_forgot_its_file_does_not_keep_it_for_ever(drop: Drop) -> None:
    with (drop.path / "leak.eml").open("wb") as writer:
        writer.write(b"done")
        writer.flush()
        assert drop.take(later_s=601.0).accepted


def test_a_clock_set_back_does_not_keep_a_file_for_hours(drop: Drop) -> None:
    with (drop.path / "a.eml").open("wb"):
        assert drop.take(later_s=-3600.0).accepted == []
    assert drop.take(later_s=-3600.0).accepted


@pytest.mark.parametrize(("text", "reason"), [(b"no recipients", "no recipients"), (b"torn", "torn"), (b"bug", "internal error: ZeroDivisionError"), (b"x" * (LARGEST + 1), "larger than")])  # fmt: skip
def test_what_cannot_be_sent_is_rejected_with_the_reason_and_the_others_go_on(
    drop: Drop, text: bytes, reason: str
) -> None:
    drop.add("bad.eml", text)
    drop.add("good.eml")
    result = drop.take()
    assert [name for name, _ in result.accepted] == ["good.eml"]
    assert [name for name, _ in result.rejected] == ["bad.eml"]
    assert reason in result.rejected[0][1]
    rejected = Path(drop.directory) / "rejected"
    assert (rejected / "bad.eml").read_bytes() == text
    assert reason in (rejected / "bad.eml.reason").read_text()
    assert os.listdir(drop.path) == []


@pytest.mark.parametrize(
    ("error", "told"),
    [(MemoryError(), "out of memory"), (ImportError("No module named 'idna'"), "No module named 'idna'")],
)
def test_what_cannot_be_prepared_for_now_waits_for_the_next_run(drop: Drop, error: Exception, told: str) -> None:
    """It is no fault of the message's: it had been rejected, as with a fault of ours."""

    def for_now(_raw: bytes) -> Prepared:
        raise error

    drop.add("x.eml")
    result = drop.take(prepare=for_now)
    assert (result.accepted, result.rejected) == ([], [])
    (problem,) = result.problems
    assert problem.endswith(f".eml: {told}")
    assert len(drop.take().accepted) == 1
    assert drop.queued() == [b"mail"]


def test_an_earlier_reject_is_not_overwritten(drop: Drop) -> None:
    for number in range(3):
        drop.add("bad.eml", b"torn %d" % number)
        drop.take()
    rejected = Path(drop.directory) / "rejected"
    assert sorted(os.listdir(rejected)) == [
        "bad.eml", "bad.eml.2", "bad.eml.2.reason", "bad.eml.3", "bad.eml.3.reason", "bad.eml.reason",
    ]  # fmt: skip
    assert (rejected / "bad.eml.3").read_bytes() == b"torn 2"


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "somebody else's"])
def test_hostile_files_are_moved_away_unopened(
    drop: Drop, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "device" and os.geteuid() != 0:
        pytest.skip("only root can make one")
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(b"top secret")
    hostile(drop.path / "evil.eml", kind, secret)
    drop.add("good.eml")
    result = drop.take(later_s=6.0)
    assert [name for name, _ in result.accepted] == ["good.eml"]
    assert [name for name, _ in result.rejected] == ["evil.eml"]
    assert os.path.lexists(f"{drop.directory}/rejected/evil.eml")
    assert drop.queued() == [b"mail"]
    assert secret.read_bytes() == b"top secret"
    assert os.listdir(drop.path) == []


def test_a_program_that_links_and_then_unlinks_is_waited_for(drop: Drop) -> None:
    (drop.path / ".partial").write_bytes(b"mail")
    os.link(drop.path / ".partial", drop.path / "done.eml")
    result = drop.take(later_s=1.0)
    assert (result.accepted, result.rejected) == ([], [])
    assert result.quiet_at > 0
    (drop.path / ".partial").unlink()
    assert drop.take().accepted


def test_the_thousandth_of_a_name_does_not_ask_for_all_before_it(drop: Drop) -> None:
    rejected = Path(drop.directory) / "rejected"
    for number in range(1, 1001):
        (rejected / ("bad.eml" if number == 1 else f"bad.eml.{number}")).touch()
    # What a person has taken away is taken again, or not.
    (rejected / "bad.eml.700").rename(rejected / "bad.eml.700.reason")
    drop.add("bad.eml", b"torn")
    looked: list[str] = []
    with at_each_call(lambda _, name: looked.append(name), ("lstat",)):
        ((kept, _),) = drop.take().rejected
    assert kept == "bad.eml.1001"
    assert (rejected / kept).read_bytes() == b"torn"
    assert len(looked) < 60


def test_a_great_many_names_take_no_memory(drop: Drop) -> None:
    for number in range(4000):
        drop.add(f"{number:04}.eml", b"")
    tracemalloc.start()
    try:
        result = take_drops(
            drop.directory, prepare=prepare, now=1.8e9, max_size_bytes=LARGEST, min_free_bytes=0, limit=10
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(result.accepted) + len(result.rejected) <= 10
    assert most < 1 << 19


def test_no_more_than_the_limit_are_taken_at_a_time(drop: Drop) -> None:
    for number in range(5):
        os.utime(drop.add(f"{number}.eml"), (1e9 + number, 1e9 + number))
    assert [name for name, _ in drop.take(limit=3).accepted] == ["0.eml", "1.eml", "2.eml"]
    assert [name for name, _ in drop.take(limit=3).accepted] == ["3.eml", "4.eml"]


def test_no_user_puts_his_files_before_those_of_others(drop: Drop) -> None:
    first = drop.add("first.eml")
    later = drop.add("touched.eml")
    os.utime(later, (0, 0))
    while later.stat().st_ctime_ns == first.stat().st_ctime_ns:
        os.utime(later, (0, 0))  # in one tick of the kernel's clock nobody is first
    assert [name for name, _ in drop.take(limit=1).accepted] == ["first.eml"]


def test_more_than_one_batch_is_taken(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_BATCH", 2)
    for number in range(5):
        drop.add(f"{number}.eml")
    assert len(drop.take().accepted) == 5
    assert os.listdir(f"{drop.directory}/tmp") == []


def test_a_file_that_cannot_be_moved_away_is_not_sent(drop: Drop) -> None:
    drop.add("stuck.eml")
    with fails_at(1, errno.EACCES, names=("rename",)):
        result = drop.take()
    assert result.accepted == []
    assert "stuck.eml" in result.problems[0]
    assert drop.queued() == []
    assert len(drop.take().accepted) == 1


@pytest.mark.parametrize(
    ("data", "told"), [(b"mail", "it cannot be taken"), (b"", "it is a symbolic link, and cannot be moved away")]
)
def test_a_drop_directory_that_is_a_mount_is_told_as_one(drop: Drop, data: bytes, told: str) -> None:
    if data:
        drop.add("x.eml", data)
    else:
        (drop.path / "x.eml").symlink_to("/etc/hostname")
    with fails_at(1, errno.EXDEV, names=("rename",)):
        (problem,) = drop.take(later_s=10).problems
    assert problem == (
        f"{drop.path}/x.eml: {told}: drop/ is a mount of its own, and no file can be moved out of one; mount the whole "
        "spool instead"
    )


def test_a_file_that_cannot_be_rejected_is_told(drop: Drop) -> None:
    drop.add("bad.eml", b"torn")
    with fails_at(2, errno.EROFS, names=("rename",)):
        result = drop.take()
    assert result.rejected == []
    assert "torn" in result.problems[0]


def test_files_that_vanish_at_this_moment_are_nobodys(drop: Drop) -> None:
    for name in ("open", "rename"):
        drop.add("gone.eml")
        drop.add("bad.eml", b"torn")

        def somebody_removes_it(_: int, _name: str) -> None:
            for path in drop.path.glob("gone.eml"):
                path.unlink()

        with at_each_call(somebody_removes_it, (name,)):
            result = drop.take()
        assert result.problems == []
        assert all(kept.startswith("bad.eml") for kept, _ in result.rejected)


def test_a_file_that_vanishes_between_two_looks_is_nobodys(drop: Drop) -> None:
    drop.add("gone.eml")
    drop.add("stays.eml")
    with vanishes_when_listed("gone.eml"):
        result = drop.take()
    assert ([name for name, _ in result.accepted], result.rejected, result.problems) == (["stays.eml"], [], [])
    path = drop.add("gone.eml")
    with at_the_opening_of("gone.eml", before=path.unlink):
        result = drop.take()
    assert (result.accepted, result.rejected, result.problems) == ([], [], [])


def test_a_link_that_vanishes_before_it_is_rejected_is_nobodys(drop: Drop) -> None:
    path = drop.path / "gone.eml"
    path.symlink_to("/etc/hostname")

    def somebody_removes_it(_: int, _name: str) -> None:
        path.unlink()

    with at_each_call(somebody_removes_it, ("rename",)):
        result = drop.take(later_s=9.0)
    assert (result.accepted, result.rejected, result.problems) == ([], [], [])
    assert everything_in(drop.directory) == []


def test_a_file_that_becomes_a_link_after_it_was_looked_at_is_not_followed(drop: Drop, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"top secret")
    path = drop.add("evil.eml")

    def somebody_swaps_it() -> None:
        path.unlink()
        path.symlink_to(tmp_path / "secret")

    with at_the_opening_of("evil.eml", before=somebody_swaps_it):
        result = drop.take()
    assert (result.accepted, result.problems) == ([], [])
    assert result.rejected == [("evil.eml", "evil.eml is a symbolic link")]
    assert drop.queued() == []


def test_what_a_living_submission_writes_is_not_taken(drop: Drop) -> None:
    arriving = Path(drop.directory) / "tmp" / "1-20261123T110640.250000-aaaaaa"
    stray = Path(drop.directory) / "tmp" / "notes.eml"
    for path in (arriving, stray):
        path.write_bytes(b"half a mess")
    drop.add("whole.eml")
    assert [name for name, _ in drop.take().accepted] == ["whole.eml"]
    assert arriving.exists()
    assert stray.exists()


def test_a_prepared_address_that_the_queue_does_not_take_rejects_its_message_alone(drop: Drop) -> None:
    def with_a_line_end(raw: bytes) -> Prepared:
        prepared = prepare(raw)
        if raw == b"bad":
            prepared.recipients = ("joe@example.com\nto eve@example.com",)
        return prepared

    drop.add("bad.eml", b"bad")
    drop.add("good.eml")
    result = drop.take(prepare=with_a_line_end)
    assert [name for name, _ in result.accepted] == ["good.eml"]
    assert [name for name, _ in result.rejected] == ["bad.eml"]
    assert drop.queued() == [b"mail"]


def test_a_full_disk_keeps_the_files_and_stops_the_intake(drop: Drop) -> None:
    for number in range(3):
        drop.add(f"{number}.eml")
    result = take_drops(drop.directory, prepare=prepare, now=4e9, max_size_bytes=LARGEST, min_free_bytes=1 << 60)
    assert result.accepted == result.rejected == []
    assert "free" in result.problems[0]
    assert drop.queued() == []
    assert len(drop.take().accepted) == 3
    assert everything_in(drop.directory, without=["journal"])
    assert len(drop.queued()) == 3


@pytest.mark.parametrize("name", ["write", "fsync", "rename", "open"])
def test_a_failing_disk_loses_no_file(drop: Drop, name: str) -> None:
    for number in range(3):
        drop.add(f"{number}.eml", b"mail %d" % number)
    for step in range(1, 16):
        with fails_at(step, errno.EIO, names=(name,)):
            try:
                drop.take()
            except (OSError, PermissionDeniedError):
                continue
    drop.take()
    assert sorted(set(drop.queued())) == [b"mail 0", b"mail 1", b"mail 2"]
    assert len(drop.queued()) == 3


def test_what_a_power_cut_has_left_the_name_that_it_was_taken_by_is_accepted_once(drop: Drop, tmp_path: Path) -> None:
    # So does Btrfs with what was handed over a moment before: both names would be rejected for having another one.
    taken = [f"{drop.directory}/tmp/1-20261123T110559.12345{number}-k3x9qa.eml" for number in range(2)]
    for number, path in enumerate(taken):
        os.rename(drop.add(f"{number}.eml", b"mail %d" % number), path)
    os.link(taken[0], drop.path / "0.eml")
    os.link(taken[1], tmp_path / "elsewhere")
    drop.add("2.eml", b"mail 2")
    Spool(drop.directory).recover(NOW)
    assert os.listdir(drop.path) == ["2.eml"]
    result = drop.take()
    assert [reason for _, reason in result.rejected] == [f"{taken[1]} has 2 hard links"]
    assert sorted(drop.queued()) == [b"mail 0", b"mail 2"]


@pytest.mark.requirement("R3")
def test_what_was_taken_has_left_the_directory_for_good_before_it_is_accepted(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Btrfs brings to the disk what was synced, and nothing that was done before: the file would be taken once more.
    done: list[str] = []
    sync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        sync(fd)

    def renamed(source: str, target: str, **options: int) -> None:
        done.append(f"{source.rpartition('/')[2]} renamed")
        rename(source, target, **options)

    for number in range(3):
        drop.add(f"{number}.eml")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    (*_, (_, queue_id)) = drop.take().accepted
    accepted = done.index(f"{queue_id} renamed")
    for place in ("drop", "tmp"):
        assert done.index("2.eml renamed") < done.index(place) < accepted - 2, place


@pytest.mark.requirement("R3")
def test_what_was_taken_and_rejected_has_left_the_directory_for_good(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Btrfs brings to the disk what was synced alone: it could come back beside itself, and be told once more."""
    synced: list[str] = []
    sync = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        sync(fd)

    def refuse(_raw: bytes) -> Prepared:
        raise DataError("no")

    drop.add("1.eml")
    monkeypatch.setattr(os, "fsync", fsync)
    assert drop.take(prepare=refuse).rejected == [("1.eml", "no")]
    assert {"drop", "tmp", "rejected"} <= set(synced)


def test_a_file_that_a_server_has_given_to_a_client_is_waited_for(drop: Drop) -> None:
    """Samba with kernel oplocks, or NFS with write delegations: an open that does not wait is refused meanwhile."""
    path = drop.add("1.eml")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        taken = drop.take()
        assert taken.quiet_at > 0
        assert (taken.accepted, taken.rejected, taken.problems) == ([], [], [])
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, before)
    assert [name for name, _ in drop.take().accepted] == ["1.eml"]


def test_who_cleans_up_what_was_rejected_ends_no_run_that_takes_messages(drop: Drop) -> None:
    """With `rm -r rejected`, while a run waits for a limit: the next one makes the place anew."""
    drop.add("1.eml")
    os.rmdir(f"{drop.directory}/rejected")
    assert [name for name, _ in drop.take().accepted] == ["1.eml"]


def test_a_file_that_cannot_be_read_is_told_and_the_others_go_on(drop: Drop) -> None:
    paths = [drop.add(f"{number}.eml", b"mail %d" % number) for number in range(2)]
    with fails_at(1, errno.EIO, names=("pread",)):
        result = drop.take()
    assert result.problems == [f"{paths[0]}: Input/output error"]
    assert [name for name, _ in result.accepted] == ["1.eml"]
    assert [name for name, _ in drop.take().accepted] == ["0.eml"]


# --- what is too large for the memory -------------------------------------------------------------------------------

SMALL = b"From: a@isp.example\nMessage-ID: <1@isp.example>\n\nhi\n"
LARGE = SMALL + b"line \xe9\n" * (LARGEST_IN_MEMORY // 6)


def prepare_any(
    raw: bytes | Arrived, reverse_path: str = "a@isp.example", recipients: tuple[str, ...] = (JOE,)
) -> Prepared:
    return submit(raw, reverse_path=reverse_path, recipients=recipients)


def take_large(
    drop: Drop, *, max_size_bytes: int = 2 * len(LARGE), min_free_bytes: int = 0, limit: int = 100
) -> Intake:
    return take_drops(
        drop.directory,
        prepare=prepare_any,
        now=4e9,
        max_size_bytes=max_size_bytes,
        min_free_bytes=min_free_bytes,
        limit=limit,
    )


def handed_over(message: bytes) -> bytes:
    return encode_head("app@isp.example", [ANN], message, eight_bit=True, utf8=False) + message


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("wrapped", [bytes, handed_over], ids=["dropped", "handed over"])
def test_a_large_file_is_taken_byte_by_byte_as_from_memory(drop: Drop, wrapped: Callable[[bytes], bytes]) -> None:
    drop.add("large.eml", wrapped(LARGE))
    drop.add("small.eml", SMALL)
    result = take_large(drop)
    assert [name for name, _ in result.accepted] == ["large.eml", "small.eml"]
    assert drop.queued() == [submit(LARGE).message, submit(SMALL).message]
    assert os.listdir(f"{drop.directory}/tmp") == os.listdir(drop.path) == []
    claimed = claim(Spool(drop.directory), result.accepted[0][1])
    assert claimed.recipients == ((ANN,) if wrapped is handed_over else (JOE,))
    assert claimed.eight_bit
    claimed.close()


@pytest.mark.parametrize("is_handed_over", [False, True], ids=["plain", "handed over"])
def test_a_file_that_is_larger_than_a_message_may_be_is_rejected(drop: Drop, is_handed_over: bool) -> None:
    drop.add("large.eml", handed_over(b"x" * LARGEST_ENVELOPE_BYTES + LARGE) if is_handed_over else LARGE)
    (rejected,) = take_large(drop, max_size_bytes=len(LARGE) - 1).rejected
    limit = len(LARGE) - 1 + (LARGEST_ENVELOPE_BYTES if is_handed_over else 0)
    assert rejected == ("large.eml", f"the file is larger than {limit} bytes")
    assert drop.queued() == []


def test_a_message_that_was_handed_over_and_is_too_large_is_rejected(drop: Drop) -> None:
    drop.add("large.eml", handed_over(LARGE))
    (rejected,) = take_drops(
        drop.directory,
        prepare=lambda raw, *_: submit(raw, max_size=len(LARGE) - 1),
        now=4e9,
        max_size_bytes=len(LARGE) - 1,
        min_free_bytes=0,
    ).rejected
    assert f"({len(LARGE)} bytes), and the limit is" in rejected[1]


@pytest.mark.requirement("R26")
def test_a_disk_without_room_for_a_large_file_keeps_it(drop: Drop) -> None:
    drop.add("large.eml", LARGE)
    result = take_large(drop, min_free_bytes=1 << 60)
    assert result.accepted == result.rejected == []
    assert "the drop directory waits" in result.problems[0]
    assert "free" in result.problems[0]
    assert [name for name, _ in take_large(drop).accepted] != []
    assert drop.queued() == [submit(LARGE).message]


@pytest.fixture
def nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a disk with room for half of the large message."""
    real = os.statvfs

    def statvfs(path: str) -> os.statvfs_result:
        found = real(path)
        blocks = len(LARGE) // 2 // found.f_frsize
        return os.statvfs_result((*found[:3], blocks, blocks, *found[5:]))

    monkeypatch.setattr(os, "statvfs", statvfs)


@pytest.mark.requirement("R26")
@pytest.mark.usefixtures("nearly_full")
def test_a_large_file_without_room_stops_no_smaller_one_and_is_none_of_the_limit(drop: Drop) -> None:
    for number in range(3):
        drop.add(f"{number} large.eml", LARGE)
    for number in range(2):
        drop.add(f"{number} small.eml", SMALL)
    result = take_large(drop, limit=2)
    assert sorted(name for name, _ in result.accepted) == ["0 small.eml", "1 small.eml"]
    (problem,) = result.problems
    assert problem.endswith(" large.eml: it waits for room on the disk, smaller ones do not, and 2 more like it")
    assert len(os.listdir(drop.path)) == 3
    assert os.listdir(f"{drop.directory}/tmp") == []


@pytest.mark.usefixtures("nearly_full")
def test_a_large_file_that_was_taken_by_a_run_that_died_stops_no_smaller_one(drop: Drop) -> None:
    taken = Path(f"{drop.directory}/tmp/1-20261123T110559.123456-k3x9qa.eml")
    drop.add("large.eml", LARGE).rename(taken)
    drop.add("small.eml", SMALL)
    result = take_large(drop)
    assert [name for name, _ in result.accepted] == ["small.eml"]
    assert result.problems == [f"{taken}: it waits for room on the disk, smaller ones do not"]
    assert taken.exists()


@pytest.mark.usefixtures("nearly_full")
def test_a_file_that_is_larger_than_a_message_may_be_needs_no_room_to_be_rejected(drop: Drop) -> None:
    drop.add("large.eml", LARGE + b"x" * LARGEST_ENVELOPE_BYTES)
    assert [name for name, _ in take_large(drop, max_size_bytes=len(SMALL)).rejected] == ["large.eml"]


@pytest.mark.requirement("R26")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_large_file_that_meets_a_quota_stops_no_smaller_one(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write = os.write

    def within_a_quota(fd: int, data: bytes) -> int:
        if len(data) > len(SMALL) + 1000:
            raise OSError(number, os.strerror(number))
        return write(fd, data)

    drop.add("large.eml", LARGE)
    drop.add("small.eml", SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", within_a_quota)
        result = take_large(drop)
    assert [name for name, _ in result.accepted] == ["small.eml"]
    assert "it waits for room on the disk" in result.problems[0]
    assert len(take_large(drop).accepted) == 1
    assert drop.queued() == [submit(LARGE).message, submit(SMALL).message]


def test_files_are_taken_where_directories_cannot_be_synced(drop: Drop) -> None:
    drop.add("x.eml")
    with directories_cannot_be_synced():
        assert len(drop.take().accepted) == 1
    assert drop.queued() == [b"mail"]


@pytest.mark.requirement("R4")
def test_a_disk_that_fails_at_a_large_file_stops_the_intake(drop: Drop) -> None:
    drop.add("large.eml", LARGE)
    drop.add("small.eml", SMALL)
    with fails_at(1, errno.EIO, names=("write",)):
        result = take_large(drop)
    assert result.accepted == []
    assert "the drop directory waits" in result.problems[0]


# --- a message that a person removes ------------------------------------------------------------------------------


def accepted_by_a_run_that_died(drop: Drop, data: bytes) -> str:
    """Accept a file; the file that it was made of stays in tmp/. Returns the queue id."""
    drop.add("x.eml", data)
    with at_each_call(dies_removing, ("unlink",)), pytest.raises(ZeroDivisionError):
        drop.take()
    (queue_id,) = Spool(drop.directory).due()
    assert len(os.listdir(f"{drop.directory}/tmp")) == 1
    return queue_id


def dies_removing(number: int, _name: str) -> None:
    if number == 3:  # the first two make sure that nothing of it is there
        raise ZeroDivisionError


@pytest.mark.parametrize("data", [b"mail", b"urgent"])
def test_a_removed_message_does_not_come_back_from_what_it_was_made_of(drop: Drop, data: bytes) -> None:
    queue_id = accepted_by_a_run_that_died(drop, data)
    assert [change.trouble for change in manage.remove(drop.directory, [queue_id])] == [""]
    assert drop.take() == Intake()
    assert drop.queued() == []
    assert everything_in(drop.directory) == []


def test_what_a_message_was_made_of_is_gone_from_the_disk_before_the_message(drop: Drop) -> None:
    queue_id = accepted_by_a_run_that_died(drop, b"mail")
    with fails_at(0, 0, ("unlink", "fsync", "rename")) as called:
        list(manage.remove(drop.directory, [queue_id]))
    assert called[:3] in (["unlink", "fsync", "unlink"], ["unlink", "fsync", "rename"])


@pytest.mark.parametrize("function", ["open", "lstat", "unlink"])
def test_a_message_that_is_removed_while_its_file_is_taken_up_again_is_not_accepted_anew(
    drop: Drop, function: str
) -> None:
    queue_id = accepted_by_a_run_that_died(drop, b"mail")
    removed: list[str] = []

    def a_person_removes_it(_number: int, _name: str) -> None:
        if not removed:
            removed.append(queue_id)
            list(manage.remove(drop.directory, [queue_id]))

    with at_each_call(a_person_removes_it, (function,)):
        taken = drop.take()
    assert removed
    assert (taken.problems, taken.rejected) == ([], [])
    assert drop.queued() == []


# --- a message that is sent before its file is taken up again -------------------------------------------------------


@pytest.mark.parametrize("data", [b"mail", b"urgent"])
def test_what_a_message_was_made_of_is_gone_before_it_is_sent(drop: Drop, data: bytes) -> None:
    """No run may get to the files: their disk has no room, or its time is over."""
    queue_id = accepted_by_a_run_that_died(drop, data)
    spool = Spool(drop.directory)
    spool.recover(NOW)
    settle(spool, queue_id, "relayed")
    spool.finish()
    assert drop.take() == Intake()
    assert drop.queued() == []
    assert everything_in(drop.directory) == []


def test_what_a_message_was_made_of_is_gone_though_it_was_sent_by_then(drop: Drop) -> None:
    queue_id = accepted_by_a_run_that_died(drop, b"mail")
    killed = Spool(drop.directory)
    settle(killed, queue_id, "relayed")
    killed.abandon()
    Spool(drop.directory).recover(NOW)
    assert drop.take() == Intake()
    assert drop.queued() == []


@pytest.mark.requirement("R3")
def test_a_message_is_on_the_disk_before_what_it_was_made_of_goes_and_that_before_anything_is_sent(drop: Drop) -> None:
    accepted_by_a_run_that_died(drop, b"mail")
    spool = Spool(drop.directory)
    with fails_at(0, 0, ("unlink", "fsync", "rename")) as called:
        spool.recover(NOW)
    # The run may have died between the rename and the two that make it durable.
    assert called[:4] == ["fsync", "fsync", "unlink", "fsync"]


def test_a_message_that_a_person_holds_while_it_is_brought_to_the_disk_is_durable(drop: Drop) -> None:
    queue_id = accepted_by_a_run_that_died(drop, b"mail")
    bucket = os.path.dirname(path_in_queue(drop.directory, queue_id))

    def a_person_holds_it() -> None:
        list(manage.hold(drop.directory, [queue_id]))

    with at_the_opening_of(bucket, before=a_person_holds_it):
        Spool(drop.directory).recover(NOW)
    assert not os.path.lexists(bucket)
    assert everything_in(drop.directory) == [f"held/{queue_id}"]


@pytest.mark.requirement("R1", "R4")
def test_a_file_is_not_accepted_again_where_the_disk_does_not_say_whether_it_was(drop: Drop) -> None:
    queue_id = accepted_by_a_run_that_died(drop, b"mail")
    list(manage.hold(drop.directory, [queue_id]))
    with cannot_be_looked_at(f"{drop.directory}/held/{queue_id}", errno.EIO):
        Spool(drop.directory).recover(NOW)
        taken = drop.take()
    assert (taken.accepted, drop.queued()) == ([], [])
    assert "cannot be told: Input/output error" in taken.problems[0]
    Spool(drop.directory).recover(NOW)
    assert everything_in(drop.directory) == [f"held/{queue_id}"]


def test_what_was_taken_and_not_accepted_stays_when_the_next_run_recovers(drop: Drop) -> None:
    taken = Path(f"{drop.directory}/tmp/1-20261123T110559.123456-k3x9qa.eml")
    drop.add("x.eml").rename(taken)
    Spool(drop.directory).recover(NOW)
    assert drop.queued() == []
    assert [name for name, _ in drop.take().accepted] == [taken.name]
    assert drop.queued() == [b"mail"]


def test_a_file_that_a_person_removes_with_its_message_at_this_moment_is_nobodys(drop: Drop) -> None:
    queue_id = accepted_by_a_run_that_died(drop, b"mail")

    def a_person_removes_it(number: int, _name: str) -> None:
        if number == 1:
            list(manage.remove(drop.directory, [queue_id]))

    spool = Spool(drop.directory)
    with at_each_call(a_person_removes_it, ("unlink",)):
        spool.recover(NOW)
    assert everything_in(drop.directory) == []


# --- a flush that is not run by root ------------------------------------------------------------------------------

FLUSHER, STRANGER = 23456, 12345


def taken_by_an_ordinary_user(drop: Drop, *later_s: float) -> list[tuple[int, int]]:
    """Give the spool to an ordinary user and let them take; returns counts of (accepted, rejected)."""
    for parent, _, _ in os.walk(drop.directory):
        os.chown(parent, FLUSHER, FLUSHER)
    with as_user(FLUSHER):
        results = [drop.take(later_s=each) for each in later_s]
    return [(len(result.accepted), len(result.rejected)) for result in results]


@pytest.fixture
def shared() -> Iterator[Drop]:
    """A drop directory that others reach and may write to."""
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        drop = Drop(new_spool(Path(top)))
        os.chmod(drop.directory, 0o711)
        os.chmod(drop.path, 0o1733)
        yield drop


def test_the_files_of_others_are_taken_after_a_longer_silence(shared: Drop) -> None:
    """A lease on somebody else's file is not given to an ordinary user."""
    path = shared.add("others.eml")
    os.chmod(path, 0o644)
    os.chown(path, STRANGER, STRANGER)
    assert taken_by_an_ordinary_user(shared, 0.3, 4.9, 5.1) == [(0, 0), (0, 0), (1, 0)]


@pytest.mark.requirement("S15")
def test_directories_that_only_others_can_move_are_in_nobodys_way_and_told_in_one_line(shared: Drop) -> None:
    for number in range(5):
        path = shared.path / f"{number}.eml"
        path.mkdir()
        os.chown(path, STRANGER, STRANGER)
        os.utime(path, (0, 0))
    # One that its owner opens to all is moved away, as one of the flush's own user is.
    (shared.path / "0.eml").chmod(0o777)
    os.chown(shared.path / "1.eml", FLUSHER, FLUSHER)
    shared.add("mail.eml").chmod(0o644)
    for parent in (shared.directory, *(f"{shared.directory}/{name}" for name in os.listdir(shared.directory))):
        os.chown(parent, FLUSHER, FLUSHER)
    with as_user(FLUSHER):
        result = shared.take(later_s=6.0, limit=3)
    assert [name for name, _ in result.accepted] == ["mail.eml"]
    assert sorted(result.rejected) == [(f"{number}.eml", "it is not a regular file") for number in range(2)]
    (problem,) = result.problems
    assert problem.endswith(".eml: it is a directory, and only its owner or root can move it away, and 2 more like it")
    assert sorted(os.listdir(shared.path)) == ["2.eml", "3.eml", "4.eml"]


def test_a_file_that_may_not_be_read_is_rejected(shared: Drop) -> None:
    path = shared.add("private.eml")
    os.chmod(path, 0o600)
    os.chown(path, STRANGER, STRANGER)
    assert taken_by_an_ordinary_user(shared, 9.0) == [(0, 1)]
    reason = Path(shared.directory) / "rejected" / "private.eml.reason"
    assert "may not be read" in reason.read_text()


def test_files_in_a_directory_that_may_only_be_listed_are_told(shared: Drop) -> None:
    path = shared.add("unseen.eml")
    for parent, _, _ in os.walk(shared.directory):
        os.chown(parent, FLUSHER, FLUSHER)
    os.chmod(shared.path, 0o400)
    with as_user(FLUSHER):
        taken = take_drops(shared.directory, prepare=prepare, now=1.9e9, max_size_bytes=LARGEST, min_free_bytes=0)
    assert taken == Intake(problems=[f"{path}: Permission denied"])
    assert path.exists()


def test_without_a_drop_directory_nothing_was_dropped(tmp_path: Path) -> None:
    assert intake.count_drops(str(tmp_path / "nowhere")) == 0
