"""Claim, settle, sync, finish, recover: the flush's side of the queue."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import socket
import tempfile
import threading
from pathlib import Path

import pytest

from tests.support.faults import (
    as_user,
    at_each_call,
    at_the_opening_of,
    cannot_be_looked_at,
    cannot_be_moved,
    cannot_be_opened,
    directories_cannot_be_synced,
    fails_at,
    locked_as_on_nfs,
    vanishes_when_listed,
)
from tests.support.spools import (
    ANN,
    JOE,
    MAX_DELAY_S,
    MESSAGE,
    NOW,
    StillClock,
    after,
    claim,
    content,
    everything_in,
    new_spool,
    place_of,
    put,
    reported,
    settle,
)
from ucrmmail.dataclass import replace
from ucrmmail.errors import PermissionDeniedError
from ucrmmail.files import try_lock
from ucrmmail.journal import Journal, journal_of, read_journal
from ucrmmail.spool import manage
from ucrmmail.spool.aside import Aside
from ucrmmail.spool.closer import _MOST_WAITING, MOST_TOGETHER, most_together
from ucrmmail.spool.layout import path_in_queue
from ucrmmail.spool.listing import is_doubtful, messages
from ucrmmail.spool.moves import Moves, find_all, read_state
from ucrmmail.spool.order import Order
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.queuefile import CHUNK_BYTES
from ucrmmail.spool.records import journal_path, newest, recorded
from ucrmmail.spool.unread import Unread
from ucrmmail.spool.unrecorded import UnrecordedError


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return new_spool(tmp_path)


@pytest.fixture
def spool(directory: str) -> Spool:
    return Spool(directory, clock=StillClock())


def journal_bytes(directory: str) -> int:
    return os.path.getsize(f"{directory}/journal")


# --- claiming ---------------------------------------------------------------------------------------------------------


def test_a_claimed_message_is_what_was_accepted(spool: Spool) -> None:
    queue_id = put(spool.directory, JOE, ANN, priority="bulk")
    claimed = claim(spool, queue_id)
    assert (claimed.queue_id, claimed.reverse_path) == (queue_id, "billing@isp.example")
    assert claimed.recipients == claimed.pending == (JOE, ANN)
    assert (claimed.priority, claimed.accepted_at) == ("bulk", NOW)
    assert (claimed.eight_bit, claimed.utf8, claimed.size_bytes) == (False, False, len(MESSAGE))
    assert claimed.state.attempts == 0
    assert content(claimed) == content(claimed) == MESSAGE


def test_a_large_message_stays_on_the_disk(spool: Spool) -> None:
    message = os.urandom(3 * CHUNK_BYTES + 17)
    claimed = claim(spool, put(spool.directory, message=message))
    assert claimed.size_bytes == len(message)
    assert max(len(chunk) for chunk in claimed.chunks()) <= CHUNK_BYTES
    assert content(claimed) == message
    spool.settle(claimed, after(claimed.state, "failed"))
    # The report of a failure quotes it, after it was settled.
    assert content(claimed) == message


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("more_bytes", [-1, 1])
def test_a_large_message_whose_file_is_not_as_long_any_more_is_not_read_to_its_end(
    spool: Spool, more_bytes: int
) -> None:
    """What was left of it had been sent as all of it, and was removed as relayed."""
    claimed = claim(spool, put(spool.directory, message=bytes(3 * CHUNK_BYTES)))
    os.truncate(claimed.path, os.path.getsize(claimed.path) + more_bytes)
    chunks = claimed.chunks()
    assert all(len(next(chunks)) == CHUNK_BYTES for _ in range(2))
    with pytest.raises(OSError, match="is not as long any more as it was") as raised:
        list(chunks)
    assert raised.value.filename == claimed.path


@pytest.mark.requirement("R4")
def test_a_disk_that_says_nothing_of_an_open_file_any_more_is_told_with_its_path(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As XFS, which shuts itself down when it cannot write."""
    claimed = claim(spool, put(spool.directory))
    spool.settle(claimed, after(claimed.state, "relayed"))
    os.unlink(claimed.path)

    def fstat(_fd: int) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(OSError, match="Input/output") as raised:
        spool.sync()
    monkeypatch.undo()
    assert raised.value.filename == claimed.path


def test_an_empty_message_has_no_bytes(spool: Spool) -> None:
    claimed = claim(spool, put(spool.directory, message=b""))
    assert (claimed.size_bytes, content(claimed)) == (0, b"")


def test_a_message_is_claimed_once(spool: Spool) -> None:
    queue_id = put(spool.directory)
    claimed = claim(spool, queue_id)
    assert spool.claim(queue_id) is None
    spool.release(claimed)
    assert claim(spool, queue_id).pending == (JOE,)


def test_a_message_that_is_gone_is_no_ones(spool: Spool) -> None:
    queue_id = put(spool.directory)
    os.unlink(path_in_queue(spool.directory, queue_id))
    assert spool.claim(queue_id) is None
    assert (spool.corrupt, spool.problems) == ([], [])


def test_a_lock_on_a_file_that_was_moved_meanwhile_counts_for_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue_id = put(spool.directory)
    path = path_in_queue(spool.directory, queue_id)
    real = os.open

    def open_and_hold(name: str, *arguments: object, **options: object) -> int:
        fd: int = real(name, *arguments, **options)  # type: ignore[arg-type]
        if name == path:
            os.rename(path, f"{spool.directory}/held/{queue_id}")
        return fd

    monkeypatch.setattr(os, "open", open_and_hold)
    assert spool.claim(queue_id) is None
    assert place_of(spool.directory, queue_id) == "held"


def test_a_spool_that_is_open_to_others_is_not_flushed(directory: str) -> None:
    os.chmod(directory, 0o777)
    with pytest.raises(PermissionDeniedError):
        Spool(directory)


# --- settling ---------------------------------------------------------------------------------------------------------


def test_a_relayed_message_is_removed_when_its_record_is_on_the_disk(spool: Spool) -> None:
    queue_id = put(spool.directory)
    settle(spool, queue_id, "relayed")
    assert place_of(spool.directory, queue_id) == "queue"
    assert read_journal(f"{spool.directory}/journal")[0] == [b"relayed " + queue_id.encode()]
    spool.sync()
    assert everything_in(spool.directory) == []
    spool.finish()
    assert journal_bytes(spool.directory) == 0
    assert os.listdir(f"{spool.directory}/queue") == []


def test_a_deferred_message_waits_with_its_state(spool: Spool) -> None:
    queue_id = put(spool.directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE], in_s=1)
    spool.sync()
    assert place_of(spool.directory, queue_id) == "deferred"
    spool.promote_due(NOW + 1, MAX_DELAY_S)
    claimed = claim(spool, queue_id)
    assert claimed.pending == (ANN,)
    assert claimed.state.attempts == 1
    spool.settle(claimed, after(claimed.state, "relayed", only=[ANN]))
    spool.finish()
    assert everything_in(spool.directory) == []


@pytest.mark.requirement("R8")
def test_a_failed_message_is_kept_with_the_reason(spool: Spool) -> None:
    queue_id = put(spool.directory, JOE, ANN)
    claimed = claim(spool, queue_id)
    state = after(after(claimed.state, "relayed", only=[JOE]), "failed", only=[ANN])
    spool.settle(claimed, state)
    spool.update_state(queue_id, reported(state))
    spool.finish()
    assert place_of(spool.directory, queue_id) == "failed"
    kept = read_state(spool.directory, queue_id)
    assert kept is not None
    assert [(each.result, each.reply) for each in kept.recipients] == [
        ("relayed", "said relayed"),
        ("failed", "said failed"),
    ]
    assert not kept.unreported
    assert journal_bytes(spool.directory) == 0


def test_a_message_whose_other_recipients_are_due_at_once_stays(spool: Spool) -> None:
    queue_id = put(spool.directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE])
    assert list(spool.due()) == [queue_id]
    assert claim(spool, queue_id).pending == (ANN,)


@pytest.mark.requirement("R3")
def test_the_record_is_on_the_disk_before_the_state_of_an_earlier_run_is_replaced(spool: Spool) -> None:
    queue_id = put(spool.directory, JOE, ANN)
    claimed = claim(spool, queue_id)
    spool.settle(claimed, after(claimed.state, "relayed", only=[JOE]))
    # A power cut that took the record, and left a file without its content, would send to Joe again.
    claimed = claim(spool, queue_id)
    with fails_at(1, errno.EIO, names=("fdatasync",)), pytest.raises(OSError, match="Input/output"):
        spool.settle(claimed, after(claimed.state, "deferred"))
    kept = read_state(spool.directory, queue_id)
    assert kept is not None
    assert [recipient.result for recipient in kept.recipients] == ["relayed", ""]


def test_the_state_is_told_to_the_disk_before_settle_returns_when_asked(directory: str) -> None:
    spool = Spool(directory, sync_each=True)
    queue_id = put(directory)
    claimed = claim(spool, queue_id)
    with fails_at(0, 0) as called:
        spool.settle(claimed, after(claimed.state, "relayed"))
    assert called[-1] == "fdatasync"


def test_relayed_messages_are_kept_for_as_long_as_asked(directory: str) -> None:
    clock = StillClock()
    spool = Spool(directory, keep_sent_s=7200.0, clock=clock)
    queue_id = put(directory)
    settle(spool, queue_id, "relayed")
    spool.finish()
    assert everything_in(directory) == [f"sent/20261123T11/{queue_id}"]
    for seconds, kept in ((0, 1), (7000, 1), (3 * 3600, 0)):
        Spool(directory, keep_sent_s=7200.0, clock=clock).recover(NOW + seconds)
        assert len(everything_in(directory)) == kept
    assert os.listdir(f"{directory}/sent") == []


