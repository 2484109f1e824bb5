"""Killed at every step between two states: nothing is lost, nothing recorded is sent again.

A child process is killed in place of its n-th system call that changes something, for every n. The parent then does
what the next flush does, and looks at what is left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import dies_at
from tests.support.runs import LATER, Say, check_run, recovered, run, seven_messages, whole_messages
from tests.support.spools import (
    JOE,
    MESSAGE,
    NOW,
    StillClock,
    everything_in,
    new_spool,
    place_of,
    put,
    reported,
    settle,
)
from ucrmmail.message.prepare import Prepared
from ucrmmail.spool import manage
from ucrmmail.spool.batch import Batch
from ucrmmail.spool.intake import take_drops
from ucrmmail.spool.layout import is_queue_id, make_spool, new_queue_id
from ucrmmail.spool.queue import Spool


def at_every_step(
    tmp_path: Path,
    begin: Callable[[str], None],
    work: Callable[[str, Say], None],
    check: Callable[[str, list[str]], None],
) -> int:
    """Run ``work`` on copies of one beginning, killed at each step in turn; ``check`` what is left. Returns the steps."""
    beginning = new_spool(tmp_path)
    begin(beginning)
    step = 0
    died = True
    while died:
        step += 1
        directory = str(tmp_path / f"step-{step}")
        shutil.copytree(beginning, directory, symlinks=True)
        died, said = dies_at(step, lambda say, directory=directory: work(directory, say))  # type: ignore[misc]
        try:
            check(directory, said)
        except AssertionError as error:
            error.add_note(f"killed at step {step}, after it had said {said}")
            raise
        shutil.rmtree(directory)
    return step


def nothing(_directory: str) -> None:
    """Begin with an empty spool."""


# --- accepting ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R5", "R6")
def test_a_submission_killed_at_any_step_was_told_yes_or_left_nothing_torn(tmp_path: Path) -> None:
    def check(directory: str, said: list[str]) -> None:
        spool = recovered(directory)
        queued = whole_messages(spool)
        assert set(said) <= set(queued)
        assert len(queued) <= 1
        assert os.listdir(f"{directory}/tmp") == []

    assert at_every_step(tmp_path, nothing, lambda directory, say: say(put(directory)), check) > 10


@pytest.mark.requirement("R5", "R6")
def test_a_batch_killed_at_any_step_was_told_yes_as_a_whole_or_left_nothing_torn(tmp_path: Path) -> None:
    def work(directory: str, say: Say) -> None:
        with Batch(directory, min_free_bytes=0) as batch:
            for number in range(3):
                batch.add(
                    new_queue_id(NOW + number, "normal"),
                    reverse_path="",
                    recipients=(JOE,),
                    message=MESSAGE,
                    eight_bit=False,
                    utf8=False,
                )
            for queue_id in batch.commit():
                say(queue_id)

    def check(directory: str, said: list[str]) -> None:
        queued = whole_messages(recovered(directory))
        assert set(said) <= set(queued)
        assert os.listdir(f"{directory}/tmp") == []

    assert at_every_step(tmp_path, nothing, work, check) > 20


def test_a_spool_whose_making_was_killed_is_completed(tmp_path: Path) -> None:
    step = 0
    died = True
    while died:
        step += 1
        directory = str(tmp_path / str(step) / "var" / "spool")
        died, _ = dies_at(step, lambda _, directory=directory: make_spool(directory))  # type: ignore[misc]
        queue_id = put(directory)
        assert place_of(directory, queue_id) == "queue"
        make_spool(directory)
        assert len(os.listdir(directory)) == 13
        assert os.stat(f"{directory}/reserve").st_blocks * 512 >= 1 << 20
    assert step > 30


# --- a run -----------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("sync_every", [2, 100])
def test_a_run_killed_at_any_step_loses_nothing_and_repeats_nothing_that_it_recorded(
    tmp_path: Path, sync_every: int
) -> None:
    steps = at_every_step(
        tmp_path, seven_messages, lambda directory, say: run(directory, say, sync_every=sync_every), check_run
    )
    assert steps > 80


@pytest.mark.requirement("R1", "R5")
def test_runs_that_are_killed_one_after_the_other_end_all_the_same(tmp_path: Path) -> None:
    """Each run is killed some steps later than the one before it got; every message is on the wire once for a kill more."""
    directory = new_spool(tmp_path)
    seven_messages(directory)
    wire: list[str] = []
    recorded: list[str] = []
    kills = 0
    for step in [*range(3, 90, 3), 100_000]:
        died, said = dies_at(step, lambda say: run(directory, say, sync_every=3))
        kills += died
        wire += [line.split()[1] for line in said if line.startswith("wire")]
        recorded += [line.split()[1] for line in said if line.startswith("recorded")]
    assert not died
    assert len(set(wire)) == 7
    assert len(recorded) == len(set(recorded))
    assert len(wire) - 7 <= kills
    spool = recovered(directory)
    assert [path.split("/")[0] for path in everything_in(directory) if not path.startswith("state/")] == [
        "deferred", "deferred", "failed",
    ]  # fmt: skip
    spool.finish()


def killed_after_recording(directory: str, copy: Path, *, messages: int) -> list[str]:
    """Let a run that never syncs die as soon as it has recorded so many messages; return what it said."""
    for step in range(1, 1000):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(directory, copy)
        died, said = dies_at(step, lambda say: run(str(copy), say, sync_every=100))
        if sum(line.startswith("recorded") for line in said) == messages:
            assert died
            shutil.rmtree(directory)
            shutil.move(copy, directory)
            return said
    raise AssertionError("it never recorded them all")


@pytest.mark.requirement("R5")
def test_recovering_killed_at_any_step_is_completed_by_the_next(tmp_path: Path) -> None:
    said: list[str] = []

    def begin(directory: str) -> None:
        seven_messages(directory)
        # Killed just before its first sync: everything is in the journal, nothing is carried out.
        said[:] = killed_after_recording(directory, tmp_path / "begin", messages=7)

    def work(directory: str, _: Say) -> None:
        spool = Spool(directory, clock=StillClock(NOW + 2))
        spool.recover(NOW + 2)
        spool.finish()

    steps = at_every_step(tmp_path, begin, work, lambda directory, _: check_run(directory, said))
    assert steps > 30


# --- what a person does ---------------------------------------------------------------------------------------------------


def one_in_each_state(directory: str) -> None:
    spool = Spool(directory, clock=StillClock())
    for number, (result, in_s) in enumerate([("", 0), ("deferred", 60), ("failed", 0), ("", 0)]):
        queue_id = put(directory, now=NOW + number)
        if result:
            state = settle(spool, queue_id, result, in_s=in_s)
            spool.update_state(queue_id, reported(state))
    spool.finish()
    list(manage.hold(directory, [queue_id]))


@pytest.mark.parametrize("command", ["hold", "release", "retry", "remove"])
def test_a_command_killed_at_any_step_is_done_or_not(tmp_path: Path, command: str) -> None:
    def ids_in(directory: str) -> list[str]:
        return sorted({path.rsplit("/", 1)[-1] for path in everything_in(directory)})

    def work(directory: str, say: Say) -> None:
        for change in getattr(manage, command)(directory, ids_in(directory)):
            say(f"{change.queue_id} {change.after}")

    def check(directory: str, said: list[str]) -> None:
        places = {"waiting": "queue", "held": "held", "failed": "failed", "deferred": "deferred", "": ""}
        for line in said:
            queue_id, _, after = line.partition(" ")
            assert place_of(directory, queue_id) == places[after]
        spool = recovered(directory)
        left = [place_of(directory, queue_id) for queue_id in ids_in(directory) if is_queue_id(queue_id)]
        if command == "remove":
            # A state without its message is all that may be left.
            assert len([place for place in left if place]) <= 4 - len(said)
        else:
            assert len(left) == 4
            assert all(left)
        whole_messages(spool)

    assert at_every_step(tmp_path, one_in_each_state, work, check) > 5


# --- the drop directory --------------------------------------------------------------------------------------------------


def prepare(raw: bytes) -> Prepared:
    return Prepared(
        reverse_path="",
        recipients=(JOE,),
        message=raw,
        priority="urgent",
        eight_bit=False,
        utf8=False,
        message_id="",
    )


@pytest.mark.requirement("R5")
def test_the_intake_killed_at_any_step_accepts_each_file_once(tmp_path: Path) -> None:
    def begin(directory: str) -> None:
        for number in range(3):
            Path(directory, "drop", f"{number}.eml").write_bytes(MESSAGE)

    def work(directory: str, say: Say) -> None:
        spool = Spool(directory, clock=StillClock(LATER))
        spool.recover(LATER)
        take_drops(directory, prepare=prepare, now=LATER, max_size_bytes=10_000, min_free_bytes=0)
        say("taken")

    def check(directory: str, _: list[str]) -> None:
        work(directory, lambda _: None)
        assert os.listdir(f"{directory}/drop") == os.listdir(f"{directory}/tmp") == []
        assert os.listdir(f"{directory}/rejected") == []
        assert len(whole_messages(recovered(directory))) == 3

    assert at_every_step(tmp_path, begin, work, check) > 40
