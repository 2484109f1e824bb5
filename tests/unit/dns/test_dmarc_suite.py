"""The public DMARC suite, over a resolver that is a dictionary."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.dmarc import evaluate

SUITE = Path(__file__).parents[2] / "suites" / "dmarc-rfc9989.yml"
Records = dict[tuple[str, str], object]


def cases() -> list[tuple[str, Records, dict[str, Any]]]:
    found = []
    for scenario in yaml.safe_load_all(SUITE.read_text()):
        zone = _records(scenario["zonedata"])
        found += [(name, zone, case) for name, case in scenario["tests"].items()]
    return found


def _records(zonedata: dict[str, list[Any]]) -> Records:
    records: Records = {}
    for name, entries in zonedata.items():
        texts: list[object] = []
        for entry in entries:
            if entry == "TIMEOUT":
                records[(name, "TXT")] = Status.TIMEOUT
                continue
            (rdtype, value), *_ = entry.items()
            if rdtype == "TXT":
                texts.append(tuple(value) if isinstance(value, list) else value)
            else:
                records[(name, rdtype)] = tuple(value) if isinstance(value, list) else value
        if texts:
            records[(name, "TXT")] = texts
    return records


CASES = cases()


def test_the_suite_is_whole() -> None:
    assert len(CASES) == 62


@pytest.mark.parametrize(("zone", "case"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_message_gets_the_result_that_the_suite_asks_for(zone: Records, case: dict[str, Any]) -> None:
    resolver = Zone(zone)
    result = asyncio.run(evaluate(case["header_from"], case["spf_pass"], case["dkim_pass"], resolver))
    for key in ("result", "policy", "org_domain"):
        if key in case:
            assert getattr(result, key) == case[key], key
    if "queries" in case:
        asked = [name for name, rdtype in resolver.asked if rdtype == "TXT"]
        assert asked[: len(case["queries"])] == case["queries"]
        assert set(asked) == set(case["queries"])
