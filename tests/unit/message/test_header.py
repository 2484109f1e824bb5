"""Where a header ends, what its fields are, and that no other byte is touched."""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.injections import INJECTIONS
from ucrmmail.errors import DataError
from ucrmmail.message.header import (
    by_name,
    format_date,
    joined,
    new_field,
    split,
    split_canonical,
    unsendable,
    value_of,
    without,
)
from ucrmmail.message.phrase import encoded_words, phrase


def header_and_body(raw: bytes) -> tuple[bytes, bytes]:
    fields, body = split(raw)
    return joined(fields), body


@pytest.mark.parametrize(
    ("raw", "header", "body"),
    [
        # line ends
        (b"A: b\n\nhi\n", b"A: b\r\n", b"hi\r\n"),
        (b"A: b\r\n\r\nhi\r\n", b"A: b\r\n", b"hi\r\n"),
        (b"A: b\r\rhi\r", b"A: b\r\n", b"hi\r\n"),
        (b"A: b\r\nC: d\n\nhi\r\nho\n", b"A: b\r\nC: d\r\n", b"hi\r\nho\r\n"),
        (b"A: b\n\r\nhi", b"A: b\r\n", b"hi\r\n"),
        (b"A: b\n\nhi\rho", b"A: b\r\n", b"hi\r\nho\r\n"),
        (b"A: b\r\n\r\nhi\n\rho\r\r\n", b"A: b\r\n", b"hi\r\n\r\nho\r\n\r\n"),
        # a CR in a header begins nothing
        (b"A: b\rBcc: c\n\nhi\n", b"A: b Bcc: c\r\n", b"hi\r\n"),
        (b"A: b\n\rBcc: c\n\nhi\n", b"A: b\r\n Bcc: c\r\n", b"hi\r\n"),
        (b"A: b\r\r\nC: d\r\r\n\r\r\nhi\r\n", b"A: b\r\nC: d\r\n", b"hi\r\n"),
        (b"A: b\r\r\rC: d\n\nhi\n", b"A: b   C: d\r\n", b"hi\r\n"),
        (b"From x\rBcc: e\nA: b\rBcc: c\n\nhi\n", b"A: b Bcc: c\r\n", b"hi\r\n"),
        # folded lines
        (b"A: b\n c\n\td\nE: f\n\n", b"A: b\r\n c\r\n\td\r\nE: f\r\n", b""),
        (b"A: b\n \n c\n\nhi\n", b"A: b\r\n \r\n c\r\n", b"hi\r\n"),
        (b"A:\n\nhi\n", b"A:\r\n", b"hi\r\n"),
        (b"A : b\n\nhi\n", b"A : b\r\n", b"hi\r\n"),
        # no empty line, no body, nothing
        (b"A: b", b"A: b\r\n", b""),
        (b"A: b\n", b"A: b\r\n", b""),
        (b"A: b\n\n", b"A: b\r\n", b""),
        (b"A: b\n\n\n", b"A: b\r\n", b"\r\n"),
        (b"", b"", b""),
        (b"\n", b"", b""),
        (b"\r", b"", b""),
        (b"\nA: b\n", b"", b"A: b\r\n"),
        # a first line that is no field: all is body
        (b"All is well\n", b"", b"All is well\r\n"),
        (b"All is well: really\n", b"", b"All is well: really\r\n"),
        (b" A: b\n", b"", b" A: b\r\n"),
        (b": b\n", b"", b": b\r\n"),
        (b"All is\rwell\n", b"", b"All is\r\nwell\r\n"),
        (b"\xef\xbb\xbfA: b\n\nhi\n", b"", b"\xef\xbb\xbfA: b\r\n\r\nhi\r\n"),
        # a line that is no field begins the body
        (b"A: b\nDear Joe\nC: d\n\nhi\n", b"A: b\r\n", b"Dear Joe\r\nC: d\r\n\r\nhi\r\n"),
        (b"A: b\nB\0cc: c\n\n", b"A: b\r\n", b"B\0cc: c\r\n\r\n"),
        (b"A: b\nB\x0bcc: c\n", b"A: b\r\n", b"B\x0bcc: c\r\n"),
        (b"A: b\nFrom x\nC: d\n", b"A: b\r\n", b"From x\r\nC: d\r\n"),
        # separators of mbox
        (b"From joe Mon Nov 23 10:00:00 2026\nA: b\n\nhi\n", b"A: b\r\n", b"hi\r\n"),
        (b">From joe Mon Nov 23 10:00:00 2026\r\nA: b\r\n\r\nhi\r\n", b"A: b\r\n", b"hi\r\n"),
        (b"From x\n>From y\nA: b\n", b"A: b\r\n", b""),
        (b"From x\r\nA: b\nC: d\n", b"A: b\r\nC: d\r\n", b""),
        (b"From x\rA: b\r\rhi\r", b"A: b\r\n", b"hi\r\n"),
        (b"From now on, all is well.\n", b"", b"From now on, all is well.\r\n"),
        (b"From now on\nall is well.\n", b"", b"From now on\r\nall is well.\r\n"),
        (b"From x", b"", b"From x\r\n"),
        (b"From x\n\nhi\n", b"", b"From x\r\n\r\nhi\r\n"),
        (b"From: x\n\nhi\n", b"From: x\r\n", b"hi\r\n"),
    ],
)  # fmt: skip
def test_header_and_body(raw: bytes, header: bytes, body: bytes) -> None:
    assert header_and_body(raw) == (header, body)


