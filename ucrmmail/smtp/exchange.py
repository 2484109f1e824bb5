"""A command and its reply, and what the reply means where it came: none, or the trouble of whom.

`trouble` knows what a reply says by itself. Here it is read with what is known of the session: what this server has
done before, which extensions are in use, and whether the message on the wire was found to be to blame.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Scope, Stage, Trouble
from ucrmmail.smtp.trouble import CLOSING, RefusedError, classify
from ucrmmail.smtp.wire import ConnectionLostError, ProtocolError

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.aftermath import Aftermath, InHand
    from ucrmmail.smtp.session import Session
    from ucrmmail.smtp.transaction import Message


# The answer to DATA (RFC 5321 section 4.3.2): behind another one the content would be taken for commands.
GO_AHEAD = 354
_GOOD_BYE = frozenset({221, CLOSING})
_GOOD_BYES = tuple([b"%d" % code for code in _GOOD_BYE])
# A reply too many is mostly there with the one before it; to see it is worth a moment where the server ends the
# connection, and one message's refusal would be taken for another's.
_OUT_OF_STEP_WITHIN_S = 0.2
_ROUND_TRIPS = 2
# EHLO may take long for what it looks up; a round trip does not.
_LONGEST_OUT_OF_STEP_S = 2.0


class LieError(Exception):
    """The server objects to an extension that it offers; ``passing``: that is a guess, for this run alone."""

    def __init__(self, extension: str, trouble: Trouble, *, passing: bool = False) -> None:
        super().__init__(trouble.what)
        self.extension = extension
        self.trouble = trouble
        self.passing = passing


class OutOfStepError(ProtocolError):
    """What was taken for the answer to a message sent in chunks was none: with DATA it is proved."""


class Exchange:
    """Asks the server on a session, and reads its replies. ``patience_s`` is how long it may take at each stage."""

    def __init__(self, session: Session, hand: InHand, aftermath: Aftermath) -> None:
        self._session = session
        self._wire = session.wire
        self._stages = session.stages
        self._hand = hand
        self._aftermath = aftermath
        # Looking it up for each command would be the same again and again.
        self.patience_s = {stage: session.smarthost.patience_s(stage) for stage in Stage}

    def ask(self, stage: Stage, command: bytes, *, asked: bool, within_s: float = math.inf) -> Reply:
        """Send a command, unless it was ``asked`` with its group already, and return its reply."""
        # RSET belongs to the message that comes next, as MAIL does.
        self._hand.stage = Stage.MAIL if stage is Stage.RSET else stage
        if not asked:
            self.expect_silence()
            self._wire.send(command, self.patience_s[stage])
        reply = self._wire.read_reply(min(self.patience_s[stage], within_s))
        self._hand.answered += 1
        return reply

    def expect_silence(self) -> None:
        """Raise ProtocolError for a reply that nobody asked for: it would be taken for the next one's.

        Raises ConnectionLostError for a good-bye, RefusedError as ``heed_good_bye``.
        """
        if self._wire.pending:
            words = self._wire.last_words()
            if words is not None:
                self.heed_good_bye(words)
                if is_good_bye(words):
                    # What was said before it counts: no reply was out of step.
                    raise ConnectionLostError(f"the server said good-bye: {words}")
            raise ProtocolError("the server said something that nobody had asked for")

    def heed_good_bye(self, reply: Reply) -> None:
        """Raise RefusedError when the server has had all that it takes on one connection, whatever it was asked for."""
        if self.is_used_up(reply):
            raise RefusedError(classify(self._hand.stage, reply))

    def is_used_up(self, reply: Reply) -> bool:
        """Return whether the server says good-bye since it has had all that it takes on one connection."""
        return reply.code == CLOSING and self._aftermath.ends_session(classify(self._hand.stage, reply))

    def says_more(self) -> bool:
        """Return whether a reply comes that nobody asked for; a good-bye is none that was out of step."""
        round_trips_s = min(_ROUND_TRIPS * self._session.answered_in_s, _LONGEST_OUT_OF_STEP_S)
        self._wire.has_spoken(max(_OUT_OF_STEP_WITHIN_S, round_trips_s))
        return bool(self._wire.pending) and not self._wire.pending.startswith(_GOOD_BYES)

    def trouble(self, stage: Stage, reply: Reply) -> Trouble | None:
        """Return the trouble that a reply means, None when it is the one that was due. Raises as ``refusal``."""
        due = reply.code == GO_AHEAD if stage is Stage.DATA else is_done(reply)
        if due:
            # What became of a chunk, the last one tells.
            if self._stages.watched and stage is not Stage.BODY:
                self._stages.over(stage, reply.text, reply=reply)
            return None
        return self.refusal(stage, reply)

    def refusal(self, stage: Stage, reply: Reply, *, somebody_accepted: bool = False) -> Trouble:
        """Return the trouble that a reply means which is not the one that was due.

        Raises RefusedError when it concerns the account, unless it was said to one of several recipients and the others
        are still to be heard of; ConnectionLostError for a 221; ProtocolError when it fits no question of ours: replies
        that are out of step would be taken for another message's. ``somebody_accepted``: the server relays for us, to
        others.
        """
        if is_good_bye(reply) and reply.positive:
            raise ConnectionLostError(f"the server said good-bye: {reply}")
        if reply.positive:
            raise ProtocolError(f"the server answered {reply.code} where it makes no sense")
        # Who relays for us does not want a login, but does not relay to this recipient.
        is_known = self._session.smarthost.logs_in or self._session.relayed or somebody_accepted
        trouble = classify(stage, reply, logged_in=is_known)
        # A refusal of the message itself has another status, and what has worked before is understood.
        # Nor is it 500 from one that has just taken a chunk; 502 and 504 never speak of the message.
        understood = self._session.relayed or (self._session.knows_chunks and reply.code in {500, 501, 503})
        unknown = reply.code in {500, 501, 502, 503, 504} and reply.enhanced[:4] in {"", "5.5."}
        if self._session.chunking and stage in {Stage.BODY, Stage.FINAL_DOT} and unknown and not understood:
            raise LieError("CHUNKING", trouble)
        if self._session.pipelining and reply.code >= 500 and "synchronization error" in reply.text.lower():
            # "SMTP synchronization error", of old "SMTP protocol synchronization error": Exim's word for commands that
            # came before its reply.
            raise LieError("PIPELINING", trouble)
        if trouble.missing_login:
            self._session.denied = trouble
        trouble = self._aftermath.found_to_be_its_own(trouble)
        self._stages.failed(trouble)
        goes_on = stage is Stage.RCPT and reply.code != CLOSING
        if (trouble.scope is Scope.ACCOUNT and not goes_on) or self._aftermath.ends_session(trouble):
            raise RefusedError(trouble)
        self._session.refused = True
        return trouble

    def are_too_many(self, message: Message, trouble: Trouble) -> bool:
        """Return the same as ``Aftermath.are_too_many``."""
        return self._aftermath.are_too_many(message, trouble)


def is_done(reply: Reply) -> bool:
    """Return whether a command succeeded: 2yz, but neither a greeting nor a good-bye (RFC 5321 section 4.2.1)."""
    return 200 <= reply.code < 300 and reply.code not in {220, 221}


def is_good_bye(reply: Reply) -> bool:
    """Return whether the server closes the connection behind this reply."""
    return reply.code in _GOOD_BYE
