"""Start-up against the bare interpreter."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.material import MESSAGE, timed
from tests.support.program import BIN, Program


def bench_start(rounds: int) -> None:
    """Compare the start of our commands with the bare interpreter, in turn."""
    with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root:
        program = Program(Path(root) / "home")
        program.configure(25)
        mail = Path(root) / "mail.eml"
        mail.write_bytes(MESSAGE)
        program.run("flush")
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -S -c pass": [sys.executable, "-S", "-c", "pass"],
            "flush, empty queue": program.command("flush"),
            "--help": program.command("--help"),
            "config get smtp.host": program.command("config", "get", "smtp.host"),
            "status": program.command("status"),
            "ucrmmail-sendmail -t": [str(BIN / "ucrmmail-sendmail"), "-t", "-i"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                with mail.open("rb") as stdin:
                    times[name].append(timed(command, env=program.env, stdin=stdin)[0] * 1000)
                for queued in (program.spool / "queue").glob("*/*"):
                    queued.unlink()
                for bucket in (program.spool / "queue").glob("*"):
                    bucket.rmdir()
    base = statistics.median(times["python -c pass"])
    print(f"start-up, {rounds} rounds, medians")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:22} {median:6.1f} ms  {median / base:5.2f} x pass  {median - base:+6.1f} ms")
