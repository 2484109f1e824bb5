"""What DMARC makes of the account's mail: From, the reverse-path and Sender beside each other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.findings import assert_explained, checked, severities
from tests.support.zones import Zone
from ucrmmail.dns.align import CODES, AlignReport, check_alignment
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Severity

POLICY = {
    ("_dmarc.isp.example", "TXT"): "v=DMARC1; p=reject",
    ("_dmarc.other.example", "TXT"): "v=DMARC1; p=none",
}


def report(
    domain: str = "isp.example",
    envelope: str = "isp.example",
    sender: str = "",
    *,
    spf: bool | None = True,
    dkim: bool | None = True,
    transport: str = "smtp",
    zone: Mapping[tuple[str, str], object] | None = None,
) -> AlignReport:
    found = check_alignment(
        domain,
        Zone(POLICY if zone is None else zone),
        envelope_domain=envelope,
        spf_passes=spf,
        dkim_signs=dkim,
        transport=transport,
        sender_domain=sender,
    )

    async def run() -> _Report:
        return _Report(await found)

    return checked(run(), CODES).report


class _Report:
    """An alignment as the checks of findings take it."""

    proposals = ()

    def __init__(self, report: AlignReport) -> None:
        self.report = report
        self.findings = report.findings


def told(report: AlignReport) -> dict[str, Severity]:
    return severities(_Report(report))


@pytest.mark.parametrize(
    ("spf", "dkim", "envelope", "code", "severity", "aligned"),
    [
        (True, True, "isp.example", "align-pass", Severity.PASS, True),
        (True, True, "bounce.isp.example", "align-pass", Severity.PASS, True),
        (True, False, "isp.example", "align-spf-only", Severity.WARN, True),
        (False, True, "isp.example", "align-dkim-only", Severity.INFO, True),
        (True, True, "other.example", "align-dkim-only", Severity.INFO, True),
        (True, False, "other.example", "align-fail", Severity.FAIL, False),
        (False, False, "isp.example", "align-fail", Severity.FAIL, False),
        (None, False, "isp.example", "align-unknown", Severity.WARN, None),
        (False, None, "isp.example", "align-unknown", Severity.WARN, None),
    ],
)
def test_either_of_two_aligned_identities_is_enough(
    spf: bool | None, dkim: bool | None, envelope: str, code: str, severity: Severity, aligned: bool | None
) -> None:
    found = report(envelope=envelope, spf=spf, dkim=dkim)
    assert told(found) == {code: severity}
    assert found.aligned is aligned
    assert (found.header_from, found.envelope_domain) == ("isp.example", envelope)


@pytest.mark.parametrize(
    ("sender", "aligns"), [("isp.example", True), ("billing.isp.example", True), ("other.example", False), ("", None)]
)
def test_a_sender_of_another_organization_is_told_and_changes_no_verdict(sender: str, aligns: bool | None) -> None:
    found = report(sender=sender)
    assert found.sender_aligns is aligns
    assert told(found) == {"align-pass": Severity.PASS} | ({"align-sender": Severity.INFO} if aligns is False else {})
    assert found.aligned is True


def test_whether_a_sender_aligns_is_not_known_while_the_dns_is_silent() -> None:
    zone = POLICY | {("_dmarc.other.example", "TXT"): Status.TIMEOUT}
    found = report(sender="other.example", zone=zone)
    assert found.sender_aligns is None
    assert told(found) == {"align-pass": Severity.PASS}


def test_mail_from_a_consumer_service_through_another_server_fails() -> None:
    assert told(report("gmail.com")) == {"align-consumer-domain": Severity.FAIL}
    assert "align-consumer-domain" not in told(report("gmail.com", transport="gmail", zone={}))


def test_without_a_policy_nobody_asks() -> None:
    assert told(report(zone={})) == {"align-not-asked": Severity.INFO}
    assert told(report(zone={("_dmarc.isp.example", "TXT"): Status.SERVFAIL})) == {"align-unknown": Severity.ERROR}


def test_every_code_is_explained() -> None:
    assert_explained(CODES)


def test_what_is_not_known_is_named() -> None:
    def what(spf: bool | None, dkim: bool | None) -> str:
        return next(told.what for told in report(spf=spf, dkim=dkim).findings if told.code == "align-unknown")

    assert "does not stand" in what(False, None)
    assert "no sending address" in what(None, False)
