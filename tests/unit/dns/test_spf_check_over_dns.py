"""The SPF check with a real nameserver, and what it costs."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path

import dns.message
import dns.rdatatype
import pytest

from tests.support.nameserver import Responder, nsd, saying, silent
from tests.support.never import NEVER_S
from tests.support.rounds import Rounds
from tests.support.zones import Zone
from ucrmmail.clock import Clock
from ucrmmail.dns.finding import Severity, verdict
from ucrmmail.dns.resolver import DnsResolver
from ucrmmail.dns.spf_check import SpfReport, check_spf

ZONE = r"""
$ORIGIN example.
$TTL 300
@          IN SOA ns.example. hostmaster.example. 1 7200 3600 1209600 60
@          IN NS ns.example.
ns         IN A 127.0.0.1
shop       IN TXT "v=spf1 mx include:_spf.provider.example ~all"
shop       IN TXT "google-site-verification=abc"
shop       IN MX 10 mail.shop
mail.shop  IN A 192.0.2.25
mail.shop  IN AAAA 2001:db8::25
_spf.provider IN TXT "v=spf1 ip4:203.0.113.0/24 " "include:_spf2.provider.example ~all"
_spf2.provider IN TXT "v=spf1 ip6:2001:db8:25::/48 ~all"
bad        IN TXT "v=spf1 mx\194\160-all"
bad        IN MX 10 mail.shop
broken     IN TXT "v=spf1 include:elsewhere.test -all"
"""


def checked(resolver_of: DnsResolver, domain: str, *ips: str) -> SpfReport:
    return asyncio.run(
        check_spf(domain, resolver_of, sending_addresses=[ip_address(ip) for ip in ips], now=1_700_000_000.0)
    )


def test_zone_files_are_checked_through_a_real_server(tmp_path: Path) -> None:
    with nsd(tmp_path, {"example": ZONE}) as server:

        def check(domain: str, *ips: str) -> SpfReport:
            return checked(DnsResolver([server], clock=Clock()), domain, *ips)

        good = check("shop.example", "192.0.2.25", "203.0.113.9", "2001:db8:25::1")
        assert verdict(good.findings) is Severity.PASS
        assert (good.result, good.lookups, good.void_lookups) == ("pass", 3, 0)
        bad = check("bad.example")
        assert [finding.code for finding in bad.findings] == ["spf-non-ascii"]
        assert bad.proposals[0].value == "v=spf1 mx -all"
        # The server refuses a zone that is not its own: nothing is known, and nothing is called missing.
        broken = check("broken.example", "192.0.2.1")
        assert verdict(broken.findings) is Severity.ERROR
        assert broken.result == "temperror"
        assert [finding.code for finding in check("none.example").findings] == ["spf-no-record"]


def test_check_takes_as_many_round_trips_as_the_includes_are_deep() -> None:
    records: dict[tuple[str, str], object] = {
        ("d.example", "TXT"): "v=spf1 a mx include:a.example include:b.example include:c.example -all",
        ("d.example", "A"): "192.0.2.1",
        ("d.example", "MX"): (10, "m.example"),
        ("m.example", "A"): "192.0.2.2",
    }
    for name in "abc":
        records[f"{name}.example", "TXT"] = f"v=spf1 include:{name}2.example ~all"
        records[f"{name}2.example", "TXT"] = "v=spf1 ip4:203.0.113.0/28 ~all"

    zone = Zone(records)
    resolver = Rounds(zone)
    addresses = [ip_address("192.0.2.2"), ip_address("203.0.113.7"), ip_address("2001:db8::1")]
    report = asyncio.run(resolver.run(check_spf("d.example", resolver, sending_addresses=addresses, now=0.0)))
    assert report.lookups == 8
    # TXT three deep, then MX and its hosts; the evaluations find all of it answered.
    assert resolver.count <= 5
    assert len(zone.asked) <= 7 + 1 + 5


@pytest.mark.requirement("R32", "S12")
def test_silent_nameserver_ends_in_an_error_within_the_time_limit() -> None:
    async def run() -> SpfReport:
        async with Responder(silent) as server:
            resolver = DnsResolver([server], clock=Clock(), attempt_s=0.1, query_s=0.3, run_s=0.5)
            return await check_spf("d.example", resolver, sending_addresses=[ip_address("192.0.2.1")], now=0.0)

    report = asyncio.run(run())
    assert [finding.code for finding in report.findings] == ["spf-dns-error"]


def test_nameserver_that_ignores_the_obsolete_type_delays_little() -> None:
    def ignoring(query: dns.message.Message, tcp: bool) -> bytes | list[bytes]:
        if query.question[0].rdtype == dns.rdatatype.SPF:
            return []
        return saying('d.example. 60 IN TXT "v=spf1 ip4:192.0.2.1 -all"')(query, tcp)

    async def run() -> SpfReport:
        async with Responder(ignoring) as server:
            resolver = DnsResolver([server], clock=Clock(), attempt_s=NEVER_S, query_s=NEVER_S, run_s=NEVER_S)
            return await check_spf("d.example", resolver, sending_addresses=[], now=0.0)

    report = asyncio.run(run())
    assert [finding.code for finding in report.findings] == ["spf-valid"]


@pytest.mark.requirement("S12")
@pytest.mark.parametrize("text", ["v=spf1 include:%s.example -all", "v=spf1 mx:%s.example redirect=x%s.example"])
def test_nameserver_that_invents_a_new_include_for_every_name_is_bounded(text: str) -> None:
    def invent(query: dns.message.Message, tcp: bool) -> bytes:
        name = query.question[0].name.to_text()
        label = name.split(".", maxsplit=1)[0][:50]
        inner = " ".join(f"include:{label}{index}.example" for index in range(5))
        wanted = text.replace("%s", label + "y").replace(" -all", f" {inner} -all")
        reply = saying(f'{name} 60 IN TXT "{wanted}"')(query, tcp)
        assert isinstance(reply, bytes)
        return reply

    async def run() -> tuple[int, SpfReport]:
        async with Responder(invent) as server:
            resolver = DnsResolver([server], clock=Clock())
            report = await check_spf("d.example", resolver, sending_addresses=[ip_address("192.0.2.1")], now=0.0)
            return resolver.sent, report

    sent, report = asyncio.run(run())
    assert sent < 300
    assert report.lookups > 10
    assert report.result == "permerror"
