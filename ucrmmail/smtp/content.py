"""The content of a message on the wire, up to and with the final dot or the last chunk, and the answer to it.

From the last write on the server may accept the message: what goes wrong before it is "not sent", and what goes wrong
behind it is uncertain.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Kind, Outcome, Result, Stage, Trouble
from ucrmmail.message.words import is_of_a_failure
from ucrmmail.smtp.body import behind_data, in_chunks
from ucrmmail.smtp.exchange import LieError, OutOfStepError
from ucrmmail.smtp.instep import may_be_of_recipient
from ucrmmail.smtp.trouble import lost_connection
from ucrmmail.smtp.wire import ConnectionLostError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.aftermath import InHand
    from ucrmmail.smtp.body import Block
    from ucrmmail.smtp.exchange import Exchange
    from ucrmmail.smtp.session import Session
    from ucrmmail.smtp.transaction import Message, Transaction

_SPOKE = "the server spoke, or hung up, before the message was over"


class UnreadableError(Exception):
    """The message could not be read from our own disk."""


class Content:
    """Sends the content of one message after the other; ``answered_in_s`` is how long the last one was waited for.

    ``look_ahead()`` returns what may go in the same write behind the final dot; ``meanwhile()`` is called while the
    server works on the message.
    """

    def __init__(
        self,
        session: Session,
        hand: InHand,
        exchange: Exchange,
        *,
        look_ahead: Callable[[], bytes],
        meanwhile: Callable[[], None],
    ) -> None:
        self._session = session
        self._wire = session.wire
        self._hand = hand
        self._exchange = exchange
        self._patience_s = exchange.patience_s
        self._look_ahead = look_ahead
        self._meanwhile = meanwhile
        self.answered_in_s = math.inf

    def send(self, message: Message) -> bool:
        """Send it to who is in its envelope; return whether the server took it."""
        self._wire.end_if_asked()
        chunking = self._session.chunking
        if chunking:
            # There was no DATA: what the server says now is about the recipients.
            self._exchange.expect_silence()
        self._hand.stage = Stage.BODY
        if self._wire.pending:
            raise ConnectionLostError(_SPOKE)
        last = self._all_but_the_last(message)
        if last is None:
            return False
        # Who answers chunks as it does MAIL shows nothing while the answer to another MAIL is under way.
        shows = self._session.pipelining and (not chunking or self._session.in_step.tells_apart)
        ahead = self._look_ahead() if shows and not (message.waiting or message.limit) else b""
        if self._wire.has_spoken():
            raise ConnectionLostError(_SPOKE)
        self._hand.stage = Stage.FINAL_DOT
        try:
            shown = _told(last) + ahead if self._wire.observed else None
            self._wire.send(b"".join((*last, ahead)), self._patience_s[Stage.BODY], shown=shown, patient=True)
            self._wire.allow(math.inf)
            left_at_s = self._wire.now_s
            self._meanwhile()
            reply = self._wire.read_reply(self._patience_s[Stage.FINAL_DOT], patient=True)
            self.answered_in_s = self._wire.now_s - left_at_s
            if chunking:
                trouble = self._answer_to_chunk(message, Stage.FINAL_DOT, reply)
            else:
                trouble = self._exchange.trouble(Stage.FINAL_DOT, reply)
        except ConnectionLostError as error:
            # A dot that was not even given to the network cannot have arrived.
            self._doubt(message, str(error), left=error.unsent <= len(ahead))
            raise
        except ProtocolError as error:
            self._doubt(message, str(error), left=True)
            raise
        message.decide_refused()
        if trouble is None:
            relayed = Outcome("", Result.RELAYED, Stage.FINAL_DOT, str(reply), reply.enhanced or "2.0.0")
            message.decide(message.envelope, relayed)
            self._session.relayed, self._session.alike = True, 0
        elif not self._exchange.are_too_many(message, trouble):
            message.refuse(trouble)
        # aiosmtpd keeps the transaction at which its program failed, and says "nested MAIL command" to the next one.
        # Postfix (3.7) counts the recipients of one whose last chunk it refused among those of the next.
        self._session.reset_due |= not ahead and (is_of_a_failure(reply) or (chunking and trouble is not None))
        return trouble is None

    def _all_but_the_last(self, message: Message) -> Block | None:
        """Send the message in large writes; return the last one, None when the server refused a chunk."""
        source = _readable(message.transaction)
        last: Block | None = None
        known = self._session.knows_chunks
        chunking = self._session.chunking
        for block in in_chunks(source, try_first=not known) if chunking else behind_data(source):
            if last is not None:
                self._wire.send(b"".join(last), self._patience_s[Stage.BODY], shown=_told(last))
                trouble = None
                if chunking:
                    reply = self._wire.read_reply(self._patience_s[Stage.BODY])
                    trouble = self._answer_to_chunk(message, Stage.BODY, reply)
                    if trouble is None and not (known or self._may_be_of_chunk(reply, len(last.data))):
                        self._once_more(message)
                        return None
                if trouble is not None:
                    message.decide_refused()
                    if not self._exchange.are_too_many(message, trouble):
                        message.refuse(trouble)
                    self._session.reset_due = True
                    return None
                self._session.knows_chunks = chunking
            last = block
        return last

    def _may_be_of_chunk(self, reply: Reply, size_bytes: int) -> bool:
        """Return whether a good answer to the first chunk shows no third kind of words, which might be RCPT's."""
        in_step = self._session.in_step
        return in_step.is_of_chunk(reply, size_bytes) or in_step.is_of_envelope(reply)

    def _once_more(self, message: Message) -> None:
        """Let it go again on this session, behind DATA, whose answer shows that the others are in step."""
        self._session.chunking = False
        self._session.doubts_chunks = True
        self._session.reset_due = True
        message.refused.clear()
        message.denied.clear()

    def _answer_to_chunk(self, message: Message, stage: Stage, reply: Reply) -> Trouble | None:
        """Return the trouble that the answer to a chunk means, once it is known to be that.

        Raises OutOfStepError when it is not, LieError when it may not be: with DATA the server shows what it means.
        """
        trouble = self._exchange.trouble(stage, reply)
        if trouble is not None:
            # To a single recipient it means the same.
            is_for_good = trouble.kind is Kind.PERMANENT and len(message.envelope) > 1
            if is_for_good and may_be_of_recipient(reply):
                raise LieError("CHUNKING", trouble, passing=True)
            return trouble
        in_step, is_last = self._session.in_step, stage is Stage.FINAL_DOT
        if not in_step.is_of_envelope(reply):
            in_step.tells_apart |= is_last
        elif not (in_step.tells_apart or self._exchange.says_more()):
            # It has the same words for everything.
            self._session.chunking = False
        else:
            what = f"the server answered {str(reply)[:80]!r} to the content, as it does MAIL or RCPT"
            if is_last:
                raise OutOfStepError(what)
            # It has not got all of it.
            raise LieError("CHUNKING", lost_connection(stage, what), passing=True)
        return None

    def _doubt(self, message: Message, what: str, *, left: bool) -> None:
        if left:
            doubtful = Outcome(
                "", Result.DEFERRED, Stage.FINAL_DOT, f"{what} (after the final dot)", "4.4.2", uncertain=True
            )
            message.decide(message.envelope, doubtful)
        else:
            self._hand.stage = Stage.BODY


def _told(block: Block) -> bytes:
    """Return what a transcript shows for this part of a message."""
    return b"%b[%d bytes of message]\r\n%b" % (block.head, len(block.data), block.tail)


def _readable(transaction: Transaction) -> Iterator[bytes]:
    try:
        yield from transaction.chunks()
    except OSError as error:
        raise UnreadableError(f"the message cannot be read here: {error}") from error
