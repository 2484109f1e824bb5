"""An SPF record read strictly: ``v=spf1 a mx:example.net/24 include:_spf.example.org -all`` (RFC 7208 section 12).

A record is read whole, and what is wrong with each term is kept beside it: for evaluation any fault is a permerror
(section 4.6), for the audit each one is shown where it stands. Nothing here asks the DNS.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from ucrmmail.dataclass import dataclass
from ucrmmail.dns.finding import Mark
from ucrmmail.dns.spf_macro import Macro, MacroError, parse_macro

# Mechanisms and modifiers that count against the ten (RFC 7208 section 4.6.4).
COUNTED = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
_KEPT_BYTES = 4096  # an honest record is shorter, and a hostile one shall not fill the memory
_MECHANISMS = frozenset({"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"})
_VERSION = re.compile(rb"v=spf1(?= |\Z)", re.IGNORECASE)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9\-_.]*)=(.*)\Z", re.DOTALL)
_DIRECTIVE = re.compile(r"([+\-?~]?)([A-Za-z][A-Za-z0-9\-_.]*)(:?)(.*)\Z", re.DOTALL)
_DUAL_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_CIDR_BEGINS = re.compile(r"(?:/[0-9]*)?(?://[0-9]*)?\Z")
_IP4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}\Z")
_TOPLABEL = re.compile(r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9\-]*[A-Za-z0-9])\.?\Z")


@dataclass(frozen=True, slots=True)
class Term:
    """A mechanism or a modifier, as written at ``text[start:end]`` of its record.

    ``name`` is in lower case; ``qualifier`` is "" for modifiers. ``target`` is the domain-spec as written ("" when
    absent, or the address of ip4/ip6); ``prefix4`` and ``prefix6`` are CIDR lengths in bits.
    """

    text: str
    start: int
    end: int
    name: str
    qualifier: str = ""
    target: str = ""
    macro: Macro | None = None
    network: IPv4Network | IPv6Network | None = None
    prefix4: int = 32
    prefix6: int = 128

    @property
    def is_counted(self) -> bool:
        """True when the term uses one of the ten lookups."""
        return self.name in COUNTED


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the text at ``start:end`` makes the record a permerror."""

    reason: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record: its mechanisms in order, its modifiers, and its faults (none for a record that is well formed)."""

    text: str
    mechanisms: tuple[Term, ...]
    modifiers: tuple[Term, ...]
    faults: tuple[Fault, ...]

    def modifier(self, name: str) -> Term | None:
        """Return the modifier of this name, if it is there."""
        return next((term for term in self.modifiers if term.name == name), None)

    def mark(self, start: int, end: int) -> Mark:
        """Return the place in the record in the form that is shown."""
        if self.text.isascii():
            return Mark(self.text, start, end)
        before = shown(self.text[:start])
        part = shown(self.text[start:end])
        return Mark(before + part + shown(self.text[end:]), len(before), len(before) + len(part))


def shown(text: str) -> str:
    r"""Return text that may hold undecodable bytes with those written as ``\xNN``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_spf(data: bytes) -> bool:
    """Return True when a TXT record is an SPF version 1 record (RFC 7208 section 4.5)."""
    return _VERSION.match(data) is not None


def parse_record(data: bytes) -> Record:
    """Return the record read from the joined strings of a TXT record for which ``is_spf`` holds; never raises.

    Terms are separated by ASCII spaces and by nothing else (section 4.6.1).
    """
    return _kept(data) if len(data) <= _KEPT_BYTES else _read(data)


@lru_cache(maxsize=256)
def _kept(data: bytes) -> Record:
    """Return a record that was read before: a provider's is met in every domain, and for every address."""
    return _read(data)


def _read(data: bytes) -> Record:
    text = data.decode("utf-8", "surrogateescape")
    mechanisms: list[Term] = []
    modifiers: list[Term] = []
    faults: list[Fault] = []
    for found in re.finditer("[^ ]+", text[len("v=spf1") :]):
        start = found.start() + len("v=spf1")
        term = _term(found[0], start)
        if isinstance(term, Fault):
            faults.append(term)
        elif term.qualifier:
            mechanisms.append(term)
        else:
            if term.name in ("redirect", "exp") and any(other.name == term.name for other in modifiers):
                faults.append(Fault(f"{term.name}= must stand once (section 6)", term.start, term.end))
            modifiers.append(term)
    return Record(text, tuple(mechanisms), tuple(modifiers), tuple(faults))


