"""`make demo`, the first thing that a newcomer runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_demo_sees_everything_that_it_claims() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.demo"], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "NOT SO" not in run.stdout
