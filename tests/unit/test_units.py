"""Durations, sizes and rates as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.units import format_duration, format_size, parse_duration, parse_rate, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24h", 86400), ("90s", 90), ("1h30m", 5400), ("1.5d", 129600), ("0", 0), ("0s", 0), ("250ms", 0.25),
        ("2w", 1209600), (" 5 m ", 300), ("1H", 3600), ("1h 30m", 5400),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "h", "1x", "1.2.3h", "-5s", "+5s", "5s;", "1h30", "٣h", "nan", "inf", ".s", "9" * 400 + "d", "1e3s"],
)
def test_what_is_no_duration_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a duration|longer than a century"):
        parse_duration(text)


@given(st.integers(0, 10**11))
def test_a_duration_that_was_written_is_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "size"),
    [("10MB", 10_000_000), ("1.5 GiB", 1_610_612_736), ("4096", 4096), ("1k", 1000), ("50mb", 50_000_000), ("0", 0)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "10XB", "-1MB", "1 2", "1.2.3kB", "1MB2", "9" * 400])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_550_000, "1.6MB"), (5 * 10**12, "5000GB")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


def test_rates() -> None:
    assert parse_rate("30/1m") == (30, 60)
    assert parse_rate(" 10000 / 24h ") == (10000, 86400)


@pytest.mark.parametrize(
    "text", ["", "30", "30/", "/1m", "0/1m", "-1/1m", "1.5/1m", "30/0s", "x/1m", "30/1x", "9" * 5000 + "/1m"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a rate|not a duration|no duration"):
        parse_rate(text)


@pytest.mark.parametrize("parse", [parse_duration, parse_size, parse_rate])
def test_a_very_long_text_is_not_repeated_whole(parse: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="is not a") as raised:
        parse("x" * 100_000)
    assert len(str(raised.value)) < 250
