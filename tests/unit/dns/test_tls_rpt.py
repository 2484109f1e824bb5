"""Where reports about failed TLS go."""

from __future__ import annotations

import pytest

from tests.support.findings import assert_explained, checked, finding, severities
from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.tls_rpt import CODES, TlsRptReport, check_tls_rpt

GOOD = "v=TLSRPTv1; rua=mailto:tls@elsewhere.example"


def report(record: object = None) -> TlsRptReport:
    zone = {} if record is None else {("_smtp._tls.d.example", "TXT"): record}
    return checked(check_tls_rpt("d.example", Zone(zone)), CODES)


@pytest.mark.parametrize(
    "record",
    [
        GOOD,
        GOOD.replace(" ", ""),
        GOOD + ";",
        "v=TLSRPTv1 ; rua = mailto:tls@elsewhere.example",
        "v=TLSRPTv1; rua=https://reports.example/v1/tls",
        "v=TLSRPTv1; rua=https://reports.example:8443,mailto:tls@elsewhere.example",
        "v=TLSRPTv1; rua=mailto:tls%2Cd@elsewhere.example",
        "v=TLSRPTv1; rua=MAILTO:tls@elsewhere.example?subject=tls",
        ("v=TLSRPTv1; rua=mail", "to:tls@elsewhere.example"),
    ],
)
def test_a_good_record_passes(record: object) -> None:
    assert severities(report(record)) == {"tlsrpt-record": Severity.PASS}


@pytest.mark.parametrize(
    ("record", "code", "severity"),
    [
        ([GOOD, GOOD + ","], "tlsrpt-multiple", Severity.FAIL),
        ("v=tlsrptv1; rua=mailto:tls@elsewhere.example", "tlsrpt-version", Severity.FAIL),
        ("v=TLSRPT1; rua=mailto:tls@elsewhere.example", "tlsrpt-version", Severity.FAIL),
        ("rua=mailto:tls@elsewhere.example; v=TLSRPTv1", "tlsrpt-version", Severity.FAIL),
        ("v=TLSRPTv1 rua=mailto:tls@elsewhere.example", "tlsrpt-version", Severity.FAIL),
        ('"v=TLSRPTv1; rua=mailto:tls@elsewhere.example"', "tlsrpt-version", Severity.FAIL),
        ([GOOD, "hello"], "tlsrpt-stray-text", Severity.INFO),
        ("v=TLSRPTv1", "tlsrpt-no-rua", Severity.FAIL),
        ("v=TLSRPTv1; rua=", "tlsrpt-no-rua", Severity.FAIL),
        ("v=TLSRPTv1; rua=tls@elsewhere.example", "tlsrpt-rua", Severity.FAIL),
        ("v=TLSRPTv1; rua=smtp:tls@elsewhere.example", "tlsrpt-rua", Severity.FAIL),
        ("v=TLSRPTv1; rua=mailto:tls@localhost", "tlsrpt-rua", Severity.FAIL),
        ("v=TLSRPTv1; rua=mailto:tls@elsewhere.example!10m", "tlsrpt-rua", Severity.FAIL),
        ("v=TLSRPTv1; rua=https:///reports", "tlsrpt-rua", Severity.FAIL),
        ("v=TLSRPTv1; rua=ftp://reports.example", "tlsrpt-rua", Severity.FAIL),
        ("v=TLSRPTv1; rua=http://reports.example", "tlsrpt-http", Severity.FAIL),
        (GOOD + "; what", "tlsrpt-syntax", Severity.WARN),
        (GOOD + "; rua=mailto:two@elsewhere.example", "tlsrpt-duplicate-tag", Severity.WARN),
        (GOOD + "; ruf=mailto:two@elsewhere.example", "tlsrpt-unknown-tag", Severity.INFO),
        ("v=TLSRPTv1; rua=mailto:tls@d.example", "tlsrpt-own-domain", Severity.INFO),
        (Status.SERVFAIL, "tlsrpt-error", Severity.ERROR),
    ],
)
def test_a_mistake_has_its_code(record: object, code: str, severity: Severity) -> None:
    result = report(record)
    expected = {code: severity}
    if severity in (Severity.WARN, Severity.INFO):
        expected["tlsrpt-record"] = Severity.PASS
    assert severities(result) == expected


def test_an_absent_record_is_no_fault_and_is_proposed() -> None:
    result = report()
    assert severities(result) == {"tlsrpt-absent": Severity.INFO}
    assert [p.name for p in result.proposals] == ["_smtp._tls.d.example"]
    proposed = report(result.proposals[0].value)
    assert severities(proposed)["tlsrpt-record"] is Severity.PASS


def test_the_wrong_destination_is_marked_among_the_others() -> None:
    result = report("v=TLSRPTv1; rua=mailto:a@x.example, mailto:b, mailto:c@x.example")
    mark = finding(result, "tlsrpt-rua").mark
    assert mark is not None
    assert mark.text[mark.start : mark.end] == "mailto:b"
    assert len(result.rua) == 3


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    result = report(b"v=TLSRPTv1; rua=\xff\x00")
    assert "\\xff" in finding(result, "tlsrpt-rua").what


def test_a_record_that_begins_with_a_semicolon_is_marked_there() -> None:
    mark = finding(report(";v=TLSRPTv1; rua=mailto:tls@elsewhere.example"), "tlsrpt-version").mark
    assert mark is not None
    assert (mark.start, mark.end) == (0, 1)


def test_a_record_without_end_is_bounded() -> None:
    result = report("v=TLSRPTv1; rua=" + ",".join("x" * 500 for _ in range(120)))
    assert len(result.findings) < 30
    assert len(report(GOOD + ";a" * 30_000).findings) < 60


def test_every_code_is_explained() -> None:
    assert_explained(CODES)
