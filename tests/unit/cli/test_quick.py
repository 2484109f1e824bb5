"""What the quick way says is what the real command says."""

from __future__ import annotations

import pytest

from ucrmmail.cli.quick import BUSY, BUSY_DOCUMENT
from ucrmmail.delivery.report import RunReport
from ucrmmail.output.machine import print_document
from ucrmmail.output.run_report import run_document


def test_the_document_of_a_run_that_finds_another_is_that_of_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    print_document(run_document(RunReport(reason=BUSY)))
    assert capsys.readouterr().out == BUSY_DOCUMENT
