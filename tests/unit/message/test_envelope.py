"""Whom a submission goes to, and where its bounces go."""

from __future__ import annotations

import pytest

from tests.support.submission import submit
from ucrmmail.errors import DataError, NoUserError
from ucrmmail.message.prepare import Addresses

FULL = Addresses(
    sender="sender@isp.example",
    organization="office@isp.example",
    support="support@isp.example",
    notification="noc@isp.example",
)
J, A, B = "joe@example.com", "ann@example.com", "bob@example.com"


def recipients_of(header: str, *given: str, addresses: Addresses = FULL, extract: bool = True) -> tuple[str, ...]:
    raw = f"From: billing@isp.example\n{header}\n\nhi\n"
    return submit(raw, recipients=given, extract_recipients=extract, addresses=addresses).recipients


@pytest.mark.parametrize(
    ("header", "recipients"),
    [
        (f"To: {J}", (J,)),
        (f"To: Joe <{J}>, {A}\nCc: {B}", (J, A, B)),
        (f"Bcc: {B}", (B,)),
        (f"Bcc: {B}\nCc: {A}\nTo: {J}", (J, A, B)),
        (f"TO:\n {J},\n\t{A}", (J, A)),
        (f"To: {J}\nTo: {A}", (J, A)),
        (f"To: {J}, {J}\nCc: joe@EXAMPLE.com\nBcc: {J}", (J,)),
        (f"To: {J}, Joe@example.com", (J, "Joe@example.com")),
        (f"To: undisclosed-recipients:;\nBcc: {J}", (J,)),
        (f"To: staff: {J}, {A};", (J, A)),
        (f"To:\nCc: {J}", (J,)),
        ("To: Jörg <jörg@münchen.example>", ("jörg@xn--mnchen-3ya.example",)),
        # a message that was resent goes to those it was resent to
        (f"Resent-To: {A}\nTo: {J}", (A,)),
        (f"Resent-Cc: {A}\nTo: {J}\nBcc: {B}", (A,)),
        (f"Resent-Bcc: {A}\nResent-To: {B}\nTo: {J}", (B, A)),
        (f"Resent-From: {A}\nTo: {J}", (J,)),
        (f"Resent-To: {A}\nResent-To: {B}", (A, B)),
    ],
)
def test_recipients_are_those_of_to_cc_and_bcc(header: str, recipients: tuple[str, ...]) -> None:
    assert recipients_of(header) == recipients


@pytest.mark.parametrize("address", ["root@localhost", "nagios@LOCALHOST", "root@localhost.localdomain"])
def test_a_user_of_this_machine_is_nobody_on_the_smarthost(address: str) -> None:
    # Postfix, as Debian sets it up, is "localhost" too: its own root would get our mail.
    assert recipients_of(f"To: {address}, root") == (FULL.notification,)
    assert recipients_of(f"To: {J}", address) == (FULL.notification, J)
    support = address.replace("root", "support").replace("nagios", "support")
    assert recipients_of(f"To: {support}") == (FULL.support,)
    # A smarthost on this machine may know it: without another place it goes there.
    assert recipients_of(f"To: {address}", addresses=Addresses(sender=FULL.sender)) == (address,)


@pytest.mark.parametrize(
    ("smarthost", "knows"),
    [
        ("localhost", True), ("LocalHost", True), ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True),
        ("[::1]", True), ("mail.isp.example", False), ("127.isp.example", False), ("192.0.2.1", False), ("", False),
    ],
)  # fmt: skip
def test_a_smarthost_on_this_machine_has_its_users_and_nobody_else_gets_their_mail(smarthost: str, knows: bool) -> None:
    addresses = Addresses(notification=FULL.notification, smarthost=smarthost)
    assert recipients_of("To: joe@localhost", addresses=addresses) == ("joe@localhost" if knows else FULL.notification,)
    assert recipients_of("To: joe", addresses=addresses) == (FULL.notification,)


def test_recipients_on_the_command_line_come_first_and_are_added_to() -> None:
    assert recipients_of(f"To: {J}, {A}", B, "JOE@example.com", J) == (B, "JOE@example.com", J, A)


def test_the_header_is_not_read_when_recipients_are_only_given() -> None:
    assert recipients_of(f"To: not an address <\nBcc: {B}", J, extract=False) == (J,)


