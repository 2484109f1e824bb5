"""Transactions: MAIL, RCPT, DATA, message, final dot (RFC 5321 section 3.3), pipelined where offered (RFC 2920).

With PIPELINING the next envelope goes in one write with the end of the last message, so that a message costs one round
trip; the next *body* leaves only when the outcome of the last one is settled, so that a killed process repeats at the
most the one message that was on the wire. QUIT never goes behind a dot: Postfix has seen mail lost that way.

With CHUNKING (RFC 3030) there is no DATA: the message is counted instead of ended by a dot, and its last chunk is what
the final dot is otherwise. The first chunk leaves when the envelope was answered, so that nothing is sent to nobody.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Outcome, Result, Scope, Stage, Trouble
from ucrmmail.smtp.aftermath import Aftermath, InHand
from ucrmmail.smtp.body import END, behind_data, in_chunks
from ucrmmail.smtp.envelope import beyond_server, mail_command, rcpt_command, recipients_beyond_server
from ucrmmail.smtp.sevenbit import in_seven_bit
from ucrmmail.smtp.transaction import End, Message, outcome_of
from ucrmmail.smtp.trouble import CLOSING, RefusedError, classify, is_too_many_recipients
from ucrmmail.smtp.wire import ConnectionLostError, ProtocolError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.body import Block
    from ucrmmail.smtp.session import Session
    from ucrmmail.smtp.transaction import Feed, Transaction

# RFC 5321 section 4.5.3.1.8: a server takes a hundred recipients at the least; more go until it objects.
_MOST_RECIPIENTS = 1000
# The time for a transaction, without the wait for the reply to its final dot: this many times a command's time, and
# more for its bytes. Without it a server that answers each command, and reads each block, just in time could hold a run
# for days. When the run has a time limit, one command's time beyond that is enough.
_MESSAGE_TIMES = 10
_ENVELOPE_TIMES = 3
# RCPT takes no more than its share of this time: the message is to have the rest, who was not asked another one.
_SHARE_OF_RCPT = 0.5
# So many recipients go with MAIL in one group; the answers to them tell how many more there is time for.
_FIRST_RECIPIENTS = 20
_LEAST_PACE_S = 1e-6
_LEAST_BYTES_A_SECOND = 4096
_BAD_SEQUENCE = 503
_SPOKE = "the server spoke, or hung up, before the message was over"


def submit(session: Session, feed: Feed) -> End:
    """Send what the feed has ready until it has no more, or the account or the connection gives trouble.

    Errors of the feed (an outcome that cannot be recorded) pass through.
    """
    return _Submitter(session, feed).run()


class _UnreadableError(Exception):
    """The message could not be read from our own disk."""


class _LieError(Exception):
    """The server objects to an extension that it offers."""

    def __init__(self, extension: str, trouble: Trouble) -> None:
        super().__init__(trouble.what)
        self.extension = extension
        self.trouble = trouble


class _Submitter:
    def __init__(self, session: Session, feed: Feed) -> None:
        self._session = session
        self._wire = session.wire
        self._stages = session.stages
        self._pipelining = session.pipelining
        self._chunking = session.chunking
        self._feed = feed
        # How long the server may take at each stage: looking it up for each command would be the same again and again.
        self._patience_s = {stage: session.smarthost.patience_s(stage) for stage in Stage}
        self._offered = session.capabilities
        self._most = session.capabilities.most_recipients or _MOST_RECIPIENTS
        self._hand = InHand()
        self._aftermath = Aftermath(feed, session, self._hand)
        self._relayed = False
        # Of the time for the current message, what is not for RCPT.
        self._kept_s = 0.0
        # The envelope of the current message went out with the end of the last one.
        self._envelope_sent = False
        # The server opened DATA for a message that it had refused, where a dot would deliver an empty one; or it is
        # about to close the connection.
        self._broken = False
        self._feed_error: Exception | None = None

    def run(self) -> End:
        end = self._send_all()
        if self._feed_error is not None:
            # The connection ended first; but nothing more may be sent, over another one either.
            raise self._feed_error
        return replace(end, relayed=self._relayed, denied=self._session.denied)

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
                if self._broken:
                    self._aftermath.give_back()
                    return End(None, alive=False, decided=message.is_refused_for_good)
            return self._end_of_feed()
        except RefusedError as error:
            return self._aftermath.after_refusal(error.trouble)
        except StoppedError:
            self._aftermath.give_back()
            return End(None, alive=False)
        except _LieError as error:
            return self._aftermath.without(error.extension, error.trouble)
        except _UnreadableError as error:
            return self._aftermath.after_loss(str(error), None)
        except (ConnectionLostError, ProtocolError) as error:
            words = self._wire.last_words() if isinstance(error, ConnectionLostError) else None
            return self._aftermath.after_error(error, words)

    def _advance(self) -> Message | None:
        if self._feed_error is not None:
            raise self._feed_error
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

    # --- one message -------------------------------------------------------------------------------------------

    def _transact(self, message: Message) -> None:
        message.behind = self._envelope_sent
        size_s = message.transaction.size_bytes / _LEAST_BYTES_A_SECOND
        step_s = self._session.smarthost.timeout_s
        commands_s = max(_MESSAGE_TIMES * step_s, _ENVELOPE_TIMES * self._patience_s[Stage.MAIL])
        commands_s = min(commands_s, max(self._feed.left_s(), 0.0) + step_s)
        self._kept_s = commands_s * (1 - _SHARE_OF_RCPT) + size_s
        self._wire.allow(commands_s + size_s)
        if not self._envelope_sent:
            self._open_envelope(message)
        # Who waits then for a transaction of his own has it when the outcomes of this one are settled: a killed process
        # repeats one transaction, not all of a message.
        if self._is_accepted(message):
            self._send_body(message)

    def _open_envelope(self, message: Message) -> None:
        """Fill the next envelope, and send it if commands may go in groups."""
        self._hand.stage = Stage.MAIL
        self._expect_silence()
        if self._session.reset_due and not self._pipelining:
            self._forget_last()
        group = self._fill_envelope(message)
        if self._pipelining:
            self._wire.send(b"RSET\r\n" + group if self._session.reset_due else group, self._patience_s[Stage.MAIL])
            if self._session.reset_due:
                self._forget_last()

    def _fill_envelope(self, message: Message) -> bytes:
        """Move recipients into the next envelope; return its commands as one group."""
        message.envelope, message.waiting = message.waiting[: self._most], message.waiting[self._most :]
        self._session.transactions_left -= 1
        message.mail = mail_command(message.transaction, self._offered)
        message.rcpts = tuple([rcpt_command(recipient) for recipient in message.envelope])
        message.asked = min(len(message.rcpts), _FIRST_RECIPIENTS) if self._pipelining else 0
        message.data_asked = not self._chunking and message.asked == len(message.rcpts)
        group = message.mail + b"".join(message.rcpts[: message.asked])
        return group + b"DATA\r\n" if message.data_asked else group

    def _forget_last(self) -> None:
        reply = self._ask(Stage.RSET, b"RSET\r\n", asked=self._pipelining)
        self._session.reset_due = False
        if not _is_done(reply):
            raise ConnectionLostError(f"the smarthost refused RSET: {reply}")

    def _ask(self, stage: Stage, command: bytes, *, asked: bool) -> Reply:
        """Send a command, unless it was ``asked`` with its group already, and return its reply."""
        self._hand.stage = stage
        if not asked:
            self._expect_silence()
            self._wire.send(command, self._patience_s[stage])
        reply = self._wire.read_reply(self._patience_s[stage])
        self._hand.answered += 1
        return reply

    def _expect_silence(self) -> None:
        """Raise ProtocolError for a reply that nobody asked for: it would be taken for the next one's."""
        if self._wire.pending:
            raise ProtocolError("the server said something that nobody had asked for")

    def _says_more(self) -> bool:
        """Return whether a reply came that nobody asked for; a good-bye is none that was out of step."""
        self._wire.has_spoken()
        return bool(self._wire.pending) and not self._wire.pending.startswith(b"%d" % CLOSING)

    def _is_accepted(self, message: Message) -> bool:
        """Go through the replies to an envelope; return whether DATA is open, and for whom is in ``envelope``."""
        self._hand.answered = 0
        mail = self._ask(Stage.MAIL, message.mail, asked=self._pipelining)
        message.turned_away = trouble = self._trouble(Stage.MAIL, mail)
        accepted = self._rcpts(message, mail_accepted=trouble is None)
        data: Reply | None = None
        if not self._chunking and (message.data_asked or accepted):
            data = self._ask(Stage.DATA, b"DATA\r\n", asked=message.data_asked)
            if _is_done(data) or (message.data_asked and accepted and not data.positive and self._says_more()):
                # One too many came before it: what was taken for refusals may be about another message.
                raise ProtocolError(f"the server answered {data.code} where it makes no sense")
        message.decide_refused()
        if trouble is None and accepted:
            trouble = self._trouble(Stage.DATA, data) if data is not None else None
            if trouble is None:
                message.envelope = accepted
                return True
        if trouble is not None:
            # DATA may be refused although recipients were accepted.
            message.refuse(trouble)
        self._leave(mail, data, somebody_accepted=bool(accepted))
        return False

    def _rcpts(self, message: Message, *, mail_accepted: bool) -> tuple[str, ...]:
        """Ask for the recipients; return who was accepted. Who is one too many, or too late, is ``waiting`` again."""
        accepted: list[str] = []
        postponed: list[str] = []
        at_first_s = self._wire.left_s
        for number, (recipient, rcpt) in enumerate(zip(message.envelope, message.rcpts, strict=True)):
            message.asking = recipient
            if number == message.asked:
                if not mail_accepted or postponed:
                    break
                more = self._more_recipients(message, at_first_s)
                if not more:
                    message.late = True
                    break
                message.asked += len(more)
                if self._pipelining:
                    self._expect_silence()
                    self._wire.send(b"".join(more), self._patience_s[Stage.RCPT])
            reply = self._ask(Stage.RCPT, rcpt, asked=self._pipelining)
            message.turned_down = "" if _is_done(reply) else recipient
            if _is_done(reply) and not (mail_accepted or message.data_asked):
                # As with DATA, whose reply would tell.
                raise ProtocolError(f"the server answered {reply.code} where it makes no sense")
            if _is_done(reply):
                accepted.append(recipient)
                if self._stages.watched:
                    self._stages.over(Stage.RCPT, recipient, reply=reply)
            elif not mail_accepted:
                # Only "MAIL first": what matters was said before.
                continue
            elif accepted and is_too_many_recipients(reply):
                postponed.append(recipient)
            else:
                trouble = self._refusal(Stage.RCPT, reply, somebody_accepted=bool(accepted))
                if trouble.scope is Scope.ACCOUNT:
                    message.limit = message.limit or trouble
                    postponed.append(recipient)
                else:
                    message.refused[recipient] = outcome_of(trouble)
        message.asking = ""
        message.waiting = (*postponed, *message.envelope[message.asked :], *message.waiting)
        return tuple(accepted)

    def _more_recipients(self, message: Message, at_first_s: float) -> tuple[bytes, ...]:
        """Return the RCPT commands that are next; none when the time that is left is for the message.

        ``at_first_s`` was left before the first one.
        """
        asked = message.asked
        if not self._pipelining:
            return message.rcpts[asked : asked + 1] if not asked or self._wire.left_s > self._kept_s else ()
        pace_s = (at_first_s - self._wire.left_s) / asked
        in_time = (self._wire.left_s - self._kept_s) / max(pace_s, _LEAST_PACE_S)
        return message.rcpts[asked : asked + max(0, int(min(2 * asked, in_time)))]

    def _trouble(self, stage: Stage, reply: Reply) -> Trouble | None:
        """Return the trouble that a reply means, None when it is the one that was due. Raises as ``_refusal``."""
        due = 300 <= reply.code < 400 if stage is Stage.DATA else _is_done(reply)
        if due:
            # What became of a chunk, the last one tells.
            if self._stages.watched and stage is not Stage.BODY:
                self._stages.over(stage, reply.text, reply=reply)
            return None
        return self._refusal(stage, reply)

    def _refusal(self, stage: Stage, reply: Reply, *, somebody_accepted: bool = False) -> Trouble:
        """Return the trouble that a reply means which is not the one that was due.

        Raises RefusedError when it concerns the account, unless the message can still go to ``somebody_accepted``;
        ProtocolError when it fits no question of ours: replies that are out of step would be taken for another
        message's.
        """
        if reply.positive:
            raise ProtocolError(f"the server answered {reply.code} where it makes no sense")
        # Who relays for us does not want a login, but does not relay to this recipient.
        is_known = self._session.smarthost.logs_in or self._session.relayed or somebody_accepted
        trouble = classify(stage, reply, logged_in=is_known)
        # A refusal of the message itself has another status, and what has worked before is understood.
        # Nor is it 500 from one that has just taken a chunk; 502 and 504 never speak of the message.
        understood = self._session.relayed or (self._session.knows_chunks and reply.code in {500, 503})
        unknown = reply.code in {500, 502, 503, 504} and reply.enhanced[:4] in {"", "5.5."}
        if self._chunking and stage in {Stage.BODY, Stage.FINAL_DOT} and unknown and not understood:
            raise _LieError("CHUNKING", trouble)
        if self._pipelining and reply.code >= 500 and "protocol synchroni" in reply.text.lower():
            # "SMTP protocol synchronization error": Exim's word for commands that came before its reply.
            raise _LieError("PIPELINING", trouble)
        if trouble.missing_login:
            self._session.denied = trouble
        trouble = self._aftermath.found_to_be_its_own(trouble)
        self._stages.failed(trouble)
        goes_on = somebody_accepted and reply.code != CLOSING
        if (trouble.scope is Scope.ACCOUNT and not goes_on) or self._aftermath.ends_session(trouble):
            raise RefusedError(trouble)
        self._session.refused = True
        return trouble

    def _leave(self, mail: Reply, data: Reply | None, *, somebody_accepted: bool) -> None:
        """Leave a transaction that nothing will come of."""
        if data is not None and data.code == CLOSING:
            self._broken = True
        elif data is None or not 300 <= data.code < 400:
            # Who says "bad sequence" to MAIL has a transaction open, whatever we know of it.
            self._session.reset_due = _is_done(mail) or mail.code == _BAD_SEQUENCE
        elif somebody_accepted:
            self._broken = True
        else:
            # RFC 2920 section 3.1: DATA was opened for nobody; a lone dot ends it, and the server refuses it.
            self._wire.send(END, self._patience_s[Stage.DATA])
            self._wire.read_reply(self._patience_s[Stage.DATA])

    # --- the body ----------------------------------------------------------------------------------------------

    def _send_body(self, message: Message) -> None:
        """Send the message up to and with the final dot, and take the answer to it."""
        self._hand.stage = Stage.BODY
        self._wire.end_if_asked()
        if self._wire.pending:
            raise ConnectionLostError(_SPOKE)
        last = self._send_all_but_the_last(message)
        if last is None:
            return
        ahead = self._look_ahead() if self._pipelining and not (message.waiting or message.limit) else b""
        if self._wire.has_spoken():
            raise ConnectionLostError(_SPOKE)
        # From here on the server may accept the message: what goes wrong is uncertain, never "not sent".
        self._hand.stage = Stage.FINAL_DOT
        try:
            shown = _told(last) + ahead if self._wire.observed else None
            self._wire.send(b"".join((*last, ahead)), self._patience_s[Stage.BODY], shown=shown, patient=True)
            self._wire.allow(math.inf)
            self._use_the_time()
            reply = self._wire.read_reply(self._patience_s[Stage.FINAL_DOT], patient=True)
            trouble = self._trouble(Stage.FINAL_DOT, reply)
        except ConnectionLostError as error:
            # A dot that was not even given to the network cannot have arrived.
            self._doubt(message, str(error), left=error.unsent <= len(ahead))
            raise
        except ProtocolError as error:
            self._doubt(message, str(error), left=True)
            raise
        if trouble is None:
            relayed = Outcome("", Result.RELAYED, Stage.FINAL_DOT, str(reply), reply.enhanced or "2.0.0")
            message.decide(message.envelope, relayed)
            self._relayed = self._session.relayed = True
        else:
            message.refuse(trouble)

    def _send_all_but_the_last(self, message: Message) -> Block | None:
        """Send the message in large writes; return the last one, None when the server refused a chunk."""
        source = _readable(message.transaction)
        last: Block | None = None
        known = self._session.knows_chunks
        for block in in_chunks(source, try_first=not known) if self._chunking else behind_data(source):
            if last is not None:
                self._wire.send(b"".join(last), self._patience_s[Stage.BODY], shown=_told(last))
                trouble = self._answer_to_chunk() if self._chunking else None
                if trouble is not None:
                    message.refuse(trouble)
                    self._session.reset_due = True
                    return None
                self._session.knows_chunks = self._chunking
            last = block
        return last

    def _answer_to_chunk(self) -> Trouble | None:
        return self._trouble(Stage.BODY, self._wire.read_reply(self._patience_s[Stage.BODY]))

    def _use_the_time(self) -> None:
        try:
            self._feed.idle()
        except Exception as error:  # noqa: BLE001 # as in _look_ahead
            self._feed_error = error

    def _look_ahead(self) -> bytes:
        """Take the next message from the feed; return its envelope, b"" when there is none to go along."""
        try:
            self._hand.ahead = self._next()
        except Exception as error:  # noqa: BLE001 # whatever the queue's trouble is, the message on the wire is not to blame
            self._feed_error = error
            return b""
        if self._hand.ahead is None or self._hand.ahead.beyond is not None:
            return b""
        return self._fill_envelope(self._hand.ahead)

    def _doubt(self, message: Message, what: str, *, left: bool) -> None:
        if left:
            doubtful = Outcome(
                "", Result.DEFERRED, Stage.FINAL_DOT, f"{what} (after the final dot)", "4.4.2", uncertain=True
            )
            message.decide(message.envelope, doubtful)
        else:
            self._hand.stage = Stage.BODY


def _is_done(reply: Reply) -> bool:
    """Return whether a command succeeded: 2yz, but neither a greeting nor a good-bye (RFC 5321 section 4.2.1)."""
    return 200 <= reply.code < 300 and reply.code not in {220, 221}


def _told(block: Block) -> bytes:
    """Return what a transcript shows for this part of a message."""
    return b"%b[%d bytes of message]\r\n%b" % (block.head, len(block.data), block.tail)


def _readable(transaction: Transaction) -> Iterator[bytes]:
    try:
        yield from transaction.chunks()
    except OSError as error:
        raise _UnreadableError(f"the message cannot be read here: {error}") from error
