"""Private keys compared with what is published."""

from __future__ import annotations

import base64
import traceback

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.dns.dkim_private import CODES, judge_private_key, match_private_key, propose_key
from ucrmmail.dns.finding import Severity
from ucrmmail.errors import DataError

RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
NAME = "mail._domainkey.example.com"


def pem(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    lock: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, lock or NoEncryption())


def rsa_record(key: rsa.RSAPrivateKey = RSA) -> str:
    data = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; p={base64.b64encode(data).decode()}"


def ed_record(key: ed25519.Ed25519PrivateKey = ED) -> str:
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(key.public_key().public_bytes_raw()).decode()}"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_the_private_key_of_the_published_one_matches(form: PrivateFormat) -> None:
    assert match_private_key(pem(RSA, form), rsa_record())


def test_an_ed25519_key_matches_its_record() -> None:
    assert match_private_key(pem(ED), ed_record())
    assert not match_private_key(pem(ED), ed_record(ed25519.Ed25519PrivateKey.generate()))


def test_the_record_that_is_proposed_belongs_to_the_key() -> None:
    for key, record in ((RSA, rsa_record()), (ED, ed_record())):
        proposal = propose_key(pem(key), NAME)
        assert (proposal.name, proposal.rdtype, proposal.value) == (NAME, "TXT", record)
        assert match_private_key(pem(key), proposal.value)


def test_a_key_of_another_pair_does_not_match() -> None:
    assert not match_private_key(pem(RSA), rsa_record(rsa.generate_private_key(65537, 2048)))


@pytest.mark.parametrize(
    "record", ["", "v=DKIM1; p=", "v=DKIM1; p=!!", "v=DKIM1; p=MIIB", "{ed25519}", "k=dsa; p=AAAA"]
)
def test_a_record_without_such_a_key_does_not_match(record: str) -> None:
    assert not match_private_key(pem(RSA), record.replace("{ed25519}", ed_record()))


def test_an_ed25519_key_does_not_match_an_rsa_record() -> None:
    assert not match_private_key(pem(ED), rsa_record())


def test_the_findings_say_where_the_record_stands() -> None:
    good, bad = judge_private_key(pem(RSA), NAME, rsa_record()), judge_private_key(pem(RSA), NAME, ed_record())
    assert (good.code, good.severity) == ("dkim-private-matches", Severity.PASS)
    assert (bad.code, bad.severity) == ("dkim-private-differs", Severity.FAIL)
    assert NAME in bad.remedy
    assert {good.code, bad.code} == set(CODES)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0IHNlY3JldA==\n-----END PRIVATE KEY-----\n", "no private key"),
        (pem(RSA)[:600], "no private key"),
        (pem(RSA, lock=BestAvailableEncryption(b"word")), "passphrase"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "neither"),
        (b"x" * 70_000, "too large"),
    ],
)
def test_what_is_no_usable_key_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(DataError) as refused:
        match_private_key(data, rsa_record())
    assert why in refused.value.why


def test_neither_finding_nor_error_holds_anything_of_the_key() -> None:
    lines = [line.decode() for line in pem(RSA).splitlines()[1:-1]]
    finding = repr(judge_private_key(pem(RSA), NAME, ed_record()))
    with pytest.raises(DataError) as refused:
        match_private_key(pem(RSA)[:600], rsa_record())
    error = "".join(traceback.format_exception(refused.value)) + refused.value.why + refused.value.remedy
    assert not any(line in finding or line in error for line in lines)
    assert refused.value.__cause__ is None


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_compared(data: bytes) -> None:
    with pytest.raises(DataError):
        match_private_key(data, rsa_record())
