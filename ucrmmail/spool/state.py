"""What became of each recipient so far: kept beside the message, replaced in one step, and expendable.

    8f2c1a07 {"attempts":1,"next_attempt_at":1764000300.0,"recipients":[{"recipient":"joe@example.com",...}]}

The CRC-32 in front tells a damaged state from a whole one. A state that is lost or damaged costs attempts that are made
again, never mail.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from ucrmmail.dataclass import dataclass, fields
from ucrmmail.jsontext import read_json, typed

if TYPE_CHECKING:
    from collections.abc import Iterable

# Enough of a server's reply for a person; the whole of it is in the delivery log. It bounds the size of a record, so
# that room for it can be made before the message leaves.
LONGEST_REPLY = 500
# JSON writes a character outside ASCII as \uXXXX, or as two of these.
_CHARACTER_BYTES = 12
_RECIPIENT_BYTES = _CHARACTER_BYTES * LONGEST_REPLY + 400


@dataclass(frozen=True, slots=True)
class RecipientState:
    """One recipient: ``result`` is "" while nothing was tried, else a ``message.outcome.Result``.

    ``at`` is when it was asked for last, in seconds since the epoch. ``reported`` tells whether a person has been told
    of a failure. ``tried``: it has had its turn in an attempt that is not over, since others have not. ``alone``: it is
    asked by itself, behind the others, since a connection ended when it was asked.
    """

    recipient: str
    result: str = ""
    reply: str = ""
    stage: str = ""
    enhanced: str = ""
    at: float = 0.0
    uncertain: bool = False
    reported: bool = False
    tried: bool = False
    alone: bool = False

    @property
    def is_pending(self) -> bool:
        """Whether this recipient is still to be tried."""
        return self.result in ("", "deferred")


@dataclass(frozen=True, slots=True)
class MessageState:
    """All recipients of a message, and when it is tried again (seconds since the epoch, 0.0: at once).

    ``late``: its attempt goes on, and others go before it: the server is slow with its recipients, or was lost at one.
    ``blamed``: what the server said as of the account (its code), and was found to mean this message alone; or that the
    connection ended there (``LOST`` and ``LOST_AT_MAIL`` of `transaction`). ``revision`` grows with every change that
    the spool keeps: it tells which of two copies is the newer one.
    """

    recipients: tuple[RecipientState, ...]
    attempts: int = 0
    first_attempt_at: float = 0.0
    next_attempt_at: float = 0.0
    reason: str = ""
    revision: int = 0
    late: bool = False
    blamed: str = ""

    @property
    def pending(self) -> tuple[str, ...]:
        """The recipients that are still to be tried."""
        return tuple([recipient.recipient for recipient in self.recipients if recipient.is_pending])

    @property
    def turn(self) -> tuple[str, ...]:
        """The recipients whose turn it is in the attempt that is under way, or that begins: pending, and not tried.

        Who was asked longest ago comes first, and whoever is asked alone behind the others.
        """
        pending = [recipient for recipient in self.recipients if recipient.is_pending]
        waiting = [recipient for recipient in pending if not recipient.tried] or pending
        if len(waiting) > 1:
            waiting.sort(key=lambda one: one.at)
        together = [recipient.recipient for recipient in waiting if not recipient.alone]
        return tuple(together) or tuple([one.recipient for one in waiting[:1]])

    @property
    def awaiting(self) -> tuple[str, ...]:
        """The recipients to whom something is still to come: the message, or to its sender the report of a failure."""
        return tuple(
            [
                one.recipient
                for one in self.recipients
                if one.is_pending or (one.result == "failed" and not one.reported)
            ]
        )

    @property
    def last_at(self) -> float:
        """When somebody last had his turn, in seconds since the epoch; 0.0 when nobody had."""
        return max((recipient.at for recipient in self.recipients), default=0.0)

    @property
    def failed(self) -> bool:
        """Whether a recipient failed for good."""
        return any(recipient.result == "failed" for recipient in self.recipients)

    @property
    def unreported(self) -> bool:
        """Whether a recipient failed for good and no person has been told."""
        return any(recipient.result == "failed" and not recipient.reported for recipient in self.recipients)

    @property
    def relayed(self) -> bool:
        """Whether the server has accepted the message for every recipient."""
        return all(recipient.result == "relayed" for recipient in self.recipients)


def untried(recipients: Iterable[str]) -> MessageState:
    """Return the state of a message that was never tried."""
    return MessageState(tuple([RecipientState(recipient) for recipient in recipients]))


ALL_RELAYED = MessageState(())
"""The state of a message that the server has accepted for every recipient: it is removed, whoever they were."""


def fitted(state: MessageState | None, recipients: tuple[str, ...]) -> MessageState:
    """Return a state for exactly these recipients: who is not in what was kept was never tried."""
    if state is None:
        return untried(recipients)
    if tuple([recipient.recipient for recipient in state.recipients]) == recipients:
        return state
    kept = {recipient.recipient: recipient for recipient in state.recipients}
    return MessageState(
        tuple([kept.get(recipient) or RecipientState(recipient) for recipient in recipients]),
        state.attempts,
        state.first_attempt_at,
        state.next_attempt_at,
        state.reason,
        state.revision,
        state.late,
        state.blamed,
    )


def longest_encoding(recipients: Iterable[str]) -> int:
    """Return how many bytes the state of a message to these recipients may take, whatever the server says."""
    return sum([_RECIPIENT_BYTES + _CHARACTER_BYTES * len(recipient) for recipient in recipients]) + _RECIPIENT_BYTES


# What was encoded last of those to many, and what came of it: each part of a message to thousands has its state
# recorded, written beside it, and read back for the next part. That was most of what a part costs.
_MANY = 100
_latest: tuple[MessageState, bytes] = (ALL_RELAYED, b"")


def encode_state(state: MessageState) -> bytes:
    """Return the state as one line, without its line end; replies are cut to ``LONGEST_REPLY`` characters."""
    global _latest  # noqa: PLW0603 # replaced as a whole, so that threads do no harm
    if len(state.recipients) < _MANY:
        return _encode(state)
    known, encoded = _latest
    if state is not known:
        encoded = _encode(state)
        _latest = state, encoded
    return encoded


def _encode(state: MessageState) -> bytes:
    # What has its default is left out: most of a record is names, and older versions know fewer of them.
    document = _without_defaults(state, _MESSAGE_FIELDS)
    if state.reason:
        document["reason"] = state.reason[:LONGEST_REPLY]
    document["recipients"] = [_without_defaults(recipient, _RECIPIENT_FIELDS) for recipient in state.recipients]
    for recipient in document["recipients"]:
        if "reply" in recipient:
            recipient["reply"] = recipient["reply"][:LONGEST_REPLY]
    text = json.dumps(document, separators=(",", ":")).encode()
    return b"%08x %b" % (zlib.crc32(text), text)


def _without_defaults(state: MessageState | RecipientState, defaults: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, default in defaults.items() if (value := getattr(state, name)) != default}


def decode_state(raw: bytes) -> MessageState | None:
    """Return the state that was kept; None when it is damaged, or says what cannot be."""
    known, encoded = _latest
    if encoded and raw.rstrip(b"\n") == encoded:
        return known
    crc, _, text = raw.rstrip(b"\n").partition(b" ")
    if b"%08x" % zlib.crc32(text) != crc:
        return None
    try:
        found = read_json(text)
        recipients = tuple([RecipientState(**typed(each, _RECIPIENT_FIELDS)) for each in found.pop("recipients")])
        return MessageState(recipients, **typed(found, _MESSAGE_FIELDS))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


_MESSAGE_FIELDS: dict[str, Any] = {
    field.name: field.default for field in fields(MessageState) if field.name != "recipients"
}
_RECIPIENT_FIELDS: dict[str, Any] = {
    field.name: "" if field.name == "recipient" else field.default for field in fields(RecipientState)
}
