"""What a server offers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.message.reply import Reply
from ucrmmail.smtp.capabilities import Capabilities, parse_ehlo


def offered(*keywords: str) -> Capabilities:
    return parse_ehlo(Reply(250, "", ("mx.example.net greets you", *keywords)))


def test_every_extension_that_is_used_is_found() -> None:
    found = offered(
        "SIZE 35882577",
        "pipelining",
        "8BITMIME",
        "SmtpUtf8",
        "STARTTLS",
        "AUTH PLAIN login",
        "LIMITS RCPTMAX=50 MAILMAX=3",
        "chunking",
        "",
    )
    assert found.name == "mx.example.net"
    assert (found.size, found.size_bytes, found.pipelining, found.eight_bit, found.utf8, found.starttls) == (
        True, 35882577, True, True, True, True,
    )  # fmt: skip
    assert found.chunking
    assert found.keywords[0] == "SIZE 35882577"
    assert len(found.keywords) == 9
    assert found.mechanisms == ("PLAIN", "LOGIN")
    assert (found.most_recipients, found.most_transactions) == (50, 3)


def test_the_old_form_of_auth_counts() -> None:
    assert offered("AUTH=LOGIN PLAIN").mechanisms == ("LOGIN", "PLAIN")
    assert offered("AUTH PLAIN", "AUTH=PLAIN LOGIN").mechanisms == ("PLAIN", "LOGIN")
    assert offered("XAUTH=LOGIN").mechanisms == ()


def test_size_without_a_number_is_an_offer_without_a_limit() -> None:
    assert (offered("SIZE").size, offered("SIZE").size_bytes) == (True, 0)
    assert offered("SIZE 99999999999999999999999").size_bytes == 0
    assert offered("SIZE -1").size_bytes == 0


def test_a_number_is_read_only_where_there_is_one_that_means_something() -> None:
    assert offered("SIZE 1000 2000").size_bytes == 1000
    assert (offered("SIZE " + "9" * 18).size_bytes, offered("SIZE " + "9" * 19).size_bytes) == (10**18 - 1, 0)
    assert offered("LIMITS RCPTMAX=1=2 MAILMAX").most_recipients == 0


def test_a_server_that_says_only_its_name_offers_nothing() -> None:
    assert offered() == Capabilities(name="mx.example.net")
    assert parse_ehlo(Reply(250, "", ())) == Capabilities()


@given(st.lists(st.text(max_size=40), max_size=10))
def test_no_keyword_is_a_crash(lines: list[str]) -> None:
    parse_ehlo(Reply(250, "", tuple(lines)))
