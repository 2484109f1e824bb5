"""What an earlier check found, to be told only of what has changed since.

A finding is known by its code, what it is about, and its severity; its sentence may change without being news. Findings
that say "the DNS did not answer" are never kept: a bad minute must not become what is normal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from ucrmmail.dataclass import replace
from ucrmmail.dns.finding import Severity
from ucrmmail.errors import DataError
from ucrmmail.jsontext import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ucrmmail.dns.check import DomainReport
    from ucrmmail.dns.finding import Finding

_VERSION = 1


class Known(NamedTuple):
    """A finding as a baseline keeps it."""

    code: str
    subject: str
    severity: str


def encode(reports: Iterable[DomainReport]) -> bytes:
    """Return the baseline of these reports, as JSON."""
    domains = {
        report.domain: [
            [known.code, known.subject, known.severity]
            for known in sorted({_known(found) for found in report.findings if found.severity is not Severity.ERROR})
        ]
        for report in reports
    }
    return json.dumps({"baseline": _VERSION, "domains": domains}, indent=1).encode() + b"\n"


def decode(raw: bytes) -> dict[str, frozenset[Known]]:
    """Return what was known of each domain. Raises DataError when it is no baseline."""
    try:
        document = read_json(raw)
        if document["baseline"] != _VERSION:
            raise ValueError
        return {
            str(domain): frozenset(Known(*map(str, entry)) for entry in entries)
            for domain, entries in document["domains"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError("the file is no baseline", remedy="write one with `ucrmmail check-dns --save FILE`") from None


def since(report: DomainReport, baseline: Mapping[str, frozenset[Known]]) -> DomainReport:
    """Return the report with what is new since the baseline, and what is ``gone``.

    While the DNS does not answer for something, nothing is said to be gone.
    """
    before = baseline.get(report.domain, frozenset())
    now = {_known(found) for found in report.findings}
    new = tuple(found for found in report.findings if _known(found) not in before)
    silent = any(found.severity is Severity.ERROR for found in report.findings)
    gone = () if silent else tuple(f"{known.code}  {known.subject}" for known in sorted(before - now))
    return replace(report, findings=new, gone=gone)


def _known(found: Finding) -> Known:
    return Known(found.code, found.subject, found.severity.value)
