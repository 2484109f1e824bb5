"""Delivery status notifications, read back by the standard library."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import Message
from email.policy import SMTPUTF8

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.injections import INJECTIONS
from tests.support.submission import NOW, submit
from ucrmmail.dataclass import replace
from ucrmmail.delivery.notices import MOST_OF_ORIGINAL_BYTES
from ucrmmail.message.dsn import build_dsn
from ucrmmail.message.dsntext import FailedRecipient
from ucrmmail.message.header import format_date
from ucrmmail.message.plain import REPORT_FIELD

QUEUE_ID = "1-20261123T110559.123456-k3x9qa"
ORIGINAL = (
    b"From: =?utf-8?q?B=C3=BCro?= <billing@isp.example>\r\nTo: joe@example.com\r\n"
    b"Subject: =?utf-8?q?Rechnung_f=C3=BCr?= November\r\nMessage-ID: <1@isp.example>\r\n\r\nHello.\r\n"
)
GONE = FailedRecipient("joe@example.com", "5.1.1", "550 5.1.1 No such user here", "rcpt")
FULL = FailedRecipient("ann@example.com", "5.2.2", "552 5.2.2 Mailbox full", "final-dot")


def dsn(
    *failed: FailedRecipient,
    to: str = "billing@isp.example",
    reverse_path: str = "billing@isp.example",
    original: bytes = ORIGINAL,
    hostname: str = "mail.isp.example",
    queue_id: str = QUEUE_ID,
    retry_until: float = 0.0,
    now: float = NOW + 0.25,
) -> bytes:
    message = build_dsn(
        to=to,
        queue_id=queue_id,
        reverse_path=reverse_path,
        accepted_at=NOW,
        failed=failed or (GONE,),
        original=original,
        hostname=hostname,
        now=now,
        retry_until=retry_until,
    )
    # Whatever is reported: it can be sent, and preparing it adds nothing.
    assert submit(message, reverse_path="", recipients=(to,)).message == message
    assert not re.search(rb"(?im)^[ \t]+$", message), "a line of blanks may end a header for some readers"
    return message


def parts_of(message: bytes) -> tuple[str, list[Message], Message]:
    """Return the text for people, the blocks for programs, and the part with the original."""
    parsed = message_from_bytes(message)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    parts = parsed.get_payload()
    assert isinstance(parts, list)
    text, status, original = parts
    assert isinstance(text, Message)
    assert isinstance(status, Message)
    assert isinstance(original, Message)
    content = text.get_payload(decode=True)
    assert isinstance(content, bytes)
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    return content.decode(), [block for block in blocks if isinstance(block, Message) and block.keys()], original


def id_of(message: bytes) -> str:
    return str(message_from_bytes(message)["Message-ID"])


@pytest.mark.requirement("R10")
def test_a_report_that_is_made_again_has_the_id_of_the_first() -> None:
    """A run was killed between accepting a report and noting that: who gets both can drop one."""
    assert id_of(dsn(GONE, FULL, now=NOW + 1.0)) == id_of(dsn(GONE, FULL, now=NOW + 61.5))


@pytest.mark.requirement("R10")
def test_reports_of_several_failures_have_several_ids() -> None:
    later = replace(GONE, at=GONE.at + 300.0)
    ids = [id_of(dsn(*failed)) for failed in ((GONE,), (FULL,), (GONE, FULL), (later,), (later, FULL))]
    assert len({*ids, id_of(dsn(retry_until=NOW + 9.0)), id_of(dsn(queue_id="2" + QUEUE_ID[1:]))}) == 7


def test_the_header_says_what_it_is() -> None:
    parsed = message_from_bytes(dsn())
    assert parsed["From"] == "Mail Delivery System <MAILER-DAEMON@isp.example>"
    assert parsed["To"] == "billing@isp.example"
    assert parsed["Subject"] == "Not delivered: your message to joe@example.com"
    assert parsed["Date"] == format_date(NOW)
    assert parsed["Auto-Submitted"] == "auto-replied"
    assert parsed["References"] == "<1@isp.example>"
    assert parsed[REPORT_FIELD] == QUEUE_ID
    assert parsed["Message-ID"].endswith("@isp.example>")
    assert parsed["Return-Path"] is None


def test_programs_find_each_recipient_with_action_status_and_reply() -> None:
    _text, blocks, _original = parts_of(dsn(GONE, FULL))
    assert [dict(block.items()) for block in blocks] == [
        {"Reporting-MTA": "dns; mail.isp.example", "X-Ucrmmail-Queue-ID": QUEUE_ID, "Arrival-Date": format_date(NOW)},
        {
            "Final-Recipient": "rfc822; joe@example.com",
            "Action": "failed",
            "Status": "5.1.1",
            "Diagnostic-Code": "smtp; 550 5.1.1 No such user here",
            "X-Ucrmmail-Stage": "rcpt",
        },
        {
            "Final-Recipient": "rfc822; ann@example.com",
            "Action": "failed",
            "Status": "5.2.2",
            "Diagnostic-Code": "smtp; 552 5.2.2 Mailbox full",
            "X-Ucrmmail-Stage": "final-dot",
        },
    ]


@pytest.mark.requirement("R11")
def test_who_may_have_the_message_is_not_told_as_one_without_it() -> None:
    reply = "given up after 5d; the last answer was: the server closed the connection (after the final dot)"
    doubt = FailedRecipient("eve@example.com", "4.4.7", reply, "final-dot", uncertain=True)
    for failed, opening in (
        ((doubt,), "may have been delivered to this recipient, or not"),
        ((doubt, doubt), "may have been delivered to these recipients, or not"),
        ((GONE, doubt), "was not delivered to all of these recipients, and may have been to some"),
    ):
        message = dsn(*failed)
        assert str(message_from_bytes(message)["Subject"]).startswith("Perhaps not delivered: your message to ")
        text, blocks, _original = parts_of(message)
        words = " ".join(text.split())
        assert f"The message below {opening}" in words
        about = words.partition("<eve@example.com>")[2]
        assert "This means: the message may have been delivered: the mail server got all of it" in about
        assert "What to do: ask the recipient whether it has arrived" in about
        assert "send the message again later" not in about
        status = dict(blocks[-1].items())
        assert (status["Action"], status["Status"]) == ("failed", "4.4.7")
        diagnostic = " ".join(status["Diagnostic-Code"].split())
        assert diagnostic == f"x-ucrmmail; {reply}; the message may have been delivered"
    assert "may have been" not in " ".join(parts_of(dsn(GONE))[0].split())


def test_people_are_told_what_happened_why_and_what_to_do() -> None:
    text, _blocks, _original = parts_of(dsn(GONE, FULL))
    words = " ".join(text.split())
    for sentence in (
        "was not delivered to these recipients",
        "Rechnung für November",
        "Büro <billing@isp.example>",
        "<joe@example.com> Answer: 550 5.1.1 No such user here This means: there is no mailbox of this name.",
        "What to do: check how the part before the @ is spelt",
        "<ann@example.com> Answer: 552 5.2.2 Mailbox full This means: the mailbox is full.",
        f"`ucrmmail queue show {QUEUE_ID}`",
    ):
        assert sentence in words
    assert "in place of" not in words
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("=?no-such-charset?q?x?=", "=?no-such-charset?q?x?="),
        ("=?utf-8?b?!?=", "Subject:"),
        ("=?é?q?x?=", "=?é?q?x?="),
        ("=?utf-8?q?a=0D=0ABcc: b?=", "a\\x0d\\x0aBcc: b"),
        ("=?utf-8?q?" + "x" * 3000 + "?=", "..."),
        ("x" * 201, "x" * 197 + "..."),
    ],
)
def test_a_subject_is_shown_as_far_as_it_can_be_read(subject: str, told: str) -> None:
    text, _blocks, _original = parts_of(dsn(original=f"Subject: {subject}\r\n\r\nhi\r\n".encode()))
    assert told in text
    assert "From:" not in text


def test_an_original_without_a_header_is_reported_by_its_queue_id() -> None:
    text, _blocks, _original = parts_of(dsn(original=b"\r\nhi\r\n"))
    assert "Subject:" not in text
    assert f"Queue id:   {QUEUE_ID}" in text


def test_a_late_message_is_reported_as_such() -> None:
    message = dsn(FailedRecipient("joe@example.com", "4.4.1", "451 busy", "connect"), retry_until=NOW + 86400)
    text, blocks, _original = parts_of(message)
    assert message_from_bytes(message)["Subject"] == "Late: your message to joe@example.com"
    assert "Do not send it again" in " ".join(text.split())
    assert blocks[1]["Action"] == "delayed"
    assert blocks[1]["Will-Retry-Until"] == format_date(NOW + 86400)


def test_somebody_else_is_told_why_it_is_them() -> None:
    text, _blocks, _original = parts_of(dsn(to="noc@isp.example", reverse_path=""))
    assert "no return address" in " ".join(text.split())
    text, _blocks, _original = parts_of(dsn(to="noc@isp.example"))
    assert "in place of billing@isp.example" in " ".join(text.split())


@pytest.mark.parametrize(
    ("enhanced", "retry_until", "status"),
    [("", 0, "5.0.0"), ("", 1, "4.0.0"), ("5.7.26", 0, "5.7.26"), ("4.4.7", 0, "4.4.7"), ("2.0.0", 0, "5.0.0"),
     ("5.1", 0, "5.0.0"), ("5.1.1.1", 0, "5.0.0"), ("5.1.1\r\nX: y", 0, "5.0.0"), ("5.٣.1", 0, "5.0.0"), ("5.1.1234", 0, "5.0.0")],
)  # fmt: skip
def test_the_status_is_a_status_code(enhanced: str, retry_until: float, status: str) -> None:
    message = dsn(FailedRecipient("joe@example.com", enhanced, "550 no", "rcpt"), retry_until=retry_until)
    assert parts_of(message)[1][1]["Status"] == status


@pytest.mark.parametrize(
    ("reply", "diagnostic"),
    [
        ("550 no", "smtp; 550 no"),
        ("550", "smtp; 550"),
        (
            "given up after 5d; the last answer was: 451 busy",
            "x-ucrmmail; given up after 5d; the last answer was: 451 busy",
        ),
        ("", "x-ucrmmail; no reply"),
        ("550 n\udcfce", "smtp; 550 n\\xfce"),
        ("550 né", "smtp; 550 n\\xe9"),
    ],
)
def test_only_what_a_server_said_is_called_smtp(reply: str, diagnostic: str) -> None:
    block = parts_of(dsn(FailedRecipient("joe@example.com", "", reply)))[1][1]
    assert re.sub(r"\s+", " ", block["Diagnostic-Code"]) == diagnostic


@pytest.mark.parametrize(
    "text", [*INJECTIONS, "x" * 5000, "x " * 5000, "\u202e\u200b", "--=_" + QUEUE_ID, "."], ids=lambda t: ascii(t)[:30]
)
def test_foreign_text_cannot_add_a_header_a_block_or_a_part(text: str) -> None:
    field = f"Subject: {text}\r\nMessage-ID: <{text}>\r\n".encode("utf-8", "surrogatepass")
    hostile = dsn(
        FailedRecipient("joe@example.com", "5.1.1", f"550 {text}", text),
        hostname=text,
        original=field + ORIGINAL,
    )
    reports = message_from_bytes(hostile)
    assert set(reports.keys()) <= set(message_from_bytes(dsn()).keys())
    assert reports.get_all("Bcc") is None
    told, blocks, _original = parts_of(hostile)
    assert [block.keys() for block in blocks] == [block.keys() for block in parts_of(dsn())[1]]
    assert told.replace("\r\n", "").isprintable()


def test_a_small_ascii_message_is_returned_whole() -> None:
    _text, _blocks, original = parts_of(dsn())
    assert original.get_content_type() == "message/rfc822"
    assert original.as_bytes().replace(b"\n", b"\r\n").endswith(ORIGINAL)


def test_of_a_large_or_8bit_message_the_header_is_returned() -> None:
    for original in (ORIGINAL + b"x\r\n" * 30_000, ORIGINAL + b"\xff\r\n"):
        message = dsn(original=original)
        _text, _blocks, part = parts_of(message)
        assert part.get_content_type() == "text/rfc822-headers"
        assert part.get_payload(decode=True) == ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"
        assert message.isascii()


@pytest.mark.requirement("R8")
@pytest.mark.parametrize(
    ("enhanced", "reply"),
    [
        ("5.3.4", "the message has 7070 bytes, and the smarthost takes 7069"),
        ("5.3.4", "552 5.3.4 Message size exceeds fixed limit"),
        ("5.2.3", "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient"),
        ("", "552 sorry, that message size exceeds my databytes limit (#5.3.4)"),
        ("4.4.7", "given up after 5d; the last answer was: 552 5.3.4 too big"),
    ],
)
def test_of_a_message_that_is_too_large_the_header_is_returned(enhanced: str, reply: str) -> None:
    too_large = FailedRecipient("eve@example.com", enhanced, reply, "rcpt")
    _text, _blocks, part = parts_of(dsn(GONE, too_large))
    assert part.get_content_type() == "text/rfc822-headers"
    assert part.get_payload(decode=True) == ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"


@pytest.mark.parametrize(
    ("enhanced", "reply"),
    [
        ("5.2.2", "552 5.2.2 Mailbox size limit exceeded"),
        ("", "552 Quota exceeded"),
        ("", "552 mailbox is over its size"),
        ("", "550 your name is too long"),
        ("4.4.7", "given up after 5d; the last answer was: 451 busy"),
    ],
)
def test_a_mailbox_that_is_full_says_nothing_of_the_size(enhanced: str, reply: str) -> None:
    _text, _blocks, part = parts_of(dsn(FailedRecipient("eve@example.com", enhanced, reply, "rcpt")))
    assert part.get_content_type() == "message/rfc822"


@pytest.mark.requirement("R8")
def test_of_a_message_that_was_refused_once_it_was_read_the_header_is_returned() -> None:
    refused = FailedRecipient("eve@example.com", "5.7.1", "554 5.7.1 virus found", "final-dot")
    _text, _blocks, part = parts_of(dsn(GONE, refused))
    assert part.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    ("subject", "kind"),
    [("Größe".encode(), "message/global-headers"), ("Größe".encode("latin-1"), "text/rfc822-headers")],
)
def test_a_header_outside_ascii_is_returned_in_seven_bits(subject: bytes, kind: str) -> None:
    original = b"Subject: " + subject + b"\r\nFrom: a@isp.example\r\n\r\nhi\r\n"
    message = dsn(original=original)
    assert message.isascii()
    part = message.rpartition(b"Content-Type: ")[2]
    assert part.startswith(kind.encode() + b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
    import quopri

    assert quopri.decodestring(part.partition(b"\r\n\r\n")[2]).startswith(original.partition(b"\r\n\r\n")[0])


@pytest.mark.parametrize("field", [b"X: y\r\n", b"X: " + b"y" * 900 + b"\r\n"])
def test_a_large_header_is_not_returned_in_full(field: bytes) -> None:
    assert len(dsn(original=field * (MOST_OF_ORIGINAL_BYTES // len(field)) + ORIGINAL)) < 100_000


def test_an_international_recipient_is_reported_in_seven_bits_to_an_ascii_address() -> None:
    message = dsn(FailedRecipient("j+ö@xn--mnchen-3ya.example", "5.6.7", "553 5.6.7 no SMTPUTF8", "mail"))
    assert message.isascii()
    text, blocks, _original = parts_of(message)
    assert blocks[1]["Final-Recipient"] == "utf-8; j\\x{2B}\\x{F6}@xn--mnchen-3ya.example"
    assert "<j+ö@xn--mnchen-3ya.example>  (in letters: münchen.example)" in text


def test_an_international_sender_gets_an_international_report() -> None:
    message = dsn(
        FailedRecipient("jörg@example.com", "5.1.1", "550 no"), to="büro@isp.example", reverse_path="büro@isp.example"
    )
    parsed = message_from_bytes(message, policy=SMTPUTF8)
    assert parsed["To"] == "büro@isp.example"
    assert b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n" in message
    assert "Final-Recipient: utf-8; jörg@example.com\r\n".encode() in message
    assert submit(message, reverse_path="", recipients=("büro@isp.example",)).utf8


@pytest.mark.requirement("S14")
def test_letters_that_look_alike_are_pointed_out() -> None:
    text, _blocks, _original = parts_of(dsn(FailedRecipient("joe@xn--pypal-4ve.com", "5.1.2", "550 no")))
    words = " ".join(text.split())
    assert "(in letters: p\u0430ypal.com)" in words
    assert "mixes Cyrillic and Latin letters" in words


def test_a_boundary_that_stands_in_the_original_is_not_used() -> None:
    original = ORIGINAL + f"--=_{QUEUE_ID}--\r\n".encode()
    _text, _blocks, part = parts_of(dsn(original=original))
    assert part.as_bytes().replace(b"\n", b"\r\n").endswith(original)


@given(st.binary(max_size=300), st.text(max_size=80), st.text(max_size=20))
def test_any_original_and_any_reply_make_a_report_that_can_be_sent(original: bytes, reply: str, subject: str) -> None:
    header = f"Subject: {subject}\r\n".encode("utf-8", "replace")
    parts_of(dsn(FailedRecipient("joe@example.com", "", reply), original=header + original))
