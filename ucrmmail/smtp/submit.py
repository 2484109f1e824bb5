"""Transactions: MAIL, RCPT, DATA, message, final dot (RFC 5321 section 3.3), pipelined where offered (RFC 2920).

With PIPELINING the next envelope goes in one write with the end of the last message, so that a message costs one round
trip; the next *body* leaves only when the outcome of the last one is settled, so that a killed process repeats at the
most the one message that was on the wire. QUIT never goes behind a dot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from ucrmmail.message.outcome import Kind, Outcome, Result, Scope, Stage, Trouble
from ucrmmail.smtp.body import END, stuffed
from ucrmmail.smtp.trouble import account_trouble, classify, connection_lost
from ucrmmail.smtp.wire import ConnectionLostError, ProtocolError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.session import Session

# RFC 5321 section 4.5.3.1.8: a server takes a hundred recipients at the least; more go when it does not object.
_MOST_RECIPIENTS = 1000
_UNDER_WAY = frozenset({Stage.RCPT, Stage.DATA})
# A body is gathered up to this size before it is written, so that a small message is one write.
_WRITE_BYTES = 1 << 17


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message and its envelope, ready to leave; ``chunks()`` yields the message anew at each call."""

    queue_id: str
    reverse_path: str
    recipients: tuple[str, ...]
    size_bytes: int
    eight_bit: bool
    utf8: bool
    chunks: Callable[[], Iterator[bytes]]


class Feed(Protocol):
    """Where transactions come from, and where their outcomes go.

    Every transaction handed out is given back once: to ``settle`` with an outcome for each recipient, or to ``unused``
    when its body never left for reasons not its own.
    """

    def ready(self) -> Transaction | None:
        """Return the next transaction that may leave now; None when none may."""

    def settle(self, transaction: Transaction, outcomes: tuple[Outcome, ...]) -> None:
        """Record what became of it; when this returns, the next body may leave."""

    def unused(self, transaction: Transaction) -> None:
        """Take it back: nothing was sent, and no attempt is spent."""


@dataclass(frozen=True, slots=True)
class End:
    """How a round of transactions ended: ``trouble`` is None when the feed had no more; ``alive`` is the session."""

    trouble: Trouble | None
    alive: bool


class _AccountError(Exception):
    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.what)
        self.trouble = trouble


def submit(session: Session, feed: Feed) -> End:
    """Send what the feed has ready until it has no more, or the account or the connection gives trouble.

    Errors of the feed (an outcome that cannot be recorded) pass through.
    """
    return _Submitter(session, feed).run()


@dataclass(slots=True)
class _Current:
    """A transaction under way: who has an outcome already, who is in this envelope, who comes in another one."""

    transaction: Transaction
    outcomes: list[Outcome]
    envelope: tuple[str, ...]
    rest: tuple[str, ...]
    body_begun: bool = False


