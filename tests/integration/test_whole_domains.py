"""Whole domains with a mistake each, on a real server: all checks together name it, and complain of nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support.nameserver import nsd
from tests.support.program import Program
from ucrmmail.dns.nameserver import Nameserver

MISTAKES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "suites" / "whole-domains.yml").read_text()
)
HEAD = """\
@ SOA ns.isp.example. admin.isp.example. 1 3600 600 86400 300
@ NS ns.isp.example.
@ NS ns1.isp.example.
"""
# What every domain has unless its mistake changes it.
GOOD = {
    ("@", "MX"): ["10 mail"],
    ("@", "TXT"): ['"v=spf1 mx -all"'],
    ("mail", "A"): ["192.0.2.25"],
    ("s1._domainkey", "TXT"): ["{KEY}"],
    ("_dmarc", "TXT"): ['"v=DMARC1; p=reject; rua=mailto:a@{DOMAIN}"'],
}
# Servers that mistakes point to.
AROUND = (
    "".join(f"h{number}.isp A 198.51.100.{number}\n" for number in range(1, 12))
    + """\
ns.isp A 192.0.2.1
ns1.isp A 198.51.100.1
mail.isp A 192.0.2.25
lies.isp A 198.51.100.99
host-192-0-2-28.dynamic.isp A 192.0.2.28
spf.provider TXT "v=spf1 ip4:198.51.100.0/24 ?all"
provider A 192.0.2.80
mistakes NS ns.isp
one-server.mistakes NS ns.isp
ns-gone.mistakes NS ns.isp
"""
)
REVERSE = """\
25 PTR mail.isp.example.
27 PTR lies.isp.example.
28 PTR host-192-0-2-28.dynamic.isp.example.
"""
_SHORT = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALmiPnjKyI7w8s1UvgV9Ul4+Qb3b4Eh3nXnVZNn3rx/YVLZNWAjsJ1DeFTfUUXIBPSgmfyjA7vT4"


@cache
def spki(bits: int) -> str:
    return base64.b64encode(
        rsa.generate_private_key(65537, bits).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()


def strings(text: str) -> str:
    """Return TXT data with strings of 255 bytes, as a zone file has them."""
    escaped = [text[at : at + 255].replace("\\", "\\\\").replace('"', '\\"') for at in range(0, len(text), 255)]
    return " ".join(f'"{part}"' for part in escaped)


@cache
def keys() -> Mapping[str, str]:
    good = spki(2048)
    private = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    small = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    texts = {
        "KEY": f"v=DKIM1; k=rsa; p={good}",
        "KEY_CUT": f"v=DKIM1; k=rsa; p={good}"[:255],
        "KEY_QUOTED": f'"v=DKIM1; k=rsa; p={good[:200]}" "{good[200:]}"',
        "KEY_ESCAPED": f"v=DKIM1\\; k=rsa\\; p={good}",
        "KEY_512": f"v=DKIM1; p={_SHORT}Wq0r4Nks1BsCAwEAAQ==",
        "KEY_1024": f"v=DKIM1; p={spki(1024)}",
        "KEY_PEM": f"v=DKIM1; p=-----BEGIN PUBLIC KEY-----{good}-----END PUBLIC KEY-----",
        "KEY_TESTING": f"v=DKIM1; t=y; p={good}",
        "KEY_SHA1": f"v=DKIM1; h=sha1; p={good}",
        "KEY_SERVICE": f"v=DKIM1; s=tlsrpt; p={good}",
        "KEY_V_LAST": f"k=rsa; p={good}; v=DKIM1",
        "KEY_DKIM2": f"v=DKIM2; p={good}",
        "KEY_ALGORITHM": f"v=DKIM1; k=rsa-sha256; p={good}",
        "ED25519": "v=DKIM1; k=ed25519; p=" + base64.b64encode(small).decode(),
        "PRIVATE": "v=DKIM1; p=" + private.decode().replace("\n", ""),
    }
    return {name: strings(text) for name, text in texts.items()}


def filled(data: str, domain: str) -> str:
    if data.strip("{}") in keys():
        return keys()[data.strip("{}")]
    return data.replace("{DOMAIN}", domain)


def records(mistake: dict[str, Any]) -> str:
    """Return the lines of a zone file for a domain that is good but for its mistake."""
    own: dict[tuple[str, str], list[str]] = {}
    for line in mistake.get("zone", "").splitlines():
        name, rdtype, data = line.split(" ", 2)
        own.setdefault((name, rdtype), []).append(data)
    domain = name_of(mistake)
    lines = [
        f"{filled(name, domain)} {rdtype} {filled(value, domain)}\n"
        for (name, rdtype), values in (GOOD | own).items()
        for value in values
        if value != "none"
    ]
    return f"$ORIGIN {domain}.\n" + "".join(lines)


def name_of(mistake: dict[str, Any]) -> str:
    return f"{mistake['domain']}.mistakes.example"


@pytest.fixture(scope="module")
def nameserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nameserver]:
    zones = {
        "example": "$TTL 300\n" + HEAD + AROUND,
        "mistakes.example": "$TTL 300\n" + HEAD + "".join(records(each) for each in MISTAKES if "file" not in each),
        "2.0.192.in-addr.arpa": "$TTL 300\n" + HEAD + REVERSE,
    }
    for each in MISTAKES:
        if "file" in each:
            name = name_of(each)
            lines = [line.split(" ", 2) for line in each["file"].splitlines()]
            zones[name] = "$TTL 300\n" + "".join(f"{a} {b} {filled(c, name)}\n" for a, b, c in lines)
    with nsd(tmp_path_factory.mktemp("nsd"), zones) as server:
        yield server


@pytest.fixture(scope="module")
def findings(nameserver: Nameserver, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """Return what is found for each domain: one run of the command for each kind of account."""
    found: dict[str, list[dict[str, str]]] = {}
    accounts: dict[str, list[str]] = {}
    for each in MISTAKES:
        accounts.setdefault(json.dumps(each.get("account", {})), []).append(name_of(each))
    program = Program(tmp_path_factory.mktemp("home"))
    for account, domains in accounts.items():
        known = json.loads(account)
        addresses = json.dumps(known.get("sending_addresses", ["192.0.2.25"]))
        name = known.get("local_hostname", "mail.isp.example")
        program.configure(25, dns=f"sending_addresses = {addresses}", smtp=f'local_hostname = "{name}"')
        # The reverse-path is of the domain itself.
        program.config.write_text(program.config.read_text().replace('sender = "billing@isp.example"\n', ""))
        arguments = ("check-dns", "--nameserver", str(nameserver), "--selector", "s1", "--file", "-", "--json")
        run = program.run(*arguments, stdin="\n".join(domains), code=None)
        found |= {each["domain"]: each["findings"] for each in run.json["domains"]}
    return found


def test_there_are_a_hundred_of_them_and_each_is_another() -> None:
    assert len({each["domain"] for each in MISTAKES}) == len(MISTAKES) >= 100
    assert all(each["why"] for each in MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each["domain"])
def test_a_mistake_is_named(findings: dict[str, list[dict[str, str]]], mistake: dict[str, Any]) -> None:
    found = findings[name_of(mistake)]
    assert {each["code"] for each in found if each["severity"] in ("warn", "fail", "error")} == set(mistake["codes"])
    assert {each["code"] for each in found} >= set(mistake.get("told", []))
    for each in found:
        assert each["severity"] in ("pass", "info") or (each["why"] and each["remedy"]), each
