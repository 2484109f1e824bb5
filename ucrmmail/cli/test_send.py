"""``ucrmmail test-send``: a message through the same client as the flush, at once, each stage shown."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import JsonOption, invocation

if TYPE_CHECKING:
    from ucrmmail.config.load import Config
    from ucrmmail.message.outcome import Outcome, Trouble
    from ucrmmail.smtp.session import StageReport
    from ucrmmail.smtp.transaction import Transaction

EXAMPLES = """\b
Examples:
  ucrmmail test-send me@example.com
  ucrmmail test-send --transcript me@example.com"""


def test_send(
    context: typer.Context,
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="Where the test message goes.")],
    from_: Annotated[str, typer.Option("--from", metavar="ADDRESS", help="Send from this address.")] = "",
    subject: Annotated[str, typer.Option("--subject", metavar="TEXT", help="The subject.")] = "",
    transcript: Annotated[bool, typer.Option("--transcript", help="Show the dialogue, without secrets.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send a test message at once, and show each stage.

    It does not go through the queue. Exits 0 when the smarthost took it for every address, 1 when it refused one; 69,
    75, 77 or 78 when there was no session.
    """
    from ucrmmail.output.stages import show_test

    config = invocation(context).config()
    outcome = _send(config, addresses, from_, subject)
    show_test(
        outcome.stages, outcome.trouble, outcome.outcomes, outcome.transcript if transcript else [], as_json=as_json
    )
    if outcome.trouble is not None:
        raise typer.Exit(outcome.trouble.exit_code)
    if any(one.result.value != "relayed" for one in outcome.outcomes):
        raise typer.Exit(1)


@dataclass(slots=True)
class _Test:
    """What was seen of a test: it is the session's watcher and, with one transaction, its feed."""

    transaction: Transaction | None
    stages: list[StageReport] = field(default_factory=list)
    outcomes: tuple[Outcome, ...] = ()
    trouble: Trouble | None = None
    transcript: list[str] = field(default_factory=list)

    def stage(self, report: StageReport) -> None:
        self.stages.append(report)

    def ready(self) -> Transaction | None:
        transaction, self.transaction = self.transaction, None
        return transaction

    def settle(self, _transaction: Transaction, outcomes: tuple[Outcome, ...]) -> None:
        self.outcomes = outcomes

    def unused(self, _transaction: Transaction) -> None:
        """There is nothing to put back: the trouble is told."""

    def is_suspect(self, _transaction: Transaction) -> bool:
        """Return False: there is no other message to protect."""
        return False

    def idle(self) -> None:
        """There is nothing else to do."""


def _send(config: Config, to: list[str], from_: str, subject: str) -> _Test:
    from ucrmmail.cli.runtime import login_of, smarthost_of
    from ucrmmail.clock import Clock
    from ucrmmail.errors import SmarthostUnavailableError
    from ucrmmail.smtp.session import SessionError, open_session
    from ucrmmail.smtp.submit import submit
    from ucrmmail.smtp.transcript import Transcript

    smarthost = smarthost_of(config)
    test = _Test(_transaction(config, smarthost.name, to, from_, subject))
    transcript = Transcript()
    login = login_of(config)

    try:
        session = open_session(
            smarthost,
            secret=login.secret,
            after_refusal=login.after_refusal,
            clock=Clock(),
            observer=transcript,
            watcher=test,
        )
        end = submit(session, test)
        test.trouble = end.trouble
        if end.alive:
            session.quit()
        elif end.trouble is None and not test.outcomes:
            raise SmarthostUnavailableError("the connection was lost")
    except SessionError as error:
        test.trouble = error.trouble
    test.transcript = transcript.lines
    return test


def _transaction(config: Config, smarthost: str, to: list[str], from_: str, subject: str) -> Transaction:
    """Return the test message and its envelope, prepared like any other message."""
    from ucrmmail.cli.runtime import addresses_of, sender_of
    from ucrmmail.errors import ConfigError
    from ucrmmail.message.address import parse_mailbox
    from ucrmmail.message.prepare import prepare
    from ucrmmail.message.testmessage import SUBJECT, build_test_message
    from ucrmmail.smtp.transaction import Transaction

    addresses = addresses_of(config)
    sender = from_ or sender_of(config)
    if not sender:
        raise ConfigError(
            "there is no address to send from", remedy="use --from, or run `ucrmmail config set addresses.sender`"
        )
    sender = parse_mailbox(sender)
    recipients = [parse_mailbox(address) for address in to]
    now, unique, hostname = time.time(), os.urandom(12).hex(), os.uname().nodename
    prepared = prepare(
        build_test_message(
            from_=sender,
            to=recipients,
            now=now,
            message_id=f"<{unique}@{sender.rpartition('@')[2]}>",
            hostname=hostname,
            smarthost=smarthost,
            unique=unique,
            authenticated=bool(config.text("smtp.username")),
            subject=subject or SUBJECT,
        ),
        reverse_path=sender if from_ else None,
        recipients=recipients,
        extract_recipients=False,
        addresses=addresses,
        priority=None,
        now=now,
        hostname=hostname,
        unique=unique,
        max_size=config.size_bytes("spool.max_message_size"),
    )
    return Transaction(
        queue_id="test",
        reverse_path=prepared.reverse_path,
        recipients=prepared.recipients,
        size_bytes=len(prepared.message),
        eight_bit=prepared.eight_bit,
        utf8=prepared.utf8,
        chunks=lambda: iter((prepared.message,)),
    )
