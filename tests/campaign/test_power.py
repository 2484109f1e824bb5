"""What a power cut may take, read from the order of the system calls (reliability: "what is synced when").

A kernel may write anything that was not synced late, or never. So the trace must show, for whatever is promised, the
sync of its record before the step that relies on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.campaign.world import World
from tests.support.sink import Sink

CALLS = (
    "openat,pwrite64,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate,sendto,sendmsg,fallocate"
)
_LINE = re.compile(r"^\d+ +(?P<name>\w+)\((?P<rest>.*)$", re.MULTILINE)
_PATH = re.compile(r"^\d+<(?P<path>[^>]*)>")
_NUMBER = re.compile(r"Subject: number (\d+)")


@dataclass(frozen=True)
class Call:
    """One system call of the trace: its name, the file of its first argument, and all of its arguments."""

    name: str
    path: str
    rest: str


def calls_of(world: World, trace: Path, *arguments: str, stdin: bytes = b"", code: int = 0) -> list[Call]:
    """Run the program and return its calls, in the order in which the kernel saw them begin."""
    run = world.traced(["-y", "-s", "400", "-o", str(trace), "-e", f"trace={CALLS}"], *arguments, stdin=stdin)
    assert run.code == code, run
    calls = []
    for found in _LINE.finditer(trace.read_text()):
        path = _PATH.match(found["rest"])
        calls.append(Call(found["name"], path["path"] if path else "", found["rest"]))
    return calls


def places(calls: list[Call], name: str, path: str = "", text: str = "") -> list[int]:
    """Return where calls of this name stand, to a file that ends so, with this in their arguments."""
    return [
        number
        for number, call in enumerate(calls)
        if call.name in name.split("|") and call.path.endswith(path) and text in call.rest
    ]


def synced_between(calls: list[Call], path: str, first: int, last: int) -> bool:
    return any(first < number < last for number in places(calls, "fsync|fdatasync", path))


@pytest.mark.requirement("R3")
def test_a_message_is_removed_only_when_the_record_of_it_is_on_the_disk(tmp_path: Path, sink: Sink) -> None:
    world = World(tmp_path / "home", sink, smtp="connections = 1")
    world.enqueue(30)
    ids = [message["queue_id"] for message in world.program.queue()]
    sink.on_rcpt = lambda _address: "450 4.2.1 later" if len(sink.messages) == 20 else None
    calls = calls_of(world, tmp_path / "trace", "flush", code=0)
    moved = 0
    for queue_id in ids:
        (record, *_) = places(calls, "pwrite64", "/journal", queue_id)
        moves = places(calls, "unlink|rename", "", f'/{queue_id}"')
        # A directory that is missing yet is made, and the rename repeated.
        moves = [n for n in moves if "/queue/" in calls[n].rest and "ENOENT" not in calls[n].rest]
        assert len(moves) == 1, queue_id
        assert synced_between(calls, "/journal", record, moves[0]), queue_id
        moved += 1
    assert moved == 30
    # The journal forgets why only when the steps themselves are on the disk.
    (cleared, *_) = places(calls, "ftruncate", "/journal")[1:]
    steps = [number for number in places(calls, "unlink|rename", "", "/queue/") if number < cleared]
    for directory in {str(Path(name).parent) for n in steps for name in re.findall(r'"([^"]*)"', calls[n].rest)}:
        assert synced_between(calls, directory, max(steps), cleared), directory


@pytest.mark.requirement("R3", "R19")
def test_a_body_leaves_only_when_the_outcome_before_it_is_written_and_its_place_is_announced(
    tmp_path: Path, sink: Sink
) -> None:
    world = World(tmp_path / "home", sink, throttler='message_limit = 1000\nduration = "1h"')
    world.enqueue(25)
    calls = calls_of(world, tmp_path / "trace", "flush")
    bodies = [number for number in places(calls, "sendto|sendmsg") if _NUMBER.search(calls[number].rest)]
    outcomes = places(calls, "pwrite64", "/journal", "relayed ")
    reserved = places(calls, "pwrite64", "/ledger", "reserve ")
    blocks = places(calls, "pwrite64", "/ledger", "block ")
    assert (len(bodies), len(outcomes), len(reserved)) == (25, 25, 25)
    for number, body in enumerate(bodies):
        assert reserved[number] < body
        assert number == 0 or outcomes[number - 1] < body
        # The block that holds this reservation was synced before the message could leave.
        block = max(place for place in blocks if place < reserved[number])
        assert synced_between(calls, "/ledger", block, body)


@pytest.mark.requirement("R3")
def test_with_sync_each_every_outcome_is_on_the_disk_before_the_next_body(tmp_path: Path, sink: Sink) -> None:
    world = World(tmp_path / "home", sink, spool='sync = "each"')
    world.enqueue(6)
    calls = calls_of(world, tmp_path / "trace", "flush")
    bodies = [number for number in places(calls, "sendto|sendmsg") if _NUMBER.search(calls[number].rest)]
    outcomes = places(calls, "pwrite64", "/journal", "relayed ")
    for outcome, body in zip(outcomes, bodies[1:], strict=False):
        assert synced_between(calls, "/journal", outcome, body)
    assert len(bodies) == len(outcomes) == 6


def replaced_durably(calls: list[Call], target: str) -> None:
    """Assert: written to another name, synced, renamed, and the directory synced; the target is never opened to write."""
    (rename, *more) = places(calls, "rename|renameat|renameat2", "", f'"{target}"')
    assert more == []
    temporary = re.findall(r'"([^"]*)"', calls[rename].rest)[0]
    written = max(places(calls, "write", temporary))
    assert synced_between(calls, temporary, written, rename)
    assert synced_between(calls, str(Path(target).parent), rename, len(calls))
    assert not [place for place in places(calls, "openat", "", f'"{target}"') if "O_WRONLY" in calls[place].rest]


@pytest.mark.requirement("R3", "S16")
def test_the_configuration_and_the_secrets_are_replaced_in_one_step(tmp_path: Path, sink: Sink) -> None:
    world = World(tmp_path / "home", sink, smtp='username = "billing@isp.example"', credentials='source = "file"')
    config, secrets = str(world.program.config), str(world.program.home / "secrets.toml")
    replaced_durably(calls_of(world, tmp_path / "trace", "config", "set", "smtp.timeout", "30s"), config)
    arguments = ("config", "set", "smtp.password", "--stdin", "--store", "file")
    for password in (b"first", b"second"):
        replaced_durably(calls_of(world, tmp_path / "trace", *arguments, stdin=password), secrets)