def descriptors_of(directory: str) -> int:
    """How many files of this spool are open; what other tests left may close at any moment."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{fd}").startswith(directory)
    return found


def test_no_more_descriptors_are_open_than_a_process_may_have(spool: Spool) -> None:
    """However far the thread that closes them is behind: what is settled, what it is at, and what waits for it."""
    before = descriptors_of(spool.directory)
    for number in range(1500):
        settle(spool, put(spool.directory, now=NOW + number), "relayed")
        assert descriptors_of(spool.directory) < before + MOST_TOGETHER * (2 + _MOST_WAITING) + 10
    spool.finish()
    assert descriptors_of(spool.directory) == before - 1
    assert everything_in(spool.directory) == []


def test_a_long_journal_is_emptied_during_the_run(spool: Spool) -> None:
    reply = "x" * 100_000
    for number in range(40):
        queue_id = put(spool.directory, *[f"{each}@example.com" for each in range(250)], now=NOW + number)
        claimed = claim(spool, queue_id)
        state = after(claimed.state, "deferred", next_attempt_at=NOW + 600)
        state = replace(state, recipients=tuple(replace(each, reply=reply) for each in state.recipients))
        spool.settle(claimed, state)
        spool.sync()
        assert journal_bytes(spool.directory) < (1 << 22) + (1 << 20)
    spool.finish()
    assert journal_bytes(spool.directory) == 0
    assert spool.promote_due(NOW + 600, MAX_DELAY_S) == 40


def test_what_is_kept_of_messages_that_cannot_be_moved_is_not_written_anew_at_each_sync(spool: Spool) -> None:
    many = [f"{each}@example.com" for each in range(250)]
    real = os.rename
    written = states_written = 0

    def rename(source: str, target: str, **options: int) -> None:
        nonlocal written, states_written
        if "/deferred/" in target:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), target)
        written += target == f"{spool.directory}/journal"
        states_written += "/state/" in target
        real(source, target, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", rename)
        for number in range(45):
            claimed = claim(spool, put(spool.directory, *many, now=NOW + number))
            state = after(claimed.state, "deferred", next_attempt_at=NOW + 600)
            spool.settle(
                claimed, replace(state, recipients=tuple(replace(each, reply="x" * 500) for each in state.recipients))
            )
        for _ in range(2):
            # The first one empties the journal, and so brings all to the disk.
            spool.sync()
        states = states_written
        for number in range(5):
            settle(spool, put(spool.directory, now=NOW + 1000 + number), "relayed")
            spool.sync()
        assert journal_bytes(spool.directory) > 1 << 22
        assert (written, states_written - states) == (1, 0)


def test_room_is_made_for_all_that_is_out(spool: Spool) -> None:
    many = [f"{each}@example.com" for each in range(200)]
    out = [claim(spool, put(spool.directory, *many, now=NOW + number)) for number in range(3)]
    for claimed in out:
        spool.ensure_room(claimed)
    # From now on the disk is full: what is out can still be recorded, whatever the server says.
    with fails_at(1, errno.ENOSPC, names=("posix_fallocate",)):
        for claimed in out:
            state = after(claimed.state, "failed")
            long = tuple(replace(each, reply="\U0001f600" * 1000) for each in state.recipients)
            spool.settle(claimed, replace(state, recipients=long))
    assert len(read_journal(f"{spool.directory}/journal")[0]) == 3


def test_room_is_given_back(spool: Spool) -> None:
    claimed = claim(spool, put(spool.directory))
    for _ in range(1000):
        spool.ensure_room(claimed)
        spool.release(claimed)
    assert journal_bytes(spool.directory) < 1 << 20


@pytest.mark.requirement("R26")
def test_a_full_disk_stops_the_next_message_before_it_leaves(spool: Spool) -> None:
    claimed = claim(spool, put(spool.directory, *[f"{each}@example.com" for each in range(200)]))
    full = fails_at(1, errno.ENOSPC, names=("posix_fallocate",), and_later=True)
    with full, pytest.raises(OSError, match="No space"):
        spool.ensure_room(claimed)


def test_a_message_that_cannot_be_moved_is_not_sent_again_and_moved_later(spool: Spool) -> None:
    queue_id = put(spool.directory)
    settle(spool, queue_id, "deferred", in_s=300)
    with fails_at(1, errno.ENOSPC, names=("write",)):
        spool.sync()
    assert place_of(spool.directory, queue_id) == "queue"
    assert list(spool.due()) == []
    spool.sync()
    assert place_of(spool.directory, queue_id) == "deferred"


@pytest.mark.requirement("R4", "S19")
def test_a_message_that_cannot_be_read_stays_and_is_told_once(directory: str) -> None:
    spool = Spool(directory)
    bad, good = put(directory), put(directory, now=NOW + 1)
    path = path_in_queue(directory, bad)
    with cannot_be_opened(path, errno.EIO):
        assert [spool.claim(bad), spool.claim(bad)] == [None, None]
        claim(spool, good).close()
    expected = Unread.because_of(OSError(errno.EIO, os.strerror(errno.EIO), path), bad, "")
    assert (spool.problems, spool.corrupt, spool.lost) == ([expected.line], [], [])
    assert spool.count_waiting() == 2
    with cannot_be_opened(path, errno.ENFILE), pytest.raises(OSError, match="Too many open files"):
        spool.claim(bad)


def test_a_message_that_cannot_be_moved_in_this_run_is_moved_by_the_next(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE], in_s=300)
    # Only the state cannot be written: the disk is full.
    with fails_at(1, errno.ENOSPC, names=("rename",)):
        spool.finish()
    assert spool.problems
    assert queue_id in spool.problems[0]
    assert journal_bytes(directory) > 0
    again = Spool(directory)
    with fails_at(1, errno.ENOSPC, names=("rename",)):
        again.recover(NOW)
    assert list(again.due()) == []
    again.sync()
    assert place_of(directory, queue_id) == "deferred"
    again.promote_due(NOW + 300, MAX_DELAY_S)
    assert claim(again, queue_id).pending == (ANN,)


def test_one_that_cannot_be_moved_does_not_keep_the_next_from_it(spool: Spool) -> None:
    stays, goes = put(spool.directory, now=NOW), put(spool.directory, now=NOW + 1)
    for queue_id in (stays, goes):
        settle(spool, queue_id, "deferred", in_s=60)
    with fails_at(1, errno.ENOSPC, names=("write",)):
        spool.sync()
    assert [place_of(spool.directory, each) for each in (stays, goes)] == ["queue", "deferred"]


def test_a_relayed_message_that_cannot_be_removed_is_not_sent_by_the_next_run(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "relayed")
    with fails_at(1, errno.EIO, names=("unlink",)):
        spool.finish()
    assert place_of(directory, queue_id) == "queue"
    again = Spool(directory)
    assert again.recover(NOW) == []
    assert list(again.due()) == []
    assert place_of(directory, queue_id) == ""


@pytest.mark.parametrize(("result", "place"), [("deferred", "deferred"), ("failed", "failed")])
def test_what_could_not_be_moved_is_told_with_where_to(spool: Spool, result: str, place: str) -> None:
    queue_id = put(spool.directory)
    settle(spool, queue_id, result, in_s=60 if result == "deferred" else 0)
    path = path_in_queue(spool.directory, queue_id)
    # The first is the one of the move itself, the second that of its repetition.
    with fails_at(1, errno.ENOSPC, names=("rename",)):
        spool.finish()
    assert spool.problems == [f"{path} cannot be moved to {place}: the next run tries again"]


def test_what_could_not_be_removed_is_told_as_relayed(spool: Spool) -> None:
    queue_id = put(spool.directory)
    settle(spool, queue_id, "relayed")
    with fails_at(1, errno.EIO, names=("unlink",)):
        spool.finish()
    path = path_in_queue(spool.directory, queue_id)
    assert spool.problems == [f"{path} cannot be removed, though it was relayed: the next run tries again"]


def test_each_change_of_a_state_is_newer_than_the_one_before(spool: Spool) -> None:
    # What recovery goes by: of two that differ, the later one holds.
    queue_id = put(spool.directory)
    state = settle(spool, queue_id, "failed")
    spool.update_state(queue_id, reported(state))
    spool.sync()
    kept = read_state(spool.directory, queue_id)
    assert kept is not None
    assert (kept.revision, kept.unreported) == (2, False)
    for revision in (3, 4):
        # It is where it belongs, and no longer in this run's hands.
        spool.update_state(queue_id, state)
        kept = read_state(spool.directory, queue_id)
        assert kept is not None
        assert kept.revision == revision


def test_a_message_that_somebody_removed_meanwhile_is_gone(spool: Spool) -> None:
    for result in ("relayed", "deferred"):
        queue_id = put(spool.directory)
        settle(spool, queue_id, result, in_s=60 if result == "deferred" else 0)
        os.unlink(path_in_queue(spool.directory, queue_id))
    spool.finish()
    assert [path for path in everything_in(spool.directory) if not path.startswith("state/")] == []


@pytest.mark.requirement("R1")
@pytest.mark.parametrize("is_made_anew", [False, True], ids=["moved", "moved, and made anew"])
def test_what_was_relayed_from_a_spool_that_was_moved_meanwhile_is_not_sent_from_its_new_place(
    directory: str, is_made_anew: bool
) -> None:
    """A submission makes it anew, and the journal with it."""
    spool = Spool(directory)
    relayed, partly = put(directory), put(directory, JOE, ANN)
    settle(spool, relayed, "relayed")
    settle(spool, partly, "relayed", only=[JOE], in_s=60)
    os.rename(directory, f"{directory}.moved")
    if is_made_anew:
        put(directory)
        spool.finish()
        assert len(spool.problems) == 2
    else:
        with pytest.raises(FileNotFoundError):
            spool.finish()
        spool.abandon()
    again = Spool(f"{directory}.moved")
    again.recover(NOW)
    assert list(again.due()) == []
    assert place_of(again.directory, relayed) == ""
    again.promote_due(NOW + 60, MAX_DELAY_S)
    assert claim(again, partly).pending == (ANN,)


# --- the journal refuses ----------------------------------------------------------------------------------------------


def refused(
    spool: Spool, queue_id: str, result: str, *, only: list[str] | None = None, number: int = errno.EIO
) -> UnrecordedError:
    """Settle a message of which the journal takes no record; returns the error."""
    with fails_at(1, number, names=("pwrite",)), pytest.raises(UnrecordedError) as told:
        settle(spool, queue_id, result, only=only or [])
    return told.value


def next_run(directory: str) -> Spool:
    spool = Spool(directory, clock=StillClock())
    spool.recover(NOW)
    return spool


@pytest.mark.requirement("R4", "R26")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_relayed_message_that_cannot_be_recorded_is_removed_instead(directory: str, number: int) -> None:
    spool = Spool(directory)
    first, second = put(directory), put(directory, now=NOW + 1)
    settle(spool, first, "relayed")
    told = refused(spool, second, "relayed", number=number)
    assert told.is_kept
    why = f"what became of {second} could not be recorded: it is not sent again to those who have it"
    assert (told.errno, told.strerror, told.filename) == (number, f"{os.strerror(number)}; {why}", "the disk")
    spool.abandon()
    assert list(next_run(directory).due()) == []
    assert everything_in(directory) == []


def test_its_absence_is_on_the_disk_before_its_state_goes(directory: str) -> None:
    """The state says who has it: needed as long as a power cut may bring the message back."""
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE])
    steps: list[str] = []
    with at_each_call(lambda _number, name: steps.append(name), names=("unlink", "fsync")):
        refused(spool, queue_id, "relayed")
    assert steps[:2] == ["unlink", "fsync"]
    assert steps.count("unlink") == 2
    assert steps[-1] == "unlink"
    spool.abandon()
    # The record of the part before it is in the journal still.
    assert list(next_run(directory).due()) == []
    assert everything_in(directory) == []


def test_one_that_is_removed_is_not_in_doubt_because_its_state_stays(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE])
    with fails_at(2, errno.EIO, names=("unlink",)):
        assert refused(spool, queue_id, "relayed").is_kept
    assert everything_in(directory) == [f"state/{queue_id}"]


def test_a_state_in_place_of_a_record_is_on_the_disk_before_the_one_it_replaces_goes(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    steps: list[str] = []
    with at_each_call(lambda _number, name: steps.append(name), names=("rename", "fsync")):
        refused(spool, queue_id, "relayed", only=[JOE])
    assert steps[:2] == ["fsync", "rename"]
    assert steps[2:].count("fsync") >= 1


def test_a_relayed_message_that_cannot_be_recorded_is_kept_for_as_long_as_asked(directory: str) -> None:
    spool = Spool(directory, keep_sent_s=7200.0, clock=StillClock())
    queue_id = put(directory)
    assert refused(spool, queue_id, "relayed").is_kept
    Spool(directory, keep_sent_s=7200.0, clock=StillClock()).recover(NOW)
    assert everything_in(directory) == [f"sent/20261123T11/{queue_id}"]


@pytest.mark.parametrize("name", ["unlink", "fsync"])
def test_what_can_be_neither_recorded_nor_removed_is_in_doubt(directory: str, name: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    with fails_at(1, errno.EIO, names=(name,)):
        told = refused(spool, queue_id, "relayed")
    assert not told.is_kept
    assert f"{queue_id} could not be recorded: it may be delivered twice" in str(told)
    assert list(next_run(directory).due()) == ([queue_id] if name == "unlink" else [])


@pytest.mark.parametrize("others", ["deferred", "failed"])
@pytest.mark.parametrize("worker", [0, 3])
def test_who_has_a_message_does_not_get_it_again_though_that_could_not_be_recorded(
    directory: str, others: str, worker: int
) -> None:
    spool = Spool(directory, worker=worker)
    queue_id = put(directory, JOE, ANN, "bob@example.com")
    settle(spool, queue_id, "relayed", only=[JOE])
    claimed = claim(spool, queue_id)
    state = after(after(claimed.state, others, next_attempt_at=NOW + 60), "relayed", only=[JOE, ANN])
    with fails_at(1, errno.EIO, names=("pwrite",)), pytest.raises(UnrecordedError, match="not sent again to those"):
        spool.settle(claimed, state)
    spool.abandon()
    again = claim(next_run(directory), queue_id)
    # A refusal that only the state knew of would be told to nobody: he is asked again.
    assert again.pending == ("bob@example.com",)
    assert not again.state.unreported
    assert again.state.revision == 2


@pytest.mark.requirement("R4")
def test_what_is_neither_recorded_nor_taken_by_sent_is_removed_rather_than_sent_again(directory: str) -> None:
    spool = Spool(directory, keep_sent_s=600)
    queue_id = put(directory, JOE, ANN)
    claimed = claim(spool, queue_id)
    with (
        fails_at(1, errno.EIO, names=("pwrite", "mkdir", "rename"), and_later=True),
        pytest.raises(UnrecordedError, match="not sent again to those"),
    ):
        spool.settle(claimed, after(claimed.state, "relayed"))
    spool.abandon()
    assert list(next_run(directory).due()) == []
    assert everything_in(directory) == []


@pytest.mark.requirement("R4")
def test_a_message_in_parts_goes_on_in_a_run_whose_recovery_was_refused_something_once(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE])
    killed(spool)
    again = Spool(directory)
    with fails_at(1, errno.EIO, names=("rename",)) as called:
        again.recover(NOW)
    assert called
    assert list(again.due()) == [queue_id]
    assert claim(again, queue_id).pending == (ANN,)


def test_failures_of_an_earlier_part_are_told_though_a_later_one_could_not_be_recorded(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "failed", only=[JOE])
    refused(spool, queue_id, "relayed", only=[ANN])
    spool.abandon()
    spool = Spool(directory)
    assert spool.recover(NOW) == [queue_id]
    assert spool.claim(queue_id) is None, "nobody is left to send it to"
    spool.finish()
    assert place_of(directory, queue_id) == "failed"


@pytest.mark.requirement("R11")
def test_who_may_have_a_message_that_could_not_be_recorded_is_still_tried_and_in_doubt(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    claimed = claim(spool, queue_id)
    state = after(claimed.state, "deferred", next_attempt_at=NOW + 60)
    state = replace(state, recipients=tuple(replace(each, uncertain=True) for each in state.recipients))
    with fails_at(1, errno.EIO, names=("pwrite",)), pytest.raises(UnrecordedError, match="may be delivered twice"):
        spool.settle(claimed, state)
    assert is_doubtful(directory, queue_id)
    assert claim(next_run(directory), queue_id).pending == (JOE,)


def test_what_reached_nobody_and_could_not_be_recorded_is_tried_again(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    told = refused(spool, queue_id, "failed")
    assert told.is_kept
    assert (told.strerror or "").endswith("could not be recorded: it is tried again")
    assert everything_in(directory) == [os.path.relpath(path_in_queue(directory, queue_id), directory)]
    assert claim(next_run(directory), queue_id).state.attempts == 0


def test_a_full_disk_gives_the_room_that_is_held_to_who_has_the_message(directory: str) -> None:
    spool = Spool(directory)
    spool.recover(NOW)
    queue_id = put(directory, JOE, ANN)
    assert os.stat(f"{directory}/reserve").st_blocks > 0
    refused(spool, queue_id, "relayed", only=[JOE], number=errno.ENOSPC)
    assert not os.path.lexists(f"{directory}/reserve")


@pytest.mark.parametrize(
    ("allowed", "most"), [(14, 1), (64, 8), (1024, MOST_TOGETHER), (resource.RLIM_INFINITY, MOST_TOGETHER)]
)
def test_as_many_are_settled_at_a_time_as_may_be_open(allowed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    assert most_together() == most


@pytest.mark.requirement("R26")
@pytest.mark.parametrize("result", ["deferred", "failed", "relayed"])
def test_more_that_cannot_be_moved_than_may_be_open_stops_no_run(
    result: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each was held open, so that every run ended with "Too many open files" before it sent anything."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    open_before = len(os.listdir("/proc/self/fd"))
    ids = [put(directory, JOE, ANN, now=NOW + number) for number in range(30)]
    spool = Spool(directory, clock=StillClock())
    with fails_at(1, errno.ENOSPC, names=("mkdir", "rename", "unlink"), and_later=True):
        for queue_id in ids:
            claimed = claim(spool, queue_id)
            state = after(claimed.state, result, next_attempt_at=NOW + 60 if result == "deferred" else 0.0)
            spool.settle(claimed, state)
            if result == "failed":
                spool.update_state(queue_id, reported(state))
        spool.sync()
        assert len(os.listdir("/proc/self/fd")) < open_before + 16
        assert [spool.claim(queue_id) for queue_id in ids] == [None] * 30
        assert spool.unmoved == set(ids)
        killed(spool)
    fresh = put(directory, now=NOW + 99)
    again = Spool(directory, clock=StillClock())
    with fails_at(1, errno.ENOSPC, names=("mkdir", "rename", "unlink"), and_later=True):
        assert again.recover(NOW) == []
        assert len(os.listdir("/proc/self/fd")) < open_before + 16
        assert list(again.due()) == [fresh]
        killed(again)
    once_more = Spool(directory, clock=StillClock())
    assert once_more.recover(NOW) == []
    assert {place_of(directory, queue_id) for queue_id in ids} == {"" if result == "relayed" else result}


@pytest.mark.requirement("R1", "R8")
def test_what_has_failed_of_a_message_that_cannot_be_had_is_told_when_it_can(directory: str) -> None:
    """By its state in the spool, which is older, nobody has it and nothing has failed: that had become its record."""
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    claimed = claim(spool, queue_id)
    spool.settle(claimed, after(after(claimed.state, "relayed", only=[JOE]), "failed", only=[ANN]))
    killed(spool)
    again = Spool(directory)
    with cannot_be_opened(path_in_queue(directory, queue_id), errno.EIO):
        assert again.recover(NOW) == []
    again.finish()
    assert Spool(directory).recover(NOW) == [queue_id]


@pytest.mark.requirement("R4")
def test_when_many_are_settled_the_record_comes_before_a_sync_that_fails(spool: Spool) -> None:
    ids = [put(spool.directory, now=NOW + number) for number in range(MOST_TOGETHER + 1)]
    begun: list[str] = []

    def settle_all() -> None:
        for queue_id in ids:
            begun.append(queue_id)
            settle(spool, queue_id, "relayed")

    with fails_at(1, errno.EIO, names=("fdatasync",)), pytest.raises(OSError, match="Input/output"):
        settle_all()
    assert list(recorded(spool.directory)) == begun


# --- recovering -------------------------------------------------------------------------------------------------------


def killed(spool: Spool) -> None:
    """What the kernel does with a process that dies."""
    spool.abandon()


@pytest.mark.parametrize(("result", "place"), [("relayed", ""), ("deferred", "deferred"), ("failed", "failed")])
def test_what_was_settled_before_a_kill_is_carried_out(directory: str, result: str, place: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, result, in_s=300 if result == "deferred" else 0)
    killed(spool)
    again = Spool(directory)
    again.recover(NOW)
    assert list(again.due()) == []
    assert place_of(directory, queue_id) == place
    again.finish()


@pytest.mark.parametrize(("result", "place"), [("relayed", ""), ("deferred", "deferred"), ("failed", "failed")])
def test_moves_that_a_power_cut_took_back_are_repeated(tmp_path: Path, directory: str, result: str, place: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    shutil.copytree(directory, tmp_path / "before")
    settle(spool, queue_id, "relayed", only=[JOE], in_s=1)
    spool.sync()
    spool.promote_due(NOW + 1, MAX_DELAY_S)
    settle(spool, queue_id, result, only=[ANN], in_s=300 if result == "deferred" else 0)
    spool.sync()
    shutil.copy(f"{directory}/journal", tmp_path / "before" / "journal")
    again = Spool(str(tmp_path / "before"))
    again.recover(NOW)
    assert list(again.due()) == []
    assert place_of(again.directory, queue_id) == place
    again.finish()
    if place:
        state = read_state(again.directory, queue_id)
        assert state is not None
        assert [each.result for each in state.recipients] == ["relayed", result]


def test_a_state_that_a_power_cut_took_back_is_written_again_even_for_a_held_message(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE], in_s=300)
    spool.sync()
    os.unlink(f"{directory}/state/{queue_id}")
    path = spool.find(queue_id)
    assert path is not None
    Moves(directory).to_held(path, queue_id)
    Spool(directory).recover(NOW)
    assert place_of(directory, queue_id) == "held"
    state = read_state(directory, queue_id)
    assert state is not None
    assert state.pending == (ANN,)


def test_what_was_relayed_before_a_kill_is_kept_for_as_long_as_asked(directory: str) -> None:
    spool = Spool(directory, keep_sent_s=7200.0)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE])
    settle(spool, queue_id, "relayed", only=[ANN])
    killed(spool)
    again = Spool(directory, keep_sent_s=7200.0)
    assert again.recover(NOW) == []
    assert everything_in(directory) == [f"sent/20261123T11/{queue_id}"], "its state is not needed any more"


def test_the_state_of_a_message_that_is_gone_goes_too(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE])
    settle(spool, queue_id, "relayed", only=[ANN])
    killed(spool)
    os.unlink(path_in_queue(directory, queue_id))
    assert everything_in(directory) == [f"state/{queue_id}"]
    Spool(directory).recover(NOW)
    assert everything_in(directory) == []


@pytest.mark.parametrize("result", ["", "relayed", "failed"])
def test_a_message_to_which_a_power_cut_has_left_both_names_of_a_rename_is_that_in_the_queue(
    directory: str, result: str
) -> None:
    # So does Btrfs where tmp/ was synced in the same transaction; of what has two names nothing would be sent.
    spool = Spool(directory)
    queue_id = put(directory)
    if result:
        settle(spool, queue_id, result)
    killed(spool)
    os.link(path_in_queue(directory, queue_id), f"{directory}/tmp/{queue_id}")
    again = Spool(directory)
    again.recover(NOW)
    assert os.listdir(f"{directory}/tmp") == []
    assert list(again.due()) == ([] if result else [queue_id])
    assert place_of(directory, queue_id) == {"": "queue", "relayed": "", "failed": "failed"}[result]
    assert again.corrupt == []
    again.finish()


def test_recovery_waits_for_a_person_who_has_a_message_in_hand(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "failed")
    killed(spool)
    fd = os.open(path_in_queue(directory, queue_id), os.O_RDONLY)
    assert try_lock(fd)
    letting_go = threading.Timer(0.2, os.close, (fd,))
    letting_go.start()
    assert Spool(directory).recover(NOW) == [queue_id]
    letting_go.join()
    assert place_of(directory, queue_id) == "failed"


def test_of_two_of_the_same_age_the_record_is_believed(directory: str) -> None:
    # A state that a person changed is newer by one; the same number is the record carried out before, in part perhaps.
    spool = Spool(directory)
    queue_id = put(directory)
    state = settle(spool, queue_id, "failed")
    killed(spool)
    Moves(directory).write_state(queue_id, replace(state, revision=1))
    again = Spool(directory)
    assert again.recover(NOW) == [queue_id]
    assert place_of(directory, queue_id) == "failed"


def test_failures_that_a_person_retried_are_told_all_the_same(directory: str) -> None:
    from ucrmmail.spool import manage

    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "failed")
    spool.sync()
    list(manage.retry(directory, [queue_id]))
    assert Spool(directory).recover(NOW) == [queue_id]


def test_a_message_that_was_due_at_once_is_so_wherever_it_stands(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE])
    path = spool.find(queue_id)
    assert path is not None
    Moves(directory).to_deferred(path, queue_id, NOW + 600)
    again = Spool(directory)
    again.recover(NOW)
    assert list(again.due()) == [queue_id]
    assert claim(again, queue_id).pending == (ANN,)


def test_what_a_person_did_after_the_record_is_not_undone(directory: str) -> None:
    from ucrmmail.spool import manage

    spool = Spool(directory)
    deferred, failed, removed = (put(directory, now=NOW + number) for number in range(3))
    settle(spool, deferred, "deferred", in_s=300)
    settle(spool, failed, "failed")
    settle(spool, removed, "failed")
    spool.sync()
    list(manage.retry(directory, [deferred, failed]))
    list(manage.remove(directory, [removed]))
    again = Spool(directory)
    again.recover(NOW)
    assert list(again.due()) == [deferred, failed]
    assert place_of(directory, removed) == ""
    assert not os.path.exists(f"{directory}/state/{removed}")


@pytest.mark.requirement("R8")
def test_failures_that_nobody_was_told_of_are_told_by_the_next_run(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    state = settle(spool, queue_id, "failed")
    killed(spool)
    for _ in range(3):
        # However often it dies before it has told a person.
        spool = Spool(directory)
        assert spool.recover(NOW) == [queue_id]
        spool.finish()
        assert journal_bytes(directory) > 0
    spool = Spool(directory)
    assert spool.recover(NOW) == [queue_id]
    path = spool.find(queue_id)
    assert path is not None
    failed = spool.claim_at(path, queue_id)
    assert failed is not None
    assert content(failed) == MESSAGE
    assert failed.state.unreported
    spool.update_state(queue_id, reported(state))
    spool.release(failed)
    spool.finish()
    assert journal_bytes(directory) == 0
    assert Spool(directory).recover(NOW) == []
    assert place_of(directory, queue_id) == "failed"


def test_failures_whose_move_fails_are_told_by_the_run_after(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "failed")
    killed(spool)
    spool = Spool(directory)
    with fails_at(1, errno.ENOSPC, names=("rename",), and_later=True):
        assert spool.recover(NOW) == [queue_id]
    path = spool.find(queue_id)
    assert path is not None
    assert spool.claim_at(path, queue_id) is None
    spool.finish()
    assert place_of(directory, queue_id) == "failed"
    assert Spool(directory).recover(NOW) == [queue_id]


def test_failures_of_a_message_that_vanishes_are_told_all_the_same(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "failed")
    killed(spool)
    path = path_in_queue(directory, queue_id)

    def full_and_somebody_removes_it(_source: str, _target: str) -> None:
        os.unlink(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    again = Spool(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", full_and_somebody_removes_it)
        assert again.recover(NOW) == [queue_id]
    again.finish()
    assert place_of(directory, queue_id) == ""


@pytest.mark.requirement("R1", "R8")
def test_what_was_relayed_behind_a_failure_that_nobody_was_told_of_is_not_sent_again(directory: str) -> None:
    """A person retries it while the run that met the failure goes on, and then it cannot be removed."""
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "failed")
    spool.sync()
    list(manage.retry(directory, [queue_id]))
    settle(spool, queue_id, "relayed")
    with cannot_be_moved(path_in_queue(directory, queue_id), errno.EPERM):
        spool.finish()
    again = Spool(directory)
    again.recover(NOW)
    assert place_of(directory, queue_id) == ""


def test_what_a_person_does_before_a_failure_is_noted_as_told_is_not_undone(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is moved to the failed ones at once when as many are settled as may be: nobody has a lock on it then."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (30, 30))
    spool = Spool(directory)
    retried, removed = put(directory), put(directory, now=NOW + 1)
    failed = [settle(spool, queue_id, "failed") for queue_id in (retried, removed)]
    list(manage.retry(directory, [retried]))
    list(manage.remove(directory, [removed]))
    for queue_id, state in zip((retried, removed), failed, strict=True):
        spool.update_state(queue_id, reported(state))
    assert claim(spool, retried).pending == (JOE,)
    spool.finish()
    assert journal_bytes(directory) == 0
    assert os.listdir(f"{directory}/state") == [retried]


def test_a_disk_that_is_full_at_any_write_of_a_recovery_loses_no_record(tmp_path: Path) -> None:
    """The journal of a worker goes only when that of the run has all that nobody was told of."""
    writes = 0
    step = 0
    while step <= writes:
        directory = new_spool(tmp_path / str(step))
        worker = Spool(directory).beside(1)
        failed = put(directory)
        settle(worker, failed, "failed")
        killed(worker)
        again = Spool(directory)
        with fails_at(step, errno.ENOSPC, names=("write",)) as called:
            assert again.recover(NOW) == [failed]
        again.finish()
        assert Spool(directory).recover(NOW) == [failed], f"write {step}"
        assert place_of(directory, failed) == "failed"
        writes = writes or len(called)
        step += 1
    assert writes >= 2


def test_a_bucket_that_another_worker_has_removed_needs_no_sync(spool: Spool) -> None:
    queue_id = put(spool.directory)
    settle(spool, queue_id, "deferred", in_s=60)
    spool.sync()
    os.rmdir(os.path.dirname(path_in_queue(spool.directory, queue_id)))
    os.unlink(f"{spool.directory}/state/{queue_id}")  # as `queue remove` does
    os.unlink(str(spool.find(queue_id)))
    spool.finish()
    assert everything_in(spool.directory) == []
    assert (spool.corrupt, spool.problems) == ([], [])


def test_a_directory_that_cannot_be_removed_ends_the_run_and_not_quietly(spool: Spool) -> None:
    settle(spool, put(spool.directory), "relayed")
    with fails_at(1, errno.EROFS, names=("rmdir",)), pytest.raises(OSError, match="Read-only"):
        spool.finish()


def test_empty_directories_of_crashes_are_removed(spool: Spool) -> None:
    for path in ("queue/0-20200101T0000", "deferred/20200101T0000", "sent/20200101T00"):
        os.mkdir(f"{spool.directory}/{path}")
    put(spool.directory)
    spool.finish()
    assert os.listdir(f"{spool.directory}/queue") == ["1-20261123T1106"]
    assert os.listdir(f"{spool.directory}/deferred") == os.listdir(f"{spool.directory}/sent") == []


def test_a_state_without_its_move_is_completed_at_the_next_claim(spool: Spool) -> None:
    queue_id = put(spool.directory)
    claimed = claim(spool, queue_id)
    spool.release(claimed)
    Moves(spool.directory).write_state(queue_id, after(claimed.state, "failed"))
    assert spool.claim(queue_id) is None
    spool.sync()
    assert place_of(spool.directory, queue_id) == "failed"


@pytest.mark.requirement("S19")
def test_many_states_without_their_moves_stop_no_run(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a person has moved all that had failed back into the queue by hand: each was held open."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    spool = Spool(directory)
    ids = [put(directory, now=NOW + number) for number in range(30)]
    for queue_id in ids:
        settle(spool, queue_id, "failed")
    spool.finish()
    for queue_id in ids:
        path = Path(path_in_queue(directory, queue_id))
        path.parent.mkdir(exist_ok=True)
        os.rename(f"{directory}/failed/{queue_id}", path)
    open_before = len(os.listdir("/proc/self/fd"))
    again = Spool(directory)
    assert [again.claim(queue_id) for queue_id in again.due()] == [None] * 30
    assert len(os.listdir("/proc/self/fd")) < open_before + 16
    again.finish()
    assert {place_of(directory, queue_id) for queue_id in ids} == {"failed"}


@pytest.mark.parametrize("damage", [b"", b"garbage", b"00000000 {}"])
def test_a_lost_state_costs_attempts_and_no_mail(spool: Spool, damage: bytes) -> None:
    queue_id = put(spool.directory)
    settle(spool, queue_id, "deferred", in_s=1)
    spool.sync()
    Path(f"{spool.directory}/state/{queue_id}").write_bytes(damage)
    spool.promote_due(NOW + 1, MAX_DELAY_S)
    claimed = claim(spool, queue_id)
    assert (claimed.pending, claimed.state.attempts) == ((JOE,), 0)


def test_a_link_in_the_place_of_a_state_is_a_lost_state(spool: Spool, tmp_path: Path) -> None:
    queue_id = put(spool.directory)
    settle(spool, queue_id, "deferred", in_s=1)
    spool.sync()
    state = Path(spool.directory) / "state" / queue_id
    state.rename(tmp_path / "elsewhere")
    state.symlink_to(tmp_path / "elsewhere")
    spool.promote_due(NOW + 1, MAX_DELAY_S)
    claimed = claim(spool, queue_id)
    assert (claimed.pending, claimed.state.attempts) == ((JOE,), 0)


def test_records_about_what_is_gone_change_nothing(directory: str) -> None:
    spool = Spool(directory)
    for result in ("relayed", "failed"):
        queue_id = put(directory)
        settle(spool, queue_id, result)
        killed(spool)
        os.unlink(path_in_queue(directory, queue_id))
    again = Spool(directory)
    assert again.recover(NOW) == []
    assert everything_in(directory) == []


def test_nonsense_in_the_journal_is_passed_over(spool: Spool) -> None:
    queue_id = put(spool.directory)
    journal = Journal(journal_path(spool.directory, 0), past_damage=True)
    for payload in (b"", b"relayed", b"relayed ../../etc", b"state " + queue_id.encode() + b" {}", b"what " * 9):
        journal.append(payload)
    again = Spool(spool.directory)
    assert again.recover(NOW) == []
    assert list(again.due()) == [queue_id]


@pytest.mark.parametrize("worker", [0, 2])
def test_a_damaged_record_takes_nothing_from_those_behind_it_and_a_person_is_told(directory: str, worker: int) -> None:
    ids = [put(directory, now=NOW + number) for number in range(5)]
    spool = Spool(directory, clock=StillClock())
    by = spool.beside(worker) if worker else spool
    for queue_id, result in zip(ids, ["relayed", "relayed", "relayed", "failed"], strict=False):
        settle(by, queue_id, result)
    killed(by)
    path = Path(f"{directory}/journal.{worker}" if worker else f"{directory}/journal")
    path.write_bytes(path.read_bytes().replace(ids[1].encode(), ids[1].encode()[:-1] + b"!"))
    assert [each.queue_id for each in messages(directory, states=("waiting",))] == [ids[1], ids[4]]
    again = Spool(directory, clock=StillClock())
    assert again.recover(NOW) == [ids[3]]
    assert list(again.due()) == [ids[1], ids[4]]
    assert [place_of(directory, queue_id) for queue_id in ids] == ["", "queue", "", "failed", "queue"]
    (told,) = again.lost
    assert told.startswith(f"{path} was damaged in one place: ")
    again.finish()
    once_more = Spool(directory)
    once_more.recover(NOW)
    assert once_more.lost == [], "told once"


@pytest.mark.parametrize("worker", [0, 2])
def test_a_last_record_that_is_damaged_is_told(directory: str, worker: int) -> None:
    queue_id = put(directory)
    spool = Spool(directory, clock=StillClock())
    by = spool.beside(worker) if worker else spool
    settle(by, queue_id, "relayed")
    killed(by)
    path = Path(f"{directory}/journal.{worker}" if worker else f"{directory}/journal")
    content = bytearray(path.read_bytes())
    content[12] ^= 1
    path.write_bytes(content)
    again = Spool(directory, clock=StillClock())
    again.recover(NOW)
    assert list(again.due()) == [queue_id]
    assert [each.partition(" was damaged in one place")[0] for each in again.lost] == [str(path)]
    again.finish()
    once_more = Spool(directory)
    once_more.recover(NOW)
    assert once_more.lost == [], "told once"


def test_a_record_that_a_kill_has_torn_is_told_to_nobody(directory: str) -> None:
    queue_id, other = put(directory), put(directory, now=NOW + 1)
    spool = Spool(directory, clock=StillClock())
    settle(spool, queue_id, "relayed")
    settle(spool, other, "relayed")
    killed(spool)
    os.truncate(f"{directory}/journal", len(read_journal(f"{directory}/journal")[0][0]) + 20)
    again = Spool(directory)
    again.recover(NOW)
    assert list(again.due()) == [other]
    assert again.lost == []


@pytest.mark.requirement("R24")
def test_a_queue_on_nfs_is_worked_on_as_any(directory: str) -> None:
    relayed, failed, held = (put(directory, now=NOW + number) for number in range(3))
    left = Path(directory) / "tmp/1-20261123T110640.250000-aaaaaa"
    left.write_bytes(b"half a mess")
    with locked_as_on_nfs():
        spool = Spool(directory)
        settle(spool, relayed, "relayed")
        settle(spool, failed, "failed")
        killed(spool)
        assert [change.after for change in manage.hold(directory, [held])] == ["held"]
        again = Spool(directory)
        again.recover(left.stat().st_mtime + 61)
        again.finish()
    assert [place_of(directory, each) for each in (relayed, failed, held)] == ["", "failed", "held"]
    assert not left.exists()
    assert again.problems == []


def test_a_queue_whose_directories_cannot_be_synced_is_worked_on_as_any(tmp_path: Path) -> None:
    with directories_cannot_be_synced():
        directory = new_spool(tmp_path)
        relayed, held = (put(directory, now=NOW + number) for number in range(2))
        spool = Spool(directory)
        settle(spool, relayed, "relayed")
        assert [change.after for change in manage.hold(directory, [held])] == ["held"]
        spool.finish()
    assert [place_of(directory, each) for each in (relayed, held)] == ["", "held"]


@pytest.mark.requirement("R1")
def test_leftovers_of_submissions_that_died_are_removed(directory: str) -> None:
    tmp = Path(directory) / "tmp"
    for name in ("1-20261123T110640.250000-aaaaaa", "1-20261123T102640.250000-bbbbbb.state", "x"):
        (tmp / name).write_bytes(b"half a mess")
    living = os.open(tmp / "x", os.O_RDONLY)
    assert try_lock(living)
    now = (tmp / "x").stat().st_mtime
    Spool(directory).recover(now + 59)
    assert len(os.listdir(tmp)) == 3
    Spool(directory).recover(now + 61)
    assert os.listdir(tmp) == ["x"]
    os.close(living)
    # A clock set back by a year: nobody writes to one file for a year.
    Spool(directory).recover(now - 365 * 86400)
    assert os.listdir(tmp) == []


@pytest.mark.requirement("R1")
def test_leftovers_of_replaced_files_are_removed(directory: str) -> None:
    root = Path(directory)
    for name in ("journal", "ledger", "account.json", "last-flush.json", "checked-config", "notices.json", "host"):
        (root / f"{name}.4242.0badcafe.tmp").write_bytes(b"half")
    (root / "delivery.log.1.tmp").write_bytes(b"somebody's own")
    (root / "d.4242.0badcafe.tmp").mkdir()
    now = (root / "host.4242.0badcafe.tmp").stat().st_mtime
    Spool(directory).recover(now + 50)
    assert len(list(root.glob("*.tmp"))) == 9
    Spool(directory).recover(now + 61)
    assert sorted(path.name for path in root.glob("*.tmp")) == ["d.4242.0badcafe.tmp", "delivery.log.1.tmp"]


def test_a_file_that_is_replaced_while_leftovers_are_looked_for_is_none(directory: str) -> None:
    name = "account.json.4242.0badcafe.tmp"
    (Path(directory) / name).write_bytes(b"{}")
    with vanishes_when_listed(name):
        Spool(directory).recover(4e9)


def test_a_submission_that_ends_while_leftovers_are_looked_for_is_none(directory: str) -> None:
    name = "1-20261123T110640.250000-aaaaaa"
    (Path(directory) / "tmp" / name).write_bytes(b"a message")
    spool = Spool(directory)
    with vanishes_when_listed(name):
        assert spool.recover(NOW) == []
    assert (spool.corrupt, spool.problems) == ([], [])


def test_a_file_being_taken_from_the_drop_directory_is_no_leftover(directory: str) -> None:
    (Path(directory) / "tmp" / "1-20261123T110640.250000-aaaaaa.eml").write_bytes(b"mail")
    Spool(directory).recover(NOW + 10 * 365 * 86400)
    assert len(os.listdir(f"{directory}/tmp")) == 1


# --- what cannot be believed ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("R30")
def test_a_damaged_message_is_set_aside_and_the_others_go_on(spool: Spool) -> None:
    bad, good = put(spool.directory), put(spool.directory, now=NOW + 1)
    path = Path(path_in_queue(spool.directory, bad))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    claimed = [spool.claim(queue_id) for queue_id in list(spool.due())]
    assert [each is not None for each in claimed] == [False, True]
    assert [name for name, _ in spool.corrupt] == [bad]
    assert (Path(spool.directory) / "corrupt" / bad).read_bytes() == whole[:-1]
    reason = (Path(spool.directory) / "corrupt" / f"{bad}.reason").read_text()
    assert "checksum" in reason
    assert place_of(spool.directory, good) == "queue"


def hostile(path: Path, kind: str, secret: Path) -> None:
    match kind:
        case "symbolic link":
            path.symlink_to(secret)
        case "dangling link":
            path.symlink_to(secret.parent / "nothing")
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "hard link":
            os.link(secret, path)
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                os.chdir(path.parent)
                server.bind(path.name)
        case "directory":
            path.mkdir()
            (path / "inside").write_text("x")
        case "device":
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
        case "sparse file":
            with open(path, "wb") as file:
                file.truncate(1 << 31)
        case "somebody else's":
            path.write_bytes(secret.read_bytes())
            os.chown(path, 12345, 12345)


KINDS = [
    "symbolic link", "dangling link", "link to a device", "hard link", "FIFO", "socket", "directory", "device",
    "sparse file", "somebody else's",
]  # fmt: skip


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_foreign_is_sent_or_removed(
    spool: Spool, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0 and kind in ("device", "somebody else's"):
        pytest.skip("only root can make one")
    monkeypatch.chdir(tmp_path)
    queue_id, good = put(spool.directory), put(spool.directory, now=NOW + 1)
    path = Path(path_in_queue(spool.directory, queue_id))
    secret = tmp_path / "secret"
    secret.write_bytes(path.read_bytes())
    path.unlink()
    hostile(path, kind, secret)
    assert spool.claim(queue_id) is None
    assert [name for name, _ in spool.corrupt] == [queue_id]
    assert os.path.lexists(f"{spool.directory}/corrupt/{queue_id}")
    assert secret.exists()
    assert secret.stat().st_nlink == (2 if kind == "hard link" else 1)
    assert list(spool.due()) == [good]
    assert claim(spool, good).pending == (JOE,)
    spool.finish()


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "device"])
def test_a_hostile_leftover_is_set_aside(
    spool: Spool, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0 and kind == "somebody else's":
        pytest.skip("only root can make one")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("keep")
    path = Path(spool.directory) / "tmp" / "evil"
    hostile(path, kind, tmp_path / "secret")
    spool.recover(os.lstat(path).st_mtime + 61)
    assert not os.path.lexists(path)
    assert (tmp_path / "secret").read_text() == "keep"
    assert [name for name, _ in spool.corrupt] == ([] if kind == "sparse file" else ["evil"])


@pytest.mark.requirement("S16")
def test_what_lies_beside_a_message_is_for_its_owner_alone(spool: Spool) -> None:
    before = os.umask(0)
    try:
        queue_id = put(spool.directory)
        settle(spool, queue_id, "deferred", in_s=60)
        (Path(spool.directory) / "queue" / "stray\udcff").write_text("x")
        list(spool.due())
        spool.sync()
    finally:
        os.umask(before)
    (reason,) = (path for path in everything_in(spool.directory) if path.endswith(".reason"))
    for path in (f"state/{queue_id}", reason):
        assert os.stat(f"{spool.directory}/{path}").st_mode & 0o777 == 0o600


def test_a_reason_is_readable_whatever_the_name(spool: Spool) -> None:
    Moves(spool.directory).set_aside(
        path_in_queue(spool.directory, put(spool.directory)), "corrupt", "name", "bad \udcff name"
    )
    assert (Path(spool.directory) / "corrupt" / "name.reason").read_bytes() == b"bad \\udcff name\n"


def test_two_of_one_name_are_both_kept(spool: Spool) -> None:
    for number in range(2):
        (Path(spool.directory) / "queue" / "stray").write_text(str(number))
        list(spool.due())
    corrupt = Path(spool.directory) / "corrupt"
    assert [(corrupt / name).read_text() for name in ("stray", "stray.2")] == ["0", "1"]


def test_one_file_that_cannot_be_read_is_told_once_and_stays(spool: Spool) -> None:
    queue_id = put(spool.directory)
    for _ in range(2):
        with fails_at(1, errno.EIO, names=("pread",)):
            assert spool.claim(queue_id) is None
    assert len(spool.problems) == 1
    assert place_of(spool.directory, queue_id) == "queue"
    assert spool.claim(queue_id) is not None


def test_a_process_that_can_open_nothing_stops(spool: Spool) -> None:
    queue_id = put(spool.directory)
    with fails_at(1, errno.EMFILE, names=("open",)), pytest.raises(OSError, match="Too many open files"):
        spool.claim(queue_id)


def test_a_foreign_file_that_cannot_be_moved_away_is_told(spool: Spool) -> None:
    (Path(spool.directory) / "queue" / "stray").write_text("x")
    with fails_at(1, errno.EROFS, names=("rename",)):
        list(spool.due())
    assert "stray" in spool.problems[0]
    assert spool.corrupt == []


def test_the_reason_is_not_worth_a_failure(spool: Spool) -> None:
    (Path(spool.directory) / "queue" / "stray").write_text("x")
    with fails_at(1, errno.ENOSPC, names=("write",)):
        list(spool.due())
    assert [name for name, _ in spool.corrupt] == ["stray"]


@pytest.mark.requirement("R30")
def test_a_damaged_message_in_the_journal_is_set_aside(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "deferred", in_s=60)
    killed(spool)
    path = path_in_queue(directory, queue_id)
    os.unlink(path)
    os.symlink("/etc/hostname", path)
    again = Spool(directory)
    again.recover(NOW)
    assert [name for name, _ in again.corrupt] == [queue_id]


def test_a_record_that_cannot_be_carried_out_does_not_stop_those_behind_it(directory: str) -> None:
    spool = Spool(directory)
    damaged, unmoved, moved = (put(directory, now=NOW + number) for number in range(3))
    for queue_id in (damaged, unmoved, moved):
        settle(spool, queue_id, "failed")
    killed(spool)
    path = path_in_queue(directory, damaged)
    os.unlink(path)
    os.symlink("/etc/hostname", path)
    again = Spool(directory)
    real = os.rename

    def full_for_one(source: str, target: str) -> None:
        if unmoved in str(source) + str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", full_for_one)
        assert set(again.recover(NOW)) == {unmoved, moved}
    assert [name for name, _ in again.corrupt] == [damaged]
    assert "symbolic link" in again.corrupt[0][1]
    assert [place_of(directory, each) for each in (unmoved, moved)] == ["queue", "failed"]
    again.finish()
    assert place_of(directory, unmoved) == "failed"


@pytest.mark.requirement("R1", "R7")
@pytest.mark.parametrize("who", [[JOE], [JOE, ANN]], ids=["one", "all"])
def test_the_record_of_a_message_that_cannot_be_read_is_there_when_it_can(directory: str, who: list[str]) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=who)
    killed(spool)
    Path(directory, "state", queue_id).unlink(missing_ok=True)
    again = Spool(directory)
    with cannot_be_opened(path_in_queue(directory, queue_id), errno.EIO):
        again.recover(NOW)
    assert again.problems
    assert again.claim(queue_id) is None, "what it records is not done again"
    assert again.beside(1).claim(queue_id) is None
    again.finish()
    once_more = Spool(directory)
    once_more.recover(NOW)
    left = once_more.claim(queue_id)
    assert (left.pending if left is not None else ()) == tuple(each for each in (JOE, ANN) if each not in who)


@pytest.mark.requirement("R1", "R7")
@pytest.mark.parametrize("what", ["state", "queue"])
def test_a_disk_that_does_not_say_what_is_there_has_not_said_that_it_is_not(directory: str, what: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE])
    killed(spool)
    path = path_in_queue(directory, queue_id)
    if what == "queue":
        os.unlink(f"{directory}/state/{queue_id}")
    else:
        path = f"{directory}/state/{queue_id}"
    again = Spool(directory)
    with cannot_be_looked_at(path, errno.EIO):
        again.recover(NOW)
        assert again.claim(queue_id) is None
    assert again.problems[0].startswith(f"{queue_id} cannot be read: {path}: Input/output error")
    again.finish()
    once_more = Spool(directory)
    once_more.recover(NOW)
    assert claim(once_more, queue_id).pending == (ANN,)


def test_a_message_that_is_found_is_known_whatever_cannot_be_looked_at_besides(spool: Spool) -> None:
    queue_id = put(spool.directory)
    list(manage.hold(spool.directory, [queue_id]))
    unknown: dict[str, OSError] = {}
    with cannot_be_looked_at(path_in_queue(spool.directory, queue_id), errno.EIO):
        found = find_all(spool.directory, [queue_id], unknown)
    assert (found[queue_id][0], unknown) == ("held", {})


@pytest.mark.requirement("S19")
def test_where_all_states_are_shut_away_that_is_told_in_one_line_and_nothing_is_sent() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o777)
        with as_user(23456):
            directory = new_spool(Path(home))
            ids = [put(directory, now=NOW + number) for number in range(3)]
            spool = Spool(directory)
            os.chmod(f"{directory}/state", 0)
            assert [spool.claim(queue_id) for queue_id in ids] == [None] * 3
            os.chmod(f"{directory}/state", 0o700)
            assert all(spool.claim(queue_id) for queue_id in ids)
    (told,) = spool.problems
    assert told == f"cannot be read: {directory}/state: Permission denied; give it back its owner and mode 700"


def test_where_nothing_can_be_opened_nothing_is_said_to_be_nowhere(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "relayed")
    killed(spool)
    again = Spool(directory)
    with cannot_be_looked_at(path_in_queue(directory, queue_id), errno.ENOMEM), pytest.raises(OSError, match="memory"):
        again.recover(NOW)
    Spool(directory).recover(NOW)
    assert place_of(directory, queue_id) == ""


@pytest.mark.requirement("R1", "S15")
def test_who_has_a_message_that_is_set_aside_does_not_get_it_again_when_it_is_put_back(directory: str) -> None:
    spool = Spool(directory)
    part, whole = put(directory, JOE, ANN), put(directory, JOE, ANN, now=NOW + 1)
    settle(spool, part, "relayed", only=[JOE])
    settle(spool, whole, "relayed")
    killed(spool)
    os.unlink(f"{directory}/state/{part}")
    for queue_id in (part, whole):
        os.link(path_in_queue(directory, queue_id), f"{directory}/drop/backup of {queue_id}")
    again = Spool(directory)
    again.recover(NOW)
    again.finish()
    assert [name for name, _ in again.corrupt] == [part]
    assert place_of(directory, whole) == "", "nobody needs it"
    os.unlink(f"{directory}/drop/backup of {part}")
    os.rename(f"{directory}/corrupt/{part}", f"{directory}/held/{part}")
    list(manage.release(directory, [part]))
    assert claim(Spool(directory), part).pending == (ANN,)


@pytest.mark.requirement("R8", "S15")
def test_the_failure_of_a_message_that_is_set_aside_is_told_when_it_is_put_back(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "failed")
    killed(spool)
    path = path_in_queue(directory, queue_id)
    os.link(path, f"{directory}/drop/backup")
    again = Spool(directory)
    assert again.recover(NOW) == []
    again.finish()
    os.unlink(f"{directory}/drop/backup")
    os.mkdir(os.path.dirname(path))
    os.rename(f"{directory}/corrupt/{queue_id}", path)
    third = Spool(directory)
    third.recover(NOW)
    assert third.claim(queue_id) is None
    third.finish()
    assert place_of(directory, queue_id) == "failed"
    assert Spool(directory).recover(NOW) == [queue_id]


def test_what_a_person_did_after_the_record_holds_for_a_message_that_is_set_aside(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    state = settle(spool, queue_id, "failed", only=[JOE], in_s=60)
    killed(spool)
    Moves(directory).write_state(queue_id, replace(state, attempts=0, revision=9))
    os.link(path_in_queue(directory, queue_id), f"{directory}/drop/backup")
    again = Spool(directory)
    again.recover(NOW)
    assert [name for name, _ in again.corrupt] == [queue_id]
    kept = read_state(directory, queue_id)
    assert kept is not None
    assert (kept.attempts, kept.revision) == (0, 9)


@pytest.mark.parametrize("name", ["unlink", "write"])
def test_a_message_that_can_neither_be_trusted_nor_get_what_is_recorded_waits(directory: str, name: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory, JOE, ANN)
    settle(spool, queue_id, "relayed", only=[JOE] if name == "write" else [JOE, ANN])
    killed(spool)
    path = path_in_queue(directory, queue_id)
    os.unlink(path)
    os.symlink("/etc/hostname", path)
    again = Spool(directory)
    with fails_at(1, errno.EIO, names=(name,)):
        again.recover(NOW)
    assert again.corrupt == []
    (told,) = again.problems
    assert told.startswith(f"{path}: {path} is a symbolic link, and what is recorded of it cannot be carried out")
    again.finish()
    assert set(newest(read_journal(f"{directory}/journal")[0])) == {queue_id}
    once_more = Spool(directory)
    once_more.recover(NOW)
    assert [name for name, _ in once_more.corrupt] == [queue_id] * (name == "write")


def test_a_message_that_cannot_be_trusted_and_vanishes_is_nobodys(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "failed")
    killed(spool)
    path = path_in_queue(directory, queue_id)
    for number in range(2):
        os.link(path, f"{directory}/drop/backup.{number}")
    again = Spool(directory)
    with at_the_opening_of(path, after=lambda: os.unlink(path)):
        again.recover(NOW)
    again.finish()
    assert (again.corrupt, again.problems, place_of(directory, queue_id)) == ([], [], "")


def test_a_directory_in_the_place_of_a_message_that_was_relayed_is_set_aside(directory: str) -> None:
    spool = Spool(directory)
    queue_id = put(directory)
    settle(spool, queue_id, "relayed")
    killed(spool)
    path = path_in_queue(directory, queue_id)
    os.unlink(path)
    os.mkdir(path)
    again = Spool(directory)
    again.recover(NOW)
    assert [name for name, _ in again.corrupt] == [queue_id]


def test_recovering_many_records_goes_through_what_is_deferred_once(directory: str) -> None:
    spool = Spool(directory, clock=StillClock())
    spool.sync()
    for minute in range(100):
        os.mkdir(f"{directory}/deferred/20261123T{10 + minute // 60}{minute % 60:02d}")
    ids = [put(directory, now=NOW + number) for number in range(100)]
    deferred = Spool(directory, clock=StillClock())
    for queue_id in ids[:50]:
        settle(deferred, queue_id, "deferred", in_s=3600)
    deferred.sync()
    relayed = Spool(directory, clock=StillClock())
    for queue_id in ids[50:]:
        settle(relayed, queue_id, "relayed")
    relayed.sync()
    looked: list[str] = []
    with at_each_call(lambda _number, name: looked.append(name), names=("lstat", "listdir", "scandir")):
        Spool(directory).recover(NOW)
    assert len(looked) < 100 * 12, "not each record in each minute"
    assert [place_of(directory, queue_id) for queue_id in ids] == ["deferred"] * 50 + [""] * 50


@pytest.mark.parametrize("records", [1, 30])
def test_a_message_that_a_person_moves_during_a_recovery_is_found_where_it_is(directory: str, records: int) -> None:
    spool = Spool(directory, clock=StillClock())
    ids = [put(directory, now=NOW + number) for number in range(records)]
    for queue_id in ids:
        settle(spool, queue_id, "deferred", in_s=3600)
    spool.sync()

    def hold_all() -> bool:
        list(manage.hold(directory, ids))
        return False

    again = Spool(directory)
    again.recover(NOW, hold_all)
    assert {place_of(directory, queue_id) for queue_id in ids} == {"held"}
    assert {len(everything_in(f"{directory}/{place}")) for place in ("held", "state")} == {records}


def test_a_recovery_that_is_asked_to_stop_leaves_the_rest_to_the_next_run(directory: str) -> None:
    spool = Spool(directory, clock=StillClock())
    relayed, failed, deferred, waiting = (put(directory, now=NOW + number) for number in range(4))
    settle(spool, relayed, "relayed")
    settle(spool, failed, "failed")
    worker = spool.beside(1)
    settle(worker, deferred, "deferred", in_s=3600)
    killed(spool)
    killed(worker)
    asked = iter([False, True, True])
    stopped = Spool(directory, clock=StillClock())
    assert stopped.recover(NOW, lambda: next(asked)) == []
    assert [place_of(directory, each) for each in (relayed, failed, deferred)] == ["", "queue", "queue"]
    assert [stopped.claim(each) for each in (failed, deferred)] == [None, None], "what it records is not done again"
    stopped.release(claim(stopped, waiting))
    stopped.finish()
    again = Spool(directory, clock=StillClock())
    assert again.recover(NOW) == [failed]
    assert [place_of(directory, each) for each in (relayed, failed, deferred)] == ["", "failed", "deferred"]
    assert list(again.due()) == [waiting]


# --- the journals of workers ------------------------------------------------------------------------------------------


def test_what_a_worker_recorded_and_did_not_carry_out_is_carried_out_by_the_next_run(directory: str) -> None:
    relayed, failed, waiting = put(directory), put(directory), put(directory)
    run = Spool(directory, clock=StillClock())
    worker = run.beside(2)
    settle(worker, relayed, "relayed")
    settle(worker, failed, "failed")
    killed(worker)
    assert os.path.getsize(f"{directory}/journal.2") > 0
    again = Spool(directory, clock=StillClock())
    assert again.recover(NOW) == [failed]
    assert list(again.due()) == [waiting]
    assert place_of(directory, failed) == "failed"
    assert not os.path.exists(f"{directory}/journal.2")
    assert read_journal(f"{directory}/journal")[0], "the failure that nobody was told of is kept"


@pytest.mark.requirement("R1", "R26")
def test_a_worker_does_not_forget_what_a_full_disk_has_left_in_its_journal(directory: str) -> None:
    waiting, other = put(directory, JOE, ANN), put(directory, now=NOW + 1)
    worker = Spool(directory, clock=StillClock()).beside(1)
    claimed = claim(worker, waiting)
    state = after(claimed.state, "relayed", only=[JOE], next_attempt_at=NOW + 60)
    worker.settle(claimed, state)
    killed(worker)
    again = Spool(directory, clock=StillClock())
    with fails_at(1, errno.ENOSPC, names=("write",), and_later=True):
        again.recover(NOW)
    worker = again.beside(1)
    settle(worker, other, "relayed")
    worker.finish()
    killed(again)
    once_more = Spool(directory, clock=StillClock())
    once_more.recover(NOW)
    once_more.promote_due(NOW + 61, MAX_DELAY_S)
    assert claim(once_more, waiting).pending == (ANN,)


@pytest.mark.requirement("R8")
def test_a_worker_does_not_forget_whom_the_one_before_could_not_tell(directory: str) -> None:
    failed, other = put(directory), put(directory, now=NOW + 1)
    run = Spool(directory, clock=StillClock())
    for queue_id, result in ((failed, "failed"), (other, "relayed")):
        worker = run.beside(1)
        settle(worker, queue_id, result)
        worker.finish()
    run.finish()
    assert Spool(directory).recover(NOW) == [failed]


def test_a_worker_that_ends_leaves_no_journal(directory: str) -> None:
    queue_id = put(directory)
    worker = Spool(directory, clock=StillClock()).beside(1)
    settle(worker, queue_id, "relayed")
    worker.finish()
    assert not os.path.exists(f"{directory}/journal.1")
    assert everything_in(directory) == []


def test_a_state_that_cannot_be_removed_behind_its_message_is_removed_by_a_later_run(directory: str) -> None:
    queue_id = put(directory)
    spool = Spool(directory)
    claimed = claim(spool, queue_id)
    spool.settle(claimed, after(claimed.state, "deferred"))
    claimed = claim(spool, queue_id)
    with cannot_be_moved(f"{directory}/state/{queue_id}", errno.EROFS):
        spool.settle(claimed, after(claimed.state, "relayed"))
        assert spool.finish() == {queue_id}
        again = Spool(directory)
        again.recover(NOW)
        again.finish()
    assert os.listdir(f"{directory}/state") == [queue_id]
    last = Spool(directory)
    last.recover(NOW)
    last.finish()
    assert os.listdir(f"{directory}/state") == []
    assert last.find(queue_id) is None
    assert read_journal(f"{directory}/journal") == ([], 0)


@pytest.mark.parametrize("has_room", [True, False])
@pytest.mark.parametrize(
    "left", [b"", journal_of([b"relayed 1-20261124T050000.000000-aaaaaa"])], ids=["nothing", "records"]
)
def test_the_look_for_room_leaves_what_is_there_and_no_more(directory: str, left: bytes, has_room: bool) -> None:
    path = Path(journal_path(directory, 1))
    if left:
        path.write_bytes(left)
    spool = Spool(directory)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft if has_room else 1000, hard))
    try:
        assert spool.has_room_beside(3) == has_room
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (path.read_bytes() if path.exists() else b"") == left
    assert path.exists() == bool(left)


def test_a_worker_keeps_and_syncs_as_the_run_does(directory: str) -> None:
    queue_id = put(directory)
    worker = Spool(directory, sync_each=True, keep_sent_s=7200.0, clock=StillClock()).beside(1)
    claimed = claim(worker, queue_id)
    with fails_at(0, 0) as called:
        worker.settle(claimed, after(claimed.state, "relayed"))
    assert called[-1] == "fdatasync"
    worker.finish()
    assert everything_in(directory) == [f"sent/20261123T11/{queue_id}"]


def test_a_message_that_a_person_takes_away_while_it_comes_back_does_not_stop_the_others(spool: Spool) -> None:
    class Overtaken(Moves):
        """Of the first message, somebody else has already disposed."""

        overtaken = False

        def to_queue(self, source: str, queue_id: str) -> None:
            if not self.overtaken:
                self.overtaken = True
                os.unlink(source)
            super().to_queue(source, queue_id)

    for number in range(2):
        queue_id = put(spool.directory, now=NOW + number)
        claimed = claim(spool, queue_id)
        spool.settle(claimed, after(claimed.state, "deferred", next_attempt_at=NOW + 60))
    spool.finish()
    moves = Overtaken(spool.directory)
    order = Order(moves, Aside(moves), lambda: 0.0)
    assert order.bring_back(NOW + 600, MAX_DELAY_S) == 1


@pytest.mark.requirement("R21")
def test_when_the_clock_was_set_back_all_that_is_deferred_is_due(spool: Spool) -> None:
    ids = [put(spool.directory, now=NOW + number) for number in range(3)]
    for number, queue_id in enumerate(ids):
        settle(spool, queue_id, "deferred", in_s=300 * (number + 1))
    spool.sync()
    assert spool.promote_due(NOW, MAX_DELAY_S) == 0
    spool.promote_due(NOW, MAX_DELAY_S, everything=True)
    assert sorted(spool.due()) == sorted(ids)
