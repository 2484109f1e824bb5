"""An SPF record with its includes written out as addresses: on request only, for it grows old (RFC 7208 section 4.6.4).

A flattened record needs no lookups, and is wrong from the day on which a provider changes its addresses. So what is
proposed says so, and an include that cannot be written out with the same meaning stays an include.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING

from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Proposal
from ucrmmail.dns.spf import MAX_LOOKUPS, MAX_NAMES
from ucrmmail.dns.spf_client import asked, is_askable
from ucrmmail.dns.spf_lint import MAX_BYTES
from ucrmmail.dns.spf_record import shown
from ucrmmail.dns.spf_tree import Tree, fetch_tree, static_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.dns.answer import Resolver
    from ucrmmail.dns.spf_record import Record, Term

Networks = list[IPv4Network | IPv6Network]
_DANGER = "must be made anew whenever {} change their addresses: until then mail through their new servers fails SPF"


async def flatten(domain: str, resolver: Resolver) -> tuple[Proposal, ...]:
    """Return the records that say the same as a domain's record with the addresses of its includes written out.

    The first proposal is the domain's own record; when the addresses do not fit it, the others are records that it
    includes. Nothing is returned when the domain has no good record, or one with other qualifiers than + before all,
    or no include that can be written out: ptr, exists, macros, other qualifiers, and what the DNS does not answer
    for cannot.
    """
    tree = await fetch_tree(domain, resolver)
    root = tree.published(domain)
    if root is None or root.record is None or root.record.faults:
        return ()
    if any(term.qualifier != "+" and term.name != "all" for term in root.record.mechanisms):
        return ()  # the order of what passes and what does not must stay
    includes = [term for term in root.record.mechanisms if term.name == "include"]
    targets = [tree.target(term, domain.lower()) for term in includes]
    written = await asyncio.gather(*(_of_domain(target, tree, resolver, ()) for target in targets))
    flat = {term.start: networks for term, networks in zip(includes, written, strict=True) if networks is not None}
    if not flat:
        return ()
    providers = [target for term, target in zip(includes, targets, strict=True) if term.start in flat]
    terms = _terms([network for networks in flat.values() for network in networks])
    why = f"writes out {' and '.join(dict.fromkeys(providers))}; {_DANGER.format('they' if providers[1:] else 'it')}"
    return _records(domain, root.record, set(flat), terms, why)


async def _of_domain(domain: str, tree: Tree, resolver: Resolver, above: tuple[str, ...]) -> Networks | None:
    """Return the networks that pass by a domain's record, or None when they cannot be known beforehand."""
    entry = tree.published(domain)
    if entry is None or entry.problem or entry.record is None or domain in above or len(above) > MAX_LOOKUPS:
        return None
    terms: list[Term] = []
    for term in entry.record.mechanisms:
        if term.name == "all" and term.qualifier != "+":
            break
        terms.append(term)
    else:
        redirect = entry.record.modifier("redirect")
        terms += [redirect] if redirect else []
    parts = await asyncio.gather(*(_of_term(term, domain, tree, resolver, (*above, domain)) for term in terms))
    networks: Networks = []
    for part in parts:
        if part is None:
            return None
        networks += part
    return networks


async def _of_term(term: Term, domain: str, tree: Tree, resolver: Resolver, above: tuple[str, ...]) -> Networks | None:
    if term.qualifier not in ("+", ""):
        return None  # what it excepts cannot be said with addresses that pass
    if term.network is not None:
        return [term.network]
    name = static_name(term, domain, tree.domain)
    if not name:
        return None
    match term.name:
        case "include" | "redirect":
            return await _of_domain(name.lower(), tree, resolver, above)
        case "a":
            return await _of_hosts(term, [asked(name)], resolver)
        case "mx":
            answer = await resolver.query(asked(name), "MX")
            hosts = [exchange.exchange.removesuffix(".") for exchange in answer.exchanges]
            if not answer.status.is_known or len(hosts) > MAX_NAMES:
                return None
            return await _of_hosts(term, [host for host in hosts if is_askable(host)], resolver)
        case _:
            return None


async def _of_hosts(term: Term, hosts: list[str], resolver: Resolver) -> Networks | None:
    questions = [(host, rdtype) for host in hosts for rdtype in ("A", "AAAA")]
    answers = await asyncio.gather(*(resolver.query(*question) for question in questions))
    if not all(answer.status.is_known for answer in answers):
        return None
    found = [address for answer in answers if answer.status is Status.FOUND for address in answer.addresses]
    return [
        ip_network((address, term.prefix4 if address.version == 4 else term.prefix6), strict=False) for address in found
    ]


def _terms(networks: Networks) -> list[str]:
    """Return the mechanisms for these networks, overlaps and neighbours joined."""
    collapsed: Networks = []
    collapsed += collapse_addresses(network for network in networks if isinstance(network, IPv4Network))
    collapsed += collapse_addresses(network for network in networks if isinstance(network, IPv6Network))
    return [
        f"ip{network.version}:{network if network.prefixlen < network.max_prefixlen else network.network_address}"
        for network in collapsed
    ]


def _records(domain: str, record: Record, flat: set[int], terms: list[str], why: str) -> tuple[Proposal, ...]:
    """Return the record with the terms in the place of the first include written out, split where it is too long."""

    def with_terms(inserted: Sequence[str]) -> str:
        first = min(flat)
        words = ["v=spf1"]
        for term in sorted((*record.mechanisms, *record.modifiers), key=lambda each: each.start):
            if term.start == first:
                words += inserted
            if term.start not in flat:
                words.append(shown(term.text))
        return " ".join(words)

    before = shown(record.text)
    whole = with_terms(terms)
    if len(whole) <= MAX_BYTES:
        return (Proposal(domain, "TXT", whole, why, before),)
    parts: list[list[str]] = [[]]
    for term in terms:
        if len(" ".join(("v=spf1", *parts[-1], term, "~all"))) > MAX_BYTES:
            parts.append([])
        parts[-1].append(term)
    names = [f"_flat{number}.{domain}" for number in range(1, len(parts) + 1)]
    own = Proposal(domain, "TXT", with_terms([f"include:{name}" for name in names]), why, before)
    others = (
        Proposal(name, "TXT", " ".join(("v=spf1", *part, "~all")), f"is included by {domain}")
        for name, part in zip(names, parts, strict=True)
    )
    return (own, *others)
