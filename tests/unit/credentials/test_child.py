"""Programs that are asked for a secret: bounded in time and in output, and without a terminal."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.never import NEVER_S
from ucrmmail.credentials.child import _converse, run

ENVIRON = {"PATH": "/usr/bin:/bin"}


def shell(script: str, deadline_s: float = 10, request: bytes = b"", **environ: str) -> tuple[int, bytes, bytes]:
    ended = run(["sh", "-c", script], {**ENVIRON, **environ}, deadline_s, request)
    return ended.returncode, ended.out, ended.err


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_both_outputs_and_the_exit_code_come_back() -> None:
    assert shell("echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")


def test_a_request_larger_than_a_pipe_arrives_whole() -> None:
    assert shell("wc -c", request=b"x" * 1_000_000) == (0, b"1000000\n", b"")


def test_a_program_that_does_not_read_its_request_is_no_error() -> None:
    assert shell("exec <&-; echo done", request=b"x" * 1_000_000)[:2] == (0, b"done\n")


def test_without_a_request_standard_input_is_empty() -> None:
    assert shell("readlink /proc/self/fd/0; cat") == (0, b"/dev/null\n", b"")


def test_an_endless_output_is_bounded_and_ended_at_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        shell("yes", deadline_s=0.5)
    code, out, err = shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
    assert (code, len(out), len(err)) == (0, 65536, 65536)


def test_at_the_deadline_everything_that_it_started_is_ended(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        shell(f"sleep 60 & echo $! > {tmp_path}/pid; wait", deadline_s=0.5)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if not is_alive(pid):
            break
        time.sleep(0.05)
    assert not is_alive(pid)


def test_a_daemon_that_it_leaves_behind_is_not_waited_for_and_not_ended(tmp_path: Path) -> None:
    code, out, _ = shell(f"sleep 600 & echo $! > {tmp_path}/pid; echo word")
    assert (code, out) == (0, b"word\n")
    pid = int((tmp_path / "pid").read_text())
    assert is_alive(pid)
    os.kill(pid, 9)


def test_it_has_no_terminal_to_ask_on() -> None:
    code, _, err = shell(": < /dev/tty")
    assert code
    assert b"/dev/tty" in err


def test_our_own_secret_is_not_in_its_environment() -> None:
    assert shell("echo ${UCRMMAIL_SMTP_PASSWORD-unset} $OTHER", UCRMMAIL_SMTP_PASSWORD="canary", OTHER="kept") == (
        0,
        b"unset kept\n",
        b"",
    )


def test_a_program_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        run(["/nonexistent/program"], ENVIRON, 5)


class SeenLate(subprocess.Popen[bytes]):
    """A program that says its last words and ends at the very moment in which it is looked at."""

    def poll(self) -> int | None:
        return self.wait(NEVER_S)


def test_the_last_words_of_a_program_are_read_however_soon_it_ends() -> None:
    with SeenLate(["/bin/sh", "-c", "sleep 0.5; echo out; echo err >&2"], stdout=-1, stderr=-1) as process:
        assert _converse(process, b"", time.monotonic() + NEVER_S) == (b"out\n", b"err\n")
