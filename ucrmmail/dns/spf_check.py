"""The SPF check of a domain: is the record well made, do these addresses pass, and what is to be published.

Two verdicts that must not be mixed (RFC 7208): the audit looks at the whole record in the worst case, the evaluation
at each sending address as a receiver does. An address that matches before a limit is reached passes all the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.answer import Answer, Status
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.spf import MAX_LOOKUPS, SpfResult, SpfVerdict
from ucrmmail.dns.spf_below import explanation, included, limits
from ucrmmail.dns.spf_beside import beside, elsewhere, shown_text
from ucrmmail.dns.spf_codes import CODES, finding
from ucrmmail.dns.spf_lint import is_unroutable, lint
from ucrmmail.dns.spf_propose import Sender, evaluate, propose
from ucrmmail.dns.spf_record import is_spf, parse_record
from ucrmmail.dns.spf_tree import Node, Probe, Tree, fetch_tree, probe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.dns.answer import Resolver, Text
    from ucrmmail.dns.finding import Finding, Proposal

__all__ = ["CODES", "AddressResult", "SpfReport", "check_spf"]

# Addresses that no host can have (RFC 1112 section 4; outside 2000::/3): whoever lets them pass lets everybody pass.
_NOBODY = ("240.0.0.1", "4000::1")
# Findings that say already that everybody passes.
_PASS_EVERYBODY = frozenset({"spf-plus-all", "spf-include-passes-all", "spf-huge-range", "spf-exists-fixed"})
_MAX_OF_A_CODE = 10
# Some servers never answer for the obsolete type. Nothing depends on it, so nobody waits long.
_OBSOLETE_S = 2.0
# From the worst for a sender to the best.
_ORDER = (
    SpfVerdict.PERMERROR,
    SpfVerdict.TEMPERROR,
    SpfVerdict.FAIL,
    SpfVerdict.SOFTFAIL,
    SpfVerdict.NEUTRAL,
    SpfVerdict.NONE,
    SpfVerdict.PASS,
)


@dataclass(frozen=True, slots=True)
class AddressResult:
    """What a receiver finds for one sending address."""

    address: IPv4Address | IPv6Address
    evaluation: SpfResult


@dataclass(frozen=True, slots=True)
class SpfReport:
    """The record of a domain and what was found.

    ``record`` is the text as published ("" for none; the first of several). ``lookups`` and ``void_lookups`` are the
    worst case; those of an address are in ``addresses``. ``result`` is the worst result of the sending addresses, or,
    when none is known, ``none``, ``permerror`` or ``temperror`` where that holds for every client, else "".
    ``explanation`` is the domain's text for the first address that fails. ``tree`` is None without one record.
    """

    domain: str
    record: str
    lookups: int
    void_lookups: int
    result: str
    explanation: str
    tree: Node | None
    addresses: tuple[AddressResult, ...]
    voids: tuple[Probe, ...]
    findings: tuple[Finding, ...]
    proposals: tuple[Proposal, ...] = ()


async def check_spf(
    domain: str,
    resolver: Resolver,
    *,
    sending_addresses: Sequence[IPv4Address | IPv6Address],
    expected_includes: Sequence[str] = (),
    now: float,
) -> SpfReport:
    """Check the SPF record of a domain for these sending addresses and the includes that its provider asks for.

    ``domain`` is in lower case without the final dot; ``now`` is in seconds since the epoch.
    """
    answer, obsolete, tree = await asyncio.gather(
        resolver.query(domain, "TXT"), _obsolete(domain, resolver), fetch_tree(domain, resolver)
    )
    if not answer.status.is_known:
        detail = f" ({answer.detail})" if answer.detail else ""
        found = finding("spf-dns-error", domain, f"TXT of {domain}: {answer.status}{detail}")
        return SpfReport(domain, "", 0, 0, SpfVerdict.TEMPERROR, "", None, (), (), (found,))
    records = [text for text in answer.texts if is_spf(text.joined)]
    addresses_met = dict.fromkeys(_as_met(ip) for ip in sending_addresses)
    sender = Sender(domain, tuple(addresses_met), tuple(expected_includes), now)
    (findings, voids), addresses, proposals = await asyncio.gather(
        _audit(sender, records, tree, resolver),
        _addresses(sender, resolver),
        propose(sender, answer, resolver),
    )
    findings = [*beside(domain, answer, obsolete, alone=not records), *findings]
    if len(records) == 1:
        findings += [_of_address(domain, address) for address in addresses]
        findings += _expected(domain, tree, sender.includes, addresses)
    if records and not any(found.severity in (Severity.WARN, Severity.FAIL, Severity.ERROR) for found in findings):
        what = f"the record is well formed and uses {tree.lookups()} of {MAX_LOOKUPS} lookups"
        findings.insert(0, finding("spf-valid", domain, what))
    return SpfReport(
        domain,
        shown_text(records[0]) if records else "",
        tree.lookups(),
        len(voids),
        _result(addresses, tree, has_record=bool(records)),
        next((each.evaluation.explanation for each in addresses if each.evaluation.explanation), ""),
        tree.drawn() if len(records) == 1 else None,
        addresses,
        voids,
        _shortened(findings),
        proposals,
    )


async def _obsolete(domain: str, resolver: Resolver) -> Answer:
    """Return the records of the obsolete type, if the server answers soon."""
    try:
        async with asyncio.timeout(_OBSOLETE_S):
            return await resolver.query(domain, "SPF")
    except TimeoutError:
        return Answer(domain, "SPF", Status.TIMEOUT)


def _as_met(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the address as receivers meet it: IPv4 also where a socket shows it inside IPv6."""
    return (ip.version == 6 and ip.ipv4_mapped) or ip


