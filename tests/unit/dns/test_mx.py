"""Mail exchanges: each mistake that administrators make has its code."""

from __future__ import annotations

import pytest

from tests.support.findings import assert_explained, checked, finding, severities
from tests.support.zones import Zone
from ucrmmail.dns.answer import Status
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.mx import CODES, MOST_EXCHANGES, MxReport, check_mx

Records = dict[tuple[str, str], object]
HOSTS: Records = {
    ("d.example", "TXT"): "the domain exists",
    ("mail.d.example", "A"): "192.0.2.25",
    ("mail.d.example", "AAAA"): "2001:db8::25",
    ("spare.d.example", "A"): "192.0.2.26",
    ("alias.d.example", "CNAME"): "mail.d.example",
    ("inside.d.example", "A"): "10.0.0.1",
    ("both.d.example", "A"): ["10.0.0.1", "192.0.2.27"],
    ("self.d.example", "A"): "127.0.0.1",
    ("empty.d.example", "TXT"): "no address",
    ("silent.d.example", "A"): Status.SERVFAIL,
    ("silent.d.example", "AAAA"): Status.SERVFAIL,
    ("half.d.example", "A"): "192.0.2.28",
    ("half.d.example", "AAAA"): Status.TIMEOUT,
}


def report(mx: object = None, more: Records | None = None, *, sends: bool = True) -> MxReport:
    zone = HOSTS | (more or {})
    if mx is not None:
        zone["d.example", "MX"] = mx
    return checked(check_mx("d.example", Zone(zone), sends=sends), CODES)


def test_two_exchanges_pass_in_the_order_servers_try_them() -> None:
    result = report([(20, "spare.d.example"), (10, "mail.d.example")])
    assert severities(result) == {"mx-good": Severity.PASS}
    assert result.result == "found"
    assert [exchange.host for exchange in result.exchanges] == ["mail.d.example", "spare.d.example"]
    assert [str(address) for address in result.exchanges[0].addresses] == ["192.0.2.25", "2001:db8::25"]


@pytest.mark.parametrize(
    ("mx", "code", "severity", "kind"),
    [
        ((10, "alias.d.example"), "mx-cname", Severity.FAIL, "found"),
        ((10, "192.0.2.25"), "mx-address", Severity.FAIL, "invalid"),
        ((10, "192.0.2.25.d.example"), "mx-address", Severity.FAIL, "invalid"),
        ((10, "192.0.2.25.example"), "mx-address", Severity.FAIL, "invalid"),
        ((10, "192.0.2.25.provider.example"), "mx-no-address", Severity.FAIL, "invalid"),
        ((10, "[192.0.2.25]"), "mx-address", Severity.FAIL, "invalid"),
        ((10, "localhost"), "mx-bad-name", Severity.FAIL, "invalid"),
        ((10, "mail_1.d.example"), "mx-bad-name", Severity.FAIL, "invalid"),
        ((10, "mail\\032.d.example"), "mx-bad-name", Severity.FAIL, "invalid"),
        ((10, "empty.d.example"), "mx-no-address", Severity.FAIL, "invalid"),
        ((10, "nowhere.d.example"), "mx-no-address", Severity.FAIL, "invalid"),
        ((10, "inside.d.example"), "mx-private-address", Severity.FAIL, "found"),
        ((10, "both.d.example"), "mx-private-address", Severity.WARN, "found"),
        ((10, "self.d.example"), "mx-loopback", Severity.FAIL, "found"),
        ((10, "silent.d.example"), "mx-host-error", Severity.ERROR, "temperror"),
        ((10, "half.d.example"), "mx-host-error", Severity.ERROR, "found"),
        ([(10, "mail.d.example"), (20, "MAIL.d.example")], "mx-duplicate", Severity.WARN, "found"),
        ([(10, "mail.d.example"), (0, ".")], "mx-null-beside-others", Severity.FAIL, "found"),
    ],
)
def test_a_mistake_has_its_code(mx: object, code: str, severity: Severity, kind: str) -> None:
    result = report(mx)
    assert severities(result).pop(code) is severity
    assert result.result == kind
    assert ("mx-good" in severities(result)) is (severity is Severity.WARN)


