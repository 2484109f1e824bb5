"""DMARC as a receiver evaluates it (RFC 9989): which record applies, which domains align, what the policy asks for.

The organizational domain is found by walking up the DNS tree (section 4.10), at most eight names, all asked at once.
A question that is not answered makes the result ``temperror``: it never means that there is no record.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.a_label import a_label
from ucrmmail.dns.answer import Status
from ucrmmail.dns.dmarc_record import DmarcRecord, is_dmarc, parse_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.dns.answer import Answer, Resolver

_MOST_NAMES = 8
_LABELS_AFTER_A_JUMP = 7


class UnansweredError(Exception):
    """The DNS did not answer a question on which the result depends."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.name}: {answer.status}" + (f" ({answer.detail})" if answer.detail else ""))
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Walk:
    """What stands at the names from a domain up to the top, as far as it was walked: (domain, record or None).

    ``unanswered`` is the first question without an answer. It matters only to who needs the names above.
    """

    domain: str
    steps: tuple[tuple[str, DmarcRecord | None], ...]
    unanswered: Answer | None = None

    @property
    def own(self) -> DmarcRecord | None:
        """The record of the domain itself."""
        return self.steps[0][1]

    @property
    def organizational_domain(self) -> str:
        """The organizational domain (section 4.10.2).

        From the longest name to the shortest what ``psd`` says, else the name of the record with the fewest labels; the
        domain itself when there is no record. Raises UnansweredError.
        """
        if self.unanswered is not None:
            raise UnansweredError(self.unanswered)
        return self.likely_organization

    @property
    def likely_organization(self) -> str:
        """The organizational domain as far as it is known."""
        found = [(name, record) for name, record in self.steps if record is not None]
        for name, record in found:
            if record.word("psd") == "n":
                return name
            if record.word("psd") == "y" and name != self.domain:
                labels = name.count(".") + 2
                return ".".join(self.domain.split(".")[-labels:])
        return found[-1][0] if found else self.domain

    @property
    def applicable(self) -> tuple[str, DmarcRecord] | None:
        """The record that holds for the domain, and where it stands (section 4.10.1).

        Its own, else that of its organizational domain, else that of the public suffix; None when there is none.
        Raises UnansweredError, unless it has a record of its own.
        """
        if self.own is not None:
            return self.domain, self.own
        records = {name: record for name, record in self.steps if record is not None}
        organization = self.organizational_domain
        suffix = next((name for name, record in reversed(records.items()) if record.word("psd") == "y"), "")
        for name in (organization, suffix):
            if name in records:
                return name, records[name]
        return None


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """What a receiver makes of one message.

    ``result`` is pass, fail, none (DMARC does not apply) or temperror. ``policy`` is the one to apply to a message
    that fails, "" without a record. ``spf_aligned`` and ``dkim_aligned`` are those of the given domains that align.
    """

    result: str
    policy: str = ""
    org_domain: str = ""
    record: str = ""
    record_domain: str = ""
    spf_aligned: tuple[str, ...] = ()
    dkim_aligned: tuple[str, ...] = ()
    detail: str = ""


def names_of_walk(domain: str) -> tuple[str, ...]:
    """Return the names whose ``_dmarc`` is asked, in order: the domain, then seven labels at the most."""
    labels = domain.split(".")
    names = [domain]
    rest = labels[-_LABELS_AFTER_A_JUMP:] if len(labels) > _LABELS_AFTER_A_JUMP else labels[1:]
    names += [".".join(rest[number:]) for number in range(len(rest))]
    return tuple(names[:_MOST_NAMES])


def dmarc_texts(answer: Answer) -> tuple[str, ...]:
    """Return the DMARC records among what stands at a name; a stranger's TXT is none."""
    texts = (text.joined.decode("utf-8", "backslashreplace") for text in answer.texts)
    return tuple(text for text in texts if is_dmarc(text))


