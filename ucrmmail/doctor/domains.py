"""The DNS of the account's domains: what ``check-dns`` found, as one verdict a domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dns.finding import Severity
from ucrmmail.doctor.check import Check, Verdict

if TYPE_CHECKING:
    from ucrmmail.dns.check import DomainReport

_VERDICTS = {
    Severity.FAIL: Verdict.FAIL,
    Severity.WARN: Verdict.WARN,
    # The DNS did not answer: nothing is known of the records.
    Severity.ERROR: Verdict.UNKNOWN,
}
_MOST = 3


def judge_domain(report: DomainReport) -> Check:
    """Judge a domain: the findings that weigh most are named by their codes, ``check-dns`` explains them."""
    severity = report.verdict
    verdict = _VERDICTS.get(severity, Verdict.OK)
    if verdict is Verdict.OK:
        detail = "SPF, DKIM and DMARC hold"
        return Check("dns", verdict, detail, subject=report.domain, facts={"codes": []})
    found = [finding for finding in report.findings if finding.severity is severity]
    if verdict is Verdict.UNKNOWN:
        # One silence has kept all of the checks from an answer.
        found = found[:1]
    more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
    detail = "; ".join(f"{finding.subject}: {finding.what}" for finding in found[:_MOST]) + more
    remedy = (
        "see /etc/resolv.conf, or set dns.nameservers"
        if verdict is Verdict.UNKNOWN
        else f"`ucrmmail check-dns {report.domain}` says what to publish"
    )
    codes = sorted({finding.code for finding in found})
    return Check("dns", verdict, detail, remedy, subject=report.domain, facts={"codes": codes})
