"""MTA-STS: the record, the policy from a real web server on loopback, and the exchanges it covers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.findings import checked, finding, severities
from tests.support.web_server import Behaviour, dripping, endless, page, web_server
from tests.support.zones import Zone
from ucrmmail.clock import Clock
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.https import Fetched, HttpsFetcher
from ucrmmail.dns.mta_sts import CODES, PATH, MtaStsReport, check_mta_sts

Records = dict[tuple[str, str], object]
RECORD = "v=STSv1; id=20261123T000000"
POLICY = "version: STSv1\nmode: enforce\nmx: mail.d.example\nmax_age: 1209600\n"
ZONE: Records = {
    ("_mta-sts.d.example", "TXT"): RECORD,
    ("mta-sts.d.example", "A"): "127.0.0.1",
    ("d.example", "MX"): (10, "mail.d.example"),
}
PASS = {"mta-sts-policy": Severity.PASS}


class Served:
    """A web server that is a value, for what the policy says."""

    def __init__(self, fetched: Fetched) -> None:
        self._fetched = fetched
        self.asked: list[tuple[str, str, list[str]]] = []

    async def get(self, host: str, path: str, addresses: object) -> Fetched:
        assert isinstance(addresses, list)
        self.asked.append((host, path, [str(address) for address in addresses]))
        return self._fetched


def report(policy: str | Fetched = POLICY, more: Records | None = None) -> MtaStsReport:
    fetched = Fetched(200, "text/plain", policy.encode()) if isinstance(policy, str) else policy
    return checked(check_mta_sts("d.example", Zone(ZONE | (more or {})), Served(fetched)), CODES)


# --- over HTTPS -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


def over_https(authority: TestAuthority, answer: bytes | Behaviour, *, name: str = "mta-sts.d.example") -> MtaStsReport:
    with web_server(authority.server_context(name), answer) as server:
        deadline_s = 0.5 if answer is dripping else 10.0
        fetcher = HttpsFetcher(clock=Clock(), deadline_s=deadline_s, port=server.port, ca_file=str(authority.ca_file))
        return checked(check_mta_sts("d.example", Zone(ZONE), fetcher), CODES)


def test_a_policy_is_read_over_https(authority: TestAuthority) -> None:
    result = over_https(authority, page(POLICY.encode()))
    assert severities(result) == PASS
    assert result.mode == "enforce"
    assert result.record == RECORD


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (page(b"", status="302 Found", more="Location: /x\r\n"), {"mta-sts-redirect": Severity.FAIL}),
        (page(POLICY.encode(), status="404 Not Found"), {"mta-sts-status": Severity.FAIL}),
        (page(POLICY.encode(), status="204 No Content"), {"mta-sts-status": Severity.FAIL}),
        (page(POLICY.encode(), media_type="text/html"), PASS | {"mta-sts-media-type": Severity.WARN}),
        (page(POLICY.encode(), media_type=""), PASS | {"mta-sts-media-type": Severity.WARN}),
        (b"what?\r\n\r\n", {"mta-sts-status": Severity.FAIL}),
        (dripping, {"mta-sts-unreachable": Severity.ERROR}),
    ],
)
def test_what_a_web_server_does_has_its_code(
    authority: TestAuthority, answer: bytes | Behaviour, expected: dict[str, Severity]
) -> None:
    assert severities(over_https(authority, answer)) == expected


def test_a_policy_without_end_is_too_large(authority: TestAuthority) -> None:
    assert severities(over_https(authority, endless))["mta-sts-too-large"] is Severity.FAIL


def test_a_certificate_for_another_name_hides_the_policy(authority: TestAuthority) -> None:
    result = over_https(authority, page(POLICY.encode()), name="d.example")
    assert severities(result) == {"mta-sts-tls": Severity.FAIL}
    assert result.policy is None


def test_a_port_where_nobody_listens_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    fetcher = HttpsFetcher(clock=Clock(), port=port, ca_file=str(TestAuthority(tmp_path).ca_file))
    result = checked(check_mta_sts("d.example", Zone(ZONE), fetcher), CODES)
    assert severities(result) == {"mta-sts-refused": Severity.FAIL}


def test_no_way_to_the_web_server_says_nothing_about_it() -> None:
    result = report(Fetched(problem="unreachable", detail="Network is unreachable"))
    assert severities(result) == {"mta-sts-unreachable": Severity.ERROR}


# --- the record -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ([RECORD, RECORD + "2"], {"mta-sts-multiple": Severity.FAIL}),
        ("v=stsv1; id=1", {"mta-sts-version": Severity.FAIL}),
        ("v=STSv1 id=1", {"mta-sts-version": Severity.FAIL}),
        ("sts=v1; id=1", {"mta-sts-version": Severity.FAIL}),
        ("id=1; v=STSv1", {"mta-sts-version": Severity.FAIL}),
        ([RECORD, "hello"], PASS | {"mta-sts-stray-text": Severity.INFO}),
        ("v=STSv1;", {"mta-sts-id": Severity.FAIL}),
        ("v=STSv1; id=", {"mta-sts-id": Severity.FAIL}),
        ("v=STSv1; id=2026-11-23", {"mta-sts-id": Severity.FAIL}),
        ("v=STSv1; id=" + "1" * 33, {"mta-sts-id": Severity.FAIL}),
        ("v=STSv1; id=1; what", {"mta-sts-syntax": Severity.FAIL}),
        ("v=STSv1; id=1; extension=2", PASS),
        ("v=STSv1;id=" + "a" * 32 + ";", PASS),
        (("v=STS", "v1; id=1"), PASS),
        (Status.SERVFAIL, {"mta-sts-error": Severity.ERROR}),
    ],
)
def test_each_state_of_the_record_has_its_code(record: object, expected: dict[str, Severity]) -> None:
    assert severities(report(more={("_mta-sts.d.example", "TXT"): record})) == expected


def test_the_record_may_be_an_alias() -> None:
    zone = {key: value for key, value in ZONE.items() if key[1] != "TXT"}
    zone["_mta-sts.d.example", "CNAME"] = "sts.provider.example"
    zone["sts.provider.example", "TXT"] = RECORD
    served = Served(Fetched(200, "text/plain", POLICY.encode()))
    assert severities(checked(check_mta_sts("d.example", Zone(zone), served), CODES)) == PASS


def test_the_policy_is_asked_for_once_at_the_addresses_of_its_host() -> None:
    served = Served(Fetched(200, "text/plain", POLICY.encode()))
    zone = Zone(ZONE | {("mta-sts.d.example", "AAAA"): "::1"})
    checked(check_mta_sts("d.example", zone, served), CODES)
    assert served.asked == [("mta-sts.d.example", PATH, ["127.0.0.1", "::1"])]


def test_absent_is_no_fault_and_a_test_of_the_real_exchanges_is_proposed() -> None:
    zone = {key: value for key, value in ZONE.items() if key[0] != "_mta-sts.d.example"}
    served = Served(Fetched())
    result = checked(check_mta_sts("d.example", Zone(zone), served), CODES)
    assert severities(result) == {"mta-sts-absent": Severity.INFO}
    assert served.asked == []
    proposed = report(result.proposed_policy, {("_mta-sts.d.example", "TXT"): result.proposals[0].value})
    assert severities(proposed) == PASS | {"mta-sts-testing": Severity.INFO}


def test_nothing_is_proposed_to_a_domain_that_takes_no_mail() -> None:
    result = checked(check_mta_sts("d.example", Zone({("d.example", "MX"): (0, ".")}), Served(Fetched())), CODES)
    assert severities(result) == {"mta-sts-absent": Severity.INFO}
    assert result.proposals == ()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ([], {"mta-sts-no-host": Severity.FAIL}),
        (Status.TIMEOUT, {"mta-sts-error": Severity.ERROR}),
    ],
)
def test_a_record_without_a_host_behind_it_fails(address: object, expected: dict[str, Severity]) -> None:
    assert severities(report(more={("mta-sts.d.example", "A"): address})) == expected


# --- the policy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "to", "expected"),
    [
        ("STSv1", "STSv2", {"mta-sts-policy-version": Severity.FAIL}),
        ("version: STSv1\n", "", {"mta-sts-policy-version": Severity.FAIL}),
        ("enforce", "report", {"mta-sts-mode": Severity.FAIL}),
        ("1209600", "forever", {"mta-sts-max-age": Severity.FAIL}),
        ("1209600", "3600", PASS | {"mta-sts-max-age-short": Severity.WARN}),
        ("1209600", "172800", PASS | {"mta-sts-max-age-short": Severity.INFO}),
        ("mx: mail.d.example\n", "", {"mta-sts-no-mx": Severity.FAIL}),
        ("mx: mail", "mx: mail.d.example\nmx: .mail", PASS | {"mta-sts-pattern": Severity.WARN}),
        ("mx: mail", "mx mail\nmx: mail", PASS | {"mta-sts-policy-syntax": Severity.WARN}),
        ("mx: mail", "mode: none\nmx: mail", PASS | {"mta-sts-repeated-field": Severity.WARN}),
        ("enforce", "testing", PASS | {"mta-sts-testing": Severity.INFO}),
        ("enforce", "none", PASS | {"mta-sts-none": Severity.INFO}),
        ("mail.d.example", "*.d.example", PASS),
        ("mx: mail", "mx: old.d.example\nmx: mail", PASS | {"mta-sts-mx-unused": Severity.INFO}),
        (
            "mail.d.example",
            "other.example",
            {"mta-sts-mx-not-covered": Severity.FAIL, "mta-sts-mx-unused": Severity.INFO},
        ),
    ],
)
def test_each_state_of_the_policy_has_its_code(changed: str, to: str, expected: dict[str, Severity]) -> None:
    assert severities(report(POLICY.replace(changed, to))) == expected


def test_what_senders_read_is_told() -> None:
    assert finding(report(), "mta-sts-policy").what == "mode enforce, for 1209600 s: mail.d.example"
    ending = POLICY.replace("enforce", "none").replace("mx: mail.d.example\n", "")
    assert finding(report(ending), "mta-sts-policy").what == "mode none, for 1209600 s: no exchange"


@pytest.mark.parametrize(
    ("media_type", "shown"), [("text/html", "served as text/html"), ("", "served without a media type")]
)
def test_the_media_type_is_told(media_type: str, shown: str) -> None:
    result = report(Fetched(200, media_type, POLICY.encode()))
    assert finding(result, "mta-sts-media-type").what.endswith(shown)


def test_a_record_that_begins_with_a_semicolon_is_marked_there() -> None:
    mark = finding(report(more={("_mta-sts.d.example", "TXT"): ";v=STSv1; id=1"}), "mta-sts-version").mark
    assert mark is not None
    assert (mark.start, mark.end) == (0, 1)


def test_each_exchange_must_be_covered() -> None:
    more: Records = {("d.example", "MX"): [(10, "mail.d.example"), (20, "Spare.provider.example")]}
    result = report(more=more)
    assert "spare.provider.example" in finding(result, "mta-sts-mx-not-covered").what
    assert severities(result) == {"mta-sts-mx-not-covered": Severity.FAIL}
    testing = report(POLICY.replace("enforce", "testing"), more)
    assert severities(testing)["mta-sts-mx-not-covered"] is Severity.WARN


def test_without_mx_the_domain_itself_must_be_covered() -> None:
    more: Records = {("d.example", "MX"): [], ("d.example", "A"): "192.0.2.1"}
    assert severities(report(POLICY.replace("mail.d.example", "d.example"), more)) == PASS


def test_silence_about_the_exchanges_is_told() -> None:
    result = report(more={("d.example", "MX"): Status.TIMEOUT})
    assert severities(result) == {"mta-sts-error": Severity.ERROR}


def test_a_hostile_policy_gives_few_findings() -> None:
    hostile = POLICY + "".join(f"mx: .{number}\nwhat {number}\n" for number in range(5000))
    assert len(report(hostile).findings) < 30


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    result = report(Fetched(200, "text/plain", b"version: \xff\x00\nmode: enforce\nmx: a.example\nmax_age: 1209600"))
    assert "\\xff" in finding(result, "mta-sts-policy-version").what
