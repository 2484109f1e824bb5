"""The check of MTA-STS (RFC 8461): the record, the policy behind it, and whether it covers the domain's exchanges.

It protects mail to the domain. A policy in ``enforce`` that misses an exchange keeps mail away from it.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.finding import Finding, Mark, Proposal, Severity
from ucrmmail.dns.mta_sts_policy import MAX_AGE_S, MODES, Policy, matches, parse_policy, policy_id, policy_text
from ucrmmail.dns.neighbour import LONGEST_SHOWN, Voice, is_host_name, mark_of_version, shown_texts, tag_values

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Answer, Resolver
    from ucrmmail.dns.https import Fetched, Fetcher

PATH = "/.well-known/mta-sts.txt"
_DAY_S = 86_400
_MOST_FINDINGS_OF_A_KIND = 10

CODES: dict[str, str] = {
    "mta-sts-policy": "The record and the policy are well formed, and the policy covers the domain's exchanges. RFC"
    " 8461 section 3.",
    "mta-sts-absent": "The domain has no MTA-STS, so others may be made to deliver to it without TLS, or to a stranger."
    " It is optional, and needs a web server that serves the policy. RFC 8461 section 1.",
    "mta-sts-error": "The DNS did not answer a question on which the verdict depends, so nothing is known of it.",
    "mta-sts-multiple": "More than one MTA-STS record stands at the name. Senders then act as if there were none. Keep"
    " one and delete the others. RFC 8461 section 3.1.",
    "mta-sts-version": "A record at the name does not begin with exactly v=STSv1; in this case. Senders ignore it. RFC"
    " 8461 section 3.1.",
    "mta-sts-stray-text": "Another TXT record stands at the name. Senders ignore it.",
    "mta-sts-id": "The record has no id of 1 to 32 letters and digits, so it is invalid and senders act as if there"
    " were none. RFC 8461 section 3.1.",
    "mta-sts-syntax": "A part of the record is no name=value, so it is invalid and senders may act as if there were"
    " none. RFC 8461 section 3.1.",
    "mta-sts-no-host": "The record promises a policy, and the host mta-sts.DOMAIN that must serve it has no address."
    " RFC 8461 section 3.3.",
    "mta-sts-tls": "The web server of the policy has no certificate that is valid for mta-sts.DOMAIN, so senders do not"
    " read the policy. RFC 8461 section 3.3.",
    "mta-sts-refused": "No web server answers at mta-sts.DOMAIN, so senders cannot read the policy that the record"
    " promises. RFC 8461 section 3.3.",
    "mta-sts-unreachable": "The web server of the policy could not be reached from here in time. Senders may have the"
    " same trouble, or outgoing HTTPS is blocked here; nothing is known of the policy.",
    "mta-sts-redirect": "The web server answers with a redirect. Senders must not follow it; serve the policy at the"
    " address itself. RFC 8461 section 3.3.",
    "mta-sts-status": "The web server does not answer with 200 and the policy. RFC 8461 section 3.3.",
    "mta-sts-media-type": "The policy should be served as text/plain; some senders refuse it otherwise. RFC 8461"
    " section 3.2.",
    "mta-sts-too-large": "The policy is longer than 64 KB, and senders stop reading there. RFC 8461 section 3.3.",
    "mta-sts-policy-version": "The policy does not say version: STSv1, so senders ignore it. RFC 8461 section 3.2.",
    "mta-sts-mode": "The policy has no mode of enforce, testing or none, so senders ignore it. RFC 8461 section 3.2.",
    "mta-sts-max-age": "The policy has no max_age from 0 to 31557600 seconds, so senders ignore it. RFC 8461 section"
    " 3.2.",
    "mta-sts-max-age-short": "The policy is forgotten within days, and with it the protection. Weeks or more are meant."
    " RFC 8461 section 3.2.",
    "mta-sts-no-mx": "The policy names no exchange that could match, so senders ignore it. RFC 8461 section 3.2.",
    "mta-sts-pattern": "An mx of the policy is neither a host name nor *. before one, and matches nothing. RFC 8461"
    " section 3.2.",
    "mta-sts-policy-syntax": "A line of the policy is no key: value; strict senders ignore the whole policy. RFC 8461"
    " section 3.2.",
    "mta-sts-repeated-field": "A field stands in the policy again; only the first counts. RFC 8461 section 3.2.",
    "mta-sts-testing": "In testing, mail is delivered whatever fails, and only reported. Go on to enforce when TLS-RPT"
    " reports show no failure. RFC 8461 section 5.",
    "mta-sts-none": "The policy says that there is none, which is the way to end MTA-STS. RFC 8461 section 8.3.",
    "mta-sts-mx-not-covered": "The policy does not cover an exchange of the domain. In enforce, senders that know"
    " MTA-STS do not deliver to it. RFC 8461 section 4.1.",
    "mta-sts-mx-unused": "The policy covers an exchange that the domain does not have. That is right while exchanges"
    " are changed, and else an open door. RFC 8461 section 4.1.",
}
_found = Voice("mta-sts", CODES)
_VERSION = re.compile(r"v=STSv1[ \t]*;")
# Also behind another tag, where it counts for nothing.
_LOOKS_LIKE = re.compile(r"[^a-z]*v?\W*sts|.*;\s*v\s*=\s*STSv1", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class MtaStsReport:
    """What was found for a domain.

    ``record`` is "" when none counts, ``policy`` None when it could not be read. ``proposed_policy`` is the text to
    serve beside a proposed record, "" without one.
    """

    domain: str
    record: str = ""
    policy: Policy | None = None
    proposed_policy: str = ""
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()

    @property
    def mode(self) -> str:
        """The mode that senders apply, "" when there is none."""
        return self.policy.mode if self.policy is not None else ""


async def check_mta_sts(domain: str, resolver: Resolver, fetcher: Fetcher) -> MtaStsReport:
    """Return the audit; the policy is fetched only for a domain whose record is valid."""
    name = f"_mta-sts.{domain}"
    answer, mx = await asyncio.gather(resolver.query(name, "TXT"), resolver.query(domain, "MX"))
    if not answer.status.is_known:
        return MtaStsReport(domain, findings=(_found.unanswered("mta-sts-error", answer),))
    texts = shown_texts(answer)
    records = [text for text in texts if _VERSION.match(text)]
    findings = [_stray(name, text) for text in texts if text not in records]
    if len(records) > 1:
        what = (f"{len(records)} records: " + " | ".join(records))[:LONGEST_SHOWN]
        remedy = "keep one of them and delete the others"
        findings.append(_found("mta-sts-multiple", Severity.FAIL, name, what, remedy=remedy))
        return MtaStsReport(domain, findings=tuple(findings))
    if not records:
        return _absent(domain, name, findings, mx)
    findings += _of_record(name, records[0])
    if any(finding.severity is Severity.FAIL for finding in findings):
        return MtaStsReport(domain, records[0], findings=tuple(findings))
    report = await _fetched(MtaStsReport(domain, records[0]), mx, resolver, fetcher)
    return replace(report, findings=(*report.findings, *findings))


def _stray(name: str, text: str) -> Finding:
    if _LOOKS_LIKE.match(text):
        what = f"senders ignore {text[:LONGEST_SHOWN]!r}"
        mark = mark_of_version(text)
        remedy = "let it begin with v=STSv1; exactly so"
        return _found("mta-sts-version", Severity.FAIL, name, what, remedy=remedy, mark=mark)
    what = f"another TXT record stands here: {text[:LONGEST_SHOWN]!r}"
    return _found("mta-sts-stray-text", Severity.INFO, name, what)


def _absent(domain: str, name: str, findings: list[Finding], mx: Answer) -> MtaStsReport:
    """Return the report for a domain without a record, with a beginning for one whose exchanges are known."""
    if not any(finding.code == "mta-sts-version" for finding in findings):
        findings.append(_found("mta-sts-absent", Severity.INFO, name, "there is no MTA-STS record"))
    hosts = tuple(dict.fromkeys(_hosts(mx)))
    if not hosts:
        return MtaStsReport(domain, findings=tuple(findings))
    policy = policy_text("testing", hosts, 7 * _DAY_S)
    why = f"when https://mta-sts.{domain}{PATH} serves the policy: a test that keeps no mail away"
    proposal = Proposal(name, "TXT", f"v=STSv1; id={policy_id(policy)}", why)
    return MtaStsReport(domain, proposed_policy=policy, findings=tuple(findings), proposals=(proposal,))


def _hosts(mx: Answer) -> list[str]:
    """Return the exchanges that a policy can name."""
    return [exchange.exchange.lower() for exchange in mx.exchanges if is_host_name(exchange.exchange)]


def _of_record(name: str, record: str) -> list[Finding]:
    findings = []
    tags = tag_values(record)
    for tag in tags:
        if not tag.name:
            what = f"{record[tag.start : tag.end][:LONGEST_SHOWN]!r} is no name=value"
            mark = Mark(record, tag.start, tag.end)
            remedy = "write name=value, parted by ;"
            findings.append(_found("mta-sts-syntax", Severity.FAIL, name, what, remedy=remedy, mark=mark))
    given = next((tag for tag in tags if tag.name == "id"), None)
    if given is None or not re.fullmatch(r"[A-Za-z0-9]{1,32}", given.value):
        what = "the record has no id" if given is None else f"the id is {given.value[:LONGEST_SHOWN]!r}"
        id_mark = Mark(record, given.start, given.end) if given is not None else None
        remedy = "write id= and up to 32 letters and digits, new ones whenever the policy changes"
        findings.append(_found("mta-sts-id", Severity.FAIL, name, what, remedy=remedy, mark=id_mark))
    return findings


async def _fetched(report: MtaStsReport, mx: Answer, resolver: Resolver, fetcher: Fetcher) -> MtaStsReport:
    """Return the report with the policy and what is to be said of it."""
    host = f"mta-sts.{report.domain}"
    answers = await asyncio.gather(resolver.query(host, "A"), resolver.query(host, "AAAA"))
    addresses = [address for answer in answers for address in answer.addresses]
    if not addresses:
        if silent := next((answer for answer in answers if not answer.status.is_known), None):
            return replace(report, findings=(_found.unanswered("mta-sts-error", silent),))
        what = f"{host} has no address, and the record says that it serves a policy"
        remedy = f"let a web server answer at https://{host}{PATH}, or delete the record"
        return replace(report, findings=(_found("mta-sts-no-host", Severity.FAIL, host, what, remedy=remedy),))
    fetched = await fetcher.get(host, PATH, addresses)
    if (failure := _not_served(host, fetched)) is not None:
        return replace(report, findings=(failure,))
    policy = parse_policy(fetched.body.decode("utf-8", "backslashreplace"))
    findings = [*_of_service(host, fetched), *_of_policy(host, policy)]
    if not any(finding.severity is Severity.FAIL for finding in findings):
        findings += _of_exchanges(host, policy, mx)
    if not any(finding.severity in (Severity.FAIL, Severity.ERROR) for finding in findings):
        what = f"mode {policy.mode}, for {policy.max_age_s} s: " + (", ".join(policy.patterns) or "no exchange")
        findings.insert(0, _found("mta-sts-policy", Severity.PASS, host, what[: 2 * LONGEST_SHOWN]))
    return replace(report, policy=policy, findings=tuple(findings))


def _not_served(host: str, fetched: Fetched) -> Finding | None:
    """Return why there is no policy to read."""
    url = f"https://{host}{PATH}"
    detail = fetched.detail[:LONGEST_SHOWN]
    match fetched.problem:
        case "tls":
            remedy = f"let the web server show a certificate of a public authority for {host}"
            return _found("mta-sts-tls", Severity.FAIL, host, f"no TLS with {host}: {detail}", remedy=remedy)
        case "refused":
            remedy = f"let a web server answer at {url}, or delete the record"
            return _found("mta-sts-refused", Severity.FAIL, host, f"{host} takes no HTTPS: {detail}", remedy=remedy)
        case "unreachable" | "time":
            remedy = "run the check again, or from another network"
            what = f"{url} could not be fetched: {detail}"
            return _found("mta-sts-unreachable", Severity.ERROR, host, what, remedy=remedy)
        case "http":
            remedy = f"let {url} answer with the policy"
            what = f"{url} does not answer in HTTP: {detail}"
            return _found("mta-sts-status", Severity.FAIL, host, what, remedy=remedy)
    if 300 <= fetched.status < 400:
        what = f"{url} leads on to {fetched.location[:LONGEST_SHOWN] or 'nowhere'} ({fetched.status})"
        remedy = f"serve the policy at {url} itself"
        return _found("mta-sts-redirect", Severity.FAIL, host, what, remedy=remedy)
    if fetched.status != 200:
        what = f"{url} answers {fetched.status}"
        return _found("mta-sts-status", Severity.FAIL, host, what, remedy=f"let {url} answer with the policy")
    return None


def _of_service(host: str, fetched: Fetched) -> list[Finding]:
    findings = []
    if fetched.is_cut:
        what, remedy = "the policy is longer than 64 KB", "name exchanges by *. before their domain"
        findings.append(_found("mta-sts-too-large", Severity.FAIL, host, what, remedy=remedy))
    if fetched.media_type != "text/plain":
        shown = f"as {fetched.media_type[:LONGEST_SHOWN]}" if fetched.media_type else "without a media type"
        what, remedy = f"the policy is served {shown}", "let the web server say Content-Type: text/plain"
        findings.append(_found("mta-sts-media-type", Severity.WARN, host, what, remedy=remedy))
    return findings


def _of_policy(host: str, policy: Policy) -> list[Finding]:
    """Return what is wrong with the policy as it is written."""
    findings = []

    def add(code: str, severity: Severity, what: str, remedy: str) -> None:
        findings.append(_found(code, severity, host, what, remedy=remedy))

    def written(key: str) -> str:
        return f"{key} is {policy.value(key)[:LONGEST_SHOWN]!r}" if policy.value(key) else f"there is no {key}"

    if not policy.version:
        add("mta-sts-policy-version", Severity.FAIL, written("version"), "let the policy begin with version: STSv1")
    if not policy.mode:
        add("mta-sts-mode", Severity.FAIL, written("mode"), f"write mode: and one of {', '.join(MODES)}")
    if policy.max_age_s is None:
        add("mta-sts-max-age", Severity.FAIL, written("max_age"), f"write max_age: and seconds up to {MAX_AGE_S}")
    elif policy.mode != "none" and policy.max_age_s < 7 * _DAY_S:
        severity = Severity.WARN if policy.mode == "enforce" and policy.max_age_s < _DAY_S else Severity.INFO
        what = f"senders forget the policy after {policy.max_age_s} s"
        add("mta-sts-max-age-short", severity, what, f"write max_age: {14 * _DAY_S} or more")
    if not policy.patterns and policy.mode != "none":
        add("mta-sts-no-mx", Severity.FAIL, "the policy names no exchange", "write mx: and a name, for each exchange")
    for pattern in policy.wrong_patterns[:_MOST_FINDINGS_OF_A_KIND]:
        what = f"mx: {pattern[:LONGEST_SHOWN]} can match nothing"
        add("mta-sts-pattern", Severity.WARN, what, "write a host name, or *. and a domain")
    for line in policy.wrong_lines[:_MOST_FINDINGS_OF_A_KIND]:
        what = f"{line[:LONGEST_SHOWN]!r} is no key: value"
        add("mta-sts-policy-syntax", Severity.WARN, what, "write key: value, one a line")
    for key in policy.repeated[:_MOST_FINDINGS_OF_A_KIND]:
        add("mta-sts-repeated-field", Severity.WARN, f"{key} stands there again", "keep one of them")
    if policy.mode == "testing":
        remedy = "write mode: enforce when reports show no failure, and change the id of the record"
        add("mta-sts-testing", Severity.INFO, "the policy is only tested", remedy)
    if policy.mode == "none":
        remedy = "delete the record when the max_age of the last policy in force is over"
        add("mta-sts-none", Severity.INFO, "the policy ends MTA-STS for the domain", remedy)
    return findings


def _of_exchanges(host: str, policy: Policy, mx: Answer) -> list[Finding]:
    """Return which exchanges the policy misses, and what in it belongs to none."""
    if policy.mode == "none":
        return []
    if not mx.status.is_known:
        return [_found.unanswered("mta-sts-error", mx)]
    hosts = _hosts(mx)
    if not mx.exchanges:
        # Mail goes to the domain's own address (RFC 5321 section 5.1).
        hosts = [mx.name.lower()]
    severity = Severity.FAIL if policy.mode == "enforce" else Severity.WARN
    findings = []
    for exchange in [name for name in dict.fromkeys(hosts) if not policy.covers(name)][:_MOST_FINDINGS_OF_A_KIND]:
        what = f"the policy does not cover the exchange {exchange}"
        remedy = f"add mx: {exchange} to the policy, and change the id of the record"
        findings.append(_found("mta-sts-mx-not-covered", severity, host, what, remedy=remedy))
    unused = [pattern for pattern in policy.patterns if not any(matches(pattern, name) for name in hosts)]
    if unused:
        what = f"no exchange of the domain is {', '.join(unused[:_MOST_FINDINGS_OF_A_KIND])}"
        findings.append(_found("mta-sts-mx-unused", Severity.INFO, host, what[: 2 * LONGEST_SHOWN]))
    return findings
