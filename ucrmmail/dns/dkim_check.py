"""The DKIM check of a domain: the keys of its selectors, and what is wrong around them (RFC 6376).

Which selectors a domain uses the DNS does not tell: those that are given or configured must be there; those that the
provider uses, and common ones, are asked on the chance, and finding none of them proves nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.answer import Status
from ucrmmail.dns.dkim_key import DkimKey, looks_like_key, parse_key
from ucrmmail.dns.finding import Finding, Severity, reason
from ucrmmail.dns.providers import COMMON_SELECTORS, provider_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.dns.answer import Answer, Resolver

_RFC = "RFC 6376 section 3.6"
_LONGEST_SHOWN = 300

CODES: dict[str, str] = {
    "dkim-valid": "The selector has a key that receivers can use.",
    "dkim-missing": "A selector that you gave, or that dns.dkim_selectors names, has no key. Every signature made with"
    " it is invalid. Publish the key that the signer made, under SELECTOR._domainkey.DOMAIN. RFC 6376 section 3.6.2.",
    "dkim-none-found": "No key was found under the selectors of the provider or those in common use. That proves"
    " nothing, since a selector can be any word: look into the DKIM-Signature of a message (s=) and say --selector.",
    "dkim-error": "The DNS did not answer for a selector. That says nothing about the key: ask again later.",
    "dkim-multiple": "Several key records stand under one selector; what receivers do then is undefined. Keep one.",
    "dkim-dangling-alias": "The selector is an alias (CNAME) for a name that does not exist, or has no key. The"
    " provider took the key away, or the alias has a spelling mistake: compare it with what the provider shows.",
    "dkim-wildcard": "A name under _domainkey that nobody can have published is answered: a wildcard record. Every"
    " selector seems to exist. Delete the wildcard, or exclude _domainkey from it.",
    "dkim-wrong-name": "A key stands at a name where no receiver looks: it belongs to SELECTOR._domainkey.DOMAIN."
    " Panels often add the domain to what was typed.",
    "dkim-version": "v must be DKIM1 and the first tag; else receivers ignore the record. RFC 6376 section 3.6.1.",
    "dkim-tag-list": "A tag stands there twice, or something is no tag (name=value). Either makes the whole record"
    " invalid, so no signature can be verified with it. RFC 6376 section 3.2.",
    "dkim-algorithm": "k names an algorithm that DKIM does not have; rsa and ed25519 exist. RFC 8463.",
    "dkim-no-key": "The record has no p tag, so there is no key in it. RFC 6376 section 3.6.1.",
    "dkim-revoked": "An empty p revokes the key: signatures made with it are invalid. Right for an old selector, wrong"
    " for the one in use. RFC 6376 section 3.6.1.",
    "dkim-quotes": "Quotation marks are part of the published text. They end the key early for most receivers. Panels"
    " put their own quotation marks around what is typed.",
    "dkim-escaped-semicolon": "A backslash stands before a semicolon. It belongs into some zone files, not into panels;"
    " published, it spoils the tag before it.",
    "dkim-hash": "h allows only hashes that receivers no longer accept. Since RFC 8301 sha256 is the only one.",
    "dkim-service": "s says that the key is not for mail. RFC 6376 section 3.6.1.",
    "dkim-testing": "With t=y the domain declares that it tests DKIM: receivers may treat signed mail as unsigned.",
    "dkim-strict": "With t=s the identity in i= must be in the domain of d= itself. Harmless, unless you sign for"
    " subdomains.",
    "dkim-obsolete-tag": "g comes from DomainKeys, the predecessor of DKIM. Receivers ignore it. RFC 6376 appendix E.",
    "dkim-base64": "The key is no base64, so no receiver can read it. Publish it again, in one piece.",
    "dkim-truncated": "The key ends after 255 characters, the longest string in a TXT record. The panel cut off the"
    " rest. A longer key is published as several strings in one record; receivers join them.",
    "dkim-private-key": "The private key stands in the DNS: anybody can sign mail as the domain. Replace the key pair"
    " and delete the record.",
    "dkim-not-a-key": "p is not a public key of the kind that k says: for RSA a SubjectPublicKeyInfo, as `openssl pkey"
    " -pubout` prints it, for Ed25519 32 bytes.",
    "dkim-short-key": "RSA keys of less than 1024 bits can be broken; receivers treat such signatures as missing."
    " RFC 8301 section 3.2.",
    "dkim-exponent": "The public exponent of the RSA key is smaller than 65537. Signatures of such keys can be forged"
    " where a receiver verifies carelessly, and some refuse them. Make a new key under a new selector: every current"
    " tool takes 65537. RFC 8017 section 3.1.",
    "dkim-weak-key": "RSA keys of 1024 bits are accepted, and within reach of a state. 2048 bits are advised, under a"
    " new selector so that mail on its way still verifies. RFC 8301 section 3.2.",
    "dkim-ed25519-only": "Only Ed25519 keys were found. Many receivers cannot verify them yet: sign with an RSA key"
    " too. RFC 8463 section 6.",
}


@dataclass(frozen=True, slots=True)
class SelectorResult:
    """One selector. ``state`` is valid, invalid, revoked, missing or error; ``aliases`` is the CNAME chain."""

    selector: str
    state: str
    record: str = ""
    algorithm: str = ""
    bits: int = 0
    testing: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DkimReport:
    """What was found for a domain; ``selectors`` holds those that were asked for, and those that have a record."""

    domain: str
    selectors: tuple[SelectorResult, ...]
    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """Whether a selector has a key that receivers can use."""
        return any(result.state == "valid" for result in self.selectors)


def found(code: str, severity: Severity, subject: str, what: str, remedy: str = "") -> Finding:
    """Return a finding; the reason is what the code is explained with."""
    return Finding("dkim", code, severity, subject, what, why=reason(CODES[code]), remedy=remedy, rfc=_RFC)


async def check_dkim(
    domain: str,
    resolver: Resolver,
    *,
    selectors: Sequence[str],
    transport: str,
    random_label: str,
    hints: Sequence[str] = (),
) -> DkimReport:
    """Check the keys of a domain.

    ``selectors`` must have one. ``transport`` is the provider's name, whose selectors are asked besides; without
    ``selectors`` so are ``hints`` and those in common use. ``random_label`` is a name that nobody can have published:
    if it is answered, a wildcard record answers for every name.
    """
    wanted = tuple(dict.fromkeys(selector.lower() for selector in selectors))
    guesses = dict.fromkeys((*provider_of(transport).selectors, *hints))
    guessed = tuple(s for s in guesses if s not in wanted)
    common = () if wanted else tuple(s for s in COMMON_SELECTORS if s not in guessed)
    names = (random_label, *wanted, *guessed, *common)
    answers = await asyncio.gather(*(resolver.query(f"{name}._domainkey.{domain}", "TXT") for name in names))
    wildcard, *answers = answers
    findings: list[Finding] = []
    if wildcard.status is Status.FOUND:
        what = f"{wildcard.name} is answered: a wildcard record"
        findings.append(found("dkim-wildcard", Severity.WARN, f"_domainkey.{domain}", what, "delete the wildcard"))
        # What only the wildcard answers is no selector of anybody; but a key that it holds verifies what is signed with
        # one that is in use.
        in_use = len(wanted) if any(looks_like_key(text.joined.decode("latin-1")) for text in wildcard.texts) else 0
        guesses_found = [answer if answer.texts != wildcard.texts else _nothing(answer) for answer in answers[in_use:]]
        answers = [*answers[:in_use], *guesses_found]
    results = []
    for selector, answer in zip(names[1:], answers, strict=True):
        result, told = _judge(selector, domain, answer, wanted=selector in wanted)
        if result is not None:
            results.append(result)
        findings += told
    findings += await _wrong_names(domain, [each.selector for each in results if each.state == "missing"], resolver)
    unanswered = [answer for answer in answers if not answer.status.is_known]
    if unanswered and not results:
        what = f"the DNS did not answer for {len(unanswered)} of {len(answers)} selectors: {unanswered[0].status}"
        findings.append(found("dkim-error", Severity.ERROR, domain, what, "run the check again later"))
    else:
        findings += _together(domain, results, transport, asked=len(names) - 1)
    return DkimReport(domain, tuple(results), tuple(findings))


def _nothing(answer: Answer) -> Answer:
    return replace(answer, status=Status.NXDOMAIN, texts=())


def _judge(selector: str, domain: str, answer: Answer, *, wanted: bool) -> tuple[SelectorResult | None, list[Finding]]:
    """Return what one selector's answer means; None for a guess that was wrong."""
    subject = f"{selector}._domainkey.{domain}"
    if not answer.status.is_known:
        if not wanted:
            return None, []
        what = f"the DNS did not answer: {answer.status}" + (f" ({answer.detail})" if answer.detail else "")
        told = found("dkim-error", Severity.ERROR, subject, what, "run the check again later")
        return SelectorResult(selector, "error", aliases=answer.aliases), [told]
    texts = [(text.joined.decode("utf-8", "backslashreplace"), max(map(len, text.strings))) for text in answer.texts]
    keys = [(text, longest) for text, longest in texts if looks_like_key(text)] or texts
    if not keys:
        return _absent(selector, subject, answer, wanted=wanted)
    if len(keys) > 1:
        what = f"{len(keys)} records: " + " | ".join(text[:80] for text, _ in keys[:5])
        multiple = found("dkim-multiple", Severity.FAIL, subject, what, "keep one and delete the others")
        return SelectorResult(selector, "invalid", keys[0][0], aliases=answer.aliases), [multiple]
    if not looks_like_key(keys[0][0]) and not wanted:
        return None, []
    key = parse_key(*keys[0])
    result = SelectorResult(selector, _state(key), key.text, key.algorithm, key.bits, key.testing, answer.aliases)
    chain = f", by way of {' -> '.join(answer.aliases)}" if answer.aliases else ""
    findings = [
        Finding("dkim", p.code, p.severity, subject, p.what + chain, reason(CODES[p.code]), p.remedy, _RFC, p.mark)
        for p in key.problems
    ]
    if key.is_usable:
        what = f"{key.algorithm}, {key.bits} bits{chain}"
        findings.insert(0, found("dkim-valid", Severity.PASS, subject, what))
    return result, findings


