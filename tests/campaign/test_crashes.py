"""Killed at any moment and at every system call that changes something: nothing is lost, nothing is sent twice unexcused.

The excuse: the kill fell between the server's 250 and the record of it, which no client can close (RFC 1047).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.campaign.world import LONG, READING, TALKING, World, dice, some, steps_of
from tests.support.sink import Sink

pytestmark = pytest.mark.timeout(7200)


def slow(_address: str) -> None:
    """Let a flush last long enough to be met in its middle."""
    time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def kill_at(step: tuple[str, int]) -> list[str]:
    name, number = step
    return ["-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}"]


@pytest.mark.requirement("R1", "R5")
def test_a_flush_killed_at_each_system_call_loses_nothing(tmp_path: Path, sink: Sink) -> None:
    world = World(tmp_path / "home", sink)
    world.same_calls_each_time()
    world.enqueue(1)
    world.drain()
    world.enqueue(4)
    steps = steps_of(world, tmp_path / "trace", "flush", more=(*READING, *TALKING))
    assert len(steps) > 200
    kills = 0
    for step in some(steps, 8):
        world.enqueue(4)
        already = len(sink.messages)
        run = world.traced(kill_at(step), "flush")
        killed = run.code in {-signal.SIGKILL, 128 + signal.SIGKILL}
        kills += killed
        if killed:
            world.excuse_the_last(already)
        world.drain()
    left = world.check_leftovers()
    print(f"flush: {len(steps)} system calls, {kills} kills, {world.doubles} sent twice, all excused, {left} leftovers")
    # In how many pieces a reply is read is up to the network.
    assert kills >= len(some(steps, 8)) * 3 // 4
    assert world.doubles <= kills


@pytest.mark.requirement("R1", "R5", "R6")
def test_a_submission_killed_at_each_system_call_was_told_yes_or_left_nothing_torn(tmp_path: Path, sink: Sink) -> None:
    world = World(tmp_path / "home", sink)
    world.same_calls_each_time()
    world.enqueue(1)
    world.drain()
    names = world.write(2)
    steps = steps_of(world, tmp_path / "trace", "enqueue", *names)
    world.accepted += [int(Path(name).stem) for name in names]
    # Each makes the directory of this minute anew.
    world.drain()
    kills = 0
    for step in some(steps, 8):
        names = world.write(2)
        run = world.traced(kill_at(step), "enqueue", *names)
        kills += run.code in {-signal.SIGKILL, 128 + signal.SIGKILL}
        if run.stdout:
            # An id that was printed is a promise: of one submission all files, or none.
            world.accepted += [int(Path(name).stem) for name in names[: len(run.stdout.splitlines())]]
        world.drain()
    left = world.check_leftovers()
    print(f"enqueue: {len(steps)} system calls, {kills} kills, {left} leftovers")
    assert kills == len(some(steps, 8))
    assert world.doubles == 0


@pytest.mark.requirement("R1")
@pytest.mark.parametrize("connections", [1, 4])
def test_a_flush_killed_at_random_moments_repeats_at_most_one_message_a_connection(
    tmp_path: Path, sink: Sink, connections: int
) -> None:
    world = World(tmp_path / "home", sink, smtp=f"connections = {connections}")
    sink.on_rcpt = slow
    random = dice()
    kills = 0
    for _ in range(400 if LONG else 4):
        world.enqueue(random.randint(30, 40))
        flush = world.program.start("flush")
        try:
            flush.wait(random.uniform(0.1, 0.4))
        except subprocess.TimeoutExpired:
            # Of several connections each is a process: the run may die, or one of them.
            os.kill(random.choice([flush.pid, *children_of(flush.pid)]), signal.SIGKILL)
            kills += 1
        flush.communicate()
    before = world.doubles
    sink.on_rcpt = lambda _address: None
    # Thousands wait after hundreds of kills.
    world.program.run("flush", timeout=1200)
    assert world.program.queue() == []
    assert sorted(set(world.sent())) == world.accepted, "lost"
    left = world.check_leftovers()
    print(f"{connections} connections: {kills} kills, {world.doubles} sent twice, {left} leftovers")
    assert before <= world.doubles <= kills * connections


@pytest.mark.requirement("R2")
@pytest.mark.parametrize(
    "tables", [{"throttler": 'message_limit = 1000000\nduration = "24h"'}, {"smtp": "connections = 4"}]
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_flush_that_is_asked_to_stop_repeats_nothing_and_has_counted_all(
    tmp_path: Path, sink: Sink, number: signal.Signals, tables: dict[str, str]
) -> None:
    world = World(tmp_path / "home", sink, **tables)
    sink.on_rcpt = slow
    random = dice()
    stopped = 0
    longest_s = 0.0
    runs = 100 if LONG else 3
    for _ in range(runs):
        world.enqueue(random.randint(30, 40))
        before = sink.dialogues
        flush = world.program.start("flush")
        asked = False
        # Python itself answers a SIGINT that comes before any code of ours with a traceback.
        while sink.dialogues == before and flush.poll() is None:
            time.sleep(0.005)
        try:
            flush.wait(random.uniform(0.0, 0.2))
        except subprocess.TimeoutExpired:
            flush.send_signal(number)
            asked = True
        asked_at = time.monotonic()
        _, errors = flush.communicate(timeout=60)
        longest_s = max(longest_s, time.monotonic() - asked_at)
        assert b"Traceback" not in errors
        stopped += asked and len(sink.messages) < len(world.accepted)
        for throttle in world.program.run("status", "--json").json["throttler"]:
            assert throttle["used"] == len(sink.messages)
    # Thousands wait after a hundred runs that were stopped.
    sink.on_rcpt = lambda _address: None
    world.drain()
    print(f"{number.name}: {stopped} of {runs} stopped within {longest_s:.2f} s, {world.doubles} sent twice")
    assert stopped >= runs * 3 // 4, "most were through before they were asked, or went on"
    assert world.doubles == 0
