"""BIMI: the record, what it needs of DMARC, and the logo."""

from __future__ import annotations

import gzip
import time

import pytest

from tests.support.findings import assert_explained, checked, finding, severities
from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.bimi import CODES, BimiReport, check_bimi
from ucrmmail.dns.bimi_svg import LARGEST_BYTES, problems_of_svg
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.https import Fetched

LOGO = "l=https://www.d.example/logo.svg"
GOOD = f"v=BIMI1; {LOGO}; a=https://www.d.example/vmc.pem"
PASS = {"bimi-record": Severity.PASS}
SVG = (
    b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" version="1.2" baseProfile="tiny-ps"'
    b' viewBox="0 0 64 64"><title>D</title><circle cx="32" cy="32" r="9"/></svg>'
)


def report(record: object = None, *, policy: str = "reject", org_domain: str = "") -> BimiReport:
    zone = {} if record is None else {("default._bimi.d.example", "TXT"): record}
    return checked(check_bimi("d.example", Zone(zone), policy=policy, org_domain=org_domain), CODES)


@pytest.mark.parametrize(
    "record",
    [
        GOOD,
        GOOD.replace(" ", ""),
        GOOD + ";",
        GOOD + "; avp=brand",
        GOOD.replace("svg", "SVGZ"),
        (GOOD[:20], GOOD[20:]),
    ],
)
@pytest.mark.parametrize("policy", ["quarantine", "reject"])
def test_a_good_record_passes(record: object, policy: str) -> None:
    assert severities(report(record, policy=policy)) == PASS


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, {"bimi-absent": Severity.INFO}),
        (Status.TIMEOUT, {"bimi-error": Severity.ERROR}),
        ([GOOD, GOOD + ";"], {"bimi-multiple": Severity.FAIL}),
        (GOOD.replace("BIMI1", "bimi1"), {"bimi-version": Severity.FAIL}),
        ("l=https://isp.example/logo.svg; v=BIMI1", {"bimi-version": Severity.FAIL}),
        (GOOD.replace("BIMI1;", "BIMI1"), {"bimi-version": Severity.FAIL}),
        ([GOOD, "hello"], PASS | {"bimi-stray-text": Severity.INFO}),
        ("v=BIMI1; l=; a=", {"bimi-declined": Severity.INFO}),
        ("v=BIMI1; l=;", {"bimi-declined": Severity.INFO}),
        ("v=BIMI1", {"bimi-no-logo": Severity.FAIL, "bimi-no-certificate": Severity.INFO}),
        ("v=BIMI1; a=https://d.example/v.pem", {"bimi-no-logo": Severity.FAIL}),
        (f"v=BIMI1; {LOGO}", PASS | {"bimi-no-certificate": Severity.INFO}),
        (f"v=BIMI1; {LOGO}; a=self", PASS | {"bimi-no-certificate": Severity.INFO}),
        (GOOD.replace("l=https", "l=http"), {"bimi-location": Severity.FAIL}),
        (GOOD.replace("a=https", "a=http"), {"bimi-location": Severity.FAIL}),
        (GOOD.replace("l=https://www.d.example", "l=https://localhost"), {"bimi-location": Severity.FAIL}),
        (GOOD.replace("logo.svg", "logo.png"), PASS | {"bimi-not-svg": Severity.WARN}),
        (GOOD.replace("vmc.pem", "vmc.crt"), PASS | {"bimi-not-pem": Severity.WARN}),
        (GOOD + "; what", PASS | {"bimi-syntax": Severity.WARN}),
        (GOOD + f"; {LOGO}", PASS | {"bimi-duplicate-tag": Severity.WARN}),
        (GOOD + "; x=y", PASS | {"bimi-unknown-tag": Severity.INFO}),
    ],
)
def test_each_state_of_the_record_has_its_code(record: object, expected: dict[str, Severity]) -> None:
    assert severities(report(record)) == expected


@pytest.mark.parametrize("policy", ["", "none"])
def test_without_an_enforced_policy_no_logo_is_shown(policy: str) -> None:
    assert severities(report(GOOD, policy=policy)) == PASS | {"bimi-policy": Severity.WARN}
    assert severities(report(None, policy=policy)) == {"bimi-absent": Severity.INFO}


def test_the_policy_that_is_not_enforced_is_named() -> None:
    assert finding(report(GOOD, policy="none"), "bimi-policy").what == "the DMARC policy of d.example is none"
    assert finding(report(GOOD, policy=""), "bimi-policy").what == "the DMARC policy of d.example is missing"


def test_a_subdomain_takes_the_logo_of_its_organization() -> None:
    zone = Zone({("default._bimi.example", "TXT"): GOOD})
    result = checked(check_bimi("d.example", zone, policy="reject", org_domain="example"), CODES)
    assert severities(result) == {"bimi-inherited": Severity.PASS}
    assert result.record_domain == "example"


def test_a_subdomain_that_declines_does_not_inherit() -> None:
    zone = Zone({("default._bimi.example", "TXT"): GOOD, ("default._bimi.d.example", "TXT"): "v=BIMI1; l=; a=;"})
    result = checked(check_bimi("d.example", zone, policy="reject", org_domain="example"), CODES)
    assert severities(result) == {"bimi-declined": Severity.INFO}


