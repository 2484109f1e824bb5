"""The audit of a domain's DMARC policy (RFC 9989), and the way from monitoring to reject.

``dmarc`` says what receivers do with the record; here stands what is wrong with it, what is weak, and what to publish.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.answer import Status
from ucrmmail.dns.dmarc import UnansweredError, dmarc_texts, organization_of, walk
from ucrmmail.dns.dmarc_record import KNOWN, POLICIES, REMOVED, is_dmarc
from ucrmmail.dns.finding import Finding, Mark, Proposal, Severity, reason

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Answer, Resolver
    from ucrmmail.dns.dmarc import Walk
    from ucrmmail.dns.dmarc_record import DmarcRecord, ReportUri, Tag

_RFC = "RFC 9989"
# Shown of a record that is no DMARC record.
_VERSION_LATE = re.compile(r";\s*v\s*=\s*dmarc1\s*(?:;|\Z)", re.IGNORECASE)
_LONGEST_SHOWN = 300

CODES: dict[str, str] = {
    "dmarc-record": "The domain has a DMARC record that receivers apply.",
    "dmarc-inherited": "The domain has no DMARC record of its own; that of its organizational domain holds for it, with"
    " the policy for subdomains (sp, or np for a name that does not exist). RFC 9989 section 4.10.1.",
    "dmarc-missing": "No DMARC record was found, neither here nor above. Receivers do not ask for alignment,"
    " anybody can write the domain into From, and Gmail, Yahoo and Outlook.com refuse bulk mail. Publish one, beginning"
    " with p=none and an address for reports. RFC 9989 section 4.",
    "dmarc-error": "The DNS did not answer a question on which the policy depends. That says nothing about the record:"
    " ask again later, or another server with --nameserver.",
    "dmarc-multiple": "More than one DMARC record stands at the name. Receivers then use none of them. Keep one and"
    " delete the others. RFC 9989 section 4.10.",
    "dmarc-stray-text": "Another TXT record stands at the _dmarc name. Receivers ignore it; it is usually a mistake of"
    " somebody who meant another name.",
    "dmarc-version": "A record at the _dmarc name looks like DMARC and does not begin with exactly v=DMARC1 followed by"
    " a semicolon, in this case. Receivers ignore all of it. RFC 9989 section 4.7.",
    "dmarc-wrong-name": "A DMARC record stands at a name where no receiver looks: it belongs to _dmarc.DOMAIN. Panels"
    " often add the domain to what was typed.",
    "dmarc-unusable": "The policy is missing or wrong and there is no valid address for reports, so receivers act as if"
    " there were no record. RFC 9989 section 4.10.1.",
    "dmarc-no-policy": "There is no p tag. Receivers that find an address for reports act as with p=none; others ignore"
    " the record. Say the policy. RFC 9989 section 4.7.",
    "dmarc-invalid-policy": "p, sp or np holds another word than none, quarantine or reject. Receivers act as with"
    " p=none when there is a valid address for reports, else they ignore the record. RFC 9989 section 4.10.1.",
    "dmarc-invalid-value": "A tag has a value that does not exist; receivers use the default of the tag. RFC 9989"
    " section 4.7.",
    "dmarc-syntax": "A part of the record is no tag=value. Receivers ignore it, and what was meant with it is lost.",
    "dmarc-unknown-tag": "A tag that RFC 9989 does not know. Receivers ignore it; look for a spelling mistake.",
    "dmarc-removed-tag": "pct, rf and ri were removed by RFC 9989. Receivers of today ignore them, older ones do not: a"
    " pct below 100 gives different verdicts at different receivers. Use t=y for a test. RFC 9989 appendix A.6.",
    "dmarc-duplicate-tag": "A tag stands twice. Receivers differ in which one they take.",
    "dmarc-policy-none": "With p=none a message that fails is delivered as any other: the record only asks for reports."
    " Read them until all your senders align, then publish p=quarantine with t=y, p=quarantine, and at last p=reject.",
    "dmarc-testing": "With t=y receivers apply one level less than the policy: reject acts as quarantine, quarantine as"
    " none. Take it out when the reports show that nothing of yours fails. RFC 9989 section 4.7.",
    "dmarc-no-reports": "There is no valid address for aggregate reports (rua): you do not see who sends in the name of"
    " the domain, nor what receivers would refuse. RFC 9990.",
    "dmarc-report-address": "A destination of reports is no valid mailto: address. A comma or an exclamation mark in it"
    " must be written %2C or %21. RFC 9989 section 4.8.",
    "dmarc-report-scheme": "A destination of reports is not mailto:, the one scheme that every receiver supports.",
    "dmarc-report-size": "A size limit (!10m) at a destination of reports is obsolete: reporters must ignore it.",
    "dmarc-report-unauthorized": "Reports go to another organization, which has not published that it takes them. Most"
    " reporters then send none. The destination must publish the record that is proposed. RFC 9990 section 4.",
    "dmarc-report-unknown": "Whether the destination takes the reports could not be found out: the DNS did not answer.",
    "dmarc-subdomain-weaker": "sp or np is weaker than p: who cannot use the domain takes a subdomain of it, even one"
    " that does not exist. Leave sp and np out, or make them as strict as p.",
    "dmarc-sp-without-effect": "sp and np in the record of a subdomain have no effect on itself; receivers look only at"
    " the record of the organizational domain for other names. RFC 9989 section 4.7.",
    "dmarc-fo-without-ruf": "fo says which failures to report, and without ruf nobody is told. RFC 9989 section 4.7.",
    "dmarc-public-suffix": "psd=y declares the domain to be a public suffix, such as com: names below it belong to"
    " others. On a domain of your own it breaks relaxed alignment.",
}


@dataclass(frozen=True, slots=True)
class DmarcReport:
    """What was found for a domain.

    ``record`` is the one that holds for it ("" without one) and ``record_domain`` where it stands; ``policy`` what
    receivers apply ("" when DMARC does not apply). ``result`` is found, inherited, missing, invalid or temperror.
    """

    domain: str
    result: str
    record: str = ""
    record_domain: str = ""
    org_domain: str = ""
    policy: str = ""
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


def found(
    code: str, severity: Severity, subject: str, what: str, *, remedy: str = "", mark: Mark | None = None
) -> Finding:
    """Return a finding; the reason is what the code is explained with."""
    why = reason(CODES[code])
    return Finding("dmarc", code, severity, subject, what, why=why, remedy=remedy, rfc=_RFC, mark=mark)


async def check_dmarc(domain: str, resolver: Resolver) -> DmarcReport:
    """Return the audit of the record that holds for a domain; eight names, the destinations, and a few wrong names."""
    own, apex, there = await asyncio.gather(
        resolver.query(f"_dmarc.{domain}", "TXT"), resolver.query(domain, "TXT"), resolver.query(domain, "A")
    )
    findings = [*_strays(domain, own), *await _wrong_names(domain, apex, resolver)]
    try:
        walked = await walk(domain, resolver)
        applicable = walked.applicable
    except UnansweredError as error:
        what = f"the DNS did not answer for {error}"
        failed = found("dmarc-error", Severity.ERROR, f"_dmarc.{domain}", what, remedy="run the check again later")
        return DmarcReport(domain, "temperror", findings=(*findings, failed))
    organization = walked.likely_organization
    if applicable is None:
        return _missing(domain, organization, findings)
    name, record = applicable
    inherited = name != domain
    findings += _audit(walked, name, record)
    report_findings, proposals = await _check_reports(name, record, organization, resolver)
    findings += report_findings
    exists = there.status is not Status.NXDOMAIN
    policy = record.applied(record.policy_for(subdomain=inherited, exists=exists)) if record.is_usable else ""
    if record.is_usable:
        findings.insert(0, _good(domain, name, policy, record))
    findings += _weakness(domain, name, policy, record)
    step = _next_step(name, record)
    return DmarcReport(
        domain,
        ("inherited" if inherited else "found") if record.is_usable else "invalid",
        record=record.text,
        record_domain=name,
        org_domain=organization,
        policy=policy,
        findings=tuple(findings),
        proposals=(*step, *proposals),
    )


def _good(domain: str, name: str, policy: str, record: DmarcRecord) -> Finding:
    if name == domain:
        return found("dmarc-record", Severity.PASS, f"_dmarc.{name}", f"policy {policy}: {record.text}")
    what = f"the policy of {name} holds: {policy}: {record.text}"
    return found("dmarc-inherited", Severity.PASS, f"_dmarc.{name}", what)


def _missing(domain: str, organization: str, findings: list[Finding]) -> DmarcReport:
    proposal = Proposal(
        f"_dmarc.{domain}",
        "TXT",
        f"v=DMARC1; p=none; rua=mailto:dmarc@{domain}",
        "a beginning: nothing changes for your mail, and the reports show who sends in your name",
    )
    # With several records, or one that is misspelt, the reason has been told already.
    failed = any(finding.severity is Severity.FAIL for finding in findings)
    if not failed:
        findings = [
            *findings,
            found(
                "dmarc-missing",
                Severity.FAIL,
                f"_dmarc.{domain}",
                "there is no DMARC record, neither here nor above",
                remedy=f"publish {proposal.name} TXT {proposal.value!r}",
            ),
        ]
    return DmarcReport(domain, "missing", org_domain=organization, findings=tuple(findings), proposals=(proposal,))


# --- what stands where it should not --------------------------------------------------------------------------------


def _strays(domain: str, answer: Answer) -> list[Finding]:
    """Return what is wrong with the set of TXT records at the name."""
    name = f"_dmarc.{domain}"
    records = dmarc_texts(answer)
    findings = []
    if len(records) > 1:
        what = f"{len(records)} DMARC records: " + " | ".join(records)
        remedy = "keep one of them and delete the others"
        findings.append(found("dmarc-multiple", Severity.FAIL, name, what[:_LONGEST_SHOWN], remedy=remedy))
    for text in answer.texts:
        shown = text.joined.decode("utf-8", "backslashreplace")
        if is_dmarc(shown):
            continue
        if _looks_like_dmarc(shown):
            severity = Severity.WARN if records else Severity.FAIL
            mark = Mark(shown, 0, min(len(shown), len(shown.partition(";")[0]) + 1))
            remedy = "let it begin with v=DMARC1; exactly so"
            what = f"receivers ignore {shown[:_LONGEST_SHOWN]!r}"
            findings.append(found("dmarc-version", severity, name, what, remedy=remedy, mark=mark))
        else:
            what = f"another TXT record stands here: {shown[:_LONGEST_SHOWN]!r}"
            findings.append(found("dmarc-stray-text", Severity.INFO, name, what))
    return findings


def _looks_like_dmarc(text: str) -> bool:
    squeezed = "".join(character for character in text.lower()[:40] if character.isalnum())
    # A version that is not the first tag is none (RFC 9989 section 4.7).
    return squeezed.startswith(("vdmarc", "dmarc")) or _VERSION_LATE.search(text) is not None


async def _wrong_names(domain: str, apex: Answer, resolver: Resolver) -> list[Finding]:
    """Return where else a record was put by mistake."""
    doubled = f"_dmarc.{domain}.{domain}"
    names = (domain, doubled, f"dmarc.{domain}")
    others = await asyncio.gather(*(resolver.query(name, "TXT") for name in names[1:]))
    findings = []
    for name, answer in zip(names, (apex, *others), strict=True):
        for text in dmarc_texts(answer):
            what = f"a DMARC record stands at {name}, where no receiver looks: {text[:_LONGEST_SHOWN]}"
            remedy = f"publish it at _dmarc.{domain} and delete it here"
            findings.append(found("dmarc-wrong-name", Severity.WARN, name, what, remedy=remedy))
    return findings


# --- the record -----------------------------------------------------------------------------------------------------


def _audit(walked: Walk, name: str, record: DmarcRecord) -> list[Finding]:
    """Return what is wrong with the record as it is written."""
    subject = f"_dmarc.{name}"
    findings = []
    if not record.is_usable:
        what = "receivers ignore the record: its policy is missing or wrong, and it has no valid rua"
        remedy = f"publish p=none, p=quarantine or p=reject, and rua=mailto:dmarc@{name}"
        findings.append(found("dmarc-unusable", Severity.FAIL, subject, what, remedy=remedy))
    if record.tag("p") is None:
        what = "the record has no p tag"
        findings.append(found("dmarc-no-policy", Severity.WARN, subject, what, remedy="add p=none, or a stricter one"))
    seen: set[str] = set()
    for tag in record.tags:
        findings += _audit_tag(subject, record, tag, repeated=tag.name in seen)
        seen.add(tag.name)
    if record.tag("fo") is not None and not record.uris("ruf"):
        what = "fo has no effect without ruf"
        findings.append(found("dmarc-fo-without-ruf", Severity.INFO, subject, what, mark=_mark(record, "fo")))
    if record.word("psd") == "y":
        what = "the record declares a public suffix"
        remedy = "take psd=y out, unless others register names below this one"
        findings.append(
            found("dmarc-public-suffix", Severity.WARN, subject, what, remedy=remedy, mark=_mark(record, "psd"))
        )
    if name != walked.likely_organization and (record.tag("sp") or record.tag("np")):
        what = f"sp and np count only in the record of {walked.likely_organization}"
        mark = _mark(record, "sp" if record.tag("sp") else "np")
        findings.append(found("dmarc-sp-without-effect", Severity.INFO, subject, what, mark=mark))
    return findings


def _audit_tag(subject: str, record: DmarcRecord, tag: Tag, *, repeated: bool) -> list[Finding]:
    mark = Mark(record.text, tag.start, tag.end)
    if not tag.name:
        what = f"{tag.value or record.text[tag.start : tag.end]!r} is no tag=value"
        return [found("dmarc-syntax", Severity.WARN, subject, what, remedy="write tag=value, parted by ;", mark=mark)]
    if repeated:
        what = f"{tag.name} stands there again"
        return [found("dmarc-duplicate-tag", Severity.WARN, subject, what, remedy="keep one of them", mark=mark)]
    if tag.name in REMOVED:
        what = f"{tag.name} was removed by RFC 9989"
        remedy = "take it out" + ("; t=y asks for a test" if tag.name == "pct" else "")
        return [found("dmarc-removed-tag", Severity.WARN, subject, what, remedy=remedy, mark=mark)]
    if tag.name not in KNOWN:
        what = f"{tag.name!r} is no tag of DMARC"
        return [
            found("dmarc-unknown-tag", Severity.INFO, subject, what, remedy="take it out, or correct it", mark=mark)
        ]
    if record.is_wrong(tag):
        policy = tag.name in ("p", "sp", "np")
        code = "dmarc-invalid-policy" if policy else "dmarc-invalid-value"
        remedy = f"allowed: {', '.join(POLICIES)}" if policy else f"take {tag.name} out, or correct it"
        what = f"{tag.name}={tag.value} does not exist"
        return [found(code, Severity.FAIL if policy else Severity.WARN, subject, what, remedy=remedy, mark=mark)]
    return []


def _mark(record: DmarcRecord, name: str) -> Mark | None:
    tag = record.tag(name)
    return Mark(record.text, tag.start, tag.end) if tag is not None else None


def _weakness(domain: str, name: str, policy: str, record: DmarcRecord) -> list[Finding]:
    """Return what the record permits that its owner may not want."""
    if not record.is_usable:
        return []
    subject = f"_dmarc.{name}"
    findings = []
    if record.word("t") == "y" and record.word("p") in POLICIES[1:]:
        what = f"t=y: receivers apply {policy}, not {record.word('p')}"
        findings.append(found("dmarc-testing", Severity.INFO, subject, what, mark=_mark(record, "t")))
    elif policy == "none":
        what = f"mail that fails is delivered all the same: the policy for {domain} is none"
        remedy = "read the reports until all your senders align, then publish the next step"
        findings.append(
            found("dmarc-policy-none", Severity.WARN, subject, what, remedy=remedy, mark=_mark(record, "p"))
        )
    strict = POLICIES.index(record.word("p") or "none")
    for weaker in ("sp", "np"):
        word = record.word(weaker)
        if word and POLICIES.index(word) < strict:
            what = f"{weaker}={word} is weaker than p={record.word('p')}"
            remedy = f"take {weaker} out"
            findings.append(
                found("dmarc-subdomain-weaker", Severity.WARN, subject, what, remedy=remedy, mark=_mark(record, weaker))
            )
    return findings


def _next_step(name: str, record: DmarcRecord) -> tuple[Proposal, ...]:
    """Return the record to publish next on the way from none to reject (never two steps at once)."""
    policy, testing = record.word("p"), record.word("t") == "y"
    if policy == "reject" and not testing:
        return ()
    if policy == "reject":
        step, why = "p=reject", "when the reports of some weeks show that nothing of yours fails"
    elif policy == "quarantine" and testing:
        step, why = "p=quarantine", "when the reports of some weeks show that nothing of yours fails"
    elif policy == "quarantine":
        step, why = "p=reject; t=y", "when nothing of yours was quarantined for some weeks: a test of reject"
    elif record.is_usable:
        step, why = "p=quarantine; t=y", "when the reports show that all your senders align: a test of quarantine"
    else:
        step, why = "p=none", "a policy that receivers can read"
    kept = [
        record.text[tag.start : tag.end]
        for tag in record.tags
        if tag.name in KNOWN - {"v", "p", "t", "sp", "np", "rua", "ruf"} and not record.is_wrong(tag)
    ]
    strict = POLICIES.index(step.partition(";")[0].removeprefix("p="))
    for stricter in ("sp", "np"):
        # One that is weaker is advised against; one that is stricter must not be lost on the way.
        word = record.word(stricter)
        if word and POLICIES.index(word) > strict:
            kept.append(f"{stricter}={word}")
    for reports in ("rua", "ruf"):
        destinations = [uri.text for uri in record.uris(reports) if uri.address]
        if destinations:
            kept.append(f"{reports}={','.join(destinations)}")
    if not any(uri.address for uri in record.uris("rua")):
        kept.append(f"rua=mailto:dmarc@{name}")
    value = "; ".join(["v=DMARC1", step, *kept])
    return (Proposal(f"_dmarc.{name}", "TXT", value, why, replaces=record.text),)


# --- reports --------------------------------------------------------------------------------------------------------


async def _check_reports(
    name: str, record: DmarcRecord, organization: str, resolver: Resolver
) -> tuple[list[Finding], list[Proposal]]:
    """Return what is wrong with where reports go, and what other organizations must publish to get them."""
    findings: list[Finding] = []
    proposals: list[Proposal] = []
    subject = f"_dmarc.{name}"
    uris = {tag: record.uris(tag) for tag in ("rua", "ruf")}
    for tag, destinations in uris.items():
        for uri in destinations:
            findings += _audit_uri(subject, record, tag, uri)
    if not any(uri.address for uri in uris["rua"]):
        what = "no valid address for aggregate reports (rua)"
        severity = Severity.WARN if record.word("p") in ("", "none") else Severity.INFO
        remedy = f"add rua=mailto:dmarc@{name}"
        findings.append(found("dmarc-no-reports", severity, subject, what, remedy=remedy, mark=_mark(record, "rua")))
    domains = sorted({uri.domain for destinations in uris.values() for uri in destinations if uri.address})
    for domain, verdict in zip(
        domains, await asyncio.gather(*(_takes_reports(name, organization, d, resolver) for d in domains)), strict=True
    ):
        permission = f"{name}._report._dmarc.{domain}"
        if verdict is None:
            what = f"the DNS did not answer whether {domain} takes the reports ({permission})"
            findings.append(found("dmarc-report-unknown", Severity.ERROR, subject, what, remedy="run the check again"))
        elif not verdict:
            what = f"{domain} does not say that it takes reports about {name}"
            remedy = f"its owner has to publish {permission} TXT 'v=DMARC1;'"
            findings.append(found("dmarc-report-unauthorized", Severity.WARN, subject, what, remedy=remedy))
            proposals.append(Proposal(permission, "TXT", "v=DMARC1;", f"in the zone of {domain}: it takes the reports"))
    return findings, proposals


def _audit_uri(subject: str, record: DmarcRecord, tag: str, uri: ReportUri) -> list[Finding]:
    mark = _mark(record, tag)
    if uri.scheme != "mailto":
        known = uri.scheme in ("http", "https")
        what = f"{tag}: {uri.text!r} is " + ("not mailto:" if known else "no mailto: address")
        code = "dmarc-report-scheme" if known else "dmarc-report-address"
        severity = Severity.INFO if known else Severity.WARN
        return [found(code, severity, subject, what, remedy=f"write {tag}=mailto:dmarc@...", mark=mark)]
    if not uri.address:
        what = f"{tag}: {uri.text!r} is no valid address"
        remedy = f"write {tag}=mailto:dmarc@..., with %2C for a comma and %21 for an exclamation mark"
        return [found("dmarc-report-address", Severity.WARN, subject, what, remedy=remedy, mark=mark)]
    if uri.size:
        what = f"{tag}: the size limit !{uri.size} is obsolete"
        return [found("dmarc-report-size", Severity.INFO, subject, what, remedy="take it out", mark=mark)]
    return []


async def _takes_reports(name: str, organization: str, destination: str, resolver: Resolver) -> bool | None:
    """Return whether reports about the domain may go there (RFC 9990 section 4); None when the DNS did not answer."""
    if destination in (organization, name) or destination.endswith("." + organization):
        return True
    permission, walked = await asyncio.gather(
        resolver.query(f"{name}._report._dmarc.{destination}", "TXT"), organization_of(destination, resolver)
    )
    if walked == organization or dmarc_texts(permission):
        return True
    return False if permission.status.is_known else None
