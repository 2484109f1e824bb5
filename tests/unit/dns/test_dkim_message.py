"""Signed messages, verified with the keys of a zone: dkimpy and cryptography sign what is read here."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from functools import cache

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.zones import Zone
from tests.unit.dns.test_dkim_key import RFC_6376
from ucrmmail.dns.answer import Status
from ucrmmail.dns.dkim_message import CODES, MOST_SIGNATURES, SignatureVerdict, verify_message
from ucrmmail.dns.finding import Severity

NOW = 1_800_000_000.0
KEY_NAME = "mail._domainkey.example.com"
MESSAGE = (
    b"From: Ann <ann@example.com>\r\nTo: bob@example.net\r\nSubject: Figures\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@example.com>\r\n\r\nAll  is well. \r\nReally.\r\n\r\n\r\n"
)

# RFC 8463 appendix A.
RFC_8463_RECORDS: dict[tuple[str, str], object] = {
    ("brisbane._domainkey.football.example.com", "TXT"): (
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    ),
    ("test._domainkey.football.example.com", "TXT"): (
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id"
        "Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj"
        "+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
    ),
}
RFC_8463_MESSAGE = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""

# RFC 6376 appendix A.2, with the key of appendix C.
RFC_6376_MESSAGE = b"""\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
"""


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def record(extra: str = "") -> str:
    spki = rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa;{extra} p={base64.b64encode(spki).decode()}"


def zone(text: object = None) -> Zone:
    return Zone({(KEY_NAME, "TXT"): record() if text is None else text})


def signed(message: bytes = MESSAGE, *, domain: bytes = b"example.com", **options: object) -> bytes:
    """Return the message with a signature by dkimpy, the independent implementation."""
    pem = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return bytes(dkim.sign(message, b"mail", domain, pem, **options)) + message


def handmade(tags: str, message: bytes = MESSAGE, *, algorithm: str = "rsa-sha256") -> bytes:
    """Return the message with a simple/simple signature of any tags, signed over From."""
    body = message.partition(b"\r\n\r\n")[2].rstrip(b"\r\n") + b"\r\n"
    body_hash = base64.b64encode(hashlib.sha256(body).digest()).decode()
    field = f"DKIM-Signature: v=1; a={algorithm}; d=example.com; s=mail; {tags}; bh={body_hash}; b="
    from_field = next(line for line in message.split(b"\r\n") if line.startswith(b"From:")) + b"\r\n"
    data = (from_field if "h=from" in tags else b"") + field.encode()
    if algorithm.startswith("ed25519"):
        value = ed_key().sign(hashlib.sha256(data).digest())
    else:
        value = rsa_key().sign(data, padding.PKCS1v15(), SHA1() if algorithm.endswith("sha1") else SHA256())
    return field.encode() + base64.b64encode(value) + b"\r\n" + message


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def verify(raw: bytes, resolver: Zone | None = None, now: float = NOW) -> tuple[SignatureVerdict, ...]:
    verdicts = asyncio.run(verify_message(raw, resolver or zone(), now))
    assert all(each.code in CODES for verdict in verdicts for each in verdict.findings)
    return verdicts


def codes(raw: bytes, resolver: Zone | None = None, now: float = NOW) -> list[str]:
    (verdict,) = verify(raw, resolver, now)
    assert (verdict.state == "invalid") == any(each.severity is Severity.FAIL for each in verdict.findings)
    return [each.code for each in verdict.findings]


def test_the_example_of_rfc_8463_is_valid_with_both_algorithms() -> None:
    verdicts = verify(RFC_8463_MESSAGE, Zone(RFC_8463_RECORDS), 1528637909.0)
    assert [(each.state, each.algorithm) for each in verdicts] == [("valid", "ed25519-sha256"), ("valid", "rsa-sha256")]


def test_the_example_of_rfc_8463_is_invalid_after_one_letter_changed() -> None:
    verdicts = verify(RFC_8463_MESSAGE.replace(b"dinner", b"supper"), Zone(RFC_8463_RECORDS), 1528637909.0)
    assert [[each.code for each in verdict.findings] for verdict in verdicts] == [["dkim-signature-wrong"]] * 2


@pytest.mark.parametrize("header", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body", [b"simple", b"relaxed"])
def test_what_dkimpy_signs_is_valid(header: bytes, body: bytes) -> None:
    (verdict,) = verify(signed(canonicalize=(header, body)))
    assert (verdict.state, verdict.domain, verdict.selector) == ("valid", "example.com", "mail")
    assert "subject" in verdict.signed


@settings(max_examples=40, deadline=None)
@given(
    st.binary(max_size=200).map(lambda body: body.replace(b"\r", b"").replace(b"\n", b"\r\n")),
    st.sampled_from([b"simple", b"relaxed"]),
)
def test_any_body_that_dkimpy_signs_is_valid(body: bytes, canonicalization: bytes) -> None:
    head = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    # SMTP ends every line; dkimpy would sign blanks at the end of a file otherwise.
    body += b"\r\n"
    assert codes(signed(head + body, canonicalize=(b"relaxed", canonicalization))) == ["dkim-signature-valid"]


def test_a_message_with_unix_line_ends_is_valid_as_it_would_be_sent() -> None:
    assert codes(signed().replace(b"\r\n", b"\n")) == ["dkim-signature-valid"]


def test_white_space_may_change_where_the_signature_is_relaxed() -> None:
    raw = signed(canonicalize=(b"relaxed", b"relaxed"))
    changed = raw.replace(b"Subject: Figures", b"subject:\t Figures  ").replace(b"All  is well. ", b"All is  well.")
    assert changed != raw
    assert codes(changed) == ["dkim-signature-valid"]


def test_a_footer_changes_the_body_and_not_the_header() -> None:
    assert codes(signed() + b"-- \r\nsent by a list\r\n") == ["dkim-signature-body-changed"]


def test_a_changed_signed_field_makes_the_signature_wrong() -> None:
    assert codes(signed().replace(b"Figures", b"Fissures")) == ["dkim-signature-wrong"]


def test_a_key_of_another_pair_makes_the_signature_wrong() -> None:
    other = rsa.generate_private_key(65537, 2048).public_key()
    text = base64.b64encode(other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    assert codes(signed(), zone(f"v=DKIM1; p={text}")) == ["dkim-signature-wrong"]


def test_ed25519_is_verified() -> None:
    public = base64.b64encode(ed_key().public_key().public_bytes_raw()).decode()
    raw = handmade("h=from", algorithm="ed25519-sha256")
    assert codes(raw, zone(f"v=DKIM1; k=ed25519; p={public}")) == ["dkim-signature-valid"]
    assert codes(raw.replace(b"Ann", b"Eve"), zone(f"k=ed25519; p={public}")) == ["dkim-signature-wrong"]
    assert codes(raw) == ["dkim-signature-algorithm"]


def test_sha1_is_never_valid() -> None:
    assert codes(handmade("h=from", algorithm="rsa-sha1")) == ["dkim-signature-sha1"]


@pytest.mark.parametrize(
    ("tags", "now", "expected"),
    [
        ("h=from; x=1799999000", NOW, ["dkim-signature-expired"]),
        ("h=from; x=1799999000", 1799998999.0, ["dkim-signature-valid"]),
        ("h=from; t=1800000301", NOW, ["dkim-signature-valid", "dkim-signature-future"]),
        ("h=from; t=1800000300", NOW, ["dkim-signature-valid"]),
        ("h=subject", NOW, ["dkim-signature-from-unsigned"]),
        ("h=from; l=99999", NOW, ["dkim-signature-length", "dkim-signature-body-changed"]),
        ("h=from; i=@news.example.com", NOW, ["dkim-signature-valid"]),
        ("h=from; i=@example.org", NOW, ["dkim-signature-malformed"]),
        ("h=from; i=@badexample.com", NOW, ["dkim-signature-malformed"]),
        ("h=from; t=5; x=4", NOW, ["dkim-signature-malformed"]),
        ("h=from; t=" + "9" * 5000, NOW, ["dkim-signature-malformed"]),
        ("h=from; q=http", NOW, ["dkim-signature-malformed"]),
        ("h=from; c=plain", NOW, ["dkim-signature-malformed"]),
        ("h=from; h=to", NOW, ["dkim-signature-malformed"]),
        ("h=from; z", NOW, ["dkim-signature-malformed"]),
        ("h=from:b c", NOW, ["dkim-signature-malformed"]),
        ("h=from; z=" + "a" * 9000, NOW, ["dkim-signature-malformed"]),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_the_tags_of_a_signature_are_judged(tags: str, now: float, expected: list[str]) -> None:
    assert codes(handmade(tags), now=now) == expected


@pytest.mark.parametrize("tag", ["v", "a", "b", "bh", "d", "h", "s"])
def test_a_mandatory_tag_that_is_missing_is_named(tag: str) -> None:
    raw = handmade("h=from").replace(f" {tag}=".encode(), f" {tag}x=".encode(), 1)
    (verdict,) = verify(raw)
    assert [(each.code, each.what) for each in verdict.findings] == [
        ("dkim-signature-malformed", f"there is no {tag}=")
    ]


def test_a_signed_length_is_told_and_lets_text_be_added() -> None:
    found = codes(signed(length=True) + b"Buy now!\r\n")
    assert found == ["dkim-signature-valid", "dkim-signature-length"]


def test_a_subdomain_as_identity_needs_a_key_that_allows_it() -> None:
    raw = handmade("h=from; i=@news.example.com")
    assert codes(raw, zone(record(" t=s;"))) == ["dkim-signature-identity"]
    assert codes(handmade("h=from; i=@example.com"), zone(record(" t=s;"))) == ["dkim-signature-valid"]


def test_a_second_from_field_is_no_valid_signature() -> None:
    assert codes(b"From: eve@example.com\r\n" + signed()) == ["dkim-signature-from-count"]


@pytest.mark.parametrize(
    ("published", "what"),
    [
        ("v=DKIM1; p=", "revoked"),
        ("v=DKIM1; p=MIIB", "no public key"),
        ("v=DKIM1; h=sha1; p=", "revoked"),
        ([record(), record()], "2 records"),
        (Status.NXDOMAIN, "no such name"),
        (Status.NO_DATA, "no data"),
    ],
)
def test_a_key_that_cannot_be_used_is_told_with_its_reason(published: object, what: str) -> None:
    (verdict,) = verify(signed(), zone(published))
    (finding,) = verdict.findings
    assert (verdict.state, finding.code, finding.severity) == ("invalid", "dkim-signature-key", Severity.FAIL)
    assert what in finding.what


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.SERVFAIL, Status.REFUSED, Status.MALFORMED])
def test_a_dns_that_does_not_answer_is_an_error_and_no_verdict(status: Status) -> None:
    (verdict,) = verify(signed(), zone(status))
    assert verdict.state == "error"
    assert [(each.code, each.severity) for each in verdict.findings] == [("dkim-signature-error", Severity.ERROR)]


def test_the_signature_of_another_domain_is_valid_and_warned_of() -> None:
    foreign = Zone({("mail._domainkey.provider.example", "TXT"): record()})
    found = codes(signed(domain=b"provider.example"), foreign)
    assert found == ["dkim-signature-valid", "dkim-signature-domain"]


def test_a_provider_may_sign_beside_the_domain_of_the_author() -> None:
    both = signed(signed(), domain=b"provider.example", include_headers=[b"from", b"subject"])
    records = Zone({(KEY_NAME, "TXT"): record(), ("mail._domainkey.provider.example", "TXT"): record()})
    verdicts = verify(both, records)
    assert [each.state for each in verdicts] == ["valid", "valid"]
    severities = {each.code: each.severity for verdict in verdicts for each in verdict.findings}
    assert severities["dkim-signature-domain"] is Severity.INFO


def test_a_message_without_a_signature_is_told() -> None:
    (verdict,) = verify(MESSAGE)
    assert verdict.state == "none"
    assert [each.code for each in verdict.findings] == ["dkim-signature-none"]


def test_only_the_first_signatures_are_verified() -> None:
    raw = handmade("h=from")
    field = raw[: raw.index(b"From:")]
    asked = Zone({})
    many = b"".join(field.replace(b"s=mail", f"s=m{number}".encode()) for number in range(200))
    verdicts = verify(many + MESSAGE, asked)
    assert len(verdicts) == len(asked.asked) == MOST_SIGNATURES
    assert verdicts[0].findings[-1].code == "dkim-signature-too-many"


def test_a_huge_header_is_not_hashed() -> None:
    raw = b"".join(b"X-%d: a\r\n" % number for number in range(2000)) + signed()
    assert codes(raw) == ["dkim-signature-header-size"]


def test_a_long_run_of_blanks_costs_no_quadratic_time() -> None:
    body = (b" " * 400_000 + b"x") * 5 + b"\r\n"
    head = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    raw = signed(canonicalize=(b"relaxed", b"relaxed")).replace(MESSAGE, head + body)
    assert codes(raw) == ["dkim-signature-body-changed"]


def test_a_key_record_of_64_kb_with_control_characters_is_refused() -> None:
    (verdict,) = verify(signed(), zone("v=DKIM1; p=" + "A\x1b[31m" * 10_000))
    assert [each.code for each in verdict.findings] == ["dkim-signature-key"]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_are_judged(raw: bytes, published: bytes) -> None:
    assert verify(raw, zone(published))
    assert verify(b"DKIM-Signature: " + raw + b"\r\n" + MESSAGE, zone(published))
    assert verify(
        b"DKIM-Signature: v=1; s=mail; d=example.com; a=rsa-sha256; h=from; bh=; b=;\r\n" + raw, zone(published)
    )


def test_a_field_cut_anywhere_is_never_valid() -> None:
    raw = handmade("h=from")
    end = raw.index(b"\r\n")
    for at in range(len("DKIM-Signature:"), end - 1, 7):
        assert verify(raw[:at] + raw[end:])[0].state == "invalid"


def test_the_example_of_rfc_6376_is_verified_with_the_key_of_its_appendix() -> None:
    records: dict[tuple[str, str], object] = {("brisbane._domainkey.example.com", "TXT"): RFC_6376}
    raw = RFC_6376_MESSAGE.replace(b"\n", b"\r\n")
    (verdict,) = asyncio.run(verify_message(raw, Zone(records), 1.7e9))
    assert verdict.state == "valid"
    (changed,) = asyncio.run(verify_message(raw.replace(b"hungry", b"angry!"), Zone(records), 1.7e9))
    assert changed.state == "invalid"
