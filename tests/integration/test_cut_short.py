"""A run that the system ends in the middle has a report of what it sent: in its document, and in ``status``."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.program import Program, Run
from tests.support.sink import Sink
from tests.support.spools import put

MANY = 600
# Behind what a run without mail opens, and the modules that sending takes.
BEHIND = 100


def traced(program: Program, *options: str, arguments: tuple[str, ...] = ()) -> Run:
    """A run under strace, which sees what it opens."""
    done = subprocess.run(
        ["strace", "-qq", "-e", "trace=openat", *options, *program.command("flush", *arguments)],
        env=program.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode())


def cut_short(program: Program, opened: int, *arguments: str) -> Run:
    """A run that may open one file less than it has to, behind so many."""
    refusal = f"inject=openat:error=EMFILE:when={opened + BEHIND}"
    return traced(program, "-o", "/dev/null", "-e", refusal, arguments=arguments)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.requirement("R4")
def test_what_was_sent_before_an_error_of_the_system_is_told(program: Program, sink: Sink, tmp_path: Path) -> None:
    program.configure(sink.port)
    program.run("flush", "--json")
    calls = tmp_path / "calls"
    assert traced(program, "-o", str(calls), arguments=("--json",)).code == 0
    opened = len(calls.read_text().splitlines())
    for _ in range(MANY):
        put(str(program.spool))
    cut = cut_short(program, opened, "--json")
    report = cut.json
    sent = len(sink.messages)
    assert 0 < sent < MANY
    assert cut.code == 75
    assert (report["relayed"], report["held_back"], len(report["messages"])) == (sent, MANY - sent, sent)
    assert (report["error"]["stage"], report["error"]["reply"]) == ("queue", None)
    assert report["error"]["what"].endswith("Too many open files")
    last = program.run("status", "--json").json["last_flush"]
    assert (last["relayed"], last["held_back"], last["exit_code"]) == (sent, MANY - sent, 75)
    assert program.run("status").stdout.endswith(f"{sent} relayed, {MANY - sent} held back (exit code 75)\n")
    again = cut_short(program, opened)
    assert (again.code, again.stdout) == (75, "")
    told = again.stderr.splitlines()
    assert told[0].endswith("Too many open files")
    assert told[1:] == ["  remedy: mend this, then run the same command again"]
    assert len(sink.messages) > sent
    third = cut_short(program, opened)
    assert (third.code, third.stderr) == (75, ""), "once an hour"
    # What it had recorded is not sent again.
    program.run("flush")
    assert len(sink.messages) == MANY
