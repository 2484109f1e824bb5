"""The SPF check of a domain: is the record well made, do these addresses pass, and what is to be published.

Two verdicts that must not be mixed (RFC 7208): the audit looks at the whole record in the worst case, the evaluation
at each sending address as a receiver does. An address that matches before a limit is reached passes all the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from ucrmmail.dns.finding import Severity
from ucrmmail.dns.spf import MAX_LOOKUPS, MAX_VOID_LOOKUPS, SpfResult, SpfVerdict, asked, is_askable
from ucrmmail.dns.spf_codes import CODES, finding
from ucrmmail.dns.spf_lint import is_unroutable, lint, passes_all
from ucrmmail.dns.spf_propose import Sender, evaluate, propose
from ucrmmail.dns.spf_record import is_spf, parse_record, shown
from ucrmmail.dns.spf_slips import near_miss
from ucrmmail.dns.spf_tree import Node, Probe, Tree, counted, fetch_tree, probe, static_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv6Address

    from ucrmmail.dns.answer import Answer, Resolver, Text
    from ucrmmail.dns.finding import Finding, Proposal

__all__ = ["CODES", "AddressResult", "SpfReport", "check_spf"]

# Addresses that no host can have (RFC 1112 section 4; outside 2000::/3): whoever lets them pass lets everybody pass.
_NOBODY = ("240.0.0.1", "4000::1")
_MANY_LOOKUPS = 8
_MAX_OF_A_CODE = 10
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
        resolver.query(domain, "TXT"), resolver.query(domain, "SPF"), fetch_tree(domain, resolver)
    )
    if not answer.status.is_known:
        detail = f" ({answer.detail})" if answer.detail else ""
        found = finding("spf-dns-error", domain, f"TXT of {domain}: {answer.status}{detail}")
        return SpfReport(domain, "", 0, 0, SpfVerdict.TEMPERROR, "", None, (), (), (found,))
    records = [text for text in answer.texts if is_spf(text.joined)]
    findings = _strangers(domain, answer, obsolete, alone=not records)
    if not records:
        findings += await _elsewhere(domain, resolver)
    elif len(records) > 1:
        shown_records = "; ".join(repr(_shown(text)) for text in records[:5])
        findings.append(finding("spf-multiple-records", domain, f"{len(records)} records: {shown_records}"))
    probes: tuple[Probe, ...] = ()
    if len(records) == 1:
        record = parse_record(records[0].joined)
        findings += lint(domain, record, records[0].strings)
        if not record.faults:
            findings += _below(tree)
            probes = await probe(tree, resolver)
            findings += _limits(tree, probes)
            findings += await _explanation(tree, resolver)
    evaluations = await asyncio.gather(*(evaluate(ip, domain, resolver, now) for ip in sending_addresses))
    addresses = tuple(AddressResult(ip, result) for ip, result in zip(sending_addresses, evaluations, strict=True))
    if len(records) == 1:
        findings += await _anyone(domain, resolver, findings, now)
        findings += [_of_address(domain, address) for address in addresses]
        findings += _expected(domain, tree, expected_includes, addresses)
    if records and not any(found.severity in (Severity.WARN, Severity.FAIL, Severity.ERROR) for found in findings):
        what = f"the record is well formed and uses {tree.lookups()} of {MAX_LOOKUPS} lookups"
        findings.insert(0, finding("spf-valid", domain, what))
    sender = Sender(domain, tuple(sending_addresses), tuple(expected_includes), now)
    proposals = await propose(sender, answer, resolver)
    return SpfReport(
        domain,
        _shown(records[0]) if records else "",
        tree.lookups() if len(records) == 1 else 0,
        sum(1 for found in probes if found.is_void),
        _result(addresses, tree, has_record=bool(records)),
        next((each.evaluation.explanation for each in addresses if each.evaluation.explanation), ""),
        tree.drawn() if len(records) == 1 else None,
        addresses,
        tuple(found for found in probes if found.is_void),
        _shortened(findings),
        proposals,
    )


def _shown(text: Text) -> str:
    return text.joined.decode("utf-8", "backslashreplace")


def _result(addresses: tuple[AddressResult, ...], tree: Tree, *, has_record: bool) -> str:
    if addresses:
        results = {each.evaluation.result for each in addresses}
        return next(result for result in _ORDER if result in results)
    root = tree.published(tree.domain)
    if not has_record:
        return SpfVerdict.NONE
    return SpfVerdict.PERMERROR if root and root.problem else ""


def _strangers(domain: str, answer: Answer, obsolete: Answer, *, alone: bool) -> list[Finding]:
    """Look at the records beside: almost SPF, Sender ID, and the obsolete type."""
    found = []
    for text in answer.texts:
        data = text.joined
        if is_spf(data):
            continue
        if data[:6].lower() == b"spf2.0":
            found.append(finding("spf-sender-id", domain, f"{_shown(text)!r} is for Sender ID"))
            continue
        meant = near_miss(data)
        if meant is not None:
            what = f"{_shown(text)!r} is not an SPF record"
            severity = Severity.FAIL if alone else Severity.WARN
            remedy = (
                f"Publish {meant}" if alone else "Remove it, and see that the record beside it says what was meant."
            )
            found.append(finding("spf-near-miss", domain, what, remedy=remedy, severity=severity))
    old = [text for text in obsolete.texts if is_spf(text.joined)]
    if old:
        same = any(text.joined == old[0].joined for text in answer.texts)
        other = "" if same else ", and it differs from the TXT record"
        found.append(finding("spf-type-99", domain, f"{_shown(old[0])!r} is of type SPF{other}"))
    return found


async def _elsewhere(domain: str, resolver: Resolver) -> list[Finding]:
    """Tell that there is no record, and look where records land by mistake."""
    names = [f"_spf.{domain}", f"spf.{domain}", f"{domain}.{domain}", f"_dmarc.{domain}", f"www.{domain}"]
    askable = [name for name in names if is_askable(name)]
    answers = await asyncio.gather(*(resolver.query(name, "TXT") for name in askable))
    found = [finding("spf-no-record", domain, f"no TXT record of {domain} begins with v=spf1")]
    for name, answer in zip(askable, answers, strict=True):
        record = next((text for text in answer.texts if is_spf(text.joined)), None)
        if record:
            found.append(finding("spf-wrong-name", name, f"{_shown(record)!r} stands at {name}, not at {domain}"))
    return found


def _below(tree: Tree) -> list[Finding]:
    """Judge the domains that the record leads to."""
    found = []
    users: dict[str, set[str]] = defaultdict(set)
    where: dict[str, str] = {}
    for entry in tree.records:
        if entry.record is None:
            continue
        for term in counted(entry.record):
            target = tree.target(term, entry.domain)
            if not target:
                if term.name in ("include", "redirect") and term.macro and not term.macro.letters:
                    what = f"{shown(term.text)} names no possible domain"
                    found.append(finding("spf-include-without-record", entry.domain, what))
                continue
            users[target].add(entry.domain)
            where[target] = f"{shown(term.text)} in the record of {entry.domain}"
    for entry in tree.records[1:]:
        way = where[entry.domain]
        if not entry.status.is_known:
            found.append(finding("spf-include-dns-error", entry.domain, f"{way}: {entry.problem}"))
        elif entry.count == 0:
            found.append(finding("spf-include-without-record", entry.domain, f"{way}: {entry.problem}"))
        elif entry.problem:
            mark = tree.mark(entry.domain, entry.record.faults[0]) if entry.record else None
            found.append(finding("spf-include-invalid", entry.domain, f"{way}: {entry.problem}", mark=mark))
        elif entry.record and (term_of_all := passes_all(entry.record)):
            what = f"{way}: {term_of_all.text} there lets everybody pass"
            mark = tree.mark(entry.domain, term_of_all)
            found.append(finding("spf-include-passes-all", entry.domain, what, mark=mark))
    loops = tree.loops()
    found += [
        finding(
            "spf-include-loop",
            domain,
            f"{shown(term.text)} in the record of {domain} leads back",
            mark=tree.mark(domain, term),
        )
        for domain, term in loops
    ]
    if not loops:
        found += [
            finding("spf-include-twice", target, f"{target} is included by {' and '.join(sorted(domains)[:5])}")
            for target, domains in users.items()
            if len(domains) > 1 and tree.domain in domains  # what others do in their own records is their affair
        ]
    return found


def _limits(tree: Tree, probes: tuple[Probe, ...]) -> list[Finding]:
    found = []
    lookups = tree.lookups()
    if lookups > MAX_LOOKUPS:
        found.append(finding("spf-too-many-lookups", tree.domain, f"{lookups} of {MAX_LOOKUPS} lookups"))
        found += [
            finding(
                "spf-over-limit-term",
                step.domain,
                f"{shown(step.term.text)} is lookup {step.position}",
                mark=tree.mark(step.domain, step.term),
            )
            for step in tree.steps()
            if step.position > MAX_LOOKUPS
        ]
    elif lookups >= _MANY_LOOKUPS:
        found.append(finding("spf-many-lookups", tree.domain, f"{lookups} of {MAX_LOOKUPS} lookups"))
    for result in probes:
        way = f"{shown(result.term.text)} in the record of {result.domain} asks {result.rdtype} of {result.name}"
        mark = tree.mark(result.domain, result.term)
        if result.is_void:
            remedy = "mx: takes a domain; for a mail host write a: and its name." if result.rdtype == "MX" else ""
            found.append(finding("spf-void-lookup", result.domain, f"{way}: {result.status}", remedy=remedy, mark=mark))
        elif not result.status.is_known:
            found.append(finding("spf-lookup-dns-error", result.domain, f"{way}: {result.status}", mark=mark))
        elif result.detail:
            found.append(finding("spf-too-many-mx", result.domain, f"{way}: {result.detail}", mark=mark))
    voids = sum(1 for result in probes if result.is_void)
    if voids > MAX_VOID_LOOKUPS:
        what = f"{voids} lookups find nothing, {MAX_VOID_LOOKUPS} may"
        found.append(finding("spf-too-many-void-lookups", tree.domain, what))
    return found


async def _explanation(tree: Tree, resolver: Resolver) -> list[Finding]:
    root = tree.published(tree.domain)
    term = root.record.modifier("exp") if root and root.record else None
    name = static_name(term, tree.domain, tree.domain) if term else ""
    if not term or not name:
        return []
    answer = await resolver.query(asked(name), "TXT")
    if not answer.status.is_known or len(answer.texts) == 1:
        return []
    what = f"{shown(term.text)}: {len(answer.texts)} TXT records there, one is wanted"
    return [finding("spf-explanation-missing", tree.domain, what)]


async def _anyone(domain: str, resolver: Resolver, known: list[Finding], now: float) -> list[Finding]:
    """Try addresses that nobody has, unless it is known already that everybody passes."""
    codes = {"spf-plus-all", "spf-include-passes-all", "spf-huge-range", "spf-exists-fixed"}
    if any(found.code in codes for found in known):
        return []
    addresses = [ip_address(text) for text in _NOBODY]
    results = await asyncio.gather(*(evaluate(ip, domain, resolver, now) for ip in addresses))
    return [
        finding("spf-passes-anyone", domain, f"{ip} passes by {result.matched} in the record of {result.matched_at}")
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
