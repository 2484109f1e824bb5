"""One message that cannot be read stops no other: each command names it once, goes on, and ends with 74."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.program import Program, Run
from tests.support.smtp_server import SmtpServer
from tests.support.spools import place_of
from ucrmmail.spool.layout import path_in_queue

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.requirement("R4", "R30", "S19"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

# What a failing disk says when a file is read or opened, and what a mode or an owner that was changed does.
FAULTS = [("pread64", "EIO"), ("openat", "EIO"), ("openat", "EACCES")]


class Queue:
    """Three messages, of which the second cannot be read."""

    def __init__(self, program: Program, call: str, error: str) -> None:
        self.program = program
        self.ids = [program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n").lines[0] for _ in range(3)]
        self.bad = self.ids[1]
        self.good = [self.ids[0], self.ids[2]]
        self.path = Path(path_in_queue(str(program.spool), self.bad))
        self.can_be_opened = call != "openat"
        self._fault = ["-e", f"trace={call}", "-e", f"inject={call}:error={error}"]
        self._says = f"ucrmmail: {self.bad} cannot be read: "
        self._why = os.strerror({"EIO": 5, "EACCES": 13}[error])

    def run(self, *arguments: str, code: int = 74, times: int = 1) -> Run:
        """Run a command in which the file fails; it is to be told of once, with what to do, or not when all went well."""
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(self.path), *self._fault,
             *self.program.command(*arguments)],
            env=self.program.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        run = Run(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert run.code == code, f"{arguments}: exit {run.code}\n{run.stdout}\n{run.stderr}"
        if arguments[:2] != ("queue", "show") and arguments != ("flush", "--json"):
            assert [self.is_told_by(line) for line in run.stderr.splitlines()] == [True] * (times if code else 0), (
                run.stderr
            )
        return run

    def is_told_by(self, line: str) -> bool:
        remedy = f"or run `ucrmmail queue remove {self.bad}`"
        return line.startswith(f"{self._says}{self.path}: {self._why}; ") and line.endswith(remedy)

    def error(self, document: Any) -> str:
        """What a document says of the file, as a person reads it."""
        (error,) = document["errors"]
        assert error["queue_id"] == self.bad
        return f"ucrmmail: {self.bad} {error['error']}"


@pytest.fixture(params=FAULTS, ids="-".join)
def queue(program: Program, request: pytest.FixtureRequest) -> Queue:
    program.configure(25)
    return Queue(program, *request.param)


def test_a_list_has_the_others(queue: Queue) -> None:
    for more in ((), ("--sender", "billing@isp.example"), ("--state", "waiting"), tuple(queue.ids)):
        assert [line.split("\t")[0] for line in queue.run("queue", "list", *more).lines[1:]] == queue.good
        document = queue.run("queue", "list", *more, "--json").json
        assert [message["queue_id"] for message in document["messages"]] == queue.good
        assert queue.is_told_by(queue.error(document))
    assert queue.run("queue", "list", queue.bad).lines[1:] == []
    # What is not asked for is not looked at.
    assert queue.run("queue", "list", "--state", "held", "--json", code=0).json["errors"] == []


def test_it_is_told_why_it_is_not_shown(queue: Queue) -> None:
    error = queue.run("queue", "show", queue.bad, "--json").json["error"]
    assert queue.is_told_by(f"ucrmmail: {error['what']}; {error['remedy']}")


def test_the_others_are_changed(queue: Queue) -> None:
    spool = str(queue.program.spool)
    # By a filter nobody knows whether it is meant; by name or all, it can be moved as long as it can be opened.
    held = queue.run("queue", "hold", "--sender", "billing@isp.example", "--json").json
    assert [change["queue_id"] for change in held["changed"]] == queue.good
    assert queue.is_told_by(queue.error(held))
    assert [place_of(spool, queue_id) for queue_id in queue.ids] == ["held", "queue", "held"]
    queue.run("queue", "release", "--all", code=0)
    opens = queue.can_be_opened
    held = queue.run("queue", "hold", "--all", "--json", code=0 if opens else 74).json
    assert [change["queue_id"] for change in held["changed"]] == (queue.ids if opens else queue.good)
    assert [place_of(spool, queue_id) for queue_id in queue.ids] == ["held", "held" if opens else "queue", "held"]


@pytest.mark.parametrize("which", ["--all", "by name"])
def test_it_can_be_removed(queue: Queue, which: str) -> None:
    chosen = ("--all", "--yes") if which == "--all" else (queue.bad,)
    queue.run("queue", "remove", "--recipient", "joe@example.com", "--yes", "--sender", "nobody@example.com")
    removed = queue.run("queue", "remove", *chosen, "--json", code=0).json["changed"]
    assert [change["queue_id"] for change in removed] == (queue.ids if which == "--all" else [queue.bad])
    assert place_of(str(queue.program.spool), queue.bad) == ""


@pytest.mark.parametrize("connections", [1, 2])
def test_the_others_are_sent_and_it_stays(program: Program, connections: int) -> None:
    with SmtpServer() as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        queue = Queue(program, *FAULTS[connections - 1])
        report = queue.run("flush", "--json").json
        assert len(server.accepted) == 2
        assert (report["relayed"], report["held_back"], report["reason"]) == (2, 1, "")
        (line,) = report["needs_person"]
        assert queue.is_told_by(f"ucrmmail: {line}")
        assert [message["queue_id"] for message in program.queue()] == [queue.bad]
        assert queue.run("flush").stdout == ""
        # Cron would mail it each minute.
        queue.run("flush", times=0)
        assert program.run("status", "--json").json["last_flush"]["held_back"] == 1
        # A fault that has gone leaves nothing behind.
        assert program.run("flush").stderr == ""
        assert len(server.accepted) == 3


def test_a_dry_run_shows_the_others(queue: Queue) -> None:
    document = queue.run("flush", "--dry-run", "--json").json
    assert [message["queue_id"] for message in document["messages"]] == queue.good
    assert queue.is_told_by(queue.error(document))
    assert [line.split("\t")[0] for line in queue.run("flush", "--dry-run").lines[1:]] == queue.good


@pytest.mark.parametrize("error", ["EIO", "EACCES"])
def test_what_became_of_it_so_far_cannot_be_read(program: Program, error: str) -> None:
    with SmtpServer(faults={"final-dot": ["451 4.3.0 later"] * 3}) as server:
        program.configure(server.port)
        queue = Queue(program, "openat", error)
        program.run("flush")
        queue.path = program.spool / "state" / queue.bad
        assert sorted(line.split("\t")[0] for line in queue.run("queue", "list").lines[1:]) == queue.good
        queue.run("queue", "hold", "--all", code=0)
        # Who has it already is not known: it is not sent to them again.
        released = queue.run("queue", "release", "--all", "--json").json
        assert [change["queue_id"] for change in released["changed"]] == queue.good
        assert queue.is_told_by(queue.error(released))
        assert place_of(str(program.spool), queue.bad) == "held"
        queue.run("queue", "remove", queue.bad, code=0)
        assert not queue.path.exists()


@pytest.mark.parametrize(
    "directory", ["queue/0-20201231T2359", "deferred/20201231T2359", "queue", "deferred", "failed"]
)
def test_a_directory_that_cannot_be_read_hides_no_message_elsewhere(program: Program, directory: str) -> None:
    program.configure(25)
    whole = "/" not in directory
    spool = program.spool
    there = [program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n").lines[0] for _ in range(2)]
    program.run("queue", "hold", there[1])
    seen = [there[1]] if directory == "queue" else there
    odd = spool / directory
    if whole:
        odd.rename(spool / "away")
    # A link to itself is what root cannot read either.
    odd.symlink_to(odd)
    listed = program.run("queue", "list", "--json", code=74)
    assert [message["queue_id"] for message in listed.json["messages"]] == seen
    assert [(error["queue_id"], str(odd) in error["error"]) for error in listed.json["errors"]] == [("", True)]
    assert listed.stderr.splitlines() == [f"ucrmmail: {listed.json['errors'][0]['error']}"]
    assert program.run("queue", "list", code=74).stderr == listed.stderr
    # Its counts would be wrong.
    assert str(odd) in program.run("status", code=74).stderr
    if directory == "failed":
        return
    document = program.run("flush", "--dry-run", "--json", code=74).json
    assert [message["queue_id"] for message in document["messages"]] == [each for each in there[:1] if each in seen]
    assert str(odd) in document["errors"][0]["error"]
    held = program.run("queue", "hold", "--all", "--json", code=74).json
    assert [change["queue_id"] for change in held["changed"]] == [each for each in there[:1] if each in seen]
    assert str(odd) in held["errors"][0]["error"]


def test_a_message_of_which_nobody_can_say_whether_it_is_there_is_not_called_gone(program: Program) -> None:
    program.configure(25)
    queue_id = program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n").lines[0]
    (bucket,) = (program.spool / "queue").iterdir()
    bucket.rename(program.spool / "away")
    # A link to itself is what root cannot look into either.
    bucket.symlink_to(bucket)
    why = f"{queue_id} cannot be read: {bucket / queue_id}: Too many levels of symbolic links"
    for command in ("hold", "retry", "show", "list"):
        assert program.run("queue", command, queue_id, code=74).stderr.startswith(f"ucrmmail: {why}")
    (error,) = program.run("queue", "remove", "--yes", queue_id, "--json", code=74).json["errors"]
    assert f"{error['queue_id']} {error['error']}".startswith(why)


def test_a_minute_that_cannot_be_read_keeps_no_deferred_message_from_being_changed(program: Program) -> None:
    with SmtpServer(faults={"mail": ["451 4.3.0 later"] * 30}) as server:
        program.configure(server.port)
        for _ in range(25):
            program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n")
        program.run("flush")
        odd = program.spool / "deferred" / "20201231T2359"
        odd.symlink_to(odd)
        held = program.run("queue", "hold", "--state", "deferred", "--json", code=74).json
        assert len(held["changed"]) == 25
        assert [error["queue_id"] for error in held["errors"]] == [""]


def test_a_link_in_the_queue_is_no_message_that_is_not_there(program: Program) -> None:
    program.configure(25)
    queue_id = program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n").lines[0]
    path = Path(path_in_queue(str(program.spool), queue_id))
    path.rename(program.home / "secret")
    path.symlink_to(program.home / "secret")
    for command in ("hold", "release", "retry", "remove"):
        refused = program.run("queue", command, queue_id, code=74)
        told = f"ucrmmail: {queue_id} cannot be trusted: {path} is a symbolic link; the next flush sets it aside\n"
        assert refused.stderr == told


def _secret(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == "spool") / "secret"


def _link(path: Path) -> str:
    path.rename(_secret(path))
    path.symlink_to(_secret(path))
    return "it is a symbolic link"


def _second_name(path: Path) -> str:
    os.link(path, _secret(path))
    return "it has 2 hard links"


def _fifo(path: Path) -> str:
    path.rename(_secret(path))
    os.mkfifo(path)
    return "it is not a regular file"


def _cut_off(path: Path) -> str:
    shutil.copy(path, _secret(path))
    os.truncate(path, 10)
    return "it does not begin as a queue file"


@pytest.mark.parametrize("spoil", [_link, _second_name, _fifo, _cut_off])
@pytest.mark.parametrize("place", ["held", "failed", "deferred"])
def test_what_no_flush_sets_aside_is_named_and_can_be_removed(
    program: Program, place: str, spoil: Callable[[Path], str]
) -> None:
    """Or none for hours, as with what is deferred."""
    reply = "451 4.3.0 later" if place == "deferred" else "550 5.1.1 no such user"
    with SmtpServer(faults={"rcpt": [reply]}) as server:
        program.configure(server.port)
        queue_id = program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n").lines[0]
        program.run(*(("queue", "hold", queue_id) if place == "held" else ("flush",)))
        (path,) = (program.spool / place).rglob(queue_id)
        why = spoil(path)
        secret = (program.spool / "secret").read_bytes()
        for _ in range(2):
            document = program.run("queue", "list", "--json", code=74).json
            assert queue_id not in [message["queue_id"] for message in document["messages"]]
            told = f"cannot be read: {path}: {why}; `ucrmmail queue remove {queue_id}` removes it"
            assert document["errors"] == [{"queue_id": queue_id, "error": told}]
            assert why in program.run("queue", "show", queue_id, code=74).stderr
            program.run("flush")
        assert program.run("queue", "remove", queue_id, "--json").json["changed"][0]["queue_id"] == queue_id
        assert program.run("queue", "list", "--json").json["errors"] == []
        # Its name is gone; what it pointed to, or was beside it, is not touched.
        assert not os.path.lexists(path)
        assert (program.spool / "secret").read_bytes() == secret


def test_a_directory_in_the_place_of_a_held_message_is_for_a_person_to_move_away(program: Program) -> None:
    program.configure(25)
    queue_id = program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n").lines[0]
    program.run("queue", "hold", queue_id)
    path = program.spool / "held" / queue_id
    path.unlink()
    path.mkdir()
    assert program.run("queue", "list", code=74).stderr.endswith(f"{path}: it is not a regular file; move it away\n")
    for command in ("release", "remove"):
        assert program.run("queue", command, queue_id, code=74).stderr.endswith("is not a regular file; move it away\n")
    assert path.is_dir()


def test_a_journal_that_is_too_large_is_named(program: Program) -> None:
    program.configure(25)
    program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n")
    journal = program.spool / "journal"
    journal.touch(0o600)
    os.truncate(journal, 1 << 30)
    with journal.open("ab") as file:
        file.write(b"x")
    for command in (("flush",), ("queue", "list"), ("status",)):
        assert f"{journal}: the file is larger than" in program.run(*command, code=74).stderr


@pytest.mark.requirement("S15")
def test_what_was_set_aside_for_a_second_name_goes_back_as_the_manual_says(program: Program) -> None:
    with SmtpServer() as server:
        program.configure(server.port)
        program.run("flush")
        queue_id = program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n").lines[0]
        (path,) = (program.spool / "queue").rglob(queue_id)
        other = program.home / "backup"
        other.hardlink_to(path)
        told = program.run("flush", code=None).stderr
        assert told == f"ucrmmail: a queue file was set aside as corrupt/{queue_id}: {path} has 2 hard links\n"
        other.unlink()
        (program.spool / "corrupt" / queue_id).rename(program.spool / "held" / queue_id)
        (program.spool / "corrupt" / f"{queue_id}.reason").unlink()
        program.run("queue", "release", queue_id)
        program.run("flush")
        assert len(server.accepted) == 1


@pytest.mark.requirement("S15", "R7")
def test_who_has_a_message_does_not_get_it_again_since_a_backup_has_its_state_too(program: Program) -> None:
    with SmtpServer(faults={"rcpt": lambda line: "451 4.2.0 later" if b"ann@" in line else None}) as server:
        program.configure(server.port)
        program.run("enqueue", "-", stdin=b"To: joe@example.com, ann@example.com\n\nhi\n")
        program.run("flush")
        (queue_id,) = [message["queue_id"] for message in program.queue()]
        (program.home / "backup").hardlink_to(program.spool / "state" / queue_id)
        server.faults.clear()
        program.run("queue", "retry", queue_id)
        program.run("flush")
        assert [message.recipients for message in server.accepted] == [["joe@example.com"], ["ann@example.com"]]


@pytest.mark.requirement("S15")
def test_a_journal_that_a_backup_has_given_a_second_name_is_told_with_the_remedy(program: Program) -> None:
    program.configure(1)
    program.run("enqueue", "-", stdin=b"To: joe@example.com\n\nhi\n")
    other = program.home / "journal of a backup"
    other.hardlink_to(program.spool / "journal")
    told = program.run("flush", code=74).stderr
    assert told == (
        f"ucrmmail: {program.spool}/journal has 2 hard links\n"
        "  remedy: remove its other names, such as those of a backup by `cp -al`, then run the same command again\n"
    )
