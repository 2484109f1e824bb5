"""What a trouble makes of a message: an outcome for a recipient still to be named, and never a bounce of its own."""

from __future__ import annotations

import pytest

from ucrmmail.message.outcome import Kind, Outcome, Result, Scope, Stage
from ucrmmail.message.reply import Reply
from ucrmmail.smtp.transaction import as_own, kind_of, outcome_of
from ucrmmail.smtp.trouble import classify, lost_connection


@pytest.mark.parametrize(
    ("reply", "result", "enhanced"),
    [
        (Reply(550, "5.1.1", ("no such user",)), Result.FAILED, "5.1.1"),
        (Reply(550, "", ("no such user",)), Result.FAILED, "5.0.0"),
        (Reply(450, "4.2.1", ("later",)), Result.DEFERRED, "4.2.1"),
        (Reply(450, "", ("later",)), Result.DEFERRED, "4.0.0"),
    ],
)
def test_an_outcome_has_the_status_of_the_reply_or_the_least_that_its_kind_says(
    reply: Reply, result: Result, enhanced: str
) -> None:
    assert outcome_of(classify(Stage.RCPT, reply)) == Outcome("", result, Stage.RCPT, str(reply), enhanced)


def test_a_trouble_without_any_reply_puts_a_message_off() -> None:
    outcome = outcome_of(lost_connection(Stage.DATA, "the server hung up"))
    assert (outcome.recipient, outcome.result, outcome.enhanced) == ("", Result.DEFERRED, "4.0.0")


def test_what_a_message_is_told_is_kept_up_to_a_length_that_a_thousand_recipients_can_have() -> None:
    assert len(outcome_of(classify(Stage.RCPT, Reply(550, "5.1.1", ("x" * 60_000,)))).reply) == 4096


@pytest.mark.parametrize("code", [535, 421])
def test_a_trouble_of_the_account_that_is_a_messages_own_bounces_nothing(code: int) -> None:
    own = as_own(classify(Stage.RCPT, Reply(code, f"{code // 100}.7.8", ("log in first",))))
    assert (own.scope, own.kind) == (Scope.MESSAGE, Kind.TRANSIENT)
    assert outcome_of(own).result is Result.DEFERRED


@pytest.mark.parametrize(
    ("said", "kind"),
    [("450 4.7.1 too much", "450 4.7.1 mail"), ("450 too much", "450  mail"), ("450", "450  mail")],
)
def test_refusals_are_of_a_kind_by_their_codes_and_their_place(said: str, kind: str) -> None:
    assert kind_of(Stage.MAIL, said) == kind
