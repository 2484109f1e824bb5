"""What an SPF record leads to: the tree of its includes with the lookups counted, and the lookups that find nothing.

Everything reachable is fetched level by level, all of a level at once, each domain once. The count is the worst case:
what a receiver does for a client that nothing matches. A tree of strangers is cut where it can no longer matter:
after ten lookups the result is permerror anyway (RFC 7208 section 4.6.4).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.answer import Status
from ucrmmail.dns.spf import MAX_LOOKUPS, MAX_NAMES
from ucrmmail.dns.spf_client import asked, is_askable
from ucrmmail.dns.spf_record import Record, Term, is_spf, parse_record, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ucrmmail.dns.answer import Answer, Resolver
    from ucrmmail.dns.finding import Mark
    from ucrmmail.dns.spf_record import Fault

MAX_DOMAINS = 40  # of one tree, so that a run stays within 60 questions; who needs more has lost long before
_MAX_STEPS = 60  # of one walk in the order of evaluation
_MAX_PROBES = 40  # names asked for void lookups
_KNOWN_LETTERS = frozenset("do")  # what a name may depend on and still be known without a message


@dataclass(frozen=True, slots=True)
class Published:
    """The SPF records of one domain: ``record`` when there is exactly one, ``count`` how many there are."""

    domain: str
    status: Status
    count: int = 0
    record: Record | None = None
    detail: str = ""

    @property
    def problem(self) -> str:
        """Why an include of this domain cannot be evaluated; "" when it can."""
        if not self.status.is_known:
            return f"the DNS did not answer: {self.status}" + (f" ({self.detail})" if self.detail else "")
        if self.count > 1:
            return f"{self.count} SPF records"
        if self.record is None:
            return "no such name" if self.status is Status.NXDOMAIN else "no SPF record"
        if self.record.faults:
            fault = self.record.faults[0]
            return f"{shown(self.record.text[fault.start : fault.end])!r}: {fault.reason}"
        return ""


@dataclass(frozen=True, slots=True)
class Node:
    """A domain in the tree.

    ``via`` is the term that leads here ("" at the root) and ``position`` which lookup it is, in the order of
    evaluation. ``lookups`` counts those of this record and all below it. ``problem`` says why it cannot be evaluated.
    A domain met before is ``repeated`` and has no children again; its lookups count again.
    """

    domain: str
    via: str
    position: int
    record: str
    lookups: int
    children: tuple[Node, ...] = ()
    problem: str = ""
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A term that costs a lookup, in the order of evaluation; ``position`` counts from 1."""

    position: int
    domain: str
    term: Term


@dataclass(frozen=True, slots=True)
class Probe:
    """What a term's lookup found: ``status`` FOUND, void (NO_DATA, NXDOMAIN), or unknown."""

    domain: str
    term: Term
    name: str
    rdtype: str
    status: Status
    detail: str = ""

    @property
    def is_void(self) -> bool:
        """True when the lookup counts against the two that may find nothing."""
        return self.status in (Status.NO_DATA, Status.NXDOMAIN)


class Tree:
    """All records that a domain's record leads to."""

    def __init__(self, domain: str, published: Mapping[str, Published]) -> None:
        self.domain = domain
        self._published = published
        self._totals: dict[str, int] = {}

    def published(self, domain: str) -> Published | None:
        """Return what a domain of the tree publishes; None beyond the size of a tree."""
        return self._published.get(domain.lower())

    def mark(self, domain: str, term: Term | Fault) -> Mark | None:
        """Return the place of a term in its record."""
        entry = self.published(domain)
        return entry.record.mark(term.start, term.end) if entry and entry.record else None

    @property
    def records(self) -> tuple[Published, ...]:
        """Every domain of the tree, the root first."""
        return tuple(self._published.values())

    def lookups(self, domain: str = "") -> int:
        """Return the lookups of a domain's record (the root's by default) and all below, in the worst case."""
        return self._total((domain or self.domain).lower(), frozenset())

    def _total(self, domain: str, above: frozenset[str]) -> int:
        if domain in above or len(above) > MAX_LOOKUPS:
            return 0
        if domain not in self._totals:
            entry = self._published.get(domain)
            terms = counted(entry.record) if entry and entry.record else ()
            inside = above | {domain}
            below = (self._total(target, inside) for term in terms if (target := self.target(term, domain)))
            self._totals[domain] = len(terms) + sum(below)
        return self._totals[domain]

    def target(self, term: Term, domain: str) -> str:
        """Return the domain that an include or redirect leads to, in lower case; "" for none that is known."""
        if term.name not in ("include", "redirect"):
            return ""
        return static_name(term, domain, self.domain).lower()

    def steps(self) -> list[Step]:
        """Return the terms that cost a lookup in the order of evaluation, until long after the tenth."""
        found: list[Step] = []
        for domain, term, _ in self._walk(self.domain.lower(), ()):
            found.append(Step(len(found) + 1, domain, term))
            if len(found) == _MAX_STEPS:
                break
        return found

    def loops(self) -> list[tuple[str, Term]]:
        """Return the terms that lead back to a domain under evaluation, with the domain of their record."""
        found: dict[tuple[str, int], tuple[str, Term]] = {}
        for number, (domain, term, is_loop) in enumerate(self._walk(self.domain.lower(), ())):
            if is_loop:
                found[domain, term.start] = (domain, term)
            if number == _MAX_STEPS:
                break
        return list(found.values())

    def _walk(self, domain: str, above: tuple[str, ...]) -> Iterator[tuple[str, Term, bool]]:
        entry = self._published.get(domain)
        if entry is None or entry.record is None:
            return
        inside = (*above, domain)
        for term in counted(entry.record):
            target = self.target(term, domain)
            yield domain, term, target in inside
            if target and target not in inside and len(inside) <= MAX_LOOKUPS:
                yield from self._walk(target, inside)

    def drawn(self) -> Node:
        """Return the tree as it is shown: each domain is drawn out once."""
        return self._node(self.domain.lower(), "", 0, (), set())

    def _node(self, domain: str, via: str, position: int, above: tuple[str, ...], seen: set[str]) -> Node:
        entry = self._published.get(domain)
        if entry is None:
            return Node(domain, via, position, "", 0, problem="not looked at: the tree is too large")
        record = shown(entry.record.text) if entry.record else ""
        lookups = self.lookups(domain)
        if domain in above:
            return Node(domain, via, position, record, 0, problem="leads back to a domain above", repeated=True)
        if domain in seen:
            return Node(domain, via, position, record, lookups, problem=entry.problem, repeated=True)
        seen.add(domain)
        children: list[Node] = []
        at = position
        for term in counted(entry.record) if entry.record else ():
            at += 1
            target = self.target(term, domain)
            if target:
                children.append(self._node(target, shown(term.text), at, (*above, domain), seen))
                at += children[-1].lookups
            elif term.name in ("include", "redirect"):
                problem = "depends on the message: not known beforehand"
                children.append(Node(shown(term.target), shown(term.text), at, "", 0, problem=problem))
        return Node(domain, via, position, record, lookups, tuple(children), entry.problem)


