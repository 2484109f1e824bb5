"""Messages that SMTP cannot carry: parts encoded anew, read back by the standard library as what they were."""

from __future__ import annotations

import base64
import time
from base64 import b64decode
from binascii import a2b_qp
from contextlib import suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.submission import submit
from ucrmmail.errors import DataError
from ucrmmail.message.addresslist import parse_address_list
from ucrmmail.message.header import split, unsendable, value_of
from ucrmmail.message.reencode import reencoded, seven_bit

LONG = b"long line " * 300
HEAD = b"From: a@isp.example\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@isp.example>\r\n"


def leaves(raw: bytes) -> list[tuple[str, bytes]]:
    """Return (type, decoded content) of each part, as a mail reader sees them."""
    found = []
    for part in message_from_bytes(raw).walk():
        if not part.is_multipart():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            found.append((part.get_content_type(), content))
    return found


def sent(raw: bytes) -> bytes:
    assert unsendable(raw), "the test must be about a message that cannot be sent"
    message = submit(raw).message
    assert not unsendable(message)
    return message


@pytest.mark.parametrize("body", [LONG, LONG + b"\r\nmore\r\n", b"a\0b\r\n", b"\0", b"x" * 5000, b"h\xc3\xa9" * 900, b"\xe9" * 999,
                                  b".\r\n" + LONG, LONG + b" \r\n.\r\n", b"=" * 2000, b"a\r\n" * 50 + LONG])  # fmt: skip
def test_a_plain_body_becomes_quoted_printable_and_reads_the_same(body: bytes) -> None:
    body = body if body.endswith(b"\r\n") else body + b"\r\n"
    message = sent(HEAD + b"\r\n" + body)
    parsed = message_from_bytes(message)
    assert parsed.get_payload(decode=True) == body
    assert parsed["Content-Transfer-Encoding"] == "quoted-printable"
    assert parsed["MIME-Version"] == "1.0"
    assert message.isascii()


@pytest.mark.parametrize(
    ("body", "charset"), [(LONG, None), (b"h\xc3\xa9" * 900, "utf-8"), (b"\xe9" * 999, "unknown-8bit")]
)
def test_text_without_a_charset_gets_the_one_that_readers_guessed(body: bytes, charset: str | None) -> None:
    parsed = message_from_bytes(sent(HEAD + b"\r\n" + body))
    assert parsed.get_content_charset() == charset


