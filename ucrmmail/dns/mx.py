"""The check of a domain's mail exchanges (RFC 5321 section 5.1; null MX: RFC 7505).

A domain that sends needs them as well: bounces, answers and the abuse reports of receivers go there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.answer import Mx, Status
from ucrmmail.dns.finding import Finding, Proposal, Severity
from ucrmmail.dns.neighbour import LONGEST_SHOWN, Voice, is_host_name
from ucrmmail.dns.spf_lint import is_unroutable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.dns.answer import Answer, Resolver

# Exchanges looked at: more than any domain needs, and a bound for a hostile one.
MOST_EXCHANGES = 20

CODES: dict[str, str] = {
    "mx-good": "The domain's mail exchanges have names and addresses that other servers can use. RFC 5321 section 5.1.",
    "mx-null": "The null MX says that the domain takes no mail. That is right for one that does not send either. RFC"
    " 7505 section 3.",
    "mx-null-sends": "The domain sends mail and says that it takes none: bounces and answers are lost, and receivers"
    " may refuse its mail, because nobody could be told of a failure. Publish an MX. RFC 7505 section 4.2.",
    "mx-null-beside-others": "The null MX must stand alone. Beside others some servers deliver and some refuse at once."
    " Remove one or the other. RFC 7505 section 3.",
    "mx-null-preference": "The preference of the null MX should be 0, and it has no meaning. RFC 7505 section 3.",
    "mx-implicit": "Without an MX, servers deliver to the address of the domain itself. That is often a web server that"
    " takes no mail. Say with an MX which it is. RFC 5321 section 5.1.",
    "mx-missing": "The domain has no MX and no address: mail to it cannot be delivered, bounces are lost, and many"
    " receivers refuse mail from a domain that cannot be answered. RFC 5321 section 5.1.",
    "mx-none-needed": "The domain has no MX and no address, and does not send: it takes no mail. A null MX says so at"
    " once, instead of days of retries. RFC 7505 section 1.",
    "mx-no-domain": "The domain does not exist in the DNS. Receivers refuse mail from a domain that does not exist.",
    "mx-error": "The DNS did not answer the question for the exchanges, so nothing is known of them. Ask again later,"
    " or another server with --nameserver.",
    "mx-host-error": "The DNS did not answer the question for the addresses of an exchange. Other servers may not get"
    " an answer either; they then try again for days.",
    "mx-cname": "The name of an exchange must not be an alias. Some servers refuse it, or loop. Name the host that the"
    " alias leads to. RFC 2181 section 10.3.",
    "mx-address": "An exchange is a host name, never an IP address: servers look for a host of that name and find none."
    " RFC 5321 section 5.1.",
    "mx-bad-name": "The name of an exchange is no host name that can have an address in the public DNS. RFC 1123"
    " section 2.1.",
    "mx-no-address": "An exchange has no address, so it takes no mail. Servers that try it first wait or give up. Often"
    " the final dot is missing in the zone file, and the domain was added to the name. RFC 5321 section 5.1.",
    "mx-private-address": "An exchange has an address that cannot be reached from the internet.",
    "mx-loopback": "An exchange has an address of the sender's own machine: mail to the domain turns in a circle"
    " there.",
    "mx-duplicate": "The same exchange stands there twice. Servers try it again for nothing.",
    "mx-same-host": "Several exchanges lead to the same addresses only: when that server fails, so do all of them.",
    "mx-many": "There are more exchanges than servers try, and the answer may not fit a UDP packet; only some were"
    " looked at.",
}
_found = Voice("mx", CODES)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A mail exchange with what stands behind its name."""

    preference: int
    host: str
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True)
class MxReport:
    """What was found for a domain.

    ``result`` is found, null, implicit, missing, invalid (nothing in the records can take mail) or temperror;
    ``exchanges`` are in the order in which servers try them.
    """

    domain: str
    result: str
    exchanges: tuple[Exchange, ...] = ()
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


async def check_mx(domain: str, resolver: Resolver, *, sends: bool = True) -> MxReport:
    """Return the audit of the exchanges; ``sends`` tells that mail leaves in the domain's name, so bounces come back.

    A null MX is proposed only for a domain that does not send.
    """
    answer, *own = await asyncio.gather(
        resolver.query(domain, "MX"), resolver.query(domain, "A"), resolver.query(domain, "AAAA")
    )
    if not answer.status.is_known:
        return MxReport(domain, "temperror", findings=(_found.unanswered("mx-error", answer),))
    if answer.status is Status.NXDOMAIN:
        what = "the domain does not exist"
        remedy = "check its spelling and its registration"
        return MxReport(
            domain, "missing", findings=(_found("mx-no-domain", Severity.FAIL, domain, what, remedy=remedy),)
        )
    if not answer.exchanges:
        return _without(domain, own, sends=sends)
    if all(mx.exchange == "." for mx in answer.exchanges):
        return _null(domain, answer.exchanges, sends=sends)
    return await _with(domain, answer.exchanges, resolver)


