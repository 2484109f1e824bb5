"""How far a published record has come: what each of the zone's own servers says, until all say the same and it is good.

Secondary servers take a change from the primary after seconds or hours. Receivers ask any of them, so that mail passes
and fails by chance until the last one has it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.nameserver import Nameserver
from ucrmmail.dns.zone_view import ZoneView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ucrmmail.dns.answer import Resolver
    from ucrmmail.dns.check import DomainReport
    from ucrmmail.dns.domain import NameserverHost

# Asked at each look; more than zones have.
MOST_SERVERS = 20


@dataclass(frozen=True, slots=True)
class Sight:
    """What one server of the zone shows: ``host`` and ``server`` name it, ``records`` are the published texts."""

    host: str
    server: Nameserver
    report: DomainReport

    @property
    def records(self) -> frozenset[str]:
        """The SPF, DKIM and DMARC records."""
        return records_of(self.report)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of what is wrong, as far as it can be published away."""
        bad = (Severity.FAIL, Severity.ERROR, Severity.WARN)
        return tuple(dict.fromkeys(found.code for found in self.report.findings if found.severity in bad))


@dataclass(frozen=True, slots=True)
class Propagation:
    """One look at all servers of the zone. ``expected`` are texts that must stand there."""

    domain: str
    zone: str
    sights: tuple[Sight, ...]
    expected: tuple[str, ...] = ()

    def missing(self, sight: Sight) -> tuple[str, ...]:
        """Return which of the expected texts a server does not show."""
        return tuple(text for text in self.expected if text not in sight.records)

    def is_settled(self, *, strict: bool) -> bool:
        """Return whether every server shows the same records, the expected ones among them, and they are good."""
        bad = {Severity.FAIL, Severity.ERROR} | ({Severity.WARN} if strict else set())
        return (
            bool(self.sights)
            and len({sight.records for sight in self.sights}) == 1
            and not any(sight.report.verdict in bad or self.missing(sight) for sight in self.sights)
        )


def records_of(report: DomainReport) -> frozenset[str]:
    """Return the records of a report that were published to authenticate mail."""
    found = {result.record for result in report.dkim.selectors} if report.dkim is not None else set()
    found |= {part.record for part in (report.spf, report.dmarc) if part is not None}
    return frozenset(found - {""})


def servers_of(hosts: Sequence[NameserverHost], *, port: int = 53) -> tuple[tuple[str, Nameserver], ...]:
    """Return every address of the zone's servers with the host it belongs to."""
    found = [(host.host, Nameserver(str(address), port)) for host in hosts for address in host.addresses]
    return tuple(found[:MOST_SERVERS])


async def look(
    domain: str,
    zone: str,
    servers: Sequence[tuple[str, Nameserver]],
    outside: Resolver,
    *,
    inside: Callable[[Nameserver], Resolver],
    check: Callable[[Resolver], Awaitable[DomainReport]],
    expected: tuple[str, ...] = (),
) -> Propagation:
    """Return what each server shows now.

    ``inside`` makes a resolver that asks one server, ``outside`` answers for all that is not of the zone, and ``check``
    checks the domain with the resolver it is given.
    """
    reports = await asyncio.gather(*(check(ZoneView(zone, inside(server), outside)) for _, server in servers))
    sights = tuple(Sight(host, server, report) for (host, server), report in zip(servers, reports, strict=True))
    return Propagation(domain, zone, sights, expected)
