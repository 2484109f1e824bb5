"""A resolver that is a dictionary: the checks' own tests need no network."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from ucrmmail.dataclass import replace
from ucrmmail.dns.answer import Answer, Caa, Mx, Soa, Srv, Status, Text, Tlsa

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class Zone:
    """Answers from ``{(name, type): record or records}``; counts what was asked.

    A TXT value is a str, bytes, or a tuple of these for several strings in one record; a list holds several records.
    MX is ``(preference, exchange)``, A and AAAA are text, PTR, NS and CNAME are names. A ``Status`` as the value makes
    the question fail that way. A name with any record exists; all others are NXDOMAIN. CNAMEs are followed.
    SRV is ``(priority, weight, port, target)``. TLSA is ``(usage, selector, matching type, bytes)``, CAA ``(flags, tag, value)``, SOA ``(primary, mailbox, serial,
    refresh, retry, expire, minimum)``. Answers about names in the ``signed`` zones ("." is the root itself) are
    authenticated.
    """

    def __init__(self, records: Mapping[tuple[str, str], object], *, signed: Collection[str] = ()) -> None:
        self._signed = signed
        self._records = {(name.lower(), rdtype): value for (name, rdtype), value in records.items()}
        self._names = {name for name, _ in self._records}
        self.asked: list[tuple[str, str]] = []

    async def query(self, name: str, rdtype: str) -> Answer:
        name = name.rstrip(".") or "."
        self.asked.append((name.lower(), rdtype))
        answer = self._answer(name, rdtype, aliases=())
        return replace(answer, authenticated=all(self._is_signed(part.lower()) for part in (name, *answer.aliases)))

    def _is_signed(self, name: str) -> bool:
        return any(name == zone or name.endswith("." + zone) for zone in self._signed)

    def _answer(self, name: str, rdtype: str, aliases: tuple[str, ...]) -> Answer:
        key = name.lower()
        alias = self._records.get((key, "CNAME"))
        if isinstance(alias, str) and rdtype != "CNAME":
            if len(aliases) > 8:
                return Answer(name, rdtype, Status.SERVFAIL, aliases=aliases, detail="CNAME loop")
            followed = self._answer(alias, rdtype, (*aliases, alias))
            return replace(followed, name=name)
        value = self._records.get((key, rdtype))
        if isinstance(value, Status):
            return Answer(name, rdtype, value, aliases=aliases)
        if value is None:
            exists = key in self._names or any(known.endswith("." + key) for known in self._names)
            return Answer(name, rdtype, Status.NO_DATA if exists else Status.NXDOMAIN, aliases=aliases)
        values = value if isinstance(value, list) else [value]
        return _found(Answer(name, rdtype, Status.FOUND, aliases=aliases, ttl_s=300), values)


def _found(answer: Answer, values: Sequence[object]) -> Answer:
    match answer.rdtype:
        case "TXT" | "SPF":
            return replace(answer, texts=tuple(_text(value) for value in values))
        case "A" | "AAAA":
            return replace(answer, addresses=tuple(ip_address(str(value)) for value in values))
        case "MX":
            return replace(answer, exchanges=tuple(Mx(*value) for value in values if isinstance(value, tuple)))
        case "TLSA":
            return replace(answer, associations=tuple(Tlsa(*value) for value in values if isinstance(value, tuple)))
        case "CAA":
            return replace(answer, authorizations=tuple(Caa(*value) for value in values if isinstance(value, tuple)))
        case "SRV":
            return replace(answer, services=tuple(Srv(*value) for value in values if isinstance(value, tuple)))
        case "SOA":
            return replace(answer, authority=next(Soa(*value) for value in values if isinstance(value, tuple)))
        case _:
            return replace(answer, hosts=tuple(str(value) for value in values))


def _text(value: object) -> Text:
    strings = value if isinstance(value, tuple) else (value,)
    return Text(tuple(part if isinstance(part, bytes) else str(part).encode() for part in strings))
