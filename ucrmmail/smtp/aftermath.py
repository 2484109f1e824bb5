"""What a connection leaves that ended before its queue did: who is deferred, who goes back untouched, who is to blame.

A message that the server has, or may have, keeps its outcomes; one that has not left is given back to the feed. What
the server says, or a connection that it ends, is the account's trouble or the message's own: `trouble` classifies what
was said, and here is decided whom it hits, from where it was said and from what the feed knows of the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.message.outcome import Kind, Outcome, Result, Scope, Stage, Trouble
from ucrmmail.message.quotas import (
    counts_on_the_connection,
    is_of_concurrency,
    is_of_errors,
    is_of_recipients,
    is_of_the_connection,
    is_too_many_recipients,
)
from ucrmmail.smtp.transaction import (
    ALIKE,
    LOST,
    LOST_AT_MAIL,
    NO_MARKS,
    ONCE,
    QUOTA,
    End,
    Marks,
    Message,
    as_own,
    kind_of,
    outcome_of,
)
from ucrmmail.smtp.trouble import CLOSING, classify, lost_connection
from ucrmmail.smtp.wire import ConnectionLostError, NoAnswerError, ProtocolError

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.session import Session
    from ucrmmail.smtp.transaction import Feed

# Where a connection that is lost costs the message on it an attempt.
_TRIED = frozenset({Stage.RCPT, Stage.DATA, Stage.BODY, Stage.FINAL_DOT})
# Where what the server says as of the account may be meant for the message that it is asked to take. What lasts
# concerns all, mostly; but some relays want a login for other domains than their own, and a provider may have blocked
# one sender, or one domain, of several.
_ASKED = _TRIED | {Stage.MAIL}
_ENVELOPE = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA})
_CONTENT = frozenset({Stage.DATA, Stage.BODY, Stage.FINAL_DOT})

# A transaction to more recipients, all of them taken, may be lost for their number: no more go together behind that.
_MANY_RECIPIENTS = 50
# So many in a row may be refused alike on a connection before it is the connection, or the account.
_MOST_ALIKE = 5

_WITHOUT = {
    "PIPELINING": "run `ucrmmail config set smtp.pipelining false` if this goes on",
    "CHUNKING": "run `ucrmmail config set smtp.chunking false` if this goes on",
}


@dataclass(slots=True)
class InHand:
    """What a connection has in hand, and how far it is.

    ``current`` is the message that it is at, ``ahead`` the one whose envelope went out behind it. ``answered`` counts
    the replies to the envelope on the wire; ``forgotten``: none came for so long that the server may have dropped it
    with the end of the message before. ``refused`` is the message just before, if the server refused it, or one of its
    recipients: what it does next may be about that one.
    """

    stage: Stage = Stage.MAIL
    current: Message | None = None
    ahead: Message | None = None
    answered: int = 0
    forgotten: bool = False
    refused: Message | None = None

    def taken_out(self) -> Message | None:
        """Take the next message out of the hand, and return it; None when that is empty."""
        message = self.current or self.ahead
        if self.current is not None:
            self.current = None
        else:
            self.ahead = None
        return message


class Aftermath:
    """Settles or gives back what is in hand, and says how the round ended."""

    def __init__(self, feed: Feed, session: Session, hand: InHand) -> None:
        self._feed = feed
        self._session = session
        self._stages = session.stages
        self._hand = hand

    def settle(self, message: Message, *, alone: str = "") -> None:
        """Hand the outcomes that the current message has over to the feed. Raises what the feed raises."""
        self._hand.current = None
        transaction, outcomes = message.transaction, message.outcomes
        told = tuple(outcomes[each] for each in transaction.recipients if each in outcomes)
        if not (told or alone or message.denied):
            # They are to go in other transactions, of fewer, or not in chunks.
            self._feed.unused(transaction)
            self._session.settled = True
            return
        marks = NO_MARKS
        if message.late or message.blamed or alone or message.denied:
            marks = Marks(message.late, message.blamed, alone, tuple(message.denied))
        self._feed.settle(transaction, told, marks)
        is_refused = message.beyond is None and any(one.result is not Result.RELAYED for one in told)
        self._hand.refused = message if is_refused else None
        self._session.settled = True

    def _part_from(self, message: Message, *, alone: str = "") -> None:
        """Settle those of the current message who had their turn; give it back when nobody had."""
        if message.outcomes or alone or (message.denied and len(message.transaction.recipients) > 1):
            self.settle(message, alone=alone)
        self.give_back()

    def give_back(self) -> None:
        """Give back what the account's trouble, or the request to stop, has left: nobody has it, or may have it."""
        # One of which the feed could not take its leave is not given back twice.
        while message := self._hand.taken_out():
            self._feed.unused(message.transaction)

    def after_error(self, error: ConnectionLostError | ProtocolError, words: Reply | None) -> End:
        """Settle what a broken connection leaves; ``words`` are what the server said before it hung up, if anything."""
        if words is not None and words.code == 421 and self._hand.stage is not Stage.FINAL_DOT:
            trouble = classify(self._hand.stage, words)
            self._stages.failed(trouble)
            return self.after_refusal(trouble)
        what = f"{error} (at {self._hand.stage.value})" + (f"; it said: {words}" if words is not None else "")
        if self._may_be_the_group(error):
            end = self.without("PIPELINING", lost_connection(self._hand.stage, what))
            # The first answer to what went along is not awaited for long: the way may have stalled for that moment.
            return replace(end, passing=not isinstance(error, NoAnswerError) or self._hand.forgotten)
        went_along = self._hand.ahead is not None and self._hand.stage is Stage.FINAL_DOT
        end = self.after_loss(what, error)
        hung_up = isinstance(error, ConnectionLostError) and not isinstance(error, NoAnswerError)
        if went_along and hung_up and not self._session.went_along:
            # Dovecot's submission service (2.3) may crash at an envelope that goes along with the end of a message,
            # which it has relayed by then: each one would arrive twice. Where one has gone along, it is the way, or the
            # server, that breaks off now and then, and nearly always there: that is where the time goes.
            return replace(end, distrust="PIPELINING", passing=True)
        return end

    def _may_be_the_group(self, error: ConnectionLostError | ProtocolError) -> bool:
        """Return whether the server may not have understood that commands came in a group.

        It answers the first and forgets the rest, so that it waits as we do, or forgets what came along with the end of
        a message; or it hangs up, which servers do for many reasons: that is a guess for this run alone, and none where
        a group has worked before.
        """
        message = self._hand.current
        if not self._session.pipelining or message is None or message.may_have_left or self._hand.answered > 1:
            return False
        if isinstance(error, NoAnswerError):
            return self._hand.answered == 1 or self._hand.forgotten
        hung_up = isinstance(error, ConnectionLostError)
        return hung_up and not self._session.relayed and self._hand.stage in {Stage.MAIL, Stage.RCPT, Stage.DATA}

    def without(self, extension: str, trouble: Trouble) -> End:
        """Give back what was under way, to be sent without this extension: the message is not to blame so far."""
        trouble = replace(trouble, remedy=_WITHOUT[extension])
        self._stages.failed(trouble)
        self.give_back()
        return End(trouble, alive=False, distrust=extension)

    def after_loss(self, what: str, error: ConnectionLostError | ProtocolError | None) -> End:
        """Settle the message that was under way, and give back the one behind it; ``error`` is how it was lost.

        It is deferred, so that one which always makes the server hang up does not stop the others for ever. One whose
        MAIL was not even answered is not to blame, unless it was so before and others are relayed.

        Some servers refuse a recipient and hang up (Exim's ``drop``): who was refused before has his answer, and who
        comes behind has had no turn.
        """
        trouble = lost_connection(self._hand.stage, what)
        self._stages.failed(trouble)
        message, at_mail = self._hand.current, self._hand.stage is Stage.MAIL
        if message is None:
            self.give_back()
            return End(trouble, alive=False)
        if at_mail and self._hand.refused is not None:
            # It may have meant the message before; this one shows itself on a connection of its own.
            return self._behind(self._hand.refused, trouble)
        # What a message met at its recipients says nothing of a server that hangs up at each MAIL.
        said = LOST_AT_MAIL if at_mail else LOST
        blamed = self._hand.stage in _ENVELOPE and bool(self._blame(message, said))
        refused = message.transaction.queue_id if not blamed else ""
        hung_up = isinstance(error, ConnectionLostError) and not isinstance(error, NoAnswerError)
        if hung_up and message.behind and (message.refused or message.turned_away is not None):
            # It may have meant the message before: asked again on a connection of its own, this one shows it.
            self.give_back()
            return End(trouble, alive=False, refused=refused)
        passed_over = False
        if blamed or self._hand.stage in _TRIED:
            if not (hung_up and self._decide(message)):
                lost = Outcome("", Result.DEFERRED, self._hand.stage, what, "4.4.2")
                culprit = self._culprit(message, hung_up=hung_up)
                is_one_of_many = bool(culprit) and len(message.transaction.recipients) > 1
                if is_one_of_many:
                    own = message.outcomes.get(culprit, lost)
                    message.outcomes[culprit] = replace(own.of(culprit), alone=True)
                    passed_over = hung_up and message.transaction.may_pass_over
                # One too many leaves the others without a turn; behind silence there is no time for them.
                if not passed_over and not (is_one_of_many and not message.transaction.may_pass_over):
                    message.decide(message.transaction.recipients, lost)
                # Several such recipients, one after the other, do not stand for the account.
                message.blamed = said if blamed or is_one_of_many else ""
            # Who is still to be asked by himself lets others go first.
            message.late = True
        self._part_from(message)
        return End(
            trouble,
            alive=False,
            refused=refused,
            sender=message.transaction.sender if refused else "",
            blamed=blamed,
            passed_over=passed_over,
            decided=message.is_refused_for_good,
        )

    def _behind(self, message: Message, trouble: Trouble) -> End:
        """Give all back behind a refusal of this message, for which the server may have ended the connection."""
        rest = self._hand.current
        refusal = _refusal_of(message)
        if refusal is not None and rest is not None and rest.transaction.queue_id == message.transaction.queue_id:
            rest.put_off(refusal)
            self._part_from(rest)
        self.give_back()
        # One that is over does nothing any more.
        refused = message.transaction.queue_id if message.is_deferred or not message.outcomes else ""
        return End(
            trouble,
            alive=False,
            refused=refused,
            decided=message.is_refused_for_good,
            passed_over=message.transaction.is_alone,
        )

    def _culprit(self, message: Message, *, hung_up: bool) -> str:
        """Return the recipient at whom the connection ended, "" when it did not end at one.

        It is asked by itself from then on, so that it keeps the message from the others no second time.
        """
        is_at_chunk = self._hand.stage is Stage.BODY and self._session.chunking and hung_up
        if not is_at_chunk and self._hand.stage not in {Stage.RCPT, Stage.DATA}:
            return ""
        # There is no DATA behind the recipients that would tell.
        culprit = message.turned_down if is_at_chunk or (hung_up and message.turned_down) else message.asking
        if not culprit and hung_up and len(message.envelope) > _MANY_RECIPIENTS:
            # All were taken, and may be too many. With one of them apart, the others go in parts.
            return message.envelope[-1]
        return culprit

    def _decide(self, message: Message) -> bool:
        """Let the refusals count; return whether the last word was one for good, so that the others had no turn."""
        message.decide_refused()
        last = message.outcomes.get(message.turned_down)
        return last is not None and last.result is Result.FAILED and self._hand.stage is not Stage.FINAL_DOT

    def ends_session(self, trouble: Trouble) -> bool:
        """Return whether the server takes so much on a connection (messages, recipients, errors), and has had it."""
        if trouble.kind is not Kind.TRANSIENT or trouble.reply is None:
            return False
        if is_of_errors(trouble.reply):
            # Without a refusal on this one, a new connection would not be another one. Where chunks follow RCPT, the
            # first of them meets what Postfix says to the command behind one refusal too many.
            return self._session.refused and (self._hand.stage in _ENVELOPE or self._session.chunking)
        message = self._hand.current
        somebody_accepted = message is not None and message.accepted
        if self._hand.stage is Stage.RCPT and not somebody_accepted and is_of_recipients(trouble.reply):
            # He is none too many in a transaction, but may be on a connection. On a new one it is what it says: each
            # has to take something, or one such recipient would cost one connection after the other. Who is refused so
            # on a new connection is meant himself, and so may be the next.
            self._session.counts_recipients &= self._session.relayed
            return self._session.counts_recipients
        # Some count what they refused as well.
        if not self._session.settled:
            return False
        if self._hand.stage is Stage.MAIL:
            # No recipient was named yet: OpenSMTPD says 452 4.5.3 "Too many recipients: Too many messages sent" to the
            # hundred and first message of a session. Who took none here means something else: a new connection, and
            # login, for each second message would change nothing.
            too_many = is_too_many_recipients(trouble.reply) and self._session.relayed
            return is_of_the_connection(trouble.reply) or too_many
        # Stalwart asks for more than it takes: of the eleventh message it says so at DATA.
        asked = self._hand.stage in _CONTENT or (self._hand.stage is Stage.RCPT and not somebody_accepted)
        return asked and counts_on_the_connection(trouble.reply)

    def found_to_be_its_own(self, trouble: Trouble) -> Trouble:
        """Return a trouble of the account as the current message's own where that is known: the connection goes on."""
        message = self._hand.current
        if message is None or trouble.reply is None or trouble.scope is not Scope.ACCOUNT:
            return trouble
        said = str(trouble.reply.code)
        closes = trouble.reply.code == CLOSING or self.ends_session(trouble)
        if closes or self._hand.stage not in _ASKED:
            return trouble
        blamed = self._blame(message, said, quota=trouble.quota, reply=trouble.reply)
        if not blamed:
            return trouble
        message.blamed = blamed
        return as_own(trouble)

    def after_refusal(self, trouble: Trouble) -> End:
        """Settle what a trouble of the account leaves, which is the message's own if that is to blame.

        Some servers say 421 to whatever their filters choke on, or "too many" to one recipient. If that were always the
        account's, one such message would stop all others for ever.
        """
        message = self._hand.current
        if message is None:
            self.give_back()
            return End(trouble, alive=False)
        if not message.behind:
            message.decide_refused()
        if self._hand.stage in _CONTENT and self.are_too_many(message, trouble):
            self._part_from(message)
            return End(_closed(trouble), alive=False)
        if message.is_refused_for_good and self._closes(trouble):
            # Postfix's "too many errors": it counts what it refused on a connection, and a new one starts anew.
            message.late = True
            self._part_from(message)
            return End(None, alive=False, decided=True)
        if self.ends_session(trouble):
            return self._at_end_of_session(message, trouble)
        if self._closes(trouble) and self._may_mean_another(message):
            # As with one that hangs up: whom it means, a connection shows that has this message alone.
            return self._behind(self._hand.refused or message, _closed(trouble))
        return self._of_account_or_its_own(message, trouble)

    def _at_end_of_session(self, message: Message, trouble: Trouble) -> End:
        """Settle who had his turn on a connection that has had all that the server takes on one."""
        # Whoever had his turn before: the next connection would meet him again, and end so again.
        message.late = bool(message.outcomes)
        self._part_from(message)
        if message.limit is not None:
            return self._at_limit(message, message.limit)
        session = self._session
        if session.settled and session.relayed:
            return End(None, alive=False, used_up=True)
        # It may count what it refuses; but one that takes nothing gets so many connections, and no more. One on which
        # nothing became of anything was none that was used up.
        return End(_closed(trouble), alive=False, refused=message.transaction.queue_id, decided=session.settled)

    def _of_account_or_its_own(self, message: Message, trouble: Trouble) -> End:
        """Settle a message at which the account was refused: that is its own where it is known to be to blame."""
        reply, refused = trouble.reply, ""
        if reply is not None and self._hand.stage in _ASKED:
            refused = message.transaction.queue_id
            # A quota that is used up meets whatever comes first, run after run.
            again = (
                self._hand.stage is Stage.FINAL_DOT
                and trouble.kind is Kind.TRANSIENT
                and not trouble.quota
                and refused in self._feed.suspicion.suspects
            )
            # It has taken another one: the next shows whether it was about this one alone, as where it hangs up at him.
            about_one = self._closes(trouble) and message.accepted and self._may_be_passed_over(message)
            blamed = self._blame(message, str(reply.code), quota=trouble.quota, reply=reply)
            if again or about_one or blamed:
                return self._to_blame(message, trouble, blamed or str(reply.code))
        # It may be his own, and the others get the message first.
        is_one_of_many = self._closes(trouble) and len(message.transaction.recipients) > 1
        self._part_from(message, alone=message.asking if is_one_of_many else "")
        return End(trouble, alive=False, refused=refused, sender=message.transaction.sender if refused else "")

    def are_too_many(self, message: Message, trouble: Trouble) -> bool:
        """Return whether it is refused for the number of its recipients, half of whom are to go in a transaction then.

        Some count only behind the last one: Amazon SES at the end of the content.
        """
        if trouble.reply is None or not is_too_many_recipients(trouble.reply) or len(message.envelope) < 2:
            return False
        self._session.most_recipients = len(message.envelope) // 2
        return True

    def _blame(self, message: Message, said: str, *, quota: bool = False, reply: Reply | None = None) -> str:
        """Return what this message is to blame for, as ``Feed.settle`` takes it; "" when it is not known to be."""
        transaction, suspicion = message.transaction, self._feed.suspicion
        hung_up = said in (LOST, LOST_AT_MAIL)
        itself = transaction.blamed == said or suspicion.is_to_blame(transaction.queue_id, hung_up=hung_up)
        # Who hangs up behind MAIL does so for something else than the sender.
        if not (itself or (said != LOST and suspicion.is_sender_to_blame(transaction.sender, hung_up=hung_up))):
            if reply is None or not self._is_one_more(reply):
                return ""
            self._session.alike += 1
            kind = kind_of(self._hand.stage, str(reply))
            if quota and suspicion.is_known(kind):
                return QUOTA
            if suspicion.is_next_to_one(kind):
                return ALIKE
        # A quota may be the account's after all: others have used it up, and it is refused to whoever comes then. Where
        # one sender is refused in each run, and nobody else is, his messages lose attempts, and are given up one day.
        if quota and not suspicion.suspects_only(transaction.sender):
            return QUOTA
        return said if itself or not quota else ONCE

    def _is_one_more(self, reply: Reply) -> bool:
        """Return whether this message is one more of those that were to blame in this run.

        What goes over other connections tells nothing of one that is refused whatever comes: it may be one too many, or
        lead to another machine.
        """
        kind = kind_of(self._hand.stage, str(reply))
        if is_of_concurrency(reply) or not self._feed.suspicion.is_one_more(kind):
            return False
        return reply.code == CLOSING or (self._session.relayed and self._session.alike < _MOST_ALIKE)

    def _to_blame(self, message: Message, trouble: Trouble, blamed: str) -> End:
        """Settle a message at which the account was refused for what is its own, or for one of its recipients."""
        message.blamed = blamed
        own = as_own(trouble)
        is_one_of_many = bool(message.asking) and len(message.transaction.recipients) > 1
        if is_one_of_many:
            message.decide((message.asking,), replace(outcome_of(own), alone=True))
        passed_over = self._may_be_passed_over(message)
        if passed_over or (is_one_of_many and not message.transaction.may_pass_over):
            message.late = True
        else:
            message.refuse(own)
        self._part_from(message)
        return End(None, alive=False, blamed=True, passed_over=passed_over)

    def _may_be_passed_over(self, message: Message) -> bool:
        """Return whether the others are asked at once without the recipient at whom the connection ends."""
        transaction = message.transaction
        return self._hand.stage is Stage.RCPT and transaction.may_pass_over and len(transaction.recipients) > 1

    def after_break(self, message: Message) -> End:
        """End with a connection on which nothing more goes; what became of the message is settled."""
        self.give_back()
        if self._session.used_up:
            return End(None, alive=False, used_up=True)
        refused = message.transaction.queue_id if message.is_deferred else ""
        return End(None, alive=False, refused=refused, decided=message.is_refused_for_good)

    def after_limit(self, message: Message, trouble: Trouble) -> End:
        """End with what the server said to some recipients of a message that went to the others, and is settled."""
        self.give_back()
        return self._at_limit(message, trouble)

    def _at_limit(self, message: Message, trouble: Trouble) -> End:
        return End(trouble, alive=False, refused=message.transaction.queue_id, sender=message.transaction.sender)

    def _closes(self, trouble: Trouble) -> bool:
        code = trouble.reply.code if trouble.reply is not None else 0
        return code == CLOSING and not trouble.quota and self._hand.stage in _ENVELOPE

    def _may_mean_another(self, message: Message) -> bool:
        """Return whether what ends the connection at this message may be about the one before, or the other way round.

        That one was refused, or this one is while its envelope went behind the other's final dot.
        """
        if self._hand.stage is Stage.MAIL:
            return self._hand.refused is not None
        return message.behind and bool(message.refused or message.turned_away is not None)


def _refusal_of(message: Message) -> Outcome | None:
    """Return what its content, or DATA, was refused with; None when it was not."""
    return next(
        (
            outcome
            for outcome in message.outcomes.values()
            if outcome.stage in _CONTENT and outcome.result is not Result.RELAYED and not outcome.uncertain
        ),
        None,
    )


def _closed(trouble: Trouble) -> Trouble:
    """Return the trouble of a connection that the server closed with these words."""
    return lost_connection(trouble.stage, f"the server said: {trouble.reply} (at {trouble.stage.value})")