def _without(domain: str, own: list[Answer], *, sends: bool) -> MxReport:
    """Return the report for a domain without MX: its own address stands in."""
    addresses = tuple(address for answer in own for address in answer.addresses)
    if addresses:
        what = f"there is no MX; mail goes to the address of the domain itself ({_listed(addresses)})"
        remedy = f"if a mail server listens there, publish {domain} MX '10 HOST' with its name"
        finding = _found("mx-implicit", Severity.WARN if sends else Severity.INFO, domain, what, remedy=remedy)
        return MxReport(domain, "implicit", (Exchange(0, domain, addresses),), (finding,))
    if silent := next((answer for answer in own if not answer.status.is_known), None):
        return MxReport(domain, "temperror", findings=(_found.unanswered("mx-error", silent),))
    if sends:
        what = "there is no MX and no address: bounces and answers are lost"
        remedy = f"publish {domain} MX '10 HOST' with the name of the server that takes mail"
        return MxReport(domain, "missing", findings=(_found("mx-missing", Severity.WARN, domain, what, remedy=remedy),))
    what = "there is no MX and no address: the domain takes no mail"
    finding = _found("mx-none-needed", Severity.INFO, domain, what, remedy=f"publish {domain} MX '0 .'")
    proposal = Proposal(domain, "MX", "0 .", "says at once that the domain takes no mail")
    return MxReport(domain, "missing", findings=(finding,), proposals=(proposal,))


def _null(domain: str, exchanges: Sequence[Mx], *, sends: bool) -> MxReport:
    findings = []
    if sends:
        what = "the null MX says that the domain takes no mail, and mail is sent in its name: bounces are lost"
        remedy = f"publish {domain} MX '10 HOST' in its place, with the name of the server that takes mail"
        findings.append(_found("mx-null-sends", Severity.FAIL, domain, what, remedy=remedy))
    else:
        findings.append(_found("mx-null", Severity.PASS, domain, "the domain takes no mail, and says so"))
    if len(exchanges) > 1:
        what = f"the null MX stands there {len(exchanges)} times"
        findings.append(_found("mx-duplicate", Severity.WARN, domain, what, remedy="keep one of them"))
    if any(mx.preference for mx in exchanges):
        what = "the null MX has a preference"
        findings.append(_found("mx-null-preference", Severity.INFO, domain, what, remedy="write MX '0 .'"))
    return MxReport(domain, "null", findings=tuple(findings))


async def _with(domain: str, published: Sequence[Mx], resolver: Resolver) -> MxReport:
    """Return the report for a domain whose MX name hosts."""
    findings = list(_of_the_set(domain, published))
    wanted: dict[str, Mx] = {}
    for mx in sorted(published, key=lambda mx: (mx.preference, mx.exchange.lower())):
        if mx.exchange != ".":
            wanted.setdefault(mx.exchange.lower(), mx)
    looked_at = list(wanted.values())[:MOST_EXCHANGES]
    both = await asyncio.gather(*(_look_at(domain, mx, resolver) for mx in looked_at))
    exchanges = tuple(exchange for exchange, _ in both)
    findings += [finding for _, told in both for finding in told]
    usable = [exchange for exchange in exchanges if exchange.addresses]
    if len(usable) > 1 and len({frozenset(exchange.addresses) for exchange in usable}) == 1:
        what = f"{', '.join(exchange.host for exchange in usable)} are one host ({_listed(usable[0].addresses)})"
        findings.append(_found("mx-same-host", Severity.INFO, domain, what[: 2 * LONGEST_SHOWN]))
    if not any(finding.severity in (Severity.FAIL, Severity.ERROR) for finding in findings):
        what = ", ".join(f"{exchange.preference} {exchange.host}" for exchange in exchanges)
        findings.insert(0, _found("mx-good", Severity.PASS, domain, what[: 2 * LONGEST_SHOWN]))
    unknown = any(finding.severity is Severity.ERROR for finding in findings)
    result = "found" if usable else "temperror" if unknown else "invalid"
    return MxReport(domain, result, exchanges, tuple(findings))


