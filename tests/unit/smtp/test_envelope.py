"""The commands of an envelope, and what is not sent at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.injections import INJECTIONS
from tests.support.smtp_client import JOE, transaction
from ucrmmail.message.outcome import Outcome, Result, Stage
from ucrmmail.smtp.capabilities import Capabilities
from ucrmmail.smtp.envelope import beyond_server, mail_command, rcpt_command, recipients_beyond_server

EVERYTHING = Capabilities(size=True, eight_bit=True, utf8=True, pipelining=True)


@pytest.mark.requirement("R16")
def test_parameters_are_sent_only_where_they_are_offered() -> None:
    message = transaction(eight_bit=True, utf8=True)
    size = message.size_bytes
    assert mail_command(message, Capabilities()) == b"MAIL FROM:<billing@isp.example>\r\n"
    assert mail_command(message, EVERYTHING) == (
        f"MAIL FROM:<billing@isp.example> SIZE={size} BODY=8BITMIME SMTPUTF8\r\n".encode()
    )
    assert mail_command(transaction(), EVERYTHING) == f"MAIL FROM:<billing@isp.example> SIZE={size}\r\n".encode()


def test_the_null_reverse_path_is_written_as_it_is() -> None:
    assert mail_command(transaction(reverse_path=""), Capabilities()) == b"MAIL FROM:<>\r\n"


def test_headers_in_utf8_go_as_8bitmime_where_there_is_no_smtputf8() -> None:
    message = transaction(eight_bit=True, utf8=True)
    offered = Capabilities(eight_bit=True)
    assert beyond_server(message, offered) is None
    assert mail_command(message, offered) == b"MAIL FROM:<billing@isp.example> BODY=8BITMIME\r\n"


def test_only_the_recipients_outside_ascii_wait_for_smtputf8() -> None:
    message = transaction("1", "joe@isp.example", "jörg@isp.example", "zoë@isp.example")
    beyond, waits = recipients_beyond_server(message, Capabilities())
    assert beyond == ("jörg@isp.example", "zoë@isp.example")
    assert (waits.result, waits.enhanced) == (Result.DEFERRED, "4.6.7")
    assert recipients_beyond_server(message, EVERYTHING)[0] == ()


@pytest.mark.parametrize(
    ("settings", "offered", "status"),
    [
        ({"eight_bit": True}, Capabilities(utf8=True), "4.6.3"),
        ({"reverse_path": "jörg@isp.example"}, Capabilities(eight_bit=True), "4.6.7"),
        ({"body": b"x" * 101}, Capabilities(size=True, size_bytes=100), "5.3.4"),
        ({"body": b"x" * 100}, Capabilities(size=True, size_bytes=100), ""),
        ({"body": b"x" * 101}, Capabilities(size=True), ""),
        ({"reverse_path": "jörg@isp.example"}, Capabilities(utf8=True), ""),
        ({"reverse_path": '"a b<>"@isp.example'}, Capabilities(), ""),
        ({"reverse_path": '"a\\"b\\\\"@isp.example'}, Capabilities(), ""),
    ],
)
def test_what_the_server_cannot_take_is_seen_before_it_is_sent(
    settings: dict[str, object], offered: Capabilities, status: str
) -> None:
    found = beyond_server(transaction(**settings), offered)  # type: ignore[arg-type] # one of its keywords
    assert (found.enhanced if found else "") == status
    # What is missing may be offered another time; what is too large is so for good.
    assert found is None or found.result == {"4": "deferred", "5": "failed"}[status[0]]


@pytest.mark.parametrize(
    ("settings", "status", "why"),
    [
        ({"reverse_path": "a b@c"}, "5.1.3", "an address of the envelope has characters that would end the command"),
        ({"body": b"x" * 101}, "5.3.4", "the message has 101 bytes, and the smarthost takes 100"),
        (
            {"reverse_path": "jörg@isp.example"}, "4.6.7",
            "an address is outside ASCII, and the smarthost does not offer SMTPUTF8",
        ),
        ({"eight_bit": True}, "4.6.3", "the message has 8-bit text, and the smarthost does not offer 8BITMIME"),
    ],
)  # fmt: skip
def test_what_is_not_sent_says_why(settings: dict[str, object], status: str, why: str) -> None:
    found = beyond_server(transaction(**settings), Capabilities(size=True, size_bytes=100))  # type: ignore[arg-type]
    result = Result.DEFERRED if status.startswith("4") else Result.FAILED
    assert found == Outcome("", result, Stage.MAIL, why, status)


@pytest.mark.parametrize(
    "address", ['""@c', '"a@b"@c', '"\\\\"@c', '"a b"@c', "postmaster", '"a\\"b"@c', "a@[192.0.2.1]"]
)
def test_what_the_quotes_of_an_address_protect_may_go(address: str) -> None:
    assert beyond_server(transaction("1", address), EVERYTHING) is None


@pytest.mark.requirement("S6")
@pytest.mark.parametrize(
    "address", ['"@c', '"a"b"@c', '""a"@c', '"a\\"@c', '"a" b"@c', '"a"@c d', 'a"@c', '"a\\\\"b"@c']
)
def test_quotes_that_do_not_hold_protect_nothing(address: str) -> None:
    assert beyond_server(transaction("1", address), EVERYTHING) is not None


@pytest.mark.requirement("S5", "S6")
@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("address", ["{}@example.com", "joe@{}", "{}", '"{}"@example.com'])
def test_an_address_never_becomes_a_second_command(text: str, address: str) -> None:
    hostile = address.format(text)
    assert beyond_server(transaction("1", hostile), EVERYTHING) is not None
    assert beyond_server(transaction("1", JOE, reverse_path=hostile), EVERYTHING) is not None


@pytest.mark.requirement("S6")
@pytest.mark.parametrize(
    "address",
    ["a@b>SIZE=1", "a@b> SIZE=1", "a b@c", "a@b c", "<a@b>", '"a"@b> NOTIFY=NEVER', '"a"b> c"@d>', "a@b\u2028"],
)
def test_an_address_never_becomes_a_parameter(address: str) -> None:
    assert beyond_server(transaction("1", address), EVERYTHING) is not None


@given(st.text(max_size=30))
def test_what_may_go_is_one_line_with_one_path(address: str) -> None:
    if beyond_server(transaction("1", address), EVERYTHING) is None:
        line = rcpt_command(address)
        assert line.startswith(b"RCPT TO:<")
        assert line.endswith(b">\r\n")
        assert line.count(b"\r") == line.count(b"\n") == 1
        assert b"\0" not in line
