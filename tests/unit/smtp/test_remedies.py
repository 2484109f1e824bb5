"""What a person is told to do about a refusal."""

from __future__ import annotations

import pytest

from ucrmmail.message.outcome import Scope, Stage
from ucrmmail.smtp.trouble import classify
from ucrmmail.smtp.wire import parse_reply


@pytest.mark.parametrize(
    ("stage", "text", "why", "remedy"),
    [
        (Stage.AUTH, "534 5.7.9 Application-specific password required. - gsmtp", "own password", "app password"),
        (Stage.AUTH, "535 5.7.8 Username and Password not accepted. - gsmtp", "own password", "app password"),
        (Stage.AUTH, "534 5.7.14 Please log in through your web browser", "browser", "app password"),
        (Stage.AUTH, "535 5.7.8 nope", "not accepted", "config set smtp.password"),
        (Stage.AUTH, "535 nope", "not accepted", "config set smtp.password"),
        (
            Stage.AUTH,
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
            "switched off",
            "Authenticated SMTP",
        ),
        (
            Stage.AUTH,
            "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy.",
            "security defaults",
            "OAuth",
        ),
        (Stage.AUTH, "535 5.7.3 Authentication unsuccessful", "Microsoft", "object id"),
        (Stage.MAIL, "550 5.7.30 Basic authentication is not supported for Client Submission", "passwords", "xoauth2"),
        (Stage.FINAL_DOT, "550 5.7.30 This mail has been blocked because DKIM does not pass.", "DKIM", "check-dns"),
        (
            Stage.FINAL_DOT,
            "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
            "send as",
            "sender",
        ),
        (Stage.FINAL_DOT, "554 5.2.252 SendAsDenied; a@b not allowed to send as c@d", "send as", "addresses.sender"),
        (Stage.MAIL, "553 Relaying disallowed as a@b.example", "not one of this account", "region"),
        (Stage.FINAL_DOT, "554 Message rejected: Email address is not verified.", "SES", "SES console"),
        (Stage.MAIL, "530 5.7.0 Must issue a STARTTLS command first", "TLS", "smtp.encryption starttls"),
        (Stage.MAIL, "530 5.7.57 Client not authenticated to send mail", "login", "smtp.username"),
        (Stage.MAIL, "530 Authentication required", "login", "smtp.username"),
        (Stage.FINAL_DOT, "550 5.7.26 This mail has been blocked", "authenticate", "check-dns"),
        (Stage.FINAL_DOT, "550 5.7.515 Access denied, sending domain does not meet the level", "DMARC", "check-dns"),
        (Stage.MAIL, "553 5.7.1 <a@b>: Sender address rejected: not owned by user joe", "reverse-path", "sender"),
        (Stage.RCPT, "554 5.7.1 <a@b>: Relay access denied", "log in", "smtp.username"),
        (Stage.RCPT, "550 5.1.1 whatever", "does not exist", "address"),
        (Stage.RCPT, "450 4.2.2 whatever", "full", "by other means"),
        (Stage.EHLO, "421 4.3.2 whatever", "left alone", "later run"),
        (Stage.FINAL_DOT, "550 5.4.5 whatever", "limit is reached", "throttler.message_limit"),
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
