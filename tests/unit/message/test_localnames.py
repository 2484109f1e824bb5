"""What is sent in place of the names of local users."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.submission import submit
from ucrmmail.errors import NoUserError
from ucrmmail.message.address import is_bare
from ucrmmail.message.addresslist import parse_address_list, with_addresses
from ucrmmail.message.header import split_canonical
from ucrmmail.message.prepare import Addresses

ADDRESSES = Addresses(sender="isp@isp.example", notification="noc@isp.example", support="help@isp.example")


def sent(raw: str, *, addresses: Addresses = ADDRESSES, extract_recipients: bool = False) -> list[str]:
    """Return the fields of addresses that go out, but for those that were added."""
    prepared = submit(
        raw,
        addresses=addresses,
        recipients=() if extract_recipients else ("joe@example.com",),
        extract_recipients=extract_recipients,
    )
    fields = [field.decode().removesuffix("\r\n") for _name, field in split_canonical(prepared.message)[0]]
    return [field for field in fields if not field.startswith(("From:", "Sender:", "Date:", "Message-ID:"))]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("To: root", 'To: "root" <noc@isp.example>'),
        ("TO:root", 'TO: "root" <noc@isp.example>'),
        ("Cc: Root User <root>", "Cc: Root User <noc@isp.example>"),
        ("To: <support>", "To: <help@isp.example>"),
        ("To: root (Cron)", 'To: "root" <noc@isp.example> (Cron)'),
        ("Reply-To: joe.smith", 'Reply-To: "joe.smith" <noc@isp.example>'),
        ("To: joe@example.com,\n root, Ops <ops>", 'To: joe@example.com, "root" <noc@isp.example>, Ops <noc@isp.example>'),
        ('To: "root" <joe@example.com>, staff: root, <x>;', 'To: "root" <joe@example.com>, staff: "root" <noc@isp.example>, <noc@isp.example>;'),
        ("Resent-To: root", 'Resent-To: "root" <noc@isp.example>'),
        ("To: Jörg <root>", "To: Jörg <noc@isp.example>"),
    ],
)  # fmt: skip
def test_a_local_name_becomes_the_address_that_it_leads_to(written: str, expected: str) -> None:
    assert sent(f"{written}\n\nhi\n") == [expected]


@pytest.mark.parametrize(
    "field",
    [
        "To: joe@example.com, Ann <ann@example.com>", "To: staff:;", "To: J. Smith", "To: root root", "To: <", "Subject: root",
        "X-To: root", "To:\r\n joe@example.com,\r\n\tann@example.com",
    ],
)  # fmt: skip
def test_any_other_field_is_left_as_it_is(field: str) -> None:
    assert sent(f"{field}\n\nhi\n") == [field]


def test_a_long_list_is_not_read_once_more() -> None:
    lines = ["To: root,", *[" joe@example.com,"] * 1000]
    assert sent("\n".join(lines) + "\n\nhi\n") == ["\r\n".join(lines)]


@pytest.mark.requirement("S6")
def test_many_lists_are_read_no_further_than_one() -> None:
    """A header of four megabytes of names took twenty seconds, and three gigabytes of the memory of a flush."""
    names = ",\n root" * 1000
    first, second, third = sent(f"To: root{names}\nCc: root{names}\nReply-To: root\n\nhi\n")
    assert first.count("root") == first.count("<noc@isp.example>") == 1001
    assert (second, third) == (f"Cc: root{names}".replace("\n", "\r\n"), 'Reply-To: "root" <noc@isp.example>')


def test_a_name_that_leads_nowhere_is_left_as_it_is() -> None:
    assert sent("To: root\nCc: support\n\nhi\n", addresses=Addresses(sender="isp@isp.example")) == [
        "To: root",
        "Cc: support",
    ]


def test_what_is_signed_is_left_as_it_is() -> None:
    fields = ["DKIM-Signature: v=1; h=to:cc; b=abc", "To: root", "Cc:"]
    assert sent("\n".join(fields) + "\n\nhi\n") == fields


@pytest.mark.parametrize("empty", ["To:", "To: ", "Cc:\t\n ", "Reply-To:\n"])
def test_an_empty_field_is_left_out(empty: str) -> None:
    """As PHP writes it for a message to Bcc alone."""
    assert sent(f"{empty.rstrip()}\nBcc: joe@example.com\nSubject: x\n\nhi\n", extract_recipients=True) == [
        "Subject: x"
    ]


def test_the_recipients_are_those_of_the_message_as_it_was_submitted() -> None:
    with pytest.raises(NoUserError, match="no recipients"):
        sent("Resent-To:\nTo: joe@example.com\n\nhi\n", extract_recipients=True)


@given(st.text('ab,.:;<>()"\\@ \t', max_size=24))
def test_every_list_names_the_same_as_before(value: str) -> None:
    try:
        before = parse_address_list(value)
    except NoUserError:
        with pytest.raises(NoUserError):
            with_addresses(value, lambda name: f"{name}@c")
        return
    after = with_addresses(value, lambda name: f"{name}@c")
    assert parse_address_list(after) == [f"{name}@c" if is_bare(name) else name for name in before]
    assert after == with_addresses(after, lambda _: "never@c")
