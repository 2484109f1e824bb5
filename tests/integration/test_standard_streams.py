"""Standard streams that are closed, full or left: the exit code tells the truth, and nothing is sent twice for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import Program, Run

MESSAGE = b"From: billing@isp.example\nTo: joe@example.com\nSubject: Invoice\n\nHello\n"


@pytest.fixture
def files(program: Program) -> list[str]:
    """Return the names of three messages."""
    names = []
    for number in range(3):
        path = program.home / f"{number}.eml"
        path.write_bytes(MESSAGE)
        names.append(str(path))
    return names


def run_in_shell(program: Program, redirection: str, *command: str, stdin: bytes = b"") -> Run:
    """Run a command with streams that only a shell can redirect so."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *command],
        input=stdin, env=program.env, cwd=program.home, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["lines", "json"])
def test_ids_that_cannot_be_written_are_not_a_reason_to_submit_again(
    program: Program, files: list[str], arguments: list[str]
) -> None:
    program.configure(25)
    run = run_in_shell(program, "> /dev/full", *program.command("enqueue", *arguments, *files))
    assert run.code == 74
    assert run.stderr == (
        "ucrmmail: 3 accepted, but their queue ids could not be written to standard output: No space left on device\n"
        "  remedy: do not submit them again; `ucrmmail queue list` shows them\n"
    )
    assert len(program.queue()) == 3


def test_files_are_accepted_though_the_reader_of_the_ids_has_gone(program: Program, files: list[str]) -> None:
    program.configure(25)
    many = files * 200  # more than are synced together, so that the pipe breaks in the middle
    run = run_in_shell(program, "| head -n 0; exit ${PIPESTATUS[0]}", *program.command("enqueue", *many))
    assert (run.code, run.stdout, run.stderr) == (0, "", "")
    assert len(program.queue()) == 600


@pytest.mark.parametrize("arguments", [["config", "presets"], ["config", "presets", "--json"], ["--help"]])
def test_a_result_that_cannot_be_written_is_told(program: Program, arguments: list[str]) -> None:
    run = run_in_shell(program, "> /dev/full", *program.command(*arguments))
    assert run.code == 74
    assert "the result could not be written to standard output: No space left on device" in run.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["flush", "--help"], ["queue", "list", "--help"], ["config", "presets"], ["--version"]]
)
def test_a_reader_that_has_gone_is_no_fault(program: Program, arguments: list[str]) -> None:
    program.configure(25)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        program.command(*arguments), stdout=writer, stderr=subprocess.PIPE, env=program.env, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(program: Program, files: list[str], redirection: str) -> None:
    program.configure(25)
    run = run_in_shell(program, redirection, *program.command("enqueue", *files))
    assert (run.code, run.stderr) == (0, "")
    assert len(program.queue()) == 3
    assert run_in_shell(program, redirection, *program.command("status")).code == 0


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full", ">&- 2>&-"])
def test_an_error_that_nobody_can_read_keeps_its_exit_code(program: Program, redirection: str) -> None:
    program.configure(25)
    assert run_in_shell(program, redirection, *program.command("enqueue", "missing.eml")).code == 66
    assert run_in_shell(program, redirection, *program.command("enqeue")).code == 2
    assert run_in_shell(program, f"{redirection} > /dev/full", *program.command("enqueue", "missing.eml")).code == 66
    sendmail = str(Path(sys.executable).with_name("ucrmmail-sendmail"))
    assert run_in_shell(program, redirection, sendmail, "--wrong").code == 64


def test_sendmail_takes_a_message_with_both_outputs_closed_and_none_from_a_closed_input(program: Program) -> None:
    program.configure(25)
    sendmail = str(Path(sys.executable).with_name("ucrmmail-sendmail"))
    assert run_in_shell(program, ">&- 2>&-", sendmail, "-t", stdin=MESSAGE).code == 0
    assert len(program.queue()) == 1
    run = run_in_shell(program, "<&-", sendmail, "-t")
    assert run.code == 74
    assert os.strerror(9) in run.stderr
    assert len(program.queue()) == 1


def test_sendmail_that_can_open_nothing_says_so_and_has_a_code_of_its_own(program: Program) -> None:
    program.configure(25)
    script = (
        "import resource, sys; from ucrmmail.sendmail import main; sys.argv[1:] = ['-t']; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); sys.exit(main())"
    )
    command = [sys.executable, "-E", "-c", script]
    run = subprocess.run(command, input=MESSAGE, capture_output=True, env=program.env, check=False)
    assert (run.returncode, run.stderr.count(b"\n")) == (78, 1), run.stderr
    assert b"Too many open files" in run.stderr


def test_a_process_that_ends_at_once_has_written_what_it_said() -> None:
    script = "import sys; from ucrmmail.streams import leave; print('x' * 300_000); sys.stderr.write('!'); leave(75)"
    run = subprocess.run([sys.executable, "-E", "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (75, "x" * 300_000 + "\n", "!")


def test_a_process_that_ends_at_once_keeps_its_code_though_nobody_reads() -> None:
    script = "import sys; from ucrmmail.streams import leave; print('x'); sys.stderr.close(); leave(69)"
    with open("/dev/full", "w", encoding="ascii") as full:
        run = subprocess.run([sys.executable, "-E", "-c", script], stdout=full, check=False)
    assert run.returncode == 69
