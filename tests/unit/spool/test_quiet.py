"""When somebody else's file is complete: nobody can know, and a longer silence has to do."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.support.faults import as_user
from ucrmmail.spool.quiet import QUIET_S, QUIET_WITHOUT_LEASE_S, quiet_in

FLUSHER, STRANGER = 23456, 12345


def test_the_file_of_another_user_is_complete_after_a_longer_silence() -> None:
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        path = Path(top) / "others.eml"
        path.touch(mode=0o644)
        os.chown(path, STRANGER, STRANGER)
        with open(path, "rb") as file:
            changed_at = path.stat().st_ctime
            assert quiet_in(file.fileno(), changed_at + QUIET_S) == 0.0, "root is told who writes to it"
            with as_user(FLUSHER):
                assert quiet_in(file.fileno(), changed_at + 1.0) == pytest.approx(QUIET_WITHOUT_LEASE_S - 1.0)
                assert quiet_in(file.fileno(), changed_at + QUIET_WITHOUT_LEASE_S) == 0.0
