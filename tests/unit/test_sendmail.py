"""What sendmail reads from its standard input: up to a line that is a single dot, however the pipe cuts it."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.scratch import cut
from ucrmmail.errors import DataError
from ucrmmail.sendmail import parse_arguments, read_message, up_to_dot


def whole_up_to_dot(raw: bytes) -> bytes:
    """Return what comes before the dot, of a message in memory."""
    if raw.startswith((b".\n", b".\r\n")) or raw == b".":
        return b""
    ends = [end for end in (raw.find(b"\n.\n"), raw.find(b"\n.\r\n")) if end >= 0]
    if ends:
        return raw[: min(ends) + 1]
    return raw[:-1] if raw.endswith(b"\n.") else raw


@given(st.text("\r\n.a", max_size=14).map(str.encode), st.integers(1, 15))
@example(b".", 1)
@example(b"\n.", 1)
@example(b".\r", 1)
@example(b".\r\n", 1)
@example(b"a\n.\rb\n.\r\nc", 2)
def test_a_line_of_a_single_dot_ends_it_wherever_the_pipe_cuts_it(raw: bytes, piece_bytes: int) -> None:
    pieces = cut(raw, piece_bytes)
    assert b"".join(up_to_dot(pieces)) == whole_up_to_dot(raw)
    assert list(pieces) == [], "who writes it must meet no closed pipe"


@pytest.mark.parametrize(("dot_ends", "expected"), [(True, b"a\n"), (False, b"a\n.\nb\n")])
def test_with_the_option_a_dot_ends_nothing(*, dot_ends: bool, expected: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"a\n.\nb\n")
    os.close(writer)
    assert b"".join(read_message(reader, 6, dot_ends=dot_ends)) == expected
    os.close(reader)


def test_what_comes_after_the_dot_counts_too() -> None:
    reader, writer = os.pipe()
    os.write(writer, b".\nb\n")
    os.close(writer)
    with pytest.raises(DataError, match="larger than 3B"):
        list(read_message(reader, 3, dot_ends=True))
    os.close(reader)


@pytest.mark.parametrize("flag", ["e", "A", "B", "o", "O", "h"])
def test_the_value_of_an_option_is_no_recipient(flag: str) -> None:
    for option in ([f"-{flag}", "q"], [f"-{flag}q"], [f"-i{flag}", "q"]):
        assert parse_arguments([*option, "-t", "joe@example.com"]).recipients == ["joe@example.com"]
        assert parse_arguments([*option, "-t"]).extract_recipients
