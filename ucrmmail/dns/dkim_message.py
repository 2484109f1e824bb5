"""The DKIM signatures of a message, verified with the keys that the DNS has now (RFC 6376 section 6).

dkimpy does the canonicalization and chooses the fields that are hashed. The keys are read by ``dkim_key``, which does
not forgive, and the signatures are verified by cryptography, which knows Ed25519 as well: dkimpy by itself takes bare
PKCS#1 keys, the clock of the machine, and PyNaCl.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.answer import Status
from ucrmmail.dns.dkim_key import looks_like_key, parse_key
from ucrmmail.dns.dkim_signature import SignatureError, parse_signature
from ucrmmail.dns.finding import Finding, Severity
from ucrmmail.errors import NoUserError
from ucrmmail.message.addresslist import parse_address_list
from ucrmmail.message.header import split, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.dns.answer import Answer, Resolver
    from ucrmmail.dns.dkim_key import DkimKey
    from ucrmmail.dns.dkim_signature import Signature
    from ucrmmail.message.header import Fields

# Receivers stop somewhere too, lest a message cost them hundreds of questions.
MOST_SIGNATURES = 10
_MOST_FIELDS = 1000
_MOST_HEADER_BYTES = 262_144
# Larger keys only cost time; RFC 6376 section 3.3.3 asks verifiers for 2048, many stop at 4096.
_MOST_KEY_BITS = 8192
# Clocks of senders run ahead a little.
_CLOCK_SLACK_S = 300
_ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}

# code: severity, why it matters, what to do, the section
_MEANINGS: dict[str, tuple[Severity, str, str, str]] = {
    "dkim-signature-valid": (
        Severity.PASS,
        "The signature holds: the domain in d= answers for the message, and nothing that was signed has changed.",
        "",
        "RFC 6376 section 6.1",
    ),
    "dkim-signature-none": (
        Severity.FAIL,
        "The message has no DKIM-Signature field, so DMARC rests on SPF alone, which forwarding breaks.",
        "Switch signing on where the mail leaves: with the provider, or with the signer of your own server.",
        "RFC 6376 section 3.5",
    ),
    "dkim-signature-malformed": (
        Severity.FAIL,
        "A tag of the DKIM-Signature field is missing or cannot be read; receivers ignore such a signature.",
        "Correct the signer's configuration, and look for a program that rewrites the field on its way.",
        "RFC 6376 section 6.1.1",
    ),
    "dkim-signature-sha1": (
        Severity.FAIL,
        "rsa-sha1 can be forged; receivers must not take it for valid.",
        "Let the signer use rsa-sha256.",
        "RFC 8301 section 3.1",
    ),
    "dkim-signature-algorithm": (
        Severity.FAIL,
        "The algorithm in a= is none of DKIM, or does not belong to the kind of key that is published.",
        "Use rsa-sha256 with an RSA key, or ed25519-sha256 with an Ed25519 key beside it.",
        "RFC 6376 section 3.3",
    ),
    "dkim-signature-key": (
        Severity.FAIL,
        "The key that the signature names cannot be used, so no receiver can verify the signature.",
        "Publish the public key of the signer under the selector of the signature.",
        "RFC 6376 section 6.1.2",
    ),
    "dkim-signature-error": (
        Severity.ERROR,
        "The DNS did not answer the question for the key, so nothing is known of the signature.",
        "Check again later.",
        "RFC 6376 section 6.1.2",
    ),
    "dkim-signature-body-changed": (
        Severity.FAIL,
        "The body is not the one that was signed: a footer, a scanner or a change of encoding came after the signer.",
        "Sign as the last step before the mail leaves; save the message as raw bytes when it is tested.",
        "RFC 6376 section 6.1.3",
    ),
    "dkim-signature-wrong": (
        Severity.FAIL,
        "The signature does not fit: a signed field was changed, or the published key is not the signer's.",
        "Compare the key pair with --private-key; when it matches, look for what rewrites the header.",
        "RFC 6376 section 6.1.3",
    ),
    "dkim-signature-expired": (
        Severity.FAIL,
        "The time in x= is over: receivers may treat the signature as invalid.",
        "Let x= be later than the longest time that mail waits in a queue, or leave it out.",
        "RFC 6376 section 3.5",
    ),
    "dkim-signature-future": (
        Severity.WARN,
        "The signature claims to be made later than now; receivers may ignore it.",
        "Set the clock of the signing server by NTP.",
        "RFC 6376 section 3.5",
    ),
    "dkim-signature-identity": (
        Severity.FAIL,
        "The key has t=s, which allows no subdomain of d= in i=, and the signature names one.",
        "Take t=s out of the key record, or sign with i= in the domain itself.",
        "RFC 6376 section 3.6.1",
    ),
    "dkim-signature-domain": (
        Severity.WARN,
        "The signature is of another domain than the one in From, so it does not help the message to pass DMARC.",
        "Have the provider sign with your domain: publish its DKIM records and switch signing on.",
        "RFC 9989 section 4.4.1",
    ),
    "dkim-signature-length": (
        Severity.WARN,
        "With l= only the beginning of the body is signed: anybody can add text and keep the signature valid.",
        "Switch the body length off in the signer.",
        "RFC 6376 section 8.2",
    ),
    "dkim-signature-from-unsigned": (
        Severity.FAIL,
        "From is not among the fields signed (h=); it must be.",
        "Let the signer sign From.",
        "RFC 6376 section 5.4",
    ),
    "dkim-signature-from-count": (
        Severity.FAIL,
        "A message has exactly one From field: of several, the one shown need not be the one signed.",
        "Correct the program that makes the message; sign From once more than it occurs.",
        "RFC 6376 section 8.15",
    ),
    "dkim-signature-too-many": (
        Severity.WARN,
        "Receivers verify only a few signatures of a message, and need not choose the good one.",
        "Remove signatures of earlier hops that no longer hold, or sign once.",
        "RFC 6376 section 6.1",
    ),
    "dkim-signature-header-size": (
        Severity.FAIL,
        "The header is larger than mail servers take, and is not hashed here either.",
        "Shorten the header of the message.",
        "RFC 5321 section 4.5.3.1.7",
    ),
}

CODES: dict[str, str] = {
    code: " ".join(part for part in (why, remedy, f"{rfc}.") if part)
    for code, (_, why, remedy, rfc) in _MEANINGS.items()
}


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """What one signature is worth; ``state`` is valid, invalid, or error when the DNS did not answer.

    A signature that cannot be parsed has no ``domain``; a message without any has one verdict, with the state none.
    """

    state: str
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    signed: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Message:
    """A message taken apart; ``authors`` has the domain of each From field, "" for one that cannot be read."""

    fields: Fields
    body: bytes
    authors: tuple[str, ...]


async def verify_message(raw: bytes, resolver: Resolver, now: float) -> tuple[SignatureVerdict, ...]:
    """Return a verdict for each signature of a message, in the order of its fields; any bytes are judged.

    ``now`` is in seconds since the epoch. The first ``MOST_SIGNATURES`` are verified. The domains of those that are
    valid are what DMARC calls passed.
    """
    fields, body = split(raw)
    found = [field for name, field in fields if name == "dkim-signature"]
    if not found:
        return (SignatureVerdict("none", findings=(_found("dkim-signature-none", "message", "it is not signed"),)),)
    size = sum(len(field) for _, field in fields)
    if len(fields) > _MOST_FIELDS or size > _MOST_HEADER_BYTES:
        what = f"the header has {len(fields)} fields and {size} bytes"
        return (SignatureVerdict("invalid", findings=(_found("dkim-signature-header-size", "message", what),)),)
    parsed = [_parsed(field) for field in found[:MOST_SIGNATURES]]
    answers = await asyncio.gather(
        *(resolver.query(each.key_name, "TXT") for each in parsed if not isinstance(each, SignatureVerdict))
    )
    keys = iter(answers)
    message = _Message(fields, body, _from_domains(fields))
    verdicts = [
        each if isinstance(each, SignatureVerdict) else _judge(each, next(keys), message, now) for each in parsed
    ]
    if len(found) > MOST_SIGNATURES:
        what = f"{len(found)} signatures; the first {MOST_SIGNATURES} were verified"
        many = _found("dkim-signature-too-many", "message", what)
        verdicts[0] = replace(verdicts[0], findings=(*verdicts[0].findings, many))
    return _in_company(verdicts)


def _found(code: str, subject: str, what: str) -> Finding:
    severity, why, remedy, rfc = _MEANINGS[code]
    return Finding("dkim", code, severity, subject, what, why, remedy, rfc)


def _parsed(field: bytes) -> Signature | SignatureVerdict:
    try:
        return parse_signature(field)
    except SignatureError as error:
        malformed = _found("dkim-signature-malformed", "DKIM-Signature", str(error))
        return SignatureVerdict("invalid", findings=(malformed,))


def _from_domains(fields: Fields) -> tuple[str, ...]:
    """Return the domain of each From field; "" for one that cannot be read."""
    domains = []
    for field in (field for name, field in fields if name == "from"):
        try:
            mailboxes = parse_address_list(value_of(field))
        except NoUserError:
            mailboxes = []
        domains.append(mailboxes[0].rpartition("@")[2].lower() if mailboxes else "")
    return tuple(domains)


def _judge(signature: Signature, answer: Answer, message: _Message, now: float) -> SignatureVerdict:
    subject = signature.key_name
    findings = _before_the_key(signature, subject, message.authors, now)
    if not any(each.severity is Severity.FAIL for each in findings):
        findings += _with_the_key(signature, answer, message)
    severities = {each.severity for each in findings}
    state = "invalid" if Severity.FAIL in severities else "error" if Severity.ERROR in severities else "valid"
    if state == "valid":
        what = f"{signature.algorithm}, signed by {signature.domain}: {', '.join(dict.fromkeys(signature.signed))}"
        findings.insert(0, _found("dkim-signature-valid", subject, what))
    return SignatureVerdict(
        state, signature.domain, signature.selector, signature.algorithm, signature.signed, tuple(findings)
    )


def _before_the_key(signature: Signature, subject: str, authors: tuple[str, ...], now: float) -> list[Finding]:
    """Return what the field itself gives away."""
    found: list[Finding] = []
    if signature.algorithm == "rsa-sha1":
        found.append(_found("dkim-signature-sha1", subject, "a=rsa-sha1"))
    elif signature.algorithm not in _ALGORITHMS:
        found.append(_found("dkim-signature-algorithm", subject, f"a={signature.algorithm[:80]} is no algorithm"))
    if "from" not in signature.signed:
        found.append(_found("dkim-signature-from-unsigned", subject, f"h={':'.join(signature.signed)}"))
    if len(authors) != 1:
        found.append(_found("dkim-signature-from-count", subject, f"the message has {len(authors)} From fields"))
    if signature.expires_at is not None and signature.expires_at < now:
        what = f"it expired {_span(now - signature.expires_at)} ago"
        found.append(_found("dkim-signature-expired", subject, what))
    if signature.signed_at is not None and signature.signed_at > now + _CLOCK_SLACK_S:
        what = f"it will be made {_span(signature.signed_at - now)} from now"
        found.append(_found("dkim-signature-future", subject, what))
    if signature.length_bytes is not None:
        what = f"l={signature.length_bytes}: what follows in the body is not signed"
        found.append(_found("dkim-signature-length", subject, what))
    if authors and authors[0] and _is_foreign(signature.domain, authors[0]):
        what = f"d={signature.domain}, and From is of {authors[0]}"
        found.append(_found("dkim-signature-domain", subject, what))
    return found


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _is_foreign(signing: str, author: str) -> bool:
    """Return whether the two have certainly no organisational domain in common (``dmarc`` says it exactly)."""
    nested = f".{signing}".endswith(f".{author}") or f".{author}".endswith(f".{signing}")
    return not nested and signing.split(".")[-2:] != author.split(".")[-2:]


def _with_the_key(signature: Signature, answer: Answer, message: _Message) -> list[Finding]:
    subject = signature.key_name
    if not answer.status.is_known:
        why = f" ({answer.detail})" if answer.detail else ""
        return [_found("dkim-signature-error", subject, f"the DNS did not answer: {answer.status}{why}")]
    key = _key(answer)
    if isinstance(key, str):
        return [_found("dkim-signature-key", subject, key)]
    if key.algorithm != _ALGORITHMS[signature.algorithm]:
        what = f"a={signature.algorithm}, and the key published is of the kind {key.algorithm}"
        return [_found("dkim-signature-algorithm", subject, what)]
    found = []
    is_strict = any(problem.code == "dkim-strict" for problem in key.problems)
    if is_strict and signature.identity_domain != signature.domain:
        what = f"i= is of {signature.identity_domain}, d={signature.domain}"
        found.append(_found("dkim-signature-identity", subject, what))
    changed = _body_change(signature, message.body)
    if changed:
        found.append(_found("dkim-signature-body-changed", subject, changed))
    if not _is_signed_by(signature, message.fields, key):
        what = "the signature does not fit the header and the key"
        found.append(_found("dkim-signature-wrong", subject, what))
    return found


def _key(answer: Answer) -> DkimKey | str:
    """Return the published key, or why there is none that can be used."""
    if answer.status is not Status.FOUND:
        return f"there is no key: {answer.status}"
    texts = [(text.joined.decode("utf-8", "backslashreplace"), max(map(len, text.strings))) for text in answer.texts]
    records = [each for each in texts if looks_like_key(each[0])] or texts
    if len(records) != 1:
        return f"there are {len(records)} records, and receivers take any of them"
    key = parse_key(*records[0])
    if key.revoked:
        return "the key is revoked: p is empty"
    if not key.is_usable:
        return "; ".join(problem.what for problem in key.problems if problem.severity is Severity.FAIL)
    if key.bits > _MOST_KEY_BITS:
        return f"the key has {key.bits} bits, more than receivers verify"
    return key


def _body_change(signature: Signature, body: bytes) -> str:
    """Return how the body differs from the one that was signed, "" when it does not."""
    from dkim.canonicalization import CanonicalizationPolicy  # noqa: PLC0415 # heavy, only where a message is read

    policy = CanonicalizationPolicy.from_c_value(signature.canonicalization.encode())
    if signature.canonicalization.endswith("/relaxed"):
        # The same result, and dkimpy needs quadratic time for a long run of blanks.
        body = re.sub(rb"[\t ]+", b" ", body)
    canonical = policy.canonicalize_body(body)
    if signature.length_bytes is not None:
        if signature.length_bytes > len(canonical):
            return f"the body has {len(canonical)} bytes, and l={signature.length_bytes} were signed"
        canonical = canonical[: signature.length_bytes]
    if hashlib.sha256(canonical).digest() != signature.body_hash:
        return "the hash of the body is not the one in bh="
    return ""


def _is_signed_by(signature: Signature, fields: Fields, key: DkimKey) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415 # 90 ms, as above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    digest = _header_digest(signature, fields)
    try:
        if key.algorithm == "ed25519":
            Ed25519PublicKey.from_public_bytes(key.data).verify(signature.value, digest)
            return True
        public = load_der_public_key(key.data)
        if isinstance(public, RSAPublicKey):
            public.verify(signature.value, digest, PKCS1v15(), Prehashed(SHA256()))
            return True
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        pass
    return False


def _header_digest(signature: Signature, fields: Fields) -> bytes:
    """Return the hash of the signed fields and the signature itself (RFC 6376 section 3.7)."""
    from dkim import select_headers  # noqa: PLC0415 # as above
    from dkim.canonicalization import CanonicalizationPolicy  # noqa: PLC0415

    policy = CanonicalizationPolicy.from_c_value(signature.canonicalization.encode())
    pairs = [_pair(field) for _, field in fields]
    chosen = select_headers(policy.canonicalize_headers(pairs), [name.encode() for name in signature.signed])
    own = policy.canonicalize_headers([_pair(signature.blanked)])[0]
    digest = hashlib.sha256()
    for name, value in chosen:
        digest.update(name + b":" + value)
    digest.update(own[0] + b":" + own[1].removesuffix(b"\r\n"))
    return digest.digest()


def _pair(field: bytes) -> tuple[bytes, bytes]:
    name, _, value = field.partition(b":")
    return name, value


def _in_company(verdicts: Sequence[SignatureVerdict]) -> tuple[SignatureVerdict, ...]:
    """Return the verdicts; a provider's own signature beside a valid one of the author's domain is as it should be."""
    is_covered = any(
        verdict.state == "valid" and all(each.code != "dkim-signature-domain" for each in verdict.findings)
        for verdict in verdicts
    )
    if not is_covered:
        return tuple(verdicts)
    return tuple(replace(verdict, findings=tuple(map(_as_information, verdict.findings))) for verdict in verdicts)


def _as_information(finding: Finding) -> Finding:
    if finding.code != "dkim-signature-domain":
        return finding
    return replace(finding, severity=Severity.INFO, remedy="")