def _of_the_set(domain: str, published: Sequence[Mx]) -> list[Finding]:
    """Return what is wrong with the records as a set."""
    findings = []
    if any(mx.exchange == "." for mx in published):
        others = ", ".join(mx.exchange for mx in published if mx.exchange != ".")[:LONGEST_SHOWN]
        what = f"the null MX ('0 .') stands beside {others}"
        remedy = f"remove {domain} MX '0 .'"
        findings.append(_found("mx-null-beside-others", Severity.FAIL, domain, what, remedy=remedy))
    names = Counter(mx.exchange.lower() for mx in published if mx.exchange != ".")
    for name in [name for name, count in names.items() if count > 1][:MOST_EXCHANGES]:
        what = f"{name} stands there {names[name]} times"
        findings.append(_found("mx-duplicate", Severity.WARN, domain, what, remedy="keep the one that is tried first"))
    if len(names) > MOST_EXCHANGES:
        what = f"{len(names)} exchanges, of which the first {MOST_EXCHANGES} were looked at"
        findings.append(_found("mx-many", Severity.WARN, domain, what, remedy="four are plenty"))
    return findings


async def _look_at(domain: str, mx: Mx, resolver: Resolver) -> tuple[Exchange, list[Finding]]:
    """Return an exchange with its addresses, and what is wrong with it."""
    host = mx.exchange
    if _is_address(host) or _is_address(_without_zone(host, domain)):
        what = f"{host} is an IP address, and an exchange is the name of a host"
        remedy = f"give the host a name with an A record, and publish {domain} MX '{mx.preference} NAME'"
        return Exchange(mx.preference, host), [_found("mx-address", Severity.FAIL, host, what, remedy=remedy)]
    if not is_host_name(host):
        what = f"{host} is no full host name"
        remedy = "name a host of the public DNS, with a final dot in a zone file"
        return Exchange(mx.preference, host), [_found("mx-bad-name", Severity.FAIL, host, what, remedy=remedy)]
    answers = await asyncio.gather(resolver.query(host, "A"), resolver.query(host, "AAAA"))
    addresses = tuple(address for answer in answers for address in answer.addresses)
    findings = []
    if aliases := answers[0].aliases or answers[1].aliases:
        what = f"{host} is an alias of {aliases[-1]}"
        remedy = f"publish {domain} MX '{mx.preference} {aliases[-1]}.' in its place"
        findings.append(_found("mx-cname", Severity.FAIL, host, what, remedy=remedy))
    silent = next((answer for answer in answers if not answer.status.is_known), None)
    if silent is not None:
        findings.append(_found.unanswered("mx-host-error", silent))
    elif not addresses:
        why = "does not exist" if answers[0].status is Status.NXDOMAIN else "has no address"
        doubled = host.lower().endswith(f".{domain}.{domain}")
        remedy = "write the final dot in the zone file" if doubled else f"publish {host} A ADDRESS, or remove the MX"
        findings.append(_found("mx-no-address", Severity.FAIL, host, f"{host} {why}", remedy=remedy))
    findings += _of_addresses(host, addresses)
    return Exchange(mx.preference, host, addresses), findings


def _of_addresses(host: str, addresses: tuple[IPv4Address | IPv6Address, ...]) -> list[Finding]:
    loopback = [address for address in addresses if address.is_loopback or address.is_unspecified]
    others = [address for address in addresses if address not in loopback and is_unroutable(ip_network(address))]
    findings = []
    remedy = f"publish the public address of {host}"
    if loopback:
        what = f"{host} has the address {_listed(loopback)}"
        findings.append(_found("mx-loopback", Severity.FAIL, host, what, remedy=remedy))
    if others:
        # As long as another address can be reached, mail arrives, if later.
        severity = Severity.FAIL if len(others) == len(addresses) else Severity.WARN
        what = f"{host} has the private address {_listed(others)}"
        findings.append(_found("mx-private-address", severity, host, what, remedy=remedy))
    return findings


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _without_zone(host: str, domain: str) -> str:
    """Return the first four labels when the rest is the domain or above it.

    A name without the final dot gets the name of the zone added, and so does an address.
    """
    labels = host.lower().split(".")
    rest = ".".join(labels[4:])
    return ".".join(labels[:4]) if rest and (domain == rest or domain.endswith("." + rest)) else ""


def _listed(addresses: Sequence[IPv4Address | IPv6Address]) -> str:
    return ", ".join(map(str, addresses[:10]))
