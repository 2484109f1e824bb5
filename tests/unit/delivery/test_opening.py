"""What is dropped is taken by the run that finds it, also when it came file by file."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.support.faults import at_each_call, dies_at, fails_at, in_a_child
from tests.support.spools import new_spool, put, settle
from ucrmmail.cli.runtime import report_acceptor
from ucrmmail.clock import Clock
from ucrmmail.delivery.concerns import Concerns
from ucrmmail.delivery.drops import Drops
from ucrmmail.delivery.notices import Reporter
from ucrmmail.delivery.opening import open_queue
from ucrmmail.delivery.schedule import Retry
from ucrmmail.delivery.untold import NAME, Untold
from ucrmmail.errors import NoUserError
from ucrmmail.message.prepare import Addresses, Prepared, prepare
from ucrmmail.spool import manage
from ucrmmail.spool.layout import make_spool
from ucrmmail.spool.listing import messages
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.quiet import QUIET_S


def ready(raw: bytes) -> Prepared:
    return prepare(
        raw, reverse_path=None, recipients=(), extract_recipients=True, addresses=Addresses(sender="", organization="", support="", notification=""),
        priority=None, now=time.time(), hostname="app1.isp.example", unique="1", max_size=1 << 20,
    )  # fmt: skip


def opened(
    spool: Spool, *, accept: Callable[[str, str, bytes, str], str] | None = None, concerns: Concerns | None = None
) -> list[str]:
    """Open the queue for a run; returns the addresses that were told of a failure."""
    told: list[str] = []

    def keep(_reverse_path: str, recipient: str, _message: bytes, _queue_id: str) -> str:
        told.append(recipient)
        return ""

    concerns = concerns or Concerns()
    drops = Drops(
        spool.directory,
        prepare=ready,
        max_size_bytes=1 << 20,
        min_free_bytes=0,
        clock=Clock(),
        concerns=concerns,
    )
    open_queue(
        spool,
        drops=drops,
        reporter=Reporter(accept=accept or keep, notification="", hostname="app1.isp.example"),
        retry=Retry(),
        clock=Clock(),
        sleep=time.sleep,
        concerns=concerns,
    )
    return told


def test_files_that_came_one_after_the_other_are_taken_by_one_run(tmp_path: Path) -> None:
    directory = str(tmp_path / "spool")
    make_spool(directory)
    for number in range(10):
        (tmp_path / "spool" / "drop" / f"{number}.eml").write_bytes(b"From: a@isp.example\nTo: b@example.com\n\nhi\n")
        time.sleep(0.03)
    spool = Spool(directory)
    opened(spool)
    assert list((tmp_path / "spool" / "drop").iterdir()) == []
    assert spool.count_waiting() == 10


class Hurried(Clock):
    """A tenth of a second goes by whenever somebody asks."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        self.at += 0.1
        return self.at


def ten_dropped(tmp_path: Path) -> tuple[str, Hurried, Drops]:
    """Ten files that were dropped a moment ago, and who takes them by a clock that hurries."""
    directory = str(tmp_path / "spool")
    make_spool(directory)
    clock = Hurried()
    drops = Drops(directory, prepare=ready, max_size_bytes=1 << 20, min_free_bytes=0, clock=clock, concerns=Concerns())
    for number in range(10):
        (tmp_path / "spool" / "drop" / f"{number}.eml").write_bytes(b"From: a@isp.example\nTo: b@example.com\n\nhi\n")
    time.sleep(2 * QUIET_S)
    return directory, clock, drops


def test_a_look_while_a_message_is_on_the_wire_takes_a_moment_and_the_next_one_the_rest(tmp_path: Path) -> None:
    directory, clock, drops = ten_dropped(tmp_path)
    spool = Spool(directory)
    assert not drops.look_again()
    assert spool.count_waiting() == 0, "it is not time yet"
    clock.at += 2.0
    assert drops.look_again()
    taken = spool.count_waiting()
    assert 0 < taken < 10
    for _ in range(10):
        clock.at += 2.0
        drops.look_again()
    assert Spool(directory).count_waiting() == 10


def test_a_look_at_a_great_many_names_takes_something_however_long_it_lasts(tmp_path: Path) -> None:
    directory, clock, drops = ten_dropped(tmp_path)
    clock.at += 2.0

    def lasts(_number: int, _name: str) -> None:
        clock.at += 5.0

    with at_each_call(lasts, ("scandir",)):
        assert drops.look_again()
    assert Spool(directory).count_waiting() > 0


