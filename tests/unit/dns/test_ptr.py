"""Reverse DNS of own sending addresses, and back."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.support.findings import assert_explained, checked, severities
from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.ptr import CODES, MOST_ADDRESSES, MOST_NAMES, PtrReport, check_ptr, is_generic

Records = dict[tuple[str, str], object]
FOUR = ip_address("192.0.2.25")
SIX = ip_address("2001:db8::25")
FORWARD: Records = {
    ("mail.d.example", "A"): "192.0.2.25",
    ("mail.d.example", "AAAA"): "2001:db8::25",
    ("also.d.example", "A"): "192.0.2.25",
    ("other.d.example", "A"): "192.0.2.99",
    ("192-0-2-25.pool.isp.example", "A"): "192.0.2.25",
    ("silent.d.example", "A"): Status.TIMEOUT,
}


def report(ptr: object, address: str = "192.0.2.25", helo_name: str = "") -> PtrReport:
    ip = ip_address(address)
    zone = FORWARD | ({(ip.reverse_pointer, "PTR"): ptr} if ptr is not None else {})
    return checked(check_ptr([ip], Zone(zone), helo_name=helo_name), CODES)


@pytest.mark.parametrize("address", ["192.0.2.25", "2001:db8::25"])
def test_a_name_that_leads_back_passes(address: str) -> None:
    result = report("mail.d.example", address)
    assert severities(result) == {"ptr-verified": Severity.PASS}
    assert result.addresses[0].confirmed == ("mail.d.example",)


@pytest.mark.parametrize(
    ("ptr", "expected"),
    [
        (None, {"ptr-missing": Severity.FAIL}),
        ("other.d.example", {"ptr-unconfirmed": Severity.FAIL}),
        ("gone.d.example", {"ptr-unconfirmed": Severity.FAIL}),
        ("localhost", {"ptr-bad-name": Severity.FAIL}),
        ("bad_name.d.example", {"ptr-bad-name": Severity.FAIL}),
        ("silent.d.example", {"ptr-error": Severity.ERROR}),
        (Status.SERVFAIL, {"ptr-error": Severity.ERROR}),
        ("192-0-2-25.pool.isp.example", {"ptr-verified": Severity.PASS, "ptr-generic": Severity.WARN}),
        (["mail.d.example", "also.d.example"], {"ptr-verified": Severity.PASS, "ptr-several": Severity.WARN}),
        (
            ["mail.d.example", "other.d.example"],
            {"ptr-verified": Severity.PASS, "ptr-several": Severity.WARN, "ptr-partly-confirmed": Severity.WARN},
        ),
        (
            ["mail.d.example", "localhost"],
            {"ptr-verified": Severity.PASS, "ptr-several": Severity.WARN, "ptr-bad-name": Severity.WARN},
        ),
    ],
)
def test_each_state_of_reverse_dns_has_its_code(ptr: object, expected: dict[str, Severity]) -> None:
    assert severities(report(ptr)) == expected


def test_an_address_without_a_name_is_given_the_one_of_helo() -> None:
    result = report(None, helo_name="mail.d.example")
    assert [(p.name, p.rdtype, p.value) for p in result.proposals] == [
        ("25.2.0.192.in-addr.arpa", "PTR", "mail.d.example")
    ]
    assert report(None, helo_name="localhost").proposals == ()


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "fe80::1", "192.168.1.1"])
def test_a_private_address_is_not_asked_for(address: str) -> None:
    zone = Zone(FORWARD)
    result = checked(check_ptr([ip_address(address)], zone), CODES)
    assert severities(result) == {"ptr-private": Severity.WARN}
    assert zone.asked == []


def test_without_an_address_nothing_is_wrong() -> None:
    assert severities(checked(check_ptr([], Zone({})), CODES)) == {"ptr-not-known": Severity.INFO}


def test_a_message_over_ipv6_is_not_confirmed_by_ipv4() -> None:
    assert severities(report("also.d.example", "2001:db8::25")) == {"ptr-unconfirmed": Severity.FAIL}


@pytest.mark.parametrize(("address", "rdtype"), [("192.0.2.25", " A "), ("2001:db8::25", " AAAA ")])
def test_the_record_that_is_missing_is_named(address: str, rdtype: str) -> None:
    assert rdtype in report("gone.d.example", address).findings[0].remedy


def test_addresses_and_names_are_bounded() -> None:
    many = [ip_address("198.51.100.0") + number for number in range(200)]
    zone = Zone({(many[0].reverse_pointer, "PTR"): [f"h{number}.d.example" for number in range(300)]})
    result = checked(check_ptr([*many, *many], zone), CODES)
    assert severities(result)["ptr-many"] is Severity.INFO
    assert len(zone.asked) == MOST_ADDRESSES + MOST_NAMES


@pytest.mark.parametrize(
    "name",
    [
        "192-0-2-25.isp.example",
        "25.2.0.192.isp.example",
        "ip192.000.002.025.isp.example",
        "c0000219.isp.example",
        "static.25.2.0.192.clients.isp.example",
        "dyn-7.isp.example",
        "host7.adsl.isp.example",
        "host-1234.isp.example",
        "v1234.customers.isp.example",
        "h192000002025.isp.example",
    ],
)
def test_a_name_made_for_a_pool_is_generic(name: str) -> None:
    assert is_generic(name, FOUR)


@pytest.mark.parametrize(
    "name",
    [
        "mail.d.example",
        "mx25.d.example",
        "static.example",
        "clientele.d.example",
        "mail.cable.example",
        "mx1.clients.isp.example",
        "static.www.d.example",
    ],
)
def test_a_name_of_a_server_is_not_generic(name: str) -> None:
    assert not is_generic(name, FOUR)


def test_a_name_made_from_an_ipv6_address_is_generic() -> None:
    assert is_generic("2001-db8--25.isp.example", SIX)
    assert is_generic("20010db8000000000000000000000025.isp.example", SIX)
    assert not is_generic("mail.d.example", SIX)
    assert not is_generic("db8.d.example", SIX)


def test_every_code_is_explained() -> None:
    assert_explained(CODES)
