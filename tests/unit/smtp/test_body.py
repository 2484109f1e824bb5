"""What goes behind DATA can end it only at its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.smtp.body import END, stuffed

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


@pytest.mark.requirement("S1")
@given(st.binary(max_size=300), st.integers(1, 20))
def test_a_server_reads_the_same_message(body: bytes, size: int) -> None:
    wire = b"".join(stuffed(body[at : at + size] for at in range(0, len(body), size))) + END
    plain = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if plain and not plain.endswith(b"\r\n"):
        plain += b"\r\n"
    assert unstuffed(wire) == plain


def test_canonical_input_is_untouched() -> None:
    body = b"Subject: x\r\n\r\nhello\r\n"
    assert b"".join(stuffed([body])) == body
