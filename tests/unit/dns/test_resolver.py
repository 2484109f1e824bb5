"""The resolver against a real nameserver, and against one that misbehaves."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import ip_address
from typing import TypeVar

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from tests.support.nameserver import Behaviour, Responder, nsd, refusing, saying, serving, silent
from ucrmmail.clock import Clock
from ucrmmail.dns.answer import Answer, Mx, Soa, Srv, Status, Text, Tlsa
from ucrmmail.dns.nameserver import Nameserver
from ucrmmail.dns.resolver import DnsResolver

T = TypeVar("T")

ZONE = f"""\
$ORIGIN example.
$TTL 300
@        IN SOA ns.example. hostmaster.example. 2026112301 7200 3600 1209600 60
@        IN NS ns.example.
ns       IN A 127.0.0.1
@        IN MX 20 mail2.example.
@        IN MX 10 mail.example.
@        IN TXT "v=spf1 mx " "-all"
@        IN TXT "other"
@        IN CAA 0 issue "ca.example.net"
_25._tcp.mail2 IN TLSA 3 1 1 2222
_25._tcp.mail2 IN TLSA 3 1 2 {"cd" * 64}
_submissions._tcp IN SRV 0 1 465 mail.example.
mail     IN A 192.0.2.1
mail     IN AAAA 2001:db8::1
mail2    IN A 192.0.2.2
_25._tcp.mail IN TLSA 3 1 1 {"ab" * 32}
old      IN TYPE99 \\# 9 0876 3d73706631202d
odd      IN TXT "\\255\\000 \\"quoted\\""
www      IN CNAME web
web      IN CNAME mail
away     IN CNAME host.other.test.
gone     IN CNAME nothing.example.
quiet    IN CNAME empty.example.
empty    IN TXT "no addresses here"
null     IN MX 0 .
long     IN TXT {" ".join(f'"{"x" * 250}"' for _ in range(16))}
a\\.b    IN TXT "a dot in a label"
1        IN PTR mail.example.
"""
OTHER = """\
$ORIGIN other.test.
$TTL 60
@     IN SOA ns.other.test. hostmaster.other.test. 1 7200 3600 1209600 60
@     IN NS ns.other.test.
ns    IN A 127.0.0.1
host  IN A 192.0.2.9
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nameserver]:
    with nsd(tmp_path_factory.mktemp("nsd"), {"example": ZONE, "other.test": OTHER}) as running:
        yield running


def asked(server: Nameserver, name: str, rdtype: str) -> Answer:
    async def ask() -> Answer:
        return await DnsResolver([server], clock=Clock(), attempt_s=1.0).query(name, rdtype)

    return asyncio.run(ask())


@pytest.mark.requirement("S13")
def test_strings_of_a_text_record_stay_apart_and_join_without_a_blank(server: Nameserver) -> None:
    answer = asked(server, "example.", "TXT")
    assert answer.status is Status.FOUND
    assert answer.name == "example"
    assert set(answer.texts) == {Text((b"v=spf1 mx ", b"-all")), Text((b"other",))}
    assert answer.ttl_s == 300


def test_a_tlsa_record_of_the_wrong_length_is_handed_on_beside_the_others(server: Nameserver) -> None:
    found = asked(server, "_25._tcp.mail2.example", "TLSA")
    assert found.status is Status.FOUND
    assert set(found.associations) == {Tlsa(3, 1, 1, b"\x22\x22"), Tlsa(3, 1, 2, b"\xcd" * 64)}


@pytest.mark.requirement("S13")
def test_bytes_of_any_kind_come_through(server: Nameserver) -> None:
    assert asked(server, "odd.example", "TXT").texts == (Text((b'\xff\x00 "quoted"',)),)


