"""A limit over a thousand starts, some of which are killed, two at a time: never more than N in a window (R19), never
more than N without a pause (R20).

The server's clock says when a message was accepted.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random

import pytest

from tests.campaign.world import LONG, World, dice
from tests.support.limits_oracle import most_in_any_span, windows_can_be_drawn
from tests.support.sink import Sink

pytestmark = pytest.mark.timeout(7200)

LIMIT = 4
WINDOW_S = 1.0
PAUSE_S = 1.0
# What is counted when the reply is read was accepted a moment before.
SLACK_S = 0.05


def start_and_kill(world: World, random: Random, enough: int) -> tuple[int, int]:
    """Start flushes in pairs, ``enough`` in all, and kill those that take long; returns how many started, and died."""
    starts = kills = 0
    while starts < enough:
        if starts % 10 == 0:
            world.enqueue(12)
        pair = [world.program.start("flush", "--time-limit", "2s") for _ in range(2)]
        starts += len(pair)
        for flush in pair:
            try:
                flush.wait(random.uniform(0.1, 0.8))
            except subprocess.TimeoutExpired:
                flush.kill()
                kills += 1
            flush.communicate()
    # On a slow machine the kills may have come before anything was sent.
    world.program.run("flush", "--time-limit", "5s", code=None)
    return starts, kills


@pytest.mark.requirement("R1", "R19")
@pytest.mark.parametrize("window", ["fixed", "sliding"])
@pytest.mark.parametrize("connections", [1, 3])
def test_no_window_holds_more_than_its_limit_over_restarts_and_kills(
    tmp_path: Path, sink: Sink, window: str, connections: int
) -> None:
    world = World(
        tmp_path / "home",
        sink,
        smtp=f"connections = {connections}",
        throttler=f'message_limit = {LIMIT}\nduration = "{WINDOW_S:.0f}s"\nwindow = "{window}"',
    )
    starts, kills = start_and_kill(world, dice(f"{window} {connections}"), 250 if LONG else 6)
    accepted = [(at, 1) for at in sorted(received.at for received in sink.messages)]
    print(f"{window}, {connections} connections: {starts} starts, {kills} kills, {len(accepted)} accepted")
    if window == "sliding":
        assert most_in_any_span(accepted, WINDOW_S - SLACK_S) <= LIMIT
    else:
        assert windows_can_be_drawn(accepted, WINDOW_S - SLACK_S, LIMIT)
    assert len(accepted) > LIMIT
    assert kills > 0
    assert world.doubles <= kills * connections


@pytest.mark.requirement("R1", "R20")
@pytest.mark.parametrize("connections", [1, 3])
def test_no_burst_is_longer_than_the_threshold_over_restarts_and_kills(
    tmp_path: Path, sink: Sink, connections: int
) -> None:
    world = World(
        tmp_path / "home",
        sink,
        smtp=f"connections = {connections}",
        antiflood=f'activation_threshold = {LIMIT}\npause_time = "{PAUSE_S:.0f}s"',
    )
    starts, kills = start_and_kill(world, dice(f"bursts {connections}"), 500 if LONG else 6)
    accepted = sorted(received.at for received in sink.messages)
    bursts = [0]
    for before, at in zip([0.0, *accepted], accepted, strict=False):
        if at - before >= PAUSE_S - SLACK_S:
            bursts.append(0)
        bursts[-1] += 1
    print(
        f"{connections} connections: {starts} starts, {kills} kills, {len(accepted)} accepted in {len(bursts)} bursts"
    )
    assert max(bursts) == LIMIT
    assert len(bursts) > 2
    assert world.doubles <= kills * connections
