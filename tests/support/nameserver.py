"""Nameservers on loopback: NSD for zones as files, and a responder for what no real server would say."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset

from tests.support.zones import Zone
from ucrmmail.dns.answer import Answer, Status
from ucrmmail.dns.nameserver import Nameserver

# What a responder does with a query: answer with bytes (one datagram each), or, with none, keep silent.
Reply = bytes | list[bytes]
Behaviour = Callable[[dns.message.Message, bool], Reply]


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free for UDP and TCP at the moment."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port


@contextlib.contextmanager
def nsd(
    directory: Path, zones: Mapping[str, str], *, address: str = "127.0.0.1", port: int = 0
) -> Iterator[Nameserver]:
    """Run NSD with these zone files (text by zone name) until the block ends; port 0 is a free one."""
    lines = [
        "server:",
        '  username: ""',
        f'  zonesdir: "{directory}"',
        f'  pidfile: "{directory / "nsd.pid"}"',
        f'  zonelistfile: "{directory / "zone.list"}"',
        f'  xfrdfile: "{directory / "xfrd.state"}"',
        f'  xfrdir: "{directory}"',
        "  server-count: 1",
        "  rrl-ratelimit: 0",
        "remote-control:",
        "  control-enable: no",
    ]
    for number, (zone, text) in enumerate(zones.items()):
        file = directory / f"{number}.zone"
        file.write_text(text)
        # NSD starts with what it could read of a zone, and a test would ask about something else than it says.
        checker = shutil.which("nsd-checkzone") or "/usr/sbin/nsd-checkzone"
        checked = subprocess.run([checker, zone, str(file)], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        lines += ["zone:", f'  name: "{zone}"', f'  zonefile: "{number}.zone"']
    with contextlib.ExitStack() as running:
        # Another one may take a free port first, and where the machine is busy NSD may give up at its own start.
        for _ in range(3):
            own_port = port or free_port()
            config = directory / "nsd.conf"
            config.write_text("\n".join([*lines, "server:", f"  ip-address: {address}@{own_port}"]) + "\n")
            process = running.enter_context(_started(config))
            if _answers(address, own_port, process):
                yield Nameserver(address, own_port)
                return
    raise AssertionError(f"nsd did not start: {(directory / 'nsd.log').read_text()}")


@contextlib.contextmanager
def _started(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which("nsd") or "/usr/sbin/nsd"
    with (
        config.with_suffix(".log").open("ab") as log,
        subprocess.Popen([program, "-d", "-c", str(config)], stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=10)


def _answers(address: str, port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until it does; False when it has ended instead."""
    query = dns.message.make_query("example.", "SOA").to_wire()
    # Half a minute: it writes files first, and the disk may be busy.
    for _ in range(600):
        if process.poll() is not None:
            break
        with socket.socket(type=socket.SOCK_DGRAM) as asking, contextlib.suppress(OSError):
            asking.settimeout(0.1)
            asking.connect((address, port))
            asking.send(query)
            asking.recv(4096)
            return True
        time.sleep(0.05)
    return False


