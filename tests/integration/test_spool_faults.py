"""One system call of a run fails, at every place and with every errno: nothing is lost, nothing recorded is repeated."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.support.faults import CHANGING, fails_at, in_a_child
from tests.support.runs import Say, check_run, run, seven_messages
from tests.support.spools import new_spool

READING = ("pread", "lstat", "listdir", "scandir", "fstat")


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("names", [CHANGING, READING], ids=["changing", "reading"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EACCES], ids=errno.errorcode.get)
def test_a_run_in_which_one_call_fails_ends_well_in_the_next(
    tmp_path: Path, number: int, names: tuple[str, ...]
) -> None:
    def work(say: Say) -> None:
        # In a process of its own: what it holds open and locked ends with it.
        with fails_at(step, number, names) as called:
            try:
                run(directory, say)
            except OSError as error:
                say(f"stopped {error}")
            if len(called) < step:
                say("over")

    beginning = new_spool(tmp_path)
    seven_messages(beginning)
    directory = str(tmp_path / "now")
    step = 0
    said: list[str] = []
    while "over" not in said:
        step += 1
        shutil.copytree(beginning, directory)
        _, said = in_a_child(work)
        try:
            check_run(directory, [line for line in said if line != "over" and not line.startswith("stopped")])
        except AssertionError as error:
            error.add_note(f"call {step} failed; it had said {said}")
            raise
        shutil.rmtree(directory)
    assert step > 30


@pytest.mark.requirement("R14")
def test_descriptors_are_not_lost(tmp_path: Path) -> None:
    """Of a run that ends, whatever became of its messages."""
    before = len(os.listdir("/proc/self/fd"))
    directory = new_spool(tmp_path)
    seven_messages(directory)
    run(directory, lambda _: None)
    assert len(os.listdir("/proc/self/fd")) == before
