"""Zones and servers that mean harm, met by the whole command: it ends, it shows nothing raw, and it says what it knows.

That a run ends is held by the time limit of ``Program.run``; the bounds of work are counted in queries.
"""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
from collections.abc import Mapping

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset
import pytest

from tests.support.nameserver import Behaviour, Reply, Responder, refusing, serving, silent
from tests.support.program import Program, Run
from ucrmmail.dns.answer import Status

ESCAPES = "\x1b[31m\x1b]0;owned\x07\x1b]52;c;eA==\x07\x9b2J\u202eexe\u2066 [bold]x[/bold] [link=http://x]y[/link] [/]"
Records = dict[tuple[str, str], object]
D = "d.example"
BOMB: Records = {
    (f"{name}.{D}", "TXT"): "v=spf1 " + " ".join(f"include:{name}{branch}.{D}" for branch in "abcdefghij") + " -all"
    for name in ("x", *(f"x{branch}" for branch in "abcdefghij"))
}


def against(program: Program, behaviour: Behaviour, *arguments: str) -> tuple[Run, Responder]:
    """Run the command against a server that behaves so; any exit code but a crash."""
    responder = Responder(behaviour)

    async def run() -> Run:
        async with responder as server:
            everything = ("check-dns", D, "--nameserver", str(server), "--selector", "s1", *arguments)
            return await asyncio.to_thread(program.run, *everything, code=None)

    done = asyncio.run(run())
    assert done.code in (0, 1, 75), done.stderr
    return done, responder


def zone(program: Program, records: Mapping[tuple[str, str], object], *arguments: str, domain: str = D) -> Run:
    async def run() -> Run:
        async with serving(records) as server:
            everything = ("check-dns", domain, "--nameserver", str(server), *arguments)
            return await asyncio.to_thread(program.run, *everything, code=None)

    done = asyncio.run(run())
    assert done.code in (0, 1, 75), done.stderr
    return done


def codes(run: Run) -> set[str]:
    return {finding["code"] for domain in run.json["domains"] for finding in domain["findings"]}


@pytest.fixture(autouse=True)
def configured(program: Program) -> None:
    program.configure(25, dns='sending_addresses = ["192.0.2.25"]')


# --- texts ------------------------------------------------------------------------------------------------------------

HOSTILE: Records = {
    (D, "TXT"): [f"v=spf1 include:{ESCAPES} {ESCAPES} -all", ESCAPES, b"\x00\xff" * 100, ("a",) * 200],
    (D, "MX"): [(10, "\\027]0\\059owned\\007.example"), (20, "mail.d.example")],
    ("mail.d.example", "A"): "192.0.2.25",
    ("s1._domainkey.d.example", "TXT"): f"v=DKIM1; p={ESCAPES}; n={ESCAPES}",
    ("_dmarc.d.example", "TXT"): f"v=DMARC1; p={ESCAPES}; rua=mailto:{ESCAPES}@x; {ESCAPES}=1",
    ("_mta-sts.d.example", "TXT"): f"v=STSv1; id={ESCAPES}",
    ("_smtp._tls.d.example", "TXT"): f"v=TLSRPTv1; rua={ESCAPES}",
    ("default._bimi.d.example", "TXT"): f"v=BIMI1; l={ESCAPES}",
    ("25.2.0.192.in-addr.arpa", "PTR"): "\\027[2J.example",
}


def raw_in(text: str) -> set[str]:
    """Return what a terminal would obey, or a reader misread."""
    return {character for character in text if (ord(character) < 32 and character not in "\n\r\t") or
            0x7F <= ord(character) < 0xA0 or character in "\u202e\u2066\u200b"}  # fmt: skip


@pytest.mark.requirement("S10")
def test_nothing_of_a_record_reaches_a_pipe_or_a_document_raw(program: Program) -> None:
    shown = zone(program, HOSTILE, "--selector", "s1")
    assert raw_in(shown.stdout + shown.stderr) == set()
    assert "[bold]x[/bold]" in shown.stdout
    assert "\\x1b]0;owned\\x07" in shown.stdout
    document = zone(program, HOSTILE, "--selector", "s1", "--json")
    assert document.stdout.isascii()
    assert raw_in(document.stdout) == set()
    assert document.json["domains"][0]["verdict"] == "fail"
    as_zone = zone(program, HOSTILE, "--selector", "s1", "--zone")
    assert raw_in(as_zone.stdout) == set()


