"""Lines that are told once only are kept until they were: whatever stands in their file, and however many there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ucrmmail.delivery.concerns import Concerns
from ucrmmail.delivery.untold import NAME, Untold, more_line


@pytest.fixture
def untold(tmp_path: Path) -> Untold:
    return Untold(str(tmp_path / NAME))


def test_what_was_kept_is_read_once_each_and_in_order_until_it_is_forgotten(untold: Untold) -> None:
    assert untold.read().lines == ()
    untold.add(["b failed: \udcff\n☃", "a"])
    Untold(untold.path).add(["a", "c"])
    kept = untold.read()
    assert (kept.lines, kept.more) == (("b failed: \udcff\n☃", "a", "c"), 0)
    assert os.stat(untold.path).st_mode & 0o777 == 0o600
    untold.forget(kept)
    assert untold.read().lines == ()
    untold.forget(untold.read())


def test_what_another_run_has_added_meanwhile_is_not_forgotten(untold: Untold) -> None:
    untold.add(["a"])
    kept = untold.read()
    untold.add(["b"])
    untold.forget(kept)
    assert untold.read().lines == ("a", "b")


@pytest.mark.parametrize("before", [[], ["a"], ["b", "a"]])
def test_the_line_that_was_added_last_can_be_taken_back(untold: Untold, before: list[str]) -> None:
    untold.add([*before, "b\udcff"])
    untold.take_back("a")
    untold.take_back("b")
    assert untold.read().lines == (*before, "b\udcff")
    untold.take_back("b\udcff")
    assert untold.read().lines == tuple(before)
    untold.add(["c"])
    assert untold.read().lines == (*before, "c")


def test_a_line_that_ends_as_another_does_is_not_taken_for_it(untold: Untold) -> None:
    untold.add(['a"b'])
    untold.take_back("b")
    assert untold.read().lines == ('a"b',)


def test_what_did_not_come_about_is_not_told_and_what_was_told_before_stays(untold: Untold) -> None:
    concerns = Concerns(untold=untold)
    for line in ("moved", "stays"):
        with concerns.telling(line):
            assert line in Untold(untold.path).read().lines
    for line in ("stays", "fails"):
        with pytest.raises(PermissionError), concerns.telling(line):
            raise PermissionError
    assert untold.read().lines == ("moved", "stays")
    with concerns.telling("fails"):
        pass
    assert untold.read().lines == ("moved", "stays", "fails")


def test_the_file_has_a_bound_and_what_found_no_room_is_counted(untold: Untold) -> None:
    lines = [f"{number} {'x' * 1000}" for number in range(300_000)]
    counted = untold.add(lines[:1000])
    assert 0 < counted < 1000
    assert untold.add([lines[0], "short"]) == 2
    kept = untold.read()
    assert kept.lines == tuple(lines[: 1000 - counted])
    assert kept.more == counted + 2
    untold.add(lines)
    untold.add(lines)
    assert os.stat(untold.path).st_size < 1 << 19
    assert untold.read().more >= 100_000
    assert more_line(untold.read().more).startswith("at least ")


def test_half_a_line_of_one_who_was_killed_spoils_no_other(untold: Untold) -> None:
    Path(untold.path).write_bytes(b'"a"\n"1-2026')
    untold.add(["b"])
    *lines, damaged = untold.read().lines
    assert lines == ["a", "b"]
    assert damaged.startswith(f"{untold.path} was damaged: ")


@pytest.mark.requirement("R29")
@pytest.mark.parametrize(
    "content", [b"[" * 3000, b"NaN", b"\0" * 100, b"\xff", b"1\n" * 3, b'{"a": 1}', b'"\xff"'], ids=repr
)
def test_damage_is_told_once_and_hides_nothing_else(untold: Untold, content: bytes) -> None:
    Path(untold.path).write_bytes(b'"a"\n' + content + b'\n"b"\n')
    kept = untold.read()
    assert (*kept.lines[:2], len(kept.lines)) == ("a", "b", 3)
    assert "was damaged" in kept.lines[2]
    untold.forget(kept)
    assert untold.read().lines == ()


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def hard_link(path: Path) -> None:
    (path.parent / "other").write_text('"other"\n')
    os.link(path.parent / "other", path)


def link(path: Path) -> None:
    (path.parent / "other").write_text('"other"\n')
    path.symlink_to(path.parent / "other")


@pytest.mark.requirement("S15")
@pytest.mark.parametrize("make", [os.mkfifo, huge, link, hard_link])
@pytest.mark.parametrize("adds_first", [True, False])
def test_what_no_run_has_left_there_is_in_nobodys_way(
    untold: Untold, make: Callable[[Path], None], *, adds_first: bool
) -> None:
    make(Path(untold.path))
    if adds_first and make is not huge:
        untold.add(["a"])
        assert untold.read().lines == ("a",)
    else:
        kept = untold.read()
        (line,) = kept.lines
        assert line.startswith(untold.path)
        untold.forget(kept)
        assert untold.read().lines == ()
    other = Path(untold.path).parent / "other"
    assert not other.exists() or other.read_text() == '"other"\n'


def test_a_directory_in_its_place_is_told_and_keeps_nothing(untold: Untold) -> None:
    Path(untold.path).mkdir()
    concerns = Concerns(untold=untold)
    assert not concerns.add_once("a failed")
    concerns.recall()
    assert concerns.lines[0].startswith(f"{untold.path} cannot be read (")
    assert concerns.lines[1:] == ["a failed"]


def test_a_run_tells_first_what_others_have_left_and_each_line_once(untold: Untold) -> None:
    Concerns(untold=untold).add_once("earlier")
    concerns = Concerns(untold=untold)
    concerns.add("again and again", exit_code=74)
    assert concerns.add_once("now")
    # A process of the same run that dies has told nobody else.
    Concerns(untold=untold).add_once("of one who died", "now")
    kept = concerns.recall()
    assert concerns.lines == ["earlier", "now", "of one who died", "again and again"]
    assert kept is not None
    untold.forget(kept)
    assert untold.read().lines == ()


def test_of_what_was_only_counted_a_run_knows_its_own_lines(untold: Untold) -> None:
    lines = [f"{number} {'x' * 1000}" for number in range(1000)]
    concerns = Concerns(untold=untold)
    concerns.add_once(*lines)
    concerns.recall()
    assert concerns.lines == lines
    later = Concerns(untold=untold)
    later.recall()
    assert later.lines[-1] == more_line(concerns.counted)
    assert len(later.lines) == 1000 - concerns.counted + 1
