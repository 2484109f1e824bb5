"""What an attempt makes of a message's state."""

from __future__ import annotations

import pytest

from ucrmmail.dataclass import replace
from ucrmmail.delivery.schedule import Retry
from ucrmmail.delivery.settlement import after_attempt, all_reported, result_of, unreported
from ucrmmail.message.outcome import Outcome, Result, Stage
from ucrmmail.smtp.transaction import ALIKE, ONCE, QUOTA, Marks
from ucrmmail.spool.state import MessageState, RecipientState

NOW = 1_800_000_000.0
DAY = 86_400.0
JOE, ANN = "joe@example.com", "ann@example.com"
RETRY = Retry(give_up_after_s=5 * DAY)
FRESH = MessageState(recipients=(RecipientState(JOE), RecipientState(ANN)))


def outcome(recipient: str, result: Result, reply: str = "") -> Outcome:
    return Outcome(recipient, result, Stage.RCPT, reply, "")


def attempt(state: MessageState, now: float, *outcomes: Outcome) -> MessageState:
    return after_attempt(state, outcomes, queue_id="1-x", now=now, retry=RETRY)


def results(state: MessageState) -> dict[str, str]:
    return {recipient.recipient: str(recipient.result) for recipient in state.recipients}


@pytest.mark.requirement("R7")
def test_each_recipient_keeps_an_outcome_of_its_own() -> None:
    state = attempt(FRESH, NOW, outcome(JOE, Result.RELAYED), outcome(ANN, Result.DEFERRED, "450 later"))
    assert results(state) == {JOE: "relayed", ANN: "deferred"}
    assert (state.attempts, state.reason, result_of(state)) == (1, "450 later", Result.DEFERRED)
    assert NOW + RETRY.first_delay_s <= state.next_attempt_at <= NOW + 1.25 * RETRY.first_delay_s
    state = attempt(state, NOW + DAY, outcome(ANN, Result.FAILED, "550 no"))
    assert results(state) == {JOE: "relayed", ANN: "failed"}
    assert (state.next_attempt_at, result_of(state)) == (0.0, Result.FAILED)
    assert [recipient.recipient for recipient in unreported(state)] == [ANN]
    assert unreported(all_reported(state)) == ()


def test_who_was_denied_for_what_concerns_all_has_had_no_turn_and_comes_behind_the_others() -> None:
    state = after_attempt(FRESH, (), marks=Marks(denied=(JOE,)), queue_id="1-x", now=NOW, retry=RETRY)
    assert (state.pending, state.turn) == ((JOE, ANN), (ANN, JOE))
    assert (state.attempts, state.next_attempt_at, results(state)) == (0, 0.0, {JOE: "", ANN: ""})


@pytest.mark.requirement("R11")
@pytest.mark.parametrize("result", [Result.DEFERRED, Result.FAILED, Result.RELAYED])
def test_what_may_have_arrived_once_may_have_whatever_is_said_later(result: Result) -> None:
    doubtful = replace(outcome(JOE, Result.DEFERRED, "lost (after the final dot)"), uncertain=True)
    state = attempt(FRESH, NOW, doubtful, outcome(ANN, Result.DEFERRED, "450 later"))
    state = attempt(state, NOW + DAY, outcome(JOE, result, "said later"), outcome(ANN, Result.DEFERRED, "450 later"))
    assert [recipient.uncertain for recipient in state.recipients] == [True, False]


@pytest.mark.requirement("R8", "R22")
@pytest.mark.parametrize("blamed", [QUOTA, ONCE])
def test_a_quota_expires_nothing_since_it_may_be_the_accounts(blamed: str) -> None:
    """More urgent mail used it up each day, and the newsletter bounced on the fifth."""
    said = (outcome(JOE, Result.DEFERRED, "550 5.4.5 Daily user sending limit exceeded"), outcome(ANN, Result.RELAYED))
    state = attempt(FRESH, NOW, *said)
    state = after_attempt(state, said[:1], marks=Marks(blamed=blamed), queue_id="1-x", now=NOW + 6 * DAY, retry=RETRY)
    assert results(state) == {JOE: "deferred", ANN: "relayed"}
    assert state.next_attempt_at > NOW + 6 * DAY
    given_up = attempt(state, NOW + 7 * DAY, outcome(JOE, Result.DEFERRED, "450 greylisted"))
    assert results(given_up) == {JOE: "failed", ANN: "relayed"}