@pytest.mark.requirement("S10")
def test_nothing_of_a_record_reaches_a_terminal_raw(program: Program) -> None:
    async def run() -> bytes:
        async with serving(HOSTILE) as server:
            return await asyncio.to_thread(
                on_terminal, program, "check-dns", D, "x.example", "--nameserver", str(server)
            )

    seen = asyncio.run(run()).decode()
    for harm in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\u2066"):
        assert harm not in seen
    assert "\\x1b]0;owned\\x07" in seen


def on_terminal(program: Program, *arguments: str) -> bytes:
    master, slave = pty.openpty()
    env = {**program.env, "TERM": "xterm-256color", "COLUMNS": "200"}
    with subprocess.Popen(
        program.command(*arguments), stdin=slave, stdout=slave, stderr=slave, env=env, cwd=program.home
    ) as process:
        os.close(slave)
        seen = b""
        # Reading a terminal whose other side is gone fails, and that is the end.
        try:
            while data := os.read(master, 65536):
                seen += data
        except OSError:
            pass
        process.wait(60)
    os.close(master)
    return seen


# --- sizes and circles ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R32", "S12", "S13")
@pytest.mark.parametrize(
    "text",
    [
        "v=spf1 " + "ip4:192.0.2.1 " * 4000 + "-all",
        "v=spf1 " + "%{d}" * 10_000 + " -all",
        "v=spf1 exists:" + "%{i}." * 5_000 + "example -all",
        "v=spf1 " + "(" * 60_000,
        "x" * 64_000,
        "v=DKIM1; p=" + "A" * 60_000,
        "v=DMARC1; " + "a=b;" * 15_000,
    ],
    ids=["terms", "macros", "long-name", "brackets", "letters", "key", "tags"],
)
def test_a_record_of_64_kilobytes_is_judged_and_shown_in_part(program: Program, text: str) -> None:
    names = (D, f"s1._domainkey.{D}", f"_dmarc.{D}", f"_mta-sts.{D}", f"_smtp._tls.{D}", f"default._bimi.{D}")
    records = {(name, "TXT"): text for name in names}
    run = zone(program, records, "--selector", "s1", "--json")
    assert run.json["domains"][0]["verdict"] == "fail"
    assert len(zone(program, records, "--selector", "s1").stdout) < 50_000


@pytest.mark.requirement("R32", "S12")
@pytest.mark.parametrize(
    ("records", "code"),
    [
        ({(D, "TXT"): f"v=spf1 include:{D} -all"}, "spf-include-loop"),
        ({(D, "TXT"): f"v=spf1 redirect={D}"}, "spf-include-loop"),
        (BOMB | {(D, "TXT"): f"v=spf1 include:x.{D} -all"}, "spf-too-many-lookups"),
        ({(D, "TXT"): "v=spf1 " + " ".join(f"a:v{n}.{D}" for n in range(100)) + " -all"}, "spf-too-many-void-lookups"),
        ({(D, "TXT"): "v=spf1 mx -all", (D, "MX"): [(n, f"m{n}.{D}") for n in range(100)]}, "spf-too-many-mx"),
        ({(f"s1._domainkey.{D}", "CNAME"): f"s1._domainkey.{D}"}, "dkim-error"),
        ({(f"_dmarc.{D}", "CNAME"): f"x.{D}", (f"x.{D}", "CNAME"): f"_dmarc.{D}"}, "dmarc-error"),
    ],
    ids=["self-include", "self-redirect", "bomb", "voids", "mx", "cname-self", "cname-circle"],
)
def test_a_circle_or_a_bomb_has_its_code(program: Program, records: Records, code: str) -> None:
    exists = {(D, "A"): "192.0.2.1"}
    assert code in codes(zone(program, exists | records, "--only", "spf,dkim,dmarc", "--selector", "s1", "--json"))


