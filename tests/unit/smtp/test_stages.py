"""What is reported of each stage of a dialogue, and what a program is told of the server."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pytest

from tests.support.smtp_client import Stages as Watcher
from ucrmmail.message.outcome import Stage
from ucrmmail.message.reply import Reply
from ucrmmail.smtp.capabilities import Capabilities, parse_ehlo
from ucrmmail.smtp.certificate import Certificate
from ucrmmail.smtp.stages import (
    StageReport,
    Stages,
    facts_of_certificate,
    facts_of_ehlo,
    told_end,
    told_tls,
)
from ucrmmail.smtp.trouble import account_trouble, classify

END = dt.datetime(2031, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
CERTIFICATE = Certificate(("mx.example.net", "mail.example.net"), "subject.example", "Some Authority", END, END)
BEFORE = END.timestamp()


@dataclass
class Steps:
    """A monotonic clock that goes by the hand."""

    at: float = 100.0

    def monotonic(self) -> float:
        return self.at


def test_each_stage_takes_from_the_end_of_the_last_one_to_its_own() -> None:
    clock, watcher = Steps(), Watcher()
    stages = Stages(watcher, clock)  # type: ignore[arg-type]
    clock.at = 101.5
    stages.over(Stage.CONNECT, "192.0.2.1")
    clock.at = 103.75
    stages.over(Stage.GREETING, "hi", reply=Reply(220, "", ("hi",)), warning="soon", facts={"a": 1})
    clock.at = 104.0
    stages.failed(classify(Stage.MAIL, Reply(550, "5.7.1", ("no",))), {"b": 2})
    stages.failed(account_trouble(Stage.TLS, "it broke", remedy="mend it"))
    refused, broken = watcher.reports[2:]
    assert watcher.reports[:2] == [
        StageReport(Stage.CONNECT, True, 1.5, "192.0.2.1"),
        StageReport(Stage.GREETING, True, 2.25, "hi", "220 hi", "", "soon", {"a": 1}),
    ]
    assert (refused.stage, refused.ok, refused.seconds, refused.reply) == (Stage.MAIL, False, 0.25, "550 5.7.1 no")
    assert refused.facts == {"b": 2}
    assert broken == StageReport(Stage.TLS, False, 0.0, "it broke", "", "mend it")


def test_nobody_need_watch() -> None:
    stages = Stages(None, Steps())  # type: ignore[arg-type]
    assert not stages.watched
    stages.over(Stage.CONNECT, "192.0.2.1")
    assert Stages(Watcher(), Steps()).watched  # type: ignore[arg-type]


def test_what_a_server_says_of_itself_is_told_and_what_it_does_not_say_is_none() -> None:
    lines = ("mx.example.net at your service", "SIZE 1000", "LIMITS RCPTMAX=5 MAILMAX=7", "AUTH PLAIN LOGIN")
    assert facts_of_ehlo(parse_ehlo(Reply(250, "", lines))) == {
        "name": "mx.example.net",
        "extensions": ["SIZE 1000", "LIMITS RCPTMAX=5 MAILMAX=7", "AUTH PLAIN LOGIN"],
        "mechanisms": ["PLAIN", "LOGIN"],
        "max_size_bytes": 1000,
        "max_recipients": 5,
        "max_transactions": 7,
    }
    assert facts_of_ehlo(Capabilities()) == {
        "name": "", "extensions": [], "mechanisms": [],
        "max_size_bytes": None, "max_recipients": None, "max_transactions": None,
    }  # fmt: skip


def test_a_certificate_is_told_by_its_names_or_its_subject_and_until_when_it_holds() -> None:
    told = {
        "names": ["mx.example.net", "mail.example.net"],
        "issuer": "Some Authority",
        "not_after": "2031-05-06T07:08:09Z",
        "days_left": 3,
    }
    nameless = Certificate((), "subject.example", "Some Authority", END, END)
    assert facts_of_certificate(CERTIFICATE, BEFORE - 3 * 86400) == told
    assert facts_of_certificate(nameless, BEFORE - 3 * 86400) == told | {"names": ["subject.example"]}
    assert facts_of_certificate(None, BEFORE) == {}


def test_tls_is_told_in_a_line() -> None:
    facts = {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384"}
    assert told_tls(facts, None, BEFORE) == "TLSv1.3, TLS_AES_256_GCM_SHA384"
    assert told_tls({"version": "TLSv1.2", "cipher": None}, CERTIFICATE, BEFORE - 86400) == (
        "TLSv1.2, no cipher; certificate for mx.example.net, mail.example.net, from Some Authority, good for 1 days"
    )


@pytest.mark.parametrize(("days", "warns"), [(22, False), (21, False), (20.9, True), (0, True), (-1, True)])
def test_a_certificate_that_ends_within_three_weeks_is_warned_of(days: float, warns: bool) -> None:
    warning = "the certificate expires on 2031-05-06 07:08 UTC; without a new one no mail goes then"
    assert told_end(CERTIFICATE, BEFORE - days * 86400) == (warning if warns else "")
    assert told_end(None, BEFORE) == ""
