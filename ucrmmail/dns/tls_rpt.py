"""The check of where reports about failed TLS go (RFC 8460), the record at ``_smtp._tls``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
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
    from collections.abc import Iterator

    from ucrmmail.dns.answer import Resolver

CODES: dict[str, str] = {
    "tlsrpt-record": "The domain says where reports about failed TLS to its mail servers go. RFC 8460 section 3.",
    "tlsrpt-absent": "Nobody tells you when other servers cannot reach yours over TLS. The record is optional; with"
    " MTA-STS or DANE it shows failures that would otherwise be silent. RFC 8460 section 3.",
    "tlsrpt-error": "The DNS did not answer the question for the record, so nothing is known of it.",
    "tlsrpt-multiple": "More than one TLS-RPT record stands at the name. Senders then act as if there were none. Keep"
    " one and delete the others. RFC 8460 section 3.",
    "tlsrpt-version": "A record at the name does not begin with exactly v=TLSRPTv1 followed by a semicolon, in this"
    " case. Senders ignore all of it. RFC 8460 section 3.",
    "tlsrpt-stray-text": "Another TXT record stands at the name. Senders ignore it.",
    "tlsrpt-no-rua": "The record names no destination for reports, so there are none. RFC 8460 section 3.",
    "tlsrpt-rua": "A destination of reports is neither a mailto: address nor an https: address. A comma, an exclamation"
    " mark or a semicolon in it must be written %2C, %21 or %3B. RFC 8460 section 3.",
    "tlsrpt-http": "Reports are sent by https: only, never by http:. RFC 8460 section 3.",
    "tlsrpt-syntax": "A part of the record is no name=value, so senders may ignore the whole record. RFC 8460 section"
    " 3.",
    "tlsrpt-duplicate-tag": "rua stands twice, and senders differ in which one they take. Write several destinations"
    " into one rua, parted by commas. RFC 8460 section 3.",
    "tlsrpt-unknown-tag": "A tag that RFC 8460 does not know; senders ignore it. RFC 8460 section 3.",
    "tlsrpt-own-domain": "Reports by mail go to the domain whose mail servers may be the ones that fail. Reports are"
    " sent in spite of that, without TLS if need be; a second destination elsewhere is safer. RFC 8460 section 5.3.",
}
_found = Voice("tlsrpt", CODES)
_VERSION = re.compile(r"v=TLSRPTv1[ \t]*(;|$)")
# Also behind another tag, where it counts for nothing.
_LOOKS_LIKE = re.compile(r".{0,20}tls-?rpt|.*;\s*v\s*=\s*TLSRPTv1", re.IGNORECASE | re.DOTALL)
_REPORTABLE = re.compile(r"[^\s@<>,;!]+@([^\s@<>,;!?]+)")
# Looked at of a record that lists destinations without end.
_MOST_URIS = 20


@dataclass(frozen=True, slots=True)
class TlsRptReport:
    """What was found for a domain; ``rua`` are the destinations, ``record`` is "" when none counts."""

    domain: str
    record: str = ""
    rua: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


async def check_tls_rpt(domain: str, resolver: Resolver) -> TlsRptReport:
    """Return the audit of the record; one question."""
    name = f"_smtp._tls.{domain}"
    answer = await resolver.query(name, "TXT")
    if not answer.status.is_known:
        return TlsRptReport(domain, findings=(_found.unanswered("tlsrpt-error", answer),))
    texts = shown_texts(answer)
    records = [text for text in texts if _VERSION.match(text)]
    findings = [_stray(name, text) for text in texts if text not in records]
    proposal = Proposal(
        name, "TXT", f"v=TLSRPTv1; rua=mailto:tls-reports@{domain}", "reports tell when TLS to your servers fails"
    )
    if len(records) == 1:
        return _audit(domain, name, records[0], findings)
    if records:
        what = (f"{len(records)} records: " + " | ".join(records))[:LONGEST_SHOWN]
        remedy = "keep one of them and delete the others"
        findings.append(_found("tlsrpt-multiple", Severity.FAIL, name, what, remedy=remedy))
        return TlsRptReport(domain, findings=tuple(findings))
    if not any(finding.code == "tlsrpt-version" for finding in findings):
        findings.append(_found("tlsrpt-absent", Severity.INFO, name, "there is no TLS-RPT record"))
    return TlsRptReport(domain, findings=tuple(findings), proposals=(proposal,))


def _stray(name: str, text: str) -> Finding:
    if _LOOKS_LIKE.match(text):
        what = f"senders ignore {text[:LONGEST_SHOWN]!r}"
        mark = mark_of_version(text)
        remedy = "let it begin with v=TLSRPTv1; exactly so"
        return _found("tlsrpt-version", Severity.FAIL, name, what, remedy=remedy, mark=mark)
    return _found("tlsrpt-stray-text", Severity.INFO, name, f"another TXT record stands here: {text[:LONGEST_SHOWN]!r}")


def _audit(domain: str, name: str, record: str, findings: list[Finding]) -> TlsRptReport:
    tags = tag_values(record)[1:]
    destinations: list[str] = []
    given = [tag for tag in tags if tag.name == "rua"]
    for tag in tags:
        findings += _of_tag(name, record, tag, repeated=tag in given[1:])
    if given:
        destinations = [uri.strip() for uri in given[0].value.split(",") if uri.strip()][:_MOST_URIS]
        findings += _of_destinations(name, record, given[0], destinations)
    if not destinations:
        what = "the record names no destination (rua)"
        remedy = f"add rua=mailto:tls-reports@{domain}"
        findings.append(_found("tlsrpt-no-rua", Severity.FAIL, name, what, remedy=remedy))
    hosts = [_mail_domain(uri) for uri in destinations]
    if hosts and all(host == domain or host.endswith("." + domain) for host in hosts):
        what = f"all reports go to {domain} itself by mail"
        findings.append(_found("tlsrpt-own-domain", Severity.INFO, name, what))
    if not any(finding.severity is Severity.FAIL for finding in findings):
        findings.insert(0, _found("tlsrpt-record", Severity.PASS, name, record[: 2 * LONGEST_SHOWN]))
    return TlsRptReport(domain, record, tuple(destinations), tuple(findings))


def _of_tag(name: str, record: str, tag: TagValue, *, repeated: bool) -> list[Finding]:
    mark = Mark(record, tag.start, tag.end)
    shown = record[tag.start : tag.end][:LONGEST_SHOWN]
    if not tag.name:
        what = f"{shown!r} is no name=value"
        remedy = "write name=value, parted by ;"
        return [_found("tlsrpt-syntax", Severity.WARN, name, what, remedy=remedy, mark=mark)]
    if repeated:
        remedy = "write one rua with all destinations, parted by commas"
        return [_found("tlsrpt-duplicate-tag", Severity.WARN, name, "rua stands there again", remedy=remedy, mark=mark)]
    if tag.name != "rua":
        what = f"{shown!r} means nothing to senders"
        return [_found("tlsrpt-unknown-tag", Severity.INFO, name, what, mark=mark)]
    return []


def _of_destinations(name: str, record: str, tag: TagValue, destinations: list[str]) -> Iterator[Finding]:
    start = tag.start
    for uri in destinations:
        start = record.index(uri, start)
        mark = Mark(record, start, start + len(uri))
        start += len(uri)
        shown = uri[:LONGEST_SHOWN]
        if uri.lower().startswith("http://"):
            what = f"{shown!r} is not https:"
            yield _found("tlsrpt-http", Severity.FAIL, name, what, remedy="write https:", mark=mark)
        elif not (_mail_domain(uri) or _web_host(uri)):
            what = f"{shown!r} is neither mailto: with an address nor https:"
            remedy = "write mailto:ADDRESS or https://HOST/PATH"
            yield _found("tlsrpt-rua", Severity.FAIL, name, what, remedy=remedy, mark=mark)


def _mail_domain(uri: str) -> str:
    """Return the domain of a ``mailto:`` address in lower case, "" for what is none."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto":
        return ""
    address = _REPORTABLE.fullmatch(rest.partition("?")[0])
    return address[1].lower() if address and is_host_name(address[1]) else ""


def _web_host(uri: str) -> str:
    """Return the host of an ``https:`` address, "" for what is none."""
    address = re.fullmatch(r"https://([^\s/:?#@]+)(:\d{1,5})?([/?#]\S*)?", uri, re.IGNORECASE)
    return address[1] if address and is_host_name(address[1]) else ""
