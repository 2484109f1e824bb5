"""Nameservers as named by a person and by resolv.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from ucrmmail.dns.nameserver import Nameserver, parse_nameserver, system_nameservers
from ucrmmail.errors import UsageError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9.9.9.9", "9.9.9.9", 53),
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("[::1]:53", "::1", 53),
        ("[2001:db8::1]", "2001:db8::1", 53),
        ("2001:db8::1", "2001:db8::1", 53),
        ("ns1.example.net", "ns1.example.net", 53),
        ("localhost:65535", "localhost", 65535),
    ],
)
def test_nameserver_is_read_with_and_without_a_port(text: str, host: str, port: int) -> None:
    assert parse_nameserver(text) == Nameserver(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":53",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "1.2.3.4:",
        "1.2.3:53",
        "1.2.3.4.5",
        "[::1",
        "[::1]53",
        "[1.2]:53",
        "::1]:53",
        "a:b",
        "a b",
        "-x",
        "1::2::3",
        "http://9.9.9.9",
        "[]:53",
        "x" * 300,
    ],
)
def test_what_names_no_nameserver_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_nameserver(text)


def test_port_is_shown_when_it_is_not_the_usual_one() -> None:
    assert str(Nameserver("::1", 5353)) == "[::1]:5353"
    assert str(Nameserver("9.9.9.9")) == "9.9.9.9"


def test_nameservers_of_the_system_are_those_of_resolv_conf(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# comment\nsearch example.net\nnameserver 192.0.2.1\nnameserver 2001:db8::53\nnameserver nonsense\nnameserver\n"
    )
    assert system_nameservers(file) == (Nameserver("192.0.2.1"), Nameserver("2001:db8::53"))


def test_without_resolv_conf_this_host_is_asked(tmp_path: Path) -> None:
    assert system_nameservers(tmp_path / "none") == (Nameserver("127.0.0.1"),)