RAW = st.lists(
    st.sampled_from([b"A: b", b"Bcc: c", b"\r", b"\n", b"\r\n", b"\r\n", b"\n", b" ", b"x", b"From y", b":", b"\0", b"\xff"]),
    max_size=30,
).map(b"".join)  # fmt: skip


@given(RAW)
def test_what_comes_out_has_no_other_line_end_than_crlf(raw: bytes) -> None:
    header, body = header_and_body(raw)
    for part in (header, body):
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", part)
        assert not part or part.endswith(b"\r\n")
    assert b"\r\n\r\n" not in header
    assert not header.startswith((b" ", b"\t", b"\r\n"))


@given(RAW)
def test_splitting_what_was_split_changes_nothing(raw: bytes) -> None:
    header, body = header_and_body(raw)
    again = split(header + b"\r\n" + body)
    assert (joined(again[0]), again[1]) == (header, body)


@given(st.binary(max_size=200), st.sampled_from([b"\n", b"\r\n"]))
def test_bytes_that_are_no_line_ends_stay_in_their_order(junk: bytes, end: bytes) -> None:
    raw = b"A: b" + end + end + junk
    _fields, body = split(raw)
    assert re.sub(rb"[\r\n]", b"", body) == re.sub(rb"[\r\n]", b"", junk)


def test_fields_are_found_in_any_case_and_form() -> None:
    fields, _body = split_canonical(b"To: a\r\nTO : b\r\nto:\r\n c\r\nX-To: d\r\n\r\n")
    assert [value_of(field) for field in by_name(fields)["to"]] == ["a", "b", "c"]
    assert joined(without(fields, ("to",))) == b"X-To: d\r\n"


def test_a_value_is_unfolded_and_bytes_that_are_not_utf8_are_kept() -> None:
    assert value_of(b"A: b\r\n c\r\n\t d \r\n") == "b c\t d"
    assert value_of(b"A: \xc3\xbc\r\n") == "ü"
    assert value_of(b"A: \xfc\r\n") == "\udcfc"


@pytest.mark.requirement("S5")
@pytest.mark.parametrize("value", INJECTIONS, ids=ascii)
def test_a_new_field_never_holds_a_second_line(value: str) -> None:
    with pytest.raises(DataError, match="Sender"):
        new_field("Sender", value)
    with pytest.raises(DataError):
        phrase(value)
    with pytest.raises(DataError):
        encoded_words(value)


def test_forty_injections_are_tried() -> None:
    assert len(set(INJECTIONS)) == 40


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Joe Smith", '"Joe Smith"'),
        ('Joe "J" \\ Smith', '"Joe \\"J\\" \\\\ Smith"'),
        ("Joe, <eve@example.com>", '"Joe, <eve@example.com>"'),
        ("Jörg K", "=?utf-8?q?J=C3=B6rg_K?="),
        ("ü" * 12, "=?utf-8?q?" + "=C3=BC" * 10 + "?= =?utf-8?q?" + "=C3=BC" * 2 + "?="),
    ],
)
def test_a_display_name_is_quoted_or_encoded(name: str, written: str) -> None:
    assert phrase(name) == written


@pytest.mark.parametrize("zone", ["UTC", "Europe/Prague", "America/St_Johns", "Asia/Kathmandu"])
@pytest.mark.parametrize("now", [0.0, 1795431959.9, 1782000000.0, 951782400.0])
def test_a_date_is_read_back_as_the_same_second_in_every_zone(
    zone: str, now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert parsedate_to_datetime(format_date(now)).timestamp() == int(now)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("length", [0, 1, 997, 998])
def test_a_line_of_998_bytes_can_be_sent_wherever_it_stands(length: int) -> None:
    line = b"x" * length
    for data in (line, line + b"\r\n", b"\r\n" + line, b"a\r\n" + line + b"\r\nb\r\n", (line + b"\r\n") * 20):
        assert not unsendable(data)


@pytest.mark.parametrize("length", [999, 1000, 1001, 5000])
def test_a_line_of_999_bytes_cannot_be_sent_wherever_it_stands(length: int) -> None:
    line = b"x" * length
    for data in (line, line + b"\r\n", b"\r\n" + line, b"a\r\n" + line + b"\r\nb\r\n", b"a\r\n" * 999 + line):
        assert unsendable(data)


@given(st.lists(st.integers(990, 1005) | st.integers(0, 100), max_size=6))
def test_unsendable_is_what_counting_says(lengths: list[int]) -> None:
    data = b"\r\n".join(b"x" * length for length in lengths)
    assert unsendable(data) == any(length > 998 for length in lengths)


def test_a_nul_cannot_be_sent() -> None:
    assert unsendable(b"a\0b")
