"""Key records as administrators publish them, with real keys."""

from __future__ import annotations

import base64
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.dns.dkim_check import CODES
from ucrmmail.dns.dkim_key import parse_key
from ucrmmail.dns.finding import Severity

# RFC 8463 appendix A.2 and RFC 6376 appendix C.
ED25519 = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
RFC_6376 = (
    "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkM"
    "oGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/R"
    "tdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToI"
    "MmPSPDdQPNUYckcQ2QIDAQAB"
)


@cache
def private_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def spki(bits: int = 2048) -> str:
    data = private_key(bits).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(data).decode()


def codes(text: str, longest: int = 0) -> list[str]:
    key = parse_key(text, longest)
    assert all(problem.code in CODES for problem in key.problems)
    return [problem.code for problem in key.problems]


def test_a_good_key_has_no_problem() -> None:
    key = parse_key(f"v=DKIM1; k=rsa; p={spki()}")
    assert (key.algorithm, key.bits, key.is_usable, key.problems) == ("rsa", 2048, True, ())


def test_the_examples_of_the_rfcs_are_read() -> None:
    key = parse_key(ED25519)
    assert (key.algorithm, key.bits, key.is_usable) == ("ed25519", 256, True)
    key = parse_key(RFC_6376)
    assert (key.bits, key.is_usable) == (1024, True)
    assert codes(RFC_6376) == ["dkim-weak-key"]


def test_white_space_within_the_key_is_allowed() -> None:
    text = spki()
    assert codes(f"v=DKIM1;p={text[:64]} \t{text[64:200]}  {text[200:]}") == []


def test_tags_without_a_version_and_in_any_order_are_a_key() -> None:
    assert codes(f"p={spki()}; k=rsa") == []


@pytest.mark.requirement("S13")
@pytest.mark.parametrize(
    ("record", "code"),
    [
        ("v=DKIM1; p=", "dkim-revoked"),
        ("v=DKIM1; k=rsa", "dkim-no-key"),
        ("v=DKIM2; p={key}", "dkim-version"),
        ("k=rsa; v=DKIM1; p={key}", "dkim-version"),
        ("v=DKIM1; k=dsa; p={key}", "dkim-algorithm"),
        ("v=DKIM1; h=sha1; p={key}", "dkim-hash"),
        ("v=DKIM1; s=tlsrpt; p={key}", "dkim-service"),
        ("v=DKIM1; t=y; p={key}", "dkim-testing"),
        ("v=DKIM1; t=s; p={key}", "dkim-strict"),
        ("v=DKIM1; g=*; p={key}", "dkim-obsolete-tag"),
        ('"v=DKIM1; k=rsa; p={key}"', "dkim-quotes"),
        ("v=DKIM1\\; k=rsa\\; p={key}", "dkim-escaped-semicolon"),
        ("v=DKIM1; p=MIIB!IjANBgkq", "dkim-base64"),
        ("v=DKIM1; p=-----BEGIN PUBLIC KEY-----{key}-----END PUBLIC KEY-----", "dkim-base64"),
        ("v=DKIM1; p=AAAA", "dkim-not-a-key"),
        ("v=DKIM1; k=ed25519; p={key}", "dkim-not-a-key"),
        ("v=DKIM1; p=-----BEGIN RSA PRIVATE KEY-----AAAA", "dkim-private-key"),
    ],
)
def test_a_mistake_is_named(record: str, code: str) -> None:
    assert code in codes(record.replace("{key}", spki()))


def test_sha256_beside_sha1_and_email_beside_others_are_right() -> None:
    assert codes(f"v=DKIM1; h=sha1:sha256; s=email:other; p={spki()}") == []


@pytest.mark.requirement("S13")
@pytest.mark.parametrize(("bits", "expected"), [(1024, "dkim-weak-key"), (2048, None), (3072, None)])
def test_the_size_of_the_key_is_judged(bits: int, expected: str | None) -> None:
    assert codes(f"p={spki(bits)}") == ([expected] if expected else [])


@pytest.mark.requirement("S13")
def test_a_short_key_is_no_key() -> None:
    # 512 bits, which no library makes any more.
    short = (
        "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALmiPnjKyI7w8s1UvgV9Ul4+Qb3b4Eh3nXnVZNn3rx/YVLZNWAjsJ1DeFTfUUXIBPSgmfyjA7vT4"
    )
    short += "Wq0r4Nks1BsCAwEAAQ=="
    key = parse_key(f"p={short}")
    assert [(problem.code, problem.severity) for problem in key.problems] == [("dkim-short-key", Severity.FAIL)]
    assert (key.bits, key.is_usable) == (512, False)


def test_a_key_that_a_panel_cut_off_is_named() -> None:
    text = f"v=DKIM1; k=rsa; p={spki()}"[:255]
    assert codes(text, 255) == ["dkim-truncated"]
    assert codes(text[:-3], 252) in (["dkim-base64"], ["dkim-truncated"])


def test_a_private_key_without_its_lines_is_named() -> None:
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        data = private_key(1024).private_bytes(Encoding.DER, form, NoEncryption())
        assert codes(f"p={base64.b64encode(data).decode()}") == ["dkim-private-key"]


def test_keys_of_another_kind_are_named() -> None:
    bare = private_key(1024).public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    wrapped = ed25519.Ed25519PrivateKey.generate().public_key()
    others = [each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for each in (curve, wrapped)]
    for data in (bare, *others):
        assert codes(f"p={base64.b64encode(data).decode()}") == ["dkim-not-a-key"]


def test_the_mark_is_on_the_offending_part() -> None:
    text = f"v=DKIM1; h=sha1; p={spki()}"
    (problem,) = parse_key(text).problems
    assert problem.mark is not None
    assert text[problem.mark.start : problem.mark.end] == "h=sha1"


@pytest.mark.requirement("R29", "S13")
@given(
    st.text(max_size=400) | st.binary(max_size=400).map(lambda data: "v=DKIM1; p=" + base64.b64encode(data).decode())
)
def test_no_record_is_a_crash(text: str) -> None:
    key = parse_key(text)
    for problem in key.problems:
        assert problem.code in CODES
        if problem.mark is not None:
            assert 0 <= problem.mark.start <= problem.mark.end <= len(text)


def test_a_tag_that_stands_twice_makes_the_record_invalid() -> None:
    key = parse_key(f"v=DKIM1; p={spki()}; p=")
    (problem,) = key.problems
    assert (problem.code, key.is_usable) == ("dkim-tag-list", False)
    assert problem.mark is not None
    assert problem.mark.text[problem.mark.start : problem.mark.end] == "p="


def test_what_is_no_tag_makes_the_record_invalid() -> None:
    assert codes(f"v=DKIM1; hello; p={spki()}") == ["dkim-tag-list"]


def test_a_semicolon_at_the_end_is_allowed() -> None:
    assert codes(f"v=DKIM1; p={spki()}; ") == []


def test_a_small_public_exponent_is_a_warning() -> None:
    numbers = rsa.RSAPublicNumbers(3, private_key(2048).public_key().public_numbers().n).public_key()
    data = numbers.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = parse_key("v=DKIM1; p=" + base64.b64encode(data).decode())
    assert [(problem.code, problem.severity) for problem in key.problems] == [("dkim-exponent", Severity.WARN)]
    assert key.is_usable
