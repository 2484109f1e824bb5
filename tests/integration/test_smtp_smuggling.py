"""SMTP smuggling (CVE-2023-51764 and its family): whatever a message holds, a strict server and a lax one see one message.

The bytes on the wire are checked as the server received them, by a reader that shares no code with the writer.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.smtp_client import ListFeed, connect, transaction
from tests.support.smtp_server import SmtpServer
from ucrmmail.smtp.submit import submit

SECOND = b"MAIL FROM:<eve@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nhi\r\n.\r\n"
PATTERNS = {
    "LF.LF": b"a\n.\n" + SECOND,
    "LF.CRLF": b"a\n.\r\n" + SECOND,
    "CR.CR": b"a\r.\r" + SECOND,
    "CRLF.LF": b"a\r\n.\n" + SECOND,
    "LF.CR": b"a\n.\r" + SECOND,
    "CR.CRLF": b"a\r.\r\n" + SECOND,
    "CRLF.CR": b"a\r\n.\r" + SECOND,
    "CRLF.CRLF": b"a\r\n.\r\n" + SECOND,
    "CRCRLF.CRCRLF": b"a\r\r\n.\r\r\n" + SECOND,
    "NUL": b"a\r\n\0.\r\n" + b"a\r\n.\0\r\n" + SECOND,
    "first byte": b".\r\n" + SECOND,
    "end without a line end": b"a\r\n.",
    "only a dot": b".",
    "nothing": b"",
    "CR at the end": b"a\r\n.\r",
    "CR at the edge of a chunk": b"x" * 8191 + b"\r" + b".\r" + SECOND,
    "LF at the edge of a chunk": b"x" * 8191 + b"\n" + b".\n" + SECOND,
}


_ENDS = [b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n", b"\0", b"\r\0\n"]
AROUND_A_DOT = [b"a" + before + b"." + behind + SECOND for before in _ENDS for behind in _ENDS]


def canonical(message: bytes) -> bytes:
    """What a message is once each of CRLF, CR and LF is a line end; written as a state machine, byte by byte."""
    out = bytearray()
    previous = 0
    for byte in message:
        if byte == 13 or (byte == 10 and previous != 13):
            out += b"\r\n"
        elif byte != 10:
            out.append(byte)
        previous = byte
    if out and not out.endswith(b"\r\n"):
        out += b"\r\n"
    return bytes(out)


def anomalies(raw: bytes) -> list[str]:
    """What a strict reader objects to in the bytes between DATA and the final dot."""
    found = []
    for number, byte in enumerate(raw):
        if byte == 13 and raw[number + 1 : number + 2] != b"\n":
            found.append(f"a lone CR at {number}")
        if byte == 10 and raw[number - 1 : number] != b"\r":
            found.append(f"a lone LF at {number}")
    found += ["a line that is a dot" for line in raw.split(b"\r\n") if line == b"."]
    return found


@pytest.mark.requirement("R16", "S1")
@pytest.mark.parametrize("pieces", [0, 1, 2, 3, 8192])
@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_ends_the_message_early(name: str, pieces: int) -> None:
    message = PATTERNS[name]
    with SmtpServer() as server:
        session = connect(server)
        feed = ListFeed([transaction("1", body=message, pieces=pieces), transaction("2")])
        submit(session, feed)
        session.quit()
        server.wait_until_idle()
    assert feed.summary == {"1": "relayed", "2": "relayed"}
    assert [found.recipients for found in server.messages] == [["joe@example.com"]] * 2
    assert anomalies(server.messages[0].raw) == []
    assert server.messages[0].content == canonical(message)
    assert [line.split()[0] for line in server.commands] == [
        b"EHLO", b"MAIL", b"RCPT", b"DATA", b"MAIL", b"RCPT", b"DATA", b"QUIT",
    ]  # fmt: skip


@pytest.mark.requirement("R16", "S1")
def test_no_pair_of_line_ends_around_a_dot_ends_the_message_early() -> None:
    with SmtpServer() as server:
        session = connect(server)
        submit(session, ListFeed([transaction(str(n), body=body) for n, body in enumerate(AROUND_A_DOT)]))
        session.quit()
        server.wait_until_idle()
    assert [found.content for found in server.messages] == [canonical(body) for body in AROUND_A_DOT]
    assert not any(anomalies(found.raw) for found in server.messages)


@pytest.mark.requirement("R16", "S1")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    messages=st.lists(
        st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.\r\n", b"a", b"\0", b"\xff"]), max_size=30).map(
            b"".join
        ),
        min_size=1,
        max_size=4,
    ),
    pieces=st.integers(0, 5),
)
def test_any_mixture_arrives_as_one_message_each(messages: list[bytes], pieces: int) -> None:
    with SmtpServer() as server:
        session = connect(server)
        submit(session, ListFeed([transaction(str(n), body=m, pieces=pieces) for n, m in enumerate(messages)]))
        session.quit()
        server.wait_until_idle()
    assert [found.content for found in server.messages] == [canonical(message) for message in messages]
    assert not any(anomalies(found.raw) for found in server.messages)
