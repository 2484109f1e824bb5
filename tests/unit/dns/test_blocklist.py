"""Blocklists: a listing, a refusal to answer, and silence are three things."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.support.findings import assert_explained, checked, finding, severities
from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.blocklist import CODES, LISTS, Blocklist, BlocklistReport, check_blocklists, lists_named
from ucrmmail.dns.finding import Severity

ADDRESSES = (ip_address("192.0.2.25"), ip_address("2001:db8::25"))
SIX = "5.2." + "0." * 22 + "8.b.d.0.1.0.0.2"


def report(records: dict[tuple[str, str], object], *zones: str) -> BlocklistReport:
    lists = lists_named(zones)
    return checked(check_blocklists("isp.example", ADDRESSES, Zone(records), lists=lists), CODES)


def test_the_usual_lists_are_asked_about_domains_or_addresses() -> None:
    zone = Zone({})
    result = checked(check_blocklists("isp.example", ADDRESSES, zone), CODES)
    assert set(severities(result).values()) == {Severity.PASS}
    assert ("isp.example.dbl.spamhaus.org", "A") in zone.asked
    assert ("25.2.0.192.zen.spamhaus.org", "A") in zone.asked
    assert (f"{SIX}.zen.spamhaus.org", "A") in zone.asked
    assert ("isp.example.zen.spamhaus.org", "A") not in zone.asked
    assert len(zone.asked) == sum(each.of_domains + len(ADDRESSES) * each.of_addresses for each in LISTS)


@pytest.mark.parametrize(
    ("name", "answer", "code", "severity"),
    [
        ("isp.example.dbl.spamhaus.org", "127.0.1.2", "blocklist-listed", Severity.FAIL),
        ("isp.example.dbl.spamhaus.org", "127.255.255.254", "blocklist-refused", Severity.WARN),
        ("25.2.0.192.zen.spamhaus.org", "127.0.0.2", "blocklist-listed", Severity.FAIL),
        ("25.2.0.192.zen.spamhaus.org", "127.0.0.10", "blocklist-policy", Severity.WARN),
        ("25.2.0.192.zen.spamhaus.org", "127.0.0.11", "blocklist-policy", Severity.WARN),
        ("25.2.0.192.zen.spamhaus.org", ["127.0.0.11", "127.0.0.4"], "blocklist-listed", Severity.FAIL),
        ("25.2.0.192.zen.spamhaus.org", "127.255.255.255", "blocklist-refused", Severity.WARN),
        ("isp.example.multi.surbl.org", "127.0.0.1", "blocklist-refused", Severity.WARN),
        ("isp.example.multi.uribl.com", "127.0.0.1", "blocklist-refused", Severity.WARN),
        ("isp.example.multi.uribl.com", "127.0.0.2", "blocklist-listed", Severity.FAIL),
        ("isp.example.multi.uribl.com", Status.REFUSED, "blocklist-refused", Severity.WARN),
        ("isp.example.multi.uribl.com", Status.TIMEOUT, "blocklist-error", Severity.ERROR),
        # A resolver that sends every unknown name to an advertisement lists nobody.
        ("isp.example.multi.uribl.com", "198.51.100.7", "blocklist-clear", Severity.PASS),
    ],
)
def test_each_answer_has_its_meaning(name: str, answer: object, code: str, severity: Severity) -> None:
    zone = next(each.zone for each in LISTS if name.endswith(f".{each.zone}"))
    found = [each for each in report({(name, "A"): answer}, zone).findings if each.code != "blocklist-clear"]
    assert {each.code: each.severity for each in found} == ({code: severity} if code != "blocklist-clear" else {})


def test_what_the_list_says_beside_the_entry_is_shown() -> None:
    name = "isp.example.dbl.spamhaus.org"
    records: dict[tuple[str, str], object] = {
        (name, "A"): "127.0.1.2",
        (name, "TXT"): "see https://example/q" + "x" * 999,
    }
    what = finding(report(records, "dbl.spamhaus.org"), "blocklist-listed").what
    assert "(127.0.1.2): see https://example/q" in what
    assert len(what) < 400


def test_another_list_is_asked_about_both() -> None:
    assert lists_named(["bl.example", "dbl.spamhaus.org"]) == (
        Blocklist("bl.example", of_domains=True, of_addresses=True),
        LISTS[0],
    )
    listed = report({("25.2.0.192.bl.example", "A"): "127.0.0.2"}, "bl.example")
    assert severities(listed) == {"blocklist-listed": Severity.FAIL, "blocklist-clear": Severity.PASS}


def test_every_code_is_explained() -> None:
    assert_explained(CODES)