def test_records_of_each_type_become_plain_values(server: Nameserver) -> None:
    assert set(asked(server, "example", "MX").exchanges) == {Mx(20, "mail2.example"), Mx(10, "mail.example")}
    assert asked(server, "mail.example", "A").addresses == (ip_address("192.0.2.1"),)
    assert asked(server, "mail.example", "AAAA").addresses == (ip_address("2001:db8::1"),)
    assert asked(server, "1.example", "PTR").hosts == ("mail.example",)
    assert asked(server, "example", "NS").hosts == ("ns.example",)
    assert asked(server, "_25._tcp.mail.example", "TLSA").associations == (Tlsa(3, 1, 1, b"\xab" * 32),)
    assert asked(server, "_submissions._tcp.example", "SRV").services == (Srv(0, 1, 465, "mail.example"),)
    (caa,) = asked(server, "example", "CAA").authorizations
    assert (caa.flags, caa.tag, caa.value) == (0, "issue", "ca.example.net")
    soa = Soa("ns.example", "hostmaster.example", 2026112301, 7200, 3600, 1209600, 60)
    assert asked(server, "example", "SOA").authority == soa
    assert asked(server, "null.example", "MX").exchanges == (Mx(0, "."),)
    assert asked(server, "old.example", "SPF").texts == (Text((b"v=spf1 -",)),)


def test_name_without_records_of_a_type_is_told_apart_from_no_name(server: Nameserver) -> None:
    assert asked(server, "mail.example", "TXT").status is Status.NO_DATA
    assert asked(server, "_tcp.mail.example", "TXT").status is Status.NO_DATA
    nothing = asked(server, "nothing.example", "TXT")
    assert nothing.status is Status.NXDOMAIN
    assert nothing.ttl_s == 60


def test_zone_that_is_not_served_is_refused_and_not_missing(server: Nameserver) -> None:
    answer = asked(server, "elsewhere.test", "TXT")
    assert answer.status is Status.REFUSED
    assert str(server) in answer.detail


def test_aliases_are_followed_and_shown(server: Nameserver) -> None:
    answer = asked(server, "www.example", "A")
    assert answer.addresses == (ip_address("192.0.2.1"),)
    assert answer.aliases == ("web.example", "mail.example")
    assert asked(server, "www.example", "CNAME").hosts == ("web.example",)
    assert asked(server, "www.example", "CNAME").aliases == ()


def test_answer_that_ends_at_an_alias_of_another_zone_is_asked_further(server: Nameserver) -> None:
    answer = asked(server, "away.example", "A")
    assert answer.addresses == (ip_address("192.0.2.9"),)
    assert answer.aliases == ("host.other.test",)
    assert answer.ttl_s == 60


def test_alias_to_nothing_is_no_such_name_and_to_another_type_no_data(server: Nameserver) -> None:
    assert asked(server, "gone.example", "A").status is Status.NXDOMAIN
    assert asked(server, "quiet.example", "A").status is Status.NO_DATA


@pytest.mark.requirement("S12")
def test_answer_cut_short_is_asked_again_over_tcp(server: Nameserver) -> None:
    answer = asked(server, "long.example", "TXT")
    assert len(answer.texts[0].joined) == 16 * 250


def test_escapes_in_names_are_understood(server: Nameserver) -> None:
    assert asked(server, r"a\.b.example", "TXT").status is Status.FOUND
    assert asked(server, r"a\046b.example", "TXT").status is Status.FOUND


@pytest.mark.parametrize(
    "name", ["", "a..example", "x" * 64 + ".example", ".".join(["x" * 60] * 5), "\u00e9.example", r"a\9"]
)
def test_name_that_no_question_can_hold_is_not_asked(name: str) -> None:
    async def ask() -> tuple[Answer, int]:
        resolver = DnsResolver([Nameserver("127.0.0.1", 1)], clock=Clock())
        return await resolver.query(name, "TXT"), resolver.sent

    answer, sent = asyncio.run(ask())
    assert answer.status is Status.NXDOMAIN
    assert sent == 0


# --- a server that misbehaves ---


def against(*behaviours: Behaviour, ask: Callable[[DnsResolver], Coroutine[None, None, T]], **limits: float) -> T:
    """Run ``ask`` with a resolver whose servers behave so."""

    async def run() -> T:
        responders = [Responder(behaviour) for behaviour in behaviours]
        servers = [await responder.__aenter__() for responder in responders]
        try:
            return await ask(DnsResolver(servers, clock=Clock(), **({"attempt_s": 0.3, "query_s": 2.0} | limits)))
        finally:
            for responder in responders:
                await responder.__aexit__(None, None, None)

    return asyncio.run(run())