def counted(record: Record) -> tuple[Term, ...]:
    """Return the terms of a record that cost a lookup and can be reached, the redirect last."""
    terms: list[Term] = []
    for term in record.mechanisms:
        if term.name == "all":
            return tuple(terms)
        if term.is_counted:
            terms.append(term)
    redirect = record.modifier("redirect")
    return (*terms, redirect) if redirect else tuple(terms)


def static_name(term: Term, domain: str, root: str) -> str:
    """Return the name that a term asks for when no message is known; "" when it depends on one, or is malformed."""
    if term.macro is None:
        return domain
    if not term.macro.letters <= _KNOWN_LETTERS:
        return ""
    name = term.macro.expand_name({"d": domain, "o": root})
    return name if is_askable(name) else ""


async def fetch_tree(domain: str, resolver: Resolver) -> Tree:
    """Fetch the records that a domain's SPF record leads to, through include and redirect."""
    published: dict[str, Published] = {}
    tree = Tree(domain, published)
    level = [domain.lower()]
    depth = 0
    # Deeper than the limit there is only permerror; a chain without end must not cost a round trip a link.
    while level and depth <= MAX_LOOKUPS + 1:
        depth += 1
        answers = await asyncio.gather(*(_published(name, resolver) for name in level))
        published.update(zip(level, answers, strict=True))
        targets = [
            target
            for entry in answers
            if entry.record
            for term in counted(entry.record)
            if (target := tree.target(term, entry.domain))
        ]
        unseen = [target for target in dict.fromkeys(targets) if target not in published]
        level = unseen[: max(0, MAX_DOMAINS - len(published))]
    return tree


async def _published(domain: str, resolver: Resolver) -> Published:
    answer = await resolver.query(asked(domain), "TXT")
    return published_in(answer, domain)


def published_in(answer: Answer, domain: str) -> Published:
    """Return the SPF records among the TXT records of an answer."""
    found = [text.joined for text in answer.texts if is_spf(text.joined)]
    record = parse_record(found[0]) if len(found) == 1 else None
    return Published(domain, answer.status, len(found), record, answer.detail)


async def probe(tree: Tree, resolver: Resolver) -> tuple[Probe, ...]:
    """Ask for every name that a, mx and exists name in the tree, all at once, and tell what each found.

    A host has one lookup, A or AAAA, so one without either is one void lookup. Names that depend on the message are
    left out.
    """
    wanted: dict[tuple[str, str], Step] = {}
    for step in tree.steps():
        name = static_name(step.term, step.domain, tree.domain)
        if name and step.term.name in ("a", "mx", "exists"):
            wanted.setdefault((step.term.name, name.lower()), step)
    first = list(wanted.items())[:_MAX_PROBES]
    found = await asyncio.gather(*(_probe(step, name, resolver) for (_, name), step in first))
    return tuple(result for results in found for result in results)


async def _probe(step: Step, name: str, resolver: Resolver) -> list[Probe]:
    if step.term.name == "mx":
        answer = await resolver.query(asked(name), "MX")
        results = [Probe(step.domain, step.term, name, "MX", answer.status, answer.detail)]
        hosts = [exchange.exchange.removesuffix(".") for exchange in answer.exchanges[: MAX_NAMES + 1]]
        if len(hosts) > MAX_NAMES:
            return [Probe(step.domain, step.term, name, "MX", Status.FOUND, f"more than {MAX_NAMES} mail exchanges")]
        both = await asyncio.gather(*(_host(step, host, resolver) for host in hosts if is_askable(host)))
        return results + list(both)
    if step.term.name == "exists":
        answer = await resolver.query(asked(name), "A")
        return [Probe(step.domain, step.term, name, "A", answer.status, answer.detail)]
    return [await _host(step, asked(name), resolver)]


async def _host(step: Step, name: str, resolver: Resolver) -> Probe:
    ipv4, ipv6 = await asyncio.gather(resolver.query(name, "A"), resolver.query(name, "AAAA"))
    for answer in (ipv4, ipv6):
        if answer.status is Status.FOUND:
            return Probe(step.domain, step.term, name, "A or AAAA", Status.FOUND)
    unknown = next((answer for answer in (ipv4, ipv6) if not answer.status.is_known), None)
    answer = unknown or ipv4
    return Probe(step.domain, step.term, name, "A or AAAA", answer.status, answer.detail)
