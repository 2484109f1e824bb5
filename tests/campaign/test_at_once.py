"""Many processes on one spool: flushes, submissions, holds, releases, retries, removals, changes of the configuration.

Each message is delivered once, or was removed and never delivered; every state is legal; the limit holds. The server's
record is the truth.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.campaign.machine import number_in
from tests.campaign.world import LONG, World, dice
from tests.support.sink import Sink
from tests.support.smtp_server import SmtpServer
from tests.support.spools import everything_in

pytestmark = pytest.mark.timeout(7200)

WINDOW_S = 2
LIMIT = 30
CONFIGURATION = [
    ("smtp.connections", ["1", "2", "5"]),
    ("smtp.pipelining", ["true", "false"]),
    ("spool.sync", ["batch", "each"]),
    ("retry.first_delay", ["1s", "2s"]),
    ("throttler.message_limit", [str(LIMIT - 10), str(LIMIT)]),
]


class Crowd:
    """Everybody who works on the spool until the time is over, and what each was told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.over = threading.Event()
        self.ids: dict[str, int] = {}
        self.removed: set[str] = set()
        self.failures: list[BaseException] = []
        self.runs: Counter[str] = Counter()
        self._numbers = threading.Lock()

    def work(self, name: str, turn: Callable[[Random], None]) -> threading.Thread:
        """Begin to do this again and again."""

        def loop() -> None:
            random = dice(name)
            try:
                while not self.over.is_set():
                    turn(random)
                    self.runs[name] += 1
            except BaseException as error:  # noqa: BLE001 # raised again in the test
                self.failures.append(error)
                self.over.set()

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    def enqueue(self, random: Random) -> None:
        with self._numbers:
            names = self.world.write(random.randint(1, 8))
        lines = self.world.program.run("enqueue", *names).lines
        assert len(lines) == len(names)
        self.ids |= {queue_id: int(Path(name).stem) for queue_id, name in zip(lines, names, strict=True)}
        # Everybody else is to meet a queue that is short enough to be sent.
        self.over.wait(random.uniform(0.1, 0.6))

    def flush(self, random: Random) -> None:
        # 75: another one works on it, or the account is deferred.
        run = self.world.program.run("flush", random.choice(["--wait", "--no-wait"]), "--time-limit", "2s", code=None)
        assert run.code in {0, 75}, run

    def change(self, random: Random) -> None:
        known = list(self.ids)
        if not known:
            self.over.wait(0.1)
            return
        verb = random.choice(["hold", "release", "retry", "remove"])
        chosen = random.sample(known, min(len(known), 3))
        run = self.world.program.run(
            "queue", verb, "--json", *(["--yes"] if verb == "remove" else []), *chosen, code=None
        )
        assert run.code in {0, 66, 75}, run
        if verb == "remove":
            self.removed |= {change["queue_id"] for change in run.json["changed"]}

    def look(self, _random: Random) -> None:
        """Nobody who looks may see a message twice, or in a state that there is not."""
        listed = self.world.program.queue()
        assert {message["state"] for message in listed} <= {"waiting", "deferred", "held", "failed"}
        self.world.program.run("status", "--json")

    def configure(self, random: Random) -> None:
        key, values = random.choice(CONFIGURATION)
        self.world.program.run("config", "set", key, random.choice(values))
        self.over.wait(0.3)


def fullest(times: list[float], span_s: float) -> int:
    """The most of these times that lie within such a span."""
    return max((bisect_right(times, start + span_s) - n for n, start in enumerate(times)), default=0)