def test_mime_fields_of_the_application_stay() -> None:
    head = HEAD + b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=latin-1\r\n"
    message = sent(head + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + b"\xe9" * 999)
    assert message.startswith(head + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n")


def test_base64_is_wrapped_again_and_no_letter_of_it_changes() -> None:
    content = bytes(range(256)) * 40
    head = HEAD + b"MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: BASE64\r\n\r\n"
    message = sent(head + base64.b64encode(content))
    assert message.startswith(head)
    assert message_from_bytes(message).get_payload(decode=True) == content
    assert message.removeprefix(head).replace(b"\r\n", b"") == base64.b64encode(content)


@pytest.mark.parametrize(
    "line", [b"=C3=A9" * 400, b"a=\0" * 400, b"x" * 997 + b"=C3=A9" * 9, b"\t" * 1500 + b"x", b"=" * 1200]
)
def test_quoted_printable_is_broken_softly_and_decodes_to_the_same(line: bytes) -> None:
    head = HEAD + b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    message = sent(head + line + b"\r\nshort =3D line=\r\n\r\n")
    assert message.startswith(head)
    before = message_from_bytes(head + line.replace(b"\0", b"=00") + b"\r\nshort =3D line=\r\n\r\n").get_payload(
        decode=True
    )
    assert message_from_bytes(message).get_payload(decode=True) == before


def test_an_escaped_line_end_stays_escaped() -> None:
    head = HEAD + b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    message = sent(head + b"a=0Db=0Ac" * 200)
    assert message_from_bytes(message).get_payload(decode=True) == b"a\rb\nc" * 200 + b"\r\n"


MULTIPART = (
    HEAD + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary="b 1"\r\n\r\n'
    b"A preamble,  with odd  blanks\r\n"
    b"--b 1  \r\nContent-Type: text/plain\r\nX-Odd:   kept \r\n\r\nshort \r\n"
    b"--b 1\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%b\r\n"
    b"--b 1\r\n\r\nno header\r\n"
    b"--b 1x\r\nnot a delimiter\r\n"
    b"--b 1--\r\nAn epilogue\r\n--b 1\r\nnot a part\r\n"
)  # fmt: skip


def test_only_the_part_with_the_trouble_is_changed() -> None:
    message = sent(MULTIPART % LONG)
    before, after = (MULTIPART % b"\xff\xff\xff").split(b"\xff\xff\xff")
    assert message.startswith(
        before.replace(b"Content-Transfer-Encoding: 8bit", b"Content-Transfer-Encoding: quoted-printable")
    )
    assert message.endswith(after)
    assert leaves(message) == leaves(MULTIPART % LONG)


def test_parts_inside_parts_and_messages_inside_messages_are_reached() -> None:
    inner = b"--i\r\nContent-Type: text/plain\r\n\r\n" + LONG + b"\r\n--i--\r\n"
    attached = b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n" + inner
    raw = (
        HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n"
        b"Content-Type: message/rfc822\r\n\r\n" + attached + b"\r\n--o\r\nContent-Type: application/json\r\n\r\n"
        + b"{}" * 900 + b"\r\n--o--\r\n"
    )  # fmt: skip
    assert leaves(sent(raw)) == leaves(raw)


@pytest.mark.parametrize(
    "encoding", [b"8-bit", b"7-bit", b"8bit;", b"8BIT (as it is)", b"7bit; charset=utf-8", b"UTF-8", b"utf8"]
)
def test_an_encoding_that_every_reader_takes_for_none_is_one(encoding: bytes) -> None:
    text = "Grüße, ".encode() * 200 + b"\r\n"
    raw = HEAD + b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + text
    for message in (sent(raw), seven_bit(raw)):
        encoded = message_from_bytes(message)
        assert encoded.get_all("Content-Transfer-Encoding") == ["quoted-printable"]
        assert encoded.get_payload(decode=True) == text


@pytest.mark.parametrize("encoding", [b"quoted-printable", b"base64", b"x-unknown"])
@pytest.mark.parametrize("text", [LONG + b"a=41b", "Grüße, ".encode() * 200])
def test_parts_are_what_they_say_themselves(encoding: bytes, text: bytes) -> None:
    """Old PHPMailer, in WordPress and others, says of the whole what is meant of a part."""
    raw = (
        HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b1\r\nContent-Transfer-Encoding: " + encoding
        + b"\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text
        + b"\r\n--b1\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b1--\r\n"
    )  # fmt: skip
    for message in (sent(raw), *([] if text.isascii() else [seven_bit(raw)])):
        assert [content.strip() for _kind, content in leaves(message)] == [text.strip(), b"ABC"]
        assert message.endswith(b"\r\n\r\nQUJD\r\n--b1--\r\n")


@pytest.mark.parametrize(
    "parameters", [b"; a=b" * 201, b'; a="' + b";" * 201 + b'"', b"; a=" + b"b" * 900 + (b"\r\n " + b"b" * 900) * 9]
)
def test_a_content_type_that_takes_long_to_read_is_refused(parameters: bytes) -> None:
    """The email package takes the square of its length; a file in drop/ had held the run for an hour."""
    fields = HEAD + b"MIME-Version: 1.0\r\nContent-Type: text/plain%b\r\n\r\n"
    for around in (b"%b", BESIDE_A_FOOTER % (b"Content-Type: text/plain%b\r\n\r\n" + LONG, b"")):
        raw = fields % parameters + LONG if around == b"%b" else around % parameters
        with pytest.raises(DataError, match="Content-Type") as caught:
            submit(raw + b"\r\n")
        assert caught.value.why == "it is too long"


def test_a_content_type_of_many_parameters_is_read() -> None:
    name = b"".join(b";\r\n filename*%d*=%b" % (number, b"%C3%BC" * 10) for number in range(100))
    raw = (
        HEAD
        + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed"
        + name
        + b"; boundary=b\r\n\r\n--b\r\n\r\n"
        + LONG
        + b"\r\n--b--\r\n"
    )
    assert leaves(sent(raw)) == leaves(raw)


@pytest.mark.parametrize("name", [b"To", b"Cc", b"Reply-To"])
@pytest.mark.parametrize(
    "address",
    [
        b"user%d@example.com",
        b'"Smith, Ann %d"<ann@example.com>',
        b'Joe<joe%d@example.com>(a,b (c,d),"e)',
        b'"\\",%d"@example.com',
    ],
)
def test_addresses_that_a_comma_alone_separates_are_folded_behind_it(name: bytes, address: bytes) -> None:
    addresses = [address % number for number in range(100)]
    field = name + b": " + b",".join(addresses) + b"\r\n"
    message = sent(HEAD + field + b"\r\nhi\r\n")
    assert message.startswith(HEAD)
    unfolded = value_of(split(message)[0][3][1])
    assert unfolded in {separator.join(map(bytes.decode, addresses)) for separator in (",", ", ")}
    assert parse_address_list(unfolded) == parse_address_list(b",".join(addresses).decode())


def test_a_comma_of_another_field_is_no_place_to_fold_it_at() -> None:
    with pytest.raises(DataError, match="the X-Keys header"):
        submit(HEAD + b"X-Keys: " + b"a," * 600 + b"\r\n\r\nhi\r\n")
    with pytest.raises(DataError, match="the To header"):
        submit(HEAD + b'To: "' + b"a," * 600 + b'"<joe@example.com>\r\n\r\nhi\r\n')


@pytest.mark.parametrize(
    "junk", [b'"' + b"\\" * 500_000, b"(" * 500_000, b'("' * 250_000, b",(" * 250_000, b'"",' * 150_000]
)
def test_a_hostile_list_of_addresses_is_folded_in_one_pass(junk: bytes) -> None:
    start = time.process_time()
    with suppress(DataError):
        reencoded(HEAD + b"To: " + junk + b"\r\n\r\nhi\r\n")
    assert time.process_time() - start < 6


def test_an_encoding_with_a_semicolon_is_known() -> None:
    fields = HEAD + b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: %b;\r\n\r\n"
    assert b64decode(sent(fields % b"base64" + b"QUJD" * 500).partition(b"\r\n\r\n")[2]) == b"ABC" * 500
    assert (
        a2b_qp(sent(fields % b"quoted-printable" + b"=41 " * 500).partition(b"\r\n\r\n")[2]).strip()
        == (b"A " * 500).strip()
    )


@pytest.mark.parametrize("text", [LONG, "Grüße, ".encode() * 200])
def test_a_message_without_mime_fields_inside_of_another_says_how_it_is_encoded(text: bytes) -> None:
    """Without MIME-Version its readers take "=C3=BC" for what was written (RFC 2045 section 4)."""
    forwarded = b"Content-Type: message/rfc822\r\n\r\nFrom: ann@example.com\r\n\r\n" + text + b"\r\n"
    _outer, inner = message_from_bytes(sent(HEAD + b"MIME-Version: 1.0\r\n" + forwarded)).walk()
    assert inner["MIME-Version"] == "1.0"
    assert inner["Content-Transfer-Encoding"] == "quoted-printable"
    assert inner.get_payload(decode=True) == text + b"\r\n"
    assert (inner.get_content_charset() == "utf-8") is not text.isascii()


@pytest.mark.parametrize(
    "outer", [b"%b", b"".join(b"--o\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n%%b" % n for n in range(3))]
)
def test_so_many_parts_are_looked_at_and_no_more(outer: bytes) -> None:
    """Each costs its microseconds: 45 MB of delimiters had taken more than a minute."""
    inner = [b"--%d\r\n\r\n" % n + LONG + b"\r\n" + b"--%d\r\n" % n * 50_000 for n in range(outer.count(b"%b"))]
    few = HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=" + (b"o" if len(inner) > 1 else b"0")
    few += b"\r\n\r\n" + outer % tuple(inner)
    if len(inner) == 1:
        assert leaves(sent(few))[0][1].strip() == LONG.strip()
        few += b"--0\r\n" * 50_000
    with pytest.raises(DataError, match="more than 100000 parts"):
        submit(few)


def test_lines_that_only_begin_as_a_delimiter_are_looked_at_as_often_as_parts_and_no_more() -> None:
    head = HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + LONG + b"\r\n"
    assert leaves(sent(head + b"--bx\r\n" * 3 + b"--b--\r\n"))[0][1].startswith(LONG.strip())
    with pytest.raises(DataError, match="more than 100000 parts"):
        submit(head + b"--bx\r\n" * 100_000 + b"--b--\r\n")


def test_a_part_that_is_not_closed_is_mended_too() -> None:
    raw = HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\n" + LONG + b"\r\n"
    assert leaves(sent(raw)) == leaves(raw)


def test_what_a_common_library_builds_reads_the_same() -> None:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = "a@isp.example", "joe@example.com", "Report"
    message.set_content("x" * 5000 + "\r\n", cte="8bit")
    message.add_alternative("<p>" + "é" * 3000 + "</p>\r\n", subtype="html", cte="8bit")
    message.add_attachment(bytes(range(256)) * 99, maintype="application", subtype="pdf", filename="r.pdf")
    raw = message.as_bytes()
    assert leaves(sent(raw)) == leaves(raw)


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    "field",
    [
        b"Subject: " + b"word " * 400,
        b"To: " + b", ".join(b"joe%d@example.com" % number for number in range(200)),
        b"References: " + b"\t<1@isp.example>" * 100,
        b"X: a" + b" " * 990 + b"b" + b"c" * 20,
        b"X: a\r\n " + b"word " * 400,
    ],
    ids=lambda field: ascii(field[:12]),
)
def test_a_long_header_line_is_folded_at_blanks_and_reads_the_same(field: bytes) -> None:
    message = sent(HEAD + field + b"\r\n\r\nhi\r\n")
    assert message.replace(b"\r\n ", b" ").replace(b"\r\n\t", b"\t").startswith(HEAD + field.replace(b"\r\n ", b" "))
    assert not any(line.isspace() for line in message.split(b"\r\n"))
    assert message.endswith(b"\r\n\r\nhi\r\n")


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (HEAD + b"X-Token: " + b"x" * 1000 + b"\r\n\r\n", "X-Token"),
        (HEAD + b"Subject: a\0b\r\n\r\n", "Subject"),
        (HEAD + b"X: a" + b" " * 2000 + b"\r\n\r\n", "X"),
        (HEAD + b"X:" + b" " * 2000 + b"a\r\n\r\n", "X"),
        (HEAD + b"Content-Transfer-Encoding: x-uuencode\r\n\r\n" + LONG, "the body"),
        (HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + LONG + b"\r\n--b\r\n\r\nhi\r\n--b--\r\n", "the body"),
        (HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b--\r\n" + LONG, "the body"),
        (HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: " + b"x" * 1000 + b"\r\n\r\nhi\r\n--b--\r\n", "the body"),
    ],
    ids=range(8),
)  # fmt: skip
def test_what_cannot_be_mended_is_refused_and_never_cut(raw: bytes, where: str) -> None:
    with pytest.raises(DataError) as caught:
        submit(raw)
    assert where in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize("parameter", ["boundary*=x'%00'b", "boundary*=%00'x'%00", "boundary*0*=\"\xff''b"])
