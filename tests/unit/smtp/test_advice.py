"""What a person is told to do about a refusal that no row of ``message.refusals`` knows by its text."""

from __future__ import annotations

import pytest

from ucrmmail.message.outcome import Scope, Stage
from ucrmmail.smtp.trouble import classify
from ucrmmail.smtp.wire import parse_reply


@pytest.mark.parametrize(
    ("stage", "text", "why", "remedy"),
    [
        (Stage.AUTH, "535 5.7.8 nope", "not accepted", "config set smtp.password"),
        (Stage.AUTH, "535 nope", "not accepted", "config set smtp.password"),
        (Stage.AUTH, "534 5.7.9 nope", "this kind of login", "smtp.authentication"),
        (Stage.MAIL, "530 Authentication required", "login", "smtp.username"),
        (Stage.RCPT, "550 5.1.1 whatever", "no mailbox of this name", "address"),
        (Stage.RCPT, "450 4.2.2 whatever", "full", "by other means"),
        (Stage.EHLO, "421 4.3.2 whatever", "left alone", "later run"),
        (Stage.EHLO, "500 5.5.1 Unknown command", "perhaps for LMTP", "smtp.host and smtp.port"),
        (Stage.EHLO, "504 5.5.2 Invalid name", "the name that this machine gives", "smtp.local_hostname"),
        (Stage.GREETING, "554 no service here", "none from the address of this machine", "smtp.host and smtp.port"),
        (Stage.GREETING, "554 5.7.1 whatever", "none from the address of this machine", "ask the provider"),
        (Stage.GREETING, "554 5.3.2 whatever", "takes no mail at the moment", "smtp.host and smtp.port"),
        (Stage.GREETING, "554 5.7.25 whatever", "(PTR)", "check-dns"),
        (Stage.MAIL, "451 whatever", "the smarthost itself", "later run"),
        (Stage.MAIL, "451 4.3.0 whatever", "the smarthost itself", "later run"),
        (Stage.MAIL, "451 4.4.1 whatever", "the smarthost itself", "later run"),
        (Stage.MAIL, "452 4.3.1 whatever", "disk is full", ""),
        (Stage.MAIL, "450 4.1.8 whatever", "sender's address", "addresses.sender"),
        (Stage.RCPT, "451 4.3.0 whatever", "mail system of the recipient", ""),
        (Stage.FINAL_DOT, "550 5.4.5 whatever", "limit is reached", "throttler.message_limit"),
        (Stage.FINAL_DOT, "550 5.6.99 whatever", "form of the message", "MIME"),
    ],
)
def test_a_refusal_is_explained_with_its_remedy(stage: Stage, text: str, why: str, remedy: str) -> None:
    trouble = classify(stage, parse_reply([text.encode()]))
    assert why in trouble.why
    assert remedy in trouble.remedy
    assert trouble.told == text


def test_an_unknown_refusal_is_told_as_it_is() -> None:
    trouble = classify(Stage.FINAL_DOT, parse_reply([b"554 computer says no"]))
    assert (trouble.scope, trouble.why, trouble.remedy, trouble.told) == (
        Scope.MESSAGE, "", "", "554 computer says no",
    )  # fmt: skip
