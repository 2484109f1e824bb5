"""What goes behind DATA can end it only at its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.message.lineends import canonical
from ucrmmail.smtp.body import END, Block, behind_data, in_chunks, stuffed

SMUGGLED = [
    b"a\n.\nb", b"a\n.\r\nb", b"a\r.\rb", b"a\r\n.\nb", b"a\n.\rb", b"a\r.\r\nb", b"\0.\r\n", b".", b"a\r\n.",
    b"x" * 8191 + b"\r\n.\r\nMAIL FROM:<e@x>\r\n", b"a\r\n.\r\nb",
]  # fmt: skip


def unstuffed(wire: bytes) -> bytes:
    """Read a DATA stream as a strict server does, independently of the code under test."""
    lines: list[bytes] = []
    for line in wire.split(b"\r\n"):
        if line == b".":
            return b"\r\n".join(lines) + (b"\r\n" if lines else b"")
        lines.append(line.removeprefix(b"."))
    raise AssertionError("the message has no end")


@pytest.mark.requirement("S1")
@pytest.mark.parametrize("body", SMUGGLED)
@pytest.mark.parametrize("size", [1, 2, 3, 8192, 1 << 20])
def test_nothing_in_a_message_ends_it_early(body: bytes, size: int) -> None:
    wire = b"".join(stuffed(body[at : at + size] for at in range(0, len(body), size))) + END
    assert wire.count(b"\r\n.\r\n") == (1 if wire != END else 0)
    assert wire.endswith(b"\r\n.\r\n") or wire == END
    assert wire.count(b"\r") == wire.count(b"\n") == wire.count(b"\r\n")


# Mostly what lines and their ends are made of: random bytes hardly ever end a piece in a CR.
PIECES = st.lists(st.binary(max_size=40) | st.text("\r\n.ab", max_size=12).map(str.encode), max_size=12)


def plain_form(body: bytes) -> bytes:
    """Return the message with the line ends that it has to have, independently of the code under test."""
    plain = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return plain if not plain or plain.endswith(b"\r\n") else plain + b"\r\n"


@pytest.mark.requirement("S1")
@given(PIECES)
def test_a_server_reads_the_same_message_however_it_comes_in_pieces(pieces: list[bytes]) -> None:
    wire = b"".join(stuffed(pieces)) + END
    assert unstuffed(wire) == plain_form(b"".join(pieces))
    assert b"".join(canonical(pieces)) == plain_form(b"".join(pieces))


@pytest.mark.requirement("S1")
@pytest.mark.parametrize(
    ("pieces", "plain"),
    [
        ([b"ab\r", b"\ncd"], b"ab\r\ncd\r\n"),
        ([b"ab\r", b"cd"], b"ab\r\ncd\r\n"),
        ([b"\r", b"\nab", b"", b"cd\r\n"], b"\r\nabcd\r\n"),
        ([b"ab\r"], b"ab\r\n"),
        ([b"ab\r", b"\r"], b"ab\r\n\r\n"),
        ([b"a\nb\r\n"], b"a\r\nb\r\n"),
        ([], b""),
        ([b""], b""),
    ],
)
def test_a_line_end_may_fall_between_two_pieces(pieces: list[bytes], plain: bytes) -> None:
    assert b"".join(canonical(pieces)) == plain


@pytest.mark.parametrize(
    ("pieces", "wire"),
    [
        ([b".a\r\n", b".b\r\n"], b"..a\r\n..b\r\n"),
        ([b"a\r\n.b"], b"a\r\n..b\r\n"),
        ([b"a", b".b\r\n"], b"a.b\r\n"),
        ([b"a\r", b"\n.b\r\n"], b"a\r\n..b\r\n"),
    ],
)
def test_a_dot_is_doubled_where_a_line_begins_and_nowhere_else(pieces: list[bytes], wire: bytes) -> None:
    assert b"".join(stuffed(pieces)) == wire


def test_a_small_message_is_one_write_and_the_last_one_has_the_end() -> None:
    assert list(behind_data([b".a\r\n", b"b\r\n"])) == [Block(b"", b"..a\r\nb\r\n", b".\r\n")]
    assert list(behind_data([])) == [Block(b"", b"", b".\r\n")]
    assert list(in_chunks([b".a\r\n", b"b\r\n"])) == [Block(b"BDAT 7 LAST\r\n", b".a\r\nb\r\n", b"")]
    assert list(in_chunks([])) == [Block(b"BDAT 0 LAST\r\n", b"", b"")]


@pytest.mark.parametrize(
    ("pieces", "sizes"),
    [
        ([b"A: b\r\n\r\nx\r\n"], [4, 7]),
        ([b"A: b\r", b"\n\r\n", b"x\r\n"], [4, 7]),
        ([b"", b"A", b": b\r\n"], [1, 5]),
        ([b"\r\nx\r\n"], [5]),
        ([], [0]),
    ],
)
def test_the_first_chunk_of_all_ends_before_the_first_line_does(pieces: list[bytes], sizes: list[int]) -> None:
    blocks = list(in_chunks(pieces, try_first=True))
    assert b"".join(block.data for block in blocks) == b"".join(pieces)
    assert [block.head for block in blocks] == [
        *(b"BDAT %d\r\n" % size for size in sizes[:-1]), b"BDAT %d LAST\r\n" % sizes[-1]
    ]  # fmt: skip


def test_a_large_message_is_several_writes_none_larger_than_what_is_gathered() -> None:
    pieces = [b"x" * 59_998 + b"\r\n"] * 7
    behind = list(behind_data(pieces))
    assert [(len(block.data), block.tail) for block in behind] == [
        (120_000, b""), (120_000, b""), (120_000, b""), (60_000, b".\r\n")
    ]  # fmt: skip
    assert b"".join(block.data for block in behind) == b"".join(pieces)
    exact = list(behind_data([b"x" * ((1 << 16) - 2) + b"\r\n"] * 3))
    assert [len(block.data) for block in exact] == [1 << 17, 1 << 16]


def test_chunks_are_counted_and_only_the_last_says_so() -> None:
    pieces = [b"x" * 599_998 + b"\r\n"] * 3
    chunks = list(in_chunks(pieces))
    assert [block.head for block in chunks] == [b"BDAT 600000\r\n", b"BDAT 600000\r\n", b"BDAT 600000 LAST\r\n"]
    assert b"".join(block.data for block in chunks) == b"".join(pieces)
    assert {block.tail for block in chunks} == {b""}


def test_canonical_input_is_untouched() -> None:
    body = b"Subject: x\r\n\r\nhello\r\n"
    assert b"".join(stuffed([body])) == body
