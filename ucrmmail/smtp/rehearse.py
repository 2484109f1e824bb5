"""A transaction that stops before the message, to learn whether the server would take it.

MAIL FROM, RCPT TO, RSET (RFC 5321 section 3.3): nothing is sent, and no limit of the provider counts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import replace
from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.smtp.envelope import beyond_server, mail_command, rcpt_command, recipients_beyond_server
from ucrmmail.smtp.exchange import is_done, is_good_bye
from ucrmmail.smtp.transaction import Transaction
from ucrmmail.smtp.trouble import account_trouble, classify
from ucrmmail.smtp.wire import ConnectionLostError, ProtocolError

if TYPE_CHECKING:
    from ucrmmail.smtp.session import Session


def rehearse(session: Session, sender: str, recipient: str) -> Trouble | None:
    """Ask whether mail from ``sender`` to ``recipient`` would be taken; return what is in the way, or None.

    Each step goes to the watcher of the session. Behind a trouble of the account (``Scope.ACCOUNT``) the session is
    over. Raises StoppedError.
    """
    return _Rehearsal(session, sender, recipient).run()


class _Rehearsal:
    def __init__(self, session: Session, sender: str, recipient: str) -> None:
        self._session = session
        self._stage = Stage.MAIL
        self._timeout_s = session.smarthost.timeout_s
        self._sender, self._recipient = sender, recipient

    def run(self) -> Trouble | None:
        session = self._session
        session.wire.allow(3 * self._timeout_s)
        try:
            trouble = self._envelope()
            if trouble is None or trouble.scope is not Scope.ACCOUNT:
                self._step(Stage.RSET, b"RSET\r\n", "")
        except (ConnectionLostError, ProtocolError) as error:
            trouble = account_trouble(
                self._stage,
                f"{session.smarthost.name}: {error} (at {self._stage.value})",
                remedy="try again; nothing was lost",
            )
            session.stages.failed(trouble)
        return trouble

    def _envelope(self) -> Trouble | None:
        # The size of a message that does not exist is not announced.
        offered = replace(self._session.capabilities, size=False)
        addresses = (self._sender, self._recipient)
        transaction = Transaction(
            queue_id="rehearsal",
            reverse_path=self._sender,
            recipients=(self._recipient,),
            size_bytes=0,
            eight_bit=False,
            utf8=not "".join(addresses).isascii(),
            chunks=lambda: iter(()),
        )
        others, waits = recipients_beyond_server(transaction, offered)
        beyond = beyond_server(transaction, offered) or (waits if others else None)
        if beyond is not None:
            trouble = Trouble(Scope.MESSAGE, Kind.PERMANENT, Stage.MAIL, beyond.reply)
            self._session.stages.failed(trouble)
            return trouble
        return self._step(Stage.MAIL, mail_command(transaction, offered), self._sender) or self._step(
            Stage.RCPT, rcpt_command(self._recipient), self._recipient
        )

    def _step(self, stage: Stage, command: bytes, detail: str) -> Trouble | None:
        self._stage = stage
        wire, stages = self._session.wire, self._session.stages
        wire.send(command, self._timeout_s)
        reply = wire.read_reply(self._timeout_s)
        if is_done(reply):
            stages.over(stage, detail or reply.text, reply=reply)
            return None
        if is_good_bye(reply) and reply.positive:
            raise ConnectionLostError(f"the server said good-bye: {reply}")
        trouble = classify(stage, reply)
        stages.failed(trouble)
        return trouble
