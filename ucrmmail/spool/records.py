"""What the journal of the queue says: for each message the newest record is the whole truth.

    relayed ID              the server accepted it for every recipient: nothing is left to do but to remove it
    state ID CRC JSON       what became of each recipient; the message belongs where this state says

A redo log: carrying out a record twice is the same as once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.spool.layout import is_queue_id
from ucrmmail.spool.state import decode_state, encode_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ucrmmail.spool.state import MessageState


def relayed_record(queue_id: str) -> bytes:
    """Return the record of a message that was relayed to every recipient."""
    return b"relayed " + queue_id.encode()


def state_record(queue_id: str, state: MessageState) -> bytes:
    """Return the record of a message's new state."""
    return b"state %b %b" % (queue_id.encode(), encode_state(state))


def newest(payloads: Iterable[bytes]) -> dict[str, MessageState | None]:
    """Return what the last record of each message says: its state, or None when it was relayed to every recipient."""
    found: dict[str, MessageState | None] = {}
    for payload in payloads:
        kind, _, rest = payload.partition(b" ")
        name, _, raw = rest.partition(b" ")
        queue_id = name.decode("ascii", "replace")
        if not is_queue_id(queue_id):
            continue
        if kind == b"relayed":
            found[queue_id] = None
        elif kind == b"state" and (state := decode_state(raw)) is not None:
            found[queue_id] = None if state.relayed else state
    return found
