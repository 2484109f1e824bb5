"""The name in HELO."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.support.findings import assert_explained, checked, severities
from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.helo import CODES, HeloReport, check_helo

Records = dict[tuple[str, str], object]
ZONE: Records = {
    ("mail.d.example", "A"): "192.0.2.25",
    ("alias.d.example", "CNAME"): "mail.d.example",
    ("other.d.example", "A"): "192.0.2.99",
    ("empty.d.example", "TXT"): "no address",
    ("silent.d.example", "A"): Status.TIMEOUT,
    ("half.d.example", "A"): "192.0.2.25",
    ("half.d.example", "AAAA"): Status.SERVFAIL,
}
REVERSE: Records = {("25.2.0.192.in-addr.arpa", "PTR"): "MAIL.d.example"}


def report(name: str, addresses: tuple[str, ...] = ("192.0.2.25",), more: Records | None = None) -> HeloReport:
    zone = Zone(ZONE | (more or {}))
    return checked(check_helo(name, [ip_address(address) for address in addresses], zone), CODES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mail.d.example", {"helo-verified": Severity.PASS}),
        ("MAIL.d.example.", {"helo-verified": Severity.PASS}),
        ("half.d.example", {"helo-verified": Severity.PASS}),
        ("alias.d.example", {"helo-verified": Severity.PASS, "helo-alias": Severity.INFO}),
        ("other.d.example", {"helo-other-address": Severity.WARN}),
        ("empty.d.example", {"helo-no-address": Severity.FAIL}),
        ("gone.d.example", {"helo-no-address": Severity.FAIL}),
        ("silent.d.example", {"helo-error": Severity.ERROR}),
        ("localhost", {"helo-private-name": Severity.FAIL}),
        ("server.lan", {"helo-private-name": Severity.FAIL}),
        ("localhost.localdomain", {"helo-private-name": Severity.FAIL}),
        ("server", {"helo-not-qualified": Severity.FAIL}),
        ("", {"helo-not-qualified": Severity.FAIL}),
        ("my_server.d.example", {"helo-not-qualified": Severity.FAIL}),
        ("192.0.2.25", {"helo-not-qualified": Severity.FAIL}),
        ("[192.0.2.25]", {"helo-literal": Severity.WARN}),
    ],
)
def test_each_greeting_has_its_code(name: str, expected: dict[str, Severity]) -> None:
    assert severities(report(name)) == expected


def test_a_name_without_address_is_given_those_that_send() -> None:
    result = report("empty.d.example", ("192.0.2.25", "2001:db8::25"))
    assert [(p.name, p.rdtype, p.value) for p in result.proposals] == [
        ("empty.d.example", "A", "192.0.2.25"),
        ("empty.d.example", "AAAA", "2001:db8::25"),
    ]


def test_every_sending_address_counts() -> None:
    result = report("mail.d.example", ("192.0.2.25", "192.0.2.26"))
    assert severities(result) == {"helo-other-address": Severity.WARN}
    assert "192.0.2.26" in result.findings[0].what
    assert "192.0.2.25" not in result.findings[0].what


def test_a_private_address_is_left_to_the_network_that_hides_it() -> None:
    assert severities(report("mail.d.example", ("10.0.0.1",))) == {"helo-verified": Severity.PASS}


def test_silence_is_no_other_address() -> None:
    assert severities(report("half.d.example", ("2001:db8::25",))) == {"helo-error": Severity.ERROR}


def test_the_reverse_name_is_compared_without_case() -> None:
    assert severities(report("mail.d.example", more=REVERSE)) == {"helo-verified": Severity.PASS}


def test_another_reverse_name_is_told() -> None:
    more: Records = REVERSE | {("web.d.example", "A"): "192.0.2.25"}
    result = report("web.d.example", more=more)
    assert severities(result) == {"helo-verified": Severity.PASS, "helo-reverse-differs": Severity.INFO}


def test_what_the_name_leads_to_is_told() -> None:
    assert report("mail.d.example").findings[0].what == "mail.d.example leads to 192.0.2.25"
    assert report("mail.d.example", ()).findings[0].what == "mail.d.example leads to 192.0.2.25"


def test_without_known_addresses_a_name_that_exists_passes() -> None:
    assert severities(report("mail.d.example", ())) == {"helo-verified": Severity.PASS}


def test_every_code_is_explained() -> None:
    assert_explained(CODES)
