"""A spool, a server and a flush that dies: what the campaigns share, and what must hold however a run ended.

What the server accepted is the truth. It is read from the server, never from what the program says of itself.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import ucrmmail
from tests.support.program import Program, Run
from tests.support.sink import Sink
from tests.support.spools import everything_in

LONG = os.environ.get("UCRMMAIL_CAMPAIGN") == "long"
SEED = int(os.environ.get("UCRMMAIL_CAMPAIGN_SEED", "20261123"))

# Calls after which something is different: on the disk, in a lock or on the wire.
CHANGING = (
    "write", "writev", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "unlink",
    "unlinkat", "mkdir", "mkdirat", "rmdir", "ftruncate", "fallocate", "utimensat", "flock", "fchmod", "chmod",
    "connect", "sendto", "sendmsg", "shutdown",
)  # fmt: skip
OPENING = ("openat", "getdents64")
# A kill here meets a program that knows something which the disk, or the server, does not know yet.
READING = ("read", "pread64", "close", "newfstatat", "fcntl", "lseek")
TALKING = ("socket", "setsockopt", "recvfrom", "poll", "ppoll", "select", "pselect6")

# For a program whose time passes so slowly that it is never late for anything, on a busy machine either: when it last
# synced, and what has come since, decides what it does next. And a finder of modules reads the directory of the checkout
# again whenever a file has come there, such as the coverage of a program that has just ended.
_STEADY = """
import sys, time
began, monotonic = time.monotonic(), time.monotonic
time.monotonic = lambda: began + (monotonic() - began) / 100
sys.path[:] = [path for path in sys.path if path != {checkout!r}]
"""
_PACKAGE = Path(ucrmmail.__file__).parent


def dice(of: str = "") -> random.Random:
    """The campaign's dice; ``of`` gives each part of it its own."""
    return random.Random(f"{SEED} {of}" if of else SEED)  # a campaign must be repeatable, not secret