async def text_of_example(resolver: DnsResolver) -> Answer:
    return await resolver.query("example", "TXT")


FOUND = saying('example. 300 IN TXT "here"')


@pytest.mark.requirement("R32", "S12")
@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (refusing(dns.rcode.SERVFAIL), Status.SERVFAIL),
        (refusing(dns.rcode.REFUSED), Status.REFUSED),
        (refusing(dns.rcode.NOTAUTH), Status.SERVFAIL),
        (silent, Status.TIMEOUT),
        (lambda query, tcp: query.to_wire()[:2] + b"\x80\x00" + b"\xff" * 40, Status.MALFORMED),
        (lambda query, tcp: b"\x00" * 5, Status.MALFORMED),
    ],
)
def test_failure_is_told_as_what_it_is_and_never_as_no_record(behaviour: Behaviour, status: Status) -> None:
    answer = against(behaviour, ask=text_of_example)
    assert answer.status is status
    assert not answer.status.is_known
    assert "127.0.0.1" in answer.detail


@pytest.mark.parametrize("behaviour", [refusing(dns.rcode.SERVFAIL), refusing(dns.rcode.REFUSED), silent])
def test_next_server_is_asked_when_one_cannot_answer(behaviour: Behaviour) -> None:
    assert against(behaviour, FOUND, ask=text_of_example).texts == (Text((b"here",)),)


def test_server_where_nothing_listens_costs_no_time() -> None:
    async def ask() -> Answer:
        async with Responder(FOUND) as good:
            resolver = DnsResolver([Nameserver("127.0.0.1", 1), good], clock=Clock(), attempt_s=60.0, query_s=60.0)
            return await asyncio.wait_for(resolver.query("example", "TXT"), 5)

    assert asyncio.run(ask()).status is Status.FOUND


def test_silent_server_delays_one_question_only() -> None:
    async def ask(resolver: DnsResolver) -> int:
        await resolver.query("example", "TXT")
        for number in range(10):
            await resolver.query(f"{number}.example", "TXT")
        return resolver.sent

    # Both are asked the first question, and the one that answers all the others.
    assert against(silent, refusing(dns.rcode.NXDOMAIN), ask=ask) == 2 + 10


def test_what_a_server_said_is_told_before_the_silence_of_another() -> None:
    assert against(silent, refusing(dns.rcode.SERVFAIL), ask=text_of_example).status is Status.SERVFAIL


@pytest.mark.requirement("S12")
def test_question_and_run_have_time_limits() -> None:
    async def ask(resolver: DnsResolver) -> tuple[int, Answer]:
        answers = await asyncio.gather(*(resolver.query(f"{number}.example", "TXT") for number in range(200)))
        return resolver.sent, answers[-1]

    # When the time of the run is over, what still waits for its turn is not sent.
    sent, last = against(silent, ask=ask, attempt_s=0.2, query_s=0.3, run_s=0.5)
    assert sent < 400
    assert last.status is Status.TIMEOUT


@pytest.mark.requirement("S12")
def test_answer_with_another_id_is_dropped_and_the_right_one_awaited() -> None:
    def forged_first(query: dns.message.Message, tcp: bool) -> list[bytes]:
        right = FOUND(query, tcp)
        assert isinstance(right, bytes)
        wrong = saying('example. 300 IN TXT "forged"')(query, tcp)
        assert isinstance(wrong, bytes)
        return [struct.pack("!H", query.id ^ 1) + wrong[2:], right]

    assert against(forged_first, ask=text_of_example).texts == (Text((b"here",)),)


def test_answer_to_another_question_is_dropped() -> None:
    def other(query: dns.message.Message, tcp: bool) -> list[bytes]:
        question = dns.message.make_query("other.", "TXT")
        question.id = query.id
        wrong, right = saying('example. 300 IN TXT "forged"')(question, tcp), FOUND(query, tcp)
        assert isinstance(wrong, bytes)
        assert isinstance(right, bytes)
        return [wrong, right]

    assert against(other, ask=text_of_example).texts == (Text((b"here",)),)


def test_records_of_another_name_in_the_answer_are_not_believed() -> None:
    stranger = saying('stranger. 300 IN TXT "v=spf1 +all"')
    assert against(stranger, ask=text_of_example).status is Status.NO_DATA


