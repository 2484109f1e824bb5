"""What cannot be looked into, moved or removed, and what does not belong there: told once, and all else goes on."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import as_user, at_each_call
from tests.support.spools import MAX_DELAY_S, NOW, StillClock, new_spool, place_of, put, settle
from tests.unit.spool.test_queue import KINDS, hostile
from ucrmmail.spool.aside import Aside
from ucrmmail.spool.moves import Moves
from ucrmmail.spool.queue import Spool

FLUSHER = 23456


@pytest.fixture
def directory() -> Iterator[str]:
    """A spool that an ordinary user can reach."""
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        yield new_spool(Path(top))


def run(spool: Spool, now: float = NOW) -> list[str]:
    """The beginning, the middle and the end of a run; returns what was due."""
    spool.recover(now)
    spool.promote_due(now, MAX_DELAY_S)
    due = list(spool.due())
    spool.count_waiting()
    spool.next_due_at()
    spool.finish()
    return due


def test_to_tell_of_each_message_of_a_long_queue_once_costs_no_square_of_their_number() -> None:
    compared = 0

    class Line(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return super().__eq__(other)

        __hash__ = str.__hash__

    aside = Aside(Moves("/spool"))
    lines = [Line(f"{number} cannot be read") for number in range(1000)]
    for line in (*lines, *lines):
        aside.tell(line)
    assert aside.problems == lines
    assert compared < 10 * len(lines)


@pytest.mark.requirement("R4", "S19")
@pytest.mark.parametrize(
    "place",
    [
        "queue/0-20261123T1000", "deferred/20201231T2359", "deferred/20991231T2359", "sent/20200101T00",
        "tmp/1-20261120T090000.000000-aaaaaa",
    ],
)  # fmt: skip
def test_a_place_that_cannot_be_looked_into_keeps_nobody_from_the_others(directory: str, place: str) -> None:
    good = put(directory)
    path = Path(directory, place)
    if place.startswith("tmp"):
        path.touch()
        os.utime(path, (NOW - 3 * 86400,) * 2)
    else:
        path.mkdir()
        (path / "1-20261120T090000.000000-aaaaaa").touch()
    for parent, _, names in os.walk(directory):
        for each in (parent, *(f"{parent}/{name}" for name in names)):
            os.chown(each, FLUSHER, FLUSHER)
    path.chmod(0)
    with as_user(FLUSHER):
        spool = Spool(directory, clock=StillClock())
        assert run(spool) == [good]
        assert spool.problems == [f"{path}: Permission denied; give it back its owner and mode, or mend the disk"]
        assert spool.corrupt == []


@pytest.mark.requirement("R4", "S19")
@pytest.mark.parametrize(("place", "told"), [("sent", 1), ("drop", 0)])
def test_a_whole_place_that_holds_no_mail_to_send_keeps_none_from_leaving(
    directory: str, place: str, told: int
) -> None:
    """What drop/ holds is taken, and that it cannot be read is told, by another."""
    good = put(directory)
    for parent, _, names in os.walk(directory):
        for each in (parent, *(f"{parent}/{name}" for name in names)):
            os.chown(each, FLUSHER, FLUSHER)
    Path(directory, place).chmod(0)
    with as_user(FLUSHER):
        spool = Spool(directory, clock=StillClock())
        assert run(spool) == [good]
    assert [problem.split(": ")[0] for problem in spool.problems] == [f"{directory}/{place}"] * told


@pytest.mark.requirement("R4", "S19")
def test_what_may_not_be_moved_out_of_a_minute_stays_and_is_told_once(directory: str) -> None:
    spool = Spool(directory, clock=StillClock())
    ids = [put(directory, now=NOW + number) for number in range(3)]
    for queue_id in ids[:2]:
        settle(spool, queue_id, "deferred", in_s=60)
    spool.finish()
    minute = Path(directory, "deferred", "20261123T1107")
    for parent, _, names in os.walk(directory):
        for each in (parent, *(f"{parent}/{name}" for name in names)):
            os.chown(each, FLUSHER, FLUSHER)
    minute.chmod(0o500)
    with as_user(FLUSHER):
        spool = Spool(directory, clock=StillClock())
        assert run(spool, NOW + 600) == ids[2:]
        assert spool.problems == [f"{minute}: not all that is due can come back into the queue: Permission denied"]


@pytest.mark.requirement("R4", "S19")
def test_a_minute_whose_messages_cannot_be_looked_at_is_told_once(directory: str) -> None:
    spool = Spool(directory, clock=StillClock())
    for number in range(2):
        settle(spool, put(directory, now=NOW + number), "deferred", in_s=60)
    spool.finish()
    minute = Path(directory, "deferred", "20261123T1107")
    for parent, _, _ in os.walk(directory):
        os.chown(parent, FLUSHER, FLUSHER)
    os.chown(f"{directory}/journal", FLUSHER, FLUSHER)
    minute.chmod(0o400)
    with as_user(FLUSHER):
        spool = Spool(directory, clock=StillClock())
        assert run(spool, NOW + 600) == []
        assert [problem.split("; ")[0] for problem in spool.problems] == [f"{minute}: Permission denied"]


@pytest.mark.requirement("S15", "S19")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["20200101T00", "20200101T00/1-20200101T000000.000000-aaaaaa"])
def test_a_hostile_thing_in_sent_stops_no_run_and_is_not_followed(
    directory: str, tmp_path: Path, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0 and kind in ("device", "somebody else's"):
        pytest.skip("only root can make one")
    monkeypatch.chdir(tmp_path)
    good = put(directory)
    (tmp_path / "secret").write_text("keep")
    path = Path(directory, "sent", name)
    path.parent.mkdir(exist_ok=True)
    hostile(path, kind, tmp_path / "secret")
    for _ in range(2):
        spool = Spool(directory, clock=StillClock())
        assert run(spool) == [good]
        assert spool.problems == []
        assert os.listdir(f"{directory}/sent") == []
    assert (tmp_path / "secret").read_text() == "keep"


@pytest.mark.requirement("S15")
def test_what_was_relayed_is_not_looked_for_through_a_link(directory: str, tmp_path: Path) -> None:
    names = ["thesis.txt", "1-20200101T000000.000000-aaaaaa"]
    for name in names:
        (tmp_path / name).write_text("precious")
    Path(directory, "sent", "20200101T00").symlink_to(tmp_path)
    spool = Spool(directory, clock=StillClock())
    run(spool)
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert spool.corrupt == [("20200101T00", "it does not belong there")]


@pytest.mark.requirement("S15")
def test_only_messages_are_removed_from_an_hour(directory: str) -> None:
    hour = Path(directory, "sent", "20200101T00")
    hour.mkdir()
    for name in ("notes", "1-20200101T000000.000000-aaaaaa"):
        (hour / name).touch()
    run(Spool(directory, clock=StillClock()))
    assert not hour.exists()
    assert sorted(os.listdir(f"{directory}/corrupt")) == ["notes", "notes.reason"]


@pytest.mark.requirement("R4")
def test_what_cannot_be_removed_is_told_and_what_no_file_can_be_opened_for_is_raised(directory: str) -> None:
    good = put(directory)
    Path(directory, "sent", "20200101T00").mkdir()
    Path(directory, "sent", "20200101T00", "1-20200101T000000.000000-aaaaaa").touch()
    replaced = Path(directory, "account.json.4242.0badcafe.tmp")
    replaced.touch()
    os.utime(replaced, (NOW - 100,) * 2)

    def refuse(number: int) -> Spool:
        def fail(_: int, _name: str) -> None:
            raise OSError(number, os.strerror(number))

        spool = Spool(directory, clock=StillClock())
        with at_each_call(fail, ("unlink",)):
            spool.recover(NOW)
        return spool

    spool = refuse(errno.EPERM)
    assert [problem.split(": ")[0] for problem in spool.problems] == [
        str(replaced), f"{directory}/sent/20200101T00/1-20200101T000000.000000-aaaaaa"
    ]  # fmt: skip
    assert list(spool.due()) == [good]
    with pytest.raises(OSError, match="Cannot allocate memory"):
        refuse(errno.ENOMEM)


def test_a_stray_message_that_cannot_be_moved_to_its_bucket_is_told(directory: str) -> None:
    good, stray = put(directory), put(directory, now=NOW + 60)
    os.rename(f"{directory}/queue/{stray[:15]}/{stray}", f"{directory}/queue/{good[:15]}/{stray}")
    os.rmdir(f"{directory}/queue/{stray[:15]}")

    def full(_: int, _name: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spool = Spool(directory, clock=StillClock())
    with at_each_call(full, ("mkdir",)):
        assert list(spool.due()) == [good]
    assert "No space left" in spool.problems[0]
    assert place_of(directory, stray) == "queue"