def test_a_content_type_that_confuses_the_library_is_no_crash(parameter: str) -> None:
    raw = HEAD + f"Content-Type: multipart/mixed; {parameter}\r\n\r\n".encode("latin-1") + LONG
    with pytest.raises(DataError) as caught:
        submit(raw)
    assert caught.value.remedy


def test_parts_nested_without_end_are_refused() -> None:
    raw = HEAD
    for depth in range(200):
        raw += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (depth, depth)
    with pytest.raises(DataError):
        submit(raw + b"\r\n" + LONG)


@pytest.mark.parametrize(
    "body", [b"--b\r\n" * 99_000, b"--b\r\n\r\n" + b"\0" * 1_000_000, (b"--b\r\n\r\n" + LONG + b"\r\n") * 300]
)
def test_a_hostile_megabyte_of_parts_costs_no_more_than_its_size(body: bytes) -> None:
    raw = (
        HEAD
        + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        + body
        + b"\r\n--b\r\n\r\n\0\r\n--b--\r\n"
    )
    start = time.process_time()
    assert not unsendable(reencoded(raw))
    assert time.process_time() - start < 6


LINES = st.lists(
    st.one_of(st.binary(max_size=30), st.sampled_from([b"", b".", b" ", b"=", b"a \t", b"\0", b"x" * 1100, b"\xff" * 1100, b"--b"])),
    max_size=8,
).map(lambda lines: b"\r\n".join(line.replace(b"\r", b"").replace(b"\n", b"") for line in lines) + b"\r\n")  # fmt: skip