@dataclass
class Responder:
    """A server in the test's own event loop; ``queries`` keeps what came in, as (message, whether over TCP)."""

    behaviour: Behaviour
    queries: list[tuple[dns.message.Message, bool]] = field(default_factory=list)
    delay_s: float = 0.0
    most_at_once: int = 0
    address: str = "127.0.0.1"
    port: int = 0  # a free one
    _now: int = 0

    async def __aenter__(self) -> Nameserver:
        port = self.port or free_port()
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(self.address, port))
        self._tcp = await asyncio.start_server(self._stream, self.address, port)
        return Nameserver(self.address, port)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    async def answer(self, wire: bytes, *, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(wire)
        self.queries.append((query, tcp))
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        self._now -= 1
        reply = self.behaviour(query, tcp)
        return [reply] if isinstance(reply, bytes) else reply

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        for reply in await self.answer(await reader.readexactly(length), tcp=True):
            writer.write(struct.pack("!H", len(reply)) + reply)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._reply(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, addr: tuple[str, int]) -> None:
        for reply in await self._responder.answer(data, tcp=False):
            self._transport.sendto(reply, addr)


def refusing(rcode: dns.rcode.Rcode) -> Behaviour:
    """Answer every query with this code and no records."""

    def answer(query: dns.message.Message, tcp: bool) -> bytes:
        reply = dns.message.make_response(query)
        reply.set_rcode(rcode)
        return reply.to_wire()

    return answer


def silent(query: dns.message.Message, tcp: bool) -> list[bytes]:
    """Never answer."""
    return []


def saying(*records: str, flags: int = dns.flags.RA) -> Behaviour:
    """Answer every query with these records, each ``name ttl IN type data``."""

    def answer(query: dns.message.Message, tcp: bool) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= flags
        for record in records:
            name, ttl, _, rdtype, data = record.split(" ", 4)
            reply.answer.append(dns.rrset.from_text(name, int(ttl), "IN", rdtype, data))
        return reply.to_wire()

    return answer


@contextlib.asynccontextmanager
async def serving(records: Mapping[tuple[str, str], object], *, delay_s: float = 0.0) -> AsyncIterator[Nameserver]:
    """Serve a dictionary zone over UDP and TCP, each answer after a delay; see ``zone_behaviour``."""
    async with Responder(zone_behaviour(records), delay_s=delay_s) as server:
        yield server


def zone_behaviour(records: Mapping[tuple[str, str], object]) -> Behaviour:
    """Answer from a dictionary zone; a Status as a value becomes SERVFAIL.

    Text over 255 bytes is published as several strings.
    """
    zone = Zone(records)

    def answer(query: dns.message.Message, tcp: bool) -> bytes:
        question = query.question[0]
        rdtype = dns.rdatatype.to_text(question.rdtype)
        name = b".".join(question.name.labels[:-1]).decode("latin-1")
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        found = zone._answer(name, rdtype, aliases=())
        if found.status is Status.NXDOMAIN:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif not found.status.is_known:
            reply.set_rcode(dns.rcode.SERVFAIL)
        owner = question.name
        for alias in found.aliases:
            target = dns.name.from_text(alias)
            reply.answer.append(dns.rrset.from_text(owner, 300, "IN", "CNAME", target.to_text()))
            owner = target
        if found.status is Status.FOUND:
            reply.answer.append(_rrset(owner, rdtype, found))
        wire = reply.to_wire(max_size=65535)
        if not tcp and len(wire) > query.payload:
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.RA | dns.flags.TC
            wire = reply.to_wire(max_size=65535)
        return wire

    return answer


def _rrset(owner: dns.name.Name, rdtype: str, answer: Answer) -> dns.rrset.RRset:
    rrset = dns.rrset.RRset(owner, dns.rdataclass.IN, dns.rdatatype.from_text(rdtype))
    rrset.ttl = 300
    if rdtype in ("TXT", "SPF"):
        for text in answer.texts:
            if text.strings:  # a record without strings cannot be put on the wire
                strings = [part[at : at + 255] for part in text.strings for at in range(0, max(len(part), 1), 255)]
                rrset.add(dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, rrset.rdtype, strings))
        return rrset
    values: list[str] = [str(address) for address in answer.addresses if isinstance(address, IPv4Address | IPv6Address)]
    values += [f"{mx.preference} {_escaped(mx.exchange)}" for mx in answer.exchanges]
    values += [_escaped(host) for host in answer.hosts]
    if (soa := answer.authority) is not None:
        times = f"{soa.serial} {soa.refresh_s} {soa.retry_s} {soa.expire_s} {soa.minimum_s}"
        values.append(f"{_escaped(soa.primary)} {_escaped(soa.mailbox)} {times}")
    return dns.rrset.from_text_list(owner, 300, "IN", rdtype, values)


def _escaped(name: str) -> str:
    return name.removesuffix(".") + "."
