"""The check of the addresses a server sends from: reverse DNS that leads back (RFC 1912 section 2.1).

Gmail, Yahoo and most other receivers refuse or distrust an address without it, whatever SPF and DKIM say.
"""

from __future__ import annotations

import asyncio
import re
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

# As many names as receivers look at (RFC 7208 section 4.6.4), and a bound for a long list of own addresses.
MOST_NAMES = 10
MOST_ADDRESSES = 64

CODES: dict[str, str] = {
    "ptr-verified": "The address has a name in reverse DNS, and that name leads back to the address. Gmail and Yahoo"
    " ask for this from every sender. RFC 1912 section 2.1.",
    "ptr-missing": "The address has no name in reverse DNS. Gmail refuses mail from it with 550-5.7.25, and others do"
    " the same or take it for spam. Who gave you the address sets its name, at the host's panel or on request. RFC 1912"
    " section 2.1.",
    "ptr-unconfirmed": "The name in reverse DNS does not lead back to the address, so anybody could have written it and"
    " receivers do not believe it. Publish the address at that name, or change the name. RFC 1912 section 2.1.",
    "ptr-partly-confirmed": "One of several names in reverse DNS does not lead back to the address. Receivers that look"
    " at that one only distrust the address. RFC 1912 section 2.1.",
    "ptr-several": "The address has several names in reverse DNS. Receivers take any one of them, so their verdict"
    " changes from one message to the next. Keep one.",
    "ptr-bad-name": "The name in reverse DNS is no full host name of the public DNS, so it cannot lead back to the"
    " address. RFC 1123 section 2.1.",
    "ptr-generic": "The name in reverse DNS looks like one that a provider gives to all of its addresses. Many"
    " receivers take such an address for a home or an infected computer. Ask for the name that your server uses in"
    " HELO.",
    "ptr-private": "The address is not one of the public internet: receivers see another one. Give the public address"
    " in dns.sending_addresses.",
    "ptr-error": "The DNS did not answer the question for the reverse name, so nothing is known of it. Receivers that"
    " meet the same defer the mail.",
    "ptr-not-known": "No own address is known from which mail leaves. That is right when a provider's smarthost sends"
    " it: then reverse DNS is the provider's care. Else give the address in dns.sending_addresses.",
    "ptr-many": "There are more sending addresses than are looked at in one run.",
}
_found = Voice("ptr", CODES)
_WORDS = re.compile(
    r"(?<![a-z])(dynamic|dyn|dynip|pools?|pppo?e?|[avx]?dsl|dhcp|dial(up|in)?|cable|catv|ftth|broadband|unassigned|"
    r"residential)(?![a-z])"
)
# These stand in names of servers too, and say something only beside a number.
_WORDS_BESIDE_NUMBERS = re.compile(r"(?<![a-z])(static|customers?|cust|clients?|reverse|rev|host|ip)(?![a-z])")


@dataclass(frozen=True, slots=True)
class ReverseName:
    """An address with its names in reverse DNS; ``confirmed`` are those that lead back to it."""

    address: IPv4Address | IPv6Address
    names: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PtrReport:
    """What was found for the sending addresses, in the order given."""

    addresses: tuple[ReverseName, ...] = ()
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


async def check_ptr(
    addresses: Sequence[IPv4Address | IPv6Address], resolver: Resolver, *, helo_name: str = ""
) -> PtrReport:
    """Return the audit of the reverse DNS of own sending addresses (not of a smarthost's).

    ``helo_name`` is proposed as the name of an address that has none.
    """
    distinct = tuple(dict.fromkeys(addresses))
    if not distinct:
        return PtrReport(findings=(_found("ptr-not-known", Severity.INFO, "", "no own sending address is known"),))
    findings: list[Finding] = []
    if len(distinct) > MOST_ADDRESSES:
        what = f"{len(distinct)} addresses, of which the first {MOST_ADDRESSES} were looked at"
        findings.append(_found("ptr-many", Severity.INFO, "", what))
    results = await asyncio.gather(*(_look_at(address, resolver, helo_name) for address in distinct[:MOST_ADDRESSES]))
    findings += [finding for _, told, _ in results for finding in told]
    proposals = tuple(proposal for _, _, proposed in results for proposal in proposed)
    return PtrReport(tuple(reverse for reverse, _, _ in results), tuple(findings), proposals)


