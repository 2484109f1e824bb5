"""What grows with the queue."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.material import SMALL, smtp_sink, timed
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


def bench_queue(largest: int) -> None:
    """Show what grows with the queue, which should be nothing but the count itself."""
    print("a queue that grows, one run each: seconds, and resident memory of the flush")
    print("  messages   first one   first 1,000   memory   status   queue list")
    size = 1000
    while size <= largest:
        with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root, smtp_sink() as sink:
            program = Program(Path(root) / "home")
            program.configure(sink.port)
            program.run("flush")
            program.sendmail("-t")  # makes the spool
            fill(program.spool, size)
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
        print(f"  {size:9,} {first:10.2f} {thousand:13.2f} {memory:7.0f}M {status:8.2f} {listed:12.2f}")
        size *= 10
