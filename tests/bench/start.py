"""Start-up against the bare interpreter, in an environment of its own: what tests need costs each start a millisecond."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.material import MESSAGE, timed
from tests.support.program import Program

ROOT = Path(__file__).parents[2]


def installed(place: Path) -> Path:
    """Install the program there as pipx does, and return the directory of its start scripts.

    That is without pip and setuptools, which run code of their own at each start.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    # As hatchling would, into build/ of the checkout: so the checkout is copied.
    source = place / "source"
    ours = shutil.ignore_patterns(".venv*", ".git", "mutants", "dist", "__pycache__", ".*_cache", ".coverage*")
    shutil.copytree(ROOT, source, ignore=ours)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", str(source)], check=True)
    return place / "bin"


def syncs_ms(directory: Path) -> float:
    """Return how long the syncs of one acceptance take by themselves: the file, and the two directories of its name."""
    bucket = directory / "bucket"
    bucket.mkdir(exist_ok=True)
    with (directory / "arriving").open("wb", buffering=0) as file:
        file.write(MESSAGE)
        began = time.perf_counter()
        os.fsync(file.fileno())
        waited = time.perf_counter() - began
    (directory / "arriving").rename(bucket / f"{time.time_ns()}")
    for path in (bucket, directory):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        began = time.perf_counter()
        os.fsync(fd)
        waited += time.perf_counter() - began
        os.close(fd)
    return waited * 1000


def bench_start(rounds: int) -> None:
    """Compare the start of our commands with the bare interpreter, in turn."""
    with tempfile.TemporaryDirectory(prefix="ucrmmail-bench-") as root:
        bare = installed(Path(root) / "env")
        program = Program(Path(root) / "home")
        program.configure(25)
        mail = Path(root) / "mail.eml"
        mail.write_bytes(MESSAGE)
        ours = str(bare / "ucrmmail")
        subprocess.run([ours, "flush"], env=program.env, check=True)
        commands = {
            "python -c pass": [str(bare / "python"), "-c", "pass"],
            "python -S -c pass": [str(bare / "python"), "-S", "-c", "pass"],
            "flush, empty queue": [ours, "flush"],
            "--help": [ours, "--help"],
            "config get smtp.host": [ours, "config", "get", "smtp.host"],
            "status": [ours, "status"],
            "ucrmmail-sendmail -t": [str(bare / "ucrmmail-sendmail"), "-t", "-i"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        syncs: list[float] = []
        for _ in range(rounds):
            for name, command in commands.items():
                with mail.open("rb") as stdin:
                    times[name].append(timed(command, env=program.env, stdin=stdin)[0] * 1000)
                for queued in (program.spool / "queue").glob("*/*"):
                    queued.unlink()
                for bucket in (program.spool / "queue").glob("*"):
                    bucket.rmdir()
            syncs.append(syncs_ms(Path(root)))
    base = statistics.median(times["python -c pass"])
    print(f"start-up, {rounds} rounds, medians")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:22} {median:6.1f} ms  {median / base:5.2f} x pass  {median - base:+6.1f} ms")
    bar = 1.5 * statistics.median(times["python -S -c pass"]) + statistics.median(syncs)
    print(
        f"  the syncs of one acceptance {statistics.median(syncs):.1f} ms; 1.5 x python -S -c pass and those: {bar:.1f} ms"
    )
