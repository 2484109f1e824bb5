"""The messages of ``ucrmmail test-send``: from the options and the configuration to what can leave, or be queued."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field
from ucrmmail.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.config.load import Config
    from ucrmmail.message.prepare import Prepared
    from ucrmmail.message.testmessage import Form
    from ucrmmail.smtp.transaction import Transaction

# A test, not a campaign.
MOST_MESSAGES = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say of the messages; ``size`` is as it was written, such as 5MB."""

    to: Sequence[str]
    from_: str = ""
    subject: str = ""
    files: Sequence[str] = ()
    html: bool = False
    utf8: bool = False
    size: str = ""
    count: int = 1


@dataclass(slots=True)
class Sender:
    """Who the messages are from, and how they get their Message-ID."""

    mailbox: str
    asked_for: bool
    hostname: str = field(default_factory=lambda: os.uname().nodename)


def check_words(wanted: Wanted) -> None:
    """Refuse what no configuration makes right. Raises UsageError and NoUserError."""
    from ucrmmail.cli.address_option import mailbox_in
    from ucrmmail.message.testmessage import check_subject

    for address in wanted.to:
        mailbox_in("ADDRESS", address)
    if wanted.from_:
        mailbox_in("--from", wanted.from_)
    check_subject(wanted.subject)


def test_messages(config: Config, smarthost: str, wanted: Wanted) -> list[Prepared]:
    """Return the test messages, prepared like any other message; ``smarthost`` is its name for people.

    ``check_words`` has passed what is wanted: what it had to say of an address is not said again.

    Raises UsageError, NoUserError, NoInputError, DataError, and ConfigError without an address to send from.
    """
    from ucrmmail.message.address import parse_mailbox

    sender = _sender(config, wanted.from_)
    recipients = [parse_mailbox(address) for address in wanted.to]
    form = _form(wanted, config.size_bytes("spool.max_message_size"))
    return [_prepared(config, smarthost, sender, recipients, wanted.subject, form) for _ in range(wanted.count)]


def _sender(config: Config, from_: str) -> Sender:
    from ucrmmail.cli.runtime import sender_of
    from ucrmmail.message.address import parse_mailbox

    sender = from_ or sender_of(config)
    if not sender:
        raise ConfigError(
            "there is no address to send from", remedy="use --from, or run `ucrmmail config set addresses.sender`"
        )
    return Sender(parse_mailbox(sender) if from_ else sender, asked_for=bool(from_))


def _form(wanted: Wanted, max_size: int) -> Form:
    from ucrmmail.cli.enqueue import read_input
    from ucrmmail.message.testmessage import Attachment, Form
    from ucrmmail.units import parse_size

    try:
        size_bytes = parse_size(wanted.size) if wanted.size else 0
    except ValueError as error:
        raise UsageError(f"--size: {error}", remedy="such as --size 5MB") from None
    attachments = tuple(Attachment(os.path.basename(file), read_input(file, max_size + 1)) for file in wanted.files)
    return Form(html=wanted.html, utf8=wanted.utf8, attachments=attachments, size_bytes=min(size_bytes, max_size + 1))


def _prepared(
    config: Config, smarthost: str, sender: Sender, recipients: list[str], subject: str, form: Form
) -> Prepared:
    from ucrmmail.cli.runtime import addresses_of
    from ucrmmail.message.prepare import prepare
    from ucrmmail.message.testmessage import build_test_message

    now, unique = time.time(), os.urandom(12).hex()
    return prepare(
        build_test_message(
            from_=sender.mailbox,
            to=recipients,
            now=now,
            message_id=f"<{unique}@{sender.mailbox.rpartition('@')[2]}>",
            hostname=sender.hostname,
            smarthost=smarthost,
            unique=unique,
            authenticated=bool(config.text("smtp.username")),
            subject=subject or None,
            form=form,
        ),
        reverse_path=sender.mailbox if sender.asked_for else None,
        recipients=recipients,
        extract_recipients=False,
        addresses=addresses_of(config),
        priority=None,
        now=now,
        hostname=sender.hostname,
        unique=unique,
        max_size=config.size_bytes("spool.max_message_size"),
    )


def transaction_of(prepared: Prepared, name: str) -> Transaction:
    """Return the transaction that sends this message at once; ``name`` tells it from the others of the test."""
    from ucrmmail.smtp.transaction import Transaction

    return Transaction(
        queue_id=name,
        reverse_path=prepared.reverse_path,
        recipients=prepared.recipients,
        size_bytes=len(prepared.message),
        eight_bit=prepared.eight_bit,
        utf8=prepared.utf8,
        chunks=lambda: iter((prepared.message,)),
    )


def queue_messages(config: Config, messages: Sequence[Prepared]) -> list[str]:
    """Put the messages into the queue and return their queue ids: they are durable then. Raises as ``accept``."""
    from ucrmmail.spool.batch import Batch
    from ucrmmail.spool.layout import NEXT_ID_S, new_queue_id

    directory = config.text("spool.directory")
    latest = 0.0
    queue_ids: list[str] = []
    with Batch(directory, min_free_bytes=config.size_bytes("spool.min_free_space")) as batch:
        for prepared in messages:
            latest = max(time.time(), latest + NEXT_ID_S)
            batch.add(
                new_queue_id(latest, prepared.priority),
                reverse_path=prepared.reverse_path,
                recipients=prepared.recipients,
                message=prepared.message,
                eight_bit=prepared.eight_bit,
                utf8=prepared.utf8,
            )
            if batch.is_full:
                queue_ids += batch.commit()
        return [*queue_ids, *batch.commit()]
