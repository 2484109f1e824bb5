"""The check of DANE for the domain's exchanges (RFC 7672): the TLSA records at ``_25._tcp`` of each, and who signed.

It protects mail to the domain, and only where DNSSEC validates the whole way: the MX, the host, and its TLSA. Where the
server can be reached, the records are held against the certificate that it presents.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.answer import Status
from ucrmmail.dns.dane_match import fits
from ucrmmail.dns.finding import Finding, Proposal, Severity
from ucrmmail.dns.neighbour import Voice, is_host_name, validates

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Answer, Resolver, Tlsa
    from ucrmmail.dns.presented import Presenter

# Looked at; more than servers have.
MOST_EXCHANGES = 20
_MOST_ASSOCIATIONS = 20
_DIGEST_BYTES = {1: 32, 2: 64}
# What begins a certificate or a public key in DER, and the least it can measure.
_DER_SEQUENCE = 0x30
_SMALLEST_KEY_BYTES = 40

CODES: dict[str, str] = {
    "dane-secure": "The exchange has TLSA records that senders with DANE can use, validated by DNSSEC. RFC 7672 section"
    " 2.2.",
    "dane-absent": "No exchange has TLSA records. DANE is optional; it needs a signed zone and a certificate that is"
    " rolled over with care. RFC 7672 section 1.",
    "dane-error": "The DNS did not answer a question on which DANE depends. Senders with DANE defer the mail, or take"
    " another exchange, when the zone of the exchange is signed. RFC 7672 section 2.1.",
    "dane-not-signed": "TLSA records without DNSSEC prove nothing, and senders do not look at them. Sign the zone of"
    " the exchange and have the DS record published above it. RFC 7672 section 2.2.",
    "dane-not-validated": "Whether DNSSEC protects the TLSA records cannot be said: the nameserver that was asked does"
    " not validate. Ask one that does, with --nameserver. RFC 7672 section 2.2.",
    "dane-mx-not-signed": "The exchange has signed TLSA records, and the MX of the domain that leads to it is not"
    " signed: who forges the MX leads mail elsewhere. Sign the zone of the domain too. RFC 7672 section 2.2.1.",
    "dane-host-not-signed": "The address of the exchange is not signed, so senders do not look for its TLSA records."
    " RFC 7672 section 2.2.",
    "dane-usage": "For mail only the usages 2 (DANE-TA) and 3 (DANE-EE) count. Senders take 0 and 1 for unusable, since"
    " mail has no list of authorities that all share. RFC 7672 section 3.1.3.",
    "dane-selector": "A selector is 0 for the whole certificate or 1 for its public key; others are unusable. RFC 6698"
    " section 2.1.2.",
    "dane-matching-type": "A matching type is 0 for the data itself, 1 for its SHA-256 or 2 for its SHA-512; others are"
    " unusable. RFC 6698 section 2.1.3.",
    "dane-length": "The data has not the length of the digest that the matching type says, or is no certificate or key,"
    " so it can match nothing. RFC 6698 section 2.1.4.",
    "dane-unusable": "None of the TLSA records can be used. Senders then ask for TLS and check no certificate; mail is"
    " not delivered to a server without TLS. RFC 7672 section 2.2.",
    "dane-whole-certificate": "The record holds or digests the whole certificate, so it must be replaced before each"
    " renewal, even one with the same key. Use 3 1 1. RFC 7671 section 5.1.",
    "dane-matches": "The server presents a certificate that a TLSA record fits. RFC 7672 section 3.1.",
    "dane-mismatch": "No TLSA record fits the certificate that the server presents, so senders with DANE deliver"
    " nothing to it. It happens when the certificate is renewed with a new key and the record stays. RFC 7672"
    " section 3.1.",
    "dane-no-tls": "The server offers no TLS, or the handshake fails. The TLSA records promise TLS, so senders with"
    " DANE deliver nothing to it. RFC 7672 section 2.2.",
    "dane-not-compared": "Whether the certificate of the server fits the records cannot be said from here: many"
    " networks block connections to port 25. It says nothing about the server.",
    "dane-partial": "Some exchanges have TLSA records and others none. Who can disturb the traffic leads mail to the"
    " one without. RFC 7672 section 2.2.1.",
}
_found = Voice("dane", CODES)


@dataclass(frozen=True, slots=True)
class DaneExchange:
    """An exchange with its TLSA records; ``is_secure``: all of the way to a usable one is validated."""

    host: str
    associations: tuple[Tlsa, ...] = ()
    is_secure: bool = False


@dataclass(frozen=True, slots=True)
class DaneReport:
    """What was found for the exchanges of a domain."""

    domain: str
    exchanges: tuple[DaneExchange, ...] = ()
    findings: tuple[Finding, ...] = ()
    proposals: tuple[Proposal, ...] = ()


async def check_dane(domain: str, resolver: Resolver, presenter: Presenter | None = None) -> DaneReport:
    """Return the audit of the TLSA records of all exchanges; without MX, of the domain's own host.

    Without ``presenter`` no server is asked for its certificate.
    """
    mx = await resolver.query(domain, "MX")
    if not mx.status.is_known:
        return DaneReport(domain, findings=(_found.unanswered("dane-error", mx),))
    names = [exchange.exchange.lower() for exchange in mx.exchanges] or [domain]
    hosts = [name for name in dict.fromkeys(names) if is_host_name(name)][:MOST_EXCHANGES]
    answers = await asyncio.gather(*(resolver.query(f"_25._tcp.{host}", "TLSA") for host in hosts))
    if not any(answer.associations for answer in answers):
        return DaneReport(domain, tuple(DaneExchange(host) for host in hosts), _without(domain, answers))
    can_validate = await validates(resolver)
    looked_at = await asyncio.gather(
        *(
            _look_at(host, answer, mx, resolver, can_validate=can_validate, presenter=presenter)
            for host, answer in zip(hosts, answers, strict=True)
        )
    )
    exchanges = tuple(exchange for exchange, _ in looked_at)
    findings = [finding for _, told in looked_at for finding in told]
    bare = [
        host for host, answer in zip(hosts, answers, strict=True) if answer.status.is_known and not answer.associations
    ]
    if bare:
        what = f"no TLSA records at {', '.join(bare)}, and at other exchanges there are"
        remedy = f"publish TLSA records at _25._tcp.{bare[0]}"
        findings.append(_found("dane-partial", Severity.WARN, domain, what, remedy=remedy))
    return DaneReport(domain, exchanges, tuple(findings))


def _without(domain: str, answers: list[Answer]) -> tuple[Finding, ...]:
    silent = [_found.unanswered("dane-error", answer) for answer in answers if not answer.status.is_known]
    return tuple(silent) or (_found("dane-absent", Severity.INFO, domain, "no exchange has TLSA records"),)


async def _look_at(
    host: str, answer: Answer, mx: Answer, resolver: Resolver, *, can_validate: bool, presenter: Presenter | None
) -> tuple[DaneExchange, list[Finding]]:
    """Return an exchange with its records, and what is to be said of them."""
    if not answer.status.is_known:
        return DaneExchange(host), [_found.unanswered("dane-error", answer)]
    if not answer.associations:
        return DaneExchange(host), []
    associations = answer.associations[:_MOST_ASSOCIATIONS]
    wrong = [finding for tlsa in associations for finding in _of_association(answer.name, tlsa)]
    usable = [tlsa for tlsa in associations if not _flaw(tlsa)]
    unsigned = await _unsigned(host, answer, mx, resolver, can_validate)
    findings = [*unsigned, *wrong]
    if not usable:
        remedy = "publish 3 1 1 and the SHA-256 of the public key of the server's certificate, or delete the records"
        what = f"none of {len(associations)} TLSA records of {host} can be used"
        findings.append(_found("dane-unusable", Severity.FAIL, answer.name, what, remedy=remedy))
    is_secure = bool(usable) and not unsigned
    if is_secure:
        what = ", ".join(f"{tlsa.usage} {tlsa.selector} {tlsa.matching_type}" for tlsa in usable)
        findings.insert(0, _found("dane-secure", Severity.PASS, answer.name, f"{host}: {what}"))
    if usable and presenter is not None:
        findings.append(await _compared(host, answer.name, usable, resolver, presenter, is_secure=is_secure))
    return DaneExchange(host, associations, is_secure=is_secure), findings


async def _compared(
    host: str, name: str, usable: list[Tlsa], resolver: Resolver, presenter: Presenter, *, is_secure: bool
) -> Finding:
    """Return whether the server presents what its records say; without signatures nobody holds it to them."""
    found = await asyncio.gather(resolver.query(host, "A"), resolver.query(host, "AAAA"))
    presented = await presenter.presented(host, [address for answer in found for address in answer.addresses])
    severity = Severity.FAIL if is_secure else Severity.WARN
    if presented.problem in ("plain", "tls"):
        remedy = "offer STARTTLS at port 25, or delete the TLSA records"
        return _found("dane-no-tls", severity, name, f"{host}: {presented.detail}", remedy=remedy)
    if presented.problem:
        return _found("dane-not-compared", Severity.INFO, name, f"{host}: {presented.detail}")
    match fits(usable, presented):
        case True:
            return _found("dane-matches", Severity.PASS, name, f"{host} presents a certificate that fits")
        case None:
            what = f"{host}: the certificate of its authority cannot be seen, and the server's own fits no record"
            return _found("dane-not-compared", Severity.INFO, name, what)
    remedy = "publish the digest of the key in use beside the old one; take the old one out when its TTL has passed"
    what = f"the certificate that {host} presents fits none of its {len(usable)} usable records"
    return _found("dane-mismatch", severity, name, what, remedy=remedy)


async def _unsigned(host: str, answer: Answer, mx: Answer, resolver: Resolver, can_validate: bool) -> list[Finding]:
    """Return where on the way from the domain to the TLSA records nobody has signed."""
    if not can_validate and not answer.authenticated:
        what = f"{host} has TLSA records, and the nameserver asked does not validate DNSSEC"
        remedy = "ask a nameserver that validates (--nameserver)"
        return [_found("dane-not-validated", Severity.WARN, answer.name, what, remedy=remedy)]
    if not answer.authenticated:
        what = f"{host} has TLSA records that are not signed"
        remedy = f"sign the zone of {host}, or delete the records"
        return [_found("dane-not-signed", Severity.WARN, answer.name, what, remedy=remedy)]
    findings = []
    if mx.exchanges and not mx.authenticated:
        what = f"the MX of {mx.name} that leads to {host} is not signed"
        remedy = f"sign the zone of {mx.name}"
        findings.append(_found("dane-mx-not-signed", Severity.WARN, mx.name, what, remedy=remedy))
    addresses = await asyncio.gather(resolver.query(host, "A"), resolver.query(host, "AAAA"))
    if not any(found.authenticated for found in addresses if found.status in (Status.FOUND, Status.NO_DATA)):
        what = f"the address of {host} is not signed"
        remedy = f"sign the zone of {host}"
        findings.append(_found("dane-host-not-signed", Severity.WARN, host, what, remedy=remedy))
    return findings


def _flaw(tlsa: Tlsa) -> tuple[str, str, str] | None:
    """Return why a record is unusable, (code, what, remedy), or None."""
    if tlsa.usage not in (2, 3):
        return "dane-usage", f"usage {tlsa.usage}", "publish 3 1 1 with the server's own key, or 2 with its authority's"
    if tlsa.selector not in (0, 1):
        return "dane-selector", f"selector {tlsa.selector}", "publish selector 1, the public key"
    if tlsa.matching_type not in (0, 1, 2):
        return "dane-matching-type", f"matching type {tlsa.matching_type}", "publish matching type 1, SHA-256"
    wanted = _DIGEST_BYTES.get(tlsa.matching_type)
    if wanted is not None and len(tlsa.data) != wanted:
        what = f"{len(tlsa.data)} bytes where matching type {tlsa.matching_type} has {wanted}"
        return "dane-length", what, "make the digest again from the certificate"
    if wanted is None and (len(tlsa.data) < _SMALLEST_KEY_BYTES or tlsa.data[0] != _DER_SEQUENCE):
        return "dane-length", f"{len(tlsa.data)} bytes that are no certificate or key", "publish a digest: 3 1 1"
    return None


def _of_association(name: str, tlsa: Tlsa) -> list[Finding]:
    data = tlsa.data.hex()
    shown = f"{tlsa.usage} {tlsa.selector} {tlsa.matching_type} {data[:16]}" + ("..." if len(data) > 16 else "")
    if (flaw := _flaw(tlsa)) is not None:
        code, what, remedy = flaw
        return [_found(code, Severity.WARN, name, f"{shown}: {what}", remedy=remedy)]
    if tlsa.usage == 3 and tlsa.selector == 0:
        return [_found("dane-whole-certificate", Severity.INFO, name, f"{shown}: the whole certificate")]
    return []