def test_the_wrong_tag_is_marked() -> None:
    mark = finding(report(GOOD.replace("l=https", "l=http")), "bimi-location").mark
    assert mark is not None
    assert mark.text[mark.start : mark.end] == "l=http://www.d.example/logo.svg"


def test_a_record_that_begins_with_a_semicolon_is_marked_there() -> None:
    mark = finding(report(";v=BIMI1; l="), "bimi-version").mark
    assert mark is not None
    assert (mark.start, mark.end) == (0, 1)


def test_a_record_without_end_is_bounded() -> None:
    assert len(report(GOOD + ";a" * 30_000).findings) < 60


# --- the logo -------------------------------------------------------------------------------------------------------


class Served:
    """A web server that is a value."""

    def __init__(self, fetched: Fetched) -> None:
        self._fetched = fetched
        self.asked: list[tuple[str, str, list[str]]] = []

    async def get(self, host: str, path: str, addresses: object) -> Fetched:
        assert isinstance(addresses, list)
        self.asked.append((host, path, [str(address) for address in addresses]))
        return self._fetched


@pytest.mark.parametrize(
    ("fetched", "code", "severity"),
    [
        (Fetched(200, "image/svg+xml", SVG), "bimi-logo", Severity.PASS),
        (Fetched(200, "image/svg+xml", gzip.compress(SVG)), "bimi-logo", Severity.PASS),
        (Fetched(200, "text/plain", SVG), "bimi-logo-profile", Severity.WARN),
        (Fetched(200, "image/svg+xml", b"hello"), "bimi-logo-profile", Severity.WARN),
        (Fetched(404, "text/html", b"no"), "bimi-logo-unreachable", Severity.WARN),
        (Fetched(302, location="https://elsewhere.example/"), "bimi-logo-unreachable", Severity.WARN),
        (Fetched(problem="tls", detail="expired"), "bimi-logo-unreachable", Severity.WARN),
        (Fetched(problem="time", detail="late"), "bimi-logo-unreachable", Severity.ERROR),
    ],
)
def test_each_state_of_the_logo_has_its_code(fetched: Fetched, code: str, severity: Severity) -> None:
    zone = Zone({("default._bimi.d.example", "TXT"): GOOD, ("www.d.example", "A"): "192.0.2.80"})
    served = Served(fetched)
    result = checked(check_bimi("d.example", zone, policy="reject", fetcher=served), CODES)
    assert severities(result) == PASS | {code: severity}
    assert (fetched.detail or str(fetched.status)) in finding(result, code).what or fetched.status == 200
    assert served.asked == [("www.d.example", "/logo.svg", ["192.0.2.80"])]


def test_an_address_that_is_none_is_not_fetched() -> None:
    zone = Zone({("default._bimi.d.example", "TXT"): "v=BIMI1; l=ftp://d.example/logo.svg"})
    served = Served(Fetched())
    checked(check_bimi("d.example", zone, policy="reject", fetcher=served), CODES)
    assert served.asked == []


@pytest.mark.parametrize(
    ("changed", "to", "problem"),
    [
        (b"tiny-ps", b"tiny", "baseProfile"),
        (b'"1.2"', b'"1.1"', "version"),
        (b"<title>D</title>", b"", "title"),
        (b"<title>D</title>", b"<title> </title>", "title"),
        (b"<circle", b"<script>1</script><circle", "script"),
        (b"<circle", b'<image xlink:href="https://x.example/a.png"/><circle', "image"),
        (b"<circle", b'<use href="https://x.example/a.svg#b"/><circle', "outside"),
        (b"<circle", b'<a href=""/><circle', "outside"),
        (b"64 64", b"64 32", "square"),
        (b"viewBox", b'x="1" viewBox', "x or y"),
        (b"<svg", b'<!DOCTYPE svg [<!ENTITY a "b">]><svg', "entities"),
        (b"<circle", b" " * LARGEST_BYTES + b"<circle", "larger"),
        (b"<svg", b"<!-- <svg", "no SVG"),
    ],
)
def test_a_logo_outside_the_profile_is_told_why(changed: bytes, to: bytes, problem: str) -> None:
    broken = SVG.replace(changed, to, 1) + (b"-->" if b"<!--" in to else b"")
    assert any(problem in told for told in problems_of_svg(broken))


def test_a_reference_inside_the_logo_is_allowed() -> None:
    assert problems_of_svg(SVG.replace(b"<circle", b'<use href="#a"/><circle')) == ()


def test_a_compressed_bomb_is_not_unpacked() -> None:
    assert any("larger" in problem for problem in problems_of_svg(gzip.compress(b" " * 50_000_000)))


@pytest.mark.parametrize("part", [b"<svg ", b"<!--", b"<title", b"a", b"a=", b",", b" ", b"href= ", b'viewBox="1,,,,'])
def test_a_hostile_logo_takes_no_time(part: bytes) -> None:
    hostile = b"<svg " + part * (200_000 // len(part)) + b'">'
    began = time.process_time()
    assert problems_of_svg(hostile)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"\x1f\x8b" + b"x" * 50, gzip.compress(SVG)[:-20], b"\xff" * 100])
def test_what_cannot_be_read_is_no_logo(data: bytes) -> None:
    assert problems_of_svg(data)


def test_every_code_is_explained() -> None:
    assert_explained(CODES)
