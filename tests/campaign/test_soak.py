"""Thousands of starts as cron makes them, a server that has moods, kills in between: nothing lost, nothing grows (R14)."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.campaign.world import LONG, World, dice
from tests.support.sink import Sink
from tests.support.spools import everything_in

pytestmark = pytest.mark.timeout(10_800)

# So many starts are killed, and so many of the kills must have met one that was still at work: a run that has ended by
# itself before its kill is none.
STARTS, KILLS, MET = (20_000, 100, 50) if LONG else (60, 3, 1)
MESSAGES_A_ROUND = 10
STARTS_A_ROUND = 20
MOOD = 0.05
# In the long form it is the first start behind a submission: a run that sends.
MEASURED_EVERY = STARTS_A_ROUND * 5 if LONG else 7
MEASURE = (
    "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


@pytest.mark.requirement("R1", "R14")
def test_cron_starts_for_weeks_lose_nothing_and_leave_nothing(tmp_path: Path, sink: Sink) -> None:
    # Starts follow each other at once and not by the minute: the pause after a 421 has to be as short.
    world = World(tmp_path / "home", sink, retry='first_delay = "1s"\nmax_delay = "1s"')
    world.enqueue(1)
    world.drain()
    usual = set(everything_in(str(world.program.spool)))
    random, moods = dice(), dice("moods")
    sink.on_rcpt = lambda _address: "450 4.2.0 later" if moods.random() < MOOD else None
    sink.on_data = lambda _envelope: "451 4.3.0 not now" if moods.random() < MOOD else None
    sink.on_mail = lambda _address: "421 4.3.2 going down" if moods.random() < MOOD / 10 else None
    # A kill is only one where there is work: in the first start behind a submission.
    killed_at = set(random.sample(range(0, STARTS, STARTS_A_ROUND), KILLS))
    sizes_kib: list[int] = []
    kills = idle = 0
    for start in range(STARTS):
        if start % STARTS_A_ROUND == 0:
            world.enqueue(MESSAGES_A_ROUND)
        if start % (STARTS_A_ROUND * 5) == 0:
            world.program.run("queue", "retry", "--all", code=None)
        measured = start % MEASURED_EVERY == 0 and start not in killed_at
        if measured:
            # The kernel counts the memory of who starts a process too, so that is not this one, which remembers all mail.
            flush = subprocess.Popen(
                [sys.executable, "-S", "-c", MEASURE, *world.program.command("flush")],
                env=world.program.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        else:
            flush = world.program.start("flush")
        if start in killed_at:
            time.sleep(random.uniform(0.05, 0.15))
            flush.kill()
        output, errors = flush.communicate()
        if measured:
            sizes_kib.append(int(output))
        else:
            assert output == b""
        assert b"Traceback" not in errors, errors
        if start in killed_at and flush.returncode < 0:
            kills += 1
        else:
            assert flush.returncode in {0, 75}, (flush.returncode, errors)
            idle += flush.returncode == 75
    sink.on_rcpt = lambda _address: None
    sink.on_data = lambda _envelope: None
    sink.on_mail = lambda _address: None
    time.sleep(1.1)  # until the pause after the last 421 is over
    world.program.run("queue", "retry", "--all", code=None)
    world.program.run("flush")
    assert world.program.queue() == []
    assert sorted(set(world.sent())) == world.accepted, "lost"
    assert world.doubles <= kills
    # What a 421 leaves behind is one file, however many there were.
    assert set(everything_in(str(world.program.spool))) - {"account.json", "untold"} == usual
    tenth = max(1, len(sizes_kib) // 10)
    first, last = statistics.median(sizes_kib[:tenth]), statistics.median(sizes_kib[-tenth:])
    print(
        f"{STARTS} starts, {idle} of them held back by a 421, {kills} kills, {len(world.accepted)} messages, {world.doubles} sent twice; "
        f"memory {first:.0f} KiB at first, {last:.0f} KiB at last"
    )
    assert last < first * 1.1
    assert kills >= MET, "the kills came too late"
