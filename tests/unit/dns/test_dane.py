"""DANE: TLSA records of the exchanges, and the signatures on the way to them."""

from __future__ import annotations

import pytest

from tests.support.findings import assert_explained, checked, finding, severities
from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.dane import CODES, MOST_EXCHANGES, DaneReport, check_dane
from ucrmmail.dns.finding import Severity

Records = dict[tuple[str, str], object]
SIGNED = (".", "d.example", "host.example")
KEY = (3, 1, 1, b"k" * 32)
ZONE: Records = {
    (".", "SOA"): ("a.root.example", "root.example", 1, 1800, 900, 604800, 86400),
    ("d.example", "MX"): (10, "mail.host.example"),
    ("mail.host.example", "A"): "192.0.2.25",
    ("_25._tcp.mail.host.example", "TLSA"): KEY,
}
PASS = {"dane-secure": Severity.PASS}


def report(tlsa: object = None, more: Records | None = None, signed: tuple[str, ...] = SIGNED) -> DaneReport:
    zone = ZONE | (more or {})
    if tlsa is not None:
        zone["_25._tcp.mail.host.example", "TLSA"] = tlsa
    return checked(check_dane("d.example", Zone(zone, signed=signed)), CODES)


@pytest.mark.parametrize(
    "tlsa",
    [
        KEY,
        (3, 1, 2, b"k" * 64),
        (2, 1, 1, b"k" * 32),
        (2, 0, 1, b"k" * 32),
        (3, 1, 0, b"\x30\x59" + b"k" * 89),
        [KEY, (3, 1, 1, b"l" * 32)],
    ],
)
def test_usable_records_in_signed_zones_pass(tlsa: object) -> None:
    result = report(tlsa)
    assert severities(result) == PASS
    assert result.exchanges[0].is_secure


@pytest.mark.parametrize(
    ("tlsa", "code"),
    [
        ((0, 1, 1, b"k" * 32), "dane-usage"),
        ((1, 1, 1, b"k" * 32), "dane-usage"),
        ((255, 1, 1, b"k" * 32), "dane-usage"),
        ((3, 2, 1, b"k" * 32), "dane-selector"),
        ((3, 1, 3, b"k" * 32), "dane-matching-type"),
        ((3, 1, 1, b"k" * 31), "dane-length"),
        ((3, 1, 1, b""), "dane-length"),
        ((3, 1, 2, b"k" * 32), "dane-length"),
        ((3, 1, 0, b"k" * 90), "dane-length"),
        ((3, 1, 0, b""), "dane-length"),
    ],
)
def test_a_record_that_cannot_be_used_has_its_code(tlsa: tuple[int, int, int, bytes], code: str) -> None:
    assert severities(report(tlsa)) == {code: Severity.WARN, "dane-unusable": Severity.FAIL}
    assert severities(report([KEY, tlsa])) == PASS | {code: Severity.WARN}


def test_a_digest_of_the_whole_certificate_is_told_as_fragile() -> None:
    assert severities(report((3, 0, 1, b"k" * 32))) == PASS | {"dane-whole-certificate": Severity.INFO}


@pytest.mark.parametrize(
    ("signed", "code"),
    [
        ((".", "d.example"), "dane-not-signed"),
        ((".", "host.example"), "dane-mx-not-signed"),
        ((), "dane-not-validated"),
        ((".", "d.example", "_tcp.mail.host.example"), "dane-host-not-signed"),
    ],
)
def test_a_gap_in_the_signatures_is_a_warning(signed: tuple[str, ...], code: str) -> None:
    result = report(signed=signed)
    assert severities(result) == {code: Severity.WARN}
    assert not result.exchanges[0].is_secure


def test_long_data_is_shown_by_its_beginning() -> None:
    assert finding(report((3, 1, 1, b"\x0a" * 31)), "dane-length").what.startswith(
        "3 1 1 0a0a0a0a0a0a0a0a...: 31 bytes"
    )
    assert finding(report((3, 1, 1, b"\x0a" * 8)), "dane-length").what.startswith("3 1 1 0a0a0a0a0a0a0a0a: 8 bytes")


def test_absent_is_no_fault() -> None:
    zone = {key: value for key, value in ZONE.items() if key[1] != "TLSA"}
    result = checked(check_dane("d.example", Zone(zone)), CODES)
    assert severities(result) == {"dane-absent": Severity.INFO}
    assert result.exchanges[0].host == "mail.host.example"


@pytest.mark.parametrize("mx", [(0, "."), (10, "localhost")])
def test_an_exchange_that_is_no_host_is_not_asked(mx: tuple[int, str]) -> None:
    zone = Zone({("d.example", "MX"): mx})
    assert severities(checked(check_dane("d.example", zone), CODES)) == {"dane-absent": Severity.INFO}
    assert zone.asked == [("d.example", "MX")]


def test_without_mx_the_host_of_the_domain_counts() -> None:
    zone: Records = {("d.example", "A"): "192.0.2.1", ("_25._tcp.d.example", "TLSA"): KEY}
    assert (
        severities(
            checked(check_dane("d.example", Zone(ZONE | zone | {("d.example", "MX"): []}, signed=SIGNED)), CODES)
        )
        == PASS
    )


def test_an_exchange_without_records_beside_one_with_is_a_gap() -> None:
    more: Records = {
        ("d.example", "MX"): [(10, "mail.host.example"), (20, "spare.host.example")],
        ("spare.host.example", "A"): "192.0.2.26",
    }
    result = report(more=more)
    assert severities(result) == PASS | {"dane-partial": Severity.WARN}
    assert "spare.host.example" in finding(result, "dane-partial").what


@pytest.mark.parametrize("status", [Status.SERVFAIL, Status.TIMEOUT])
def test_silence_is_never_no_record(status: Status) -> None:
    assert severities(report(status)) == {"dane-error": Severity.ERROR}
    assert severities(report(more={("d.example", "MX"): status})) == {"dane-error": Severity.ERROR}


def test_silence_about_one_exchange_beside_a_good_one_is_told() -> None:
    more: Records = {
        ("d.example", "MX"): [(10, "mail.host.example"), (20, "spare.host.example")],
        ("_25._tcp.spare.host.example", "TLSA"): Status.SERVFAIL,
    }
    assert severities(report(more=more)) == PASS | {"dane-error": Severity.ERROR}


def test_a_hostile_number_of_exchanges_is_bounded() -> None:
    zone = Zone({("d.example", "MX"): [(10, f"h{number}.d.example") for number in range(500)]})
    checked(check_dane("d.example", zone), CODES)
    assert len(zone.asked) == 1 + MOST_EXCHANGES


def test_every_code_is_explained() -> None:
    assert_explained(CODES)
