"""The limits hold however often, and wherever, the process is killed: real processes, real files, the real clock."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import dies_at
from tests.support.limits_oracle import longest_row, most_in_fixed_windows
from ucrmmail.limits.ledger import Ledger
from ucrmmail.limits.rules import Rules, Throttle

NOW = 1_800_000_000.0
KILLS = 50
LIMIT, DURATION_S = 7, 0.5
THRESHOLD, PAUSE_S = 3, 0.06

# Sends as fast as the limits allow; a message is accepted when its line is written.
SENDER = f"""
import os, sys, time
from ucrmmail.limits.ledger import Ledger, read_boot_id
from ucrmmail.limits.rules import Flood, Rules, Throttle
rules = Rules((Throttle({LIMIT}, {DURATION_S}),), Flood({THRESHOLD}, {PAUSE_S}))
ledger = Ledger(sys.argv[1], rules, time.time(), read_boot_id())
while True:
    now = time.time()
    opens_at = ledger.earliest(now)
    if opens_at > now:
        time.sleep(opens_at - now)
        continue
    reservation = ledger.reserve(now)
    os.write(1, b"%a\\n" % time.time())
    ledger.confirm(reservation, time.time())
"""


@pytest.mark.requirement("R5", "R19")
def test_killed_at_any_call_a_ledger_has_counted_every_message_that_left(tmp_path: Path) -> None:
    rules = Rules((Throttle(4, 86_400.0), Throttle(9, 86_400.0, sliding=True)))

    def run(directory: Path) -> Callable[[Callable[[str], None]], None]:
        def send_three(say: Callable[[str], None]) -> None:
            ledger = Ledger(str(directory / "ledger"), rules, NOW, "boot")
            for _ in range(3):
                reservation = ledger.reserve(NOW)
                say("left")
                ledger.confirm(reservation, NOW)
            ledger.close(NOW)

        return send_three

    step, died = 0, True
    while died:
        step += 1
        directory = tmp_path / str(step)
        directory.mkdir()
        died, said = dies_at(step, run(directory))
        left = len(said)
        ledger = Ledger(str(directory / "ledger"), rules, NOW, "boot")
        assert not ledger.damaged
        while ledger.earliest(NOW) == NOW:
            ledger.confirm(ledger.reserve(NOW), NOW)
            left += 1
        assert 4 - died <= left <= 4, f"killed at call {step}: a kill may waste one place, never give one"
        ledger.close(NOW)
    assert step > 20, "the calls were seen"


@pytest.mark.requirement("R19", "R20")
def test_fifty_kills_bring_no_message_too_many(tmp_path: Path) -> None:
    draw = random.Random(1)
    accepted: list[float] = []
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", SENDER, str(tmp_path / "ledger")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as sender:
            assert sender.stdout is not None
            assert sender.stderr is not None
            first = sender.stdout.readline()
            time.sleep(draw.choice([0.0, 0.001, 0.02, 0.1]))
            sender.kill()
            lines = [first, *sender.stdout.read().splitlines(keepends=True)]
            assert sender.stderr.read() == b""
        accepted += [float(line) for line in lines if line.endswith(b"\n")]
    events = [(at, 1) for at in accepted]
    assert len(accepted) >= KILLS, "each process sent"
    assert most_in_fixed_windows(events, DURATION_S) <= LIMIT
    assert longest_row(events, PAUSE_S) <= THRESHOLD