@pytest.mark.requirement("R32", "S12")
def test_the_work_for_a_bomb_is_bounded(program: Program) -> None:
    # Every name includes ten more, for ever.
    def answer(query: dns.message.Message, tcp: bool) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        question = query.question[0]
        if question.rdtype == dns.rdatatype.TXT and "_" not in question.name.to_text():
            name = question.name.to_text(omit_final_dot=True)
            text = "v=spf1 " + " ".join(f"include:{letter}.{name}" for letter in "abcdefghij") + " -all"
            rrset = dns.rrset.RRset(question.name, dns.rdataclass.IN, dns.rdatatype.TXT)
            rrset.ttl = 300
            parts = [text[at : at + 255].encode() for at in range(0, len(text), 255)]
            rrset.add(dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, parts))
            reply.answer.append(rrset)
        elif question.rdtype != dns.rdatatype.TXT:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        wire = reply.to_wire(max_size=65535)
        if not tcp and len(wire) > query.payload:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            wire = reply.to_wire(max_size=65535)
        return wire

    run, responder = against(program, answer, "--only", "spf", "--json")
    assert codes(run) >= {"spf-too-many-lookups"}
    asked = {(query.question[0].name, query.question[0].rdtype) for query, _ in responder.queries}
    assert len(asked) <= 60


# --- servers ----------------------------------------------------------------------------------------------------------


def garbage(query: dns.message.Message, tcp: bool) -> Reply:
    return query.to_wire()[:2] + b"\x81\x80" + b"\xff" * 200


def wrong_ids(query: dns.message.Message, tcp: bool) -> Reply:
    reply = dns.message.make_response(query)
    reply.id ^= 1
    return reply.to_wire()


def pointing_at_itself(query: dns.message.Message, tcp: bool) -> Reply:
    """A name that is compressed into a circle (RFC 1035 section 4.1.4)."""
    return query.to_wire()[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x10\x00\x01" + b"\xc0\x0c" * 20


def cut_short(query: dns.message.Message, tcp: bool) -> Reply:
    """Cut short over UDP, and the connection over TCP ends without a word."""
    if tcp:
        return []
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.TC
    return reply.to_wire()


@pytest.mark.requirement("R32", "S12")
@pytest.mark.parametrize(
    "behaviour",
    [refusing(dns.rcode.SERVFAIL), refusing(dns.rcode.REFUSED), garbage, pointing_at_itself, cut_short],
    ids=["servfail", "refused", "garbage", "compression", "cut-short"],
)
def test_a_server_that_says_nothing_of_use_is_an_error_and_nothing_is_missing(
    program: Program, behaviour: Behaviour
) -> None:
    run, _ = against(program, behaviour, "--json")
    assert run.code == 75
    (domain,) = run.json["domains"]
    assert domain["verdict"] == "error"
    assert {finding["severity"] for finding in domain["findings"]} <= {"error", "warn", "info"}
    assert not any(code.endswith(("-missing", "-absent", "-no-record")) for code in codes(run))


@pytest.mark.requirement("R32", "S12")
@pytest.mark.parametrize("behaviour", [silent, wrong_ids], ids=["silent", "wrong-ids"])
def test_a_server_that_does_not_answer_ends_the_run_as_an_error(program: Program, behaviour: Behaviour) -> None:
    run, _ = against(program, behaviour, "--only", "spf", "--json")
    assert run.code == 75
    assert codes(run) == {"spf-dns-error"}


@pytest.mark.requirement("R32")
def test_one_record_that_fails_leaves_the_other_verdicts(program: Program) -> None:
    records: Records = {(D, "TXT"): "v=spf1 ip4:192.0.2.25 -all", (f"_dmarc.{D}", "TXT"): Status.SERVFAIL}
    run = zone(program, records, "--only", "spf,dmarc", "--json")
    assert codes(run) >= {"spf-valid", "dmarc-error"}
    assert run.code == 75