class World:
    """Messages by number, a server, and what each kill may have doubled."""

    def __init__(self, home: Path, sink: Sink, **tables: str) -> None:
        self.program = Program(home)
        self.sink = sink
        self.program.configure(sink.port, **tables)
        self.files = home / "files"
        self.files.mkdir()
        self.accepted: list[int] = []
        self._queued = 0
        self._excused: Counter[int] = Counter()

    def same_calls_each_time(self) -> None:
        """Let two runs of the same work make the same calls, so that one of them is found again by its number.

        What is imported for the first time is compiled, and makes others: the work must have been done before.
        """
        # In what order the directories of a set are synced.
        self.program.env["PYTHONHASHSEED"] = "0"
        site = self.program.home / "steady"
        site.mkdir()
        (site / "sitecustomize.py").write_text(_STEADY.format(checkout=str(_PACKAGE.parent)))
        (site / _PACKAGE.name).symlink_to(_PACKAGE)
        self.program.env["PYTHONPATH"] = str(site)

    def write(self, count: int) -> list[str]:
        """Write so many new messages to files, and return their names."""
        names = []
        for _ in range(count):
            path = self.files / f"{self._queued}.eml"
            path.write_bytes(
                b"From: a@isp.example\nTo: joe@example.com\nSubject: number %d\n\nBody %d.\n" % ((self._queued,) * 2)
            )
            names.append(str(path))
            self._queued += 1
        return names

    def enqueue(self, count: int) -> None:
        """Accept so many new messages, in one submission."""
        first = self._queued
        self.program.run("enqueue", *self.write(count))
        self.accepted += range(first, self._queued)

    def sent(self) -> list[int]:
        """The numbers of what the server accepted, in that order; each message must be whole."""
        numbers = []
        for received in list(self.sink.messages):
            if not received.reverse_path:
                continue  # a report of a failure, or a notice
            head, _, body = received.content.partition(b"\r\n\r\n")
            (number,) = [int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Subject: number ")]
            assert body == b"Body %d.\r\n" % number, "a torn message on the wire"
            assert received.recipients == ["joe@example.com"]
            numbers.append(number)
        return numbers

    def excuse_the_last(self, already: int) -> None:
        """A kill may repeat the one message that the killed run had on the wire, or had its last 250 for."""
        # The server may be at work on it still.
        self.sink.wait_until_idle()
        sent = self.sent()
        if len(sent) > already:
            self._excused[sent[-1]] += 1

    def traced(self, options: list[str], *arguments: str, stdin: bytes = b"") -> Run:
        """Run the program under strace; a program that was killed ends with a code below 0 or above 128."""
        done = subprocess.run(
            ["strace", "-f", "-qq", *options, *self.program.command(*arguments)],
            input=stdin, env=self.program.env, cwd=self.program.home, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        run = Run(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in run.stderr, run.stderr
        return run

    def drain(self) -> None:
        """Flush as cron would until nothing waits, then check what holds however often a run was killed."""
        self.program.run("queue", "retry", "--all", code=None)
        self.program.run("flush")
        assert self.program.queue() == []
        self.check()

    def check(self) -> None:
        """Nothing accepted is lost, nothing is sent twice without an excuse, and no file is left behind."""
        counts = Counter(self.sent())
        assert [number for number in self.accepted if number not in counts] == [], "lost"
        doubled = {number: count - 1 for number, count in counts.items() if count > 1}
        assert all(self._excused[number] >= more for number, more in doubled.items()), f"sent twice: {doubled}"
        left = [path for path in everything_in(str(self.program.spool)) if path.split("/")[0] in {"queue", "deferred"}]
        assert left == []

    def check_leftovers(self) -> int:
        """Check that what kills have left in tmp/ is explained, and that a flush clears it away; returns how much it was.

        A flush removes what is older than a minute and locked by nobody. Until then each is a submission of ours, whole or
        not, to which nobody was told yes: of what was told yes there is never another copy.
        """
        tmp = self.program.spool / "tmp"
        left = list(tmp.iterdir())
        for path in left:
            # What was not even begun has no number yet.
            found = re.search(rb"^Subject: number (\d+)\r?$", path.read_bytes(), re.MULTILINE)
            assert found is None or int(found[1]) not in self.accepted, "told yes, and left in tmp/"
            long_ago = time.time() - 37 * 3600
            os.utime(path, (long_ago, long_ago))
        before = len(self.sink.messages)
        self.program.run("flush")
        assert list(tmp.iterdir()) == []
        assert len(self.sink.messages) == before, "a leftover is no message"
        return len(left)

    @property
    def doubles(self) -> int:
        sent = self.sent()
        return len(sent) - len(set(sent))


def steps_of(world: World, trace: Path, *arguments: str, more: tuple[str, ...] = ()) -> list[tuple[str, int]]:
    """The changing system calls that this command makes: each the n-th of its name in its thread, as strace counts.

    ``more`` are other calls to list as well.
    """
    return [(name, number) for name, number, _ in calls_by_number(world, trace, *arguments, more=more)]


def calls_by_number(
    world: World, trace: Path, *arguments: str, more: tuple[str, ...] = ()
) -> list[tuple[str, int, str]]:
    """The same, each with what it was called with."""
    calls = (*CHANGING, *OPENING, *more)
    run = world.traced(["-y", "-o", str(trace), "-e", f"trace={','.join(calls)}"], *arguments)
    assert run.code == 0, run
    made: Counter[tuple[str, str]] = Counter()
    found = []
    # Of a thread the trace may tell the end of a call on a line of its own.
    for thread, name, rest in re.findall(r"^(\d+) +(\w+)\((.*)", trace.read_text(), re.MULTILINE):
        made[thread, name] += 1
        # Of what is opened, listed and read only the spool counts: the rest is the interpreter's.
        if name not in (*OPENING, *READING) or str(world.program.spool) in rest:
            found.append((name, made[thread, name], rest))
    return found


def some(steps: list[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    """All in the long form, else so many of them."""
    return steps if LONG else dice().sample(steps, count)