def _state(key: DkimKey) -> str:
    if key.revoked:
        return "revoked"
    return "valid" if key.is_usable else "invalid"


def _absent(
    selector: str, subject: str, answer: Answer, *, wanted: bool
) -> tuple[SelectorResult | None, list[Finding]]:
    result = SelectorResult(selector, "missing", aliases=answer.aliases)
    if answer.aliases:
        what = f"the alias leads to {answer.aliases[-1]}, where there is no key"
        severity = Severity.FAIL if wanted else Severity.WARN
        remedy = "compare the CNAME with what the provider shows"
        return result, [found("dkim-dangling-alias", severity, subject, what, remedy)]
    if not wanted:
        return None, []
    what = "there is no key" if answer.status is Status.NO_DATA else "there is no such name"
    return result, [found("dkim-missing", Severity.FAIL, subject, what, f"publish the signer's key at {subject}")]


async def _wrong_names(domain: str, selectors: list[str], resolver: Resolver) -> list[Finding]:
    """Return where the keys of missing selectors were put by mistake."""
    places = [
        (selector, name)
        for selector in selectors[:5]
        for name in (f"{selector}.{domain}", f"{selector}._domainkey.{domain}.{domain}", f"{selector}._domainkey")
        if "." in name.removeprefix(f"{selector}.")
    ]
    answers = await asyncio.gather(*(resolver.query(name, "TXT") for _, name in places))
    findings = []
    for (selector, name), answer in zip(places, answers, strict=True):
        for text in answer.texts:
            shown = text.joined.decode("utf-8", "backslashreplace")
            if looks_like_key(shown):
                what = f"a key stands at {name}, where no receiver looks: {shown[:_LONGEST_SHOWN]}"
                remedy = f"publish it at {selector}._domainkey.{domain}"
                findings.append(found("dkim-wrong-name", Severity.WARN, name, what, remedy))
    return findings


def _together(domain: str, results: list[SelectorResult], transport: str, *, asked: int) -> list[Finding]:
    """Return what the selectors mean together."""
    valid = [result for result in results if result.state == "valid"]
    if valid and all(result.algorithm == "ed25519" for result in valid):
        what = "there are only Ed25519 keys: " + ", ".join(result.selector for result in valid)
        return [found("dkim-ed25519-only", Severity.WARN, domain, what, "sign with an RSA key of 2048 bits too")]
    if not results:
        steps = provider_of(transport).dkim_steps
        what = f"no key under any of {asked} selectors in common use; that proves nothing"
        remedy = "give the one that your mail is signed with: --selector, or dns.dkim_selectors"
        if steps:
            remedy += f"; to switch DKIM on: {steps}"
        return [found("dkim-none-found", Severity.WARN, domain, what, remedy)]
    return []
