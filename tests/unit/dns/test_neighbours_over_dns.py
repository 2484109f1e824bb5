"""All neighbours of SPF, DKIM and DMARC against a real nameserver and a real web server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from ipaddress import ip_address
from pathlib import Path

import dns.flags
import dns.message
import pytest

from tests.support.certificates import TestAuthority
from tests.support.findings import Report
from tests.support.nameserver import Behaviour, Responder, nsd, silent
from tests.support.web_server import page, web_server
from ucrmmail.clock import Clock
from ucrmmail.dns.answer import Resolver
from ucrmmail.dns.bimi import check_bimi
from ucrmmail.dns.dane import check_dane
from ucrmmail.dns.domain import check_domain
from ucrmmail.dns.finding import Finding, Severity
from ucrmmail.dns.helo import check_helo
from ucrmmail.dns.https import Fetched, Fetcher, HttpsFetcher
from ucrmmail.dns.mta_sts import check_mta_sts
from ucrmmail.dns.mx import check_mx
from ucrmmail.dns.nameserver import Nameserver
from ucrmmail.dns.ptr import check_ptr
from ucrmmail.dns.resolver import DnsResolver
from ucrmmail.dns.tls_rpt import check_tls_rpt

ZONE = r"""
$ORIGIN example.
$TTL 300
@            IN SOA ns1.example. hostmaster.example. 1 7200 900 1209600 3600
@            IN NS ns1.example.
@            IN NS ns2.example.
ns1          IN A 192.0.2.53
ns2          IN A 198.51.100.53
@            IN MX 10 mail.example.
@            IN CAA 0 issue "ca.example; policy=ev"
mail         IN A 192.0.2.25
mail         IN AAAA 2001:db8::25
_25._tcp.mail IN TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
_mta-sts     IN TXT "v=STSv1; id=20261123T000000"
mta-sts      IN A 127.0.0.1
_smtp._tls   IN TXT "v=TLSRPTv1; rua=https://reports.example/tls"
default._bimi IN TXT "v=BIMI1; l=https://www.example/logo.svg; " "a=https://www.example/vmc.pem"
null         IN MX 0 .
broken       IN MX 10 \001\255.broken
broken       IN MX 10 192.0.2.1
_smtp._tls.broken IN TXT "\000\255\027[31m" "v=TLSRPTv1"
_mta-sts.broken IN TXT "v=STSv1; id=\000\255[bold]"
default._bimi.broken IN TXT "v=BIMI1; l=https://\255\000"
_25._tcp.mail.broken IN TLSA 9 9 9 00
"""
REVERSE = """
$ORIGIN 2.0.192.in-addr.arpa.
$TTL 300
@  IN SOA ns1.example. hostmaster.example. 1 7200 900 1209600 3600
@  IN NS ns1.example.
25 IN PTR mail.example.
"""
POLICY = b"version: STSv1\nmode: enforce\nmx: mail.example\nmax_age: 1209600\n"
SENDER = ip_address("192.0.2.25")


async def findings_of(check: Coroutine[object, object, Report]) -> tuple[Finding, ...]:
    return (await check).findings


async def everything(domain: str, resolver: Resolver, fetcher: Fetcher) -> list[Finding]:
    told = await asyncio.gather(
        findings_of(check_mx(domain, resolver)),
        findings_of(check_ptr([SENDER], resolver)),
        findings_of(check_helo("mail.example", [SENDER], resolver)),
        findings_of(check_tls_rpt(domain, resolver)),
        findings_of(check_mta_sts(domain, resolver, fetcher)),
        findings_of(check_dane(domain, resolver)),
        findings_of(check_bimi(domain, resolver, policy="reject")),
        findings_of(check_domain(domain, resolver)),
    )
    return [finding for part in told for finding in part]


class Nowhere:
    async def get(self, host: str, path: str, addresses: object) -> Fetched:
        return Fetched(problem="unreachable", detail="no network")


def validating(server: Nameserver) -> Behaviour:
    """Ask the server, and say of each answer that it was validated."""

    def answer(query: dns.message.Message, tcp: bool) -> bytes:
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(2)
            asking.connect((server.host, server.port))
            asking.send(query.to_wire())
            reply = dns.message.from_wire(asking.recv(4096))
        reply.flags |= dns.flags.AD
        return reply.to_wire()

    return answer


@pytest.fixture
def zones(tmp_path: Path) -> dict[str, str]:
    return {"example": ZONE, "2.0.192.in-addr.arpa": REVERSE}


def test_a_domain_with_all_neighbours_passes_them_all(tmp_path: Path, zones: dict[str, str]) -> None:
    authority = TestAuthority(tmp_path / "ca")

    async def check(server: Nameserver, fetcher: Fetcher) -> tuple[list[Finding], int]:
        async with Responder(validating(server)) as validator:
            resolver = DnsResolver([validator], clock=Clock())
            return await everything("example", resolver, fetcher), resolver.sent

    with (
        nsd(tmp_path, zones) as server,
        web_server(authority.server_context("mta-sts.example"), page(POLICY)) as web,
    ):
        fetcher = HttpsFetcher(clock=Clock(), port=web.port, ca_file=str(authority.ca_file))
        findings, sent = asyncio.run(check(server, fetcher))
    assert {finding.code: finding.severity for finding in findings} == dict.fromkeys(
        [
            "mx-good",
            "ptr-verified",
            "helo-verified",
            "tlsrpt-record",
            "mta-sts-policy",
            "dane-secure",
            "bimi-record",
            "domain-zone",
            "domain-dnssec",
        ],
        Severity.PASS,
    ) | {"domain-caa": Severity.INFO}
    # Each name and type is asked once, whoever wants to know.
    assert sent == 21


def test_without_a_validating_nameserver_dane_is_not_believed(tmp_path: Path, zones: dict[str, str]) -> None:
    with nsd(tmp_path, zones) as server:
        resolver = DnsResolver([server], clock=Clock())
        findings = asyncio.run(everything("example", resolver, Nowhere()))
    told = {finding.code: finding.severity for finding in findings}
    assert told["dane-not-validated"] is Severity.WARN
    assert told["domain-dnssec-unknown"] is Severity.INFO
    assert told["mta-sts-unreachable"] is Severity.ERROR


def test_a_null_mx_comes_over_the_wire_as_one(tmp_path: Path, zones: dict[str, str]) -> None:
    with nsd(tmp_path, zones) as server:
        resolver = DnsResolver([server], clock=Clock())
        report = asyncio.run(check_mx("null.example", resolver, sends=False))
    assert [finding.code for finding in report.findings] == ["mx-null"]


def test_hostile_bytes_are_told_and_disturb_nothing(tmp_path: Path, zones: dict[str, str]) -> None:
    with nsd(tmp_path, zones) as server:
        resolver = DnsResolver([server], clock=Clock())
        findings = asyncio.run(everything("broken.example", resolver, Nowhere()))
    told = {finding.code for finding in findings}
    assert {"mx-bad-name", "mx-address", "tlsrpt-version", "mta-sts-id", "bimi-location"} <= told


def test_a_nameserver_that_is_silent_is_an_error_for_each_and_never_an_absence() -> None:
    async def check() -> list[Finding]:
        async with Responder(silent) as server:
            resolver = DnsResolver([server], clock=Clock(), attempt_s=0.05, query_s=0.2, run_s=2)
            return await everything("example", resolver, Nowhere())

    findings = asyncio.run(check())
    assert {finding.severity for finding in findings} == {Severity.ERROR}
    assert {finding.check for finding in findings} == {
        "mx", "ptr", "helo", "tlsrpt", "mta-sts", "dane", "bimi", "domain",
    }  # fmt: skip
