"""The kernel refuses one system call, at every place and with every errno: refused or deferred, never lost, never half.

What fails says so in one error that names the file, with 74 (the disk) or 75 (later): requirement R4.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaign.world import CHANGING, LONG, OPENING, READING, World, calls_by_number, some
from tests.support.program import Run
from tests.support.sink import Sink
from tests.support.spools import everything_in
from ucrmmail.spool.quiet import QUIET_S

pytestmark = [pytest.mark.timeout(7200), pytest.mark.requirement("R4")]

ERRNOS = ["ENOSPC", "EIO", "EDQUOT", "EMFILE", "EACCES", "EROFS", "ENOMEM"]
NETWORK = {"connect", "sendto", "sendmsg", "shutdown"}
LOOKING = (*READING, "statx", "statfs")
Step = tuple[str, int]


def kinds(calls: list[tuple[str, int, str]]) -> list[Step]:
    """The first, the second and the last call of each name on each kind of file: a run looks at some again and again."""
    found: dict[tuple[str, ...], list[Step]] = defaultdict(list)
    for name, number, rest in calls:
        paths = [
            re.sub(r"\d{8}T\d{4}[\w.-]*|\.\d+\.\w{8}\.tmp|\d+", "#", path)
            for path in re.findall(r'[<"](/[^>"]*)', rest)
        ]
        # What is written to a pipe is no file. And where strace refuses a close, the file stays open, and locked: the
        # program would wait for itself, where Linux gives the lock up.
        if name not in NETWORK and paths and not (name == "close" and paths[-1].endswith("/untold")):
            found[name, *paths].append((name, number))
    return [step for steps in found.values() for step in dict.fromkeys((*steps[:2], steps[-1]))]


def refused(world: World, trace: Path, step: Step, errno: str, *arguments: str) -> tuple[Run, list[str]]:
    """Run the program with this call refused; returns what was refused on the spool, as strace tells it.

    A number is one of each thread: of a second thread's first calls the loader made one of the same number before.
    """
    name, number = step
    # Traced is what was traced when they were counted: a run that is held up less has other numbers.
    traced = ",".join((*CHANGING, *OPENING, *LOOKING))
    options = ["-y", "-o", str(trace), "-e", f"trace={traced}", "-e", f"inject={name}:error={errno}:when={number}"]
    run = world.traced(options, *arguments)
    met = []
    begun: dict[str, str] = {}
    for thread, line in re.findall(r"^(\d+) +(.*)", trace.read_text(), re.MULTILINE):
        # When another thread makes a call meanwhile, the one line has the path and the other the errno.
        whole = begun.pop(thread, "") + line if line.startswith("<... ") else line
        if line.endswith("<unfinished ...>"):
            begun[thread] = line
        elif "(INJECTED)" in line and str(world.program.spool) in whole:
            met.append(whole)
    return run, met


def check_words(world: World, run: Run, step: Step) -> None:
    """What went wrong is told in one error, with its file; what did not stop the run, too."""
    # Before the error itself may stand whose it is, the files of a submission; a rejected file is told in any case.
    others = re.compile(r"  |.*: not accepted$|.* was rejected: (?:the message has no rec|it may not be read)")
    lines = [line for line in run.stderr.splitlines() if not others.match(line)]
    assert run.code in {0, 74, 75}, (step, run)
    assert len(lines) == 1 or run.code == 0, (step, run)
    assert all(line.startswith("ucrmmail: ") and str(world.program.home) in line for line in lines), (step, run)


def put_back(world: World, run: Run) -> None:
    """A dropped file that may not be read is rejected with the reason; a person drops it again."""
    for name in re.findall(r"drop/(\d+\.eml) was rejected: it may not be read", run.stderr):
        (world.program.spool / "rejected" / f"{name}.reason").unlink()
        (world.program.spool / "rejected" / name).rename(world.program.spool / "drop" / name)


def logged(world: World) -> int:
    """How many messages of people stand in the delivery log as relayed."""
    log = world.program.spool / "delivery.log"
    return len(re.findall(r"(?m) from=<.+> to=<.+> relayed ", log.read_text())) if log.exists() else 0


class Moods:
    """A server that refuses one message of each round for good, and one for now, until it is told to take all."""

    def __init__(self, sink: Sink) -> None:
        self.failing: set[bytes] = set()
        self.deferring: set[bytes] = set()
        sink.on_data = lambda envelope: self.reply(envelope.original_content or b"")

    def reply(self, content: bytes) -> str | None:
        (subject,) = re.findall(rb"^Subject: ([^\r]*)", content.partition(b"\r\n\r\n")[0], re.MULTILINE)
        if subject in self.failing:
            return "554 5.7.1 no"
        return "451 4.3.0 later" if subject in self.deferring else None

    def take_all(self) -> None:
        self.failing.clear()
        self.deferring.clear()


def plain_round(world: World, _moods: Moods) -> None:
    world.enqueue(2)


def busy_round(world: World, moods: Moods) -> None:
    """Work of each kind: relayed, failed with a report, deferred, taken from the drop directory, rejected there."""
    first = len(world.accepted)
    world.enqueue(3)
    _, failing, deferring = world.accepted[first:]
    moods.failing, moods.deferring = {b"number %d" % failing}, {b"number %d" % deferring}
    (name,) = world.write(1)
    drop = world.program.spool / "drop"
    (drop / Path(name).name).write_bytes(Path(name).read_bytes())
    (drop / f"to-nobody-{Path(name).name}").write_bytes(b"Subject: x\n\nhi\n")
    world.accepted.append(int(Path(name).stem))
    # A dropped file that has not been quiet for long enough is looked at twice.
    while time.time() < max(path.stat().st_ctime for path in drop.iterdir()) + QUIET_S:
        time.sleep(0.01)


@pytest.mark.parametrize("errno", ERRNOS if LONG else ["ENOSPC", "EIO"])
@pytest.mark.parametrize("prepare", [plain_round, busy_round], ids=["plain", "busy"])
def test_a_flush_refused_at_each_system_call_loses_nothing(
    tmp_path: Path, sink: Sink, errno: str, prepare: Callable[[World, Moods], None]
) -> None:
    world, moods = World(tmp_path / "home", sink), Moods(sink)
    trace = tmp_path / "trace"
    world.same_calls_each_time()
    for _ in range(2):
        prepare(world, moods)
        steps = kinds(calls_by_number(world, trace, "flush", more=LOOKING))
        moods.take_all()
        world.drain()
    chosen = some(steps, 4)
    met, unmet = refuse_all(chosen, lambda step: refuse_in_a_flush(world, moods, prepare, errno, trace, step))
    assert [path for path in everything_in(str(world.program.spool)) if path.startswith(("tmp/", "corrupt/"))] == []
    print(
        f"flush, {prepare.__name__}, {errno}: {len(met)} of {len(chosen)} refusals met, "
        f"{sum(run.code != 0 for run in met)} runs failed, {world.doubles} sent twice"
    )
    assert unmet == []


def refuse_all(steps: list[Step], refuse: Callable[[Step], Run | None]) -> tuple[list[Run], list[Step]]:
    """Refuse each of these calls, what was not met twice more; return the runs that met theirs, and what none met.

    Where a minute begins meanwhile the queue has another directory, and the calls behind it have other numbers.
    """
    met: list[Run] = []
    for _ in range(3):
        runs = {step: refuse(step) for step in steps}
        met += [run for run in runs.values() if run is not None]
        steps = [step for step, run in runs.items() if run is None]
    return met, steps


def refuse_in_a_flush(
    world: World, moods: Moods, prepare: Callable[[World, Moods], None], errno: str, trace: Path, step: Step
) -> Run | None:
    """Return how a flush ended of which this call was refused, and what followed was right; None if it did not make it."""
    prepare(world, moods)
    for told in world.program.spool.glob("told-*"):
        told.unlink()  # the same of another call would be told once an hour
    already = len(world.sent()) - logged(world)
    run, met = refused(world, trace, step, errno, "flush")
    try:
        if met:
            check_words(world, run, step)
            put_back(world, run)
            world.sink.wait_until_idle()
            if not any("delivery.log" in call for call in met):
                assert len(world.sent()) - logged(world) == already, "sent, and not in the log"
        # Nothing excuses a duplicate: where the record itself is refused, the message is removed without it.
        moods.take_all()
        if run.code or "the next run tries again" in run.stderr:
            # What was recorded as deferred is moved by the next run: until then nobody can retry it.
            world.program.run("flush")
        world.drain()
    except AssertionError as error:
        error.add_note(f"{step} was refused with {errno}: {run}")
        raise
    return run if met else None


@pytest.mark.parametrize("errno", ERRNOS if LONG else ["ENOSPC", "EACCES"])
def test_a_submission_refused_at_each_system_call_prints_no_id(tmp_path: Path, sink: Sink, errno: str) -> None:
    world = World(tmp_path / "home", sink)
    trace = tmp_path / "trace"
    world.same_calls_each_time()
    for _ in range(2):
        names = world.write(2)
        steps = kinds(calls_by_number(world, trace, "enqueue", *names, more=LOOKING))
        world.accepted += [int(Path(name).stem) for name in names]
        world.drain()
    chosen = some(steps, 4)
    met, unmet = refuse_all(chosen, lambda step: refuse_in_a_submission(world, errno, trace, step))
    assert sorted(set(world.sent())) == sorted(world.accepted), "what was refused is sent all the same"
    assert world.doubles == 0
    failed = sum(run.code != 0 and "2 accepted" not in run.stderr for run in met)
    print(f"enqueue, {errno}: {len(met)} of {len(chosen)} refusals met, {failed} submissions refused")
    assert unmet == []
    assert failed


def refuse_in_a_submission(world: World, errno: str, trace: Path, step: Step) -> Run | None:
    """Do as ``refuse_in_a_flush`` for a submission of two messages."""
    names = world.write(2)
    run, met = refused(world, trace, step, errno, "enqueue", *names)
    if run.code == 74 and "2 accepted" in run.stderr:
        world.accepted += [int(Path(name).stem) for name in names]
    elif run.code:
        if met:
            check_words(world, run, step)
        # Of a file that could not be read the others know nothing; each id that is printed is one that was taken.
        taken = [name for name in names if run.stdout and f"{name}: not accepted" not in run.stderr]
        assert len(run.stdout.splitlines()) == len(taken), (step, run)
        world.accepted += [int(Path(name).stem) for name in taken]
    else:
        assert len(run.stdout.splitlines()) == 2, (step, run)
        world.accepted += [int(Path(name).stem) for name in names]
    # The next submission makes the directory of this minute anew.
    world.drain()
    return run if met else None
