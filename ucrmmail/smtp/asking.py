"""The envelope of a transaction: MAIL, RCPT and DATA, in one group where PIPELINING is offered (RFC 2920).

A server may take a message for some of its recipients only, for so many at a time, or so slowly that the time is up:
who had no turn waits for another envelope, and nobody's answer is taken for another's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Scope, Stage
from ucrmmail.message.quotas import is_of_other_policy, is_of_recipients
from ucrmmail.smtp.body import END
from ucrmmail.smtp.envelope import mail_command, rcpt_command
from ucrmmail.smtp.exchange import GO_AHEAD, is_done, is_good_bye
from ucrmmail.smtp.transaction import outcome_of
from ucrmmail.smtp.trouble import CLOSING, RefusedError
from ucrmmail.smtp.wire import ConnectionLostError, NoAnswerError, ProtocolError

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.aftermath import InHand
    from ucrmmail.smtp.exchange import Exchange
    from ucrmmail.smtp.session import Session
    from ucrmmail.smtp.transaction import Message

# So many recipients go with MAIL in one group; the answers to them tell how many more there is time for.
_FIRST_RECIPIENTS = 20
# So many go in one group behind that. Postfix hangs up after 20 errors (smtpd_hard_error_limit): a quota that ends in a
# larger group would keep the message from those who were accepted, too.
_MOST_IN_A_GROUP = 19
_LEAST_PACE_S = 1e-6
# So many recipients in a row may meet what is said of the account before it is taken for that.
_MOST_IN_DOUBT = 5
# Where so many times more are refused than taken, to ask them all each time is wasted, and an error each.
_MOST_POLICIES = 3
_BAD_SEQUENCE = 503
# Courier drops what came in the same packet as the end of a message: whoever waits there waits in vain, for minutes.
_FIRST_ALONG_S = 10.0
_NOT_KNOWN = frozenset({500, 502, 503, 504})


class Asking:
    """Asks the server to take a message, and for whom."""

    def __init__(self, session: Session, hand: InHand, exchange: Exchange) -> None:
        self._session = session
        self._wire = session.wire
        self._stages = session.stages
        self._pipelining = session.pipelining
        self._hand = hand
        self._exchange = exchange
        self._offered = session.capabilities
        self._mail_took_s = 0.0

    def open(self, message: Message) -> None:
        """Fill the next envelope, and send it if commands may go in groups."""
        self._hand.stage = Stage.MAIL
        self._exchange.expect_silence()
        if self._session.reset_due and not self._pipelining:
            self._forget_last()
        group = self.fill(message)
        if self._pipelining:
            self._wire.send(
                b"RSET\r\n" + group if self._session.reset_due else group, self._exchange.patience_s[Stage.MAIL]
            )
            if self._session.reset_due:
                self._forget_last()

    def fill(self, message: Message) -> bytes:
        """Move recipients into the next envelope; return its commands as one group."""
        most = self._session.most_recipients
        message.envelope, message.waiting = message.waiting[:most], message.waiting[most:]
        self._session.transactions_left -= 1
        message.accepted = False
        message.mail = mail_command(message.transaction, self._offered)
        message.rcpts = tuple([rcpt_command(recipient) for recipient in message.envelope])
        message.asked = min(len(message.rcpts), _FIRST_RECIPIENTS) if self._pipelining else 0
        message.data_asked = not self._session.chunking and message.asked == len(message.rcpts)
        group = message.mail + b"".join(message.rcpts[: message.asked])
        return group + b"DATA\r\n" if message.data_asked else group

    def _forget_last(self) -> None:
        reply = self._exchange.ask(Stage.RSET, b"RSET\r\n", asked=self._pipelining)
        self._session.reset_due = False
        if not is_done(reply):
            self._exchange.heed_good_bye(reply)
            raise ConnectionLostError(f"the smarthost refused RSET: {reply}")

    def is_accepted(self, message: Message) -> bool:
        """Go through the replies to an envelope; return whether DATA is open, and for whom is in ``envelope``."""
        self._hand.answered = 0
        mail = self._ask_mail(message)
        message.turned_away = trouble = self._exchange.trouble(Stage.MAIL, mail)
        if self._session.chunking and trouble is None:
            self._session.in_step.hear(mail)
        accepted = self._rcpts(message, mail_accepted=trouble is None)
        data: Reply | None = None
        is_reset = False
        if not self._session.chunking and (message.data_asked or accepted):
            data = self._exchange.ask(Stage.DATA, b"DATA\r\n", asked=message.data_asked)
            if data.positive and data.code != GO_AHEAD and not is_good_bye(data):
                raise ProtocolError(f"the server answered {data.code} where it makes no sense")
            if accepted and not data.positive:
                is_reset = self._reset_behind(data)
        if message.behind and mail.code == _BAD_SEQUENCE and not accepted and (data is None or not data.positive):
            # RFC 2920 section 3.1 allows an envelope behind the end of a message, and Haraka refuses each of its
            # commands. The message goes back, and comes again on this session: then such an answer is its own.
            self._session.looks_ahead = False
            message.turned_away = trouble = None
        if data is not None or not accepted:
            # Without DATA it is the answer to the last chunk that shows whether the others were in step.
            message.decide_refused()
        if trouble is None and accepted:
            trouble = self._exchange.trouble(Stage.DATA, data) if data is not None else None
            message.envelope = accepted
            if trouble is None:
                return True
            if self._exchange.are_too_many(message, trouble):
                trouble = None
        if trouble is not None:
            # DATA may be refused although recipients were accepted.
            message.refuse(trouble)
            if self._session.broken:
                message.put_off(outcome_of(trouble))
        self._leave(mail, data, somebody_accepted=bool(accepted))
        self._session.reset_due &= not is_reset
        return False

    def _ask_mail(self, message: Message) -> Reply:
        """Return the answer to MAIL; the first one that went along is awaited for a while only."""
        is_first = message.behind and not self._session.went_along
        # One that is slow at each MAIL is slow here as well.
        within_s = max(_FIRST_ALONG_S, 2 * self._mail_took_s) if is_first else math.inf
        asked_at_s = self._wire.now_s
        try:
            mail = self._exchange.ask(Stage.MAIL, message.mail, asked=self._pipelining, within_s=within_s)
        except NoAnswerError:
            # At the end of a run it had less time, and shows nothing.
            took_s = self._wire.now_s - asked_at_s
            self._hand.forgotten = is_first and took_s >= min(within_s, self._exchange.patience_s[Stage.MAIL])
            raise
        self._mail_took_s = max(self._mail_took_s, self._wire.now_s - asked_at_s)
        self._session.slow_at_mail |= self._mail_took_s >= _FIRST_ALONG_S
        self._session.went_along |= message.behind
        return mail

    def _reset_behind(self, refusal: Reply) -> bool:
        """Make sure that this is the answer to DATA; return whether the server has forgotten the transaction.

        One reply too many before it, and what was taken for a refusal would be about another message. RSET is due
        anyway: where it is not answered as it must be, they are out of step. Raises ProtocolError, StoppedError.
        """
        out_of_step = ProtocolError(f"the server answered {refusal.code} where it makes no sense")
        if refusal.code == CLOSING:
            if self._exchange.says_more():
                raise out_of_step
            return False
        self._session.refused = True
        try:
            self._wire.send(b"RSET\r\n", self._exchange.patience_s[Stage.RSET])
            reply = self._wire.read_reply(self._exchange.patience_s[Stage.RSET])
        except ConnectionLostError:
            # Some hang up behind a refusal. It counts.
            self._session.broken = True
            return False
        if is_good_bye(reply) or reply.code in _NOT_KNOWN:
            # It is in step, but RSET is refused, and would be again.
            self._session.broken = True
            self._session.used_up = self._exchange.is_used_up(reply)
        elif not is_done(reply):
            raise out_of_step
        return is_done(reply)

    def _rcpts(self, message: Message, *, mail_accepted: bool) -> tuple[str, ...]:
        """Ask for the recipients; return who was accepted. Who is one too many, or too late, is ``waiting`` again."""
        accepted: list[str] = []
        too_many: list[str] = []
        is_number = True
        at_first_s = self._wire.left_s
        for number, (recipient, rcpt) in enumerate(zip(message.envelope, message.rcpts, strict=True)):
            message.asking = recipient
            if number == message.asked:
                if not mail_accepted or too_many or len(message.denied) >= _MOST_IN_DOUBT:
                    break
                more = self._more_recipients(message, at_first_s)
                if not more:
                    message.late = True
                    break
                message.asked += len(more)
                if self._pipelining:
                    self._exchange.expect_silence()
                    self._wire.send(b"".join(more), self._exchange.patience_s[Stage.RCPT])
            reply = self._exchange.ask(Stage.RCPT, rcpt, asked=self._pipelining)
            message.turned_down = "" if is_done(reply) else recipient
            if is_done(reply) and not (mail_accepted or message.data_asked):
                # As with DATA, whose reply would tell.
                raise ProtocolError(f"the server answered {reply.code} where it makes no sense")
            if is_done(reply):
                accepted.append(recipient)
                # Who takes one behind whom it refused does not count them: those are for another policy, or domain.
                is_number = is_number and not too_many
                message.accept()
                if self._session.chunking:
                    self._session.in_step.hear(reply)
                if self._stages.watched:
                    self._stages.over(Stage.RCPT, recipient, reply=reply)
            elif not mail_accepted:
                # Only "MAIL first": what matters was said before.
                continue
            elif accepted and is_of_recipients(reply):
                too_many.append(recipient)
                is_number = is_number and not is_of_other_policy(reply)
            else:
                trouble = self._exchange.refusal(Stage.RCPT, reply, somebody_accepted=bool(accepted))
                if trouble.scope is Scope.ACCOUNT:
                    message.denied[recipient] = trouble
                else:
                    message.refused[recipient] = outcome_of(trouble)
        if message.limit is not None and not accepted:
            message.asking = next(iter(message.denied))
            raise RefusedError(message.limit)
        if too_many and (is_number or len(too_many) > _MOST_POLICIES * len(accepted)):
            self._learn_number(message.envelope.index(too_many[0]))
        message.asking = ""
        message.waiting = (*too_many, *message.denied, *message.envelope[message.asked :], *message.waiting)
        return tuple(accepted)

    def _learn_number(self, taken: int) -> None:
        """Take in that a transaction had more recipients than the server takes; who was refused, some count as well."""
        if self._session.had_too_many:
            # What it does again is a limit.
            self._session.most_recipients = max(1, taken)
        self._session.had_too_many = True

    def _more_recipients(self, message: Message, at_first_s: float) -> tuple[bytes, ...]:
        """Return the RCPT commands that are next; none when the time that is left is for the message.

        ``at_first_s`` was left before the first one.
        """
        asked = message.asked
        if not self._pipelining:
            return message.rcpts[asked : asked + 1] if not asked or self._wire.left_s > message.kept_s else ()
        pace_s = (at_first_s - self._wire.left_s) / asked
        most = min(_MOST_IN_A_GROUP, _MOST_IN_DOUBT - len(message.denied)) if message.denied else _MOST_IN_A_GROUP
        in_time = (self._wire.left_s - message.kept_s) / max(pace_s, _LEAST_PACE_S)
        return message.rcpts[asked : asked + max(0, int(min(most, in_time)))]

    def _leave(self, mail: Reply, data: Reply | None, *, somebody_accepted: bool) -> None:
        """Leave a transaction that nothing will come of."""
        if data is not None and data.code == CLOSING:
            self._session.broken = True
            self._session.used_up = self._exchange.is_used_up(data)
        elif data is None or data.code != GO_AHEAD:
            # Who says "bad sequence" to MAIL has a transaction open, whatever we know of it.
            self._session.reset_due = is_done(mail) or mail.code == _BAD_SEQUENCE
        elif somebody_accepted:
            self._session.broken = True
        else:
            # RFC 2920 section 3.1: DATA was opened for nobody; a lone dot ends it, and the server refuses it.
            self._wire.send(END, self._exchange.patience_s[Stage.DATA])
            self._wire.read_reply(self._exchange.patience_s[Stage.DATA])
