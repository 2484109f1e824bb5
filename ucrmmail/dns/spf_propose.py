"""The SPF record to publish for a sender: merged with what stands there, and evaluated before it is proposed."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.answer import Answer, Status, Text
from ucrmmail.dns.finding import Proposal
from ucrmmail.dns.spf import MAX_LOOKUPS, MAX_VOID_LOOKUPS, SpfResult, SpfVerdict, check_host
from ucrmmail.dns.spf_lint import is_unroutable
from ucrmmail.dns.spf_merge import Draft, merged
from ucrmmail.dns.spf_record import is_spf, parse_record, shown
from ucrmmail.dns.spf_slips import near_miss
from ucrmmail.dns.spf_tree import Tree, counted, fetch_tree, probe

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.dns.answer import Resolver

_MAX_REASONS = 12


@dataclass(frozen=True, slots=True)
class Sender:
    """For whom a record is proposed; ``now`` in seconds since the epoch."""

    domain: str
    addresses: tuple[IPv4Address | IPv6Address, ...]
    includes: tuple[str, ...]
    now: float


async def evaluate(ip: IPv4Address | IPv6Address, domain: str, resolver: Resolver, now: float) -> SpfResult:
    """Return what a receiver finds for mail of this domain from an address."""
    return await check_host(ip, domain, f"postmaster@{domain}", domain, resolver, now=now)


async def propose(sender: Sender, answer: Answer, resolver: Resolver) -> tuple[Proposal, ...]:
    """Return the record to publish instead of the TXT records in ``answer``; nothing when they are good.

    What others need is kept. Left out is what cannot be read, includes that lead to no record (they break the whole
    record), and, when a limit is exceeded, lookups that find nothing.
    """
    published = [text.joined for text in answer.texts if is_spf(text.joined)]
    slips = [meant for text in answer.texts if not is_spf(text.joined) and (meant := near_miss(text.joined))]
    sources = published or [slip.encode("ascii", "replace") for slip in slips[:1]]
    if not sources and not sender.addresses and not sender.includes:
        return ()
    draft = merged([parse_record(source) for source in sources])
    if slips and not published:
        draft = replace(draft, changes=("begins it with v=spf1 and a space", *draft.changes))
    draft = await _pruned(draft, sender, resolver)
    tree = await _tree(draft, sender, resolver)
    draft = draft.adding([f"include:{name}" for name in sender.includes if tree.published(name) is None])
    failing = await _failing(draft, sender, resolver)
    if failing:
        # First in the record they cost no lookup, and pass whatever becomes of the includes after them.
        draft = draft.adding([f"ip{ip.version}:{ip}" for ip in failing], first=True)
        failing = await _failing(draft, sender, resolver)
    if len(published) == 1 and not draft.changes:
        return ()
    lookups = (await _tree(draft, sender, resolver)).lookups()
    reasons = [*draft.changes[:_MAX_REASONS], *(["and more"] if len(draft.changes) > _MAX_REASONS else [])]
    if lookups > MAX_LOOKUPS:
        reasons.append(f"needs {lookups} lookups of {MAX_LOOKUPS}: remove includes of services that no longer send")
    else:
        reasons.append(f"uses {lookups} of {MAX_LOOKUPS} lookups")
    if failing:
        reasons.append(f"does not yet let {', '.join(str(ip) for ip in failing)} pass")
    replaces = "; ".join(source.decode("utf-8", "backslashreplace") for source in published)
    return (Proposal(sender.domain, "TXT", draft.text, "; ".join(reasons), replaces),)


class _Instead:
    """The DNS as it would be with another SPF record at one domain."""

    def __init__(self, resolver: Resolver, domain: str, text: str) -> None:
        self._resolver = resolver
        self._domain = domain
        self._answer = Answer(domain, "TXT", Status.FOUND, texts=(Text((text.encode(),)),))

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer; see ``Resolver``."""
        if rdtype == "TXT" and name.lower().removesuffix(".") == self._domain:
            return self._answer
        return await self._resolver.query(name, rdtype)


async def _tree(draft: Draft, sender: Sender, resolver: Resolver) -> Tree:
    return await fetch_tree(sender.domain, _Instead(resolver, sender.domain, draft.text))


async def _pruned(draft: Draft, sender: Sender, resolver: Resolver) -> Draft:
    """Return the draft without the terms that break it and match nothing."""
    tree = await _tree(draft, sender, resolver)
    root = tree.published(sender.domain)
    if root is None or root.record is None:
        return draft
    dead: dict[str, str] = {}
    for term in counted(root.record):
        target = tree.target(term, sender.domain)
        entry = tree.published(target)
        if target.lower().removesuffix(".") == sender.domain and term.name in ("include", "redirect"):
            dead[shown(term.text)] = "it leads back to this record"
        elif entry is not None and entry.status.is_known and entry.count == 0:
            dead[shown(term.text)] = f"{entry.domain} has no SPF record"
    voids = [found for found in await probe(tree, resolver) if found.is_void]
    if tree.lookups() > MAX_LOOKUPS or len(voids) > MAX_VOID_LOOKUPS:
        for found in voids:
            # An mx of which one host is gone still names the others.
            if found.domain == sender.domain and (found.term.name != "mx" or found.rdtype == "MX"):
                dead[shown(found.term.text)] = f"{found.name}: {found.status}"
    return draft.without(dead)


async def _failing(draft: Draft, sender: Sender, resolver: Resolver) -> list[IPv4Address | IPv6Address]:
    """Return the addresses that the draft does not let pass; what the DNS leaves open is not counted among them."""
    would = _Instead(resolver, sender.domain, draft.text)
    public = [ip for ip in sender.addresses if not is_unroutable(ip_network(ip))]
    results = await asyncio.gather(*(evaluate(ip, sender.domain, would, sender.now) for ip in public))
    good = (SpfVerdict.PASS, SpfVerdict.TEMPERROR)
    return [ip for ip, result in zip(public, results, strict=True) if result.result not in good]
