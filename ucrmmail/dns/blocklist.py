"""Whether blocklists name the domain or the sending addresses (RFC 5782). Asked only on request.

The lists see who asks, and some refuse to answer through public resolvers or beyond a number of questions a day: then
they return an address that means "not answered", which peers take for a listing.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Finding, Proposal, Severity
from ucrmmail.dns.neighbour import LONGEST_SHOWN, Voice, shown_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.dns.answer import Answer, Resolver

CODES: dict[str, str] = {
    "blocklist-clear": "The list names neither the domain nor the address that was asked about. RFC 5782 section 2.1.",
    "blocklist-listed": "A blocklist names the domain or a sending address: receivers that use the list refuse the"
    " mail, or file it as spam. Find out why first (a stolen password, a hacked site, an open relay, bought addresses),"
    " end it, then ask the list to remove the entry. RFC 5782 section 2.1.",
    "blocklist-policy": "The address stands on the part of a list that names addresses of end users, which are not"
    " meant to send to receivers directly. It is no accusation. Send through a smarthost, or have the provider of the"
    " connection take the address out. RFC 5782 section 2.1.",
    "blocklist-refused": "The list does not answer the resolver that was asked: it is a public one, or asks too much."
    " This says nothing about the domain. Ask through a resolver of your own, with --nameserver. RFC 5782 section 2.1.",
    "blocklist-error": "The DNS did not answer for the list. That says nothing about the domain: ask again later.",
}
_found = Voice("blocklist", CODES)
_LISTED = IPv4Network("127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Blocklist:
    """One list: ``zone`` is asked, about domains or addresses, and ``refusals`` are its answers that list nothing.

    ``policy`` are answers that say only that end users have the address.
    """

    zone: str
    of_domains: bool = False
    of_addresses: bool = False
    refusals: tuple[IPv4Network, ...] = ()
    policy: tuple[IPv4Network, ...] = ()


_SPAMHAUS_ERRORS = (IPv4Network("127.255.255.0/24"),)
# spamhaus.org/faqs (return codes); surbl.org/guidelines and uribl.com/about (127.0.0.1 is "blocked", not a listing);
# spamcop.net/bl.shtml; barracudacentral.org/rbl; psbl.org.
LISTS: tuple[Blocklist, ...] = (
    Blocklist("dbl.spamhaus.org", of_domains=True, refusals=_SPAMHAUS_ERRORS),
    Blocklist("multi.surbl.org", of_domains=True, refusals=(IPv4Network("127.0.0.1/32"),)),
    Blocklist("multi.uribl.com", of_domains=True, refusals=(IPv4Network("127.0.0.1/32"),)),
    Blocklist("zen.spamhaus.org", of_addresses=True, refusals=_SPAMHAUS_ERRORS, policy=(IPv4Network("127.0.0.10/31"),)),
    Blocklist("bl.spamcop.net", of_addresses=True),
    Blocklist("b.barracudacentral.org", of_addresses=True),
    Blocklist("psbl.surriel.com", of_addresses=True),
)


@dataclass(frozen=True, slots=True)
class BlocklistReport:
    """What the lists say."""

    findings: tuple[Finding, ...]
    proposals: tuple[Proposal, ...] = ()


def lists_named(zones: Sequence[str]) -> tuple[Blocklist, ...]:
    """Return the lists with these zones; one that is not known is asked about domains and addresses alike."""
    known = {each.zone: each for each in LISTS}
    return tuple(known.get(zone) or Blocklist(zone, of_domains=True, of_addresses=True) for zone in zones)


async def check_blocklists(
    domain: str,
    addresses: Sequence[IPv4Address | IPv6Address],
    resolver: Resolver,
    *,
    lists: Sequence[Blocklist] = LISTS,
) -> BlocklistReport:
    """Return what each list says of the domain and of each sending address."""
    asked = [(each, domain, domain) for each in lists if each.of_domains]
    asked += [(each, str(ip), _reversed(ip)) for each in lists if each.of_addresses for ip in addresses]
    findings = await asyncio.gather(*(_ask(each, subject, name, resolver) for each, subject, name in asked))
    return BlocklistReport(tuple(findings))


def _reversed(ip: IPv4Address | IPv6Address) -> str:
    """Return the name of an address under a list: its bytes or nibbles from the last to the first (section 2.4)."""
    return ip.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


async def _ask(each: Blocklist, subject: str, name: str, resolver: Resolver) -> Finding:
    answer = await resolver.query(f"{name}.{each.zone}", "A")
    if answer.status is Status.REFUSED:
        return _refused(each, subject, "refused")
    if not answer.status.is_known:
        return _found.unanswered("blocklist-error", answer)
    told = [address for address in answer.addresses if isinstance(address, IPv4Address) and address in _LISTED]
    refusals = [address for address in told if any(address in network for network in each.refusals)]
    if refusals:
        return _refused(each, subject, str(refusals[0]))
    listed = [address for address in told if not any(address in network for network in each.policy)]
    if listed:
        why = await _reason(answer, resolver)
        remedy = f"find the cause and end it, then ask {each.zone} to remove the entry"
        what = f"{subject} is listed by {each.zone} ({', '.join(map(str, listed[:5]))}){why}"
        return _found("blocklist-listed", Severity.FAIL, subject, what, remedy=remedy)
    if told:
        what = f"{each.zone} names {subject} as an address of end users{await _reason(answer, resolver)}"
        remedy = "send through a smarthost, or ask whoever the address is from to take it out"
        return _found("blocklist-policy", Severity.WARN, subject, what, remedy=remedy)
    return _found("blocklist-clear", Severity.PASS, subject, f"not listed by {each.zone}")


def _refused(each: Blocklist, subject: str, answer: str) -> Finding:
    what = f"{each.zone} does not answer the resolver that was asked ({answer})"
    remedy = "ask through a resolver of your own (--nameserver); public ones are refused"
    return _found("blocklist-refused", Severity.WARN, subject, what, remedy=remedy)


async def _reason(answer: Answer, resolver: Resolver) -> str:
    """Return what the list says beside the entry (section 2.1), as a part of a sentence."""
    texts = shown_texts(await resolver.query(answer.name, "TXT"))
    return f": {texts[0][:LONGEST_SHOWN]}" if texts else ""
