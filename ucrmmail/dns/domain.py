"""The check of the zone a domain stands in: its nameservers, its SOA, who may issue certificates, and DNSSEC.

When this ground gives way, every other record of the domain goes with it (RFC 1034, 1912, 2182, 8659, 4035).
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Finding, Proposal, Severity
from ucrmmail.dns.neighbour import LONGEST_SHOWN, Voice, is_host_name, validates
from ucrmmail.dns.spf_lint import is_unroutable
from ucrmmail.dns.zone import begins_zone, names_above

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.dns.answer import Answer, Caa, Resolver, Soa

# Nameservers looked at.
MOST_NAMESERVERS = 20
_MOST_CAA = 10
_DAY_S = 86_400
_CAA_TAGS = (
    "issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone",
)  # fmt: skip

CODES: dict[str, str] = {
    "domain-zone": "The zone of the domain has nameservers that can be found. RFC 1034 section 4.1.",
    "domain-missing": "The domain does not exist in the DNS: nobody can be answered, and receivers refuse its mail."
    " Look at the spelling, and whether the registration has ended.",
    "domain-no-zone": "No zone was found for the domain: neither it nor a name above has an SOA record. RFC 1035"
    " section 3.3.13.",
    "domain-error": "The DNS did not answer a question about the zone. Receivers that meet the same defer the mail. If"
    " it stays, look at the nameservers, and at DNSSEC: wrong signatures look like this too.",
    "domain-letters": "The name has letters outside ASCII. The DNS has it in the form that begins with xn--, people see"
    " the letters. RFC 5890 section 2.3.2.1.",
    "domain-mixed-scripts": "A word of the name mixes letters that look alike, such as a Latin and a Cyrillic a. That"
    " is how a name is made that is taken for another one, and receivers judge its mail by it.",
    "domain-alias": "The domain is an alias. All its records, SPF and MX as well, are those of the name it leads to.",
    "domain-no-nameservers": "The zone names no nameserver. RFC 1035 section 3.3.11.",
    "domain-one-nameserver": "The zone has one nameserver. While it cannot be reached the domain has no mail, no SPF"
    " and no DKIM. RFC 2182 section 5.",
    "domain-nameserver-alias": "The name of a nameserver must not be an alias. Some resolvers do not find the zone"
    " then. RFC 2181 section 10.3.",
    "domain-nameserver-address": "A nameserver has no address, or is named by an address, so it answers nobody. RFC"
    " 2181 section 10.3.",
    "domain-nameserver-private": "A nameserver has an address that cannot be reached from the internet.",
    "domain-nameservers-near": "All nameservers stand in one network: when that is disturbed, the domain is gone. RFC"
    " 2182 section 3.1.",
    "domain-nameserver-error": "The DNS did not answer the question for the address of a nameserver.",
    "domain-soa": "A time in the SOA record is outside of what is sensible. Secondary nameservers live by them, and"
    " resolvers remember by the last one that a record was missing. RFC 1912 section 2.2.",
    "domain-soa-expire": "Secondary nameservers give the zone up before they have tried to renew it, so a short failure"
    " of the primary takes the domain away. RFC 1912 section 2.2.",
    "domain-soa-mailbox": "The SOA record names no mailbox to which others can report trouble with the zone. The first"
    " dot stands for the @. RFC 1912 section 2.2.",
    "domain-caa": "The domain says which authorities may issue certificates for it. RFC 8659 section 4.",
    "domain-caa-absent": "Any authority may issue certificates for the domain. CAA is optional and narrows that down."
    " RFC 8659 section 1.",
    "domain-caa-critical": "A CAA record that is marked as critical has a tag that authorities do not know: they must"
    " refuse to issue certificates, those of mail servers as well. RFC 8659 section 4.5.",
    "domain-dnssec": "The zone is signed, and the nameserver asked has validated it. RFC 4035 section 4.9.",
    "domain-dnssec-absent": "The zone is not signed, so its records can be forged on the way. DNSSEC is optional; DANE"
    " needs it. RFC 4033 section 3.",
    "domain-dnssec-unknown": "Whether the zone is signed cannot be said: the nameserver asked does not validate. Ask"
    " one that does, with --nameserver. RFC 4035 section 4.9.",
}
_found = Voice("domain", CODES)


@dataclass(frozen=True, slots=True)
class NameserverHost:
    """A nameserver of the zone, with its addresses."""

    host: str
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True)
class DomainReport:
    """What was found; ``zone`` is the name at which the zone begins, "" when none was found.

    ``dnssec`` is validated, absent or unknown.
    """

    domain: str
    zone: str = ""
    nameservers: tuple[NameserverHost, ...] = ()
    soa: Soa | None = None
    authorizations: tuple[Caa, ...] = ()
    dnssec: str = "unknown"
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


async def check_domain(domain: str, resolver: Resolver) -> DomainReport:
    """Return the audit of the zone that holds the domain."""
    findings = _letters(domain)
    names = names_above(domain)
    (alias, *caa), starts = await asyncio.gather(
        asyncio.gather(resolver.query(domain, "CNAME"), *(resolver.query(name, "CAA") for name in names)),
        asyncio.gather(*(resolver.query(name, "SOA") for name in names)),
    )
    if starts[0].status is Status.NXDOMAIN:
        target = f"{domain} is an alias of {alias.hosts[0]}, which" if alias.hosts else domain
        remedy = f"remove the CNAME at {domain}, or correct it" if alias.hosts else "register it, or correct it"
        missing = _found("domain-missing", Severity.FAIL, domain, f"{target} does not exist", remedy=remedy)
        return DomainReport(domain, findings=(*findings, missing))
    if alias.hosts:
        what = f"{domain} is an alias of {alias.hosts[0]}"
        findings.append(_found("domain-alias", Severity.INFO, domain, what))
    for answer in starts:
        if not answer.status.is_known:
            return DomainReport(domain, findings=(*findings, _found.unanswered("domain-error", answer)))
        if answer.authority is not None and begins_zone(answer):
            return await _of_zone(domain, answer, answer.authority, caa, resolver, before=findings)
    what = f"neither {domain} nor a name above it begins a zone"
    remedy = "look at the delegation of the domain"
    findings.append(_found("domain-no-zone", Severity.WARN, domain, what, remedy=remedy))
    return DomainReport(domain, findings=tuple(findings))


def _letters(domain: str) -> list[Finding]:
    """Say how a name in A-labels is read, and whether it looks like another one."""
    if "xn--" not in domain:
        return []
    from ucrmmail.message.homograph import in_unicode, mixed_scripts  # noqa: PLC0415 # idna, for few names

    what = f"{domain} is read as {in_unicode(domain)}"
    if scripts := mixed_scripts(domain):
        what += f", a mixture of {' and '.join(scripts)} letters"
        remedy = "was it typed, or copied from somewhere? Compare it with the name that is meant"
        return [_found("domain-mixed-scripts", Severity.WARN, domain, what, remedy=remedy)]
    return [_found("domain-letters", Severity.INFO, domain, what)] if in_unicode(domain) != domain else []


async def _of_zone(
    domain: str, start: Answer, soa: Soa, caa: Sequence[Answer], resolver: Resolver, *, before: list[Finding]
) -> DomainReport:
    zone = start.name.lower()
    findings = list(before)
    answer, can_validate = await asyncio.gather(resolver.query(zone, "NS"), validates(resolver))
    nameservers, told = await _nameservers(zone, answer, resolver)
    if not any(finding.severity in (Severity.WARN, Severity.ERROR) for finding in told):
        what = f"the zone {zone} is served by {', '.join(server.host for server in nameservers)}"
        findings.insert(0, _found("domain-zone", Severity.PASS, zone, what[: 2 * LONGEST_SHOWN]))
    authorizations, issuers = _certificates(domain, caa)
    dnssec = "validated" if start.authenticated else "absent" if can_validate else "unknown"
    findings += [*told, *_of_soa(zone, soa), *issuers, _signatures(zone, dnssec)]
    return DomainReport(domain, zone, nameservers, soa, authorizations, dnssec, tuple(findings))


# --- nameservers ----------------------------------------------------------------------------------------------------


async def _nameservers(
    zone: str, answer: Answer, resolver: Resolver
) -> tuple[tuple[NameserverHost, ...], list[Finding]]:
    """Return the nameservers with their addresses, and what is wrong with them."""
    if not answer.status.is_known:
        return (), [_found.unanswered("domain-error", answer)]
    hosts = list(dict.fromkeys(host.lower() for host in answer.hosts))
    if not hosts:
        remedy = f"publish at least two NS records at {zone}"
        return (), [_found("domain-no-nameservers", Severity.WARN, zone, f"{zone} has no NS record", remedy=remedy)]
    looked_at = await asyncio.gather(*(_look_at(host, resolver) for host in hosts[:MOST_NAMESERVERS]))
    servers = tuple(server for server, _ in looked_at)
    findings = [finding for _, told in looked_at for finding in told]
    if len(hosts) == 1:
        what = f"{hosts[0]} is the only nameserver of {zone}"
        remedy = "add a second one in another network"
        findings.append(_found("domain-one-nameserver", Severity.INFO, zone, what, remedy=remedy))
    elif len(networks := _networks(servers)) == 1:
        what = f"all nameservers of {zone} stand in {networks.pop()}"
        findings.append(_found("domain-nameservers-near", Severity.INFO, zone, what))
    return servers, findings


async def _look_at(host: str, resolver: Resolver) -> tuple[NameserverHost, list[Finding]]:
    if not is_host_name(host):
        what, remedy = f"{host} is no host name", "name the nameserver by its host name, with a final dot"
        return NameserverHost(host), [_found("domain-nameserver-address", Severity.WARN, host, what, remedy=remedy)]
    answers = await asyncio.gather(resolver.query(host, "A"), resolver.query(host, "AAAA"))
    addresses = tuple(address for answer in answers for address in answer.addresses)
    findings = []
    if aliases := answers[0].aliases or answers[1].aliases:
        what, remedy = f"{host} is an alias of {aliases[-1]}", f"publish NS {aliases[-1]} in its place"
        findings.append(_found("domain-nameserver-alias", Severity.WARN, host, what, remedy=remedy))
    if not addresses:
        silent = next((answer for answer in answers if not answer.status.is_known), None)
        if silent is not None:
            findings.append(_found.unanswered("domain-nameserver-error", silent))
        else:
            what, remedy = f"{host} has no address", f"publish its address, or remove NS {host}"
            findings.append(_found("domain-nameserver-address", Severity.WARN, host, what, remedy=remedy))
    inside = [address for address in addresses if is_unroutable(ip_network(address))]
    if inside:
        what = f"{host} has the address {', '.join(map(str, inside[:5]))}"
        remedy = "publish the public address of the nameserver"
        findings.append(_found("domain-nameserver-private", Severity.INFO, host, what, remedy=remedy))
    return NameserverHost(host, addresses), findings


def _networks(servers: Sequence[NameserverHost]) -> set[str]:
    """Return the networks, of the size that is routed alone, in which the nameservers stand."""
    return {
        str(ip_network((address, 24 if address.version == 4 else 48), strict=False))
        for server in servers
        for address in server.addresses
    }


# --- what the zone says ---------------------------------------------------------------------------------------------


def _of_soa(zone: str, soa: Soa) -> list[Finding]:
    findings = []
    odd = []
    if not 300 <= soa.refresh_s <= 2 * _DAY_S:
        odd.append((f"refresh is {soa.refresh_s} s", "1200 to 43200 s are usual"))
    if soa.retry_s >= soa.refresh_s:
        odd.append((f"retry ({soa.retry_s} s) is not shorter than refresh ({soa.refresh_s} s)", "a third of refresh"))
    if soa.minimum_s > _DAY_S:
        odd.append((f"resolvers remember for {soa.minimum_s} s that a record was missing", "3600 s are usual"))
    for what, remedy in odd:
        findings.append(_found("domain-soa", Severity.INFO, zone, what, remedy=remedy))
    if soa.expire_s < soa.refresh_s + soa.retry_s:
        what = f"the zone ends at secondary nameservers after {soa.expire_s} s, before the next try"
        remedy = "1209600 to 2419200 s are usual"
        findings.append(_found("domain-soa-expire", Severity.WARN, zone, what, remedy=remedy))
    local, _, mail_domain = soa.mailbox.replace("\\.", "_").partition(".")
    if not local or "@" in soa.mailbox or not mail_domain:
        what, remedy = f"the mailbox is {soa.mailbox[:LONGEST_SHOWN]!r}", f"write hostmaster.{zone}."
        findings.append(_found("domain-soa-mailbox", Severity.INFO, zone, what, remedy=remedy))
    return findings


def _certificates(domain: str, answers: Sequence[Answer]) -> tuple[tuple[Caa, ...], list[Finding]]:
    """Return the CAA records that hold for the domain, the nearest ones upwards (RFC 8659 section 3)."""
    for answer in answers:
        if not answer.status.is_known:
            return (), [_found.unanswered("domain-error", answer)]
        if answer.authorizations:
            return answer.authorizations, _of_authorizations(answer)
    return (), [_found("domain-caa-absent", Severity.INFO, domain, "there is no CAA record")]


def _of_authorizations(answer: Answer) -> list[Finding]:
    records = answer.authorizations
    shown = "; ".join(f"{caa.flags} {caa.tag} {caa.value!r}" for caa in records[:_MOST_CAA])
    findings = [_found("domain-caa", Severity.INFO, answer.name, shown[: 2 * LONGEST_SHOWN])]
    for caa in [caa for caa in records if caa.flags & 0x80 and caa.tag.lower() not in _CAA_TAGS][:_MOST_CAA]:
        what = f"{caa.flags} {caa.tag} is critical, and no authority knows it"
        remedy = "correct the tag, or write the flags 0"
        findings.append(_found("domain-caa-critical", Severity.WARN, answer.name, what[:LONGEST_SHOWN], remedy=remedy))
    return findings


def _signatures(zone: str, dnssec: str) -> Finding:
    match dnssec:
        case "validated":
            return _found("domain-dnssec", Severity.PASS, zone, f"{zone} is signed, and the signatures hold")
        case "absent":
            return _found("domain-dnssec-absent", Severity.INFO, zone, f"{zone} is not signed")
    what = "the nameserver asked does not validate DNSSEC"
    return _found("domain-dnssec-unknown", Severity.INFO, zone, what)
