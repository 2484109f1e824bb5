"""What holds for every message that is prepared, whatever an application hands over."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.submission import again, submit
from ucrmmail.errors import DataError
from ucrmmail.message.prepare import Addresses

ADDRESSES = Addresses(sender="sender@isp.example", notification="noc@isp.example")

FIELDS = [
    b"From: Billing <billing@isp.example>", b"From: root (Cron Daemon)", b"From:", b"To: joe@example.com", b"to : root",
    b"Subject: hello", b"Subject: h\xc3\xa9llo", b"Subject: h\xe9llo", b"Subject: a\n folded\n\tsubject",
    b"Bcc: eve@example.com", b"BCC:eve@example.com", b"bcc : eve@example.com,\n eve@example.net", b"Resent-bcc: eve@example.com",
    b"Sender: someone@isp.example", b"Sender: sender@isp.example", b"Date: Mon, 23 Nov 2026 10:00:00 +0100", b"Date:",
    b"Message-ID: <1@isp.example>", b"Message-Id:", b"X-Long: " + b"word " * 400, b"X-Mad:" + b" " * 30, b"X:y",
    b"MIME-Version: 1.0", b"Content-Type: text/plain; charset=utf-8", b"Content-Transfer-Encoding: 8bit",
    b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b"From someone Mon Nov 23",
    b">From someone", b"no field at all", b"DKIM-Signature: v=1; b=abc\n def", b'Content-Type: multipart/mixed; boundary="b"',
    b"Content-Type: message/rfc822",
]  # fmt: skip
PIECES = [
    b"", b".", b"..", b"hello", b"From here on", b"Bcc: eve@example.org", b"\xff\xfe", b"h\xc3\xa9", b"\0", b"x" * 998,
    b"x" * 999, b"=20=", b"aGVsbG8=", b"y z" * 700, b"--b", b"--b--", b" ", b"\t.", b"Content-Type: text/html",
]  # fmt: skip
ENDS = [b"\n", b"\r\n", b"\r", b"\r\r\n", b"\n\r", b"\n\n"]


def message(fields: list[bytes], pieces: list[tuple[bytes, bytes]], end: bytes) -> bytes:
    header = b"".join(field.replace(b"\n", end) + end for field in fields)
    return header + end + b"".join(piece + ending for piece, ending in pieces)


MESSAGES = st.builds(
    message,
    st.lists(st.sampled_from(FIELDS), max_size=9),
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([b"", *ENDS])), max_size=9),
    st.sampled_from([b"\n", b"\r\n", b"\r", b"\r\r\n"]),
) | st.binary(max_size=400)


def hold_the_promises(raw: bytes) -> bool:
    """Assert what every reader downstream relies on; return whether the message was accepted at all."""
    try:
        prepared = submit(raw, addresses=ADDRESSES)
    except DataError as error:
        refused = error.what
    else:
        refused = ""
    if refused:
        reasons = (
            "longer than 998 bytes, or a NUL",
            "header holds the control character U+",
            "is no field and ends the",
            "an empty line in front of the header ends it, with Bcc in",
        )
        assert any(reason in refused for reason in reasons)
        return False
    sent = prepared.message
    header = sent.partition(b"\r\n\r\n")[0]
    assert sent.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", sent)
    assert not re.search(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]", header)
    assert max(map(len, sent.split(b"\r\n"))) <= 998
    assert not re.search(rb"(?im)^(resent-)?bcc[ \t]*:", header)
    for name in (b"From", b"Date", b"Message-ID", b"Sender"):
        assert re.search(rb"(?im)^" + name + rb"[ \t]*:[ \t]*(\r\n[ \t]+)*\S", header), name
    assert prepared.eight_bit is (not sent.isascii())
    assert prepared.recipients == ("joe@example.com",)
    twice = again(prepared, ADDRESSES)
    assert twice.message == sent
    assert twice.message_id == prepared.message_id
    assert (twice.eight_bit, twice.utf8) == (prepared.eight_bit, prepared.utf8)
    return True


@pytest.mark.requirement("R10", "R16")
@given(MESSAGES)
def test_what_is_prepared_can_be_sent_and_preparing_it_again_changes_no_byte(raw: bytes) -> None:
    hold_the_promises(raw)


@pytest.mark.requirement("R10", "R16")
def test_ten_thousand_messages_keep_the_promises() -> None:
    dice = random.Random(20261123)
    accepted = 0
    for _ in range(10_000):
        fields = dice.choices(FIELDS, k=dice.randrange(6))
        pieces = [(dice.choice(PIECES), dice.choice([b"", *ENDS])) for _ in range(dice.randrange(7))]
        accepted += hold_the_promises(message(fields, pieces, dice.choice([b"\n", b"\r\n", b"\r\r\n"])))
    assert accepted > 9_000


# What is untouched, by another way of reading: a regular expression over canonical text.
FIELD = re.compile(rb"[!-9;-~]+[ \t]*:.*(\r\n[ \t].*)*\r\n")
HARMLESS_FIELDS = [
    field for field in FIELDS if re.match(rb"(?i)(X|Subject|To|DKIM|MIME|Date: M|From: B|Message-ID: )", field)
]
HARMLESS_PIECES = [piece for piece in PIECES if len(piece) <= 998 and b"\0" not in piece]


@given(
    st.lists(
        st.sampled_from([*HARMLESS_FIELDS, *(field for field in FIELDS if b"cc" in field.lower())]),
        min_size=1,
        max_size=9,
    ),
    st.lists(st.sampled_from(HARMLESS_PIECES), max_size=9),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_all_bytes_but_bcc_and_line_ends_stay_as_they_are(fields: list[bytes], lines: list[bytes], end: bytes) -> None:
    fields = [field for field in fields if not field.startswith(b"X-Long")]
    if not fields:
        return
    raw = message(fields, [(line, end) for line in lines], end)
    canonical = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    header, _empty, body = canonical.partition(b"\r\n\r\n")
    kept = [
        match.group()
        for match in FIELD.finditer(header + b"\r\n")
        if not re.match(rb"(?i)(resent-)?bcc[ \t]*:", match.group())
    ]
    expected = b"".join(kept) + b"\r\n" + body
    sent = submit(raw).message
    assert sent.endswith(expected)
    added = sent.removesuffix(expected)
    assert re.fullmatch(rb"((From|Date|Message-ID): [^\r\n]+\r\n)*", added)
