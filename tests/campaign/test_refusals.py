"""The kernel refuses one system call, at every place and with every errno: refused or deferred, never lost, never half."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.world import LONG, World, some, steps_of
from tests.support.sink import Sink

pytestmark = [pytest.mark.timeout(7200), pytest.mark.requirement("R4")]

ERRNOS = ["ENOSPC", "EIO", "EDQUOT", "EMFILE", "EACCES", "EROFS", "ENOMEM"]
NETWORK = {"connect", "sendto", "sendmsg", "shutdown"}


def refuse(step: tuple[str, int], errno: str) -> list[str]:
    name, number = step
    return ["-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:error={errno}:when={number}"]


@pytest.mark.parametrize("errno", ERRNOS if LONG else ["ENOSPC", "EIO"])
def test_a_flush_refused_at_each_system_call_loses_nothing(tmp_path: Path, sink: Sink, errno: str) -> None:
    world = World(tmp_path / "home", sink)
    # The first run of a fresh checkout compiles what it imports: calls that no later run makes.
    world.enqueue(1)
    world.drain()
    world.enqueue(2)
    steps = [step for step in steps_of(world, tmp_path / "trace", "flush") if step[0] not in NETWORK]
    failed = 0
    for step in some(steps, 4):
        world.enqueue(2)
        already = len(sink.messages)
        run = world.traced(refuse(step, errno), "flush")
        if run.code:
            failed += 1
            assert run.code in {71, 73, 74, 75, 77, 78}, (step, run)
            assert run.stderr.startswith("ucrmmail"), (step, run)
            # What was accepted cannot be recorded when the record itself is refused.
            world.excuse_the_last(already)
        try:
            world.drain()
        except AssertionError as error:
            error.add_note(f"{step} was refused with {errno}: {run}")
            raise
    print(f"flush, {errno}: {len(some(steps, 4))} refusals, {failed} runs failed, {world.doubles} sent twice")


@pytest.mark.parametrize("errno", ERRNOS if LONG else ["ENOSPC", "EACCES"])
def test_a_submission_refused_at_each_system_call_prints_no_id(tmp_path: Path, sink: Sink, errno: str) -> None:
    world = World(tmp_path / "home", sink)
    world.enqueue(1)
    steps = steps_of(world, tmp_path / "trace", "enqueue", *world.write(2))
    refused = 0
    for step in some(steps, 4):
        names = world.write(2)
        run = world.traced(refuse(step, errno), "enqueue", *names)
        if run.code == 74 and "2 accepted" in run.stderr:
            world.accepted += [int(Path(name).stem) for name in names]
        elif run.code:
            refused += 1
            assert "ucrmmail: " in run.stderr, (step, run)
            # Of a file that could not be read the others know nothing; each id that is printed is one that was taken.
            taken = [name for name in names if run.stdout and f"{name}: not accepted" not in run.stderr]
            assert len(run.stdout.splitlines()) == len(taken), (step, run)
            world.accepted += [int(Path(name).stem) for name in taken]
        else:
            assert len(run.stdout.splitlines()) == 2, (step, run)
            world.accepted += [int(Path(name).stem) for name in names]
    world.drain()
    assert world.doubles == 0
    print(f"enqueue, {errno}: {len(some(steps, 4))} refusals, {refused} submissions refused")
    assert refused
