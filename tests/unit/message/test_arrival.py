"""A message that arrives in pieces, too large for the memory, becomes byte by byte what it would be in memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.scratch import MemoryScratch, cut, in_pieces
from tests.support.submission import submit
from tests.unit.message.test_prepare_properties import ADDRESSES, ENDS, FIELDS, MESSAGES, PIECES, message
from ucrmmail.errors import DataError
from ucrmmail.message.arrival import Arrived, arrived
from ucrmmail.message.header import LARGEST_HEADER, MOST_FIELDS
from ucrmmail.message.prepare import LARGEST_IN_MEMORY, Prepared, gather

# Pieces begin to matter behind what tells how a message begins: a kilobyte.
LONG_FIELD = b"X-Padding: " + b"word " * 210
LONG_WORD = b"w" * 1200


def outcome(raw: bytes | Arrived, **options: Any) -> dict[str, object] | str:
    """Return all that a message becomes, or why it is refused."""
    try:
        prepared = submit(raw, addresses=ADDRESSES, **options)
    except DataError as error:
        return f"{error.what} {error.why} {error.remedy}"
    return {name: getattr(prepared, name) for name in (*Prepared.__slots__, "message") if name != "content"}


def assert_the_same(raw: bytes, piece_bytes: int, window_bytes: int) -> None:
    arrived = in_pieces(raw, piece_bytes, window_bytes)
    assert len(arrived) == len(raw)
    assert outcome(arrived) == outcome(raw)


@pytest.mark.requirement("R13")
@given(MESSAGES, st.integers(1, 40), st.sampled_from([1, 2, 3, 7, 64, 999, 1 << 18]))
def test_in_pieces_it_is_what_it_is_as_a_whole(raw: bytes, piece_bytes: int, window_bytes: int) -> None:
    assert_the_same(raw, piece_bytes, window_bytes)


WORDS = st.lists(
    st.sampled_from([*PIECES, *ENDS, *FIELDS, b"\r", b":", b" ", b"a", b"From x", LONG_WORD, LONG_FIELD]), max_size=14
).map(b"".join)


@pytest.mark.requirement("R13")
@given(WORDS, st.integers(1, 40), st.sampled_from([1, 2, 3, 7, 64, 999, 1 << 18]))
@example(LONG_WORD, 10, 10)
@example(LONG_WORD + b":", 10, 10)
@example(LONG_WORD + b" : x", 10, 10)
@example(LONG_WORD + b" :\rx\n", 10, 10)
@example(LONG_WORD + b" x : x", 10, 10)
@example(b"From " + LONG_WORD, 10, 10)
@example(b"From " + LONG_WORD + b"\nTo: a\n\nhi", 10, 10)
@example(b"From x\r>From y\r" + LONG_FIELD + b"\r\rhi\r", 10, 10)
@example(LONG_FIELD + b"\r\r\n\r\r\nhi\r\rhi", 10, 10)
@example(LONG_FIELD + b"\rno\r\n" + LONG_FIELD + b"\n\rno field\rat all\r", 10, 10)
@example(LONG_FIELD + b"\nno field\rat all\n\nhi\rthere", 10, 10)
def test_what_no_program_would_write_is_the_same_in_pieces(raw: bytes, piece_bytes: int, window_bytes: int) -> None:
    assert_the_same(raw, piece_bytes, window_bytes)


@pytest.mark.requirement("R13")
def test_pieces_of_every_size_make_the_same_message() -> None:
    dice = random.Random(20261126)
    for number in range(12):
        fields = [*dice.choices(FIELDS, k=4), *[LONG_FIELD] * (number % 3)]
        lines = [(dice.choice([*PIECES, b"line " * 40]), dice.choice(ENDS)) for _ in range(12)]
        raw = message(fields, lines, dice.choice([b"\n", b"\r\n", b"\r\r\n"]))
        expected = outcome(raw)
        for piece_bytes in {*range(1, 20), *range(20, len(raw) + 1, 389)}:
            assert outcome(in_pieces(raw, piece_bytes, dice.choice([5, 50, 500]))) == expected


MIME = b"From: a@isp.example\r\nMIME-Version: 1.0\r\n"
LONG_LINES = [
    b"h\xc3\xa9 " * 4000, b"x" * 9000, b"=C3=A9" * 2000, b". " * 5000, b"aGVs" * 3000 + b"\r\n" + b"bG8=" * 9, b"\0\0",
    b" " * 3000 + b".", b"\t" * 1500 + b"\r\n.\r\n" + b"." * 5000, b"=" * 6000 + b"\r\n" + b"a" * 999, b"x" * 997 + b"\xe9" * 9,
]  # fmt: skip


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("line", LONG_LINES, ids=range(len(LONG_LINES)))
@pytest.mark.parametrize("encoding", [b"", b"8bit", b"base64", b"quoted-printable", b"x-odd"])
def test_a_body_that_has_to_be_encoded_is_the_same_in_pieces(line: bytes, encoding: bytes) -> None:
    field = b"Content-Transfer-Encoding: " + encoding + b"\r\n" if encoding else b""
    for head in (MIME + field, b"Subject: x\r\n" + field):
        for tail in (b"", b"\r\nshort =3D \r\n\r\n", b"\r\n" + line):
            raw = head + b"\r\n" + line + tail
            expected = outcome(raw)
            # Byte by byte takes longest: not for what is the same line twice.
            for piece_bytes, window_bytes in ((97, 7 if line in tail else 1), (4096, 31), (5000, 1000), (10_000, 4097)):
                assert outcome(in_pieces(raw, piece_bytes, window_bytes)) == expected


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("line", LONG_LINES, ids=range(len(LONG_LINES)))
def test_parts_that_have_to_be_encoded_are_the_same_in_pieces(line: bytes) -> None:
    inner = b"--i\r\nContent-Type: text/plain\r\n\r\n" + line + b"\r\n--i--\r\n"
    raw = (
        MIME + b"Content-Type: multipart/mixed; boundary=o\r\n\r\nA preamble\r\n--o\r\n"
        b"Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n" + inner
        + b"\r\n--o \r\nContent-Transfer-Encoding: base64\r\n\r\n" + line + b"\r\n--ox\r\n--o\r\n" + LONG_WORD + b"\r\n--o--\r\n"
        b"An epilogue\r\n"
    )  # fmt: skip
    for window_bytes in (1, 17, 1000, 1 << 18):
        assert_the_same(raw, 500, window_bytes)
        assert_the_same(raw.removesuffix(b"--o--\r\nAn epilogue\r\n"), 500, window_bytes)


@pytest.mark.requirement("R13")
def test_a_message_that_is_too_large_is_refused_with_its_size_of_before() -> None:
    raw = b"Subject: x\n\n" + b"hi\n" * 1000
    for max_size in (len(raw) - 1, len(raw) + 500, len(raw) + 2000):
        assert outcome(in_pieces(raw, 100, 100), max_size=max_size) == outcome(raw, max_size=max_size)


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("line", [b"X-Padding: " + b"word " * 100 + b"\r\n", b"X: y" + b"\r\n z" * 30 + b"\r\n"])
def test_a_header_has_a_largest_size(line: bytes) -> None:
    header = line * ((LARGEST_HEADER - 1000) // len(line))
    header += b"X-Last: " + b"x" * (LARGEST_HEADER - len(header) - 10) + b"\r\n"
    fields = in_pieces(header + b"\r\nhi\r\n", 1 << 16, 1 << 20).fields
    assert sum(len(field) for _, field in fields) == LARGEST_HEADER
    with pytest.raises(DataError, match="the header is larger than 4MB"):
        in_pieces(b"X" + header + b"\r\nhi\r\n", 1 << 16, 1 << 20)


@pytest.mark.requirement("R13")
def test_a_header_has_a_largest_number_of_fields() -> None:
    """In memory a short one takes seventy times its size."""
    header = b"a:\r\n" * MOST_FIELDS
    assert len(in_pieces(header + b"\r\nhi\r\n", 1 << 16, 1 << 20).fields) == MOST_FIELDS
    for raw in (b"b:\r\n" + header + b"\r\nhi\r\n", header * 9):
        tracemalloc.start()
        with pytest.raises(DataError, match="more than 100000 fields"):
            in_pieces(raw, 1 << 16, 1 << 20)
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 40_000_000


@pytest.mark.requirement("R13")
def test_a_field_that_never_ends_is_refused_before_it_is_all_there() -> None:
    came = 0

    def endless() -> Iterator[bytes]:
        nonlocal came
        yield b"To: joe@example.com\nSubject: "
        while True:
            came += 1 << 16
            yield b"x" * (1 << 16)

    with pytest.raises(DataError, match="the header is larger than 4MB"):
        arrived((), endless(), MemoryScratch(1 << 18))
    assert came <= LARGEST_HEADER + (1 << 16)


def no_scratch() -> Any:
    raise AssertionError("a message that fits into memory needs no file")


def test_a_message_that_fits_into_memory_stays_there() -> None:
    raw = b"x" * LARGEST_IN_MEMORY
    assert gather(cut(raw, 1000), no_scratch) == raw
    assert gather((), no_scratch) == b""


def test_a_larger_one_does_not() -> None:
    with pytest.raises(AssertionError, match="needs no file"):
        gather(cut(b"x" * (LARGEST_IN_MEMORY + 1), 1000), no_scratch)