@pytest.mark.requirement("R19", "R23")
def test_everybody_at_once_delivers_each_message_once_within_the_limit(tmp_path: Path, sink: Sink) -> None:
    refuse = dice("server")
    sink.on_rcpt = lambda _address: "451 4.3.0 later" if refuse.random() < 0.1 else None
    world = World(
        tmp_path / "home",
        sink,
        smtp="connections = 3",
        retry='first_delay = "1s"\nmax_delay = "2s"',
        throttler=f'message_limit = {LIMIT}\nduration = "{WINDOW_S}s"\nwindow = "sliding"',
    )
    crowd = Crowd(world)
    threads = [
        *(crowd.work(f"flush {number}", crowd.flush) for number in range(3)),
        *(crowd.work(f"enqueue {number}", crowd.enqueue) for number in range(2)),
        *(crowd.work(f"change {number}", crowd.change) for number in range(2)),
        crowd.work("look", crowd.look),
        crowd.work("configure", crowd.configure),
    ]
    crowd.over.wait(240 if LONG else 8)
    crowd.over.set()
    for thread in threads:
        thread.join()
    if crowd.failures:
        raise crowd.failures[0]
    sink.on_rcpt = lambda _address: None
    settle(world)
    check(world, crowd, sink)
    print(
        f"at once: {dict(crowd.runs)}, {len(crowd.ids)} accepted, {len(crowd.removed)} removed, {len(sink.messages)} sent"
    )


def settle(world: World) -> None:
    """Let everything out, as cron would in a few minutes."""
    world.program.run("config", "set", "throttler.message_limit", str(LIMIT))
    world.program.run("queue", "release", "--all")
    world.program.run("queue", "retry", "--all")
    until = time.monotonic() + 600
    while world.program.queue() and time.monotonic() < until:
        world.program.run("flush", code=None)


def check(world: World, crowd: Crowd, sink: Sink) -> None:
    assert world.program.queue() == []
    counts = Counter(world.sent())
    assert set(counts.values()) <= {1}, "sent twice"
    for queue_id, number in crowd.ids.items():
        assert (counts[number] == 0) is (queue_id in crowd.removed), f"{queue_id}: number {number}"
    assert set(counts) <= set(crowd.ids.values()), "sent without having been accepted"
    assert fullest([received.at for received in sink.messages], WINDOW_S - 0.05) <= LIMIT, "beyond the limit"
    places = {path.split("/")[0] for path in everything_in(str(world.program.spool)) if "/" in path}
    assert not places & {"queue", "deferred", "held", "failed", "corrupt", "state", "tmp"}, "left behind"


@pytest.mark.requirement("R23", "S17")
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["cron", "json"])
@pytest.mark.parametrize("flushes", [2, 10, 50] if LONG else [10])
def test_of_many_flushes_at_once_one_sends_and_the_others_leave_before_it_is_done(
    tmp_path: Path, flushes: int, options: list[str]
) -> None:
    others_left = threading.Event()

    def hold_up(_message: bytes) -> None:
        # The first message is answered when all other runs have ended: they waited for nobody.
        assert others_left.wait(120)

    with SmtpServer(faults={"final-dot": hold_up}) as server:
        world = World(tmp_path / "home", Sink(port=server.port))
        world.program.run("flush")  # the configuration is checked then: those of cron are quick from now on
        world.enqueue(20)
        began = time.monotonic()
        running = [world.program.start("flush", *options) for _ in range(flushes)]
        left: dict[int, float] = {}
        while len(left) < flushes - 1:
            time.sleep(0.005)
            left |= {
                flush.pid: time.monotonic() - began
                for flush in running
                if flush.poll() is not None and flush.pid not in left
            }
        seconds = sorted(left.values())
        print(
            f"{flushes} x flush {' '.join(options)}: the others had left after {seconds[0]:.2f} to {seconds[-1]:.2f} s"
        )
        others_left.set()
        said = [flush.communicate() for flush in running]
        server.wait_until_idle()
        sent = [number_in(message.content) for message in server.accepted]
    assert sorted(sent) == list(range(20))
    assert {flush.returncode for flush in running} == {0}
    assert [errors for _, errors in said] == [b""] * flushes
    if options:
        assert sum(b"another flush is running" in out for out, _ in said) == flushes - 1
    else:
        assert [output for output, _ in said] == [b""] * flushes
    assert world.program.queue() == []
