"""Whether a receiver would accept this address as a sender for this domain: check_host(), RFC 7208 section 4.

The result is the one the RFC defines, with what it took to reach it. Nothing is raised: what the DNS did not answer is
a temperror, what the domain published wrongly is a permerror, and ``problem`` says which.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.a_label import a_label
from ucrmmail.dns.answer import Status
from ucrmmail.dns.spf_client import Client, asked, is_askable, is_within
from ucrmmail.dns.spf_macro import MAX_EXPLANATION, Macro, MacroError, parse_macro
from ucrmmail.dns.spf_record import Record, Term, covers, is_spf, parse_record, shown

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ucrmmail.dns.answer import Answer, Resolver

MAX_LOOKUPS = 10  # terms that ask the DNS, RFC 7208 section 4.6.4
MAX_VOID_LOOKUPS = 2
MAX_NAMES = 10  # of one MX or PTR answer
_MAX_PROBLEM = 400

ADDRESS_TYPE = {4: "A", 6: "AAAA"}


class SpfVerdict(StrEnum):
    """The seven results of RFC 7208 section 2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 # a verdict, not a password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


_BY_QUALIFIER = {
    "+": SpfVerdict.PASS,
    "-": SpfVerdict.FAIL,
    "~": SpfVerdict.SOFTFAIL,
    "?": SpfVerdict.NEUTRAL,
}


@dataclass(frozen=True, slots=True)
class SpfResult:
    """What check_host() returns, and how it came to it.

    ``explanation`` is the domain's own text for a fail (section 6.2), written by a stranger; "" when it has none.
    ``lookups`` are the terms evaluated that count against the ten, ``void_lookups`` the questions without an answer
    among them. ``matched`` is the term that decided and ``matched_at`` the domain whose record holds it; both are ""
    when none did. ``problem`` tells why a result is temperror, permerror or none.
    """

    result: SpfVerdict
    explanation: str = ""
    lookups: int = 0
    void_lookups: int = 0
    matched: str = ""
    matched_at: str = ""
    problem: str = ""


def identity(mail_from: str, helo: str) -> tuple[str, str]:
    """Return the domain to check and the full sender for a reverse-path (sections 2.4 and 4.3).

    The null reverse-path stands for ``postmaster`` at the HELO name, and a missing local part for ``postmaster``.
    """
    if not mail_from:
        return helo, f"postmaster@{helo}"
    local, _, domain = mail_from.rpartition("@")
    domain = a_label(domain)
    return domain, f"{local or 'postmaster'}@{domain}"


