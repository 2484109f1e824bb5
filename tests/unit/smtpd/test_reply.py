"""Replies: lines of ASCII that end once, whatever stands in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.smtpd.reply import encode_reply


def test_a_reply_has_a_line_for_each_text() -> None:
    assert encode_reply(250, "", "mx", "SIZE 1", "HELP") == b"250-mx\r\n250-SIZE 1\r\n250 HELP\r\n"
    assert encode_reply(214, "2.0.0", "a", "b") == b"214-2.0.0 a\r\n214 2.0.0 b\r\n"
    assert encode_reply(250, "2.1.0", "ok") == b"250 2.1.0 ok\r\n"


def test_a_line_that_would_be_too_long_says_that_there_was_more() -> None:
    assert encode_reply(550, "5.1.1", "x" * 500) == b"550 5.1.1 " + b"x" * 500 + b"\r\n"
    assert encode_reply(550, "5.1.1", "x" * 501) == b"550 5.1.1 " + b"x" * 497 + b"...\r\n"


@given(st.lists(st.text(), min_size=1))
def test_no_text_makes_another_reply_or_a_line_that_is_too_long(texts: list[str]) -> None:
    reply = encode_reply(550, "5.1.1", *texts)
    lines = reply.removesuffix(b"\r\n").split(b"\r\n")
    assert len(lines) == len(texts)
    for number, line in enumerate(lines, 1):
        assert line.startswith(b"550 5.1.1 " if number == len(texts) else b"550-5.1.1 ")
        assert all(0x20 <= byte < 0x7F for byte in line)
        assert len(line) + 2 <= 512
