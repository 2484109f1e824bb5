"""What a connection leaves that ended before its queue did: who is deferred, who goes back untouched, who is to blame.

A message that the server has, or may have, keeps its outcomes; one that has not left is given back to the feed. What
the server says, or a connection that it ends, is the account's trouble or the message's own: `trouble` classifies what
was said, and here is decided whom it hits, from where it was said and from what the feed knows of the message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Kind, Outcome, Result, Stage, Trouble
from ucrmmail.smtp.transaction import End, Message, own_outcome_of
from ucrmmail.smtp.trouble import classify, is_of_the_connection, lost_connection
from ucrmmail.smtp.wire import ConnectionLostError, NoAnswerError, ProtocolError

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.session import Session
    from ucrmmail.smtp.transaction import Feed

# Where a connection that is lost costs the message on it an attempt.
_TRIED = frozenset({Stage.RCPT, Stage.DATA, Stage.BODY, Stage.FINAL_DOT})
# Where what the server says may be meant for the message that it is asked to take.
_ASKED = _TRIED | {Stage.MAIL}

_WITHOUT = {
    "PIPELINING": "run `ucrmmail config set smtp.pipelining false` if this goes on",
    "CHUNKING": "run `ucrmmail config set smtp.chunking false` if this goes on",
}


@dataclass(slots=True)
class InHand:
    """What a connection has in hand, and how far it is.

    ``current`` is the message that it is at, ``ahead`` the one whose envelope went out behind it. ``answered`` counts
    the replies to the envelope on the wire.
    """

    stage: Stage = Stage.MAIL
    current: Message | None = None
    ahead: Message | None = None
    answered: int = 0


class Aftermath:
    """Settles or gives back what is in hand, and says how the round ended."""

    def __init__(self, feed: Feed, session: Session, hand: InHand) -> None:
        self._feed = feed
        self._session = session
        self._stages = session.stages
        self._hand = hand

    def settle(self, message: Message) -> None:
        """Hand the outcomes that the current message has over to the feed. Raises what the feed raises."""
        self._hand.current = None
        transaction, outcomes = message.transaction, message.outcomes
        told = tuple(outcomes[each] for each in transaction.recipients if each in outcomes)
        self._feed.settle(transaction, told, late=message.late, blamed=message.blamed)

    def _part_from(self, message: Message) -> None:
        """Settle those of the current message who had their turn; give it back when nobody had."""
        if message.outcomes:
            self.settle(message)
        self.give_back()

    def give_back(self) -> None:
        """Give back what the account's trouble, or the request to stop, has left: nobody has it, or may have it."""
        for message in (self._hand.current, self._hand.ahead):
            if message is not None:
                self._feed.unused(message.transaction)
        self._hand.current = self._hand.ahead = None

    def after_error(self, error: ConnectionLostError | ProtocolError, words: Reply | None) -> End:
        """Settle what a broken connection leaves; ``words`` are what the server said before it hung up, if anything."""
        if words is not None and words.code == 421 and self._hand.stage is not Stage.FINAL_DOT:
            trouble = classify(self._hand.stage, words)
            self._stages.failed(trouble)
            return self.after_refusal(trouble)
        what = f"{error} (at {self._hand.stage.value})" + (f"; it said: {words}" if words is not None else "")
        if self._may_be_the_group(error):
            end = self.without("PIPELINING", lost_connection(self._hand.stage, what))
            return replace(end, passing=not isinstance(error, NoAnswerError))
        return self.after_loss(what, error)

    def _may_be_the_group(self, error: ConnectionLostError | ProtocolError) -> bool:
        """Return whether the server may not have understood that commands came in a group.

        It answers the first and forgets the rest, so that it waits as we do; or it hangs up, which servers do for many
        reasons: that is a guess for this run alone, and none where a group has worked before.
        """
        message = self._hand.current
        if not self._session.pipelining or message is None or message.may_have_left or self._hand.answered > 1:
            return False
        if isinstance(error, NoAnswerError):
            return self._hand.answered == 1
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
        """
        trouble = lost_connection(self._hand.stage, what)
        self._stages.failed(trouble)
        message, at_mail = self._hand.current, self._hand.stage is Stage.MAIL
        if message is None:
            self.give_back()
            return End(trouble, alive=False)
        blamed = at_mail and self._feed.is_to_blame(message.transaction)
        if blamed or self._hand.stage in _TRIED:
            hit = self._hit_by_loss(message, error)
            if isinstance(error, ConnectionLostError) and not isinstance(error, NoAnswerError):
                message.decide_refused()
            message.decide(hit, Outcome("", Result.DEFERRED, self._hand.stage, what, "4.4.2"))
        message.blamed = blamed
        self._part_from(message)
        refused = message.transaction.queue_id if at_mail and not blamed else ""
        return End(trouble, alive=False, refused=refused, blamed=blamed or message.is_refused_for_good)

    def _hit_by_loss(self, message: Message, error: ConnectionLostError | ProtocolError | None) -> tuple[str, ...]:
        """Return whom the loss of the connection costs an attempt: all, unless it is known at whom it came.

        Some servers refuse a recipient and hang up (Exim's ``drop``), or are silent at one that they cannot look up.
        Who comes behind such a one has had no turn.
        """
        everybody = message.transaction.recipients
        if not isinstance(error, ConnectionLostError) or message.turned_away is not None:
            return everybody
        hung_up = not isinstance(error, NoAnswerError) and self._hand.stage is not Stage.FINAL_DOT
        if hung_up and message.last_refused and (message.refused or message.outcomes):
            return ()
        return (message.asking,) if message.asking else everybody

    def ends_session(self, trouble: Trouble) -> bool:
        """Return whether the server takes so many messages on a connection, and has taken them."""
        if trouble.kind is not Kind.TRANSIENT or trouble.reply is None:
            return False
        return self._session.relayed and self._hand.stage is Stage.MAIL and is_of_the_connection(trouble.reply)

    def after_refusal(self, trouble: Trouble) -> End:
        """Settle what a trouble of the account leaves, which is the message's own if that is to blame.

        Some servers say 421 to whatever their filters choke on, or "too many" to one recipient. If that were always the
        account's, one such message would stop all others for ever.
        """
        message, refused = self._hand.current, ""
        if self.ends_session(trouble):
            self.give_back()
            return End(None, alive=False, used_up=True)
        if message is None:
            self.give_back()
            return End(trouble, alive=False)
        message.decide_refused()
        if message.is_refused_for_good and self._closes(trouble):
            # Postfix's "too many errors": it counts what it refused on a connection, and a new one starts anew.
            self._part_from(message)
            return End(None, alive=False, blamed=True)
        if self._may_be_its_own(trouble):
            refused = message.transaction.queue_id
            # A quota that is used up meets whatever comes first, run after run.
            again = (
                self._hand.stage is Stage.FINAL_DOT and not trouble.quota and self._feed.is_suspect(message.transaction)
            )
            if again or self._feed.is_to_blame(message.transaction):
                whom = (message.asking,) if message.asking else message.transaction.recipients
                message.decide(whom, own_outcome_of(trouble))
                message.blamed = True
                self._part_from(message)
                return End(None, alive=False, blamed=True)
        self._part_from(message)
        return End(trouble, alive=False, refused=refused)

    def after_limit(self, message: Message, trouble: Trouble) -> End:
        """End with what the server said to some recipients of a message that went to the others, and is settled."""
        self.give_back()
        return End(trouble, alive=False, refused=message.transaction.queue_id)

    def _may_be_its_own(self, trouble: Trouble) -> bool:
        """Return whether a trouble of the account may be that of the message at which it was said.

        What lasts concerns all, but at a recipient: some relays want a login for other domains than their own.
        """
        if trouble.kind is Kind.TRANSIENT:
            return self._hand.stage in _ASKED
        return self._hand.stage is Stage.RCPT

    def _closes(self, trouble: Trouble) -> bool:
        code = trouble.reply.code if trouble.reply is not None else 0
        return code == 421 and not trouble.quota and self._hand.stage in {Stage.RCPT, Stage.DATA}
