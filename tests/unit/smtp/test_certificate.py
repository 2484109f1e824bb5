"""What is told of a certificate, and of one that cannot be read."""

from __future__ import annotations

import datetime as dt

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
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


def test_a_certificate_of_the_old_kind_is_known_by_its_subject_whatever_that_is_made_of() -> None:
    """No alternative names, and neither a common name nor an organization: as some devices sign for themselves."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COUNTRY_NAME, "AT"), x509.NameAttribute(NameOID.LOCALITY_NAME, "Graz")]
    )
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    found = read_certificate(certificate.public_bytes(serialization.Encoding.DER))
    assert found is not None
    assert (found.names, found.told_names, found.issuer) == ((), "L=Graz,C=AT", "L=Graz,C=AT")


@pytest.mark.parametrize("at", range(0, len(GOOD), 7))
def test_a_truncated_certificate_is_none(at: int) -> None:
    assert read_certificate(GOOD[:at]) is None


def test_a_serial_number_below_zero_is_read_without_a_warning_on_the_terminal() -> None:
    # Behind the version, [0] { INTEGER 2 }; its own length is that of a random number.
    serial_at = GOOD.index(b"\xa0\x03\x02\x01\x02\x02") + 7
    found = read_certificate(GOOD[:serial_at] + b"\x80" + GOOD[serial_at + 1 :])
    assert found is not None
    assert found.issuer == "Example CA"


@given(at=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_a_damaged_certificate_is_no_crash(at: int, byte: int) -> None:
    read_certificate(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])


@pytest.mark.parametrize(
    ("hours", "days"), [(49.0, 2), (48.0, 2), (47.9, 1), (1.0, 0), (0.0, 0), (-0.1, -1), (-24.0, -1), (-25.0, -2)]
)
def test_days_are_whole_ones_and_what_has_just_ended_has_less_than_none(hours: float, days: int) -> None:
    found = read_certificate(GOOD)
    assert found is not None
    assert found.days_left(found.not_after.timestamp() - hours * 3600.0) == days
