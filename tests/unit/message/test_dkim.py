"""The application's DKIM signature survives: checked with dkimpy, a verifier that is not ours."""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.submission import submit
from ucrmmail.message.prepare import Addresses

MESSAGE = (
    b"Received: from app by host; Mon, 23 Nov 2026 10:00:00 +0000\n"
    b"From:  =?utf-8?q?B=C3=BCro?=  <billing@isp.example>\n"
    b'To: "Smith, Joe" <joe@example.com>,\n\tann@example.com\n'
    b"Subject: An  invoice\n   that is folded \n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\n"
    b"Message-ID: <1@isp.example>\n"
    b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
    b"\n"
    b"Gr\xc3\xbc\xc3\x9fe,\n\n.\n..\n trailing blanks  \t\nFrom here on\n\n\n"
)
SIGNED_FIELDS = [b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type"]


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # small is fast


def signed(
    key: rsa.RSAPrivateKey, message: bytes, canonicalization: bytes, fields: list[bytes] = SIGNED_FIELDS
) -> bytes:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    header = dkim.sign(
        message,
        b"s1",
        b"isp.example",
        pem,
        canonicalize=tuple(canonicalization.split(b"/")),
        include_headers=fields,
    )
    return bytes(header).replace(b"\r\n", b"\n") + message


def verifies(key: rsa.RSAPrivateKey, message: bytes) -> bool:
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: record))


@pytest.mark.parametrize("canonicalization", [b"relaxed/relaxed", b"simple/simple", b"simple/relaxed"])
@pytest.mark.parametrize(
    "raw",
    [
        MESSAGE,
        MESSAGE.replace(b"\n", b"\r\n"),
        MESSAGE.rstrip(b"\n"),
        MESSAGE.replace(b"Subject", b"Bcc: eve@example.com,\n bob@example.com\nSubject"),
        b"Bcc: eve@example.com\n" + MESSAGE,
    ],
    ids=["lf", "crlf", "no final newline", "bcc inside", "bcc on top"],
)
@pytest.mark.parametrize(
    "addresses", [Addresses(), Addresses(sender="sender@isp.example")], ids=["no sender", "sender"]
)
def test_a_signature_that_covers_no_sender_still_verifies(
    key: rsa.RSAPrivateKey, raw: bytes, canonicalization: bytes, addresses: Addresses
) -> None:
    prepared = submit(signed(key, raw, canonicalization), recipients=(), extract_recipients=True, addresses=addresses)
    assert b"eve@example.com" not in prepared.message
    assert verifies(key, prepared.message)


def test_a_signature_that_covers_the_configured_sender_still_verifies(key: rsa.RSAPrivateKey) -> None:
    raw = b"Sender: Robot <sender@isp.example>\n" + MESSAGE
    prepared = submit(
        signed(key, raw, b"simple/simple", [*SIGNED_FIELDS, b"sender"]),
        addresses=Addresses(sender="sender@isp.example"),
    )
    assert verifies(key, prepared.message)


def test_what_was_changed_on_the_way_is_noticed_by_this_test(key: rsa.RSAPrivateKey) -> None:
    prepared = submit(signed(key, MESSAGE, b"relaxed/relaxed"))
    assert not verifies(key, prepared.message.replace(b"invoice", b"bill"))
