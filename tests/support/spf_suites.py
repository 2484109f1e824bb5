"""The public SPF suites as data: scenarios with a zone, and cases that say what check_host() must return."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import yaml

from ucrmmail.dns.answer import Status

SUITES = Path(__file__).parent.parent / "suites"
Records = dict[tuple[str, str], object]


@dataclass(frozen=True)
class Case:
    name: str
    ip: IPv4Address | IPv6Address
    helo: str
    mail_from: str
    results: tuple[str, ...]
    explanation: str | None
    zone: str
    records: Records


def cases(file: str) -> list[Case]:
    """Return every case of a suite; ``DEFAULT`` as its explanation means that the domain gives none."""
    found = []
    for number, scenario in enumerate(yaml.safe_load_all((SUITES / file).read_text())):
        records = _records(scenario["zonedata"])
        for name, case in scenario["tests"].items():
            results = case["result"] if isinstance(case["result"], list) else [case["result"]]
            explanation = case.get("explanation")
            found.append(
                Case(
                    name,
                    ip_address(str(case["host"])),
                    case["helo"],
                    case["mailfrom"],
                    tuple(results),
                    "" if explanation == "DEFAULT" else explanation,
                    f"zone-{number}",
                    records,
                )
            )
    return found


def _records(zonedata: dict[str, list[Any]]) -> Records:
    """Return a zone; a name's SPF records stand for TXT records too, unless it has its own TXT (or ``TXT: NONE``).

    ``TIMEOUT`` makes every question for which the name has no record fail.
    """
    records: Records = {}
    for name, entries in zonedata.items():
        by_type: dict[str, list[object]] = {}
        for entry in entries:
            if entry == "TIMEOUT":
                continue
            for rdtype, value in entry.items():
                by_type.setdefault(rdtype, []).append(_value(rdtype, value))
        if "TXT" not in by_type and "SPF" in by_type:
            by_type["TXT"] = by_type["SPF"]
        if by_type.get("TXT") == ["NONE"]:
            del by_type["TXT"]
        for rdtype, values in by_type.items():
            records[str(name), rdtype] = values[0] if rdtype == "CNAME" else values
        if "TIMEOUT" in entries:
            for rdtype in ("TXT", "SPF", "A", "AAAA", "MX", "PTR"):
                records.setdefault((str(name), rdtype), Status.TIMEOUT)
    return records


def _value(rdtype: str, value: Any) -> object:
    if rdtype in ("TXT", "SPF"):
        # YAML reads "\x96" as a character; the suite means the byte.
        return (
            "NONE"
            if value == "NONE"
            else tuple(str(part).encode("latin-1") for part in (value if isinstance(value, list) else [value]))
        )
    return tuple(value) if isinstance(value, list) else str(value)
