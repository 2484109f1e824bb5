"""The ledger's records: one line of words each, so that a person can read the file with ``less``.

    state {JSON}                    everything until here; the first record, and again when the rules change
    reserve ID AT RECIPIENTS        a message is about to leave
    accepted ID AT RECIPIENTS       the server took it
    uncertain ID AT RECIPIENTS      it may have: no reply after the final dot, or a crash before it
    refund ID                       it was refused: the place is free again
    clock AT                        the clock was found set back to AT
    block AT MESSAGES RECIPIENTS BOOT   so many reservations may follow that a power cut can take back
    lost SINCE AT MESSAGES RECIPIENTS   a power cut did; they count as used
    end                             the rest of the block is given back

Times are seconds since the epoch, written so that they read back to the last bit.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

from ucrmmail.dataclass import asdict, dataclass, fields
from ucrmmail.jsontext import like, read_json, typed
from ucrmmail.limits.antiflood import Row
from ucrmmail.limits.fixed import FixedWindow
from ucrmmail.limits.rules import Flood, Rules, Throttle
from ucrmmail.limits.sliding import SlidingWindow
from ucrmmail.limits.tally import Tally, Window

if TYPE_CHECKING:
    from collections.abc import Iterable

_VERSION = 1


@dataclass(slots=True)
class Block:
    """Reservations that were announced on the disk before they were used: how many are left of those, and since when.

    ``boot_id`` is that of the boot in which they were announced. Within it, every record written is there to be read;
    after a power cut, any number of those left may have been used.
    """

    boot_id: str = ""
    at: float = 0.0
    messages: int = 0
    recipients: int = 0


def state_record(tally: Tally) -> bytes:
    """Return the record that says everything; it leaves no block open."""
    document = {
        "version": _VERSION,
        "next_id": tally.next_id,
        "latest": tally.latest,
        "throttles": [
            {"rule": asdict(window.rule), "window": _window_fields(window), "twin": _window_fields(twin)}
            for window, twin in zip(tally.windows, tally.twins, strict=True)
        ],
        "antiflood": asdict(tally.row) if tally.row is not None else None,
        "pending": [[number, at, recipients] for number, (at, recipients) in tally.pending.items()],
    }
    return b"state " + json.dumps(document, separators=(",", ":")).encode()


def _window_fields(window: Window) -> dict[str, Any] | list[tuple[float, int]]:
    if isinstance(window, SlidingWindow):
        return list(window.entries)
    fields = asdict(window)
    del fields["rule"]
    return fields


def _tally_of(document: dict[str, Any]) -> Tally:
    """Return what a state says. Raises ValueError, KeyError, TypeError, AttributeError when it makes no sense."""
    if document["version"] != _VERSION:
        raise ValueError(document["version"])
    windows: list[Window] = []
    twins: list[Window] = []
    for part in document["throttles"]:
        throttle = Throttle(**typed(part["rule"], _THROTTLE_FIELDS))
        windows.append(_window_of(throttle, part["window"]))
        # A version that had none wrote this: ``adapt`` says what they would have counted.
        if "twin" in part:
            twins.append(_window_of(throttle.twin, part["twin"]))
    antiflood = document["antiflood"]
    row = None
    if antiflood is not None:
        row = Row(Flood(**typed(antiflood.pop("rule"), _FLOOD_FIELDS)), **typed(antiflood, _ROW_FIELDS))
    pending = {like(number, 0): (like(at, 0.0), like(units, 0)) for number, at, units in document["pending"]}
    tally = Tally(
        rules=Rules(tuple(window.rule for window in windows), row.rule if row is not None else None),
        windows=windows,
        twins=twins,
        row=row,
        pending=pending,
        pending_recipients=sum(recipients for _, recipients in pending.values()),
        next_id=like(document["next_id"], 0),
        latest=like(document["latest"], 0.0),
    )
    # Nothing was counted later than that; a time that is would keep mail until then.
    tally.set_back(tally.latest)
    return tally


def _window_of(throttle: Throttle, content: Any) -> Window:
    """Return what a state says of one window. Raises as ``_tally_of`` does."""
    if throttle.sliding:
        entries = deque((like(at, 0.0), like(units, 0)) for at, units in content)
        return SlidingWindow(throttle, entries, sum(units for _, units in entries))
    return FixedWindow(throttle, **typed(content, _WINDOW_FIELDS))


def replay(payloads: Iterable[bytes]) -> tuple[Tally, Block] | None:
    """Return what the records add up to, or None when they do not begin with a state that we understand."""
    tally: Tally | None = None
    block = Block()
    try:
        for payload in payloads:
            word, _, rest = payload.partition(b" ")
            if word == b"state":
                tally, block = _tally_of(read_json(rest)), Block()
            elif tally is None:
                return None
            else:
                _apply(tally, block, word, rest.split())
    except (ValueError, KeyError, TypeError, AttributeError):
        # Whole records that make no sense: another version's, or a fault of ours. Nothing is built on them.
        return None
    return None if tally is None else (tally, block)


def _apply(tally: Tally, block: Block, word: bytes, fields: list[bytes]) -> None:
    """Count one record. Raises ValueError or KeyError when it makes no sense."""
    match word, fields:
        case b"reserve", [number, at, recipients]:
            if tally.reserve(_time(at), _count(recipients)) != _count(number):
                raise ValueError(number)
            block.messages -= 1
            block.recipients -= _count(recipients)
        case b"accepted" | b"uncertain", [number, at, recipients]:
            tally.settle(_count(number), _time(at), _count(recipients), certain=word == b"accepted")
        case b"refund", [number]:
            tally.give_back(_count(number))
        case b"clock", [at]:
            tally.set_back(_time(at))
            block.at = min(block.at, _time(at))
        case b"block", [at, messages, recipients, boot_id]:
            block.boot_id = boot_id.decode()
            block.at, block.messages, block.recipients = _time(at), _count(messages), _count(recipients)
        case b"lost", [since, at, messages, recipients]:
            tally.lose(_time(since), _time(at), _count(messages), _count(recipients))
        case b"end", []:
            block.messages = block.recipients = 0
        case _:
            raise ValueError(word)


def _time(word: bytes) -> float:
    """Return a time of a record. Raises ValueError when it is none."""
    return like(float(word), 0.0)


def _count(word: bytes) -> int:
    """Return a count, or a number, of a record. Raises ValueError when it is none."""
    return like(int(word), 0)


_THROTTLE_FIELDS: dict[str, Any] = asdict(Throttle(0, 0.0))
_FLOOD_FIELDS: dict[str, Any] = asdict(Flood(0, 0.0))
_WINDOW_FIELDS: dict[str, Any] = {field.name: field.default for field in fields(FixedWindow) if field.name != "rule"}
_ROW_FIELDS: dict[str, Any] = {field.name: field.default for field in fields(Row) if field.name != "rule"}
