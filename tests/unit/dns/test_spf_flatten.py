"""Flattening says the same as the includes it writes out, or leaves them."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Proposal
from ucrmmail.dns.spf import SpfVerdict, check_host
from ucrmmail.dns.spf_flatten import flatten

Records = dict[tuple[str, str], object]


def flattened(record: str, more: Records) -> tuple[Proposal, ...]:
    return asyncio.run(flatten("d.example", Zone({("d.example", "TXT"): record} | more)))


def verdict(records: Records, ip: str) -> SpfVerdict:
    zone = Zone(records)
    return asyncio.run(check_host(ip_address(ip), "d.example", "u@d.example", "h.example", zone, now=0.0)).result


PROVIDER: Records = {
    ("p.example", "TXT"): "v=spf1 include:q.example a:host.example/31 mx:in.example ~all",
    ("q.example", "TXT"): "v=spf1 ip4:203.0.113.0/25 ip4:203.0.113.128/25 redirect=r.example",
    ("r.example", "TXT"): "v=spf1 ip6:2001:db8::/32 -all",
    ("host.example", "A"): "192.0.2.10",
    ("host.example", "AAAA"): "2001:db8:1::1",
    ("in.example", "MX"): (10, "host.example"),
}


def test_includes_become_addresses_in_their_place() -> None:
    (proposal,) = flattened("v=spf1 mx include:p.example ip4:198.51.100.1 -all", PROVIDER)
    assert proposal.value == "v=spf1 mx ip4:192.0.2.10/31 ip4:203.0.113.0/24 ip6:2001:db8::/32 ip4:198.51.100.1 -all"
    assert proposal.replaces == "v=spf1 mx include:p.example ip4:198.51.100.1 -all"


def test_danger_is_named() -> None:
    (proposal,) = flattened("v=spf1 include:p.example -all", PROVIDER)
    assert "p.example" in proposal.why
    assert "must be made anew" in proposal.why


@pytest.mark.parametrize(
    "other",
    [
        "v=spf1 exists:%{i}.x.example ~all",
        "v=spf1 ptr ~all",
        "v=spf1 -ip4:192.0.2.1 ip4:192.0.2.0/24 ~all",
        "v=spf1 +all",
        "v=spf1 include:o.example ~all",
        "v=spf1 nonsense ~all",
        "v=spf1 a:broken.example ~all",
        Status.SERVFAIL,
    ],
)
def test_include_that_cannot_be_written_out_with_the_same_meaning_stays(other: object) -> None:
    more: Records = PROVIDER | {("o.example", "TXT"): other, ("broken.example", "A"): Status.TIMEOUT}
    assert flattened("v=spf1 include:o.example -all", more) == ()
    both = flattened("v=spf1 include:o.example include:r.example -all", more)
    assert [proposal.value for proposal in both] == ["v=spf1 include:o.example ip6:2001:db8::/32 -all"]


def test_addresses_that_do_not_fit_go_into_records_of_their_own() -> None:
    many = " ".join(f"ip4:192.0.2.{2 * number}" for number in range(100))
    more: Records = {("p.example", "TXT"): f"v=spf1 {many} ~all"}
    own, *others = flattened("v=spf1 include:p.example -all", more)
    assert own.value.startswith("v=spf1 include:_flat1.d.example include:_flat2.d.example")
    assert all(len(proposal.value) <= 450 for proposal in (own, *others))
    records: Records = {(proposal.name, proposal.rdtype): proposal.value for proposal in (own, *others)}
    assert verdict(records, "192.0.2.198") is SpfVerdict.PASS
    assert verdict(records, "192.0.2.197") is SpfVerdict.FAIL


def test_domain_without_a_good_record_is_not_flattened() -> None:
    assert flattened("v=spf1 nonsense include:p.example -all", PROVIDER) == ()
    assert flattened("no record", PROVIDER) == ()
    assert flattened("v=spf1 -ip4:203.0.113.9 include:p.example -all", PROVIDER) == ()


NETWORKS = st.builds(
    lambda address, length: str(IPv4Network((address, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(4, 32),
)


@given(st.lists(NETWORKS, min_size=1, max_size=6), st.lists(NETWORKS, max_size=4), st.data())
def test_flattened_record_gives_every_address_the_same_result(
    first: list[str], second: list[str], data: st.DataObject
) -> None:
    published: Records = {
        ("d.example", "TXT"): "v=spf1 include:a.example -all",
        ("a.example", "TXT"): "v=spf1 " + " ".join(f"ip4:{network}" for network in first) + " include:b.example ~all",
        ("b.example", "TXT"): "v=spf1 " + " ".join(f"ip4:{network}" for network in second) + " -all",
    }
    proposals = asyncio.run(flatten("d.example", Zone(published)))
    records: Records = {(proposal.name, proposal.rdtype): proposal.value for proposal in proposals}
    edges = [IPv4Network(network) for network in first + second]
    near = [
        min(2**32 - 1, max(0, int(edge) + step))
        for network in edges
        for edge in (network[0], network[-1])
        for step in (-1, 0, 1)
    ]
    ip = str(IPv4Address(data.draw(st.sampled_from(near))))
    assert verdict(records, ip) is verdict(published, ip)
