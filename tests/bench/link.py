"""A link with a long round trip: one connection, four, and smtplib."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.material import MESSAGE, SMTPLIB, smtp_sink, timed
from tests.support.program import Program


@contextlib.contextmanager
def long_link(port: int, round_trip_ms: int) -> Iterator[int]:
    """Run a relay to ``port`` that is slow to answer, and yield its own port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.delay", str(port), str(round_trip_ms)], stdout=subprocess.PIPE
    )
    try:
        yield int((process.stdout or sys.stdin.buffer).readline())
    finally:
        process.terminate()
        process.wait()


def bench_link(rounds: int, round_trip_ms: int, count: int = 200) -> None:
    """Compare one connection, four, and smtplib on a long line."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root, smtp_sink() as sink:
        mail = Path(root) / "mail.eml"
        mail.write_bytes(MESSAGE)
        with long_link(sink.port, round_trip_ms) as port:
            for _ in range(rounds):
                for connections in (1, 4):
                    program = Program(Path(root) / f"home{connections}")
                    program.configure(port, smtp=f"connections = {connections}")
                    program.run("enqueue", *[str(mail)] * count)
                    wall, _ = timed(program.command("flush"), env=program.env)
                    seconds.setdefault(f"ucrmmail flush, {connections}", []).append(wall)
                peer, _ = timed([sys.executable, "-c", SMTPLIB, str(port), str(mail), str(count)])
                seconds.setdefault("smtplib, 1", []).append(peer)
    print(f"{count} messages through a link with a round trip of {round_trip_ms} ms, start-up included, medians")
    for name, values in seconds.items():
        median = statistics.median(values)
        trips = median * 1000 / round_trip_ms / count
        print(f"  {name:18} {count / median:6.1f} messages/s  {trips:5.2f} round trips a message")
