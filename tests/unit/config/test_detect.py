"""Providers by the domain of an address and by exchanges, and the presets that they mean."""

from __future__ import annotations

import pytest

from ucrmmail.config import detect
from ucrmmail.config.detect import Detected, by_domain, by_exchanges
from ucrmmail.config.presets import NAMES


@pytest.mark.parametrize(
    ("exchange", "found"),
    [
        ("aspmx.l.google.com", Detected("gmail")),
        ("ALT1.ASPMX.L.GOOGLE.COM.", Detected("gmail")),
        ("smtp.google.com", Detected("gmail")),
        ("isp-example.mail.protection.outlook.com", Detected("microsoft365")),
        ("isp-example.k-v1.mx.microsoft", Detected("microsoft365")),
        ("hotmail-com.olc.protection.outlook.com", Detected("outlook")),
        ("in1-smtp.messagingengine.com", Detected("fastmail")),
        ("mx01.mail.icloud.com", Detected("icloud")),
        ("mta7.am0.yahoodns.net", Detected("yahoo")),
        ("mx.zoho.com", Detected("zoho", "smtppro.zoho.com")),
        ("mx2.zoho.com.au", Detected("zoho", "smtppro.zoho.com.au")),
        ("mail.isp.example", None),
        ("notgoogle.com", None),
        ("mx.zoho.com.evil.example", None),
        (".", None),
    ],
)
def test_an_exchange_tells_its_provider(exchange: str, found: Detected | None) -> None:
    assert by_exchanges([exchange]) == found


def test_the_first_exchange_that_is_known_decides() -> None:
    assert by_exchanges([]) is None
    assert by_exchanges(["filter.isp.example", "smtp.google.com", "mx.zoho.eu"]) == Detected("gmail")


def test_domains_of_providers_need_no_dns() -> None:
    assert by_domain("gmail.com") == Detected("gmail")
    assert by_domain("isp.example") is None


def test_every_provider_that_is_detected_has_a_preset() -> None:
    assert {*detect._DOMAINS.values(), *dict(detect._EXCHANGES).values()} <= set(NAMES)
