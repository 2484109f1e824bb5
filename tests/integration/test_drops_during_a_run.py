"""Mail that is dropped while a run is sending, or waits for a limit, is taken by that run, and goes in its place."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.support.faults import as_user, at_each_call, fails_at
from tests.support.network import wait_until
from tests.support.never import NEVER_S
from tests.support.program import Program
from tests.support.smtp_server import SmtpServer, Wait
from ucrmmail.clock import Clock
from ucrmmail.delivery.concerns import Concerns
from ucrmmail.delivery.drops import Drops
from ucrmmail.delivery.untold import NAME, Untold
from ucrmmail.errors import DataError
from ucrmmail.message.prepare import Prepared
from ucrmmail.spool.layout import make_spool

URGENT = b"From: a@isp.example\nTo: urgent@example.com\nImportance: high\nSubject: now\n\nhi\n"


def drop(program: Program, message: bytes = URGENT) -> None:
    (program.spool / "drop" / "now.eml").write_bytes(message)


@pytest.mark.parametrize("connections", [1, 2])
def test_urgent_mail_that_is_dropped_goes_before_bulk_mail_that_was_there(program: Program, connections: int) -> None:
    begun = threading.Event()
    said: list[bytes] = []

    def slow(line: bytes) -> Wait:
        said.append(line)
        if len(said) == 3:
            drop(program)
            begun.set()
        return Wait(0.07 * connections)

    with SmtpServer(faults={"final-dot": slow}) as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        mail = program.home / "bulk.eml"
        mail.write_bytes(b"From: a@isp.example\nTo: bulk@example.com\nSubject: news\n\nhi\n")
        program.run("enqueue", "--priority", "bulk", *[str(mail)] * 55 * connections)
        program.run("flush")
        assert begun.is_set()
        order = [message.recipients[0] for message in server.accepted]
    assert len(order) == 55 * connections + 1
    assert order.index("urgent@example.com") < 50 * connections


def test_mail_that_is_dropped_while_a_run_waits_for_a_limit_is_taken_by_it(program: Program) -> None:
    with SmtpServer() as server:
        program.configure(server.port, throttler='message_limit = 1\nduration = "3s"')
        mail = program.home / "mail.eml"
        mail.write_bytes(b"From: a@isp.example\nTo: joe@example.com\nSubject: hi\n\nhi\n")
        program.run("enqueue", *[str(mail)] * 2)
        with subprocess.Popen(program.command("flush"), env=program.env) as flush:
            wait_until(lambda: bool(server.accepted), "the first message")
            drop(program)
            flush.wait(NEVER_S)
        order = [message.recipients[0] for message in server.accepted]
    assert order[1] == "urgent@example.com"
    assert len(order) == 3


@pytest.mark.requirement("S19")
def test_a_drop_directory_that_cannot_be_looked_into_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    def prepare(raw: bytes) -> Prepared:
        raise AssertionError(raw)

    tmp_path.chmod(0o755)
    directory = tmp_path / "spool"
    make_spool(str(directory))
    (directory / "drop").chmod(0)
    concerns = Concerns()
    drops = Drops(
        str(directory), prepare=prepare, max_size_bytes=1 << 20, min_free_bytes=0, clock=Clock(), concerns=concerns
    )
    with as_user(65534):
        drops.take_all(lambda _seconds: None)
        drops._looked_at = -10.0
        assert not drops.look_again()
    (line,) = concerns.lines
    assert "drop cannot be looked into (Permission denied); give it back to the user who runs the flush" in line
    assert concerns.exit_code == 74
    assert stat.S_IMODE((directory / "drop").stat().st_mode) == 0


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "give it back to the user who runs the flush"),
        (errno.EPERM, "give it back to the user who runs the flush"),
        (errno.ENOMEM, "the next run looks again"),
        (errno.EMFILE, "the next run looks again"),
        (errno.EIO, "mend the disk, or make it a directory again"),
        (errno.ENOTDIR, "mend the disk, or make it a directory again"),
    ],
)
def test_what_to_do_about_a_drop_directory_depends_on_what_is_wrong_with_it(
    tmp_path: Path, number: int, remedy: str
) -> None:
    """A want of memory, or a disk that fails, had been somebody else's directory."""
    directory = tmp_path / "spool"
    make_spool(str(directory))
    concerns = Concerns()
    drops = Drops(
        str(directory), prepare=torn, max_size_bytes=1 << 20, min_free_bytes=0, clock=Clock(), concerns=concerns
    )
    with fails_at(1, number, names=("scandir",)):
        drops.take_all(lambda _seconds: None)
    assert concerns.lines == [f"{directory}/drop cannot be looked into ({os.strerror(number)}); {remedy}"]


def test_that_a_file_was_rejected_is_told_only_when_it_was(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    make_spool(str(directory))
    untold = Untold(str(directory / NAME))

    def lines_of_a_run() -> list[str]:
        concerns = Concerns(untold=untold)
        drops = Drops(
            str(directory), prepare=torn, max_size_bytes=1 << 20, min_free_bytes=0, clock=Clock(), concerns=concerns
        )
        drops.take_all(time.sleep)
        concerns.recall()
        return concerns.lines

    path = directory / "drop" / "bad.eml"
    os.mkfifo(path)
    with fails_at(1, errno.EACCES, names=("rename",), and_later=True):
        (line,) = lines_of_a_run()
    assert line == f"{path}: it is not a regular file, and cannot be moved away: Permission denied"
    with at_each_call(lambda _, _name: path.unlink(missing_ok=True), ("rename",)):
        assert lines_of_a_run() == []
    os.mkfifo(path)
    assert lines_of_a_run() == ["drop/bad.eml was rejected: it is not a regular file"]


def torn(_: bytes) -> Prepared:
    raise DataError("the message is torn")
