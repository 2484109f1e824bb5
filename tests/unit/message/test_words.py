"""What is left of a reply when its words are looked at, and which replies speak of somebody else."""

from __future__ import annotations

import pytest

from ucrmmail.message.reply import Reply
from ucrmmail.message.words import is_of_others, without_addresses, words_of
from ucrmmail.smtp.wire import parse_reply


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<joe@example.com>: no such user", ": no such user"),
        ("no such user joe@example.com (nor <throttl@x>)", "no such user (nor )"),
        ("unknown[192.0.2.1] <app1> <>", "unknown[192.0.2.1]"),
        (
            "<https://www.spamhaus.org/query/ip/192.0.2.1> says so",
            "<https://www.spamhaus.org/query/ip/192.0.2.1> says so",
        ),
        ("see mailto:postmaster@example.com", "see"),
        ("a < b", "a < b"),
    ],
)
def test_addresses_are_left_out_and_pages_are_not(text: str, left: str) -> None:
    assert without_addresses(text) == left


@pytest.mark.requirement("S3")
def test_what_a_long_reply_says_its_beginning_says() -> None:
    assert words_of(Reply(550, "", ("No Such User", "<Joe@example.com>"))) == "no such user"
    assert len(words_of(Reply(550, "", ("x" * 60_000,)))) == 4096


@pytest.mark.parametrize(
    ("text", "of_others"),
    [
        ("550 <joe@example.com>: host mx.example.com[192.0.2.9] said: 550 no", True),
        ("550 Callout verification failed: 550 no", True),
        ("550 5.1.1 no", True),
        ("450 4.1.2 no", True),
        ("556 5.1.10 no", True),
        ("550 5.1.8 no", False),
        ("550 5.7.1 I said no", False),
        ("550 <said:@example.com> no", False),
    ],
)
def test_a_reply_is_of_others_when_it_quotes_one_or_is_of_an_address(text: str, of_others: bool) -> None:
    assert is_of_others(parse_reply([text.encode()])) is of_others
