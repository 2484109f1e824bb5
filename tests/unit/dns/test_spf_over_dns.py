"""The RFC 7208 suite once more, with every question on the wire."""

from __future__ import annotations

import asyncio
from itertools import groupby

import pytest

from tests.support.nameserver import serving
from tests.support.spf_suites import Case, cases
from ucrmmail.clock import Clock
from ucrmmail.dns.resolver import DnsResolver
from ucrmmail.dns.spf import SpfResult, check_host, identity

BY_ZONE = [list(group) for _, group in groupby(cases("rfc7208-tests.yml"), key=lambda case: case.zone)]


async def evaluated(scenario: list[Case]) -> list[SpfResult]:
    async with serving(scenario[0].records) as server:
        results = []
        for case in scenario:
            resolver = DnsResolver([server], clock=Clock(), attempt_s=5.0)
            domain, sender = identity(case.mail_from, case.helo)
            results.append(await check_host(case.ip, domain, sender, case.helo, resolver, now=1_700_000_000.0))
        return results


@pytest.mark.parametrize("scenario", BY_ZONE, ids=lambda scenario: scenario[0].name)
def test_suite_holds_over_the_network(scenario: list[Case]) -> None:
    for case, result in zip(scenario, asyncio.run(evaluated(scenario)), strict=True):
        assert result.result in case.results, (case.name, result)
        assert case.explanation in (None, result.explanation), case.name
