"""Replies are read as they are, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.message.reply import Reply
from ucrmmail.smtp.wire import ProtocolError, parse_reply

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30)


@given(
    code=st.integers(200, 599),
    detail=st.tuples(st.integers(0, 999), st.integers(0, 999)) | st.none(),
    texts=st.lists(TEXT.map(lambda text: "x" + text), min_size=1, max_size=5),
)
def test_what_a_server_writes_is_read_back(code: int, detail: tuple[int, int] | None, texts: list[str]) -> None:
    enhanced = f"{code // 100}.{detail[0]}.{detail[1]}" if detail else ""
    lines = []
    for number, text in enumerate(texts):
        mark = " " if number == len(texts) - 1 else "-"
        lines.append(f"{code}{mark}{enhanced + ' ' if enhanced else ''}{text}".encode())
    assert parse_reply(lines) == Reply(code, enhanced, tuple(texts))


@pytest.mark.requirement("R29")
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_any_bytes_are_a_reply_or_a_protocol_error(lines: list[bytes]) -> None:
    try:
        reply = parse_reply(lines)
    except ProtocolError:
        return
    assert 200 <= reply.code <= 599
    assert len(reply.lines) == len(lines)


@pytest.mark.parametrize(
    "lines",
    [
        [b""], [b"25"], [b"2"], [b"abc"], [b"150 x"], [b"650 x"], [b"250x"], [b"250_x"], [b"-250 x"], [b" 250 x"],
        [b"250-a"], [b"250-a", b"251 b"], [b"250 a", b"250 b"], [b"250-a", b"250"[:2]], [b"\xb2\xb5\xb0 x"],
        [b"HTTP/1.1 400 Bad Request"], [b"\x15\x03\x01\x00\x02\x02\x0a"],
    ],
)  # fmt: skip
def test_what_is_no_reply_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(lines)


@pytest.mark.parametrize(
    ("line", "enhanced", "text"),
    [
        (b"250 2.1.0 ok", "2.1.0", "ok"),
        (b"250 2.1.0", "2.1.0", ""),
        (b"250", "", ""),
        (b"250 ", "", ""),
        (b"550 2.1.0 another class is text", "", "2.1.0 another class is text"),
        (b"550 5.1.1.1 x", "", "5.1.1.1 x"),
        (b"550 5.1 x", "", "5.1 x"),
        (b"550 5.1.1000 x", "", "5.1.1000 x"),
        (b"550 5.7.\xb2 x", "", "5.7.\udcb2 x"),
        (b"220 2.0.0.example.net ESMTP", "", "2.0.0.example.net ESMTP"),
    ],
)
def test_a_status_code_is_one_of_rfc_3463_or_text(line: bytes, enhanced: str, text: str) -> None:
    reply = parse_reply([line])
    assert (reply.enhanced, reply.text) == (enhanced, text)


def test_foreign_bytes_are_kept() -> None:
    assert parse_reply([b"550 \xff\x1b[2J"]).text.encode("utf-8", "surrogateescape") == b"\xff\x1b[2J"
