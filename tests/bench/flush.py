"""The flush against smtplib: one connection, a sink on loopback."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.material import MESSAGE, SMTPLIB, smtp_sink, timed
from tests.support.program import Program


def bench_flush(rounds: int, count: int) -> None:
    """Compare the flush with smtplib, in turn."""
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root, smtp_sink() as sink:
        program = Program(Path(root) / "home")
        program.configure(sink.port)
        mail = Path(root) / "mail.eml"
        mail.write_bytes(MESSAGE)
        enqueued: list[float] = []
        for _ in range(rounds):
            wall, _cpu = timed(program.command("enqueue", *[str(mail)] * count), env=program.env)
            enqueued.append(count / wall)
            ours.append(timed(program.command("flush"), env=program.env))
            theirs.append(timed([sys.executable, "-c", SMTPLIB, str(sink.port), str(mail), str(count)]))
            left = len(list((program.spool / "queue").glob("*/*")))
            if left:
                sys.exit(f"{left} messages were not sent")
    wall, cpu = (statistics.median(run[n] for run in ours) for n in (0, 1))
    wall_peer, cpu_peer = (statistics.median(run[n] for run in theirs) for n in (0, 1))
    print(f"flush of {count} messages of {len(MESSAGE)} bytes, one connection, {rounds} rounds, medians")
    print(
        f"  ucrmmail flush  {count / wall:7.0f} messages/s  {cpu / count * 1e6:5.0f} us CPU a message (start-up included)"
    )
    print(f"  smtplib         {count / wall_peer:7.0f} messages/s  {cpu_peer / count * 1e6:5.0f} us CPU a message")
    print(f"  ratio           {wall_peer / wall:7.2f} x the rate    {cpu / cpu_peer:5.2f} x the CPU")
    print(f"  enqueue         {statistics.median(enqueued):7.0f} messages/s, durable, one command (start-up included)")
