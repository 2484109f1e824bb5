"""A spool on a file system that is read-only: refused or left alone, told in one line, nothing lost."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.program import PLAIN, Program
from tests.support.sink import Sink


def may_mount() -> bool:
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


def run_read_only(program: Program, *arguments: str, name: str = "ucrmmail") -> subprocess.CompletedProcess[bytes]:
    """Run a command in a mount namespace where the spool is read-only."""
    mount = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-ec", mount, "sh", str(program.spool), *program.command(*arguments, program=name)],
        input=PLAIN, capture_output=True, env=program.env, cwd=program.home, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.requirement("R4")
@pytest.mark.skipif(
    not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested elsewhere"
)
@pytest.mark.parametrize(
    ("arguments", "name", "code"),
    [
        (("flush",), "ucrmmail", 74),
        (("enqueue", "-"), "ucrmmail", 75),
        (("-t",), "ucrmmail-sendmail", 75),
        (("queue", "remove", "--all", "--yes"), "ucrmmail", 74),
    ],
)
def test_a_read_only_spool_is_told_and_nothing_is_lost(
    program: Program, sink: Sink, arguments: tuple[str, ...], name: str, code: int
) -> None:
    program.configure(sink.port)
    program.sendmail("-t")
    before = sorted(str(path.relative_to(program.spool)) for path in program.spool.rglob("*"))
    run = run_read_only(program, *arguments, name=name)
    said = run.stderr.decode()
    assert run.returncode == code, said
    assert "Read-only file system" in said
    assert "Traceback" not in said
    assert sorted(str(path.relative_to(program.spool)) for path in program.spool.rglob("*")) == before
    assert sink.messages == []
    program.run("flush")
    assert len(sink.messages) == 1


@pytest.mark.skipif(
    not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested elsewhere"
)
def test_status_and_lists_work_on_a_read_only_spool(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.sendmail("-t")
    for arguments in (("status",), ("queue", "list"), ("flush", "--dry-run")):
        run = run_read_only(program, *arguments)
        assert run.returncode == 0, run.stderr


@pytest.mark.skipif(
    not may_mount(), reason="mounting is not permitted here; refusals of the kernel are tested elsewhere"
)
def test_the_doctor_names_a_read_only_file_system(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.sendmail("-t")
    run = run_read_only(program, "doctor", "--only", "spool")
    assert run.returncode == 1
    assert f"{program.spool} cannot be written to: its file system is read-only" in run.stdout.decode()
    assert f"mount -o remount,rw {program.spool}" in run.stdout.decode()
