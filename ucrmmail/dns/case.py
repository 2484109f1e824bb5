"""One case instead of a domain: what SPF says of a client's address, what DMARC says of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.a_label import a_label
from ucrmmail.dns.align import AlignReport
from ucrmmail.dns.check import DomainReport
from ucrmmail.dns.dkim_message import verify_message
from ucrmmail.dns.dmarc import DmarcResult, evaluate
from ucrmmail.dns.finding import Finding, Severity, reason
from ucrmmail.dns.spf import SpfVerdict, check_host, identity
from ucrmmail.dns.spf_check import AddressResult, SpfReport
from ucrmmail.dns.spf_client import is_askable
from ucrmmail.dns.spf_codes import finding
from ucrmmail.dns.spf_record import is_spf
from ucrmmail.errors import DataError, NoUserError
from ucrmmail.message.addresslist import parse_address_list
from ucrmmail.message.header import split, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.dns.answer import Resolver
    from ucrmmail.dns.spf import SpfResult

_CODES = {
    SpfVerdict.PASS: "spf-address-pass",
    SpfVerdict.PERMERROR: "spf-address-permerror",
    SpfVerdict.TEMPERROR: "spf-address-temperror",
}

CODES: dict[str, str] = {
    "dmarc-result-pass": "A message from this address passes DMARC: SPF or DKIM has authenticated an aligned domain.",
    "dmarc-result-fail": "A message from this address fails DMARC: no domain that SPF or DKIM has authenticated aligns"
    " with the domain in From. Receivers do with it what the policy asks for. RFC 9989 section 4.",
    "dmarc-result-none": "DMARC does not apply to a message from this address: no policy was found that holds for its"
    " domain. RFC 9989 section 4.10.1.",
    "dmarc-result-temperror": "The DNS did not answer a question on which the result depends; receivers that meet the"
    " same defer the message, or go on without DMARC.",
}


@dataclass(frozen=True, slots=True)
class SpfCase:
    """The result of one client address; ``domain`` is the one that was checked."""

    domain: str
    report: SpfReport

    @property
    def passes(self) -> bool:
        """Whether the domain is authenticated."""
        return self.report.result == SpfVerdict.PASS


async def judge_spf(
    ip: IPv4Address | IPv6Address, mail_from: str, helo: str, resolver: Resolver, *, now: float
) -> SpfCase:
    """Return the result of RFC 7208 for a client, a reverse-path ("": the HELO identity) and a HELO name."""
    helo = a_label(helo)
    domain, sender = identity(mail_from, helo)
    result = await check_host(ip, domain, sender, helo, resolver, now=now)
    record = await _record(domain, resolver)
    report = SpfReport(
        domain=domain,
        record=record,
        lookups=result.lookups,
        void_lookups=result.void_lookups,
        result=result.result,
        explanation=result.explanation,
        tree=None,
        addresses=(AddressResult(ip, result),),
        voids=(),
        findings=(_told(ip, domain, result),),
    )
    return SpfCase(domain, report)


async def _record(domain: str, resolver: Resolver) -> str:
    """Return the record that was evaluated first, "" when there is none."""
    if not is_askable(domain):
        return ""
    answer = await resolver.query(domain, "TXT")
    records = [text.joined for text in answer.texts if is_spf(text.joined)]
    return records[0].decode("utf-8", "backslashreplace") if records else ""


def _told(ip: IPv4Address | IPv6Address, domain: str, result: SpfResult) -> Finding:
    code = _CODES.get(result.result, "spf-address-not-authorized")
    by = f" by {result.matched} in the record of {result.matched_at}" if result.matched else ""
    why = f": {result.problem}" if result.problem else ""
    remedy = _remedy(ip, domain, result) if code == "spf-address-not-authorized" else ""
    return finding(code, domain, f"{ip}: {result.result}{by}{why}", remedy=remedy)


def _remedy(ip: IPv4Address | IPv6Address, domain: str, result: SpfResult) -> str:
    """Of one case nothing is proposed: only who owns the domain knows whether the address is one of its senders."""
    if result.result != "none":
        return f"If {ip} sends for {domain}, add it to that record."
    if not is_askable(domain) or "." not in domain:
        return "Name the domain as the server says it, such as mail.isp.example; receivers look up no other."
    return f"If {ip} sends for {domain}, publish a record with it; `ucrmmail check-dns {domain}` proposes one."


async def judge_dmarc(
    header_from: str, spf_pass: Sequence[str], dkim_pass: Sequence[str], resolver: Resolver
) -> AlignReport:
    """Return what DMARC says of a message from this address for which these domains passed."""
    result = await evaluate(header_from, spf_pass, dkim_pass, resolver)
    told = Finding(
        "dmarc",
        f"dmarc-result-{result.result}",
        {"pass": Severity.PASS, "temperror": Severity.ERROR}.get(result.result, Severity.FAIL),
        header_from,
        _sentence(result),
        why=reason(CODES[f"dmarc-result-{result.result}"]),
        rfc="RFC 9989 section 4",
    )
    return AlignReport(result.result == "pass", result, (told,))


def _sentence(result: DmarcResult) -> str:
    if result.result == "temperror":
        return f"the DNS did not answer: {result.detail}"
    if result.result == "none":
        return "DMARC does not apply: there is no policy"
    aligned = [f"SPF by {domain}" for domain in result.spf_aligned]
    aligned += [f"DKIM by {domain}" for domain in result.dkim_aligned]
    by = ", ".join(aligned) or "nothing aligns"
    return f"{result.result}: {by}; the policy of {result.org_domain} is {result.policy}"


async def judge_message(raw: bytes, spf_pass: Sequence[str], resolver: Resolver, *, now: float) -> DomainReport:
    """Verify the signatures of a message, and say what DMARC makes of it when SPF passed for these domains.

    Raises DataError for what is no message.
    """
    if not split(raw)[0]:
        raise DataError("this is no message: it has no header", remedy="give the whole message, as it was received")
    verdicts = await verify_message(raw, resolver, now)
    findings = tuple(told for each in verdicts for told in each.findings)
    author = _author(raw)
    if not author:
        return DomainReport("", findings)
    signed = [each.domain for each in verdicts if each.state == "valid"]
    conclusion = await judge_dmarc(author, spf_pass, signed, resolver)
    return DomainReport(author.rpartition("@")[2], (*findings, *conclusion.findings), align=conclusion)


def _author(raw: bytes) -> str:
    """Return the first From address of a message, "" when it has none that can be read."""
    for name, field in split(raw)[0]:
        if name == "from":
            try:
                return next(iter(parse_address_list(value_of(field))), "")
            except NoUserError:
                return ""
    return ""


def together(spf: SpfCase | None, dmarc: AlignReport | None) -> DomainReport:
    """Return the results as the report of the domain that they are about."""
    domain = (
        spf.domain if spf is not None else dmarc.findings[0].subject.rpartition("@")[2] if dmarc is not None else ""
    )
    findings = (*(spf.report.findings if spf is not None else ()), *(dmarc.findings if dmarc is not None else ()))
    return DomainReport(domain, findings, spf=spf.report if spf is not None else None, align=dmarc)