async def _audit(
    sender: Sender, records: list[Text], tree: Tree, resolver: Resolver
) -> tuple[list[Finding], tuple[Probe, ...]]:
    """Return what is wrong with the record whoever sends, and its void lookups."""
    domain = sender.domain
    if not records:
        return await elsewhere(domain, resolver), ()
    if len(records) > 1:
        texts = "; ".join(repr(shown_text(text)) for text in records[:5])
        return [finding("spf-multiple-records", domain, f"{len(records)} records: {texts}")], ()
    record = parse_record(records[0].joined)
    findings = lint(domain, record, records[0].strings)
    if record.faults:
        return findings, ()
    probes, unexplained, anyone = await asyncio.gather(
        probe(tree, resolver), explanation(tree, resolver), _anyone(sender, resolver)
    )
    findings += [*included(tree), *limits(tree, probes), *unexplained]
    if not any(found.code in _PASS_EVERYBODY for found in findings):
        findings += anyone
    return findings, tuple(found for found in probes if found.is_void)


async def _addresses(sender: Sender, resolver: Resolver) -> tuple[AddressResult, ...]:
    results = await asyncio.gather(*(evaluate(ip, sender.domain, resolver, sender.now) for ip in sender.addresses))
    return tuple(AddressResult(ip, result) for ip, result in zip(sender.addresses, results, strict=True))


def _result(addresses: tuple[AddressResult, ...], tree: Tree, *, has_record: bool) -> str:
    if addresses:
        results = {each.evaluation.result for each in addresses}
        return next(result for result in _ORDER if result in results)
    root = tree.published(tree.domain)
    if not has_record:
        return SpfVerdict.NONE
    return SpfVerdict.PERMERROR if root and root.problem else ""


async def _anyone(sender: Sender, resolver: Resolver) -> list[Finding]:
    """Try addresses that nobody has."""
    addresses = [ip_address(text) for text in _NOBODY]
    results = await asyncio.gather(*(evaluate(ip, sender.domain, resolver, sender.now) for ip in addresses))
    return [
        finding(
            "spf-passes-anyone", sender.domain, f"{ip} passes by {result.matched} in the record of {result.matched_at}"
        )
        for ip, result in zip(addresses, results, strict=True)
        if result.result is SpfVerdict.PASS
    ]


def _of_address(domain: str, address: AddressResult) -> Finding:
    ip, result = address.address, address.evaluation
    if is_unroutable(ip_network(ip)) and result.result is not SpfVerdict.PASS:
        return finding("spf-private-address", domain, f"{ip} is no address that receivers see: name the public one")
    match result.result:
        case SpfVerdict.PASS:
            code, what = "spf-address-pass", f"{ip} passes by {result.matched} in the record of {result.matched_at}"
        case SpfVerdict.PERMERROR:
            code, what = "spf-address-permerror", f"{ip}: permerror, {result.problem}"
        case SpfVerdict.TEMPERROR:
            code, what = "spf-address-temperror", f"{ip}: temperror, {result.problem}"
        case _:
            by = f" by {result.matched} in the record of {result.matched_at}" if result.matched else ""
            code, what = "spf-address-not-authorized", f"{ip}: {result.result}{by}"
    return finding(code, domain, what)


def _expected(domain: str, tree: Tree, includes: Sequence[str], addresses: tuple[AddressResult, ...]) -> list[Finding]:
    passing = bool(addresses) and all(each.evaluation.result is SpfVerdict.PASS for each in addresses)
    severity = Severity.WARN if passing else Severity.FAIL
    return [
        finding("spf-expected-include-missing", domain, f"include:{include} is not there", severity=severity)
        for include in includes
        if tree.published(include) is None
    ]


def _shortened(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return the findings with at most ten of a code: a hostile record holds thousands."""
    counts: Counter[str] = Counter(found.code for found in findings)
    kept: Counter[str] = Counter()
    result = []
    for found in findings:
        kept[found.code] += 1
        if kept[found.code] < _MAX_OF_A_CODE or counts[found.code] == kept[found.code] == _MAX_OF_A_CODE:
            result.append(found)
        elif kept[found.code] == _MAX_OF_A_CODE:
            result.append(replace(found, what=f"{found.what}; and more like it"))
    return tuple(result)
