"""Where a domain's mail is submitted, by its MX and SRV records."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.submission import Discovery, Service, discover

TLS, STARTTLS = "_submissions._tcp.isp.example", "_submission._tcp.isp.example"


def found(records: Mapping[tuple[str, str], object], *, signed: tuple[str, ...] = ()) -> Discovery:
    return asyncio.run(discover("isp.example", Zone(records, signed=signed)))


def test_exchanges_come_by_their_preference() -> None:
    assert found({("isp.example", "MX"): [(20, "b.example"), (10, "a.example")]}).exchanges == (
        "a.example",
        "b.example",
    )


def test_tls_from_the_first_byte_comes_first_then_priority_then_weight() -> None:
    services = found(
        {
            (STARTTLS, "SRV"): [(0, 1, 587, "smtp.isp.example")],
            (TLS, "SRV"): [(20, 9, 465, "c.isp.example"), (10, 1, 465, "b.isp.example"), (10, 5, 465, "a.isp.example")],
        }
    ).services
    assert services == (
        Service("a.isp.example", 465, "tls", vouched=True),
        Service("b.isp.example", 465, "tls", vouched=True),
        Service("c.isp.example", 465, "tls", vouched=True),
        Service("smtp.isp.example", 587, "starttls", vouched=True),
    )


def test_a_dot_says_that_there_is_no_such_service() -> None:
    assert found({(TLS, "SRV"): (0, 0, 0, ".")}).services == ()


def test_a_server_of_others_is_vouched_for_by_dnssec_alone() -> None:
    records = {(TLS, "SRV"): (0, 1, 465, "mail.hoster.example")}
    assert [service.vouched for service in found(records).services] == [False]
    assert [service.vouched for service in found(records, signed=("isp.example",)).services] == [True]
    assert [service.vouched for service in found({(TLS, "SRV"): (0, 1, 465, "evilisp.example")}).services] == [False]


def test_silence_is_not_taken_for_nothing_there() -> None:
    assert found({}).silence == ""
    assert found({("isp.example", "MX"): Status.TIMEOUT}).silence == "no answer in time"
