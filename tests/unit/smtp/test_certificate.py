"""What is told of a certificate, and of one that cannot be read."""

from __future__ import annotations

import datetime as dt

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.smtp.certificate import read_certificate


def der_of(*names: str, common_name: str | None = None) -> bytes:
    pem = trustme.CA(organization_name="Example CA").issue_cert(*names, common_name=common_name).cert_chain_pems[0]
    return x509.load_pem_x509_certificate(pem.bytes()).public_bytes(serialization.Encoding.DER)


GOOD = der_of("mail.isp.example", "192.0.2.1")


def test_names_issuer_and_dates_are_read() -> None:
    found = read_certificate(GOOD)
    assert found is not None
    assert found.told_names == "mail.isp.example, 192.0.2.1"
    assert found.issuer == "Example CA"
    assert found.not_before < dt.datetime.now(dt.UTC) < found.not_after


def test_many_names_are_counted_and_not_listed() -> None:
    found = read_certificate(der_of(*(f"host{number}.isp.example" for number in range(9))))
    assert found is not None
    assert found.told_names.endswith("host4.isp.example and 4 more")


@pytest.mark.parametrize("at", range(0, len(GOOD), 7))
def test_a_truncated_certificate_is_none(at: int) -> None:
    assert read_certificate(GOOD[:at]) is None


@given(at=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_a_damaged_certificate_is_no_crash(at: int, byte: int) -> None:
    read_certificate(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])
