"""What a long queue and a large message cost, in calls and in memory: time is for the benchmarks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.queue import fill
from tests.support.program import Program
from tests.support.sink import Sink, SinkController
from tests.support.spools import put

LINE = b"x" * 998 + b"\r\n"
FIFTY_MIB = 50 << 20
MEASURE = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)
traced = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture
def queue(program: Program, sink: Sink) -> Program:
    program.configure(sink.port)
    program.run("flush")
    return program


def calls_on_the_spool(
    program: Program, trace: Path, *arguments: str, until: str = "", stdin: bytes = b""
) -> list[str]:
    """The system calls with a path in the spool, up to the first one that says ``until``."""
    calls = "trace=getdents64,newfstatat,statx,openat,read,pread64,flock,rename,renameat,mkdir,fsync,sendto,sendmsg"
    subprocess.run(
        ["strace", "-f", "-y", "-o", str(trace), "-e", calls, *program.command(*arguments)],
        input=stdin, env=program.env, cwd=program.home, capture_output=True, check=True,
    )  # fmt: skip
    lines = trace.read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if until in line) if until else len(lines)
    return [line for line in lines[:end] if str(program.spool) in line]


def entries_read(calls: list[str]) -> int:
    return sum(int(count) for call in calls for count in re.findall(r"/\* (\d+) entries \*/", call))


@pytest.mark.requirement("R12")
@traced
def test_before_the_first_message_leaves_a_flush_looks_no_longer_at_a_long_queue(
    queue: Program, tmp_path: Path
) -> None:
    seen = []
    for count in (300, 3000):
        fill(queue.spool, count)
        arguments = ("flush", "--message-limit", "1")
        calls = calls_on_the_spool(queue, tmp_path / "trace", *arguments, until='"MAIL FROM:')
        opened = [call for call in calls if re.search(r"/queue/[\w-]+/[\w.-]+\"", call)]
        seen.append((len(calls), len(opened), entries_read(calls)))
        queue.run("queue", "remove", "--all", "--yes")
    (short, opened_of_300, _), (long, opened_of_3000, entries) = seen
    assert long <= short + 10
    # The message itself, and the one that is made ready behind it; a bucket holds what came in one minute.
    assert opened_of_3000 <= opened_of_300 <= 4
    assert entries < 3000 // 5


@pytest.mark.requirement("R12")
@traced
def test_a_submission_makes_as_many_calls_into_a_long_queue_as_into_an_empty_one(
    queue: Program, tmp_path: Path
) -> None:
    mail = b"To: joe@example.com\n\nhi\n"
    queue.run("enqueue", "-", stdin=mail)
    made = []
    for count in (0, 3000):
        fill(queue.spool, count)
        # The first one of a minute makes the bucket.
        while time.time() % 60 > 55:
            time.sleep(0.1)
        queue.run("enqueue", "-", stdin=mail)
        made.append(calls_on_the_spool(queue, tmp_path / "trace", "enqueue", "-", stdin=mail))
    assert len(made[0]) == len(made[1])
    assert entries_read(made[1]) == 0


def peak_kib(
    program: Program, *arguments: str, name: str = "ucrmmail", stdin: int = subprocess.DEVNULL, code: int = 0
) -> int:
    """The memory of a run, and not that of who starts it: the kernel counts that one too."""
    run = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, *program.command(*arguments, program=name)],
        env=program.env, cwd=program.home, stdin=stdin, capture_output=True, check=False,
    )  # fmt: skip
    assert run.returncode == code
    assert bool(run.stderr) is bool(code)
    return int(run.stdout.split()[-1])


@pytest.mark.requirement("R12")
def test_the_memory_of_a_flush_does_not_grow_with_the_queue(queue: Program) -> None:
    peaks = []
    for count in (300, 3000):
        fill(queue.spool, count)
        peaks.append(peak_kib(queue, "flush", "--message-limit", "100"))
    assert peaks[1] - peaks[0] < 4096
    assert peaks[1] < 60 << 10


@pytest.mark.requirement("R12")
@pytest.mark.parametrize("arguments", [("--json",), ()])
def test_nor_does_that_of_a_dry_run(queue: Program, arguments: tuple[str, ...]) -> None:
    peaks = []
    for count in (300, 6000):
        fill(queue.spool, count)
        peaks.append(peak_kib(queue, "flush", "--dry-run", *arguments))
    assert peaks[1] - peaks[0] < 6144


@pytest.mark.parametrize("command", ["hold", "remove"])
def test_nor_does_that_of_a_change_for_one_sender(queue: Program, command: str) -> None:
    peaks = []
    for count in (300, 9000):
        fill(queue.spool, count)
        peaks.append(peak_kib(queue, "queue", command, "--sender", "@isp.example", *["--yes"] * (command == "remove")))
    assert queue.queue("--state", "waiting") == []
    assert peaks[1] - peaks[0] < 6144


@pytest.mark.requirement("R14")
def test_few_descriptors_are_enough_for_a_long_queue(queue: Program, sink: Sink) -> None:
    fill(queue.spool, 300)
    few = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); os.execv(sys.argv[1], sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-S", "-c", few, *queue.command("flush")], env=queue.env, cwd=queue.home, check=True
    )
    assert len(sink.messages) == 300


@pytest.mark.requirement("R13")
def test_a_message_of_50_mib_is_sent_piece_by_piece(queue: Program) -> None:
    message = b"Subject: large\r\n\r\n" + LINE * (FIFTY_MIB // len(LINE))
    put(str(queue.spool), message=message, now=time.time())
    with SinkController(Sink(), data_size_limit=0) as controller:
        queue.configure(controller.sink.port)
        peak = peak_kib(queue, "flush")
        (received,) = controller.sink.messages
    assert received.content == message
    assert peak < 60 << 10


@pytest.mark.requirement("R13")
def test_the_report_of_a_large_message_costs_its_beginning_alone(queue: Program) -> None:
    put(str(queue.spool), message=b"Subject: large\r\n\r\n" + LINE * (FIFTY_MIB // len(LINE)), now=time.time())
    sink = Sink(on_data=lambda envelope: "554 5.7.1 no" if envelope.rcpt_tos == ["joe@example.com"] else None)
    with SinkController(sink, data_size_limit=0) as controller:
        queue.configure(controller.sink.port)
        peak = peak_kib(queue, "flush")
        (report,) = controller.sink.messages
    assert b"Subject: large" in report.content
    assert len(report.content) < 10_000
    assert peak < 60 << 10
