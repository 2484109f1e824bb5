"""Looking at each server of a zone: who has the new record, who has not, and what is not of the zone at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import ip_address

import pytest

from tests.support.zones import Zone
from ucrmmail.dns.answer import Answer, Resolver, Status
from ucrmmail.dns.check import DomainReport
from ucrmmail.dns.domain import NameserverHost
from ucrmmail.dns.nameserver import Nameserver
from ucrmmail.dns.propagation import MOST_SERVERS, Propagation, look, servers_of
from ucrmmail.dns.spf_check import check_spf
from ucrmmail.dns.zone_view import ZoneView

ONE, TWO = Nameserver("192.0.2.1"), Nameserver("192.0.2.2")
SERVERS = (("ns1.isp.example", ONE), ("ns2.isp.example", TWO))
OLD = "v=spf1 ip4:192.0.2.0/24 -all"
NEW = "v=spf1 ip4:192.0.2.0/24 include:spf.other.example -all"
ELSEWHERE = {("spf.other.example", "TXT"): "v=spf1 ip4:198.51.100.0/24 -all"}

Records = Mapping[tuple[str, str], object]


def seen(one: Records, two: Records, *expected: str) -> Propagation:
    inside = {ONE: Zone(one), TWO: Zone(two)}

    async def check(resolver: Resolver) -> DomainReport:
        spf = await check_spf("isp.example", resolver, sending_addresses=(), now=0.0)
        return DomainReport("isp.example", spf.findings, spf=spf)

    return asyncio.run(
        look(
            "isp.example", "isp.example", SERVERS, Zone(ELSEWHERE), inside=lambda s: inside[s], check=check,
            expected=expected,
        )
    )  # fmt: skip


def spf(text: object) -> Records:
    return {("isp.example", "TXT"): text}


def test_the_same_good_records_everywhere_are_enough() -> None:
    look_at_both = seen(spf(NEW), spf(NEW))
    assert look_at_both.is_settled(strict=False)
    assert look_at_both.sights[0].records == {NEW}


def test_a_server_that_still_has_the_old_record_is_waited_for() -> None:
    apart = seen(spf(NEW), spf(OLD))
    assert not apart.is_settled(strict=False)
    assert [sight.records for sight in apart.sights] == [{NEW}, {OLD}]


@pytest.mark.parametrize("behind", [{}, spf(Status.SERVFAIL), spf(Status.TIMEOUT), spf([OLD, NEW])])
def test_a_server_without_a_good_record_is_waited_for(behind: Records) -> None:
    apart = seen(spf(NEW), behind)
    assert not apart.is_settled(strict=False)
    assert apart.sights[0].codes == ()
    assert apart.sights[1].codes


def test_what_is_expected_must_stand_there() -> None:
    both_old = seen(spf(OLD), spf(OLD), NEW)
    assert both_old.missing(both_old.sights[0]) == (NEW,)
    assert not both_old.is_settled(strict=False)
    assert seen(spf(NEW), spf(NEW), NEW).is_settled(strict=False)


def test_warnings_count_only_when_asked_for() -> None:
    weak = spf("v=spf1 ip4:192.0.2.0/24 ?all")
    assert seen(weak, weak).is_settled(strict=False)
    assert not seen(weak, weak).is_settled(strict=True)


def test_a_zone_without_servers_is_never_settled() -> None:
    assert not Propagation("isp.example", "", ()).is_settled(strict=False)


def test_every_address_of_every_server_is_looked_at_within_bounds() -> None:
    assert servers_of([NameserverHost("ns1.isp.example")]) == ()
    many = NameserverHost("ns.isp.example", tuple(ip_address(f"192.0.2.{number}") for number in range(100)))
    found = servers_of([many], port=5353)
    assert len(found) == MOST_SERVERS
    assert found[0] == ("ns.isp.example", Nameserver("192.0.2.0", 5353))


class Says:
    """A resolver that gives the same answer to everything."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def query(self, name: str, rdtype: str) -> Answer:
        return self.answer


def test_a_part_that_other_servers_hold_is_asked_of_the_usual_resolver() -> None:
    outside = Zone({("s1._domainkey.isp.example", "TXT"): "k"})
    referring = Says(Answer("s1._domainkey.isp.example", "TXT", Status.REFERRED))
    view = ZoneView("isp.example", referring, outside)
    assert asyncio.run(view.query("s1._domainkey.isp.example", "TXT")).status is Status.FOUND


def test_an_alias_out_of_the_zone_is_followed_outside() -> None:
    outside = Zone({("key.provider.example", "CNAME"): "k2.provider.example", ("k2.provider.example", "TXT"): "k"})
    refused = Answer("s1._domainkey.isp.example", "TXT", Status.REFUSED, aliases=("key.provider.example",))
    answer = asyncio.run(ZoneView("isp.example", Says(refused), outside).query("s1._domainkey.isp.example", "TXT"))
    assert (answer.status, answer.name) == (Status.FOUND, "s1._domainkey.isp.example")
    assert answer.aliases == ("key.provider.example", "k2.provider.example")


@pytest.mark.parametrize("name", ["xisp.example", "example", "isp.example.other.example"])
def test_names_of_others_are_asked_outside(name: str) -> None:
    inside = Zone({(name, "TXT"): "wrong"})
    assert asyncio.run(ZoneView("isp.example", inside, Zone({})).query(name, "TXT")).status is Status.NXDOMAIN
    assert inside.asked == []


@pytest.mark.parametrize("name", ["ISP.example.", "a.b.Isp.Example"])
def test_names_of_the_zone_are_asked_of_its_server_in_any_case(name: str) -> None:
    outside = Zone({})
    asyncio.run(ZoneView("isp.example", Zone({}), outside).query(name, "TXT"))
    assert outside.asked == []
