"""A module of the program that cannot be read when it is loaded: nothing was taken, and the caller may try again."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.program import Program
from ucrmmail.message import reencode

LONG_LINE = b"To: joe@example.com\nSubject: hello\n\n" + b"x" * 2000 + b"\n"


@pytest.mark.requirement("R4")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("error", ["EMFILE", "EIO"])
@pytest.mark.parametrize("command", [("ucrmmail-sendmail", "-t"), ("ucrmmail", "enqueue", "-")])
def test_a_module_that_cannot_be_read_is_a_temporary_error(
    program: Program, command: tuple[str, ...], error: str
) -> None:
    program.configure(25)
    inject = ["-P", reencode.__file__, "-e", "trace=%file", "-e", f"inject=%file:error={error}"]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", *inject, *program.command(*command[1:], program=command[0])],
        env=program.env, input=LONG_LINE, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 75, done.stderr
    assert b"ucrmmail.message.reencode" in done.stderr
    assert b"internal error" not in done.stderr
    assert program.queue() == []
