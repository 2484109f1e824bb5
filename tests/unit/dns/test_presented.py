"""What a mail exchange presents after STARTTLS, and whether its TLSA records fit."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.certificates import TestAuthority
from tests.support.findings import checked, finding, severities
from tests.support.nameserver import free_port
from tests.support.smtp_server import DROP, HANG, SmtpServer
from tests.support.zones import Zone
from ucrmmail.dns.answer import Tlsa
from ucrmmail.dns.dane import CODES, DaneReport, check_dane
from ucrmmail.dns.dane_match import fits
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.presented import Presented, SmtpPresenter

HERE = [ip_address("127.0.0.1")]
HOST = "mail.host.example"


def asked(port: int, *, deadline_s: float = 10.0) -> Presented:
    return asyncio.run(SmtpPresenter(port=port, deadline_s=deadline_s).presented(HOST, HERE))


def key_of(certificate: bytes) -> bytes:
    public = x509.load_der_x509_certificate(certificate).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    return TestAuthority(tmp_path).self_signed_context(HOST)


def test_the_certificate_that_nobody_has_signed_is_shown(context: ssl.SSLContext, tmp_path: Path) -> None:
    with SmtpServer(tls=context) as server:
        found = asked(server.port)
        assert server.commands == [b"EHLO [127.0.0.1]", b"STARTTLS", b"QUIT"]
    wanted = ssl.PEM_cert_to_DER_cert(
        (tmp_path / f"self-signed-{HOST}.pem").read_text().partition("END PRIVATE KEY-----\n")[2]
    )
    assert found.chain[0] == wanted
    assert not found.problem


@pytest.mark.parametrize(
    ("fault", "reply", "problem"),
    [
        ("greeting", "554 go away\x1b[31m", "smtp"),
        ("ehlo", "502 what", "smtp"),
        ("starttls", "454 not now", "plain"),
        ("tls", DROP, "tls"),
        ("greeting", DROP, "unreachable"),
        ("greeting", HANG, "unreachable"),
    ],
)
def test_a_server_that_does_not_go_on_is_told_apart(
    context: ssl.SSLContext, fault: str, reply: object, problem: str
) -> None:
    with SmtpServer(tls=context, faults={fault: reply}) as server:  # type: ignore[dict-item]
        assert asked(server.port, deadline_s=1.0 if reply is HANG else 10.0).problem == problem


def test_a_server_without_starttls_is_told_apart() -> None:
    with SmtpServer() as server:
        assert asked(server.port).problem == "plain"


def test_after_three_exchanges_out_of_reach_no_other_is_tried(context: ssl.SSLContext) -> None:
    async def ask(port: int) -> list[Presented]:
        presenter = SmtpPresenter(port=port)
        for name in ("a", "b", "c"):
            # An address without a server: nothing listens on this one of the loopback network.
            await presenter.presented(name, [ip_address("127.0.0.2")])
        return [await presenter.presented(HOST, HERE)]

    with SmtpServer(tls=context) as server:
        assert [found.problem for found in asyncio.run(ask(server.port))] == ["unreachable"]
        assert not server.connections


def test_an_exchange_of_several_domains_is_asked_once(context: ssl.SSLContext) -> None:
    async def ask(port: int) -> None:
        presenter = SmtpPresenter(port=port)
        await asyncio.gather(*(presenter.presented(HOST, HERE) for _ in range(5)))

    with SmtpServer(tls=context) as server:
        asyncio.run(ask(server.port))
        assert len(server.connections) == 1


def test_nothing_listens_is_no_failure_of_the_server() -> None:
    assert asked(free_port()).problem == "unreachable"
    assert asyncio.run(SmtpPresenter().presented(HOST, [])).problem == "unreachable"


# --- the comparison ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("certificate")
    TestAuthority(directory).self_signed_context(HOST)
    text = (directory / f"self-signed-{HOST}.pem").read_text()
    return ssl.PEM_cert_to_DER_cert(text.partition("END PRIVATE KEY-----\n")[2])


def test_each_selector_and_matching_type_fits(certificate: bytes) -> None:
    key = key_of(certificate)
    presented = Presented((certificate,))
    for selector, whole in ((0, certificate), (1, key)):
        for matching_type, data in (
            (0, whole),
            (1, hashlib.sha256(whole).digest()),
            (2, hashlib.sha512(whole).digest()),
        ):
            assert fits([Tlsa(3, selector, matching_type, data)], presented) is True
            other = data[:-1] + bytes([data[-1] ^ 1])
            assert fits([Tlsa(3, selector, matching_type, other)], presented) is False


def test_an_authority_is_looked_for_among_all_that_was_sent(certificate: bytes) -> None:
    authority = Tlsa(2, 0, 0, certificate)
    assert fits([authority], Presented((b"own", certificate), is_whole=True)) is True
    assert fits([authority], Presented((b"own", b"other"), is_whole=True)) is False
    assert fits([authority], Presented((b"own",))) is None
    assert fits([Tlsa(3, 0, 0, certificate)], Presented((b"own", certificate), is_whole=True)) is False


def test_a_certificate_that_cannot_be_read_fits_no_key() -> None:
    assert fits([Tlsa(3, 1, 1, b"k" * 32)], Presented((b"no certificate",))) is False


class Fixed:
    """Presents what it was given."""

    def __init__(self, presented: Presented) -> None:
        self._presented = presented

    async def presented(self, host: str, addresses: Sequence[IPv4Address | IPv6Address]) -> Presented:
        assert (host, list(addresses)) == (HOST, [ip_address("192.0.2.25")])
        return self._presented


def report(tlsa: object, presented: Presented, *, signed: bool = True) -> DaneReport:
    zone = Zone(
        {
            (".", "SOA"): ("a.root.example", "root.example", 1, 1800, 900, 604800, 86400),
            ("d.example", "MX"): (10, HOST),
            (HOST, "A"): "192.0.2.25",
            (f"_25._tcp.{HOST}", "TLSA"): tlsa,
        },
        signed=(".", "d.example", "host.example") if signed else (".",),
    )
    return checked(check_dane("d.example", zone, Fixed(presented)), CODES)


def test_a_record_that_fits_passes_also_beside_one_for_the_next_key(certificate: bytes) -> None:
    now = (3, 1, 1, hashlib.sha256(key_of(certificate)).digest())
    result = report([(3, 1, 1, b"n" * 32), now], Presented((certificate,)))
    assert severities(result) == {"dane-secure": Severity.PASS, "dane-matches": Severity.PASS}


def test_a_certificate_renewed_with_another_key_fails_where_senders_look(certificate: bytes) -> None:
    old = (3, 1, 1, b"o" * 32)
    assert severities(report(old, Presented((certificate,))))["dane-mismatch"] is Severity.FAIL
    assert severities(report(old, Presented((certificate,)), signed=False))["dane-mismatch"] is Severity.WARN


def test_a_server_without_tls_fails_and_one_out_of_reach_does_not() -> None:
    key = (3, 1, 1, b"o" * 32)
    found = report(key, Presented(problem="plain", detail="it does not offer STARTTLS"))
    assert finding(found, "dane-no-tls").severity is Severity.FAIL
    found = report(key, Presented(problem="unreachable", detail="192.0.2.25: timed out"))
    assert severities(found) == {"dane-secure": Severity.PASS, "dane-not-compared": Severity.INFO}


def test_a_record_of_an_authority_that_cannot_be_seen_is_not_called_wrong(certificate: bytes) -> None:
    found = report((2, 1, 1, b"a" * 32), Presented((certificate,)))
    assert finding(found, "dane-not-compared").severity is Severity.INFO
