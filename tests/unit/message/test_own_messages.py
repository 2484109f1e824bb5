"""The test message, and notices: what ucrmmail writes on its own besides reports."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage

import pytest

from tests.support.injections import INJECTIONS
from tests.support.submission import NOW, submit
from ucrmmail.errors import UsageError
from ucrmmail.message.addresslist import parse_address_list
from ucrmmail.message.header import format_date
from ucrmmail.message.notice import build_notice
from ucrmmail.message.plain import REPORT_FIELD, folded_field, plain_part, visible
from ucrmmail.message.prepare import Addresses
from ucrmmail.message.testmessage import SUBJECT, TEST_FIELD, Attachment, Form, build_test_message


def a_test_message(
    *,
    subject: str = SUBJECT,
    hostname: str = "web-1",
    authenticated: bool = True,
    to: tuple[str, ...] = ("joe@example.com", "ann@example.com"),
    from_: str = "billing@isp.example",
) -> bytes:
    message = build_test_message(
        from_=from_,
        to=to,
        now=NOW,
        message_id="<test@isp.example>",
        hostname=hostname,
        smarthost="smtp.example.net:587",
        unique="k3x9qa",
        authenticated=authenticated,
        subject=subject,
    )
    assert submit(message).message == message
    return message


def a_notice(*paragraphs: str, subject: str = "The account cannot log in", hostname: str = "web-1") -> bytes:
    message = build_notice(
        from_="billing@isp.example",
        to="noc@isp.example",
        subject=subject,
        paragraphs=paragraphs,
        now=NOW,
        hostname=hostname,
        unique="k3x9qa",
    )
    assert submit(message).message == message
    return message


def text_of(message: bytes) -> str:
    content = message_from_bytes(message).get_payload(decode=True)
    assert isinstance(content, bytes)
    return " ".join(content.decode().split())


def subject_of(message: bytes) -> str:
    return str(make_header(decode_header(message_from_bytes(message)["Subject"])))


def test_the_test_message_says_who_when_how_and_what_it_proves() -> None:
    message = a_test_message()
    text = text_of(message)
    for words in (
        "ucrmmail on web-1", "From: billing@isp.example", "To: joe@example.com ann@example.com", f"Sent: {format_date(NOW)}",
        "Smarthost: smtp.example.net:587", "that its login is right", "ucrmmail check-dns isp.example", "k3x9qa",
    ):  # fmt: skip
        assert words in text
    parsed = message_from_bytes(message)
    assert parsed[TEST_FIELD] == "k3x9qa"
    assert parsed["Message-ID"] == "<test@isp.example>"
    assert parsed["To"] == "joe@example.com, ann@example.com"
    assert message.isascii()


def test_a_login_that_was_not_made_is_not_said_to_be_right() -> None:
    assert "login" not in text_of(a_test_message(authenticated=False))


def test_the_sender_rule_holds_for_the_test_message_too() -> None:
    message = a_test_message()
    assert submit(message, addresses=Addresses(sender="sender@isp.example")).message == (
        b"Sender: sender@isp.example\r\n" + message
    )


@pytest.mark.parametrize(
    "subject", ["", "Hello", "Größe 中文 \U0001f600", "x" * 300, "word " * 100, "é" * 200, "a\u00a0b", "=?utf-8?q?x?="]
)
def test_any_subject_is_read_as_it_was_written(subject: str) -> None:
    found = subject_of(a_test_message(subject=subject))
    assert " ".join(found.split()) in (" ".join(subject.split()), "x")


@pytest.mark.requirement("S5")
@pytest.mark.parametrize(
    "text", [text for text in INJECTIONS if not set(text) & set(map(chr, range(0xD800, 0xE000)))], ids=ascii
)
def test_a_subject_with_a_control_character_is_a_mistake_in_usage(text: str) -> None:
    with pytest.raises(UsageError, match="subject"):
        a_test_message(subject=text)


def test_a_notice_says_what_who_and_that_it_is_automatic() -> None:
    message = a_notice("The smarthost refused the login: 535 5.7.8.", "Make an app password.")
    parsed = message_from_bytes(message)
    assert parsed["From"] == '"ucrmmail on web-1" <billing@isp.example>'
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed[REPORT_FIELD] == "notice"
    assert parsed["Message-ID"] == "<k3x9qa@isp.example>"
    assert text_of(message) == (
        "The smarthost refused the login: 535 5.7.8. Make an app password. -- ucrmmail on web-1"
    )


@pytest.mark.parametrize("text", [*INJECTIONS, "x" * 5000, "é" * 5000], ids=lambda text: ascii(text)[:30])
def test_foreign_text_in_a_notice_is_spelled_out(text: str) -> None:
    message = a_notice(text, subject=text, hostname=text)
    parsed = message_from_bytes(message)
    assert set(parsed.keys()) == set(message_from_bytes(a_notice("hi")).keys())
    assert parsed["To"] == "noc@isp.example"
    assert text_of(message).isprintable()
    assert subject_of(message).replace("\r\n", "").isprintable()


def test_a_hostname_with_a_quote_does_not_break_the_from() -> None:
    hostile = a_notice("hi", hostname='a" <eve@example.com>, "b')
    assert parse_address_list(message_from_bytes(hostile)["From"]) == ["billing@isp.example"]


def test_text_with_long_lines_or_other_letters_is_quoted_printable() -> None:
    for text in ("x" * 999, "é", "a\nb" + "x" * 2000):
        part = plain_part(text)
        assert part.isascii()
        assert message_from_bytes(part).get_payload(decode=True) == text.replace("\n", "\r\n").encode() + b"\r\n"


def test_a_long_field_is_folded_between_words_and_an_id_stays_beside_its_name() -> None:
    assert folded_field("To", ", ".join(f"joe{n}@example.com" for n in range(9))).count(b"\r\n ") > 1
    assert folded_field("Message-ID", f"<{'x' * 100}@example.com>").startswith(b"Message-ID: <xxx")


def formed(form: Form) -> bytes:
    return build_test_message(
        from_="billing@isp.example",
        to=("joe@example.com",),
        now=NOW,
        message_id="<test@isp.example>",
        hostname="web-1",
        smarthost="smtp.example.net:587",
        unique="k3x9qa",
        authenticated=True,
        form=form,
    )


def parsed(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def test_html_comes_beside_the_plain_text() -> None:
    message = parsed(formed(Form(html=True)))
    assert message.get_content_type() == "multipart/alternative"
    html = message.get_body(("html",))
    assert html is not None
    assert "ucrmmail check-dns isp.example" in html.get_content()
    plain = message.get_body(("plain",))
    assert plain is not None
    assert "k3x9qa" in plain.get_content()


def test_letters_outside_ascii_go_as_they_are_and_ask_for_smtputf8() -> None:
    raw = formed(Form(utf8=True))
    assert "Subject: Test message from ucrmmail: Größe".encode() in raw
    assert b"Content-Transfer-Encoding: 8bit" in raw
    prepared = submit(raw)
    assert (prepared.utf8, prepared.eight_bit) == (True, True)
    assert prepared.message == raw
    assert "中文" in parsed(raw).get_content()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("invoice.pdf", "application/pdf"),
        ("notes.txt", "text/plain"),
        ("no-kind", "application/octet-stream"),
        ("mail.eml", "application/octet-stream"),
        ("backup.tar.gz", "application/octet-stream"),
        ("Größe 中文.png", "image/png"),
        ('quote"\r\nX-Evil: 1.txt', "text/plain"),
        ("x" * 300 + ".txt", "text/plain"),
    ],
)
def test_an_attachment_arrives_byte_for_byte(name: str, kind: str) -> None:
    content = bytes(range(256)) * 20 + b"\n.\n"
    raw = formed(Form(attachments=(Attachment(name, content),)))
    assert raw.isascii()
    assert submit(raw).message == raw
    (attachment,) = parsed(raw).iter_attachments()
    assert attachment.get_content_type() == kind
    assert attachment.get_payload(decode=True) == content
    assert attachment.get_filename() == visible(name)
    assert parsed(raw)["X-Evil"] is None


@pytest.mark.parametrize("size_bytes", [1, 1200, 2000, *range(3000, 3090), 50_000, 1_000_001])
@pytest.mark.parametrize("html", [False, True])
def test_a_message_has_the_size_that_was_asked_for(size_bytes: int, html: bool) -> None:
    least = len(formed(Form(html=html)))
    raw = formed(Form(html=html, size_bytes=size_bytes))
    # A filler part needs some bytes for its own header.
    assert len(raw) == size_bytes if size_bytes > least + 600 else least <= len(raw) < least + 700
    assert submit(raw).message == raw
    parsed(raw)
