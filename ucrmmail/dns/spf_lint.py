"""What is wrong with one SPF record as it is written, without asking the DNS."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from ucrmmail.dns.spf_codes import finding
from ucrmmail.dns.spf_record import Record, Term, shown
from ucrmmail.dns.spf_slips import slip_of_fault, slip_of_term, slips_of_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.dns.finding import Finding, Mark

MAX_BYTES = 450  # RFC 7208 section 3.4, with room for the rest of an answer of 512
_HUGE = {4: 8, 6: 16}  # this prefix or a shorter one is nobody's
_LARGE = {4: 15, 6: 31}
_MAX_TERMS = 200  # looked at closely, and compared with one another; no honest record has more
_MAX_SLIPS = 50  # explained one by one
# exists tells clients apart by these only.
_CLIENT_LETTERS = frozenset("icplsh")


def lint(domain: str, record: Record, strings: tuple[bytes, ...] = ()) -> list[Finding]:
    """Return what is wrong with a record of ``domain``; ``strings`` are its character-strings as published."""
    found = list(_faults(domain, record))
    found += _slips(domain, record)
    found += _seams(domain, record, strings)
    found += _all(domain, record)
    found += _terms(domain, record)
    found += _ranges(domain, record)
    found += _duplicates(domain, record)
    size = len(record.text.encode("utf-8", "surrogateescape"))
    if size > MAX_BYTES:
        found.append(finding("spf-long-record", domain, f"the record has {size} bytes, {MAX_BYTES} are safe"))
    return found


def passes_all(record: Record) -> Term | None:
    """Return the term by which every address passes as it is written: +all, or a range of everything."""
    for term in record.mechanisms:
        if term.name == "all":
            return term if term.qualifier == "+" else None
        if term.qualifier == "+" and term.network is not None and term.network.prefixlen <= 1:
            return term
    return None


def _faults(domain: str, record: Record) -> Iterator[Finding]:
    for slip in slips_of_faults(record, _MAX_SLIPS):
        yield finding(slip.code, domain, slip.what, remedy=_meant(slip.meant), mark=record.mark(slip.start, slip.end))


def _slips(domain: str, record: Record) -> Iterator[Finding]:
    for term in (*record.mechanisms, *record.modifiers)[:_MAX_TERMS]:
        slip = slip_of_term(term)
        if slip:
            yield finding(
                slip.code, domain, slip.what, remedy=_meant(slip.meant), mark=record.mark(slip.start, slip.end)
            )


def _meant(text: str | None) -> str:
    if text is None:
        return ""
    return f"Write {shown(text).strip()} instead." if text else "Remove it."


def _seams(domain: str, record: Record, strings: tuple[bytes, ...]) -> Iterator[Finding]:
    """Find terms that grew together where two strings of the TXT record are joined."""
    offset = 0
    whole = record.text.encode("utf-8", "surrogateescape")
    seams = set()
    for string in strings[:-1]:
        offset += len(string)
        if string and 0 < offset < len(whole) and whole[offset - 1 : offset] != b" " != whole[offset : offset + 1]:
            seams.add(len(whole[:offset].decode("utf-8", "surrogateescape")))
    broken = {fault.start for fault in record.faults} | {
        term.start for term in record.mechanisms if term.name in ("include", "a", "mx")
    }
    for seam in sorted(seams):
        start = record.text.rfind(" ", 0, seam) + 1
        end = record.text.find(" ", seam)
        end = len(record.text) if end < 0 else end
        right = record.text[seam:end].lower().lstrip("+-?~")
        begins = right in ("a", "mx", "all") or right.startswith(("include:", "ip4:", "ip6:", "a:", "mx:", "exists:"))
        # A long name may well be cut in two; only what begins like a term was meant to stand apart.
        if begins and (start in broken or record.text[seam] in "+-?~"):
            what = "two strings of the TXT record are joined without a space here"
            yield finding("spf-missing-space", domain, what, mark=record.mark(start, end))


def _all(domain: str, record: Record) -> Iterator[Finding]:
    position = next((index for index, term in enumerate(record.mechanisms) if term.name == "all"), None)
    redirect = record.modifier("redirect")
    if position is None:
        # The end may be there, in a term that cannot be read or ran into it: one mistake is told once.
        faults = record.faults[:_MAX_SLIPS]
        hidden = [record.text[fault.start : fault.end] for fault in faults]
        hidden += [slip_of_fault(record, fault).meant or "" for fault in faults]
        hidden += [term.text for term in record.mechanisms[-1:] if slip_of_term(term)]
        if redirect is None and not any("all" in text.lower() or "redirect" in text.lower() for text in hidden):
            yield finding("spf-no-all", domain, "the record has neither all nor redirect=")
        return
    term = record.mechanisms[position]
    lonely = re.search(r" [+\-?~] +\Z", record.text[: term.start])
    if term.qualifier == "+" and not lonely:
        yield finding("spf-plus-all", domain, f"{term.text} lets everybody pass", mark=_at(record, term))
    elif term.qualifier == "?":
        yield finding("spf-neutral-all", domain, f"{term.text} says nothing of other servers", mark=_at(record, term))
    after = [later for later in record.mechanisms[position + 1 :] if later.start > term.start]
    if after:
        what = f"never evaluated: {shown(' '.join(later.text for later in after[:10]))}"
        yield finding("spf-after-all", domain, what, mark=record.mark(after[0].start, after[-1].end))
    if redirect:
        what = f"{shown(redirect.text)} is never followed: {term.text} decides before it"
        yield finding("spf-redirect-beside-all", domain, what, mark=_at(record, redirect))


def _terms(domain: str, record: Record) -> Iterator[Finding]:
    for term in record.mechanisms:
        text = shown(term.text)
        if term.name == "ptr":
            yield finding("spf-ptr", domain, f"{text} asks for the name of every client", mark=_at(record, term))
        if term.name == "exists" and term.macro and not term.macro.letters & _CLIENT_LETTERS:
            yield finding("spf-exists-fixed", domain, f"{text} is the same for every client", mark=_at(record, term))
        if term.name in ("a", "mx"):
            for version, prefix in ((4, term.prefix4), (6, term.prefix6)):
                yield from _size(domain, record, term, version, prefix)


def _ranges(domain: str, record: Record) -> Iterator[Finding]:
    for term in record.mechanisms:
        network = term.network
        if network is None:
            continue
        yield from _size(domain, record, term, network.version, network.prefixlen)
        if network.prefixlen > _HUGE[network.version] and is_unroutable(network):
            what = f"{term.text} is not a public address"
            yield finding("spf-private-address", domain, what, mark=_at(record, term))
        if str(network.network_address) != term.target.partition("/")[0].lower() and _host_bits(term, network):
            what = f"{term.text} means {network}"
            yield finding("spf-host-bits", domain, what, mark=_at(record, term))
    yield from _nested(domain, record)


def is_unroutable(network: IPv4Network | IPv6Network) -> bool:
    """Return True for addresses no receiver sees; those for documentation are left to who writes examples."""
    if network.is_global and not network.is_multicast:
        return False
    documentation = (other for other in _DOCUMENTATION if network.network_address in other)
    return not any(network.prefixlen >= other.prefixlen for other in documentation)


_DOCUMENTATION = (
    IPv4Network("192.0.2.0/24"),
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv6Network("2001:db8::/32"),
)


def _host_bits(term: Term, network: IPv4Network | IPv6Network) -> bool:
    address = type(network.network_address)(term.target.partition("/")[0])
    return address != network.network_address


def _size(domain: str, record: Record, term: Term, version: int, prefix: int) -> Iterator[Finding]:
    if prefix <= _HUGE[version]:
        what = (
            f"{term.text} covers 1/{2**prefix} of all IPv{version} addresses" if prefix else f"{term.text} covers all"
        )
        yield finding("spf-huge-range", domain, shown(what), mark=_at(record, term))
    elif prefix <= _LARGE[version]:
        what = f"{term.text} covers a range of length /{prefix}"
        yield finding("spf-large-range", domain, shown(what), mark=_at(record, term))


def _nested(domain: str, record: Record) -> Iterator[Finding]:
    terms = [term for term in record.mechanisms if term.network is not None][:_MAX_TERMS]
    for index, term in enumerate(terms):
        for earlier in terms[:index]:
            inner, outer = term.network, earlier.network
            if inner is None or outer is None or inner.version != outer.version or inner == outer:
                continue
            if inner.subnet_of(outer):  # type: ignore[arg-type] # versions are equal
                same = term.qualifier == earlier.qualifier
                code = "spf-overlapping-ranges" if same else "spf-unreachable-term"
                what = f"{term.text} lies inside {earlier.text}, which comes first"
                yield finding(code, domain, what, mark=_at(record, term))
                break
            if outer.subnet_of(inner) and term.qualifier == earlier.qualifier:  # type: ignore[arg-type] # versions are equal
                what = f"{earlier.text} lies inside {term.text}"
                yield finding("spf-overlapping-ranges", domain, what, mark=_at(record, earlier))
                break


def _duplicates(domain: str, record: Record) -> Iterator[Finding]:
    seen: set[tuple[object, ...]] = set()
    for term in record.mechanisms:
        key = (term.name, term.network or term.target.lower().removesuffix("."), term.prefix4, term.prefix6)
        if term.name in ("a", "mx", "ptr") and not term.target:
            key = (term.name, domain.lower(), term.prefix4, term.prefix6)
        if key in seen and term.name != "all":
            yield finding("spf-duplicate-term", domain, f"{shown(term.text)} stands twice", mark=_at(record, term))
        seen.add(key)


def _at(record: Record, term: Term) -> Mark:
    return record.mark(term.start, term.end)
