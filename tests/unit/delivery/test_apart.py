"""Who is asked apart, and when a message has cost too many connections in one attempt."""

from __future__ import annotations

import pytest

from ucrmmail.delivery.apart import is_alone, is_over, may_pass_over
from ucrmmail.message.outcome import Outcome, Result, Stage
from ucrmmail.smtp.transaction import Transaction
from ucrmmail.spool.state import MessageState, RecipientState, untried


def lost_at(count: int, *, of: int = 20, tried: bool = True) -> MessageState:
    """A message at so many of whose recipients the server has hung up."""
    return MessageState(
        tuple(
            RecipientState(f"r{each}@example.com", alone=each < count, tried=tried and each < count)
            for each in range(of)
        )
    )


def transaction(*, may_pass: bool, alone: bool) -> Transaction:
    return Transaction(
        "id",
        "x@isp.example",
        ("r@example.com",),
        1,
        False,
        False,
        lambda: iter(()),
        may_pass_over=may_pass,
        is_alone=alone,
    )


def outcome(result: Result) -> Outcome:
    return Outcome("r@example.com", result, Stage.RCPT, "reply", "4.0.0")


@pytest.mark.parametrize(("has_relayed", "most"), [(True, 6), (False, 3)])
def test_a_message_may_lose_few_connections_at_its_recipients_in_one_attempt(has_relayed: bool, most: int) -> None:
    assert may_pass_over(lost_at(most - 1), has_relayed=has_relayed)
    assert not may_pass_over(lost_at(most), has_relayed=has_relayed)
    # In an earlier attempt.
    assert may_pass_over(lost_at(most, tried=False), has_relayed=has_relayed)
    assert may_pass_over(lost_at(1, of=1), has_relayed=has_relayed)


def test_who_is_asked_by_himself_is_alone_but_not_the_only_recipient_of_a_message() -> None:
    assert not is_alone(untried(["a@example.com"]))
    assert not is_alone(lost_at(1, of=1))
    assert not is_alone(lost_at(1, of=3))
    assert is_alone(lost_at(3, of=3, tried=False))
    # Of three, the one at whom it was not lost is the last to have his turn, among others.
    assert not is_alone(lost_at(2, of=3))


def test_an_attempt_is_over_for_all_when_one_more_connection_was_lost_than_may_be() -> None:
    put_off = [outcome(Result.DEFERRED)]
    assert not is_over(transaction(may_pass=True, alone=True), put_off, late=True)
    assert is_over(transaction(may_pass=False, alone=True), put_off, late=False)
    assert is_over(transaction(may_pass=False, alone=False), put_off, late=True)
    assert not is_over(transaction(may_pass=False, alone=False), put_off, late=False)
    assert not is_over(transaction(may_pass=False, alone=True), [outcome(Result.RELAYED)], late=True)
