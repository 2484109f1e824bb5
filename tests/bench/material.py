"""What the benchmarks share: the messages, the sink, the stopwatch, and smtplib as the yardstick."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BODY = b"".join(b"%078d\r\n" % number for number in range(59))
MESSAGE = b"From: a@isp.example\r\nTo: b@example.com\r\nSubject: bench\r\n\r\n" + BODY
SMALL = MESSAGE[:300] + b"\r\n"

SMTPLIB = """
import smtplib, sys
message = open(sys.argv[2], 'rb').read()
with smtplib.SMTP('127.0.0.1', int(sys.argv[1])) as server:
    for _ in range(int(sys.argv[3])):
        server.sendmail('a@isp.example', ['b@example.com'], message)
"""


@dataclass(frozen=True)
class Sink:
    """A running smtp-sink: its port, and the file that it writes its counters to."""

    port: int
    counters: Path

    def messages(self) -> int:
        """Return how many messages it has taken so far; only one that was told to count knows."""
        with self.counters.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 1000))
            told = re.findall(rb"mesg=(\d+)", file.read())
        return int(told[-1]) if told else 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def smtp_sink(*, count: bool = False) -> Iterator[Sink]:
    """Run Postfix's smtp-sink on a free port of loopback."""
    program = shutil.which("smtp-sink", path="/usr/sbin:/usr/lib/postfix/sbin:" + os.environ["PATH"])
    if program is None:
        sys.exit("smtp-sink is missing: apt-get install postfix")
    port = free_port()
    # smtp-sink gives up root's rights only when told to whom.
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    counting = ["-c"] if count else []
    with tempfile.NamedTemporaryFile(prefix="ucrmmail-sink-") as counters:
        process = subprocess.Popen([program, *user, *counting, f"127.0.0.1:{port}", "512"], stdout=counters)
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield Sink(port, Path(counters.name))
        finally:
            process.terminate()
            process.wait()


def timed(command: list[str], **options: object) -> tuple[float, float]:
    """Run a command; return its wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
