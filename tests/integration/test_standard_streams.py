"""Standard streams that are closed, full or left: the exit code tells the truth, and nothing is sent twice for it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.program import Program, Run, killed_at_last
from tests.support.sink import Sink
from tests.support.smtp_server import SmtpServer
from ucrmmail.output.escape import visible
from ucrmmail.streams import _spelled_out

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


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_findings_that_cannot_be_written_are_told_of_with_the_code_of_the_check(
    program: Program, more: list[str]
) -> None:
    program.configure(25)
    # It has never run, which is a warning.
    run = run_in_shell(program, "> /dev/full", *program.command("doctor", "--only", "flush", "--strict", *more))
    assert run.code == 1
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


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-", "--json >&-"])
def test_closed_streams_change_nothing_for_a_flush_with_nothing_to_tell(
    program: Program, sink: Sink, files: list[str], redirection: str
) -> None:
    program.configure(sink.port)
    program.run("enqueue", *files)
    for _ in range(3):
        assert run_in_shell(program, redirection, *program.command("flush")).code == 0
    assert len(sink.messages) == 3


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full", ">&- 2>&-"])
def test_an_error_that_nobody_can_read_keeps_its_exit_code(program: Program, redirection: str) -> None:
    program.configure(25)
    assert run_in_shell(program, redirection, *program.command("enqueue", "missing.eml")).code == 66
    assert run_in_shell(program, redirection, *program.command("enqeue")).code == 2
    assert run_in_shell(program, f"{redirection} > /dev/full", *program.command("enqueue", "missing.eml")).code == 66
    sendmail = str(Path(sys.executable).with_name("ucrmmail-sendmail"))
    assert run_in_shell(program, redirection, sendmail, "--wrong").code == 64


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["config", "edit"], 2, "there is no terminal to edit on"),
        (["config", "set", "smtp.password"], 2, "smtp.password: there is no terminal to ask on"),
        (["config", "set", "smtp.host", "--stdin"], 74, os.strerror(9)),
        (["credentials", "delete"], 2, "there is no terminal to ask on"),
        (["queue", "remove", "--all"], 2, "add --yes"),
        (["setup"], 2, "ADDRESS is missing, and there is no terminal to ask on"),
        (["check-dns", "--file", "-"], 66, os.strerror(9)),
    ],
)
def test_a_closed_input_is_no_terminal_and_no_empty_answer(
    program: Program, files: list[str], arguments: list[str], code: int, said: str
) -> None:
    """It had been an internal error (70)."""
    program.configure(25)
    program.run("enqueue", *files * 4)
    run = run_in_shell(program, "<&-", *program.command(*arguments))
    assert run.code == code, run.stderr
    assert said in run.stderr
    assert len(program.queue()) == 12


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
    assert (run.returncode, run.stderr.count(b"\n")) == (75, 1), run.stderr
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


# --- charsets -----------------------------------------------------------------------------------------------------

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"PYTHONIOENCODING": "latin-1"}, b"n\xf6 such \\u{2603} \\u{1f4ec}"),
        ({"PYTHONIOENCODING": "ascii"}, b"n\\xf6 such \\u{2603} \\u{1f4ec}"),
        (ASCII, b"n\\xf6 such \\u{2603} \\u{1f4ec}"),
        ({"PYTHONIOENCODING": "utf-8"}, "nö such ☃ 📬".encode()),
    ],
    ids=["latin-1", "ascii", "C", "utf-8"],
)
def test_what_the_charset_of_the_output_does_not_have_is_spelled_out(
    program: Program, env: dict[str, str], said: bytes
) -> None:
    assert visible("\x9f\udcff\U000e0001") == "".join(map(_spelled_out, "\x9f\udcff\U000e0001")), "in the same form"
    with SmtpServer(faults={"rcpt": lambda line: "550 5.1.1 nö such ☃ 📬" if b"joe" in line else None}) as server:
        program.configure(server.port)
        program.env |= env
        (program.home / "m.eml").write_bytes(MESSAGE.replace(b"Invoice", "Grüße ☃".encode()))
        (queue_id,) = program.run("enqueue", "--from", "a@isp.example", "m.eml").lines
        for arguments in (["flush", "-v"], ["queue", "list"], ["queue", "show", queue_id]):
            done = subprocess.run(
                program.command(*arguments), env=program.env, cwd=program.home, capture_output=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, b""), arguments
            assert said in done.stdout


# --- what is told once only --------------------------------------------------------------------------------------


def failing(program: Program, sink: Sink, count: int = 1) -> list[str]:
    """Queue messages whose failure no report can tell, to a server that refuses them; return their ids."""
    program.configure(sink.port)
    program.config.write_text(program.config.read_text().replace('notification = "admin@isp.example"\n', ""))
    sink.on_rcpt = lambda _address: "550 5.1.1 No such user"
    path = program.home / "bounce.eml"
    path.write_bytes(MESSAGE)
    return program.run("enqueue", "--from", "", *[str(path)] * count).lines


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        ("2> /dev/full", 74), ("> /dev/full 2>&1", 74), ("2>&1 > /dev/null | true; exit ${PIPESTATUS[0]}", 74),
        ("--json > /dev/full", 74), ("--json > /dev/full 2>&1", 74), ("--json | true; exit ${PIPESTATUS[0]}", 74),
        ("2>&-", 74), (">&- 2>&-", 74), ("<&- >&- 2>&-", 74), ("--json >&-", 74), ("--json >&- 2>&-", 74),
        ("> /dev/full", 0), ("--json 2>&-", 0), ("2> /dev/null", 0), ("--json > /dev/null", 0), ("", 0),
    ],
)  # fmt: skip
def test_a_failure_that_could_not_be_printed_is_told_by_the_next_run(
    program: Program, sink: Sink, redirection: str, code: int
) -> None:
    (queue_id,) = failing(program, sink)
    # The reader has gone before the first line comes.
    sink.on_mail = lambda _address: time.sleep(0.3)
    assert run_in_shell(program, redirection, *program.command("flush")).code == code
    told = program.run("flush").stderr
    if code:
        assert told == f"ucrmmail: {queue_id} to joe@example.com failed: 550 5.1.1 No such user\n"
    else:
        assert told == ""
    assert (program.run("flush").stderr, (program.spool / "untold").read_bytes()) == ("", b"")


def test_a_worse_code_than_that_of_an_output_that_failed_is_kept(program: Program, sink: Sink) -> None:
    queue_id = failing(program, sink, 2)[0]
    replies = iter(["550 5.1.1 No such user", "421 4.7.0 too many messages"])
    sink.on_rcpt = lambda _address: next(replies)
    assert run_in_shell(program, "2> /dev/full", *program.command("flush")).code == 75
    assert f"{queue_id} to joe@example.com failed" in program.run("flush", code=75).stderr


def test_what_waits_to_be_told_is_nobodys_until_a_run_can_print_it(program: Program, sink: Sink) -> None:
    """An exit code of 0 and silence, where standard error is closed in each run, had been all that was ever heard."""
    (queue_id,) = failing(program, sink)
    assert [run_in_shell(program, "2>&-", *program.command("flush")).code for _ in range(3)] == [74] * 3
    assert program.run("flush").stderr == f"ucrmmail: {queue_id} to joe@example.com failed: 550 5.1.1 No such user\n"
    assert run_in_shell(program, "2>&-", *program.command("flush")).code == 0


@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("said", ["421 4.7.0 too many messages", "530 5.7.0 a login is needed"])
def test_a_trouble_of_the_account_that_could_not_be_printed_is_told_by_the_next_run(
    program: Program, sink: Sink, said: str, redirection: str
) -> None:
    """It had counted as told for an hour, and for as long as the pause lasted."""
    program.configure(sink.port)
    program.run("enqueue", "-", stdin=MESSAGE)
    sink.on_mail = lambda _address: said
    code = run_in_shell(program, redirection, *program.command("flush")).code
    assert code in {75, 77}
    assert said in program.run("flush", code=75).stderr
    assert program.run("flush", code=75).stderr == ""


def test_a_rejected_file_whose_line_could_not_be_printed_is_told_by_the_next_run(program: Program) -> None:
    program.configure(25)
    program.run("flush")
    (program.spool / "drop" / "x.eml").write_bytes(b"no message\n")
    assert run_in_shell(program, "2> /dev/full", *program.command("flush")).code == 74
    assert program.run("flush").stderr.startswith("ucrmmail: drop/x.eml was rejected: ")
    assert program.run("flush").stderr == ""


@pytest.mark.parametrize("connections", [1, 3])
def test_a_failure_is_told_by_the_next_run_when_its_own_was_killed(
    program: Program, sink: Sink, connections: int
) -> None:
    queue_id = failing(program, sink)[0]
    config = program.config.read_text()
    program.config.write_text(config.replace("[smtp]\n", f"[smtp]\nconnections = {connections}\n"))
    good = program.home / "good.eml"
    good.write_bytes(MESSAGE.replace(b"joe@", b"good@"))
    program.run("enqueue", *[str(good)] * 4)
    sink.on_rcpt = lambda address: time.sleep(1.0) if address.startswith("good") else "550 5.1.1 No such user"
    flush = program.start("flush")
    while not (program.spool / "untold").exists() or not (program.spool / "untold").stat().st_size:
        time.sleep(0.01)
    time.sleep(0.2)
    flush.kill()
    assert flush.communicate(timeout=60) == (b"", b"")
    sink.on_rcpt = lambda _address: None
    assert f"{queue_id} to joe@example.com failed: 550 5.1.1 No such user\n" in program.run("flush").stderr
    assert program.run("flush").stderr == ""


def test_what_could_not_be_printed_is_told_though_nothing_is_to_be_sent_and_nobody_is_asked(
    program: Program, sink: Sink
) -> None:
    (queue_id,) = failing(program, sink)
    run_in_shell(program, "2> /dev/full", *program.command("flush"))
    sessions = sink.sessions
    document = program.run("flush", "--json").json
    assert document["needs_person"] == [f"{queue_id} to joe@example.com failed: 550 5.1.1 No such user"]
    assert (sink.sessions, program.run("flush", "--json").json["needs_person"]) == (sessions, [])


# --- readers that are slow -----------------------------------------------------------------------------------------


def small_pipe() -> tuple[int, int]:
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    return ends


def wait_until_free(program: Program) -> None:
    """Wait until another flush finds the queue free: the one that waits for its reader has let go of it."""
    deadline = time.monotonic() + 30
    while program.run("flush", "--json").json["reason"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.requirement("S17")
@pytest.mark.parametrize("connections", [1, 3])
def test_lines_that_nobody_reads_hold_up_no_mail_and_come_when_somebody_does(
    program: Program, sink: Sink, files: list[str], connections: int
) -> None:
    program.configure(sink.port, smtp=f"connections = {connections}")
    program.run("enqueue", *files * 150)
    heard, said = small_pipe()
    command = program.command("flush", "-v")
    with killed_at_last(subprocess.Popen(command, stdout=said, stderr=subprocess.PIPE, env=program.env)) as flush:
        os.close(said)
        deadline = time.monotonic() + 30
        while len(sink.messages) < 450:
            assert time.monotonic() < deadline, len(sink.messages)
            time.sleep(0.05)
        wait_until_free(program)
        assert flush.poll() is None
        with open(heard, encoding="utf-8") as pipe:
            lines = pipe.read().splitlines()
        assert (flush.wait(20), flush.stderr and flush.stderr.read()) == (0, b"")
    assert (len(lines), lines[-1]) == (451, "450 relayed")
    assert len({line.split()[0] for line in lines[:-1]}) == 450


def test_a_reader_who_has_gone_ends_no_sending(program: Program, sink: Sink, files: list[str]) -> None:
    program.configure(sink.port)
    program.run("enqueue", *files * 150)
    run = run_in_shell(program, "| head -n 1; exit ${PIPESTATUS[0]}", *program.command("flush", "-v"))
    assert (run.code, run.stdout.count("\n"), run.stderr) == (0, 1, "")
    assert (len(sink.messages), program.queue()) == (450, [])
    program.run("enqueue", *files)
    run = run_in_shell(program, "> /dev/full", *program.command("flush", "-v"))
    assert (run.code, len(sink.messages)) == (74, 453)
    assert "could not be written to standard output: No space left on device" in run.stderr


def test_a_person_who_does_not_read_what_failed_holds_up_no_mail_and_is_told_all_of_it(
    program: Program, sink: Sink
) -> None:
    ids = failing(program, sink, 100)
    heard, said = small_pipe()
    command = program.command("flush")
    with killed_at_last(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=program.env)) as flush:
        os.close(said)
        deadline = time.monotonic() + 30
        while not program.queue("--state", "failed")[99:]:
            assert time.monotonic() < deadline
        # The next run tells all of it, since nobody knows whether this one will.
        deadline = time.monotonic() + 30
        while len((again := program.run("flush", "--json").json)["needs_person"]) < 100:
            assert again["reason"] == "another flush is running"
            assert time.monotonic() < deadline
        assert flush.poll() is None
        with open(heard, encoding="utf-8") as pipe:
            told = pipe.read()
        assert flush.wait(20) == 0
    assert [line.split()[1] for line in told.splitlines()] == ids
    assert program.run("flush").stderr == ""
