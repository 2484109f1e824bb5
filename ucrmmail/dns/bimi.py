"""The check of BIMI, the logo that mail programs show beside mail of a domain: the record at ``default._bimi``.

The rules stand in draft-brand-indicators-for-message-identification; DMARC must be enforced before anybody looks.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.bimi_svg import problems_of_svg
from ucrmmail.dns.finding import Finding, Mark, Proposal, Severity
from ucrmmail.dns.neighbour import (
    LONGEST_SHOWN,
    TagValue,
    Voice,
    is_host_name,
    mark_of_version,
    shown_texts,
    tag_values,
)

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Resolver
    from ucrmmail.dns.https import Fetcher

CODES: dict[str, str] = {
    "bimi-record": "The domain has a BIMI record that mail programs can use. It shows a logo and does nothing for the"
    " delivery.",
    "bimi-inherited": "The domain has no BIMI record of its own; that of its organizational domain holds for it.",
    "bimi-absent": "The domain has no BIMI record. It is optional, and only worth while with DMARC at quarantine or"
    " reject and a logo.",
    "bimi-declined": "The record says that the domain shows no logo (l= and a= are empty).",
    "bimi-error": "The DNS did not answer the question for the record, so nothing is known of it.",
    "bimi-multiple": "More than one BIMI record stands at the name. Receivers then use none of them. Keep one and"
    " delete the others.",
    "bimi-version": "A record at the name does not begin with exactly v=BIMI1; in this case. Receivers ignore it.",
    "bimi-stray-text": "Another TXT record stands at the name. Receivers ignore it.",
    "bimi-no-logo": "The record has no l= with the address of the logo, so there is nothing to show.",
    "bimi-location": "The address of the logo or of the certificate is not https: with a host name. Receivers fetch"
    " from no other.",
    "bimi-not-svg": "The address of the logo does not end in .svg or .svgz, and only SVG is shown.",
    "bimi-no-certificate": "Without a certificate (a=) Gmail and Apple show no logo; Yahoo and others do. A mark"
    " certificate (VMC or CMC) costs money each year.",
    "bimi-not-pem": "The address of the certificate does not end in .pem, the form that receivers ask for.",
    "bimi-policy": "The logo is shown only when the DMARC policy that holds for the domain is quarantine or reject, for"
    " the subdomains as well. Enforce DMARC first.",
    "bimi-syntax": "A part of the record is no tag=value. Receivers ignore it, or the whole record.",
    "bimi-duplicate-tag": "A tag stands there twice, and receivers differ in which one they take.",
    "bimi-unknown-tag": "A tag that BIMI does not know. Receivers ignore it; look for a spelling mistake.",
    "bimi-logo": "The logo can be fetched and keeps to the profile SVG Tiny Portable/Secure.",
    "bimi-logo-unreachable": "The logo could not be fetched from here; receivers that cannot fetch it show none.",
    "bimi-logo-profile": "The logo is not in the profile SVG Tiny Portable/Secure, so receivers do not show it.",
}
_found = Voice("bimi", CODES)
_VERSION = re.compile(r"v=BIMI1[ \t]*(;|$)")
# Also behind another tag, where it counts for nothing.
_LOOKS_LIKE = re.compile(r"[^a-z]*v?\W*bimi|.*;\s*v\s*=\s*BIMI1", re.IGNORECASE | re.DOTALL)
_LOCATION = re.compile(r"https://([^\s/:?#@]+)(/[!-~]*)", re.IGNORECASE)
_KNOWN = ("v", "l", "a", "e", "s", "avp", "lps")


@dataclass(frozen=True, slots=True)
class BimiReport:
    """What was found for a domain; ``record_domain`` is where the record stands that holds for it."""

    domain: str
    record: str = ""
    record_domain: str = ""
    location: str = ""
    authority: str = ""
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


async def check_bimi(
    domain: str, resolver: Resolver, *, policy: str = "", org_domain: str = "", fetcher: Fetcher | None = None
) -> BimiReport:
    """Return the audit of the record that holds for the domain.

    ``policy`` is what receivers apply by DMARC (none, quarantine or reject; "" when it does not apply), ``org_domain``
    the organizational domain. With a ``fetcher`` the logo is looked at too.
    """
    domains = tuple(dict.fromkeys((domain, org_domain or domain)))
    answers = await asyncio.gather(*(resolver.query(f"default._bimi.{name}", "TXT") for name in domains))
    findings: list[Finding] = []
    for where, answer in zip(domains, answers, strict=True):
        if not answer.status.is_known:
            return BimiReport(domain, findings=(*findings, _found.unanswered("bimi-error", answer)))
        name = f"default._bimi.{where}"
        texts = shown_texts(answer)
        records = [text for text in texts if _VERSION.match(text)]
        findings += [_stray(name, text) for text in texts if text not in records]
        if len(records) > 1:
            what = (f"{len(records)} records: " + " | ".join(records))[:LONGEST_SHOWN]
            remedy = "keep one of them and delete the others"
            findings.append(_found("bimi-multiple", Severity.FAIL, name, what, remedy=remedy))
            return BimiReport(domain, findings=tuple(findings))
        if records:
            report = _audit(BimiReport(domain, records[0], where), policy)
            if fetcher is not None and report.location:
                report = await _with_logo(report, resolver, fetcher)
            return replace(report, findings=(*report.findings, *findings))
    if not any(finding.code == "bimi-version" for finding in findings):
        what = "there is no BIMI record"
        findings.append(_found("bimi-absent", Severity.INFO, f"default._bimi.{domain}", what))
    return BimiReport(domain, findings=tuple(findings))


def _stray(name: str, text: str) -> Finding:
    if _LOOKS_LIKE.match(text):
        what = f"receivers ignore {text[:LONGEST_SHOWN]!r}"
        mark = mark_of_version(text)
        remedy = "let it begin with v=BIMI1; exactly so"
        return _found("bimi-version", Severity.FAIL, name, what, remedy=remedy, mark=mark)
    return _found("bimi-stray-text", Severity.INFO, name, f"another TXT record stands here: {text[:LONGEST_SHOWN]!r}")


def _audit(report: BimiReport, policy: str) -> BimiReport:
    name, record = f"default._bimi.{report.record_domain}", report.record
    tags = tag_values(record)
    first: dict[str, TagValue] = {}
    findings: list[Finding] = []
    for tag in tags:
        findings += _of_tag(name, record, tag, repeated=tag.name in first)
        first.setdefault(tag.name, tag)
    logo, certificate = first.get("l"), first.get("a")
    if logo is not None and not logo.value and (certificate is None or not certificate.value):
        declined = _found("bimi-declined", Severity.INFO, name, "the domain says that it shows no logo")
        return replace(report, findings=(declined, *findings))
    if logo is None or not logo.value:
        remedy = "add l=https://HOST/logo.svg"
        findings.append(_found("bimi-no-logo", Severity.FAIL, name, "the record names no logo (l=)", remedy=remedy))
    else:
        findings += _of_location(name, record, logo, (".svg", ".svgz"))
    if certificate is None or certificate.value in ("", "self"):
        findings.append(_found("bimi-no-certificate", Severity.INFO, name, "the record names no certificate (a=)"))
    else:
        findings += _of_location(name, record, certificate, (".pem",))
    if policy not in ("quarantine", "reject"):
        what = f"the DMARC policy of {report.domain} is {policy or 'missing'}"
        remedy = "publish p=quarantine or p=reject first"
        findings.append(_found("bimi-policy", Severity.WARN, name, what, remedy=remedy))
    if not any(finding.severity is Severity.FAIL for finding in findings):
        code = "bimi-record" if report.domain == report.record_domain else "bimi-inherited"
        findings.insert(0, _found(code, Severity.PASS, name, record[: 2 * LONGEST_SHOWN]))
    return replace(
        report,
        location=logo.value if logo is not None else "",
        authority=certificate.value if certificate is not None else "",
        findings=tuple(findings),
    )


def _of_tag(name: str, record: str, tag: TagValue, *, repeated: bool) -> list[Finding]:
    mark = Mark(record, tag.start, tag.end)
    shown = record[tag.start : tag.end][:LONGEST_SHOWN]
    if not tag.name:
        what, remedy = f"{shown!r} is no tag=value", "write tag=value, parted by ;"
        return [_found("bimi-syntax", Severity.WARN, name, what, remedy=remedy, mark=mark)]
    if repeated:
        what = f"{tag.name[:LONGEST_SHOWN]} stands there again"
        return [_found("bimi-duplicate-tag", Severity.WARN, name, what, remedy="keep one of them", mark=mark)]
    if tag.name not in _KNOWN:
        return [_found("bimi-unknown-tag", Severity.INFO, name, f"{shown!r} is no tag of BIMI", mark=mark)]
    return []


def _of_location(name: str, record: str, tag: TagValue, endings: tuple[str, ...]) -> list[Finding]:
    mark = Mark(record, tag.start, tag.end)
    location = _LOCATION.fullmatch(tag.value)
    shown = tag.value[:LONGEST_SHOWN]
    if location is None or not is_host_name(location[1]):
        what, remedy = f"{shown!r} is no https: address", f"write {tag.name}=https://HOST/PATH"
        return [_found("bimi-location", Severity.FAIL, name, what, remedy=remedy, mark=mark)]
    if not location[2].partition("?")[0].lower().endswith(endings):
        code = "bimi-not-svg" if tag.name == "l" else "bimi-not-pem"
        what, remedy = f"{shown!r} does not end in {' or '.join(endings)}", f"serve it as a file {endings[0]}"
        return [_found(code, Severity.WARN, name, what, remedy=remedy, mark=mark)]
    return []


async def _with_logo(report: BimiReport, resolver: Resolver, fetcher: Fetcher) -> BimiReport:
    """Return the report with what is to be said of the picture."""
    location = _LOCATION.fullmatch(report.location)
    if location is None or not is_host_name(location[1]):
        return report
    host = location[1].lower()
    answers = await asyncio.gather(resolver.query(host, "A"), resolver.query(host, "AAAA"))
    addresses = [address for answer in answers for address in answer.addresses]
    subject = report.location[:LONGEST_SHOWN]
    fetched = await fetcher.get(host, location[2], addresses)
    if fetched.status != 200 or fetched.problem:
        # Who serves pictures may follow rules of its own for this machine: no proof that receivers get none.
        silent = fetched.problem in ("unreachable", "time")
        why = fetched.detail[:LONGEST_SHOWN] or f"the web server answers {fetched.status}"
        what, remedy = f"the logo cannot be fetched: {why}", "let the web server answer with the logo, without redirect"
        severity = Severity.ERROR if silent else Severity.WARN
        finding = _found("bimi-logo-unreachable", severity, subject, what, remedy=remedy)
        return replace(report, findings=(*report.findings, finding))
    problems = list(problems_of_svg(fetched.body))
    if fetched.media_type != "image/svg+xml":
        problems.append(f"it is served as {fetched.media_type[:LONGEST_SHOWN] or 'nothing'}, not as image/svg+xml")
    if problems:
        what, remedy = "; ".join(problems), "let the designer export it as SVG Tiny Portable/Secure"
        finding = _found("bimi-logo-profile", Severity.WARN, subject, what, remedy=remedy)
    else:
        finding = _found("bimi-logo", Severity.PASS, subject, f"{len(fetched.body)} bytes of SVG Tiny P/S")
    return replace(report, findings=(*report.findings, finding))
