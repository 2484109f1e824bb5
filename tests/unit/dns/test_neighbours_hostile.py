"""Whatever a stranger publishes, each check comes to an end with findings that can be shown."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.findings import checked
from tests.support.zones import Zone
from ucrmmail.dns import bimi, dane, domain, helo, mta_sts, mx, ptr, tls_rpt
from ucrmmail.dns.bimi_svg import problems_of_svg
from ucrmmail.dns.https import Fetched

FEW = settings(max_examples=100, deadline=None)
WORDS = [
    *("v=TLSRPTv1", "v=STSv1", "v=BIMI1", ";", "; ", "=", ",", "rua=", "id=", "l=", "a=", "mailto:", "https://"),
    *("a@b.example", "b.example/x.svg", "!", "\x00", "\x1b[0m", "\u2028", "é", " ", "\t", "[bold]", "x" * 300),
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=14).map("".join) | st.text(max_size=60)
PUBLISHED = st.lists(TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=80), max_size=3)
NAMES = st.sampled_from(
    [".", "", "localhost", "mail.d.example", "alias.d.example", "loop.d.example", "d.example", "192.0.2.1", "a" * 63]
) | st.text(alphabet="ab.-_\\0129*é", max_size=70)
NUMBERS = st.integers(0, 2**32 - 1)
HOSTS: dict[tuple[str, str], object] = {
    ("mail.d.example", "A"): ["192.0.2.25", "0.0.0.0", "255.255.255.255"],
    ("mail.d.example", "AAAA"): ["::", "::ffff:10.0.0.1", "2001:db8::25"],
    ("alias.d.example", "CNAME"): "mail.d.example",
    ("loop.d.example", "CNAME"): "loop.d.example",
    ("mta-sts.d.example", "A"): "192.0.2.80",
}


class Served:
    def __init__(self, fetched: Fetched) -> None:
        self._fetched = fetched

    async def get(self, host: str, path: str, addresses: object) -> Fetched:
        return self._fetched


@pytest.mark.requirement("S13")
@FEW
@given(PUBLISHED)
def test_hostile_texts_end_in_findings(texts: list[bytes]) -> None:
    zone = Zone({(f"{name}.d.example", "TXT"): texts for name in ("_smtp._tls", "_mta-sts", "default._bimi")} | HOSTS)
    served = Served(Fetched(200, "text/plain", b"".join(texts)))
    checked(tls_rpt.check_tls_rpt("d.example", zone), tls_rpt.CODES)
    checked(mta_sts.check_mta_sts("d.example", zone, served), mta_sts.CODES)
    checked(bimi.check_bimi("d.example", zone, policy="reject", fetcher=served), bimi.CODES)


@FEW
@given(st.binary(max_size=300), st.integers(100, 599), st.text(max_size=20))
def test_hostile_documents_end_in_findings(body: bytes, status: int, word: str) -> None:
    texts = {("_mta-sts.d.example", "TXT"): "v=STSv1; id=1"}
    for fetched in (Fetched(status, word, body, location=word), Fetched(200, "text/plain", b"mode: none\nmx: " + body)):
        result = checked(mta_sts.check_mta_sts("d.example", Zone(HOSTS | texts), Served(fetched)), mta_sts.CODES)
        assert max(len(finding.what) for finding in result.findings) < 1500
    assert isinstance(problems_of_svg(b"<svg " + body), tuple)


@FEW
@given(st.lists(st.tuples(st.integers(0, 65535), NAMES), max_size=8), st.booleans())
def test_hostile_exchanges_end_in_findings(exchanges: list[tuple[int, str]], sends: bool) -> None:
    zone = Zone(HOSTS | {("d.example", "MX"): exchanges})
    checked(mx.check_mx("d.example", zone, sends=sends), mx.CODES)
    checked(dane.check_dane("d.example", zone), dane.CODES)


@FEW
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3, st.binary(max_size=70)), min_size=1, max_size=5))
def test_hostile_tlsa_records_end_in_findings(records: list[tuple[int, int, int, bytes]]) -> None:
    zone = HOSTS | {("d.example", "MX"): (1, "mail.d.example"), ("_25._tcp.mail.d.example", "TLSA"): records}
    checked(dane.check_dane("d.example", Zone(zone, signed=(".", "d.example"))), dane.CODES)


@pytest.mark.requirement("S13")
@FEW
@given(
    st.lists(NAMES, max_size=5),
    st.tuples(NAMES, NAMES, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.lists(st.tuples(st.integers(0, 255), st.text(max_size=20), st.text(max_size=400)), max_size=4),
)
def test_hostile_zones_end_in_findings(
    servers: list[str], soa: tuple[object, ...], caa: list[tuple[int, str, str]]
) -> None:
    zone = HOSTS | {("d.example", "NS"): servers, ("d.example", "SOA"): soa, ("d.example", "CAA"): caa}
    checked(domain.check_domain("d.example", Zone(zone)), domain.CODES)


@FEW
@given(st.lists(NAMES, max_size=5), st.sampled_from(["192.0.2.25", "10.0.0.1"]), NAMES)
def test_hostile_reverse_names_end_in_findings(names: list[str], ip: str, greeting: str) -> None:
    address = IPv4Address(ip)
    zone = Zone(HOSTS | {(address.reverse_pointer, "PTR"): names})
    checked(ptr.check_ptr([address, IPv6Address("2001:db8::25")], zone, helo_name=greeting), ptr.CODES)
    checked(helo.check_helo(greeting, [address], zone), helo.CODES)
