"""A delivery log that cannot be opened stops no mail: the run says what is missing there, and ends with 74."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.smtp_server import SmtpServer


def a_directory(log: Path) -> None:
    log.mkdir()


def a_link(log: Path) -> None:
    log.symlink_to(log.parent / "elsewhere")


def a_fifo(log: Path) -> None:
    os.mkfifo(log)


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("put", [a_directory, a_link, a_fifo])
def test_the_mail_goes_and_the_missing_lines_are_told(
    program: Program, put: Callable[[Path], None], connections: int
) -> None:
    log = program.spool / "delivery.log"
    with SmtpServer() as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        program.sendmail("-t")
        put(log)
        program.sendmail("-t")
        run = program.run("flush", code=74)
        assert len(server.accepted) == 2
        assert "lines of the delivery log could not be written" in run.stderr
        assert str(log) in run.stderr
        assert program.queue() == []
        # A run that has nothing to log has nothing to tell.
        assert program.run("flush").stderr == ""
        assert program.run("flush", "-v").code == 0
        program.sendmail("-t")
        report = program.run("flush", "--json", code=74).json
        assert (report["relayed"], len(report["needs_person"])) == (1, 1)
    assert not (program.spool / "elsewhere").exists()


@pytest.mark.requirement("R18")
@pytest.mark.parametrize("connections", [1, 2])
def test_cron_mails_it_once_an_hour(program: Program, connections: int) -> None:
    told = []
    with SmtpServer() as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        program.sendmail("-t")
        a_directory(program.spool / "delivery.log")
        for count in (1, 3, 1):
            for _ in range(count):
                program.sendmail("-t")
            told.append("could not be written" in program.run("flush", code=74).stderr)
    assert told == [True, False, False]
    assert (program.spool / "untold").read_bytes() == b""


@pytest.mark.requirement("R18")
def test_cron_mails_it_once_an_hour_though_a_limit_lets_runs_between_send_nothing(program: Program) -> None:
    told = []
    with SmtpServer() as server:
        program.configure(server.port, throttler='message_limit = 1\nduration = "1h"')
        program.sendmail("-t")
        a_directory(program.spool / "delivery.log")
        for _ in range(2):
            program.sendmail("-t")
            told.append("could not be written" in program.run("flush", "--no-wait", code=74).stderr)
            assert program.run("flush", "--no-wait").stderr == ""
            (program.spool / "ledger").unlink()
    assert told == [True, False]


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("error", ["EACCES", "ENOSPC", "EROFS"])
def test_whatever_the_disk_says(program: Program, error: str) -> None:
    log = program.spool / "delivery.log"
    with SmtpServer() as server:
        program.configure(server.port)
        program.sendmail("-t")
        inject = ["-P", str(log), "-e", "trace=openat", "-e", f"inject=openat:error={error}"]
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", *inject, *program.command("flush", "--json")],
            env=program.env, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert len(server.accepted) == 1
    assert done.returncode == 74, done.stderr
    (told,) = json.loads(done.stdout)["needs_person"]
    assert told.startswith(f"{log}: {os.strerror(getattr(errno, error))}: 1 lines")


def test_who_submits_and_who_reads_is_not_concerned(program: Program) -> None:
    with SmtpServer() as server:
        program.configure(server.port)
        program.sendmail("-t")
        a_directory(program.spool / "delivery.log")
        mail = program.home / "mail.eml"
        mail.write_bytes(b"From: a@isp.example\nTo: joe@example.com\n\nhi\n")
        for command in (["enqueue", str(mail)], ["queue", "list"], ["status"], ["flush", "--dry-run"]):
            assert "log" not in program.run(*command).stderr
        assert "log" not in program.sendmail("-t").stderr
        assert len(program.queue()) == 3
