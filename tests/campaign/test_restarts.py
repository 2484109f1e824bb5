"""A limit over a thousand starts, some of which are killed, two at a time: never more than N in a window (R19).

The server's clock says when a message was accepted.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.campaign.world import LONG, World, dice
from tests.support.limits_oracle import most_in_any_span, windows_can_be_drawn
from tests.support.sink import Sink

pytestmark = pytest.mark.timeout(7200)

LIMIT = 4
WINDOW_S = 1.0
# What is counted when the reply is read was accepted a moment before.
SLACK_S = 0.05


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
    random = dice(f"{window} {connections}")
    starts = kills = 0
    while starts < (250 if LONG else 6):
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
    accepted = [(at, 1) for at in sorted(received.at for received in sink.messages)]
    print(f"{window}, {connections} connections: {starts} starts, {kills} kills, {len(accepted)} accepted")
    if window == "sliding":
        assert most_in_any_span(accepted, WINDOW_S - SLACK_S) <= LIMIT
    else:
        assert windows_can_be_drawn(accepted, WINDOW_S - SLACK_S, LIMIT)
    assert len(accepted) > LIMIT
    assert kills > 0
    assert world.doubles <= kills * connections