async def walk(domain: str, resolver: Resolver) -> Walk:
    """Walk the tree from a domain upwards (section 4.10). Raises UnansweredError when the first name has no answer."""
    names = names_of_walk(domain)
    answers = await asyncio.gather(*(resolver.query(f"_dmarc.{name}", "TXT") for name in names))
    steps: list[tuple[str, DmarcRecord | None]] = []
    unanswered: Answer | None = None
    if not answers[0].status.is_known:
        raise UnansweredError(answers[0])
    for name, answer in zip(names, answers, strict=True):
        if not answer.status.is_known:
            unanswered = unanswered or answer
            continue
        texts = dmarc_texts(answer)
        # Several records are as good as none, and the walk goes on.
        record = parse_record(texts[0]) if len(texts) == 1 else None
        steps.append((name, record))
        if record is not None and record.word("psd") in ("y", "n"):
            break
    return Walk(domain, tuple(steps), unanswered)


async def exists(domain: str, resolver: Resolver) -> bool:
    """Return whether the domain exists at all, with records of whatever type; a failure counts as yes."""
    return (await resolver.query(domain, "A")).status is not Status.NXDOMAIN


async def evaluate(
    header_from: str, spf_pass: Sequence[str], dkim_pass: Sequence[str], resolver: Resolver
) -> DmarcResult:
    """Return what a receiver concludes for a message from this address, or domain.

    ``spf_pass`` and ``dkim_pass`` are the domains for which SPF (of the reverse-path) and DKIM (``d=``) passed.
    """
    domain = _domain_of(header_from)
    try:
        author = await walk(domain, resolver)
        found = author.applicable
        organization = author.likely_organization
        if found is None or not found[1].is_usable:
            return DmarcResult("none", org_domain=organization, record=found[1].text if found else "")
        name, record = found
        inherited = name != domain
        there = not inherited or await exists(domain, resolver)
        policy = record.applied(record.policy_for(subdomain=inherited, exists=there))
        (spf, spf_open), (dkim, dkim_open) = await asyncio.gather(
            _aligned(author, spf_pass, resolver, strict=record.word("aspf") == "s"),
            _aligned(author, dkim_pass, resolver, strict=record.word("adkim") == "s"),
        )
        # One domain that aligns is enough, whatever becomes of the others.
        if not spf and not dkim and (left_open := spf_open or dkim_open):
            raise left_open
    except UnansweredError as error:
        return DmarcResult("temperror", detail=str(error))
    return DmarcResult(
        "pass" if spf or dkim else "fail",
        policy=policy,
        org_domain=organization,
        record=record.text,
        record_domain=name,
        spf_aligned=spf,
        dkim_aligned=dkim,
    )


async def organization_of(domain: str, resolver: Resolver) -> str:
    """Return the organizational domain (section 4.10.2); "" when the DNS did not answer."""
    try:
        return (await walk(domain, resolver)).organizational_domain
    except UnansweredError:
        return ""


async def _aligned(
    author: Walk, domains: Sequence[str], resolver: Resolver, *, strict: bool
) -> tuple[tuple[str, ...], UnansweredError | None]:
    """Return the domains that align, and the first question without an answer that left one open."""
    aligned: list[str] = []
    left_open: UnansweredError | None = None
    verdicts = (_verdict(author, domain, resolver, strict=strict) for domain in domains)
    for domain, verdict in zip(domains, await asyncio.gather(*verdicts), strict=True):
        if isinstance(verdict, UnansweredError):
            left_open = left_open or verdict
        elif verdict:
            aligned.append(domain)
    return tuple(aligned), left_open


async def _verdict(author: Walk, domain: str, resolver: Resolver, *, strict: bool) -> bool | UnansweredError:
    try:
        return await _aligns(author, domain, resolver, strict=strict)
    except UnansweredError as error:
        return error


async def _aligns(author: Walk, domain: str, resolver: Resolver, *, strict: bool) -> bool:
    """Return whether an authenticated domain aligns with the author's (section 3.2.10)."""
    domain = _domain_of(domain)
    if domain == author.domain:
        return True
    if strict:
        return False
    return (await walk(domain, resolver)).organizational_domain == author.organizational_domain


def _domain_of(address: str) -> str:
    return a_label(address.rpartition("@")[2].strip().rstrip(".").lower())
