"""What the tests of the checks ask of every finding, whatever it is about."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Protocol, TypeVar

from ucrmmail.dns.finding import Finding, Proposal, Severity


class Report(Protocol):
    @property
    def findings(self) -> tuple[Finding, ...]: ...
    @property
    def proposals(self) -> tuple[Proposal, ...]: ...


R = TypeVar("R", bound=Report)


def checked(check: Coroutine[object, object, R], known: Mapping[str, str]) -> R:
    """Run a check; every finding must be explained, give a reason, and say what to do unless all is well."""
    report = asyncio.run(check)
    assert report.findings
    for finding in report.findings:
        assert finding.code in known
        assert finding.code.startswith(finding.check + "-")
        assert finding.what
        assert finding.why
        assert finding.remedy or finding.severity in (Severity.PASS, Severity.INFO), finding
        if finding.mark is not None:
            assert 0 <= finding.mark.start < finding.mark.end <= len(finding.mark.text)
    return report


def severities(report: Report) -> dict[str, Severity]:
    """Return the severity of each code in the report."""
    return {finding.code: finding.severity for finding in report.findings}


def finding(report: Report, code: str) -> Finding:
    return next(found for found in report.findings if found.code == code)


def assert_explained(known: Mapping[str, str]) -> None:
    """Every explanation is some sentences, of one check."""
    assert len({code.partition("-")[0] for code in known}) <= 2
    for code, text in known.items():
        assert text.endswith("."), code
        assert len(text) > 50, code