@given(LINES)
def test_any_body_decodes_to_the_bytes_it_was(body: bytes) -> None:
    message = submit(HEAD + b"MIME-Version: 1.0\r\n\r\n" + body).message
    assert message_from_bytes(message).get_payload(decode=True) == body


@given(st.lists(LINES, min_size=1, max_size=3))
def test_any_parts_decode_to_the_bytes_they_were(bodies: list[bytes]) -> None:
    parts = b"".join(b"--bound\r\nContent-Type: text/plain\r\n\r\n" + body + b"\r\n" for body in bodies)
    raw = (
        HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bound\r\n\r\n" + parts + b"--bound--\r\n"
    )
    assert leaves(submit(raw).message) == leaves(raw)


UTF8 = "Grüße aus Köln\r\n".encode()
TEXT = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    "message",
    [
        HEAD + b"\r\n" + UTF8,
        HEAD + b"MIME-Version: 1.0\r\n" + TEXT + b"\r\n" + UTF8,
        HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + TEXT + b"\r\n"
        + UTF8 + b"\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n",
        HEAD + b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\nMIME-Version: 1.0\r\n" + TEXT + b"\r\n" + UTF8,
    ],
    ids=["no MIME", "text", "parts", "a message in it"],
)  # fmt: skip
def test_eight_bit_parts_are_encoded_and_read_the_same(message: bytes) -> None:
    encoded = seven_bit(message)
    assert encoded.isascii()
    assert leaves(encoded) == leaves(message)


