"""The feed of test-send: what leaves is reserved first, and what did not leave costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.limits_world import room
from ucrmmail.clock import Clock
from ucrmmail.delivery.trial import Trial
from ucrmmail.limits.ledger import Ledger
from ucrmmail.limits.rules import rules_from
from ucrmmail.message.outcome import Outcome, Result, Stage
from ucrmmail.smtp.transaction import Transaction


class Noon(Clock):
    def now(self) -> float:
        return 43_200.0


def transaction(name: str, *recipients: str) -> Transaction:
    return Transaction(name, "a@isp.example", recipients or ("b@example.com",), 5, False, False, lambda: iter((b"x",)))


def outcome(transaction: Transaction, result: Result, *, uncertain: bool = False) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(recipient, result, Stage.FINAL_DOT, "reply", uncertain=uncertain)
        for recipient in transaction.recipients
    )


def ledger(tmp_path: Path, limit: int, count: str = "messages") -> Ledger:
    return Ledger(str(tmp_path / "ledger"), rules_from(message_limit=limit, count=count), 43_200.0, "boot")


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    ("result", "uncertain", "full"),
    [
        (Result.RELAYED, False, True),
        (Result.DEFERRED, True, True),
        (Result.DEFERRED, False, False),
        (Result.FAILED, False, False),
    ],
)
def test_only_what_the_server_may_have_taken_counts(
    tmp_path: Path, result: Result, uncertain: bool, full: bool
) -> None:
    limits = ledger(tmp_path, 1)
    trial = Trial.of([transaction("1")], limits, Noon())
    ready = trial.ready()
    assert ready is not None
    assert limits.in_the_way(43_200.0) == "throttler"
    trial.settle(ready, outcome(ready, result, uncertain=uncertain))
    assert limits.in_the_way(43_200.0) == ("throttler" if full else "")
    assert trial.outcomes == {"1": outcome(ready, result, uncertain=uncertain)}
    limits.close(43_200.0)


@pytest.mark.requirement("R22")
def test_two_that_did_not_leave_are_given_back_each_with_its_own_place(tmp_path: Path) -> None:
    limits = ledger(tmp_path, 3, "recipients")
    trial = Trial.of([transaction("1", "b@x.example", "c@x.example"), transaction("2")], limits, Noon())
    first, second = trial.ready(), trial.ready()
    assert first is not None
    assert second is not None
    assert room(limits, 43_200.0) == 0
    # The order in which the client gives back: the current one, then the one behind it.
    trial.unused(first)
    assert room(limits, 43_200.0) == 2
    trial.unused(second)
    assert room(limits, 43_200.0) == 3
    assert {one.queue_id for one in trial.left} == {"1", "2"}
    limits.close(43_200.0)


def test_a_limit_that_is_reached_is_told_with_its_time(tmp_path: Path) -> None:
    limits = ledger(tmp_path, 1)
    trial = Trial.of([transaction("1"), transaction("2")], limits, Noon())
    assert trial.may_begin()
    ready = trial.ready()
    assert ready is not None
    trial.settle(ready, outcome(ready, Result.RELAYED))
    assert trial.ready() is None
    assert not trial.may_begin()
    assert (trial.limit, trial.opens_at) == ("throttler", 43_200.0 + 86_400.0)
    limits.close(43_200.0)