def test_compression_loop_is_a_malformed_answer() -> None:
    def loop(query: dns.message.Message, tcp: bool) -> bytes:
        head = struct.pack("!HHHHHH", query.id, 0x8180, 1, 1, 0, 0)
        question = query.to_wire()[12 : 12 + 13]
        return head + question + b"\xc0\x19" + struct.pack("!HHIH", 16, 1, 300, 5) + b"\x04here"

    assert against(loop, ask=text_of_example).status is Status.MALFORMED


@pytest.mark.requirement("S12")
@pytest.mark.parametrize(
    "records",
    [
        ["example. 300 IN CNAME example."],
        ["example. 300 IN CNAME a.", "a. 300 IN CNAME b.", "b. 300 IN CNAME example."],
        ["example. 300 IN CNAME a0."] + [f"a{number}. 300 IN CNAME a{number + 1}." for number in range(40)],
    ],
)
def test_aliases_in_a_circle_or_without_end_are_a_failure(records: list[str]) -> None:
    answer = against(saying(*records), ask=text_of_example)
    assert answer.status is Status.SERVFAIL
    assert len(answer.aliases) <= 9


def test_circle_of_aliases_over_several_answers_ends() -> None:
    def next_alias(query: dns.message.Message, tcp: bool) -> bytes:
        name = query.question[0].name.to_text()
        reply = saying(f"{name} 300 IN CNAME x{name}")(query, tcp)
        assert isinstance(reply, bytes)
        return reply

    assert against(next_alias, ask=text_of_example).status is Status.SERVFAIL


def test_referral_of_a_server_that_does_not_resolve_is_not_taken_for_no_record() -> None:
    def refer(query: dns.message.Message, tcp: bool) -> bytes:
        reply = dns.message.make_response(query)
        reply.authority.append(dns.rrset.from_text("example.", 300, "IN", "NS", "ns.elsewhere.test."))
        return reply.to_wire()

    answer = against(refer, ask=text_of_example)
    assert answer.status is Status.REFERRED
    assert not answer.status.is_known


@pytest.mark.requirement("S12")
def test_truncated_answer_whose_tcp_connection_fails_is_not_used() -> None:
    def cut(query: dns.message.Message, tcp: bool) -> list[bytes]:
        if tcp:
            return []
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.TC
        return [reply.to_wire()]

    answer = against(cut, ask=text_of_example)
    assert not answer.status.is_known
    assert answer.texts == ()


def test_server_older_than_edns_is_asked_without_it() -> None:
    def old(query: dns.message.Message, tcp: bool) -> bytes:
        reply = (refusing(dns.rcode.FORMERR) if query.edns >= 0 else FOUND)(query, tcp)
        assert isinstance(reply, bytes)
        return reply

    assert against(old, ask=text_of_example).status is Status.FOUND


def test_query_offers_edns_and_asks_for_recursion_and_the_dnssec_verdict() -> None:
    async def ask() -> dns.message.Message:
        responder = Responder(FOUND)
        async with responder as server:
            await DnsResolver([server], clock=Clock()).query("example", "TXT")
        return responder.queries[0][0]

    query = asyncio.run(ask())
    assert query.edns == 0
    assert query.payload == 1232
    assert query.flags & dns.flags.RD
    assert query.flags & dns.flags.AD


def test_authenticated_says_whether_the_resolver_validated_the_answer() -> None:
    signed = saying('example. 300 IN TXT "here"', flags=dns.flags.RA | dns.flags.AD)
    assert against(signed, ask=text_of_example).authenticated
    assert not against(FOUND, ask=text_of_example).authenticated


def test_question_is_asked_once_a_run_in_any_case_and_by_any_number() -> None:
    async def ask() -> tuple[int, int]:
        responder = Responder(FOUND, delay_s=0.05)
        async with responder as server:
            resolver = DnsResolver([server], clock=Clock())
            answers = await asyncio.gather(*(resolver.query(name, "TXT") for name in ["example", "EXAMPLE."] * 20))
            assert {answer.status for answer in answers} == {Status.FOUND}
            await resolver.query("example", "TXT")
            await resolver.query("example", "A")
            return len(responder.queries), resolver.sent

    assert asyncio.run(ask()) == (2, 2)


