"""What the quick way says is what the real command says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.program import Program
from ucrmmail.cli.flush_request import FlushRequest
from ucrmmail.cli.quick import BUSY, BUSY_DOCUMENT, NOTHING, UNTOLD, WORK, look, taken_lock
from ucrmmail.delivery.report import RunReport
from ucrmmail.delivery.untold import NAME
from ucrmmail.output.machine import print_document
from ucrmmail.output.run_report import run_document


def test_the_document_of_a_run_that_finds_another_is_that_of_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    print_document(run_document(RunReport(reason=BUSY)))
    assert capsys.readouterr().out == BUSY_DOCUMENT


@pytest.mark.parametrize(
    ("name", "found"),
    [("journal", WORK), ("journal.12", WORK), ("journal.12.0badcafe.tmp", NOTHING), ("j", NOTHING), ("untold", WORK)],
)
def test_what_a_run_has_recorded_or_could_not_tell_makes_work_and_nothing_else(
    tmp_path: Path, name: str, found: str
) -> None:
    assert UNTOLD == NAME
    program = Program(tmp_path / "home")
    program.configure(1)
    program.run("flush")
    (program.spool / name).write_bytes(b"something")
    assert look(FlushRequest(str(program.config)), watched=False) == found
    lock = taken_lock(str(program.spool / "lock"))
    assert (lock >= 0) == (found == WORK)
    if lock >= 0:
        os.close(lock)
