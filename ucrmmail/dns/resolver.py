"""The resolver: asks nameservers, and tells what they answered as plain values. The only importer of dnspython.

Every question goes out once a run: who asks again gets the answer kept, or waits for the one on its way. Servers are
tried in turn; one that stays silent goes to the end of the line. Time is bounded three ways: for an attempt, for a
question, and for the run. What is not an answer is a status that ``is_known`` denies, never an absent record.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.wire

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.dns.answer import Answer, Caa, Mx, Soa, Srv, Status, Text, Tlsa
from ucrmmail.dns.nameserver import Nameserver, system_nameservers
from ucrmmail.dns.transport import ask_tcp, ask_udp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.clock import Clock

MAX_IN_FLIGHT = 64
MAX_ALIASES = 8
# Fits one packet on every path (RFC 9715 section 3.2 asks for 1400 at most; 1232 is what servers agreed on in 2020).
_PAYLOAD = 1232
_ROUNDS = 2
# A number for private use. The library refuses a TLSA record whose digest has not the length it should have, and with
# it the whole answer; as a record of no type it knows, the mistake reaches the check that explains it.
_RAW_TLSA = dns.rdatatype.RdataType.make(65280)
_ANSWERED = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
_WITHOUT_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)


@dataclass(frozen=True, slots=True)
class _Failure:
    status: Status
    detail: str


class _Question:
    """One question on the wire, and the judgement whether bytes that came in answer it."""

    def __init__(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, *, edns: bool) -> None:
        # DO asks for signatures, AD alone for the verdict (RFC 6840 section 5.7): the verdict is all that is used.
        self._query = dns.message.make_query(name, rdtype, use_edns=0 if edns else -1, payload=_PAYLOAD)
        self._query.flags |= dns.flags.AD
        self._reads_raw = rdtype == dns.rdatatype.TLSA
        self.wire = self._query.to_wire()
        self.strays = 0

    def judge(self, data: bytes) -> dns.message.Message | _Failure | None:
        """Return the answer, a failure for one that cannot be read, or None for bytes that do not belong here.

        An answer cut short by UDP is returned with its flag, and without its records: they may end anywhere.
        """
        if len(data) < 12 or data[:2] != self.wire[:2] or not data[2] & 0x80:
            self.strays += 1
            return None
        if data[2] & 0x02:
            truncated = dns.message.Message(self._query.id)
            truncated.flags = dns.flags.QR | dns.flags.TC
            return truncated
        try:
            reply = dns.message.from_wire(_with_raw_tlsa(data) if self._reads_raw else data)
        except Exception as error:  # noqa: BLE001 # whatever a stranger's bytes make of the parser is an answer that cannot be read
            return _Failure(Status.MALFORMED, f"the answer cannot be read: {type(error).__name__}")
        if not self._query.is_response(reply):
            self.strays += 1
            return None
        return reply


class DnsResolver:
    """Implements ``Resolver`` over the network for one run and one event loop.

    ``nameservers`` are tried in order (none: the system's). ``attempt_s`` is how long the first attempt waits for one
    server (the second waits twice as long), ``query_s`` how long one question may take with all its attempts, and
    ``run_s`` how long after its making the resolver answers at all; all in seconds. ``sent`` counts queries sent.
    """

    def __init__(
        self,
        nameservers: Sequence[Nameserver] = (),
        *,
        clock: Clock,
        attempt_s: float = 2.0,
        query_s: float = 8.0,
        run_s: float = 60.0,
    ) -> None:
        self._servers = list(nameservers or system_nameservers())
        self._clock = clock
        self._attempt_s = attempt_s
        self._query_s = query_s
        self._ends_at = clock.monotonic() + run_s
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._asked: dict[tuple[dns.name.Name, str], asyncio.Task[Answer]] = {}
        self.sent = 0

    async def query(self, name: str, rdtype: str) -> Answer:
        """Return the answer for an absolute name and a type; see ``Resolver.query``."""
        question = _name(name)
        shown = name.removesuffix(".") or "."
        if question is None:
            return Answer(shown, rdtype, Status.NXDOMAIN, detail="no question can hold this name")
        key = (question, rdtype)  # names compare without regard to case
        task = self._asked.get(key)
        if task is None:
            task = asyncio.create_task(self._answer(question, rdtype))
            self._asked[key] = task
        # Shielded: others may wait for the same answer when this one is cancelled.
        return replace(await asyncio.shield(task), name=shown)

    async def _answer(self, name: dns.name.Name, rdtype: str) -> Answer:
        """Return the answer, asking on where a server's answer ends at an alias of another zone."""
        answer = Answer(_shown(name), rdtype, Status.SERVFAIL)
        wanted = dns.rdatatype.from_text(rdtype)
        aliases: list[str] = []
        seen = {name}
        current = name
        authenticated = True
        ttl_s = 2**31
        while True:
            reply = await self._ask(current, wanted)
            if isinstance(reply, _Failure):
                return replace(answer, status=reply.status, aliases=tuple(aliases), detail=reply.detail)
            authenticated = authenticated and bool(reply.flags & dns.flags.AD)
            before = len(aliases)
            while alias := _rrset(reply, current, dns.rdatatype.CNAME) if wanted != dns.rdatatype.CNAME else None:
                current = next(iter(alias)).target
                ttl_s = min(ttl_s, alias.ttl)
                aliases.append(_shown(current))
                if current in seen or len(aliases) > MAX_ALIASES:
                    return replace(answer, aliases=tuple(aliases), detail="the aliases lead in a circle, or too far")
                seen.add(current)
            answer = replace(answer, aliases=tuple(aliases), authenticated=authenticated)
            records = _rrset(reply, current, _RAW_TLSA if wanted == dns.rdatatype.TLSA else wanted)
            if records is not None:
                return _filled(replace(answer, status=Status.FOUND, ttl_s=min(ttl_s, records.ttl)), records)
            authority = _authority(reply, current)
            if reply.rcode() == dns.rcode.NXDOMAIN:
                return replace(answer, status=Status.NXDOMAIN, ttl_s=min(ttl_s, authority.ttl if authority else 0))
            if authority is not None or len(aliases) == before:
                if authority is None and _is_referral(reply):
                    return replace(answer, status=Status.REFERRED, detail="it does not resolve for us")
                return replace(answer, status=Status.NO_DATA, ttl_s=min(ttl_s, authority.ttl if authority else 0))

    async def _ask(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.message.Message | _Failure:
        """Return the first answer of any server, or what kept them from answering."""
        failures: list[_Failure] = []
        async with self._slots:
            until = min(self._ends_at, self._clock.monotonic() + self._query_s)
            for turn in range(_ROUNDS):
                for server in tuple(self._servers):
                    left = until - self._clock.monotonic()
                    if left <= 0:
                        failures.append(_Failure(Status.TIMEOUT, "no time is left"))
                        return _most_telling(failures)
                    reply = await self._attempt(server, name, rdtype, min(left, self._attempt_s * 2**turn))
                    if not isinstance(reply, _Failure):
                        return reply
                    failures.append(reply)
                # A refusal or a failure stays one when the same servers are asked again; silence may be a lost packet.
                if not any(failure.status in (Status.TIMEOUT, Status.MALFORMED) for failure in failures):
                    break
        return _most_telling(failures)

    async def _attempt(
        self, server: Nameserver, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, wait_s: float
    ) -> dns.message.Message | _Failure:
        question = _Question(name, rdtype, edns=True)
        try:
            async with asyncio.timeout(wait_s):
                reply = await self._exchange(server, question)
                if not isinstance(reply, _Failure) and reply.rcode() in _WITHOUT_EDNS:
                    # A server, or a router before it, that is older than EDNS.
                    question = _Question(name, rdtype, edns=False)
                    reply = await self._exchange(server, question)
        except TimeoutError:
            self._demote(server)
            if question.strays:
                return _Failure(Status.MALFORMED, f"{server}: only answers that belong to no question of ours")
            return _Failure(Status.TIMEOUT, f"{server}: no answer in {wait_s:.1f} s")
        except (OSError, EOFError) as error:
            self._demote(server)
            said = error.strerror if isinstance(error, OSError) else None
            return _Failure(Status.TIMEOUT, f"{server}: {said or error}")
        if isinstance(reply, _Failure):
            return replace(reply, detail=f"{server}: {reply.detail}")
        if reply.rcode() not in _ANSWERED:
            status = Status.REFUSED if reply.rcode() == dns.rcode.REFUSED else Status.SERVFAIL
            return _Failure(status, f"{server}: {dns.rcode.to_text(reply.rcode())}")
        return reply

    async def _exchange(self, server: Nameserver, question: _Question) -> dns.message.Message | _Failure:
        self.sent += 1
        reply: dns.message.Message | _Failure = await ask_udp(server, question.wire, question.judge)
        if isinstance(reply, _Failure) or not reply.flags & dns.flags.TC:
            return reply
        self.sent += 1
        whole = question.judge(await ask_tcp(server, question.wire))
        if whole is None or (not isinstance(whole, _Failure) and whole.flags & dns.flags.TC):
            return _Failure(Status.MALFORMED, "the answer over TCP is not the one asked for, or is cut short")
        return whole

    def _demote(self, server: Nameserver) -> None:
        """Put a server that did not answer at the end, so that not every question waits for it first."""
        self._servers.remove(server)
        self._servers.append(server)


def _most_telling(failures: list[_Failure]) -> _Failure:
    """Return what a server said rather than that another was silent."""
    return next((failure for failure in failures if failure.status is not Status.TIMEOUT), failures[0])


def _name(text: str) -> dns.name.Name | None:
    """Return the absolute name, or None for one that no question can hold."""
    if not text.isascii() or not text:
        return None
    try:
        # The dot makes "@" a label; without it, it would be the origin.
        return dns.name.from_text(text + "." if text == "@" else text, dns.name.root)
    except (dns.name.EmptyLabel, dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.BadEscape):
        return None


def _shown(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True)


def _with_raw_tlsa(data: bytes) -> bytes:
    """Return an answer with its TLSA records made ``_RAW_TLSA``. Raises DNSException for bytes that are no answer."""
    changed = bytearray(data)
    parser = dns.wire.Parser(data, 4)
    questions, records, _, _ = parser.get_struct("!HHHH")
    for _ in range(questions):
        parser.get_name(decompress=True)
        parser.get_struct("!HH")
    for _ in range(records):
        parser.get_name(decompress=True)
        at = parser.current
        rdtype, _, _, length = parser.get_struct("!HHIH")
        if rdtype == dns.rdatatype.TLSA:
            changed[at : at + 2] = _RAW_TLSA.to_bytes(2, "big")
        parser.get_bytes(length)
    return bytes(changed)


def _rrset(reply: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
    return reply.get_rrset(reply.answer, name, dns.rdataclass.IN, rdtype)


@dataclass(frozen=True, slots=True)
class _Authority:
    ttl: int


def _authority(reply: dns.message.Message, name: dns.name.Name) -> _Authority | None:
    """Return how long "nothing there" holds for the name, if a zone that holds the name says so (RFC 2308)."""
    for rrset in reply.authority:
        if rrset.rdtype == dns.rdatatype.SOA and rrset.rdclass == dns.rdataclass.IN and name.is_subdomain(rrset.name):
            return _Authority(min(rrset.ttl, next(iter(rrset)).minimum))
    return None


def _is_referral(reply: dns.message.Message) -> bool:
    """Return True when the server only says who else might know, which would look like "no such record"."""
    final = reply.flags & (dns.flags.AA | dns.flags.RA)
    return not final and any(rrset.rdtype == dns.rdatatype.NS for rrset in reply.authority)


def _filled(answer: Answer, records: dns.rrset.RRset) -> Answer:
    """Return the answer with the records of its type, in the order received."""
    match answer.rdtype:
        case "TXT" | "SPF":
            return replace(answer, texts=tuple(Text(tuple(record.strings)) for record in records))
        case "A" | "AAAA":
            return replace(answer, addresses=tuple(ip_address(record.address) for record in records))
        case "MX":
            return replace(answer, exchanges=tuple(Mx(mx.preference, _shown(mx.exchange)) for mx in records))
        case "PTR" | "NS" | "CNAME":
            return replace(answer, hosts=tuple(_shown(record.target) for record in records))
        case "TLSA":
            # A record without the three numbers is missing them, and none of them is usable as 255.
            raw = [record.data[:3].ljust(3, b"\xff") + record.data[3:] for record in records]
            return replace(answer, associations=tuple(Tlsa(data[0], data[1], data[2], data[3:]) for data in raw))
        case "CAA":
            return replace(answer, authorizations=tuple(Caa(c.flags, _ascii(c.tag), _ascii(c.value)) for c in records))
        case "SRV":
            services = tuple(Srv(srv.priority, srv.weight, srv.port, _shown(srv.target)) for srv in records)
            return replace(answer, services=services)
        case "SOA":
            soa = next(iter(records))
            times = (soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum)
            return replace(answer, authority=Soa(_shown(soa.mname), _shown(soa.rname), *times))
        case _:
            return answer


def _ascii(data: bytes) -> str:
    return data.decode("ascii", "backslashreplace")
