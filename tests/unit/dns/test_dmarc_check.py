"""The audit of a DMARC policy: each mistake has its code."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.dmarc import evaluate
from ucrmmail.dns.dmarc_check import CODES, DmarcReport, check_dmarc
from ucrmmail.dns.dmarc_record import is_dmarc, parse_record
from ucrmmail.dns.finding import Severity

DOMAIN = "isp.example"
AT = (f"_dmarc.{DOMAIN}", "TXT")
GOOD = "v=DMARC1; p=reject; rua=mailto:dmarc@isp.example"


def check(records: dict[tuple[str, str], object], domain: str = DOMAIN) -> DmarcReport:
    report = asyncio.run(check_dmarc(domain, Zone({(DOMAIN, "A"): "192.0.2.1", **records})))
    assert all(finding.code in CODES for finding in report.findings)
    for finding in report.findings:
        if finding.mark is not None:
            assert 0 <= finding.mark.start < finding.mark.end <= len(finding.mark.text)
    return report


def codes(report: DmarcReport) -> list[str]:
    return [finding.code for finding in report.findings]


def test_a_good_record_is_one_passing_finding_and_nothing_is_proposed() -> None:
    report = check({AT: GOOD})
    assert [(finding.code, finding.severity) for finding in report.findings] == [("dmarc-record", Severity.PASS)]
    assert (report.result, report.policy, report.record_domain, report.proposals) == ("found", "reject", DOMAIN, ())


@pytest.mark.parametrize(
    ("record", "code", "severity"),
    [
        ("v=DMARC1; p=none; rua=mailto:d@isp.example", "dmarc-policy-none", "warn"),
        ("v=DMARC1; p=reject", "dmarc-no-reports", "info"),
        ("v=DMARC1; p=none", "dmarc-no-reports", "warn"),
        ("v=DMARC1; p=block; rua=mailto:d@isp.example", "dmarc-invalid-policy", "fail"),
        ("v=DMARC1; p=block", "dmarc-unusable", "fail"),
        ("v=DMARC1; rua=mailto:d@isp.example", "dmarc-no-policy", "warn"),
        ("v=DMARC1; p=reject; adkim=x; rua=mailto:d@isp.example", "dmarc-invalid-value", "warn"),
        ("v=DMARC1; p=reject; fo=7; ruf=mailto:d@isp.example", "dmarc-invalid-value", "warn"),
        ("v=DMARC1; p=reject; fo=1; rua=mailto:d@isp.example", "dmarc-fo-without-ruf", "info"),
        ("v=DMARC1; p=reject; pct=50; rua=mailto:d@isp.example", "dmarc-removed-tag", "warn"),
        ("v=DMARC1; p=reject; rf=afrf", "dmarc-removed-tag", "warn"),
        ("v=DMARC1; p=reject; ri=86400", "dmarc-removed-tag", "warn"),
        ("v=DMARC1; p=reject; pt=none", "dmarc-unknown-tag", "info"),
        ("v=DMARC1; p=reject; p=none", "dmarc-duplicate-tag", "warn"),
        ("v=DMARC1; p=reject; whatever", "dmarc-syntax", "warn"),
        ("v=DMARC1; p=reject; t=y; rua=mailto:d@isp.example", "dmarc-testing", "info"),
        ("v=DMARC1; p=reject; sp=none", "dmarc-subdomain-weaker", "warn"),
        ("v=DMARC1; p=reject; np=quarantine", "dmarc-subdomain-weaker", "warn"),
        ("v=DMARC1; p=reject; psd=y", "dmarc-public-suffix", "warn"),
        ("v=DMARC1; p=reject; rua=dmarc@isp.example", "dmarc-report-address", "warn"),
        ("v=DMARC1; p=reject; rua=mailto:dmarc at isp", "dmarc-report-address", "warn"),
        ("v=DMARC1; p=reject; rua=https://isp.example/r", "dmarc-report-scheme", "info"),
        ("v=DMARC1; p=reject; rua=mailto:d@isp.example!10m", "dmarc-report-size", "info"),
        ("v=dmarc1; p=reject", "dmarc-version", "fail"),
        ("v=DMARC1 p=reject", "dmarc-version", "fail"),
        ("DMARC1; p=reject", "dmarc-version", "fail"),
        ("site-verification=1", "dmarc-stray-text", "info"),
    ],
)
def test_a_mistake_is_named(record: str, code: str, severity: str) -> None:
    found = {finding.code: finding.severity.value for finding in check({AT: record}).findings}
    assert found.get(code) == severity, found


def test_without_a_record_one_is_proposed() -> None:
    report = check({})
    assert codes(report) == ["dmarc-missing"]
    assert report.result == "missing"
    (proposal,) = report.proposals
    assert (proposal.name, proposal.rdtype) == AT
    assert is_dmarc(proposal.value)
    assert codes(check({AT: proposal.value})) == ["dmarc-record", "dmarc-policy-none"]


def test_several_records_fail_and_are_not_called_missing() -> None:
    assert codes(check({AT: [GOOD, "v=DMARC1; p=none"]})) == ["dmarc-multiple"]
    assert codes(check({AT: [GOOD, "site-verification=1"]})) == ["dmarc-record", "dmarc-stray-text"]


@pytest.mark.parametrize("name", [DOMAIN, f"dmarc.{DOMAIN}", f"_dmarc.{DOMAIN}.{DOMAIN}"])
def test_a_record_at_the_wrong_name_is_found(name: str) -> None:
    assert set(codes(check({(name, "TXT"): GOOD}))) == {"dmarc-wrong-name", "dmarc-missing"}


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("status", [Status.SERVFAIL, Status.TIMEOUT, Status.REFUSED])
def test_a_failure_is_never_a_missing_record(status: Status) -> None:
    report = check({AT: status})
    assert [(finding.code, finding.severity) for finding in report.findings] == [("dmarc-error", Severity.ERROR)]
    assert report.result == "temperror"


def test_a_failure_above_matters_only_to_who_needs_the_names_above() -> None:
    above: dict[tuple[str, str], object] = {("_dmarc.example", "TXT"): Status.REFUSED}
    assert codes(check({AT: GOOD, **above})) == ["dmarc-record"]
    assert codes(check(above)) == ["dmarc-error"]
    zone = Zone({AT: GOOD, **above})
    assert asyncio.run(evaluate(DOMAIN, [], [DOMAIN], zone)).result == "pass"
    assert asyncio.run(evaluate(DOMAIN, [], ["mail.isp.example"], zone)).result == "temperror"


def test_one_domain_that_aligns_is_enough_when_the_dns_is_silent_about_another() -> None:
    zone = Zone({AT: GOOD, ("_dmarc.relay.test", "TXT"): Status.SERVFAIL})
    passed = asyncio.run(evaluate(DOMAIN, ["relay.test"], [DOMAIN], zone))
    assert (passed.result, passed.spf_aligned, passed.dkim_aligned) == ("pass", (), (DOMAIN,))
    assert asyncio.run(evaluate(DOMAIN, [], ["relay.test", DOMAIN], zone)).result == "pass"
    assert asyncio.run(evaluate(DOMAIN, ["relay.test"], ["other.test"], zone)).result == "temperror"


def test_an_international_domain_is_asked_about_as_the_dns_has_it() -> None:
    zone = Zone({("_dmarc.xn--mnchen-3ya.example", "TXT"): GOOD})
    for author in ("joe@m\u00fcnchen.example", "joe@xn--mnchen-3ya.example"):
        assert asyncio.run(evaluate(author, ["M\u00dcNCHEN.example"], [], zone)).result == "pass"


def test_a_subdomain_gets_the_policy_of_its_organization() -> None:
    record = "v=DMARC1; p=reject; sp=quarantine; np=none; rua=mailto:d@isp.example"
    there = check({AT: record, ("mail.isp.example", "A"): "192.0.2.1"}, "mail.isp.example")
    assert (there.result, there.policy, there.org_domain) == ("inherited", "quarantine", DOMAIN)
    assert there.findings[0].code == "dmarc-inherited"
    assert check({AT: record}, "none.isp.example").policy == "none"


def test_sp_in_the_record_of_a_subdomain_has_no_effect() -> None:
    records: dict[tuple[str, str], object] = {
        AT: GOOD,
        ("_dmarc.mail.isp.example", "TXT"): "v=DMARC1; p=reject; sp=reject; rua=mailto:d@isp.example",
    }
    assert "dmarc-sp-without-effect" in codes(check(records, "mail.isp.example"))


EXTERNAL = "v=DMARC1; p=reject; rua=mailto:d@reports.example"


def test_reports_to_another_organization_need_its_permission() -> None:
    permission = (f"{DOMAIN}._report._dmarc.reports.example", "TXT")
    report = check({AT: EXTERNAL})
    assert codes(report) == ["dmarc-record", "dmarc-report-unauthorized"]
    (proposal,) = report.proposals
    assert (proposal.name, proposal.rdtype) == permission
    assert codes(check({AT: EXTERNAL, permission: proposal.value})) == ["dmarc-record"]
    assert codes(check({AT: EXTERNAL, permission: ["x", "v=DMARC1"]})) == ["dmarc-record"]
    unknown = check({AT: EXTERNAL, permission: Status.SERVFAIL})
    assert [finding.severity for finding in unknown.findings] == [Severity.PASS, Severity.ERROR]
    assert codes(unknown) == ["dmarc-record", "dmarc-report-unknown"]


def test_reports_within_the_organization_need_none() -> None:
    records: dict[tuple[str, str], object] = {
        AT: "v=DMARC1; p=reject; rua=mailto:d@reports.isp.example",
    }
    assert codes(check(records)) == ["dmarc-record"]


def test_the_way_to_reject_goes_step_by_step_and_ends() -> None:
    record = "v=DMARC1; p=none; rua=mailto:d@isp.example; adkim=s"
    steps = []
    while True:
        (proposal, *_) = check({AT: record}).proposals or (None,)
        if proposal is None:
            break
        assert proposal.replaces == record
        assert "adkim=s" in proposal.value
        record = proposal.value
        steps.append(record.split("; ")[1] + ("; t=y" if "t=y" in record else ""))
    assert steps == ["p=quarantine; t=y", "p=quarantine", "p=reject; t=y", "p=reject"]


@pytest.mark.requirement("R29", "S13")
@given(st.text(max_size=300).map(lambda text: "v=DMARC1;" + text))
def test_no_record_is_a_crash(text: str) -> None:
    record = parse_record(text)
    for tag in record.tags:
        assert text[tag.start : tag.end].strip(" \t") == text[tag.start : tag.end]
    asyncio.run(check_dmarc(DOMAIN, Zone({AT: text})))


def test_a_hostile_record_is_bounded() -> None:
    rua = ",".join(f"mailto:a@{n}.example" for n in range(5000))
    zone = Zone({AT: f"v=DMARC1; p=none; rua={rua}" + "; x=y" * 5000})
    report = asyncio.run(check_dmarc(DOMAIN, zone))
    assert len(zone.asked) < 600
    assert len(report.findings) < 300


def test_the_next_step_loses_no_stricter_policy_and_keeps_no_address_that_nobody_can_use() -> None:
    (proposal,) = check({AT: "v=DMARC1; p=none; sp=reject; rua=mailto:a@isp.example,mailto:\x07x@y.example"}).proposals
    assert proposal.value == "v=DMARC1; p=quarantine; t=y; sp=reject; rua=mailto:a@isp.example"
    (proposal,) = check({AT: "v=DMARC1; p=none; rua=mailto:\x1b[2J@y.example"}).proposals
    assert proposal.value == "v=DMARC1; p=quarantine; t=y; rua=mailto:dmarc@isp.example"


# --- RFC 9989 appendix B.1: SPF (B.1.1) and DKIM (B.1.2) under relaxed and strict alignment -----------------------------


@pytest.mark.parametrize("by", ["spf", "dkim"])
@pytest.mark.parametrize(
    ("passed", "author", "relaxed", "strict"),
    [
        ("example.com", "example.com", "pass", "pass"),
        ("child.example.com", "example.com", "pass", "fail"),
        ("example.net", "child.example.com", "fail", "fail"),
    ],
)
def test_alignment_is_that_of_the_examples(by: str, passed: str, author: str, relaxed: str, strict: str) -> None:
    for mode, wanted in (("r", relaxed), ("s", strict)):
        zone = Zone({("_dmarc.example.com", "TXT"): f"v=DMARC1; p=reject; aspf={mode}; adkim={mode}"})
        spf, dkim = ([passed], []) if by == "spf" else ([], [passed])
        assert asyncio.run(evaluate(f"sender@{author}", spf, dkim, zone)).result == wanted
