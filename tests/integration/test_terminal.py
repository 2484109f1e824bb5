"""On a terminal: a bar while mail is sent, colour for verdicts, and nothing of a stranger's text raw."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.nameserver import nsd
from tests.support.program import Program, killed_at_last
from tests.support.sink import Sink

ZONE = """\
@ 300 SOA ns admin 1 3600 600 86400 300
@ 300 NS ns
ns 300 A 127.0.0.1
@ 300 TXT "v=spf1 \\027]52;c;eA==\\007 [red]+all[/red]"
"""


def on_terminal(program: Program, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None) -> str:
    """Run a command on a terminal of its own and return what a person sees, control sequences included."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        program.command(*arguments),
        stdin=slave, stdout=slave, stderr=slave, cwd=program.home,
        env={**program.env, "TERM": "xterm-256color", "COLUMNS": "100", **(env or {})},
    ) as process:  # fmt: skip
        os.close(slave)
        seen = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
        assert process.wait(30) == code, seen
    os.close(master)
    return seen.decode()


def test_a_long_detail_goes_on_in_its_own_column(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    piped = next(line for line in program.run("test-connection").stdout.splitlines() if line.startswith("ok     ehlo"))
    head, words = piped.split(" ms  ")
    assert len(piped) > 60
    seen = on_terminal(program, "test-connection", env={"COLUMNS": "60"}).splitlines()
    (first,) = [number for number, line in enumerate(seen) if line.startswith("ok     ehlo")]
    column = len(head) + len(" ms  ")
    assert max(map(len, seen[first : first + 2])) <= 60
    assert [seen[first + 1][:column].strip(), seen[first][column:] + " " + seen[first + 1][column:]] == ["", words]


def test_a_flush_with_nothing_to_send_says_so_and_shows_no_bar(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    assert on_terminal(program, "flush") == "nothing to send\r\n"


def test_a_flush_shows_a_bar_and_then_what_was_done(program: Program, sink: Sink) -> None:
    program.configure(sink.port, antiflood='activation_threshold = 2\npause_time = "1s"')
    for _ in range(3):
        program.sendmail("-t")
    seen = on_terminal(program, "flush")
    assert "sending" in seen
    assert "━" in seen
    assert "waiting for the antiflood" in seen
    assert "3 relayed" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).splitlines()[-1]
    assert "nothing to send" in on_terminal(program, "flush")


def test_the_bar_never_counts_more_than_there_is(program: Program, sink: Sink) -> None:
    """The report about a message that was refused goes in the same run, and was not there when the bar began."""
    sink.on_rcpt = lambda address: "550 5.1.1 No such user" if address.startswith("no@") else None
    program.configure(sink.port)
    program.sendmail("no@example.com", "joe@example.com")
    seen = on_terminal(program, "flush")
    counts = [
        (int(done), int(of)) for done, of in re.findall(r"(\d+)/(\d+)", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen))
    ]
    assert (2, 2) in counts
    assert all(done <= of for done, of in counts)


def test_a_list_of_the_queue_breaks_nothing_that_is_copied(program: Program, sink: Sink) -> None:
    sink.on_rcpt = lambda address: "450 4.2.0 Greylisted, please try again later" if address.startswith("joe") else None
    program.configure(sink.port)
    assert "the queue is empty" in on_terminal(program, "queue", "list")
    for to in ("joe@customer.example", "ann@customer.example"):
        program.sendmail(to)
    on_terminal(program, "flush", "--message-limit", "1")
    ids = [message["queue_id"] for message in program.queue()]
    seen = on_terminal(program, "queue", "list")
    waiting, deferred = (seen.partition(queue_id)[2].splitlines()[:4] for queue_id in ids)
    assert re.match(r"  waiting +\d+B  accepted 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$", waiting[0])
    assert waiting[1] == "    <billing@isp.example> to <ann@customer.example>"
    assert waiting[2].startswith(ids[1])
    assert deferred[0].startswith("  deferred ")
    assert deferred[1] == "    <billing@isp.example> to <joe@customer.example>"
    assert re.match(r"    tried once, again at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$", deferred[2])
    assert deferred[3] == "    450 4.2.0 Greylisted, please try again later"


def waits_for_nobody(program: Program, sink: Sink, count: int) -> None:
    """Return when all is sent and another flush finds the queue free, though the first one still runs."""
    deadline = time.monotonic() + 30
    while len(sink.messages) < count or program.run("flush", "--json").json["reason"]:
        assert time.monotonic() < deadline, f"{len(sink.messages)} of {count} were sent"
        time.sleep(0.05)


