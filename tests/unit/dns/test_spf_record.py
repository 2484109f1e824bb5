"""Records read as RFC 7208 section 12 has them, whatever bytes they hold."""

from __future__ import annotations

import asyncio
import random
from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.zones import Zone
from ucrmmail.dns.spf import SpfVerdict, check_host, identity
from ucrmmail.dns.spf_lint import lint
from ucrmmail.dns.spf_merge import merged
from ucrmmail.dns.spf_record import is_spf, parse_record
from ucrmmail.dns.spf_slips import near_miss


def test_record_is_read_into_its_terms() -> None:
    record = parse_record(b"V=SPF1  ?A:mail.example/24//64 ip6:2001:db8::/32 REDIRECT=%{d2}.example exp=e.example x=y ")
    assert record.faults == ()
    a, ip6 = record.mechanisms
    assert (a.name, a.qualifier, a.target, a.prefix4, a.prefix6) == ("a", "?", "mail.example", 24, 64)
    assert (ip6.qualifier, ip6.network) == ("+", ip_network("2001:db8::/32"))
    assert [term.name for term in record.modifiers] == ["redirect", "exp", "x"]
    assert record.text[a.start : a.end] == "?A:mail.example/24//64"


@pytest.mark.parametrize(
    "term",
    [
        "ip6:fe80::1%eth0",
        "ip6:2001:db8::/064",
        "ip4:192.0.2.1/024",
        "ip4:192.0.2.1/",
        "ip4:",
        "a:",
        "a:/24",
        "a/024",
        "a//129",
        "mx/33",
        "all:x",
        "include",
        "exists",
        "ptr/24",
        "redirect=",
        "exp=",
        "a:example",
        "a:192.0.2.1",
        "a:example.-com",
    ],
)
def test_term_outside_the_grammar_is_a_fault(term: str) -> None:
    (fault,) = parse_record(f"v=spf1 {term} -all".encode()).faults
    assert (fault.start, fault.end) == (7, 7 + len(term))


@pytest.mark.parametrize("data", [b"v=spf1", b"v=spf1 ", b"V=SpF1 a"])
def test_version_ends_with_a_space_or_the_record(data: bytes) -> None:
    assert is_spf(data)


@pytest.mark.parametrize("data", [b"", b"v=spf10", b"v=spf1\ta", b"v=spf1;", b" v=spf1", b"v=spf1\xa0a"])
def test_anything_else_is_no_spf_record(data: bytes) -> None:
    assert not is_spf(data)


TERMS = st.sampled_from(
    ["a", "mx", "ptr", "all", "include:", "exists:", "ip4:", "ip6:", "redirect=", "exp=", "192.0.2.1", "2001:db8::1", "/24", "//64", "/", "%{d}",
     "%{", "example.org", ".", ":", "=", " ", "+", "-", "~", "?", "v=spf1", ";", ",", "\u00a0", "\u201c", "'", '"', "\x00", "\n", "0", "9" * 20]
)  # fmt: skip


@pytest.mark.requirement("R29", "S13")
@given(st.one_of(st.binary(max_size=80), st.lists(TERMS, max_size=12).map(lambda parts: "".join(parts).encode())))
def test_any_bytes_are_read_linted_and_merged_without_an_error(data: bytes) -> None:
    record = parse_record(b"v=spf1 " + data)
    places = [(part.start, part.end) for part in record.faults]
    places += [(part.start, part.end) for part in (*record.mechanisms, *record.modifiers)]
    for start, end in places:
        assert 7 <= start < end <= len(record.text)
    for finding in lint("d.example", record, (b"v=spf1 " + data[:5], data[5:])):
        if finding.mark:
            assert 0 <= finding.mark.start < finding.mark.end <= len(finding.mark.text)
    proposed = merged([record]).text.encode()
    assert is_spf(proposed)
    assert parse_record(proposed).faults == ()
    near_miss(data)
    near_miss(b"v=spf1;" + data)