def test_a_failure_that_nobody_was_told_of_is_told_once_by_the_next_run(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    before = Spool(directory)
    settle(before, put(directory), "failed")
    before.sync()
    assert opened(Spool(directory)) == ["billing@isp.example"]
    assert opened(Spool(directory)) == []


def test_a_report_that_could_not_be_noted_as_queued_is_not_queued_again(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    before = Spool(directory)
    settle(before, put(directory), "failed")
    settle(before, put(directory), "failed")
    before.sync()
    accept = report_acceptor(directory, 0)

    def run(say: Callable[[str], None]) -> None:
        with fails_at(1, errno.EIO, names=("pwrite",)):
            try:
                opened(Spool(directory), accept=accept)
            except OSError as error:
                say(str(error.strerror))

    assert in_a_child(run) == (False, ["Input/output error"])
    # Wherever it is by then.
    list(manage.hold(directory, [message.queue_id for message in messages(directory)]))
    assert in_a_child(run) == (False, ["Input/output error"])
    opened(Spool(directory), accept=accept)
    reports = [message.state for message in messages(directory) if not message.reverse_path]
    assert sorted(reports) == ["held", "waiting"]


def test_a_report_at_which_a_run_was_killed_is_queued_once_by_the_next_one_without_a_word(tmp_path: Path) -> None:
    left_behind = 0
    for step in count(1):
        (tmp_path / str(step)).mkdir()
        directory = new_spool(tmp_path / str(step))
        accept = report_acceptor(directory, 0)
        before = Spool(directory)
        settle(before, put(directory), "failed")
        before.sync()
        died, _ = dies_at(step, lambda _: opened(Spool(directory), accept=accept).clear())  # noqa: B023 # called here
        left_behind += bool(os.listdir(f"{directory}/tmp"))
        concerns = Concerns()
        opened(Spool(directory), accept=accept, concerns=concerns)
        assert (concerns.lines, concerns.exit_code) == ([], 0)
        assert sum(not message.reverse_path for message in messages(directory)) == 1
        if not died:
            break
    assert left_behind > 1


def test_a_failure_that_no_report_can_tell_of_is_told_on_the_screen_and_owed_to_nobody(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    before = Spool(directory)
    queue_id = put(directory)
    settle(before, queue_id, "failed")
    before.sync()

    def refuse(_reverse_path: str, recipient: str, _message: bytes, _queue_id: str) -> str:
        raise NoUserError(f"{recipient} is no address")

    concerns = Concerns()
    opened(Spool(directory), accept=refuse, concerns=concerns)
    assert concerns.lines[0] == "no report of what follows can be sent: billing@isp.example is no address"
    assert concerns.lines[1].startswith(f"{queue_id} to joe@example.com failed: ")
    assert concerns.exit_code == 0
    assert opened(Spool(directory)) == []


def test_a_failure_whose_line_cannot_be_kept_for_a_person_stays_owed(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    before = Spool(directory)
    settle(before, put(directory, reverse_path=""), "failed")
    before.sync()
    untold = Untold(f"{directory}/{NAME}")
    Path(untold.path).mkdir()  # as on a disk that is full, or fails
    for _ in range(2):
        concerns = Concerns(untold=untold)
        spool = Spool(directory)
        assert opened(spool, concerns=concerns) == []
        assert len(concerns.lines) == 1
        spool.finish()
    Path(untold.path).rmdir()
    opened(Spool(directory), concerns=Concerns(untold=untold))
    concerns = Concerns(untold=untold)
    opened(Spool(directory), concerns=concerns)
    assert (len(concerns.lines), len(untold.read().lines)) == (0, 1), "it is not owed any more, and kept for a reader"


def test_a_failure_that_a_person_retried_before_it_was_told_stops_no_run(tmp_path: Path) -> None:
    directory = new_spool(tmp_path)
    before = Spool(directory)
    queue_id = put(directory)
    settle(before, queue_id, "failed")
    before.sync()
    list(manage.retry(directory, [queue_id]))
    spool = Spool(directory)
    assert opened(spool) == []
    assert list(spool.due()) == [queue_id]
    spool.finish()
    assert Spool(directory).recover(time.time()) == [], "it is forgotten for good"
