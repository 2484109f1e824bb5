"""``check-dns`` before zones and servers that mean harm: it ends, says what it knows, and writes nothing raw."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.support.mistakes import Mistake, Records, published
from tests.support.nameserver import Behaviour, Responder, refusing, silent

if TYPE_CHECKING:
    from tests.support.program import Program, Run

EVIL = "\x1b[2J\x1b]8;;http://x.example\x07[link=http://x.example]\x1b]52;c;eA==\x07[/]\u202e\x9b31m\r"
RAW = ("\x1b]", "\x1b[2J", "\x07", "\u202e", "\x9b", "\r")


def hostile(records: Records) -> Mistake:
    return Mistake("hostile", "d1.example", "", "", {}, records, signed=False)


ZONES: dict[str, Records] = {
    "an include of itself": {("d1.example", "TXT"): ["v=spf1 include:d1.example -all"]},
    "includes in a circle": {
        ("d1.example", "TXT"): ["v=spf1 include:a.example -all"],
        ("a.example", "TXT"): ["v=spf1 include:d1.example include:a.example -all"],
    },
    "a bomb of includes": {
        ("d1.example", "TXT"): ["v=spf1 " + " ".join(f"include:a{n}.example" for n in range(9)) + " -all"],
        **{
            (f"a{n}.example", "TXT"): ["v=spf1 " + " ".join(f"include:a{m}.example" for m in range(9)) + " ?all"]
            for n in range(9)
        },
    },
    "a TXT record of 60 KB": {("d1.example", "TXT"): ["v=spf1 " + "a " * 30000 + "-all"]},
    "a TXT record of 200 strings": {("d1.example", "TXT"): [["v=spf1 ", *["a "] * 200, "-all"]]},
    "control characters and markup": {
        ("d1.example", "TXT"): [f"v=spf1 {EVIL} +all", EVIL],
        ("_dmarc.d1.example", "TXT"): [f"v=DMARC1; p={EVIL}; rua=mailto:{EVIL}"],
        ("s1._domainkey.d1.example", "TXT"): [f"v=DKIM1; k={EVIL}; p={EVIL}"],
        ("_mta-sts.d1.example", "TXT"): [f"v=STSv1; id={EVIL}"],
        ("_smtp._tls.d1.example", "TXT"): [f"v=TLSRPTv1; rua={EVIL}"],
        ("default._bimi.d1.example", "TXT"): [f"v=BIMI1; l={EVIL}"],
        ("d1.example", "MX"): [r"10 \027]52\;c\007[link=x].d1.example."],
        ("s2._domainkey.d1.example", "CNAME"): [r"\027[2J[/].gone.example."],
    },
    "a circle of aliases": {
        ("d1.example", "CNAME"): ["a.example."],
        ("a.example", "CNAME"): ["d1.example."],
    },
}
CHECKS = ("--only", "spf,dkim,dmarc,mx,mta-sts,tlsrpt,bimi", "--selector", "s1", "--selector", "s2")


def arguments(server: object) -> list[str]:
    return ["check-dns", "d1.example", *CHECKS, "--nameserver", str(server)]


def on_a_terminal(program: Program, *command: str) -> str:
    """Run a command on a pseudo-terminal and return what it wrote there."""
    ours, theirs = pty.openpty()
    environment = {**program.env, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(
        program.command(*command), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as run:
        os.close(theirs)
        written = b""
        try:
            while select.select([ours], [], [], 60)[0]:
                written += os.read(ours, 65536)
        except OSError:  # the terminal hung up: the program has ended
            pass
        finally:
            run.kill()
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("zone", ZONES.values(), ids=ZONES)
def test_a_hostile_zone_comes_to_an_end_and_writes_nothing_raw(program: Program, zone: Records) -> None:
    program.configure(25)

    async def scenario() -> tuple[Run, Run, str]:
        async with published([hostile(zone)]) as server:
            command = arguments(server)
            piped = await asyncio.to_thread(program.run, *command, code=None)
            document = await asyncio.to_thread(program.run, *command, "--json", code=None)
            shown = await asyncio.to_thread(on_a_terminal, program, *command)
        return piped, document, shown

    piped, document, shown = asyncio.run(scenario())
    assert {piped.code, document.code} <= {1, 75}
    assert piped.code == document.code
    assert "d1.example" in shown
    assert "Traceback" not in shown
    assert not [raw for raw in RAW if raw in shown or raw in piped.stdout + piped.stderr]
    assert "\x1b" not in piped.stdout + piped.stderr
    assert document.stdout.isascii()
    assert "\x1b" not in document.stdout


def test_a_bomb_of_includes_costs_few_queries_and_none_is_asked_twice(program: Program) -> None:
    program.configure(25)
    asked: list[tuple[str, str]] = []

    async def scenario() -> Run:
        async with published([hostile(ZONES["a bomb of includes"])], asked=asked) as server:
            command = ["check-dns", "d1.example", "--only", "spf", "--json", "--nameserver", str(server)]
            return await asyncio.to_thread(program.run, *command, code=1)

    (report,) = asyncio.run(scenario()).json["domains"]
    assert "spf-too-many-lookups" in {one["code"] for one in report["findings"]}
    assert len(asked) <= 60
    assert sorted(asked) == sorted(set(asked))


def cut_short(query: dns.message.Message, tcp: bool) -> bytes:
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.TC
    return reply.to_wire()


def wrong_id(query: dns.message.Message, tcp: bool) -> bytes:
    reply = dns.message.make_response(query)
    reply.id ^= 1
    return reply.to_wire()


def compression_loop(query: dns.message.Message, tcp: bool) -> bytes:
    wire = dns.message.make_response(query).to_wire()
    # One question, one answer, and the answer's name is a pointer to itself.
    return wire[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + b"\xc0\x0c\x00\x10\x00\x01"


SERVERS: dict[str, Behaviour] = {
    "silent": silent,
    "REFUSED": refusing(dns.rcode.REFUSED),
    "SERVFAIL": refusing(dns.rcode.SERVFAIL),
    "cut short over TCP too": cut_short,
    "a wrong id": wrong_id,
    "a compression loop": compression_loop,
}


@pytest.mark.parametrize("behaviour", SERVERS.values(), ids=SERVERS)
def test_a_server_that_does_not_answer_is_an_error_and_never_a_missing_record(
    program: Program, behaviour: Behaviour
) -> None:
    program.configure(25)

    async def scenario() -> Run:
        async with Responder(behaviour) as server:
            command = ["check-dns", "d1.example", "--only", "spf,dmarc,mx", "--json", "--nameserver", str(server)]
            return await asyncio.to_thread(program.run, *command, code=75)

    (report,) = asyncio.run(scenario()).json["domains"]
    assert report["verdict"] == "error"
    assert {one["severity"] for one in report["findings"]} <= {"error", "info"}
    assert {"spf-dns-error", "dmarc-error", "mx-error"} <= {one["code"] for one in report["findings"]}