@pytest.mark.parametrize("field", [b"DKIM-Signature: v=1; b=x", b"Content-Type: multipart/signed; boundary=b"])
def test_what_is_signed_is_not_changed(field: bytes) -> None:
    with pytest.raises(DataError, match="is signed"):
        seven_bit(HEAD + b"MIME-Version: 1.0\r\n" + field + b"\r\n\r\n" + UTF8)


SIGNED = b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n%b--s\r\n\r\nAAAA\r\n--s--\r\n"
BESIDE_A_FOOTER = (
    HEAD + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n%b\r\n--o\r\n\r\n%b--o--\r\n"
)


@pytest.mark.parametrize("around", [b"%b", b"Content-Type: message/rfc822\r\n\r\nSubject: forwarded\r\n%b"])
def test_what_is_signed_is_not_changed_as_one_part_of_several(around: bytes) -> None:
    with pytest.raises(DataError, match="is signed"):
        seven_bit(BESIDE_A_FOOTER % (around % (SIGNED % (TEXT + b"\r\n" + UTF8)), b"plain\r\n"))


def test_what_is_not_signed_is_encoded_beside_what_is() -> None:
    signed = SIGNED % b"\r\nplain\r\n"
    encoded = seven_bit(BESIDE_A_FOOTER % (signed, UTF8))
    assert encoded.isascii()
    assert signed in encoded


def test_a_message_of_seven_bits_stays_as_it_is() -> None:
    message = HEAD + b"MIME-Version: 1.0\r\n" + TEXT + b"\r\nplain\r\n"
    assert seven_bit(message) == message


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\nhi\r\n",
        HEAD + b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + UTF8,
    ],
    ids=["header", "encoded already"],
)
def test_eight_bit_text_that_cannot_be_encoded_is_said_to_be(message: bytes) -> None:
    with pytest.raises(DataError, match="8-bit text"):
        seven_bit(message)
