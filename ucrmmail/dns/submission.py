"""Where a domain's mail is submitted, as its DNS says: MX records for a guess, SRV records for the domain's own word.

_submissions._tcp.isp.example. SRV 0 1 465 smtp.isp.example.     TLS from the first byte (RFC 8314 section 5.1)
_submission._tcp.isp.example.  SRV 0 1 587 smtp.isp.example.     STARTTLS (RFC 6186 section 3.1)
_submission._tcp.isp.example.  SRV 0 0 0   .                     there is none
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Answer, Resolver


@dataclass(frozen=True, slots=True)
class Service:
    """A submission server. ``vouched`` tells that the answer can be relied on without asking a person.

    That is so when DNSSEC has validated it, or when the server is below the domain itself (RFC 6186 section 6).
    """

    host: str
    port: int
    encryption: str
    vouched: bool


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found: the exchanges and the services, the best first; ``silence`` is why nothing may be known."""

    exchanges: tuple[str, ...]
    services: tuple[Service, ...]
    silence: str


async def discover(domain: str, resolver: Resolver) -> Discovery:
    """Return what the DNS says of a domain (A-labels, no final dot)."""
    exchanges, implicit, explicit = await asyncio.gather(
        resolver.query(domain, "MX"),
        resolver.query(f"_submissions._tcp.{domain}", "SRV"),
        resolver.query(f"_submission._tcp.{domain}", "SRV"),
    )
    services = (*_services(implicit, domain, "tls"), *_services(explicit, domain, "starttls"))
    ordered = sorted(exchanges.exchanges, key=lambda exchange: exchange.preference)
    unknown = [answer for answer in (exchanges, implicit, explicit) if not answer.status.is_known]
    silence = (unknown[0].detail or unknown[0].status.value) if unknown else ""
    return Discovery(tuple(exchange.exchange for exchange in ordered), services, silence)


def _services(answer: Answer, domain: str, encryption: str) -> tuple[Service, ...]:
    """Return the servers in the order of RFC 2782, save that the heaviest goes first instead of being drawn by lot."""
    ordered = sorted(answer.services, key=lambda service: (service.priority, -service.weight))
    return tuple(
        Service(
            service.target,
            service.port,
            encryption,
            answer.authenticated or f".{service.target.lower()}".endswith(f".{domain.lower()}"),
        )
        for service in ordered
        if service.target not in ("", ".") and service.port
    )
