"""check_host() against the public suites of openspf (RFC 7208) and of mail-auth."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.spf_suites import Case, cases
from tests.support.zones import Zone
from ucrmmail.dns.spf import SpfResult, check_host, identity

OPENSPF = cases("rfc7208-tests.yml")
# Other implementations and the RFC's authors answer these otherwise than mail-auth does.
DISPUTED = {"basic-7-1", "basic-7-3", "basic-11-6", "ip-36-4"}
MAIL_AUTH = [case for case in cases("stalwart-spf.yml") if case.name not in DISPUTED]


def evaluated(case: Case) -> SpfResult:
    domain, sender = identity(case.mail_from, case.helo)
    return asyncio.run(check_host(case.ip, domain, sender, case.helo, Zone(case.records), now=1_700_000_000.0))


@pytest.mark.requirement("S12")
@pytest.mark.parametrize("case", OPENSPF, ids=lambda case: case.name)
def test_result_and_explanation_are_those_of_the_rfc_suite(case: Case) -> None:
    result = evaluated(case)
    assert result.result in case.results, result
    if case.explanation is not None:
        assert result.explanation == case.explanation


@pytest.mark.parametrize("case", MAIL_AUTH, ids=lambda case: case.name)
def test_result_is_that_of_the_mail_auth_suite(case: Case) -> None:
    result = evaluated(case)
    assert result.result in case.results, result


def test_the_suites_are_whole() -> None:
    assert len(OPENSPF) == 203
    assert len([case for case in OPENSPF if case.explanation]) == 14
    assert len(MAIL_AUTH) == 157 - len(DISPUTED)
