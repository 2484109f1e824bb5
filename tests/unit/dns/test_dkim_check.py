"""The selectors of a domain, and what stands around them."""

from __future__ import annotations

import asyncio
import base64
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.zones import Zone
from ucrmmail.clock import Clock
from ucrmmail.dns.answer import Status
from ucrmmail.dns.check import SendingAccount, check_domain
from ucrmmail.dns.dkim_check import CODES, DkimReport, check_dkim
from ucrmmail.dns.finding import Severity
from ucrmmail.dns.https import HttpsFetcher
from ucrmmail.dns.providers import COMMON_SELECTORS, selectors_of

KEY = (
    "v=DKIM1; p="
    + base64.b64encode(
        rsa.generate_private_key(65537, 2048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()
)
ED25519 = "v=DKIM1; k=ed25519; p=" + base64.b64encode(os.urandom(32)).decode()
DOMAIN = "isp.example"


def check(records: dict[tuple[str, str], object], *selectors: str, transport: str = "smtp") -> DkimReport:
    zone = Zone({(DOMAIN, "A"): "192.0.2.1", **records})
    report = asyncio.run(
        check_dkim(DOMAIN, zone, selectors=selectors, transport=transport, random_label="ucrmmail-3f9a")
    )
    assert all(finding.code in CODES for finding in report.findings)
    return report


def codes(report: DkimReport) -> list[str]:
    return [finding.code for finding in report.findings]


def at(selector: str) -> tuple[str, str]:
    return (f"{selector}._domainkey.{DOMAIN}", "TXT")


def test_a_configured_selector_with_a_good_key_passes() -> None:
    report = check({at("mail"): KEY}, "mail")
    assert codes(report) == ["dkim-valid"]
    assert report.is_good
    (result,) = report.selectors
    assert (result.selector, result.state, result.bits, result.record) == ("mail", "valid", 2048, KEY)


def test_a_configured_selector_without_a_key_fails() -> None:
    report = check({}, "mail")
    assert [(finding.code, finding.severity) for finding in report.findings] == [("dkim-missing", Severity.FAIL)]
    assert not report.is_good


def test_without_selectors_common_ones_are_asked_and_nothing_is_proved() -> None:
    assert codes(check({at("s1"): KEY})) == ["dkim-valid"]
    report = check({})
    assert [(finding.code, finding.severity) for finding in report.findings] == [("dkim-none-found", Severity.WARN)]
    assert "proves nothing" in report.findings[0].what


def test_the_selectors_of_the_provider_are_asked_beside_the_given_ones() -> None:
    report = check({at("google"): KEY, at("mine"): KEY}, "mine", transport="gmail")
    assert [result.selector for result in report.selectors] == ["mine", "google"]
    assert codes(check({at("mine"): KEY}, "mine", transport="gmail")) == ["dkim-valid"]


def test_an_alias_is_followed_and_shown() -> None:
    report = check({(at("s1")[0], "CNAME"): "s1.provider.example", ("s1.provider.example", "TXT"): KEY}, "s1")
    assert codes(report) == ["dkim-valid"]
    assert report.selectors[0].aliases == ("s1.provider.example",)
    assert "s1.provider.example" in report.findings[0].what


@pytest.mark.parametrize("selectors", [("selector1",), ()])
def test_an_alias_that_leads_nowhere_is_told(selectors: tuple[str, ...]) -> None:
    records: dict[tuple[str, str], object] = {(at("selector1")[0], "CNAME"): "gone.provider.example"}
    assert "dkim-dangling-alias" in codes(check(records, *selectors))


def test_several_keys_under_a_selector_fail() -> None:
    assert codes(check({at("mail"): [KEY, ED25519]}, "mail")) == ["dkim-multiple"]


def test_a_strangers_text_beside_the_key_is_ignored() -> None:
    assert codes(check({at("mail"): [KEY, "site-verification=1"]}, "mail")) == ["dkim-valid"]


def test_a_wildcard_is_recognised_and_proves_no_selector() -> None:
    class Wildcard(Zone):
        async def query(self, name: str, rdtype: str) -> object:  # type: ignore[override] # the same answer
            found = await super().query(f"any._domainkey.{DOMAIN}", rdtype)
            return found if "_domainkey" in name else await super().query(name, rdtype)

    zone = Wildcard({at("any"): KEY})
    report = asyncio.run(
        check_dkim(DOMAIN, zone, selectors=(), transport="smtp", random_label="ucrmmail-3f9a")  # type: ignore[arg-type]
    )
    assert codes(report) == ["dkim-wildcard", "dkim-none-found"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Receivers ask for the selector of the signature, and cannot see that a wildcard answers.
        (KEY, ["dkim-wildcard", "dkim-valid"]),
        ("v=DKIM1; p=", ["dkim-wildcard", "dkim-revoked"]),
        ("v=spf1 -all", ["dkim-wildcard", "dkim-missing"]),
    ],
)
def test_a_selector_in_use_has_the_key_that_a_wildcard_holds(text: str, expected: list[str]) -> None:
    assert codes(check({at("mail"): text, at("ucrmmail-3f9a"): text}, "mail")) == expected


@pytest.mark.parametrize("name", [f"mail.{DOMAIN}", f"mail._domainkey.{DOMAIN}.{DOMAIN}"])
def test_a_key_at_the_wrong_name_is_found(name: str) -> None:
    assert codes(check({(name, "TXT"): KEY}, "mail")) == ["dkim-missing", "dkim-wrong-name"]


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("status", [Status.SERVFAIL, Status.TIMEOUT, Status.REFUSED, Status.MALFORMED])
def test_a_failure_is_never_a_missing_key(status: Status) -> None:
    report = check({at("mail"): status}, "mail")
    assert [(finding.code, finding.severity) for finding in report.findings] == [("dkim-error", Severity.ERROR)]
    assert report.selectors[0].state == "error"


def test_a_server_that_answers_for_no_selector_leaves_the_question_open() -> None:
    silent = {at(name): Status.TIMEOUT for name in COMMON_SELECTORS}
    report = check({**silent})
    assert [(finding.code, finding.severity) for finding in report.findings] == [("dkim-error", Severity.ERROR)]
    assert codes(check({**silent, at("s1"): KEY})) == ["dkim-valid"], "one key is an answer"


def test_ed25519_alone_is_not_enough() -> None:
    assert codes(check({at("mail"): ED25519}, "mail")) == ["dkim-valid", "dkim-ed25519-only"]
    assert codes(check({at("mail"): ED25519, at("s1"): KEY}, "mail", "s1")) == ["dkim-valid", "dkim-valid"]


def test_a_revoked_key_is_told() -> None:
    report = check({at("mail"): "v=DKIM1; p="}, "mail")
    assert codes(report) == ["dkim-revoked"]
    assert report.selectors[0].state == "revoked"


@pytest.mark.requirement("S13")
@pytest.mark.parametrize("text", [b"\xff" * 60_000, b"v=DKIM1;" * 8000, b"v=DKIM1; p=" + b"A" * 60_000, b"\x1b[2J\r\n"])
def test_a_hostile_record_is_bounded(text: bytes) -> None:
    report = check({at("mail"): tuple(text[n : n + 255] for n in range(0, len(text), 255))}, "mail")
    assert len(report.findings) < 10


@pytest.mark.parametrize(
    ("records", "selector"),
    [
        ({(DOMAIN, "MX"): (10, "MX1.mailbox.org")}, "mbo0002"),
        ({(DOMAIN, "TXT"): ["v=spf1 include:_spf.protonmail.ch ~all", "other"]}, "protonmail3"),
        ({(DOMAIN, "TXT"): "V=SPF1 ip4:192.0.2.1 INCLUDE:Spf.Migadu.com -all"}, "key2"),
    ],
)
def test_the_exchanges_and_the_spf_record_hint_at_selectors(
    records: dict[tuple[str, str], object], selector: str
) -> None:
    assert selector not in COMMON_SELECTORS
    zone = Zone({(DOMAIN, "A"): "192.0.2.1", at(selector): KEY, **records})

    def found(account: SendingAccount) -> DkimReport | None:
        only = frozenset({"dkim"})
        fetcher = HttpsFetcher(clock=Clock())
        return asyncio.run(
            check_domain(DOMAIN, account, zone, fetcher, only=only, random_label="ucrmmail-3f9a", now=0.0)
        ).dkim

    report = found(SendingAccount())
    assert report is not None
    assert [result.selector for result in report.selectors] == [selector]
    # Who names the selectors does not want guesses.
    configured = found(SendingAccount(selectors=("mail",)))
    assert configured is not None
    assert [result.selector for result in configured.selectors] == ["mail"]


def test_strangers_names_hint_at_nothing() -> None:
    assert selectors_of(["protonmail.ch.isp.example", "notgoogle.com", ""]) == ()
    assert selectors_of(["aspmx.l.google.com", "_spf.google.com"]) == ("google",)
