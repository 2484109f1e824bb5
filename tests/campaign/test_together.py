"""Everything at once: flushes, submissions, holds, releases, retries and removals by many processes, one queue.

What holds whoever is quicker: each message is delivered once or removed by hand, every state is legal, the limit is
never exceeded, and no command ends in anything but a documented code.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaign.world import LONG, SEED, World
from tests.support.sink import Sink

pytestmark = pytest.mark.timeout(7200)

SECONDS = 180 if LONG else 6
STATES = {"waiting", "deferred", "held", "failed", "sending"}
CODES = {0, 65, 66, 69, 75, 77, 78}


def ids(world: World, state: str) -> list[str]:
    return [message["queue_id"] for message in world.program.queue("--state", state)]


class Crowd:
    """Processes that get in each other's way until the time is over; what went wrong is in ``wrong``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong: list[str] = []
        self.commands: Counter[str] = Counter()
        self._ends_at = time.monotonic() + SECONDS
        self._lock = threading.Lock()

    def run(self, *arguments: str) -> None:
        run = self.world.program.run(*arguments, code=None)
        self.commands[" ".join(arguments[:2] if arguments[0] == "queue" else arguments[:1])] += 1
        if run.code not in CODES:
            self.wrong.append(f"{arguments[:3]}: exit {run.code}: {run.stderr}")

    def submit(self, chosen: random.Random) -> None:
        with self._lock:
            # Numbers are given out one by one; the submissions themselves overlap.
            names = self.world.write(chosen.randint(1, 5))
        run = self.world.program.run("enqueue", *names)
        with self._lock:
            self.world.accepted += [int(Path(name).stem) for name in names]
        assert len(run.lines) == len(names)
        self.commands["enqueue"] += 1

    def flush(self, _chosen: random.Random) -> None:
        self.run("flush", "--time-limit", "2s")

    def meddle(self, chosen: random.Random) -> None:
        """Hold, release, retry: any message, at any moment."""
        waiting = [message["queue_id"] for message in self.world.program.queue()]
        if waiting:
            self.run("queue", chosen.choice(["hold", "release", "retry"]), "--yes", chosen.choice(waiting))

    def look(self, _chosen: random.Random) -> None:
        states = {message["state"] for message in self.world.program.queue()}
        if not states <= STATES:
            self.wrong.append(f"states: {states - STATES}")
        self.run("status")

    def configure(self, chosen: random.Random) -> None:
        self.run("config", "set", "smtp.connections", str(chosen.randint(1, 4)))

    def work(self, act: Callable[[random.Random], None], seed: int) -> None:
        chosen = random.Random(seed)
        try:
            while time.monotonic() < self._ends_at:
                act(chosen)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            self.wrong.append(repr(error))


def test_many_processes_at_once_lose_and_repeat_nothing(tmp_path: Path, sink: Sink) -> None:
    world = World(tmp_path / "home", sink)
    world.enqueue(5)
    crowd = Crowd(world)
    acts = [crowd.submit, crowd.submit, crowd.flush, crowd.flush, crowd.meddle, crowd.look, crowd.configure]
    threads = [threading.Thread(target=crowd.work, args=(act, SEED + number)) for number, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crowd.wrong == []
    world.program.run("queue", "release", "--all", "--yes", code=None)
    world.drain()
    print(f"{SECONDS} s: {dict(crowd.commands)}, {len(world.accepted)} messages, {world.doubles} sent twice")
    assert world.doubles == 0


@pytest.mark.parametrize("count", [50 if LONG else 12])
def test_flushes_at_once_send_each_message_once_and_one_of_them_sends(tmp_path: Path, sink: Sink, count: int) -> None:
    world = World(tmp_path / "home", sink)
    world.enqueue(40)
    flushes = [world.program.start("flush", "--json") for _ in range(count)]
    codes = [(flush.communicate(timeout=120), flush.returncode)[1] for flush in flushes]
    assert set(codes) == {0}
    world.drain()
    assert world.doubles == 0


def test_removed_messages_are_sent_once_at_the_most_and_the_others_once(tmp_path: Path, sink: Sink) -> None:
    """A removal is told as done, or the message was on its way already: never both."""
    world = World(tmp_path / "home", sink)
    removed: set[int] = set()
    rounds = 20 if LONG else 3
    for _ in range(rounds):
        world.enqueue(20)
        by_id = {
            message["queue_id"]: number
            for number, message in zip(world.accepted[-20:], world.program.queue(), strict=True)
        }
        flush = world.program.start("flush")
        for queue_id in list(by_id)[::-3]:
            if world.program.run("queue", "remove", "--yes", queue_id, code=None).code == 0:
                removed.add(by_id[queue_id])
        flush.communicate(timeout=120)
        assert flush.returncode == 0
    sent = world.sent()
    assert removed.isdisjoint(sent)
    world.accepted = [number for number in world.accepted if number not in removed]
    world.drain()
    print(f"{rounds} rounds: {len(removed)} removed, {len(sent)} sent")
    assert world.doubles == 0


def test_a_limit_holds_for_all_who_count_against_it(tmp_path: Path, sink: Sink) -> None:
    """Flushes, test messages and connections count against one limit, whoever gets there first."""
    world = World(tmp_path / "home", sink, throttler='message_limit = 15\nduration = "1h"', smtp="connections = 3")
    world.enqueue(30)
    running = [world.program.start("flush", "--no-wait") for _ in range(4)]
    running += [world.program.start("test-send", "joe@example.com") for _ in range(4)]
    for process in running:
        process.communicate(timeout=120)
    assert len(sink.messages) == 15
    assert world.program.run("status", "--json").json["throttler"][0]["used"] == 15
