"""What grows with the queue."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.material import MESSAGE, SMALL, smtp_sink, timed
from tests.support.program import Program
from ucrmmail.spool.layout import new_queue_id, path_in_queue
from ucrmmail.spool.queuefile import encode_head


def fill(spool: Path, count: int) -> None:
    """Put so many messages into the queue as ``enqueue`` would have, a quarter of an hour long, without its syncs."""
    head = encode_head("a@isp.example", ["b@example.com"], SMALL, eight_bit=False, utf8=False)
    began = time.time() - 900
    made: set[str] = set()
    for number in range(count):
        path = path_in_queue(str(spool), new_queue_id(began + 900 * number / count, "normal"))
        directory = os.path.dirname(path)
        if directory not in made:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            made.add(directory)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, head + SMALL)
        os.close(fd)


def submissions_s(*programs: Program, rounds: int = 25) -> list[float]:
    """Return the median of one submission of one message to each of these, in turn: an empty queue beside a long one."""
    # What was made without syncs would be written by the first one that waits for its own.
    os.sync()
    taken: list[list[float]] = [[] for _ in programs]
    for number in range(rounds + 2):
        for program, times in zip(programs, taken, strict=True):
            command = program.command("-t", program="ucrmmail-sendmail")
            began = time.perf_counter()
            subprocess.run(command, input=MESSAGE, env=program.env, check=True)
            if number >= 2:  # the first ones fill caches
                times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in taken]


def bench_queue(largest: int) -> None:
    """Show what grows with the queue, which should be nothing but the count itself."""
    print(
        "a queue that grows, one run each: seconds, and resident memory of the flush; of a submission the median of 25,"
    )
    print("and against one into an empty queue, in turn")
    print("  messages   first one   first 1,000   memory   status   queue list   submission   of the empty queue's")
    size = 1000
    while size <= largest:
        with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root, smtp_sink() as sink:
            program = Program(Path(root) / "home")
            program.configure(sink.port)
            program.run("flush")
            program.sendmail("-t")  # makes the spool
            fill(program.spool, size)
            empty = Program(Path(root) / "empty")
            empty.configure(sink.port)
            one, one_more = submissions_s(empty, program)
            run = program.command("flush", "--message-limit")
            first, _ = timed([*run, "1"], env=program.env)
            process = subprocess.Popen([*run, "1000"], env=program.env)
            began = time.perf_counter()
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            thousand = time.perf_counter() - began
            status, _ = timed(program.command("status"), env=program.env)
            listed, _ = timed(program.command("queue", "list"), env=program.env)
        memory = usage.ru_maxrss / 1024
        print(
            f"  {size:9,} {first:10.2f} {thousand:13.2f} {memory:7.0f}M {status:8.2f} {listed:12.2f} "
            f"{one_more:12.4f} {one_more / one:19.2f} x"
        )
        size *= 10