@pytest.mark.parametrize("arguments", [["flush"], ["flush", "-v"]], ids=["bar", "lines"])
@pytest.mark.parametrize("connections", [1, 2])
def test_a_terminal_that_was_stopped_stops_no_mail(
    program: Program, sink: Sink, arguments: list[str], connections: int
) -> None:
    program.configure(sink.port, smtp=f"connections = {connections}")
    for _ in range(5):
        program.sendmail("-t")
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)  # Ctrl-S
    env = {**program.env, "TERM": "xterm-256color"}
    command = program.command(*arguments)
    with killed_at_last(subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env)) as flush:
        waits_for_nobody(program, sink, 5)
        assert flush.poll() is None, "it waits for its reader, and has the lock no more"
        termios.tcflow(slave, termios.TCOON)
        assert flush.wait(20) == 0
        os.close(slave)
        seen = b""
        while part := read_terminal(master):
            seen += part
    assert b"5 relayed" in seen
    if len(arguments) == 1:
        assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l"), "the cursor is there again"
    else:
        assert seen.count(b"joe@example.com relayed: 250") == 5
    os.close(master)


def read_terminal(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_that_only_waits_for_its_terminal_is_ended_at_once_by_a_signal(
    program: Program, sink: Sink, number: signal.Signals
) -> None:
    program.configure(sink.port)
    program.sendmail("-t")
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)
    command = program.command("flush", "-v")
    # nohup(1), with which somebody may run the tests, has it ignored.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        started = subprocess.Popen(command, stdout=slave, stderr=slave, env=program.env)
    finally:
        signal.signal(number, before)
    with killed_at_last(started) as flush:
        waits_for_nobody(program, sink, 1)
        flush.send_signal(number)
        assert flush.wait(10) == -number
    assert program.queue() == []
    os.close(slave)
    os.close(master)


def test_without_colour_or_with_a_dumb_terminal_there_are_no_control_sequences(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    program.sendmail("-t")
    for env in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
        assert "\x1b[3" not in on_terminal(program, "queue", "list", env=env)


def test_the_doctor_shows_a_table_and_below_it_commands_that_are_not_broken(program: Program) -> None:
    program.configure(1)
    seen = on_terminal(program, "doctor", "--only", "connection,schedule,queue", code=1)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert "\x1b[1;31mfail" in seen
    assert re.search(r"│ queue +│ ok +│ empty", plain)
    behind = plain.partition("What to do:")[2]
    assert re.search(r"^  schedule: \(crontab -l .*\) \| crontab -\r?$", behind, re.MULTILINE)
    assert "2 failed, 0 warned, 1 hold." in behind
    assert on_terminal(program, "doctor", "--only", "queue", "-q") == ""


@pytest.mark.requirement("S10")
def test_a_reply_of_the_server_cannot_drive_the_terminal(program: Program, sink: Sink) -> None:
    sink.on_rcpt = lambda _address: "550 5.1.1 no \x1b]0;owned\x07 [bold]such[/bold] user"
    program.configure(sink.port)
    program.sendmail("-t")
    seen = on_terminal(program, "flush", "-v")
    assert "\\x1b]0;owned\\x07 [bold]such[/bold] user" in seen
    assert "\x1b]0;" not in seen


@pytest.mark.requirement("S10")
def test_verdicts_on_the_dns_are_coloured_and_records_are_not_obeyed(program: Program, tmp_path: Path) -> None:
    with nsd(tmp_path, {"isp.example": ZONE}) as server:
        program.configure(25, dns=f'nameservers = ["{server}"]')
        arguments = ("check-dns", "isp.example", "--only", "spf")
        seen = on_terminal(program, *arguments, code=1)
        plain = on_terminal(program, *arguments, "--plain", code=1)
    assert "\x1b[1;31mfail" in seen
    assert "\\x1b]52;c;eA==\\x07 [red]+all[/red]" in seen
    assert "\x1b]52" not in seen
    assert "\x1b" not in plain


def test_many_domains_show_a_bar_that_is_gone_at_the_end(program: Program, tmp_path: Path) -> None:
    with nsd(tmp_path, {"isp.example": ZONE}) as server:
        program.configure(25, dns=f'nameservers = ["{server}"]')
        names = [f"d{number}.isp.example" for number in range(20)]
        seen = on_terminal(program, "check-dns", *names, "--only", "spf", code=1)
        one = on_terminal(program, "check-dns", names[0], "--only", "spf", code=1)
    assert "checking" in seen
    assert "20/20" in seen
    assert "checking" not in one


@pytest.mark.parametrize("command", [("flush",), ("status",), ("queue", "list"), ("enqueue", "x.eml")])
def test_a_configuration_that_others_can_write_to_is_refused_by_every_command(
    program: Program, command: tuple[str, ...]
) -> None:
    program.configure(25)
    (program.home / "x.eml").write_bytes(b"To: b@example.com\n\nhi\n")
    program.config.chmod(0o622)
    run = program.run(*command, code=77)
    assert str(program.config) in run.stderr
    assert "chmod" in run.stderr
    assert "chmod" in program.sendmail("-t", code=77).stderr
