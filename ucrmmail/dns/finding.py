"""What a check found, told so that an administrator can act on it."""

from __future__ import annotations

import re
from enum import StrEnum

from ucrmmail.dataclass import dataclass


class Severity(StrEnum):
    """How much a finding weighs; ERROR means that the DNS did not answer, so nothing is known."""

    PASS = "pass"  # noqa: S105 # a verdict, not a password
    INFO = "info"
    WARN = "warn"
    FAIL = "fail"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Mark:
    """The offending part of a published text: ``text[start:end]``."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is right, or wrong, or unknown.

    ``check`` is a check of the command line (spf, dkim, dmarc, align, mx, ptr, helo, mta-sts, tlsrpt, bimi, dane,
    domain); ``code`` is stable, in lower case with hyphens and begins with its check (``spf-too-many-lookups``);
    ``subject`` is the name or record it is about. ``what``, ``why`` and ``remedy`` are one sentence or two each,
    and may hold bytes of strangers, which ``output.escape`` makes safe where they are printed. ``rfc`` is the
    section it rests on, such as ``RFC 7208 section 4.6.4``.
    """

    check: str
    code: str
    severity: Severity
    subject: str
    what: str
    why: str = ""
    remedy: str = ""
    rfc: str = ""
    mark: Mark | None = None


_SOURCE = re.compile(r" RFC \d+(?: (?:section|appendix) [\w.]+)?\.\Z")


def reason(explanation: str) -> str:
    """Return what a code is explained with, without the RFC at its end, which a finding has in ``rfc``."""
    return _SOURCE.sub("", explanation)


def verdict(findings: tuple[Finding, ...]) -> Severity:
    """Return fail, else error, else warn, else pass: the worst that is known comes before what is not known."""
    severities = {finding.severity for finding in findings}
    for severity in (Severity.FAIL, Severity.ERROR, Severity.WARN):
        if severity in severities:
            return severity
    return Severity.PASS


@dataclass(frozen=True, slots=True)
class Proposal:
    """A record to publish. ``value`` is the whole text (TXT: joined, unquoted); ``replaces`` is what stands there now.

    The three words say it as a zone file does: ``name`` (absolute, no final dot), ``rdtype``, ``value``.
    """

    name: str
    rdtype: str
    value: str
    why: str
    replaces: str = ""