@pytest.mark.requirement("R8", "R22")
def test_a_quota_keeps_nobody_else_from_being_given_up_and_is_given_up_itself_in_the_end() -> None:
    said = (
        outcome(JOE, Result.DEFERRED, "450 4.2.0 mailbox busy"),
        outcome(ANN, Result.DEFERRED, "450 4.7.1 sending quota exceeded"),
    )
    state = attempt(FRESH, NOW, *said)
    state = after_attempt(state, said, marks=Marks(blamed=ONCE), queue_id="1-x", now=NOW + 5 * DAY, retry=RETRY)
    assert results(state) == {JOE: "failed", ANN: "deferred"}
    state = after_attempt(state, said[1:], marks=Marks(blamed=ONCE), queue_id="1-x", now=NOW + 15 * DAY, retry=RETRY)
    assert results(state) == {JOE: "failed", ANN: "failed"}


@pytest.mark.requirement("R8", "R22")
def test_a_quota_that_costs_no_attempt_is_given_up_in_the_end_as_well() -> None:
    """Two senders who might send no more came back every five minutes for ever."""
    quota = outcome(ANN, Result.DEFERRED, "450 4.7.1 sending quota exceeded")
    said = (outcome(JOE, Result.DEFERRED, "450 4.2.0 mailbox busy"), quota)
    state = FRESH
    for at in (0, 5 * DAY, 15 * DAY - 1):
        state = after_attempt(state, said, marks=Marks(blamed=QUOTA), queue_id="1-x", now=NOW + at, retry=RETRY)
        assert (results(state), state.attempts) == ({JOE: "deferred", ANN: "deferred"}, 0)
        assert state.next_attempt_at == NOW + at + RETRY.first_delay_s
    over = after_attempt(state, said, marks=Marks(blamed=QUOTA), queue_id="1-x", now=NOW + 15 * DAY, retry=RETRY)
    assert results(over) == {JOE: "deferred", ANN: "failed"}
    assert over.next_attempt_at > NOW + 15 * DAY
    assert "given up after 15d" in unreported(over)[0].reply


@pytest.mark.requirement("R8", "R22")
def test_the_time_for_whatever_else_it_meets_begins_behind_a_quota_that_cost_no_attempt() -> None:
    said = (outcome(JOE, Result.DEFERRED, "450 4.7.1 sending quota exceeded"), outcome(ANN, Result.RELAYED))
    state = after_attempt(FRESH, said, marks=Marks(blamed=QUOTA), queue_id="1-x", now=NOW, retry=RETRY)
    greylisted = outcome(JOE, Result.DEFERRED, "450 greylisted")
    for at in (6 * DAY, 11 * DAY - 1):
        state = attempt(state, NOW + at, greylisted)
        assert results(state)[JOE] == "deferred"
    assert results(attempt(state, NOW + 11 * DAY, greylisted))[JOE] == "failed"


@pytest.mark.requirement("R8", "R22")
def test_a_clock_that_stood_ahead_at_the_first_refusal_for_a_quota_does_not_keep_it_for_ten_years() -> None:
    state = replace(FRESH, first_attempt_at=NOW + 3650 * DAY)
    said = tuple(outcome(each, Result.DEFERRED, "450 4.7.1 sending quota exceeded") for each in (JOE, ANN))
    for at in (0, 15 * DAY):
        state = after_attempt(state, said, marks=Marks(blamed=QUOTA), queue_id="1-x", now=NOW + at, retry=RETRY)
    assert set(results(state).values()) == {"failed"}