@pytest.mark.parametrize(
    "header", ["Subject: x", "To:", "To: undisclosed-recipients:;", "Resent-To:\nTo: joe@example.com"]
)
def test_a_message_without_recipients_is_refused_with_a_remedy(header: str) -> None:
    with pytest.raises(NoUserError, match="no recipients") as caught:
        recipients_of(header)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("To: joe smith@example.com", "To: 'joe smith@example.com'"),
        ("Cc: ann@example.com <joe@example.com>", "Cc: 'ann@example.com <joe@example.com>'"),
        ("Bcc: joe@exam_ple.com", "Bcc: 'joe@exam_ple.com'"),
        ("Resent-To: joe@", "Resent-To: 'joe@'"),
    ],
)
def test_a_header_that_is_no_address_list_is_refused_by_name(header: str, what: str) -> None:
    with pytest.raises(NoUserError) as caught:
        recipients_of(header)
    assert caught.value.what.startswith(what)
    assert caught.value.why


@pytest.mark.parametrize(
    ("name", "mailbox"),
    [
        ("support", "support@isp.example"),
        ("Support", "support@isp.example"),
        ("root", "noc@isp.example"),
        ("postmaster", "noc@isp.example"),
        ("MAILER-DAEMON", "noc@isp.example"),
        ("cron", "noc@isp.example"),
        ("www-data", "noc@isp.example"),
        ("joe.smith", "noc@isp.example"),
    ],
)
def test_a_local_name_leads_to_support_or_notification(name: str, mailbox: str) -> None:
    assert recipients_of("Subject: x", name) == (mailbox,)
    assert recipients_of(f"To: {name}") == (mailbox,)
    assert recipients_of(f"To: <{name}> (local)") == (mailbox,)


def test_several_local_names_make_one_recipient() -> None:
    assert recipients_of("To: root, postmaster, noc@ISP.example") == ("noc@isp.example",)


def test_support_goes_to_notification_when_it_has_no_address_of_its_own() -> None:
    assert recipients_of("To: support", addresses=Addresses(notification="noc@isp.example")) == ("noc@isp.example",)


@pytest.mark.parametrize(
    ("name", "key"),
    [("root", "addresses.notification"), ("www-data", "addresses.notification"), ("support", "addresses.support")],
)
def test_a_local_name_that_leads_nowhere_is_refused_with_the_command_that_mends_it(name: str, key: str) -> None:
    with pytest.raises(NoUserError, match=name) as caught:
        recipients_of("Subject: x", name, addresses=Addresses(sender="sender@isp.example"))
    assert caught.value.exit_code == 67
    assert caught.value.remedy == f"ucrmmail config set {key} you@example.com"


@pytest.mark.parametrize(
    "given", ["Joe <joe@example.com>", "joe@example.com, ann@example.com", "<joe@example.com>", "", "a b"]
)
def test_a_recipient_that_is_given_is_one_mailbox_and_nothing_else(given: str) -> None:
    with pytest.raises(NoUserError):
        recipients_of("Subject: x", given)


FROM = "From: Billing <from@isp.example>"


@pytest.mark.parametrize(
    ("given", "addresses", "header", "reverse_path"),
    [
        ("bounces@isp.example", FULL, FROM, "bounces@isp.example"),
        ("", FULL, FROM, ""),
        (None, FULL, FROM, "sender@isp.example"),
        (None, Addresses(organization="office@isp.example"), FROM, "office@isp.example"),
        (None, Addresses(), FROM, "from@isp.example"),
        (None, Addresses(), "From: first@isp.example, second@isp.example", "first@isp.example"),
        (None, Addresses(), "From: root, second@isp.example", "second@isp.example"),
        (None, Addresses(), "From: büro@münchen.example", "büro@xn--mnchen-3ya.example"),
        ("www-data", FULL, FROM, "sender@isp.example"),
        ("www-data", Addresses(), FROM, "from@isp.example"),
        ("root", Addresses(notification="noc@isp.example"), "From: root (Cron Daemon)", "noc@isp.example"),
        (None, Addresses(notification="noc@isp.example"), FROM, "from@isp.example"),
        ("bounces@münchen.example", FULL, FROM, "bounces@xn--mnchen-3ya.example"),
    ],
)
def test_bounces_go_to_what_was_given_else_sender_organization_from_or_notification(
    given: str | None, addresses: Addresses, header: str, reverse_path: str
) -> None:
    assert submit(f"{header}\n\n", reverse_path=given, addresses=addresses).reverse_path == reverse_path


@pytest.mark.parametrize("header", ["Subject: x", "From: root (Cron Daemon)", "From:", "From: not an address <"])
def test_without_an_address_for_bounces_the_message_is_refused_with_a_remedy(header: str) -> None:
    with pytest.raises(DataError, match="bounces") as caught:
        submit(f"{header}\n\n", reverse_path=None)
    assert "addresses.sender" in caught.value.remedy


@pytest.mark.parametrize("given", ["<joe@example.com>", "joe@", " ", "Joe <joe@example.com>", "joe@example.com SIZE=1"])
def test_a_reverse_path_that_is_no_mailbox_is_refused(given: str) -> None:
    with pytest.raises(NoUserError):
        submit(f"{FROM}\n\n", reverse_path=given)