def _term(text: str, start: int) -> Term | Fault:
    end = start + len(text)
    modifier = _MODIFIER.match(text)
    try:
        if modifier:
            return _modifier(text, start, modifier[1].lower(), modifier[2])
        directive = _DIRECTIVE.match(text)
        if directive is None:
            return Fault("this is neither a mechanism nor a modifier", start, end)
        name = directive[2].lower()
        if name not in _MECHANISMS:
            return Fault(f"there is no mechanism {directive[2]!r}", start, end)
        return _mechanism(text, start, name, directive)
    except _TermError as error:
        return Fault(str(error), start, end)
    except MacroError as error:
        return Fault(error.reason, start, end)


class _TermError(ValueError):
    """What is wrong with a term, as a sentence."""


def _modifier(text: str, start: int, name: str, value: str) -> Term:
    macro = _domain_spec(value, f"{name}=") if name in ("redirect", "exp") else parse_macro(value)
    return Term(text, start, start + len(text), name, target=value, macro=macro)


def _mechanism(text: str, start: int, name: str, directive: re.Match[str]) -> Term:
    qualifier, colon, rest = directive[1] or "+", directive[3], directive[4]
    end = start + len(text)
    if name == "all":
        if colon or rest:
            raise _TermError("all takes no value")
        return Term(text, start, end, name, qualifier)
    if name in ("ip4", "ip6"):
        if not colon or not rest:
            raise _TermError(f"{name} needs an address: {name}:192.0.2.1" if name == "ip4" else "ip6 needs an address")
        network = _ip4_network(rest) if name == "ip4" else _ip6_network(rest)
        return Term(text, start, end, name, qualifier, rest, network=network)
    prefix4, prefix6 = 32, 128
    if name in ("a", "mx"):
        rest, prefix4, prefix6 = _without_cidr(rest)
    if colon:
        return Term(text, start, end, name, qualifier, rest, _domain_spec(rest, f"{name}:"), None, prefix4, prefix6)
    if rest:
        raise _TermError(f"what follows {name} is not part of the grammar")
    if name in ("include", "exists"):
        raise _TermError(f"{name} needs a domain: {name}:example.net")
    return Term(text, start, end, name, qualifier, prefix4=prefix4, prefix6=prefix6)


def _domain_spec(text: str, owner: str) -> Macro:
    """Return a domain-spec: a macro-string that ends in a top label or in a macro (section 7.1)."""
    if not text:
        raise _TermError(f"{owner} needs a domain")
    macro = parse_macro(text)
    if not macro.ends_in_expansion and not _TOPLABEL.search(text):
        raise _TermError("the domain must end in a dot and a top label, such as .example, or in a macro")
    return macro


def _without_cidr(text: str) -> tuple[str, int, int]:
    """Return the text before a dual-cidr-length, and the two lengths; ``/24``, ``//64``, ``/24//64``."""
    begins = _CIDR_BEGINS.search(text)
    start = begins.start() if begins else len(text)
    found = _DUAL_CIDR.match(text, start)
    if found is None:
        raise _TermError("a CIDR length is a number without leading zeros: /24, //64 or /24//64")
    prefix4, prefix6 = int(found[1] or 32), int(found[2] or 128)
    if prefix4 > 32 or prefix6 > 128:
        raise _TermError("a CIDR length is at most /32 for IPv4 and //128 for IPv6")
    return text[:start], prefix4, prefix6


def _ip4_network(text: str) -> IPv4Network:
    address, slash, length = text.partition("/")
    if slash and not re.fullmatch("0|[1-9][0-9]?", length):
        raise _TermError("the CIDR length is a number from 0 to 32 without leading zeros")
    if not _IP4.match(address):
        raise _TermError("this is no IPv4 address")
    try:
        return IPv4Network((IPv4Address(address), int(length or 32)), strict=False)
    except ValueError:
        raise _TermError("this is no IPv4 network") from None


def _ip6_network(text: str) -> IPv6Network:
    address, slash, length = text.partition("/")
    if slash and not re.fullmatch("0|[1-9][0-9]{0,2}", length):
        raise _TermError("the CIDR length is a number from 0 to 128 without leading zeros")
    if "%" in address:
        raise _TermError("an address has no zone")
    try:
        return IPv6Network((IPv6Address(address), int(length or 128)), strict=False)
    except ValueError:
        raise _TermError("this is no IPv6 network") from None


def covers(term: Term, host: IPv4Address | IPv6Address, ip: IPv4Address | IPv6Address) -> bool:
    """Return True when a host's address, widened by the term's CIDR length, holds the client's address."""
    prefix = term.prefix4 if host.version == 4 else term.prefix6
    return ip in ip_network((host, prefix), strict=False)