async def _look_at(
    address: IPv4Address | IPv6Address, resolver: Resolver, helo_name: str
) -> tuple[ReverseName, list[Finding], list[Proposal]]:
    subject = str(address)
    if is_unroutable(ip_network(address)):
        what = f"receivers never see {address}, only the public address before it"
        told = _found(
            "ptr-private", Severity.WARN, subject, what, remedy="give the public one in dns.sending_addresses"
        )
        return ReverseName(address), [told], []
    answer = await resolver.query(address.reverse_pointer, "PTR")
    if not answer.status.is_known:
        return ReverseName(address), [_found.unanswered("ptr-error", answer)], []
    if not answer.hosts:
        return ReverseName(address), [_missing(address)], _proposed(address, helo_name)
    names = tuple(dict.fromkeys(answer.hosts))
    forwards = await asyncio.gather(*(_forward(address, name, resolver) for name in names[:MOST_NAMES]))
    confirmed = tuple(name for name, (leads_back, _) in zip(names, forwards, strict=False) if leads_back)
    findings = _verdict(address, names, confirmed, [silent for _, silent in forwards])
    return ReverseName(address, names[:MOST_NAMES], confirmed), findings, []


async def _forward(address: IPv4Address | IPv6Address, name: str, resolver: Resolver) -> tuple[bool, Answer | None]:
    """Return whether the name leads to the address, and the question that was not answered, if any."""
    if not is_host_name(name):
        return False, None
    answer = await resolver.query(name, "A" if address.version == 4 else "AAAA")
    return address in answer.addresses, None if answer.status.is_known else answer


def _missing(address: IPv4Address | IPv6Address) -> Finding:
    remedy = f"let the provider of the address set its name to that of your server ({address.reverse_pointer} PTR NAME)"
    what = f"{address} has no name in reverse DNS"
    return _found("ptr-missing", Severity.FAIL, str(address), what, remedy=remedy)


def _proposed(address: IPv4Address | IPv6Address, helo_name: str) -> list[Proposal]:
    if not is_host_name(helo_name):
        return []
    why = "set by the provider of the address: the name that the server uses in HELO"
    return [Proposal(address.reverse_pointer, "PTR", helo_name, why)]


def _verdict(
    address: IPv4Address | IPv6Address, names: tuple[str, ...], confirmed: tuple[str, ...], silent: list[Answer | None]
) -> list[Finding]:
    """Return what is to be said of an address with names."""
    subject = str(address)
    findings = []
    record = "A" if address.version == 4 else "AAAA"
    if confirmed:
        findings.append(_found("ptr-verified", Severity.PASS, subject, f"{address} is {confirmed[0]} and back"))
    for name in names[:MOST_NAMES]:
        if name in confirmed:
            continue
        if not is_host_name(name):
            what, remedy = f"{address} has the name {name}", "let it be a full name, such as mail.DOMAIN"
            severity = Severity.WARN if confirmed else Severity.FAIL
            findings.append(_found("ptr-bad-name", severity, subject, what, remedy=remedy))
        elif (unknown := next((answer for answer in silent if answer and answer.name == name), None)) is not None:
            findings.append(_found.unanswered("ptr-error", unknown))
        else:
            code, severity = (
                ("ptr-partly-confirmed", Severity.WARN) if confirmed else ("ptr-unconfirmed", Severity.FAIL)
            )
            what = f"{address} has the name {name}, which does not lead back to it"
            remedy = f"publish {name} {record} {address}, or let the provider of the address change the name"
            findings.append(_found(code, severity, subject, what, remedy=remedy))
    if len(names) > 1:
        what = f"{address} has {len(names)} names: {', '.join(names[:MOST_NAMES])}"
        remedy = "let the provider of the address keep one, that of your server"
        findings.append(_found("ptr-several", Severity.WARN, subject, what, remedy=remedy))
    if confirmed and all(is_generic(name, address) for name in confirmed):
        what = f"{confirmed[0]} looks like a provider's name for any address"
        remedy = "let the provider of the address change it to that of your server"
        findings.append(_found("ptr-generic", Severity.WARN, subject, what, remedy=remedy))
    return findings


def is_generic(name: str, address: IPv4Address | IPv6Address) -> bool:
    """Return True for a name that is made from the address, or that has a word of providers' pools in it."""
    name = name.lower()
    host = name.split(".", 1)[0]
    # Not the last two labels: a company may be called "cable".
    below = ".".join(name.split(".")[:-2])
    if address.version == 4:
        octets = str(address).split(".")
        numbers = [number.lstrip("0") or "0" for number in re.findall(r"\d+", name)]
        orders = (octets, octets[::-1])
        spelt = any(numbers[at : at + 4] == order for order in orders for at in range(len(numbers)))
        packed = address.packed.hex() in name or "".join(octet.zfill(3) for octet in octets) in name
    else:
        plain = re.sub(r"[^0-9a-f]", "", host)
        spelt = str(address).replace(":", "-").strip("-") in name
        packed = len(plain) >= 16 and plain in address.exploded.replace(":", "")
    numbered = re.search(r"\d{2}", host) is not None and _WORDS_BESIDE_NUMBERS.search(below) is not None
    return spelt or packed or numbered or _WORDS.search(below) is not None