def test_one_who_stops_waiting_does_not_take_the_answer_from_others() -> None:
    async def ask() -> Answer:
        async with Responder(FOUND, delay_s=0.1) as server:
            resolver = DnsResolver([server], clock=Clock())
            first = asyncio.create_task(resolver.query("example", "TXT"))
            await asyncio.sleep(0.02)
            second = asyncio.create_task(resolver.query("example", "TXT"))
            first.cancel()
            return await second

    assert asyncio.run(ask()).status is Status.FOUND


def test_no_more_than_64_questions_are_on_their_way() -> None:
    async def ask() -> int:
        responder = Responder(refusing(dns.rcode.NXDOMAIN), delay_s=0.2)
        async with responder as server:
            resolver = DnsResolver([server], clock=Clock())
            await asyncio.gather(*(resolver.query(f"{number}.example", "A") for number in range(150)))
        return responder.most_at_once

    assert 32 < asyncio.run(ask()) <= 64


def test_answers_with_bytes_gone_wrong_never_raise() -> None:
    chosen = random.Random(20261123)
    answers = [
        saying('example. 300 IN TXT "v=spf1 mx" "-all"', "example. 300 IN MX 10 mail.example.", flags=dns.flags.RA),
        saying(
            "example. 300 IN CNAME mail.example.",
            "mail.example. 300 IN A 192.0.2.1",
            "mail.example. 9 IN AAAA 2001:db8::1",
        ),
        saying('example. 300 IN CAA 0 issue "ca.example.net"', f"example. 300 IN TLSA 3 1 1 {'ab' * 32}"),
        saying("example. 300 IN SOA ns.example. host.example. 1 2 3 4 5", "example. 300 IN NS ns.example."),
    ]

    def spoiled(query: dns.message.Message, tcp: bool) -> bytes:
        reply = chosen.choice(answers)(query, tcp)
        assert isinstance(reply, bytes)
        data = bytearray(reply)
        if chosen.random() < 0.1:
            return reply
        for _ in range(chosen.randint(1, 4)):
            # The id and the header's first flags stay: what is dropped at once is another test's.
            data[chosen.randrange(4, len(data))] = chosen.randrange(256)
        return bytes(data[: chosen.randint(len(data) - 8, len(data))])

    async def ask() -> set[Status]:
        # All at once, so that there is time for each even on a busy machine: an answer that is dropped is waited for.
        async with Responder(spoiled) as server:
            resolvers = [DnsResolver([server], clock=Clock(), attempt_s=2.0, query_s=2.5) for _ in range(20)]
            types = ("TXT", "MX", "A", "AAAA", "CAA", "TLSA", "SRV", "SOA", "NS", "CNAME", "PTR")
            answers = await asyncio.gather(*(each.query("example", kind) for each in resolvers for kind in types))
            return {answer.status for answer in answers}

    assert {Status.FOUND, Status.MALFORMED} <= asyncio.run(ask())


def test_a_tlsa_record_that_ends_before_its_numbers_has_none_that_can_be_used() -> None:
    unknown = saying("example. 300 IN TYPE65281 \\# 2 0301")

    def cut_off(query: dns.message.Message, tcp: bool) -> bytes:
        reply = unknown(query, tcp)
        assert isinstance(reply, bytes)
        return reply.replace((65281).to_bytes(2, "big"), dns.rdatatype.TLSA.to_bytes(2, "big"))

    async def ask() -> Answer:
        async with Responder(cut_off) as server:
            return await DnsResolver([server], clock=Clock()).query("example", "TLSA")

    assert asyncio.run(ask()).associations == (Tlsa(3, 1, 255, b""),)


def test_responder_serves_a_dictionary() -> None:
    async def ask() -> Answer:
        async with serving({("example", "TXT"): ("a" * 200, "b" * 200), ("alias", "CNAME"): "example"}) as server:
            return await DnsResolver([server], clock=Clock()).query("alias", "TXT")

    assert asyncio.run(ask()).texts == (Text((b"a" * 200, b"b" * 200)),)