def test_an_alias_is_replaced_by_the_host_it_leads_to() -> None:
    assert "mail.d.example." in finding(report((10, "alias.d.example")), "mx-cname").remedy


def test_a_host_that_does_not_exist_is_told_from_one_without_address() -> None:
    assert "does not exist" in finding(report((10, "nowhere.d.example")), "mx-no-address").what
    assert "has no address" in finding(report((10, "empty.d.example")), "mx-no-address").what


def test_the_exchanges_beside_a_null_mx_are_named() -> None:
    what = finding(report([(0, "."), (10, "mail.d.example")]), "mx-null-beside-others").what
    assert what.endswith("stands beside mail.d.example")


def test_a_doubled_domain_is_told_as_the_final_dot_that_is_missing() -> None:
    result = report((10, "mail.d.example.d.example"))
    assert "final dot" in finding(result, "mx-no-address").remedy


def test_names_of_one_host_are_no_second_server() -> None:
    more: Records = {("twin.d.example", "A"): "192.0.2.26"}
    result = report([(10, "spare.d.example"), (20, "twin.d.example")], more)
    assert severities(result) == {"mx-good": Severity.PASS, "mx-same-host": Severity.INFO}


def test_a_null_mx_is_right_for_a_domain_that_does_not_send() -> None:
    result = report((0, "."), sends=False)
    assert severities(result) == {"mx-null": Severity.PASS}
    assert result.result == "null"


def test_a_domain_that_sends_loses_its_bounces_with_a_null_mx() -> None:
    assert severities(report((0, "."))) == {"mx-null-sends": Severity.FAIL}


def test_a_null_mx_has_the_preference_zero_and_stands_once() -> None:
    result = report([(0, "."), (10, ".")], sends=False)
    assert severities(result) == {
        "mx-null": Severity.PASS,
        "mx-null-preference": Severity.INFO,
        "mx-duplicate": Severity.WARN,
    }


@pytest.mark.parametrize(("sends", "severity"), [(True, Severity.WARN), (False, Severity.INFO)])
def test_without_mx_the_address_of_the_domain_takes_the_mail(sends: bool, severity: Severity) -> None:
    result = report(None, {("d.example", "A"): "192.0.2.1"}, sends=sends)
    assert severities(result) == {"mx-implicit": severity}
    assert result.result == "implicit"
    assert result.exchanges[0].host == "d.example"


def test_nothing_at_all_fails_for_a_domain_that_sends_and_no_null_mx_is_proposed() -> None:
    result = report()
    assert severities(result) == {"mx-missing": Severity.WARN}
    assert result.proposals == ()


def test_nothing_at_all_is_said_with_a_null_mx_by_a_domain_that_does_not_send() -> None:
    result = report(sends=False)
    assert severities(result) == {"mx-none-needed": Severity.INFO}
    assert [(p.name, p.rdtype, p.value) for p in result.proposals] == [("d.example", "MX", "0 .")]


def test_a_domain_that_does_not_exist_is_told_so() -> None:
    result = checked(check_mx("gone.example", Zone(HOSTS)), CODES)
    assert severities(result) == {"mx-no-domain": Severity.FAIL}


@pytest.mark.parametrize("status", [Status.SERVFAIL, Status.TIMEOUT, Status.REFUSED, Status.MALFORMED])
def test_silence_is_never_no_mx(status: Status) -> None:
    result = report(status)
    assert severities(result) == {"mx-error": Severity.ERROR}
    assert result.result == "temperror"


def test_silence_about_the_own_address_is_never_no_address() -> None:
    result = report(None, {("d.example", "AAAA"): Status.TIMEOUT})
    assert severities(result) == {"mx-error": Severity.ERROR}


def test_a_hostile_number_of_exchanges_is_bounded() -> None:
    zone = Zone(HOSTS | {("d.example", "MX"): [(10, f"h{number}.d.example") for number in range(500)]})
    result = checked(check_mx("d.example", zone), CODES)
    assert severities(result)["mx-many"] is Severity.WARN
    assert len(zone.asked) == 3 + 2 * MOST_EXCHANGES
    assert max(len(found.what) for found in result.findings) < 700


def test_every_code_is_explained() -> None:
    assert_explained(CODES)
