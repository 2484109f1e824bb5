"""Transactions, one after the other on a session: envelope, content, outcome (RFC 5321 section 3.3).

With PIPELINING the next envelope goes in one write with the end of the last message, so that a message costs one round
trip; the next *body* leaves only when the outcome of the last one is settled, so that a killed process repeats at the
most the one message that was on the wire. QUIT never goes behind a dot: Postfix has seen mail lost that way.

With CHUNKING (RFC 3030) there is no DATA: the message is counted instead of ended by a dot, and its last chunk is what
the final dot is otherwise. The first chunk leaves when the envelope was answered, so that nothing is sent to nobody.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ucrmmail.dataclass import replace
from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.aftermath import Aftermath, InHand
from ucrmmail.smtp.asking import Asking
from ucrmmail.smtp.content import Content, UnreadableError
from ucrmmail.smtp.envelope import beyond_server, recipients_beyond_server
from ucrmmail.smtp.exchange import Exchange, LieError, OutOfStepError
from ucrmmail.smtp.sevenbit import in_seven_bit
from ucrmmail.smtp.transaction import End, Message
from ucrmmail.smtp.trouble import RefusedError
from ucrmmail.smtp.wire import ConnectionLostError, ProtocolError, StoppedError

if TYPE_CHECKING:
    from ucrmmail.smtp.session import Session
    from ucrmmail.smtp.transaction import Feed

# The time for a transaction, without the wait for the reply to its final dot: this many times a command's time, and
# more for its bytes. Without it a server that answers each command, and reads each block, just in time could hold a run
# for days. When the run has a time limit, one command's time beyond that is enough.
_MESSAGE_TIMES = 10
_ENVELOPE_TIMES = 3
# RCPT takes no more than its share of this time: the message is to have the rest, who was not asked another one.
_SHARE_OF_RCPT = 0.5
_LEAST_BYTES_A_SECOND = 4096
# Where the server takes longer for a message, what would wait behind it goes over another connection, if there are any.
_SLOW_S = 1.0


def submit(session: Session, feed: Feed) -> End:
    """Send what the feed has ready until it has no more, or the account or the connection gives trouble.

    Errors of the feed (an outcome that cannot be recorded) pass through.
    """
    return _Submitter(session, feed).run()


class _Submitter:
    def __init__(self, session: Session, feed: Feed) -> None:
        self._session = session
        self._wire = session.wire
        self._feed = feed
        self._offered = session.capabilities
        self._hand = InHand()
        self._aftermath = Aftermath(feed, session, self._hand)
        exchange = Exchange(session, self._hand, self._aftermath)
        self._mail_s = exchange.patience_s[Stage.MAIL]
        self._asking = Asking(session, self._hand, exchange)
        self._content = Content(
            session, self._hand, exchange, look_ahead=self._look_ahead, meanwhile=self._use_the_time
        )
        # The envelope of the current message went out with the end of the last one.
        self._envelope_sent = False
        self._relayed = False
        self._most_recipients = session.most_recipients
        self._feed_error: Exception | None = None

    def run(self) -> End:
        try:
            end = self._send_all()
            if self._feed_error is not None:
                # The connection ended first; but nothing more may be sent, over another one either.
                raise self._feed_error
        except Exception:
            # What has not left must not count under the limits; where not even that can be recorded, it does.
            with suppress(OSError):
                self._aftermath.give_back()
            raise
        is_one = end.used_up or self._hand.stage is Stage.MAIL
        if self._session.doubts_chunks and is_one and not (end.alive or self._session.relayed):
            # It takes one message on a connection, or no RSET in one: the next connection goes without chunks.
            end = End(None, alive=False, distrust="CHUNKING", passing=True)
        fewer = self._session.most_recipients < self._most_recipients
        slow = self._session.slow_at_mail
        return replace(end, relayed=self._relayed, denied=self._session.denied, fewer=fewer, slow=slow)

    def _send_all(self) -> End:
        try:
            while (message := self._advance()) is not None:
                if message.beyond is not None:
                    message.decide(message.transaction.recipients, message.beyond)
                else:
                    self._transact(message)
                self._aftermath.settle(message)
                if message.limit is not None:
                    return self._aftermath.after_limit(message, message.limit)
                if self._session.broken:
                    return self._aftermath.after_break(message)
            return self._end_of_feed()
        except RefusedError as error:
            return self._aftermath.after_refusal(error.trouble)
        except StoppedError:
            self._aftermath.give_back()
            return End(None, alive=False)
        except LieError as error:
            return replace(self._aftermath.without(error.extension, error.trouble), passing=error.passing)
        except UnreadableError as error:
            return self._aftermath.after_loss(str(error), None)
        except (ConnectionLostError, ProtocolError) as error:
            words = self._wire.last_words() if isinstance(error, ConnectionLostError) else None
            end = self._aftermath.after_error(error, words)
            # Tried again in chunks, the message might arrive each time.
            return replace(end, distrust="CHUNKING") if isinstance(error, OutOfStepError) else end

    def _advance(self) -> Message | None:
        if self._feed_error is not None:
            raise self._feed_error
        if self._hand.ahead is not None and self._feed.left_s() <= 0:
            # The answer to the last message took all the time there was.
            raise StoppedError
        self._envelope_sent = self._hand.ahead is not None and self._hand.ahead.beyond is None
        self._hand.current, self._hand.ahead = self._hand.ahead or self._next(), None
        return self._hand.current

    def _next(self) -> Message | None:
        """Return the next message, checked against what the server can take."""
        if self._session.transactions_left < 1:
            return None
        transaction = self._feed.ready()
        if transaction is None:
            return None
        if transaction.eight_bit and not self._offered.eight_bit:
            transaction = in_seven_bit(transaction, self._offered.size_bytes)
        message = Message(transaction, transaction.recipients, beyond=beyond_server(transaction, self._offered))
        beyond, waits = recipients_beyond_server(transaction, self._offered)
        if beyond and message.beyond is None:
            message.decide(beyond, waits)
            message.waiting = tuple([one for one in transaction.recipients if one not in message.outcomes])
            message.beyond = None if message.waiting else waits
        return message

    def _end_of_feed(self) -> End:
        if self._session.transactions_left < 1:
            self._session.quit()
            return End(None, alive=False, used_up=True)
        return End(None, alive=True)

    def _transact(self, message: Message) -> None:
        message.behind = self._envelope_sent
        size_s = message.transaction.size_bytes / _LEAST_BYTES_A_SECOND
        step_s = self._session.smarthost.timeout_s
        commands_s = max(_MESSAGE_TIMES * step_s, _ENVELOPE_TIMES * self._mail_s)
        commands_s = min(commands_s, max(self._feed.left_s(), 0.0) + step_s)
        message.kept_s = commands_s * (1 - _SHARE_OF_RCPT) + size_s
        self._wire.allow(commands_s + size_s)
        if not self._envelope_sent:
            self._asking.open(message)
        # Who waits then for a transaction of his own has it when the outcomes of this one are settled: a killed process
        # repeats one transaction, not all of a message.
        if self._asking.is_accepted(message):
            self._relayed = self._content.send(message) or self._relayed

    def _use_the_time(self) -> None:
        try:
            self._feed.idle()
        except Exception as error:  # noqa: BLE001 # as in _look_ahead
            self._feed_error = error

    def _look_ahead(self) -> bytes:
        """Take the next message from the feed; return its envelope, b"" when there is none to go along."""
        if self._feed.has_others and self._content.answered_in_s > _SLOW_S:
            return b""
        if self._feed.awaits_proof or not self._session.looks_ahead:
            return b""
        try:
            self._hand.ahead = self._next()
        except Exception as error:  # noqa: BLE001 # whatever the queue's trouble is, the message on the wire is not to blame
            self._feed_error = error
            return b""
        if self._hand.ahead is None or self._hand.ahead.beyond is not None:
            return b""
        return self._asking.fill(self._hand.ahead)
