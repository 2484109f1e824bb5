"""Domains with the mistakes that administrators make: ``tests/suites/mistakes.yml``, read and served.

The head of the file explains its form.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset
import yaml

from tests.support.nameserver import Responder
from ucrmmail.dns.nameserver import Nameserver

_FILE = Path(__file__).parent.parent / "suites" / "mistakes.yml"
_FAILURES = {"SERVFAIL": dns.rcode.SERVFAIL, "REFUSED": dns.rcode.REFUSED}

# A name and a type, and the data of its records: text, several strings of one TXT record, or a failure.
Records = Mapping[tuple[str, str], Sequence[str | list[str]] | str]


@dataclass(frozen=True)
class Mistake:
    """A domain: what it publishes, for which check, and the failures and warnings that must come out, no others."""

    name: str
    domain: str
    check: str
    address: str
    found: Mapping[str, str]
    records: Records
    signed: bool


def mistakes() -> list[Mistake]:
    """Read the file."""
    document = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    shared = _records(document["shared"], "")
    found = []
    for number, (name, entry) in enumerate(document["mistakes"].items(), 1):
        domain = f"d{number}.example"
        check = entry["check"]
        records = {**shared, **_records(document["around"].get(check, {}), domain), **_records(entry["zone"], domain)}
        found.append(
            Mistake(
                name,
                domain,
                check,
                entry.get("address", ""),
                entry["found"],
                {key: value for key, value in records.items() if value != []},
                entry.get("signed", False),
            )
        )
    return found


def _records(zone: Mapping[str, Mapping[str, Any]], domain: str) -> dict[tuple[str, str], Any]:
    records: dict[tuple[str, str], Any] = {}
    for owner, types in zone.items():
        name = owner if not domain or owner.endswith(".") else domain if owner == "@" else f"{owner}.{domain}"
        for rdtype, value in types.items():
            values = value if isinstance(value, list) else [value]
            failure = value if isinstance(value, str) and value in _FAILURES else None
            filled = [_filled(one, domain) for one in values]
            records[(name.removesuffix(".").lower(), rdtype)] = failure or filled
    return records


def _filled(value: Any, domain: str) -> str | list[str]:
    if isinstance(value, list):
        return [part.replace("DOMAIN", domain) for part in value]
    return str(value).replace("DOMAIN", domain)


@contextlib.asynccontextmanager
async def published(
    domains: Sequence[Mistake], *, asked: list[tuple[str, str]] | None = None
) -> AsyncIterator[Nameserver]:
    """Serve the zones of these domains; answers below a signed one are marked as validated.

    ``asked`` receives the name and type of every question, in order.
    """
    records: dict[tuple[str, str], Sequence[str | list[str]] | str] = {}
    for one in domains:
        records.update(one.records)
    signed = tuple(dns.name.from_text(one.domain) for one in domains if one.signed)
    validating = bool(signed)
    names = {dns.name.from_text(name) for name, _ in records}

    def answer(query: dns.message.Message, tcp: bool) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        owner, rdtype = query.question[0].name, query.question[0].rdtype
        if asked is not None:
            asked.append((owner.canonicalize().to_text(), dns.rdatatype.to_text(rdtype)))
        # A resolver that validates says so of the root, whatever it says of the domain.
        secure = (validating and owner == dns.name.root) or any(owner.is_subdomain(zone) for zone in signed)
        for _ in range(10):
            key = owner.canonicalize().to_text(omit_final_dot=True)
            alias = records.get((key, "CNAME"))
            if not alias or rdtype == dns.rdatatype.CNAME:
                break
            reply.answer.append(dns.rrset.from_text(owner, 300, "IN", "CNAME", str(alias[0])))
            owner = dns.name.from_text(str(alias[0]))
        secure = secure and (owner == dns.name.root or any(owner.is_subdomain(zone) for zone in signed))
        value = records.get((key, dns.rdatatype.to_text(rdtype)))
        if isinstance(value, str):
            reply.set_rcode(_FAILURES[value])
        elif value:
            reply.answer.append(_rrset(owner, rdtype, value))
        elif not any(name.is_subdomain(owner) for name in names):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if secure:
            reply.flags |= dns.flags.AD
        wire = reply.to_wire()
        if not tcp and len(wire) > query.payload:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            wire = reply.to_wire()
        return wire

    async with Responder(answer) as server:
        yield server


def _rrset(owner: dns.name.Name, rdtype: dns.rdatatype.RdataType, values: Sequence[str | list[str]]) -> dns.rrset.RRset:
    if rdtype not in (dns.rdatatype.TXT, dns.rdatatype.SPF):
        return dns.rrset.from_text_list(owner, 300, "IN", rdtype, [str(value) for value in values])
    rrset = dns.rrset.RRset(owner, dns.rdataclass.IN, rdtype)
    rrset.ttl = 300
    for value in values:
        parts = [part.encode() for part in (value if isinstance(value, list) else [value])]
        strings = [part[at : at + 255] for part in parts for at in range(0, max(len(part), 1), 255)]
        rrset.add(dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, rdtype, strings))
    return rrset
