"""What each run finds again is told once an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from ucrmmail.delivery.concerns import Concerns
from ucrmmail.delivery.hourly import remember, were_told

NOW = 1_800_000_000.0
LINES = ["the drop directory waits: /spool: only 34.7MB free"]


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path)


def test_what_was_told_is_told_again_after_an_hour(directory: str) -> None:
    assert not were_told(directory, LINES, now=NOW)
    remember(directory, LINES, now=NOW)
    assert were_told(directory, LINES, now=NOW)
    assert were_told(directory, LINES, now=NOW + 3599.0)
    assert not were_told(directory, LINES, now=NOW + 3600.0)


def test_a_clock_that_was_set_back_has_it_told_again(directory: str) -> None:
    remember(directory, LINES, now=NOW)
    assert not were_told(directory, LINES, now=NOW - 60.0)


def test_other_figures_are_the_same_and_another_line_is_not(directory: str) -> None:
    remember(directory, LINES, now=NOW)
    assert were_told(directory, ["the drop directory waits: /spool: only 1MB free"], now=NOW)
    assert not were_told(directory, [*LINES, "/spool/drop/a.eml: Input/output error"], now=NOW)


def test_what_several_connections_say_is_the_same_as_what_one_says(directory: str) -> None:
    remember(directory, LINES, now=NOW)
    assert were_told(directory, [*LINES, LINES[0].replace("34.7MB", "1MB")], now=NOW)


def test_what_runs_meet_by_turns_is_told_once_an_hour_each(directory: str) -> None:
    both = [*LINES, "/log: No space left on device: 1 lines of the delivery log could not be written"]
    for lines in (LINES, both):
        remember(directory, lines, now=NOW)
    assert were_told(directory, LINES, now=NOW + 60.0)
    assert were_told(directory, both, now=NOW + 60.0)


def test_no_mark_is_left_for_more_than_an_hour_nor_when_all_is_mended(directory: str) -> None:
    for hours in range(3):
        remember(directory, [f"disk {'x' * hours}"], now=NOW + hours * 3600.0)
        assert len(list(Path(directory).iterdir())) == 1
    remember(directory, ["the clock was set back"], now=NOW)
    assert len(list(Path(directory).iterdir())) == 1
    remember(directory, [], now=NOW)
    assert list(Path(directory).iterdir()) == []


def test_the_mark_is_empty_so_that_a_full_disk_has_room_for_it(directory: str) -> None:
    remember(directory, LINES, now=NOW)
    assert [path.stat().st_size for path in Path(directory).iterdir()] == [0]


def test_what_another_process_of_a_run_met_is_hourly_too() -> None:
    ours, theirs = Concerns(), Concerns()
    ours.add_hourly(*LINES, exit_code=75)
    theirs.add_hourly(*LINES, "another", exit_code=75)
    ours.take_over(theirs)
    assert (ours.lines, ours.hourly, ours.exit_code) == ([*LINES, "another"], [*LINES, "another"], 75)


def test_where_nothing_is_met_again_no_run_ends_with_an_error() -> None:
    concerns = Concerns()
    concerns.add_hourly(exit_code=75)
    assert concerns.exit_code == 0
