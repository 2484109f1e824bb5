"""What the journals of the queue say: for each message the newest record is the whole truth.

A run has one journal, and so has each of its workers: those are there only while they work, or after a crash.

    relayed ID              the server accepted it for every recipient: nothing is left to do but to remove it
    state ID CRC JSON       what became of each recipient; the message belongs where this state says

A redo log: carrying out a record twice is the same as once. Each is the whole truth about one message, so that a
damaged one takes nothing from those behind it: its message may be sent again to who has it, and a person is told.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.journal import read_past_damage
from ucrmmail.spool.layout import is_queue_id
from ucrmmail.spool.state import decode_state, encode_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ucrmmail.spool.state import MessageState

JOURNAL = "journal"


def relayed_record(queue_id: str) -> bytes:
    """Return the record of a message that was relayed to every recipient."""
    return b"relayed " + queue_id.encode()


def state_record(queue_id: str, state: MessageState) -> bytes:
    """Return the record of a message's new state."""
    return b"state %b %b" % (queue_id.encode(), encode_state(state))


def newest(payloads: Iterable[bytes]) -> dict[str, MessageState | None]:
    """Return what the newest record of each message says: its state, or None when it was relayed to every recipient.

    The records may come from several journals, one after the other: nothing comes after "relayed", and of two states
    the one with the higher revision is newer.
    """
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
            before = found.get(queue_id, state)
            if before is not None and state.revision >= before.revision:
                found[queue_id] = None if state.relayed else state
    return found


def journal_path(directory: str, worker: int) -> str:
    """Return where a worker records what became of its messages; 0 is the run itself."""
    return f"{directory}/{JOURNAL}.{worker}" if worker else f"{directory}/{JOURNAL}"


def worker_journals(directory: str) -> list[str]:
    """Return the paths of the journals that workers have, or have left. Raises OSError."""
    names = os.listdir(directory)
    return [f"{directory}/{name}" for name in sorted(names) if name.startswith(f"{JOURNAL}.") and name[8:].isdigit()]


def damage_in(path: str, places: int) -> str:
    """Return what a person is told of a journal that was damaged in so many places."""
    count = "one place" if places == 1 else f"{places} places"
    return (
        f"{path} was damaged in {count}: what it said there is lost, so that messages which were relayed may be sent "
        "again; all else in it was carried out. Has the power failed, or does the disk?"
    )


def recorded(directory: str) -> dict[str, MessageState | None]:
    """Return what all journals say, as ``newest`` does. Raises DistrustError, OSError."""
    paths = [journal_path(directory, 0), *worker_journals(directory)]
    return newest(payload for path in paths for payload in read_past_damage(path)[0])
