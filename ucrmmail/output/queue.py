"""How the queue looks: a list, one message with what became of each recipient, and what was changed in it."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from ucrmmail.clock import rfc3339
from ucrmmail.message.explain import for_administrator_told
from ucrmmail.message.header import split_canonical, value_of
from ucrmmail.output import human
from ucrmmail.output.machine import print_listing
from ucrmmail.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ucrmmail.spool.listing import QueuedMessage
    from ucrmmail.spool.state import RecipientState
    from ucrmmail.spool.unread import Unread

_COLUMNS = ("queue id", "state", "accepted", "from", "to", "size", "tries", "next attempt", "reason")
_BODY_LINES = 20
_LONGEST_LINE = 200


def message_document(message: QueuedMessage) -> dict[str, object]:
    """Return the JSON fields of one message in ``queue list``."""
    return {
        "queue_id": message.queue_id,
        "message_id": message.message_id,
        "state": message.state,
        "reverse_path": message.reverse_path,
        "recipients": list(message.recipients),
        "size_bytes": message.size_bytes,
        "priority": message.priority,
        "accepted_at": rfc3339(message.accepted_at),
        "attempts": message.attempts,
        "next_attempt_at": _time_or_none(message.next_attempt_at),
        "reason": message.reason,
        "uncertain": message.uncertain,
    }


def whole_document(message: QueuedMessage) -> dict[str, object]:
    """Return the JSON fields of ``queue show``: those of the list, each recipient's state, header, first lines."""
    headers, lines = _beginning(message)
    return {
        **message_document(message),
        "file": message.path,
        "first_attempt_at": _time_or_none(message.delivery.first_attempt_at),
        "outcomes": {each.recipient: _outcome_document(each) for each in message.delivery.recipients},
        "headers": [{"name": name, "value": value} for name, value in headers],
        "body_lines": lines,
    }


def _outcome_document(recipient: RecipientState) -> dict[str, object]:
    why, remedy = for_administrator_told(recipient.stage, recipient.reply, recipient.enhanced)
    return {
        "outcome": recipient.result or "pending",
        "stage": recipient.stage,
        "reply": recipient.reply,
        "why": why or None,
        "remedy": remedy or None,
        "at": _time_or_none(recipient.at),
        "uncertain": recipient.uncertain,
        "reported": recipient.reported,
    }


def _time_or_none(at: float) -> str | None:
    return rfc3339(at) if at else None


def show_list(messages: Iterator[QueuedMessage], unread: Sequence[Unread], *, as_json: bool) -> None:
    """Print the messages, each as soon as it is read, so that a long queue needs no memory.

    ``unread`` is what could not be read, when the messages have come to their end. On a terminal a message has some
    lines, as with ``mailq``: nine columns fit none. Through a pipe it has one.
    """
    if as_json:
        print_listing("messages", map(message_document, messages), lambda: {"errors": unread_documents(unread)})
    elif human.on_terminal():
        message = None
        for message in messages:
            _show_in_lines(message)
        if message is None and not unread:
            human.say("the queue is empty, or nothing in it is asked for")
    else:
        # What keeps the queue from being read at all is raised before anything is printed.
        first = list(islice(messages, 1))
        human.say_fields(_COLUMNS)
        for message in chain(first, messages):
            human.say_fields(_row(message))
    tell_unread(unread)


def unread_documents(unread: Sequence[Unread]) -> list[dict[str, object]]:
    """Return the JSON fields of the messages that could not be read."""
    return [{"queue_id": each.queue_id, "error": each.trouble} for each in unread]


def tell_unread(unread: Sequence[Unread]) -> None:
    """Tell a person which messages could not be read, and what to do, in a line for each."""
    for each in unread:
        human.note(f"ucrmmail: {each.line}")


def _show_in_lines(message: QueuedMessage) -> None:
    _, state, accepted, sender, recipients, size, tries, following, reason = _row(message)
    human.say(f"{message.queue_id}  {state:<8}  {size:>6}  accepted {accepted[:19]}Z")
    human.say(f"    {sender} to {recipients}")
    if tries != "0":
        times = "once" if tries == "1" else f"{tries} times"
        human.say(f"    tried {times}" + (f", again at {following[:19]}Z" if following != "-" else ""))
    if reason != "-":
        human.say(f"    {reason}")
    if message.uncertain:
        human.say("    it may be delivered twice")


def _row(message: QueuedMessage) -> tuple[str, ...]:
    more = len(message.recipients) - 1
    return (
        message.queue_id,
        message.state,
        rfc3339(message.accepted_at),
        f"<{message.reverse_path}>",
        f"<{message.recipients[0]}>" + (f" and {more} more" if more else ""),
        format_size(message.size_bytes),
        str(message.attempts),
        rfc3339(message.next_attempt_at) if message.next_attempt_at else "-",
        message.reason or "-",
    )


def show_message(message: QueuedMessage) -> None:
    """Print one message for a person: its envelope, what became of each recipient, its header and first lines."""
    human.say(f"{message.queue_id}  {message.state}, {message.priority}, {format_size(message.size_bytes)}")
    human.say(f"file:      {message.path}")
    human.say(f"accepted:  {rfc3339(message.accepted_at)}")
    if message.attempts:
        first = message.delivery.first_attempt_at
        human.say(f"attempts:  {message.attempts}" + (f", the first {rfc3339(first)}" if first else ""))
    if message.next_attempt_at:
        human.say(f"next:      {rfc3339(message.next_attempt_at)}")
    human.say(f"from:      <{message.reverse_path}>")
    for recipient in message.delivery.recipients:
        human.say(f"to:        <{recipient.recipient}>  {_outcome(recipient)}")
        human.say_advice(
            *for_administrator_told(recipient.stage, recipient.reply, recipient.enhanced), indent="           "
        )
    headers, lines = _beginning(message)
    human.say()
    for name, value in headers:
        human.say(f"{name}: {value}"[:_LONGEST_LINE])
    human.say()
    for line in lines:
        human.say(line)


def _outcome(recipient: RecipientState) -> str:
    if not recipient.result:
        return "not tried yet"
    doubt = ", may be delivered twice" if recipient.uncertain else ""
    return f"{recipient.result} {rfc3339(recipient.at)} ({recipient.stage}{doubt}): {recipient.reply}"


def _beginning(message: QueuedMessage) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the header as (name, value), and the first lines of the body, cut to what fits a screen."""
    fields, body = split_canonical(message.beginning)
    headers = [
        (field.partition(b":")[0].rstrip(b" \t").decode("ascii", "replace"), value_of(field)) for _, field in fields
    ]
    lines = body[: _BODY_LINES * 1000].decode("utf-8", "surrogateescape").split("\r\n")
    shown = [line[:_LONGEST_LINE] for line in lines[:_BODY_LINES]]
    return headers, shown[:-1] if shown and not shown[-1] else shown
