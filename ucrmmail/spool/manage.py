"""What a person does with messages in the queue: hold, release, retry, remove.

A message is locked first, so that one that is being sent at this moment is never touched. Every change is durable when
it is told.

    from       hold       release    retry                                        remove
    waiting    held       -          -                                            gone
    deferred   held       -          waiting, all that is pending is due now      gone
    held       -          waiting    -                                            gone
    failed     -          -          waiting, who failed is tried from the start  gone

A retry of a failed message begins anew: no attempts, nothing reported. Who was relayed is not sent to again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.files import DistrustError
from ucrmmail.spool.claimed import BusyError, lock_message
from ucrmmail.spool.host import check_host
from ucrmmail.spool.layout import DEFERRED, FAILED, HELD, QUEUE, check_root, is_queue_id
from ucrmmail.spool.listing import STATES
from ucrmmail.spool.moves import Moves, read_state
from ucrmmail.spool.state import RecipientState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ucrmmail.spool.state import MessageState

# Changes are made durable together, this many at a time, before they are told.
_TOGETHER = 500

STATES_FOR = {
    "hold": ("waiting", "deferred"),
    "release": ("held",),
    "retry": ("deferred", "failed"),
    "remove": tuple(STATES),
}
"""The states in which a message is meant when all are: in the others there is nothing to do."""

UNKNOWN = "is not in the queue"
BUSY = "is being sent at this moment"


@dataclass(frozen=True, slots=True)
class Change:
    """What was done with one message: its state before and after ("" when it is gone), or why nothing was done."""

    queue_id: str
    before: str = ""
    after: str = ""
    trouble: str = ""


def hold(directory: str, queue_ids: Iterable[str]) -> Iterator[Change]:
    """Keep messages from being sent until they are released. Raises PermissionDeniedError, ConfigError, OSError."""
    return _each(directory, queue_ids, _hold)


def release(directory: str, queue_ids: Iterable[str]) -> Iterator[Change]:
    """Let held messages wait for their turn again, at once. Raises PermissionDeniedError, ConfigError, OSError."""
    return _each(directory, queue_ids, _release)


def retry(directory: str, queue_ids: Iterable[str]) -> Iterator[Change]:
    """Let deferred and failed messages be tried again at once. Raises PermissionDeniedError, ConfigError, OSError."""
    return _each(directory, queue_ids, _retry)


def remove(directory: str, queue_ids: Iterable[str]) -> Iterator[Change]:
    """Remove messages for good, whatever their state. Raises PermissionDeniedError, ConfigError, OSError."""
    return _each(directory, queue_ids, _remove)


def _hold(moves: Moves, queue_id: str, place: str, path: str) -> str:
    if place in (QUEUE, DEFERRED):
        moves.to_held(path, queue_id)
        return HELD
    return place


def _release(moves: Moves, queue_id: str, place: str, path: str) -> str:
    if place != HELD:
        return place
    # What was held could not be tried: it gets all of its time.
    _renew(moves, queue_id, lambda state: replace(state, first_attempt_at=0.0, next_attempt_at=0.0, blamed=""))
    moves.to_queue(path, queue_id)
    return QUEUE


def _retry(moves: Moves, queue_id: str, place: str, path: str) -> str:
    if place == DEFERRED:
        _renew(moves, queue_id, lambda state: replace(state, next_attempt_at=0.0))
    elif place == FAILED:
        _renew(moves, queue_id, _begun_anew)
    else:
        return place
    moves.to_queue(path, queue_id)
    return QUEUE


def _remove(moves: Moves, queue_id: str, place: str, path: str) -> str:
    del place
    moves.remove(path)
    moves.forget_state(queue_id)
    return ""


def _begun_anew(state: MessageState) -> MessageState:
    recipients = tuple(
        RecipientState(recipient.recipient) if recipient.result == "failed" else recipient
        for recipient in state.recipients
    )
    return replace(
        state, recipients=recipients, attempts=0, first_attempt_at=0.0, next_attempt_at=0.0, reason="", blamed=""
    )


def _renew(moves: Moves, queue_id: str, change: Callable[[MessageState], MessageState]) -> None:
    """Change a message's state; a higher revision tells ``recover`` that the journal's record is an older one."""
    state = read_state(moves.directory, queue_id)
    if state is not None:
        moves.write_state(queue_id, replace(change(state), revision=state.revision + 1))


def _each(directory: str, queue_ids: Iterable[str], change: Callable[[Moves, str, str, str], str]) -> Iterator[Change]:
    try:
        check_root(directory)
    except FileNotFoundError:
        yield from (Change(queue_id, trouble=UNKNOWN) for queue_id in queue_ids)
        return
    check_host(directory)
    moves = Moves(directory)
    told: list[Change] = []
    for queue_id in queue_ids:
        told.append(_one(moves, queue_id, change))
        if len(told) >= _TOGETHER:
            moves.make_durable()
            yield from told
            told.clear()
    moves.make_durable()
    yield from told


def _one(moves: Moves, queue_id: str, change: Callable[[Moves, str, str, str], str]) -> Change:
    if not is_queue_id(queue_id):
        return Change(queue_id, trouble="is not a queue id")
    while True:
        try:
            locked = lock_message(moves.directory, queue_id, wait=False)
        except BusyError:
            return Change(queue_id, trouble=BUSY)
        except DistrustError as error:
            return Change(queue_id, trouble=f"cannot be trusted: {error}")
        if locked is None:
            return Change(queue_id, trouble=UNKNOWN)
        place, path, fd = locked
        try:
            after = change(moves, queue_id, place, path)
        except FileNotFoundError:
            continue  # a flush brought it back into the queue at this moment: look again
        finally:
            os.close(fd)
        return Change(queue_id, before=_state_of(place), after=_state_of(after))


def _state_of(place: str) -> str:
    return next((state for state, its_place in STATES.items() if its_place == place), "")
