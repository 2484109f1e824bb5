"""The zone a domain stands in."""

from __future__ import annotations

import pytest

from tests.support.findings import assert_explained, checked, finding, severities
from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.domain import CODES, MOST_NAMESERVERS, DomainReport, check_domain
from ucrmmail.dns.finding import Severity

Records = dict[tuple[str, str], object]
ROOT: Records = {(".", "SOA"): ("a.root.example", "root.example", 1, 1800, 900, 604800, 86400)}
ZONE: Records = ROOT | {
    ("d.example", "SOA"): ("ns1.d.example", "hostmaster.d.example", 2026112301, 7200, 900, 1209600, 3600),
    ("d.example", "NS"): ["ns1.d.example", "ns2.other.example"],
    ("ns1.d.example", "A"): "192.0.2.53",
    ("ns2.other.example", "AAAA"): "2001:db8::53",
    ("alias.other.example", "CNAME"): "ns2.other.example",
    ("empty.other.example", "TXT"): "no address",
    ("near.other.example", "A"): "192.0.2.54",
    ("inside.other.example", "A"): "10.0.0.53",
    ("both.other.example", "A"): ["10.0.0.53", "198.51.100.53"],
    ("silent.other.example", "A"): Status.TIMEOUT,
    ("news.d.example", "TXT"): "a name in the zone",
    ("d.example", "CAA"): (0, "issue", "ca.example"),
}
SIGNED = (".", "d.example")
PASS = {"domain-zone": Severity.PASS, "domain-caa": Severity.INFO, "domain-dnssec": Severity.PASS}


def report(more: Records | None = None, *, domain: str = "d.example", signed: tuple[str, ...] = SIGNED) -> DomainReport:
    return checked(check_domain(domain, Zone(ZONE | (more or {}), signed=signed)), CODES)


def test_a_sound_zone_passes() -> None:
    result = report()
    assert severities(result) == PASS
    assert (result.zone, result.dnssec) == ("d.example", "validated")
    assert [server.host for server in result.nameservers] == ["ns1.d.example", "ns2.other.example"]


def test_a_name_in_the_zone_is_told_of_its_zone() -> None:
    result = report(domain="news.d.example")
    assert severities(result) == PASS
    assert result.zone == "d.example"
    assert result.authorizations[0].value == "ca.example"


@pytest.mark.requirement("S14")
@pytest.mark.parametrize(
    ("name", "code", "severity", "said"),
    [
        (
            "xn--pypal-4ve.com",
            "domain-mixed-scripts",
            Severity.WARN,
            "p\u0430ypal.com, a mixture of Cyrillic and Latin",
        ),
        ("xn--gogle-rce.com", "domain-mixed-scripts", Severity.WARN, "g\u03bfogle.com, a mixture of Greek and Latin"),
        ("mail.xn--pypal-4ve.com", "domain-mixed-scripts", Severity.WARN, "mail.p\u0430ypal.com"),
        ("xn--80ak6aa92e.com", "domain-letters", Severity.INFO, "read as \u0430\u0440\u0440\u04cf\u0435.com"),
        ("xn--mnchen-3ya.example", "domain-letters", Severity.INFO, "read as m\u00fcnchen.example"),
    ],
)
def test_a_name_that_looks_like_another_one_is_told(name: str, code: str, severity: Severity, said: str) -> None:
    told = finding(report(domain=name), code)
    assert told.severity is severity
    assert said in told.what


@pytest.mark.requirement("S14")
@pytest.mark.parametrize("name", ["d.example", "xn--a.example", "a1-b2.example"])
def test_a_name_that_hides_nothing_is_not_spoken_of(name: str) -> None:
    assert not {"domain-letters", "domain-mixed-scripts"} & set(severities(report(domain=name)))


@pytest.mark.parametrize(
    ("second", "code", "severity"),
    [
        ("alias.other.example", "domain-nameserver-alias", Severity.WARN),
        ("empty.other.example", "domain-nameserver-address", Severity.WARN),
        ("gone.other.example", "domain-nameserver-address", Severity.WARN),
        ("192.0.2.53", "domain-nameserver-address", Severity.WARN),
        ("inside.other.example", "domain-nameserver-private", Severity.INFO),
        ("both.other.example", "domain-nameserver-private", Severity.INFO),
        ("near.other.example", "domain-nameservers-near", Severity.INFO),
        ("silent.other.example", "domain-nameserver-error", Severity.ERROR),
    ],
)
def test_a_nameserver_nobody_can_use_has_its_code(second: str, code: str, severity: Severity) -> None:
    told = severities(report({("d.example", "NS"): ["ns1.d.example", second]}))
    assert told[code] is severity
    assert ("domain-zone" in told) is (severity is Severity.INFO)


@pytest.mark.parametrize(
    ("more", "code", "severity"),
    [
        ({("d.example", "NS"): "ns1.d.example"}, "domain-one-nameserver", Severity.INFO),
        ({("d.example", "NS"): []}, "domain-no-nameservers", Severity.WARN),
        ({("d.example", "NS"): Status.SERVFAIL}, "domain-error", Severity.ERROR),
        ({("d.example", "CAA"): (128, "isue", "ca.example")}, "domain-caa-critical", Severity.WARN),
        ({("d.example", "CAA"): []}, "domain-caa-absent", Severity.INFO),
        ({("d.example", "CAA"): Status.SERVFAIL}, "domain-error", Severity.ERROR),
    ],
)
def test_each_state_of_the_zone_has_its_code(more: Records, code: str, severity: Severity) -> None:
    assert severities(report(more))[code] is severity


