"""What an SPF record leads to, judged: the domains included, the limits, the lookups that find nothing, exp=."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ucrmmail.dns.spf import MAX_LOOKUPS, MAX_VOID_LOOKUPS
from ucrmmail.dns.spf_client import asked
from ucrmmail.dns.spf_codes import finding
from ucrmmail.dns.spf_lint import passes_all
from ucrmmail.dns.spf_record import shown
from ucrmmail.dns.spf_tree import Probe, Tree, counted, static_name

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Resolver
    from ucrmmail.dns.finding import Finding

_MANY_LOOKUPS = 8
_NO_MX_THERE = "mx: takes a domain; for a mail host write a: and its name."
_NO_MX_HERE = "Remove mx, since the domain has no mail exchange, or publish one."


def included(tree: Tree) -> list[Finding]:
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


def limits(tree: Tree, probes: tuple[Probe, ...]) -> list[Finding]:
    """Count the lookups, and name those beyond the limits and those that find nothing or fail."""
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
            remedy = ""
            if result.rdtype == "MX":
                named = ":" in result.term.text
                remedy = _NO_MX_THERE if named else _NO_MX_HERE
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


async def explanation(tree: Tree, resolver: Resolver) -> list[Finding]:
    """Tell when exp= leads to no single text."""
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
