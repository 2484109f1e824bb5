"""What the DNS answered, as plain values: the language between the resolver and the checks.

Only ``dns.resolver`` knows the library and the network. A check is an ``async`` function over the ``Resolver``
protocol below, so that independent questions go out together, and a test may answer from a zone it wrote down.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address


class Status(StrEnum):
    """How a question ended. The first three are facts about the zone, the others say that nothing is known."""

    FOUND = "found"
    NO_DATA = "no data"  # the name exists, without records of this type
    NXDOMAIN = "no such name"
    SERVFAIL = "server failure"
    REFUSED = "refused"
    TIMEOUT = "no answer in time"
    MALFORMED = "malformed answer"
    REFERRED = "the server refers to others"  # it does not resolve for us: RFC 1034 section 4.3.1

    @property
    def is_known(self) -> bool:
        """True when the DNS answered; False must never be reported as "there is no record"."""
        return self in (Status.FOUND, Status.NO_DATA, Status.NXDOMAIN)


@dataclass(frozen=True, slots=True)
class Text:
    """A TXT (or SPF, type 99) record: its character-strings as published, bytes of any kind."""

    strings: tuple[bytes, ...]

    @property
    def joined(self) -> bytes:
        """The strings put together without anything between (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2)."""
        return b"".join(self.strings)


@dataclass(frozen=True, slots=True)
class Mx:
    """A mail exchange; a null MX (RFC 7505) has the exchange "." ."""

    preference: int
    exchange: str


@dataclass(frozen=True, slots=True)
class Tlsa:
    """A TLSA record (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching_type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Caa:
    """A CAA record (RFC 8659 section 4.1)."""

    flags: int
    tag: str
    value: str


@dataclass(frozen=True, slots=True)
class Srv:
    """A service of a domain (RFC 2782); the target "." means that there is none."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Soa:
    """A zone's start of authority (RFC 1035 section 3.3.13); times in seconds."""

    primary: str
    mailbox: str
    serial: int
    refresh_s: int
    retry_s: int
    expire_s: int
    minimum_s: int


@dataclass(frozen=True, slots=True)
class Answer:
    r"""The answer to one question.

    The tuple that belongs to the type asked for is filled, in the order received; the others are empty.
    ``hosts`` are the names of PTR, NS and CNAME records. Names carry no final dot and keep the case published;
    bytes outside printable ASCII in a name are written ``\DDD``. ``aliases`` is the CNAME chain that was followed,
    each target in turn. ``authenticated`` is the AD flag: the resolver asked has validated the answer.
    ``detail`` tells what went wrong when ``status`` is not a known one.
    """

    name: str
    rdtype: str
    status: Status
    texts: tuple[Text, ...] = ()
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    exchanges: tuple[Mx, ...] = ()
    hosts: tuple[str, ...] = ()
    associations: tuple[Tlsa, ...] = ()
    authorizations: tuple[Caa, ...] = ()
    services: tuple[Srv, ...] = ()
    authority: Soa | None = None
    aliases: tuple[str, ...] = ()
    authenticated: bool = False
    ttl_s: int = 0
    detail: str = ""


class Resolver(Protocol):
    """Answers questions; never raises for what the DNS did or did not say."""

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer for an absolute name (with or without the final dot) and a type such as ``"TXT"``.

        A question that was asked before in this run, or is on its way, is not asked again. A name that no question
        can hold (an empty or overlong label, over 255 octets) is answered ``NXDOMAIN`` without being asked.
        """
        ...