async def check_host(
    ip: IPv4Address | IPv6Address,
    domain: str,
    sender: str,
    helo: str,
    resolver: Resolver,
    *,
    receiver: str = "unknown",
    now: float,
) -> SpfResult:
    """Return the SPF result for a client's address, RFC 7208 section 4.

    ``domain`` and ``sender`` come from ``identity``; ``receiver`` is the name of the receiving host (macro r) and
    ``now`` the time in seconds since the epoch (macro t). An IPv6 address that maps an IPv4 one counts as IPv4.
    """
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    local, _, sender_domain = sender.rpartition("@")
    client = Client(ip, f"{local or 'postmaster'}@{sender_domain}", helo, receiver, int(now))
    check = _Check(client, resolver)
    domain = domain.removesuffix(".")
    try:
        outcome = await check.evaluate(domain)
    except _EndError as end:
        return SpfResult(
            end.verdict, lookups=check.lookups, void_lookups=check.void_lookups, problem=end.problem, matched_at=end.at
        )
    explanation = ""
    if outcome.verdict is SpfVerdict.FAIL and outcome.record:
        explanation = await check.explain(outcome.record, outcome.domain)
    return SpfResult(
        outcome.verdict,
        explanation,
        check.lookups,
        check.void_lookups,
        shown(outcome.matched.text) if outcome.matched else "",
        outcome.domain if outcome.matched else "",
        outcome.problem,
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    verdict: SpfVerdict
    domain: str
    record: Record | None = None
    matched: Term | None = None
    problem: str = ""


class _EndError(Exception):
    """Evaluation ends here with temperror or permerror, whatever includes surround it."""

    def __init__(self, verdict: SpfVerdict, problem: str, at: str) -> None:
        super().__init__(problem)
        self.verdict = verdict
        self.problem = problem[:_MAX_PROBLEM]  # a term of a hostile record may have 64 kilobytes
        self.at = at


def _permerror(problem: str, at: str) -> _EndError:
    return _EndError(SpfVerdict.PERMERROR, problem, at)


def _temperror(answer: Answer, at: str) -> _EndError:
    detail = f" ({answer.detail})" if answer.detail else ""
    return _EndError(SpfVerdict.TEMPERROR, f"{answer.rdtype} of {answer.name}: {answer.status}{detail}", at)


class _Check:
    """One run of check_host() with its counters; included and redirected records share them."""

    def __init__(self, client: Client, resolver: Resolver) -> None:
        self._client = client
        self._resolver = resolver
        self._address_type = ADDRESS_TYPE[client.ip.version]
        self.lookups = 0
        self.void_lookups = 0

    async def evaluate(self, domain: str) -> _Outcome:
        """Return the result of one domain's record; recursion is bounded by the ten lookups."""
        record, problem = await self._record(domain)
        if record is None:
            return _Outcome(SpfVerdict.NONE, domain, problem=problem)
        if record.faults:
            fault = record.faults[0]
            wrong = shown(record.text[fault.start : fault.end])
            raise _permerror(f"the record of {domain} is malformed at {wrong!r}: {fault.reason}", domain)
        for term in record.mechanisms:
            if await self._matches(term, domain):
                return _Outcome(_BY_QUALIFIER[term.qualifier], domain, record, term)
        redirect = record.modifier("redirect")
        if redirect is None:
            return _Outcome(SpfVerdict.NEUTRAL, domain, record)
        self._count(redirect, domain)
        target = await self._target(redirect, domain)
        outcome = await self.evaluate(target)
        if outcome.verdict is SpfVerdict.NONE:
            raise _permerror(f"{redirect.text} leads to no SPF record: {outcome.problem}", domain)
        return outcome

    async def explain(self, record: Record, domain: str) -> str:
        """Return the explanation that the record's exp= leads to, "" for none or a faulty one (section 6.2)."""
        modifier = record.modifier("exp")
        if modifier is None:
            return ""
        name = await self._target(modifier, domain)
        if not is_askable(name):
            return ""
        answer = await self._resolver.query(asked(name), "TXT")
        if answer.status is not Status.FOUND or len(answer.texts) != 1:
            return ""
        try:
            text = answer.texts[0].joined.decode("ascii")
            macro = parse_macro(text, explanation=True)
        except (UnicodeDecodeError, MacroError):
            return ""
        return macro.expand(await self._letters(macro, domain), limit=MAX_EXPLANATION) or ""

    async def _record(self, domain: str) -> tuple[Record | None, str]:
        """Return the domain's record, or None and why there is none (sections 4.3 to 4.5)."""
        if not is_askable(domain) or "." not in domain:
            return None, f"{domain!r} is not a fully qualified domain name"
        answer = await self._resolver.query(asked(domain), "TXT")
        if not answer.status.is_known:
            raise _temperror(answer, domain)
        records = [text.joined for text in answer.texts if is_spf(text.joined)]
        if not records:
            return None, f"{domain}: {'no such name' if answer.status is Status.NXDOMAIN else 'no SPF record'}"
        if len(records) > 1:
            raise _permerror(f"{domain} has {len(records)} SPF records", domain)
        return parse_record(records[0]), ""

    def _count(self, term: Term, domain: str) -> None:
        if self.lookups == MAX_LOOKUPS:
            raise _permerror(f"{shown(term.text)} would be lookup {MAX_LOOKUPS + 1} of {MAX_LOOKUPS}", domain)
        self.lookups += 1

    def _count_void(self, answer: Answer, domain: str) -> None:
        self.void_lookups += 1
        if self.void_lookups > MAX_VOID_LOOKUPS:
            problem = f"{answer.rdtype} of {answer.name} is void lookup {self.void_lookups}, {MAX_VOID_LOOKUPS} may be"
            raise _permerror(problem, domain)

    async def _matches(self, term: Term, domain: str) -> bool:
        if term.network is not None:
            return self._client.ip.version == term.network.version and self._client.ip in term.network
        if term.name == "all":
            return True
        self._count(term, domain)
        target = await self._target(term, domain)
        if term.name == "include":
            return await self._include(term, target, domain)
        if not is_askable(target):
            return False  # section 4.8: a name that cannot be asked matches nothing
        match term.name:
            case "a":
                hosts = await self._addresses(target, self._address_type, domain)
                return any(covers(term, host, self._client.ip) for host in hosts)
            case "mx":
                return await self._mx(term, target, domain)
            case "exists":
                return bool(await self._addresses(target, "A", domain))
            case _:
                return await self._ptr(target, domain)

    async def _include(self, term: Term, target: str, domain: str) -> bool:
        outcome = await self.evaluate(target)
        if outcome.verdict is SpfVerdict.NONE:
            raise _permerror(f"{shown(term.text)} leads to no SPF record: {outcome.problem}", domain)
        return outcome.verdict is SpfVerdict.PASS

    async def _addresses(self, name: str, rdtype: str, domain: str) -> tuple[IPv4Address | IPv6Address, ...]:
        answer = await self._resolver.query(asked(name), rdtype)
        return self._known(answer, domain).addresses

    def _known(self, answer: Answer, domain: str) -> Answer:
        if not answer.status.is_known:
            raise _temperror(answer, domain)
        if answer.status is not Status.FOUND:
            self._count_void(answer, domain)
        return answer

    async def _mx(self, term: Term, target: str, domain: str) -> bool:
        answer = self._known(await self._resolver.query(asked(target), "MX"), domain)
        if len(answer.exchanges) > MAX_NAMES:
            problem = f"{shown(term.text)}: {target} has {len(answer.exchanges)} MX records, {MAX_NAMES} may be"
            raise _permerror(problem, domain)
        exchanges = [exchange.exchange.removesuffix(".") for exchange in answer.exchanges]
        names = [name for name in exchanges if is_askable(name)]
        # The hosts are asked together; they count in the order published, as if they had been asked one by one.
        answers = await asyncio.gather(*(self._resolver.query(name, self._address_type) for name in names))
        for hosts in answers:
            if any(covers(term, host, self._client.ip) for host in self._known(hosts, domain).addresses):
                return True
        return False

    async def _ptr(self, target: str, domain: str) -> bool:
        answer = await self._resolver.query(self._client.ip.reverse_pointer, "PTR")
        if answer.status in (Status.NO_DATA, Status.NXDOMAIN):
            self._count_void(answer, domain)
        names = await self._validated(answer)
        return any(is_within(name, target) for name in names)

    async def _validated(self, answer: Answer) -> list[str]:
        """Return those of the first ten PTR names that have the client's address (section 5.5).

        A question that fails only loses its name: the client, not the domain, decides on them.
        """
        names = [name for name in answer.hosts[:MAX_NAMES] if is_askable(name)]
        answers = await asyncio.gather(*(self._resolver.query(name, self._address_type) for name in names))
        return [name for name, hosts in zip(names, answers, strict=True) if self._client.ip in hosts.addresses]

    async def _letters(self, macro: Macro, domain: str) -> dict[str, str]:
        validated = "unknown"
        if "p" in macro.letters:
            names = await self._validated(await self._resolver.query(self._client.ip.reverse_pointer, "PTR"))
            # The domain itself is best, a name below it next, any other last (section 7.3).
            names.sort(key=lambda name: (name.lower() != domain.lower(), not is_within(name, domain)))
            validated = names[0] if names else validated
        return self._client.letters(domain, validated)

    async def _target(self, term: Term, domain: str) -> str:
        if term.macro is None:
            return domain
        return term.macro.expand_name(await self._letters(term.macro, domain))