@given(st.lists(TERMS, max_size=8), st.sampled_from(["192.0.2.1", "2001:db8::1"]))
def test_any_record_is_evaluated_to_one_of_the_results(parts: list[str], ip: str) -> None:
    zone = Zone({("d.example", "TXT"): "v=spf1 " + "".join(parts), ("example.org", "TXT"): "v=spf1 a ~all"})
    result = asyncio.run(check_host(ip_address(ip), "d.example", "u@d.example", "h.example", zone, now=0.0))
    assert isinstance(result.result, SpfVerdict)
    assert result.lookups <= 10
    assert result.void_lookups <= 3


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1))
def test_ip4_matches_exactly_the_addresses_with_the_same_leading_bits(network: int, length: int, client: int) -> None:
    term = f"ip4:{IPv4Address(network)}/{length}"
    zone = Zone({("d.example", "TXT"): f"v=spf1 {term} -all"})
    result = asyncio.run(check_host(IPv4Address(client), "d.example", "u@d.example", "h", zone, now=0.0))
    same = network >> (32 - length) == client >> (32 - length)
    assert (result.result is SpfVerdict.PASS) == same


@pytest.mark.parametrize(
    ("mail_from", "expected"),
    [
        ("", ("mail.example", "postmaster@mail.example")),
        ("a@d.example", ("d.example", "a@d.example")),
        ("@d.example", ("d.example", "postmaster@d.example")),
        ('"a@b"@d.example', ("d.example", '"a@b"@d.example')),
        ("d.example", ("d.example", "postmaster@d.example")),
    ],
)
def test_identity_of_a_reverse_path(mail_from: str, expected: tuple[str, str]) -> None:
    assert identity(mail_from, "mail.example") == expected


@pytest.mark.parametrize(
    "domain", ["", ".", "..", "a..b", "localhost", "[192.0.2.1]", "x" * 64 + ".example", "\u00e9.example", "a b"]
)
def test_malformed_domain_gives_none(domain: str) -> None:
    zone = Zone({})
    result = asyncio.run(check_host(ip_address("192.0.2.1"), domain, f"a@{domain}", "h", zone, now=0.0))
    assert result.result is SpfVerdict.NONE
    assert result.problem


@pytest.mark.requirement("S12")
def test_hostile_local_part_stays_within_a_name() -> None:
    zone = Zone({("d.example", "TXT"): "v=spf1 exists:%{l}.d.example exists:%{S}.d.example -all"})
    for local in ("x" * 5000, "a\\b", "..", "\u00e9", "%{s}", "\r\n", ".".join("ab" * 200)):
        result = asyncio.run(check_host(ip_address("192.0.2.1"), "d.example", f"{local}@d.example", "h", zone, now=0.0))
        assert result.result is SpfVerdict.FAIL
    for name, _ in zone.asked:
        assert len(name) <= 253 + name.count("\\")


def test_explanation_of_a_stranger_is_bounded_and_ascii() -> None:
    for text in (b"%{s}" * 16000, b"caf\xe9", b"%{", b"two\r\nlines"):
        zone = Zone({("d.example", "TXT"): "v=spf1 exp=e.example -all", ("e.example", "TXT"): text})
        result = asyncio.run(check_host(ip_address("192.0.2.1"), "d.example", "u@d.example", "h", zone, now=0.0))
        assert (result.result, result.explanation) == (SpfVerdict.FAIL, "")


def test_result_does_not_depend_on_the_case_of_anything() -> None:
    record = "v=spf1 include:inc.example ?all"
    zone = Zone({("d.example", "TXT"): record, ("inc.example", "TXT"): "v=spf1 ip4:192.0.2.1 -all"})
    chosen = random.Random(7)
    for _ in range(5):
        domain = "".join(chosen.choice([letter.upper(), letter]) for letter in "d.example")
        result = asyncio.run(check_host(ip_address("192.0.2.1"), domain, f"u@{domain}", "h", zone, now=0.0))
        assert result.result is SpfVerdict.PASS
        assert result.matched == "include:inc.example"