@pytest.mark.parametrize("caa", [(128, "issue", "ca.example"), (0, "future", "x"), (128, "ISSUEMAIL", ";")])
def test_a_caa_record_that_authorities_know_or_may_ignore_is_no_fault(caa: tuple[int, str, str]) -> None:
    assert severities(report({("d.example", "CAA"): caa})) == PASS


@pytest.mark.parametrize(
    ("soa", "code", "severity"),
    [
        (("ns1.d.example", "hostmaster.d.example", 1, 60, 30, 1209600, 3600), "domain-soa", Severity.INFO),
        (("ns1.d.example", "hostmaster.d.example", 1, 7200, 7200, 1209600, 3600), "domain-soa", Severity.INFO),
        (("ns1.d.example", "hostmaster.d.example", 1, 7200, 900, 1209600, 604800), "domain-soa", Severity.INFO),
        (("ns1.d.example", "hostmaster.d.example", 1, 7200, 900, 7200, 3600), "domain-soa-expire", Severity.WARN),
        (("ns1.d.example", "a\\@d.example", 1, 7200, 900, 1209600, 3600), "domain-soa-mailbox", Severity.INFO),
        (("ns1.d.example", ".", 1, 7200, 900, 1209600, 3600), "domain-soa-mailbox", Severity.INFO),
        (("ns1.d.example", "root", 1, 7200, 900, 1209600, 3600), "domain-soa-mailbox", Severity.INFO),
    ],
)
def test_an_soa_out_of_bounds_is_told(soa: object, code: str, severity: Severity) -> None:
    assert severities(report({("d.example", "SOA"): soa})) == PASS | {code: severity}


def test_a_mailbox_with_a_dot_before_the_at_sign_is_right() -> None:
    soa = ("ns1.d.example", "host\\.master.d.example", 1, 7200, 900, 1209600, 3600)
    assert severities(report({("d.example", "SOA"): soa})) == PASS


@pytest.mark.parametrize(
    ("signed", "code", "state"),
    [
        ((".", "d.example"), "domain-dnssec", "validated"),
        ((".",), "domain-dnssec-absent", "absent"),
        ((), "domain-dnssec-unknown", "unknown"),
        (("d.example",), "domain-dnssec", "validated"),
    ],
)
def test_the_state_of_dnssec_is_told_apart(signed: tuple[str, ...], code: str, state: str) -> None:
    result = report(signed=signed)
    assert code in severities(result)
    assert result.dnssec == state


def test_a_domain_that_does_not_exist_fails() -> None:
    assert severities(report(domain="gone.example")) == {"domain-missing": Severity.FAIL}


def test_a_name_without_a_zone_is_told() -> None:
    result = checked(check_domain("a.b.test", Zone(ROOT | {("a.b.test", "TXT"): "hello"})), CODES)
    assert severities(result) == {"domain-no-zone": Severity.WARN}


@pytest.mark.parametrize("status", [Status.SERVFAIL, Status.TIMEOUT])
def test_silence_is_never_a_missing_domain(status: Status) -> None:
    assert severities(report({("d.example", "SOA"): status})) == {"domain-error": Severity.ERROR}


def test_an_alias_is_told_and_its_own_zone_is_looked_at() -> None:
    more: Records = {
        ("mail.d.example", "CNAME"): "provider.example",
        ("provider.example", "SOA"): ("ns.provider.example", "root.provider.example", 1, 7200, 900, 1209600, 3600),
    }
    result = report(more, domain="mail.d.example")
    assert finding(result, "domain-alias").what == "mail.d.example is an alias of provider.example"
    assert result.zone == "d.example"


def test_an_alias_that_leads_nowhere_is_a_missing_domain() -> None:
    result = report({("mail.d.example", "CNAME"): "gone.provider.test"}, domain="mail.d.example")
    assert severities(result) == {"domain-missing": Severity.FAIL}
    assert "gone.provider.test" in result.findings[0].what


def test_a_single_label_is_looked_at_itself() -> None:
    assert severities(report(domain="localhost")) == {"domain-missing": Severity.FAIL}


def test_a_hostile_zone_is_bounded() -> None:
    hosts = [f"h{number}.d.example" for number in range(500)]
    zone = Zone(ZONE | {("d.example", "NS"): hosts, ("d.example", "CAA"): [(128, "x" * 200, "y" * 9000)] * 500})
    result = checked(check_domain("d.example", zone), CODES)
    assert len(result.findings) < MOST_NAMESERVERS + 20
    assert len(zone.asked) < 2 * MOST_NAMESERVERS + 10
    assert max(len(found.what) for found in result.findings) < 700


def test_a_long_name_is_walked_a_few_steps_only() -> None:
    zone = Zone(ZONE)
    result = checked(check_domain("a." * 60 + "news.d.example", zone), CODES)
    assert severities(result) == {"domain-missing": Severity.FAIL}
    assert len(zone.asked) < 20
    deep = Zone(ZONE | {("a." * 60 + "news.d.example", "TXT"): "there"})
    assert checked(check_domain("a." * 60 + "news.d.example", deep), CODES).zone == "d.example"


def test_every_code_is_explained() -> None:
    assert_explained(CODES)
