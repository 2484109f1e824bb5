"""Whom check_host() is asked about, as the macros say it, and the names that come of them (RFC 7208 section 7)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.spf_macro import MAX_NAME


@dataclass(frozen=True, slots=True)
class Client:
    """What the macros are made of."""

    ip: IPv4Address | IPv6Address
    sender: str
    helo: str
    receiver: str
    now: int

    def letters(self, domain: str, validated: str) -> dict[str, str]:
        """Return the value of each macro letter (section 7.2)."""
        local, _, sender_domain = self.sender.rpartition("@")
        if isinstance(self.ip, IPv4Address):
            dotted, version = str(self.ip), "in-addr"
        else:
            # The DNS reads both cases; in an explanation the RFC's test suite wants capitals.
            dotted, version = ".".join(self.ip.exploded.replace(":", "")).upper(), "ip6"
        return {
            "s": self.sender,
            "l": local,
            "o": sender_domain,
            "d": domain,
            "i": dotted,
            "p": validated,
            "v": version,
            "h": self.helo,
            "c": str(self.ip),
            "r": self.receiver,
            "t": str(self.now),
        }


def is_within(name: str, domain: str) -> bool:
    """Return True when a name is the domain or below it, without regard to case."""
    name, domain = name.lower().removesuffix("."), domain.lower().removesuffix(".")
    return name == domain or name.endswith("." + domain)


def is_askable(name: str) -> bool:
    """Return True for a name that a question can hold: ASCII labels of 1 to 63 characters, 253 in all (section 4.3).

    A name that is not ASCII can come from a sender's local part only and matches nothing (RFC 8616 section 4).
    """
    return name.isascii() and len(name) <= MAX_NAME and all(0 < len(label) < 64 for label in name.split("."))


def asked(name: str) -> str:
    """Return an expanded name in the resolver's notation, where a backslash would begin an escape."""
    return name.replace("\\", "\\\\")
