"""One document over HTTPS: real TLS on loopback, bounded in size and time."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.web_server import Behaviour, dripping, endless, page, web_server
from ucrmmail.clock import Clock
from ucrmmail.dns.https import MAX_BYTES, Fetched, HttpsFetcher

HOST = "mta-sts.d.example"
LOOPBACK = ip_address("127.0.0.1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


def get(
    authority: TestAuthority,
    port: int,
    *,
    deadline_s: float = 10.0,
    addresses: tuple[IPv4Address | IPv6Address, ...] = (LOOPBACK,),
) -> Fetched:
    fetcher = HttpsFetcher(clock=Clock(), deadline_s=deadline_s, port=port, ca_file=str(authority.ca_file))
    return asyncio.run(fetcher.get(HOST, "/a/b.txt", addresses))


def answered(authority: TestAuthority, answer: bytes | Behaviour, *, deadline_s: float = 10.0) -> Fetched:
    with web_server(authority.server_context(HOST), answer) as server:
        return get(authority, server.port, deadline_s=deadline_s)


def test_a_document_is_fetched_by_the_name_of_the_host(authority: TestAuthority) -> None:
    with web_server(authority.server_context(HOST), page(b"hello", media_type="Text/Plain; charset=utf-8")) as server:
        fetched = get(authority, server.port)
        assert fetched == Fetched(200, "text/plain", b"hello")
        assert server.requests[0].startswith(b"GET /a/b.txt HTTP/1.1\r\nHost: mta-sts.d.example")


def test_a_redirect_is_told_and_not_followed(authority: TestAuthority) -> None:
    answer = page(b"", status="301 Moved", more="Location: https://elsewhere.example/\r\n")
    with web_server(authority.server_context(HOST), answer) as server:
        fetched = get(authority, server.port)
        assert (fetched.status, fetched.location) == (301, "https://elsewhere.example/")
        assert len(server.requests) == 1


def test_what_is_too_long_is_cut_off(authority: TestAuthority) -> None:
    fetched = answered(authority, endless)
    assert fetched.is_cut
    assert len(fetched.body) == MAX_BYTES


def test_what_just_fits_is_whole(authority: TestAuthority) -> None:
    fetched = answered(authority, page(b"x" * MAX_BYTES))
    assert (len(fetched.body), fetched.is_cut) == (MAX_BYTES, False)


def test_a_server_that_drips_is_left_at_the_deadline(authority: TestAuthority) -> None:
    fetched = answered(authority, dripping, deadline_s=0.5)
    assert fetched.problem == "time"


def test_a_server_that_never_greets_is_left_at_the_deadline(authority: TestAuthority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert get(authority, silent.getsockname()[1], deadline_s=0.3).problem == "time"


def test_a_certificate_is_checked(authority: TestAuthority, tmp_path: Path) -> None:
    stranger = TestAuthority(tmp_path)
    contexts = {
        "other name": authority.server_context("other.example"),
        "expired": authority.server_context(HOST, expired=True),
        "self-signed": authority.self_signed_context(HOST),
        "stranger": stranger.server_context(HOST),
        "old": authority.old_context(HOST),
    }
    for kind, context in contexts.items():
        with web_server(context, page(b"hello")) as server:
            fetched = get(authority, server.port)
            assert (fetched.problem, fetched.body, server.requests) == ("tls", b"", []), kind
            assert fetched.detail, kind


@pytest.mark.parametrize(
    "answer", [b"", b"220 mail.example ESMTP\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, b"\x00" * 100_000]
)
def test_what_is_not_http_is_told_so(authority: TestAuthority, answer: bytes) -> None:
    assert answered(authority, answer).problem in ("http", "refused")


def test_a_body_cut_short_is_no_document(authority: TestAuthority) -> None:
    fetched = answered(authority, page(b"hello").replace(b"Length: 5", b"Length: 9"))
    assert fetched.problem == "http"


def test_the_next_address_is_tried(authority: TestAuthority) -> None:
    with web_server(authority.server_context(HOST), page(b"hello")) as server:
        fetched = get(authority, server.port, addresses=(ip_address("127.0.0.2"), LOOPBACK))
        assert fetched.body == b"hello"


def test_a_port_where_nobody_listens_refuses(authority: TestAuthority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert get(authority, port).problem == "refused"


def test_without_an_address_nothing_is_tried(authority: TestAuthority) -> None:
    assert get(authority, 1, addresses=()).problem == "unreachable"


def test_authorities_that_cannot_be_read_are_told() -> None:
    fetcher = HttpsFetcher(clock=Clock(), ca_file="/nonexistent.pem")
    assert "authorities" in asyncio.run(fetcher.get(HOST, "/", [LOOPBACK])).detail


def test_a_path_that_would_add_headers_is_refused(authority: TestAuthority) -> None:
    with web_server(authority.server_context(HOST), page(b"hello")) as server:
        fetcher = HttpsFetcher(clock=Clock(), port=server.port, ca_file=str(authority.ca_file))
        fetched = asyncio.run(fetcher.get(HOST, "/\r\nX: y", [LOOPBACK]))
    assert (fetched.problem, server.requests) == ("http", [b""])