class _Submitter:
    def __init__(self, session: Session, feed: Feed) -> None:
        self._session = session
        self._wire = session.wire
        self._feed = feed
        self._timeout_s = session.smarthost.timeout_s
        self._capabilities = session.capabilities
        self._most = session.capabilities.most_recipients or _MOST_RECIPIENTS
        self._stage = Stage.MAIL
        self._ahead: _Current | None = None

    def run(self) -> End:
        current: _Current | None = None
        try:
            while True:
                current = self._ahead or self._next()
                ahead, self._ahead = self._ahead is not None, None
                if current is None:
                    return End(None, alive=True)
                self._transact(current, envelope_sent=ahead)
                current = None
        except _AccountError as error:
            self._give_back(current)
            return End(error.trouble, alive=False)
        except (ConnectionLostError, ProtocolError) as error:
            return self._lost(current, error)
        except StoppedError:
            self._give_back(current)
            return End(None, alive=False)

    def _next(self) -> _Current | None:
        """Return the next transaction that the server can take; those that it cannot are settled here."""
        while True:
            transaction = self._feed.ready()
            if transaction is None:
                return None
            refused = self._beyond_server(transaction)
            if refused is None:
                recipients = transaction.recipients
                return _Current(transaction, [], recipients[: self._most], recipients[self._most :])
            self._feed.settle(transaction, tuple(replace(refused, recipient=r) for r in transaction.recipients))

    def _beyond_server(self, transaction: Transaction) -> Outcome | None:
        """Return the failure of a message that needs what the server does not offer, None when it may go."""
        offered = self._capabilities

        def failed(enhanced: str, why: str) -> Outcome:
            return Outcome("", Result.FAILED, Stage.MAIL, why, enhanced)

        if offered.size_bytes and transaction.size_bytes > offered.size_bytes:
            return failed(
                "5.3.4", f"the message has {transaction.size_bytes} bytes and the smarthost takes {offered.size_bytes}"
            )
        needs_utf8 = not "".join((transaction.reverse_path, *transaction.recipients)).isascii()
        if needs_utf8 and not offered.utf8:
            return failed("5.6.7", "an address is outside ASCII and the smarthost does not offer SMTPUTF8")
        if transaction.eight_bit and not offered.eight_bit:
            return failed("5.6.3", "the message has 8-bit text and the smarthost does not offer 8BITMIME")
        return None

    def _give_back(self, *currents: _Current | None) -> None:
        for current in (*currents, self._ahead):
            if current is None:
                continue
            if current.outcomes:
                untold = (*current.envelope, *current.rest)
                known = {outcome.recipient for outcome in current.outcomes}
                missing = tuple(
                    Outcome(r, Result.DEFERRED, self._stage, "the run ended before this recipient was tried")
                    for r in dict.fromkeys(untold)
                    if r not in known
                )
                self._feed.settle(current.transaction, (*current.outcomes, *missing))
            else:
                self._feed.unused(current.transaction)
        self._ahead = None

    def _lost(self, current: _Current | None, error: Exception) -> End:
        """Settle what a broken connection leaves.

        A message that was under way is deferred, so that one which always makes the server hang up does not stop the
        others for ever. One whose MAIL was not even answered, or whose envelope only went ahead, is untouched.
        """
        trouble = connection_lost(self._stage, str(error))
        if isinstance(error, ProtocolError):
            trouble = account_trouble(self._stage, f"the smarthost breaks the protocol: {error}", exit_code=75)
            self._give_back(current)
            return End(trouble, alive=False)
        if current is not None and (current.body_begun or self._stage in _UNDER_WAY):
            known = {outcome.recipient for outcome in current.outcomes}
            self._feed.settle(
                current.transaction,
                (
                    *current.outcomes,
                    *(
                        Outcome(r, Result.DEFERRED, self._stage, f"{error} (at {self._stage.value})")
                        for r in (*current.envelope, *current.rest)
                        if r not in known
                    ),
                ),
            )
            self._give_back()
        else:
            self._give_back(current)
        return End(trouble, alive=False)

    # --- one transaction ---------------------------------------------------------------------------------------

    def _transact(self, current: _Current, *, envelope_sent: bool) -> None:
        if not envelope_sent and self._session.pipelining:
            self._wire.send(self._envelope(current), self._timeout_s)
        while True:
            if self._open_data(current):
                self._send_body(current)
            if not current.rest:
                break
            # Too many recipients at once: the others go in a transaction of their own, at no cost.
            current.envelope, current.rest = current.rest[: self._most], current.rest[self._most :]
            if self._session.pipelining:
                self._wire.send(self._envelope(current), self._timeout_s)
        self._feed.settle(current.transaction, tuple(current.outcomes))

    def _mail(self, transaction: Transaction) -> bytes:
        offered = self._capabilities
        parameters = ""
        if offered.size:
            parameters += f" SIZE={transaction.size_bytes}"
        if transaction.eight_bit and offered.eight_bit:
            parameters += " BODY=8BITMIME"
        if transaction.utf8 and offered.utf8:
            parameters += " SMTPUTF8"
        return f"MAIL FROM:<{transaction.reverse_path}>{parameters}\r\n".encode()

    def _envelope(self, current: _Current) -> bytes:
        recipients = "".join(f"RCPT TO:<{recipient}>\r\n" for recipient in current.envelope)
        return self._mail(current.transaction) + recipients.encode() + b"DATA\r\n"

    def _ask(self, stage: Stage, command: bytes) -> Reply:
        """Send a command, unless it went with the envelope already, and return its reply."""
        self._stage = stage
        if not self._session.pipelining:
            self._wire.send(command, self._timeout_s)
        return self._wire.read_reply(self._timeout_s)

    def _open_data(self, current: _Current) -> bool:
        """Read the replies to the envelope; return whether the body is to be sent."""
        pipelined = self._session.pipelining
        accepted: list[str] = []
        postponed: list[str] = []
        refused: list[Outcome] = []
        mail = self._ask(Stage.MAIL, self._mail(current.transaction))
        trouble = None if mail.positive else classify(Stage.MAIL, mail)
        if trouble is None or pipelined:
            for recipient in current.envelope:
                reply = self._ask(Stage.RCPT, f"RCPT TO:<{recipient}>\r\n".encode())
                if trouble is not None:
                    continue
                if reply.positive:
                    accepted.append(recipient)
                elif reply.code == 452 and accepted and reply.enhanced in ("", "4.5.3"):
                    postponed.append(recipient)
                else:
                    refused.append(self._refused_recipient(recipient, classify(Stage.RCPT, reply)))
        current.envelope = tuple(accepted)
        data: Reply | None = None
        if (trouble is None and accepted) or pipelined:
            data = self._ask(Stage.DATA, b"DATA\r\n")
        if trouble is not None:
            self._close_data(data)
            self._all_alike(current, trouble, (*accepted, *postponed), mail_refused=True)
            return False
        current.outcomes += refused
        current.rest = (*postponed, *current.rest)
        if not accepted:
            self._close_data(data)
            return False
        if data is None or data.code == 354:
            return data is not None
        self._all_alike(current, classify(Stage.DATA, data), tuple(accepted))
        return False

    def _close_data(self, data: Reply | None) -> None:
        """End a DATA that the server opened although nobody is left to send to; forget the envelope otherwise."""
        if data is not None and data.code == 354:
            # RFC 2920 section 3.1: the client sends a single dot; the server has no recipient and refuses it.
            self._wire.send(END, self._timeout_s)
            self._wire.read_reply(self._timeout_s)
        self._stage = Stage.RSET
        self._wire.send(b"RSET\r\n", self._timeout_s)
        self._wire.read_reply(self._timeout_s)

    def _refused_recipient(self, recipient: str, trouble: Trouble) -> Outcome:
        if trouble.scope is Scope.ACCOUNT:
            raise _AccountError(trouble)
        return _outcome(recipient, trouble)

    def _all_alike(
        self, current: _Current, trouble: Trouble, recipients: tuple[str, ...], *, mail_refused: bool = False
    ) -> None:
        if trouble.scope is Scope.ACCOUNT:
            raise _AccountError(trouble)
        concerned = (*current.transaction.recipients,) if mail_refused else recipients
        known = {outcome.recipient for outcome in current.outcomes}
        current.outcomes += [_outcome(recipient, trouble) for recipient in concerned if recipient not in known]
        current.envelope = ()
        if mail_refused:
            current.rest = ()
        if trouble.stage is Stage.DATA:
            self._close_data(None)

    def _send_body(self, current: _Current) -> None:
        self._stage = Stage.BODY
        current.body_begun = True
        waiting: list[bytes] = []
        size = 0
        for piece in stuffed(current.transaction.chunks()):
            if size + len(piece) > _WRITE_BYTES and waiting:
                self._wire.send(b"".join(waiting), self._timeout_s)
                waiting, size = [], 0
            waiting.append(piece)
            size += len(piece)
        waiting.append(END)
        if self._session.pipelining and not current.rest:
            self._ahead = self._next()
            if self._ahead is not None:
                waiting.append(self._envelope(self._ahead))
        # From here on the server may accept the message: what goes wrong is uncertain, never "not sent".
        self._stage = Stage.FINAL_DOT
        try:
            self._wire.send(b"".join(waiting), self._timeout_s, patient=True)
            reply = self._wire.read_reply(self._session.smarthost.final_timeout_s, patient=True)
        except (ConnectionLostError, ProtocolError) as error:
            self._uncertain(current, error)
            raise
        self._after_dot(current, reply)

    def _uncertain(self, current: _Current, error: Exception) -> None:
        current.outcomes += [
            Outcome(r, Result.DEFERRED, Stage.FINAL_DOT, f"{error} after the final dot", "4.4.2", uncertain=True)
            for r in current.envelope
        ]

    def _after_dot(self, current: _Current, reply: Reply) -> None:
        if reply.code // 100 == 2:
            told = str(reply)
            enhanced = reply.enhanced or "2.0.0"
            current.outcomes += [
                Outcome(recipient, Result.RELAYED, Stage.FINAL_DOT, told, enhanced) for recipient in current.envelope
            ]
            return
        trouble = classify(Stage.FINAL_DOT, reply)
        if trouble.scope is Scope.ACCOUNT:
            raise _AccountError(trouble)
        current.outcomes += [_outcome(recipient, trouble) for recipient in current.envelope]


def _outcome(recipient: str, trouble: Trouble) -> Outcome:
    result = Result.FAILED if trouble.kind is Kind.PERMANENT else Result.DEFERRED
    enhanced = trouble.reply.enhanced if trouble.reply is not None else ""
    if not enhanced:
        enhanced = "5.0.0" if result is Result.FAILED else "4.0.0"
    return Outcome(recipient, result, trouble.stage, trouble.told, enhanced)
