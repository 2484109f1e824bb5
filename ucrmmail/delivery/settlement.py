"""What an attempt makes of a message's state: pure, from outcomes to the state that the spool keeps.

Outcomes are for each recipient: one who was relayed is never tried again, one who was refused is reported, and only
those deferred decide when the message comes back.

An attempt is over when everybody who is pending has had a turn. Until then it goes on, in this run or the next one: a
limit lets a message go in parts, a run ends in the middle of one with many recipients, a server hangs up at one of
them. Nobody is put off, and no attempt is lost, because others were refused for now or could not be tried; but a
connection that is lost at the content is an attempt for all, and so is one too many that is lost at single recipients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import replace
from ucrmmail.delivery.schedule import next_attempt
from ucrmmail.message.outcome import Outcome, Result, Stage
from ucrmmail.message.quotas import is_quota
from ucrmmail.message.reply import LAST_ANSWER
from ucrmmail.smtp.transaction import ALIKE, NO_MARKS, ONCE, QUOTA, Marks
from ucrmmail.smtp.wire import ProtocolError, parse_reply
from ucrmmail.spool.state import ALL_RELAYED, MessageState, RecipientState
from ucrmmail.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ucrmmail.delivery.schedule import Retry

# RFC 3463 section 3.5: X.4.7, delivery time expired.
_EXPIRED = "4.4.7"
# Section 3.5 as well: X.4.2, bad connection.
_CONNECTION_LOST = "4.4.2"
# Some say so of one message, or one recipient, for ever: that is given up too, this many times later.
_QUOTA_TIMES = 3
_NOT_ASKED = "not asked for yet: the smarthost ended too many connections when it was asked for others"


def after_attempt(
    state: MessageState,
    outcomes: Sequence[Outcome],
    *,
    queue_id: str,
    now: float,
    retry: Retry,
    marks: Marks = NO_MARKS,
    is_over: bool = False,
) -> MessageState:
    """Return the state after an attempt at ``now``, or a part of one, with the outcomes of those who had their turn.

    Who is marked as to blame, or goes alone, does so from then on, unless it is for a quota of the sender's, which
    others of his may have used up, or is alike to what others met: that costs no attempt.
    The time until it is given up begins when the first attempt is over: under a limit one may last for days.
    ``is_over``: who had no turn has it in the next attempt, since this one has cost too many connections.

    A message expires only here, after a real attempt: a clock that leapt forward, or a smarthost that was down for a
    week, expires nothing by itself. Nor does a quota, for long: it may be the account's, which more urgent mail uses up
    each day. What that alone has held back for days has all of its time for whatever else it meets.
    """
    if len(outcomes) == len(state.recipients) and all(one.result is Result.RELAYED for one in outcomes):
        return ALL_RELAYED
    is_free = marks.blamed in (QUOTA, ALIKE)
    blamed = state.blamed if marks.blamed in ("", QUOTA, ONCE, ALIKE) else marks.blamed
    told_of = {outcome.recipient: outcome for outcome in outcomes}
    recipients = tuple(
        _recipient_after(recipient, told_of[recipient.recipient], now)
        if recipient.recipient in told_of
        else replace(recipient, alone=True)
        if recipient.recipient == marks.alone
        else replace(recipient, at=now)
        if recipient.recipient in marks.denied
        else recipient
        for recipient in state.recipients
    )
    if is_over:
        recipients = tuple(map(_without_turn, recipients))
    if any(recipient.is_pending and not recipient.tried for recipient in recipients):
        return replace(state, recipients=recipients, next_attempt_at=0.0, late=marks.late, blamed=blamed)
    recipients = tuple(replace(recipient, tried=False) for recipient in recipients)
    deferred = [recipient for recipient in recipients if recipient.is_pending]
    is_free = is_free and bool(deferred)
    attempts = state.attempts if is_free else state.attempts + 1
    is_of_others = marks.blamed in (QUOTA, ONCE, ALIKE)
    first_at = (state.first_attempt_at if is_of_others or state.attempts else 0.0) or now
    if is_free:
        # A clock that once stood ten years ahead would have it tried for ten years.
        first_at = min(first_at, now)
    age_s = now - first_at
    next_at = 0.0
    if is_free and age_s < _QUOTA_TIMES * retry.give_up_after_s:
        next_at = now + retry.first_delay_s
    elif deferred:
        again = None if is_free else next_attempt(attempts, first_at=first_at, now=now, retry=retry, seed=queue_id)
        if again is None:
            recipients = tuple(_given_up(recipient, marks, age_s, retry) for recipient in recipients)
            deferred = [recipient for recipient in recipients if recipient.is_pending]
            again = now + retry.max_delay_s if deferred else 0.0
        next_at = again
    last = deferred[-1].recipient if deferred else ""
    reason = next((recipient.reply for recipient in recipients if recipient.recipient == last), "")
    return MessageState(recipients, attempts, first_at, next_at, reason, state.revision, blamed=blamed)


def _recipient_after(before: RecipientState, outcome: Outcome, now: float) -> RecipientState:
    return RecipientState(
        recipient=outcome.recipient,
        result=outcome.result.value,
        reply=outcome.reply,
        stage=outcome.stage.value,
        enhanced=outcome.enhanced,
        at=now,
        # What may have arrived once, may have whatever is said later.
        uncertain=outcome.uncertain or before.uncertain,
        reported=False,
        tried=True,
        alone=outcome.alone or before.alone,
    )


def _is_of_quota(said: str) -> bool:
    """Return whether a recipient was refused for a quota: another one of the same message may have met what lasts."""
    try:
        return is_quota(parse_reply([said.encode("utf-8", "surrogateescape")]))
    except ProtocolError:
        return False


def _without_turn(recipient: RecipientState) -> RecipientState:
    """Return the state of who is put off for what the server did at others; when he was asked last stays known."""
    if recipient.tried or not recipient.is_pending:
        return recipient
    if recipient.result:
        return replace(recipient, tried=True)
    return replace(
        recipient,
        tried=True,
        result=Result.DEFERRED.value,
        reply=_NOT_ASKED,
        stage=Stage.RCPT.value,
        enhanced=_CONNECTION_LOST,
    )


def _given_up(recipient: RecipientState, marks: Marks, age_s: float, retry: Retry) -> RecipientState:
    """Return the state of one whose time is over: for a quota later, and for nothing else where it cost no attempt."""
    if marks.blamed in (QUOTA, ONCE) and _is_of_quota(recipient.reply):
        limit_s = _QUOTA_TIMES * retry.give_up_after_s
        return recipient if age_s < limit_s else _expired(recipient, limit_s)
    if marks.blamed == QUOTA:
        return recipient
    return _expired(recipient, retry.give_up_after_s * (_QUOTA_TIMES if marks.blamed == ALIKE else 1))


def _expired(recipient: RecipientState, give_up_after_s: float) -> RecipientState:
    if recipient.result != Result.DEFERRED or recipient.reply == _NOT_ASKED:
        return recipient
    return replace(
        recipient,
        result=Result.FAILED.value,
        reply=f"given up after {format_duration(give_up_after_s)}; {LAST_ANSWER}{recipient.reply}",
        enhanced=_EXPIRED,
    )


def told(outcomes: tuple[Outcome, ...], state: MessageState) -> tuple[Outcome, ...]:
    """Return the outcomes as the state has them after the attempt: one that was given up has failed."""
    failed = {one.recipient: one for one in state.recipients if one.result == Result.FAILED}
    return tuple(
        replace(outcome, result=Result.FAILED, reply=failed[outcome.recipient].reply, enhanced=_EXPIRED)
        if outcome.result is Result.DEFERRED and outcome.recipient in failed
        else outcome
        for outcome in outcomes
    )


def given_up_besides(outcomes: Sequence[Outcome], before: MessageState, state: MessageState) -> Iterator[Outcome]:
    """Yield who was put off in an earlier part, whichever run or connection that was, and is given up with this one."""
    told_of = {outcome.recipient for outcome in outcomes}
    for was, one in zip(before.recipients, state.recipients, strict=False):
        if was.is_pending and one.result == Result.FAILED and one.recipient not in told_of:
            yield Outcome(one.recipient, Result.FAILED, Stage(one.stage), one.reply, one.enhanced)


def forgotten(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Return the outcomes of a message of which nothing could be kept: who has it may get it twice."""
    return tuple(
        replace(outcome, uncertain=True) if outcome.result is Result.RELAYED else outcome for outcome in outcomes
    )


def unreported(state: MessageState) -> tuple[RecipientState, ...]:
    """Return the recipients that failed for good and whose failure no person has been told yet."""
    return tuple(
        recipient for recipient in state.recipients if recipient.result == Result.FAILED and not recipient.reported
    )


def all_reported(state: MessageState) -> MessageState:
    """Return the state in which every failure has been reported."""
    return replace(
        state,
        recipients=tuple(
            replace(recipient, reported=True) if recipient.result == Result.FAILED else recipient
            for recipient in state.recipients
        ),
    )


def result_of(state: MessageState) -> Result:
    """Return what became of the message as a whole: deferred while a recipient is, else failed if one failed."""
    results = {recipient.result for recipient in state.recipients}
    if Result.DEFERRED in results or "" in results:
        return Result.DEFERRED
    return Result.FAILED if Result.FAILED in results else Result.RELAYED
