"""The DNS as one server of a zone tells it: its own zone from itself, everything else from the usual resolver.

What resolvers remember hides what was published a minute ago; the servers of the zone know it first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.answer import Status

if TYPE_CHECKING:
    from ucrmmail.dns.answer import Answer, Resolver


@dataclass(frozen=True, slots=True)
class ZoneView:
    """Implements ``Resolver``: names of ``zone`` are asked of ``inside``, all others of ``outside``."""

    zone: str
    inside: Resolver
    outside: Resolver

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer for an absolute name and a type; see ``Resolver.query``."""
        if not self._holds(name):
            return await self.outside.query(name, rdtype)
        answer = await self.inside.query(name, rdtype)
        if answer.status is Status.REFERRED:
            # A part of the zone that was handed to other servers.
            return await self.outside.query(name, rdtype)
        if not answer.status.is_known and answer.aliases and not self._holds(answer.aliases[-1]):
            # The server of the zone knows the alias, and need not know where it leads.
            followed = await self.outside.query(answer.aliases[-1], rdtype)
            return replace(followed, name=answer.name, aliases=(*answer.aliases, *followed.aliases))
        return answer

    def _holds(self, name: str) -> bool:
        folded = name.removesuffix(".").lower()
        return folded == self.zone or folded.endswith(f".{self.zone}")
