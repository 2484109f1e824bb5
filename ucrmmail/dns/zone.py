"""Which zone holds a domain, and which servers answer for it (RFC 1034 section 4.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Answer, Resolver

# Names looked at above the domain, the shortest ones: a hostile name must not cost a hundred questions.
_MOST_NAMES = 7


class Zone(NamedTuple):
    """A zone by the name at which it begins ("": none was found) and its nameservers, in lower case."""

    name: str = ""
    nameservers: tuple[str, ...] = ()


NO_ZONE = Zone()


def names_above(domain: str) -> tuple[str, ...]:
    """Return the names at which the zone of a domain may begin, the domain first.

    The last label alone is a registry's zone, never the domain's own, unless it is the domain.
    """
    labels = domain.split(".")
    names = [".".join(labels[at:]) for at in range(max(1, len(labels) - 1))]
    return (names[0], *names[1:][-_MOST_NAMES:])


def begins_zone(answer: Answer) -> bool:
    """Return whether the answer to an SOA question shows that a zone begins there: an alias leads to another's."""
    return answer.authority is not None and not answer.aliases


async def find_zone(domain: str, resolver: Resolver) -> Zone:
    """Return the zone that holds a domain."""
    starts = await asyncio.gather(*(resolver.query(name, "SOA") for name in names_above(domain)))
    start = next((answer for answer in starts if begins_zone(answer)), None)
    if start is None:
        return NO_ZONE
    name = start.name.lower()
    servers = await resolver.query(name, "NS")
    return Zone(name, tuple(dict.fromkeys(host.lower() for host in servers.hosts)))
