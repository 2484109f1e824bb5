"""What a person does with messages in the queue: hold, release, retry, remove.

A message is locked first, so that one that is being sent at this moment is never touched. Every change is durable when
it is told.

    from       hold       release    retry                                        remove
    waiting    held       -          -                                            gone
    deferred   held       -          waiting, all that is pending is due now      gone
    held       -          waiting    -                                            gone
    failed     -          -          waiting, who failed is tried from the start  gone

What a flush that was killed has recorded and not carried out counts, as it does in lists: it is carried out first, and
what was relayed is not in the queue any more. By the revision of the state the next flush sees what came after the
record.

One that cannot be read can be removed, and nothing else; it stops no other. So it is with what cannot be trusted where
no flush looks, in held/ and failed/, or none before it is due, in deferred/; elsewhere the next flush sets it aside.

A retry of a failed message begins anew: no attempts, nothing reported. Who was relayed is not sent to again.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.errors import PermissionDeniedError
from ucrmmail.files import DistrustError, Naming, fsync_directory
from ucrmmail.journal import FULL
from ucrmmail.spool.claimed import BusyError, lock_message
from ucrmmail.spool.closer import Closer
from ucrmmail.spool.host import check_host
from ucrmmail.spool.layout import (
    DEFERRED,
    FAILED,
    HELD,
    QUEUE,
    STATE,
    TMP,
    check_root,
    is_queue_id,
    make_spool,
    path_in_queue,
)
from ucrmmail.spool.listing import STATES, WAITING, state_of_settled
from ucrmmail.spool.moves import Moves, find, find_all, read_state
from ucrmmail.spool.records import recorded
from ucrmmail.spool.state import RecipientState
from ucrmmail.spool.sweeps import taken_as
from ucrmmail.spool.unread import (
    Unread,
    UnreadError,
    is_directory,
    is_left_to_a_person,
    is_of_all,
    remedy_of_doubt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ucrmmail.spool.state import MessageState

# Changes are made durable together, this many at a time, before they are told.
_TOGETHER = 500
# So many are looked for at a time: deferred/ is gone through once for all of them. Each place that is known takes room.
_LOOKED_FOR = 50_000

# What opening a file ends with when it is for nobody to open; a lock that is refused (ENOLCK) is another thing.
_UNOPENED = (errno.EACCES, errno.EPERM, errno.EIO)

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
    """What was done with one message: its state before and after ("" when it is gone), or why nothing was done.

    ``unread``: because it cannot be read, or trusted.
    """

    queue_id: str
    before: str = ""
    after: str = ""
    trouble: str = ""
    unread: bool = False


def hold(directory: str, queue_ids: Iterable[str]) -> Iterator[Change]:
    """Keep messages from being sent until they are released.

    Raises PermissionDeniedError, ConfigError, OSError; CannotCreateError when a place of the spool is missing and none
    can be made.
    """
    return _each(directory, queue_ids, _hold)


def release(directory: str, queue_ids: Iterable[str]) -> Iterator[Change]:
    """Let held messages wait for their turn again, at once. Raises as ``hold``."""
    return _each(directory, queue_ids, _release)


def retry(directory: str, queue_ids: Iterable[str]) -> Iterator[Change]:
    """Let deferred and failed messages be tried again at once. Raises as ``hold``."""
    return _each(directory, queue_ids, _retry)


def remove(directory: str, queue_ids: Iterable[str]) -> Iterator[Change]:
    """Remove messages for good, whatever their state. Raises as ``hold``."""
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
    _remove_what_it_was_made_of(moves, queue_id)
    # It leaves in one step, and its state then: who is killed behind that leaves a file that a flush removes with it.
    try:
        moves.to_tmp(path, queue_id)
    except OSError as error:
        if error.errno not in FULL:
            raise
        # Here it goes first: without its state it would be sent to who has it. A state that is left is in nobody's way.
        moves.remove(path)
        moves.forget_state(queue_id)
        return ""
    moves.forget_state(queue_id)
    moves.remove(f"{moves.directory}/{TMP}/{queue_id}")
    return ""


def _remove_what_it_was_made_of(moves: Moves, queue_id: str) -> None:
    """Remove the file from drop/ that a flush has left which died: the next one would accept it again."""
    tmp = f"{moves.directory}/{TMP}"
    try:
        moves.remove(f"{tmp}/{taken_as(queue_id)}")
    except FileNotFoundError:
        return
    # A power cut must not bring it back alone.
    fsync_directory(tmp)


def _begun_anew(state: MessageState) -> MessageState:
    recipients = tuple(
        RecipientState(recipient.recipient) if recipient.result == "failed" else recipient
        for recipient in state.recipients
    )
    return replace(
        state, recipients=recipients, attempts=0, first_attempt_at=0.0, next_attempt_at=0.0, reason="", blamed=""
    )


def _renew(moves: Moves, queue_id: str, change: Callable[[MessageState], MessageState]) -> None:
    """Change a message's state; a higher revision tells ``recover`` that the journal's record is an older one.

    Raises UnreadError when nobody can say who has it already, OSError.
    """
    state = _kept(moves, queue_id)
    if state is not None:
        # No record may say who has it: a power cut that left a file without its content would send it to them again.
        moves.write_state(queue_id, replace(change(state), revision=state.revision + 1), synced=True)


def _kept(moves: Moves, queue_id: str) -> MessageState | None:
    """Return the state beside a message. Raises UnreadError when nobody can say who has it already, OSError."""
    try:
        return read_state(moves.directory, queue_id)
    except OSError as error:
        if is_of_all(error):
            raise
        raise UnreadError(Unread.because_of(error, queue_id, f"{moves.directory}/{STATE}/{queue_id}")) from error


def _carry_out(moves: Moves, queue_id: str, place: str, path: str, record: MessageState) -> tuple[str, str]:
    """Do what the journal says of a locked message, unless it was done; return where the message is then.

    Raises UnreadError, OSError.
    """
    kept = _kept(moves, queue_id)
    if kept is not None and (kept.revision > record.revision or (kept.revision == record.revision and place != QUEUE)):
        return place, path
    if place == HELD:
        moves.write_state(queue_id, record)
        return place, path
    moves.put(path, queue_id, record)
    return find(moves.directory, queue_id) or (place, path)


def _place_recorded(moves: Moves, queue_id: str, place: str, record: MessageState) -> str:
    """Return where a message belongs, whatever else can be read of it: to remove it nothing need be carried out."""
    if place != QUEUE:
        return place
    try:
        kept = _kept(moves, queue_id)
    except UnreadError:
        kept = None
    return STATES[state_of_settled(record, kept) or WAITING]


def _each(directory: str, queue_ids: Iterable[str], change: Callable[[Moves, str, str, str], str]) -> Iterator[Change]:
    try:
        check_root(directory)
    except FileNotFoundError:
        yield from (Change(queue_id, trouble=UNKNOWN) for queue_id in queue_ids)
        return
    check_host(directory)
    # Who removes a place that is empty has it made anew. What is no directory is told by who looks into it.
    with suppress(PermissionDeniedError):
        make_spool(directory)
    moves = Moves(directory)
    records = recorded(directory)
    closer = Closer()
    changes = (
        _one(moves, queue_id, seen_at, change, records, closer=closer)
        if unread is None
        else Change(queue_id, trouble=unread.trouble, unread=True)
        for queue_id, seen_at, unread in _found(directory, queue_ids)
    )
    more = True
    try:
        while more:
            told: list[Change] = []
            failure: OSError | None = None
            try:
                for each in islice(changes, _TOGETHER):
                    told.append(each)  # noqa: PERF402 # what was done before an error is told
            except OSError as error:
                failure = error
            moves.make_durable()
            yield from told
            if failure is not None:
                raise failure
            more = len(told) == _TOGETHER
    finally:
        closer.finish()


def _found(directory: str, queue_ids: Iterable[str]) -> Iterator[tuple[str, tuple[str, str] | None, Unread | None]]:
    """Yield each id with the place and path of its message, None when it is nowhere, or why nobody can say."""
    ids = iter(queue_ids)
    while some := list(islice(ids, _LOOKED_FOR)):
        unknown: dict[str, OSError] = {}
        places = find_all(directory, filter(is_queue_id, some), unknown)
        for queue_id in some:
            error = unknown.get(queue_id)
            unread = Unread.because_of(error, queue_id, path_in_queue(directory, queue_id)) if error else None
            yield queue_id, places.get(queue_id), unread


def _one(
    moves: Moves,
    queue_id: str,
    seen_at: tuple[str, str] | None,
    change: Callable[[Moves, str, str, str], str],
    records: Mapping[str, MessageState | None],
    *,
    closer: Closer,
) -> Change:
    if not is_queue_id(queue_id):
        return Change(queue_id, trouble="is not a queue id")
    record = records.get(queue_id)
    if seen_at is None or (record is None and queue_id in records):
        return Change(queue_id, trouble=UNKNOWN)
    path = ""
    while True:
        try:
            locked = _lock(moves, queue_id, seen_at, even_unread=change is _remove)
            if locked is None:
                return Change(queue_id, trouble=UNKNOWN)
            place, path, fd = locked
            after = place
            try:
                if record is not None and change is _remove:
                    place = _place_recorded(moves, queue_id, place, record)
                elif record is not None:
                    place, path = _carry_out(moves, queue_id, place, path, record)
                after = change(moves, queue_id, place, path)
            finally:
                if fd >= 0:
                    with Naming(path):
                        # Where it is gone, nobody waits for its lock.
                        (os.close if after else closer.gather)(fd)
        except BusyError:
            return Change(queue_id, trouble=BUSY)
        except DistrustError as error:
            return Change(queue_id, trouble=f"cannot be trusted: {error}; {_mend(moves, queue_id)}", unread=True)
        except FileNotFoundError:
            if not path or os.path.lexists(path):
                raise
            seen_at, path = None, ""  # a flush brought it back into the queue at this moment: look again
        except UnreadError as error:
            return Change(queue_id, trouble=error.unread.trouble, unread=True)
        else:
            return Change(queue_id, before=_state_of(place), after=_state_of(after))


def _lock(
    moves: Moves, queue_id: str, seen_at: tuple[str, str] | None, *, even_unread: bool
) -> tuple[str, str, int] | None:
    """Return what ``lock_message`` does; ``even_unread``: a message that cannot be opened too, with -1 for descriptor.

    Raises BusyError, DistrustError, UnreadError, OSError.
    """
    try:
        return lock_message(moves.directory, queue_id, wait=False, seen_at=seen_at)
    except DistrustError:
        if not (even_unread and _is_removable(moves, queue_id)):
            raise
    except OSError as error:
        if is_of_all(error):
            raise
        if not (even_unread and error.errno in _UNOPENED):
            raise UnreadError(Unread.because_of(error, queue_id, queue_id)) from error
    # No run can open it, to send it, either: there is no lock to ask for.
    found = find(moves.directory, queue_id)
    return (*found, -1) if found is not None else None


def _is_removable(moves: Moves, queue_id: str) -> bool:
    """Return whether what cannot be trusted is for a person to remove: its name alone goes, nothing is opened."""
    found = find(moves.directory, queue_id)
    return found is not None and is_left_to_a_person(found[0]) and not is_directory(found[1])


def _mend(moves: Moves, queue_id: str) -> str:
    """Return what becomes of what cannot be trusted: a flush finds it only where it looks for mail to send."""
    found = find(moves.directory, queue_id)
    if found is None or not is_left_to_a_person(found[0]):
        return "the next flush sets it aside"
    return remedy_of_doubt(queue_id, found[1])


def _state_of(place: str) -> str:
    return next((state for state, its_place in STATES.items() if its_place == place), "")