@pytest.mark.requirement("R8")
def test_giving_up_counts_from_the_first_attempt() -> None:
    """A queue that waited for a week, for the smarthost or a limit, has its five days before it."""
    late = NOW + 30 * DAY
    state = attempt(FRESH, late, outcome(JOE, Result.DEFERRED, "450 greylisted"), outcome(ANN, Result.RELAYED))
    assert results(state)[JOE] == "deferred"
    assert state.first_attempt_at == late
    again = attempt(state, late + 5 * DAY - 1, outcome(JOE, Result.DEFERRED, "450 greylisted"))
    assert results(again)[JOE] == "deferred"
    given_up = attempt(again, late + 5 * DAY, outcome(JOE, Result.DEFERRED, "450 still"))
    assert results(given_up) == {JOE: "failed", ANN: "relayed"}
    assert "given up after 5d" in unreported(given_up)[0].reply
    assert "450 still" in unreported(given_up)[0].reply


def test_a_person_who_retries_gives_all_of_the_time_again() -> None:
    failed = attempt(
        replace(FRESH, first_attempt_at=NOW, attempts=9),
        NOW + 6 * DAY,
        *(outcome(each, Result.DEFERRED) for each in (JOE, ANN)),
    )
    assert set(results(failed).values()) == {"failed"}
    retried = replace(failed, first_attempt_at=0.0, attempts=0, recipients=FRESH.recipients)
    again = attempt(retried, NOW + 7 * DAY, outcome(JOE, Result.DEFERRED), outcome(ANN, Result.DEFERRED))
    assert set(results(again).values()) == {"deferred"}


@pytest.mark.requirement("R7", "R22")
@pytest.mark.parametrize("early", [Result.DEFERRED, Result.RELAYED, Result.FAILED])
def test_an_attempt_is_over_when_everybody_has_had_a_turn(early: Result) -> None:
    state = attempt(FRESH, NOW, outcome(JOE, early, "said early"))
    assert (state.attempts, state.next_attempt_at, state.first_attempt_at) == (0, 0.0, 0.0)
    assert state.turn == (ANN,)
    assert result_of(state) is Result.DEFERRED
    over = attempt(state, NOW + 60, outcome(ANN, Result.DEFERRED, "450 later"))
    assert results(over) == {JOE: early.value, ANN: "deferred"}
    assert (over.attempts, over.first_attempt_at, over.reason) == (1, NOW + 60, "450 later")
    assert over.next_attempt_at >= NOW + 60 + RETRY.first_delay_s
    assert over.turn == ((JOE, ANN) if early is Result.DEFERRED else (ANN,))


def test_who_was_put_off_in_an_attempt_that_goes_on_comes_back_when_it_is_over() -> None:
    state = attempt(FRESH, NOW, outcome(JOE, Result.DEFERRED, "450 greylisted"))
    over = attempt(state, NOW + 60, outcome(ANN, Result.RELAYED))
    assert (over.attempts, over.reason, over.pending) == (1, "450 greylisted", (JOE,))
    assert over.next_attempt_at > NOW + 60
    # Nobody is given up after one attempt, however long it took under a limit.
    late = attempt(state, NOW + 30 * DAY, outcome(ANN, Result.RELAYED))
    assert results(late) == {JOE: "deferred", ANN: "relayed"}
    assert late.first_attempt_at == NOW + 30 * DAY


@pytest.mark.requirement("R7", "R8")
def test_what_is_alike_to_others_costs_no_attempt_is_not_kept_and_is_given_up_in_the_end() -> None:
    said = (outcome(JOE, Result.DEFERRED, "421 later"), outcome(ANN, Result.DEFERRED, "421 later"))

    def met(state: MessageState, after_s: float) -> MessageState:
        return after_attempt(state, said, marks=Marks(blamed=ALIKE), queue_id="1-x", now=NOW + after_s, retry=RETRY)

    state = met(FRESH, 0.0)
    assert (state.attempts, state.blamed, state.next_attempt_at) == (0, "", NOW + RETRY.first_delay_s)
    state = met(state, 14 * DAY)
    assert (state.attempts, results(state)) == (0, {JOE: "deferred", ANN: "deferred"})
    state = met(state, 15 * DAY)
    assert results(state) == {JOE: "failed", ANN: "failed"}
    assert "15d" in state.recipients[0].reply
