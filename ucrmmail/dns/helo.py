"""The check of the name a server greets with, HELO or EHLO (RFC 5321 sections 2.3.5 and 4.1.1.1).

It concerns deliveries that this server makes itself; behind a smarthost, receivers see the smarthost's name.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.finding import Finding, Proposal, Severity
from ucrmmail.dns.neighbour import Voice, is_host_name
from ucrmmail.dns.spf_lint import is_unroutable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.dns.answer import Answer, Resolver

MOST_ADDRESSES = 64
# What routers and companies use inside, where the DNS here may know it; the public DNS never does (RFC 6761, 6762).
_PRIVATE = (
    "localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "home.arpa", "corp",
)  # fmt: skip

CODES: dict[str, str] = {
    "helo-verified": "The name in HELO exists and leads to the sending address. RFC 5321 section 4.1.1.1.",
    "helo-literal": "HELO is an address in brackets. That is allowed for a host without a name, and receivers take it"
    " for an infected computer. Set smtp.local_hostname. RFC 5321 section 4.1.3.",
    "helo-not-qualified": "HELO is not a full host name, so receivers refuse it (504 5.5.2). Set smtp.local_hostname to"
    " the name that the sending address has in reverse DNS. RFC 5321 section 2.3.5.",
    "helo-private-name": "HELO is a name that only exists inside, such as localhost or NAME.local. Receivers take it"
    " for a forgery. Set smtp.local_hostname. RFC 5321 section 2.3.5.",
    "helo-no-address": "The name in HELO has no address in the DNS; receivers may refuse it (450 4.7.1), and SPF cannot"
    " check it. Publish the sending address there. RFC 5321 section 2.3.5.",
    "helo-other-address": "The name in HELO leads to another address than the one that sends. Some receivers add to the"
    " spam score for that. RFC 5321 section 4.1.4.",
    "helo-alias": "The name in HELO is an alias; the standard asks for the host's own name. RFC 5321 section 2.3.5.",
    "helo-reverse-differs": "The sending address has another name in reverse DNS than the one in HELO. That is allowed;"
    " one name for both is what receivers trust most. RFC 5321 section 4.1.4.",
    "helo-error": "The DNS did not answer the question for the name in HELO, so nothing is known of it. Receivers that"
    " meet the same may defer the mail.",
}
_found = Voice("helo", CODES)


@dataclass(frozen=True, slots=True)
class HeloReport:
    """What was found for a greeting; ``addresses`` are those the name leads to."""

    helo_name: str
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


async def check_helo(helo_name: str, addresses: Sequence[IPv4Address | IPv6Address], resolver: Resolver) -> HeloReport:
    """Return the audit of a greeting by a server that sends from these addresses (none: they are not known)."""
    name = helo_name.lower().removesuffix(".")
    if (refused := _as_written(name)) is not None:
        return HeloReport(helo_name, findings=(refused,))
    # A private address is not what receivers see.
    public = (address for address in addresses if not is_unroutable(ip_network(address)))
    senders = tuple(dict.fromkeys(public))[:MOST_ADDRESSES]
    answers, reverse = await asyncio.gather(
        asyncio.gather(resolver.query(name, "A"), resolver.query(name, "AAAA")), _reverse_names(senders, resolver)
    )
    own = tuple(address for answer in answers for address in answer.addresses)
    findings = _forward(name, senders, answers)
    proposals: tuple[Proposal, ...] = ()
    if any(finding.code == "helo-no-address" for finding in findings):
        why = "the name in HELO leads to the address that sends"
        proposals = tuple(Proposal(name, "A" if ip.version == 4 else "AAAA", str(ip), why) for ip in senders)
    if reverse and name not in reverse:
        what = f"the sending address is {', '.join(sorted(reverse)[:5])} in reverse DNS, and HELO says {name}"
        findings.append(_found("helo-reverse-differs", Severity.INFO, name, what))
    return HeloReport(helo_name, own, tuple(findings), proposals)


def _as_written(name: str) -> Finding | None:
    """Return what is wrong with a name before anybody is asked."""
    remedy = "set smtp.local_hostname to the full name of this server"
    if name.startswith("["):
        return _found("helo-literal", Severity.WARN, name, f"HELO is the address literal {name}", remedy=remedy)
    if any(name == suffix or name.endswith("." + suffix) for suffix in _PRIVATE):
        what = f"{name} does not exist in the public DNS"
        return _found("helo-private-name", Severity.FAIL, name, what, remedy=remedy)
    if not is_host_name(name):
        what = f"{name!r} is no full host name"
        return _found("helo-not-qualified", Severity.FAIL, name, what, remedy=remedy)
    return None


def _forward(name: str, senders: tuple[IPv4Address | IPv6Address, ...], answers: Sequence[Answer]) -> list[Finding]:
    """Return what is to be said of the addresses that the name leads to."""
    own = {address for answer in answers for address in answer.addresses}
    silent = next((answer for answer in answers if not answer.status.is_known), None)
    strangers = [address for address in senders if address not in own]
    findings = []
    if silent is not None and (strangers or not own):
        return [_found.unanswered("helo-error", silent)]
    if not own:
        remedy = f"publish {senders[0] if senders else 'the sending address'} at {name}"
        findings.append(_found("helo-no-address", Severity.FAIL, name, f"{name} has no address", remedy=remedy))
    elif strangers:
        what = f"{name} does not lead to {', '.join(map(str, strangers[:5]))}"
        remedy = f"publish the sending address at {name} too, or set smtp.local_hostname"
        findings.append(_found("helo-other-address", Severity.WARN, name, what, remedy=remedy))
    else:
        what = f"{name} leads to " + ", ".join(map(str, senders[:5] or sorted(map(str, own))[:5]))
        findings.append(_found("helo-verified", Severity.PASS, name, what))
    if aliases := next((answer.aliases for answer in answers if answer.aliases), ()):
        what = f"{name} is an alias of {aliases[-1]}"
        findings.append(_found("helo-alias", Severity.INFO, name, what, remedy=f"greet with {aliases[-1]}"))
    return findings


async def _reverse_names(senders: tuple[IPv4Address | IPv6Address, ...], resolver: Resolver) -> frozenset[str]:
    answers = await asyncio.gather(*(resolver.query(address.reverse_pointer, "PTR") for address in senders))
    return frozenset(host.lower() for answer in answers for host in answer.hosts)
