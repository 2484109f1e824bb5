"""Which ports take mail: all combinations at once, what each gave, and which settings are proposed."""

from __future__ import annotations

from pathlib import Path

from tests.support.certificates import TestAuthority
from tests.support.smtp_client import USER, smarthost
from tests.support.smtp_server import SmtpServer
from ucrmmail.clock import Clock
from ucrmmail.dataclass import replace
from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.probe import Probed, combinations_for, probe, settings_for
from ucrmmail.smtp.trouble import account_trouble

REFUSED = account_trouble(Stage.CONNECT, "no connection")


def test_the_usual_ports_come_first_and_the_configured_one_is_tried_either_way() -> None:
    with SmtpServer() as server:
        host = smarthost(server)
    usual = ((465, "tls"), (587, "starttls"), (8465, "tls"), (2525, "starttls"), (25, "starttls"))
    assert combinations_for(host) == (*usual, (host.port, "tls"), (host.port, "starttls"))
    assert combinations_for(replace(host, port=587)) == (*usual, (587, "tls"))


def test_each_way_is_told_in_its_order_with_the_logins_that_it_offers_and_none_is_made(tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    context = authority.server_context("localhost")
    with (
        SmtpServer(tls=context, smtps=True, logins={USER: "secret"}, mechanisms="PLAIN LOGIN") as tls,
        SmtpServer(tls=context, logins={USER: "secret"}, mechanisms="GSSAPI") as starttls,
    ):
        host = smarthost(tls, host="localhost", ca_file=str(authority.ca_file), username=USER)
        ways = ((starttls.port, "starttls"), (tls.port, "starttls"), (tls.port, "tls"))
        found = probe(host, ways, clock=Clock())
        without = probe(replace(host, username=""), ways[:1], clock=Clock())
        tls.wait_until_idle()
        starttls.wait_until_idle()
    assert tuple((each.port, each.encryption) for each in found) == ways
    assert [each.mechanisms for each in found] == [("GSSAPI",), (), ("PLAIN", "LOGIN")]
    no_login, wrong_port, works = (each.trouble for each in found)
    assert works is None
    assert no_login is not None
    assert "offers no login" in no_login.what
    assert wrong_port is not None
    assert [each.trouble for each in without] == [None]
    assert all(0 <= each.seconds < 60 for each in found)
    assert not [line for line in tls.commands + starttls.commands if line.startswith(b"AUTH")]
    assert b"QUIT" in tls.commands


def test_settings_that_work_are_kept_and_else_the_best_is_proposed() -> None:
    with SmtpServer() as server:
        host = replace(smarthost(server), port=587, encryption="starttls")
    best, configured = Probed(465, "tls", 0.1, (), None), Probed(587, "starttls", 0.1, (), None)
    broken = replace(configured, trouble=REFUSED)
    assert settings_for(host, [best, configured]) == (("smtp.port", "587"), ("smtp.encryption", "starttls"))
    assert settings_for(host, [broken, best]) == (("smtp.port", "465"), ("smtp.encryption", "tls"))
    assert settings_for(host, [broken]) == ()
