"""What is in the queue, for people: read only, while a flush may be at work.

What the flush has settled and not moved yet is taken from its journal, so that a message that was relayed is not shown
as waiting. Counts need the names only; a million of them are counted in less than a second.
"""

from __future__ import annotations

import heapq
import os
from operator import itemgetter
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.files import DistrustError, Naming, open_untrusted
from ucrmmail.message.header import split_canonical, value_of
from ucrmmail.spool.layout import (
    CORRUPT,
    DEFERRED,
    FAILED,
    HELD,
    QUEUE,
    REJECTED,
    accepted_at,
    check_root,
    is_bucket,
    is_minute,
    is_queue_id,
    minute_of,
    path_in_queue,
    priority_of,
)
from ucrmmail.spool.moves import find_all, read_state
from ucrmmail.spool.order import Return
from ucrmmail.spool.queuefile import CHUNK_BYTES, DamagedError, read_unchecked
from ucrmmail.spool.records import recorded
from ucrmmail.spool.state import MessageState, fitted, untried
from ucrmmail.spool.unread import Unread, is_left_to_a_person, is_of_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

WAITING = "waiting"
STATES = {WAITING: QUEUE, "deferred": DEFERRED, "held": HELD, "failed": FAILED}
"""The states that people see, in the order of lists, and the place of each."""

_STATE_OF_PLACE = {place: state for state, place in STATES.items()}
_REASON = ".reason"
# A page: the envelope and the header of nearly every message. What is shown of one message alone may be longer.
_BEGINNING_BYTES = 4096
_WITHOUT_PRIORITY = itemgetter(slice(2, None))


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message in the queue and what became of it so far.

    ``kept`` is None for one that was never tried, as most of a long queue are. ``beginning`` is the message up to the
    end of its header at least. What only some readers want is made when it is asked for.
    """

    queue_id: str
    state: str
    path: str
    reverse_path: str
    recipients: tuple[str, ...]
    size_bytes: int
    kept: MessageState | None
    beginning: bytes

    @property
    def priority(self) -> str:
        """One of urgent, normal, bulk."""
        return priority_of(self.queue_id)

    @property
    def accepted_at(self) -> float:
        """When it was accepted, in seconds since the epoch."""
        return accepted_at(self.queue_id)

    @property
    def message_id(self) -> str:
        """The value of its Message-ID field; "" when there is none."""
        fields, _ = split_canonical(self.beginning)
        return next((value_of(field) for name, field in fields if name == "message-id"), "")

    @property
    def delivery(self) -> MessageState:
        """What became of each recipient."""
        return self.kept or untried(self.recipients)

    @property
    def uncertain(self) -> bool:
        """Whether somebody may have it although no reply said so, and may get it twice."""
        return any(recipient.uncertain for recipient in self.delivery.recipients)

    @property
    def attempts(self) -> int:
        """How often it was tried."""
        return self.kept.attempts if self.kept else 0

    @property
    def next_attempt_at(self) -> float:
        """When a deferred message comes back, in seconds since the epoch; 0.0 when nothing is scheduled."""
        return self.kept.next_attempt_at if self.kept and self.state == "deferred" else 0.0

    @property
    def reason(self) -> str:
        """Why it is still here: what the server said last; "" before the first attempt."""
        if self.kept is None:
            return ""
        if self.kept.reason:
            return self.kept.reason
        failed = [recipient.reply for recipient in self.kept.recipients if recipient.result == "failed"]
        return failed[-1] if failed else ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages are in each state.

    ``oldest_accepted_at`` is of those not failed, ``oldest_to_send_at`` of those that are not held either: in seconds
    since the epoch, 0.0 when there are none.
    """

    waiting: int = 0
    deferred: int = 0
    held: int = 0
    failed: int = 0
    corrupt: int = 0
    rejected: int = 0
    oldest_accepted_at: float = 0.0
    oldest_to_send_at: float = 0.0


def messages(
    directory: str, *, states: Collection[str] = tuple(STATES), unread: list[Unread] | None = None
) -> Iterator[QueuedMessage]:
    """Yield the messages in these states; within a state in sending order, deferred ones as they come back.

    A file that is damaged, or a link, is left out: the flush sets it aside and reports it. Where no flush looks, in
    held/ and failed/, or none before it is due, in deferred/, it is put into ``unread``. So is one that cannot be read,
    or a directory; without that it is raised. Raises PermissionDeniedError, OSError.
    """
    if not _is_there(directory):
        return
    settled = recorded(directory)
    for state, place in STATES.items():
        # What is settled may still stand in the queue, and belong elsewhere.
        if state not in states and not (state == WAITING and settled):
            continue
        for queue_id, path in _names(directory, place, unread=unread):
            message = _seen(directory, queue_id, path, state, settled, unread=unread)
            if message is not None and message.state in states:
                yield message


def due(
    directory: str, now: float, max_delay_s: float, *, unread: list[Unread] | None = None
) -> Iterator[QueuedMessage]:
    """Yield what a run that begins at ``now`` would try, in sending order: what waits, and what comes back until then.

    ``max_delay_s`` is as in ``order.Return``, ``unread`` as in ``messages``. Raises PermissionDeniedError, OSError.
    """
    if not _is_there(directory):
        return
    settled = recorded(directory)
    returns = Return(now, max_delay_s)
    back = sorted(
        (queue_id, path)
        for queue_id, path in _names(directory, DEFERRED, returns.of_minute, unread=unread)
        if returns.of_message(_parent_name(path), _time_of(path))
    )
    for queue_id, path in heapq.merge(_names(directory, QUEUE, unread=unread), back):
        message = _seen(directory, queue_id, path, WAITING, settled, unread=unread)
        if message is not None and (message.state == WAITING or _is_back(message, returns)):
            yield message


def _is_back(message: QueuedMessage, returns: Return) -> bool:
    """Return whether a message comes back that is deferred and was not moved yet."""
    at = message.next_attempt_at
    return message.state == "deferred" and returns.of_minute(minute_of(at)) and returns.of_message(minute_of(at), at)


def message(directory: str, queue_id: str, *, unread: list[Unread] | None = None) -> QueuedMessage | None:
    """Return one message, or None when it is not in the queue; ``unread`` as in ``messages``.

    Raises PermissionDeniedError, OSError.
    """
    if not _is_there(directory) or not is_queue_id(queue_id):
        return None
    unknown: dict[str, OSError] = {}
    found = find_all(directory, (queue_id,), unknown).get(queue_id)
    if found is None:
        for error in unknown.values():
            if unread is None:
                raise error
            unread.append(Unread.because_of(error, queue_id, path_in_queue(directory, queue_id)))
        return None
    place, path = found
    settled = recorded(directory)
    state = _STATE_OF_PLACE[place]
    return _seen(directory, queue_id, path, state, settled, unread=unread, beginning_bytes=CHUNK_BYTES)


def is_doubtful(directory: str, queue_id: object) -> bool:
    """Return whether a message is in the queue whose last attempt may have reached somebody although it ended badly."""
    if not isinstance(queue_id, str) or not is_queue_id(queue_id):
        return False
    found = message(directory, queue_id)
    return found is not None and found.uncertain


def queue_ids(directory: str, states: Iterable[str], *, unread: list[Unread] | None = None) -> Iterator[str]:
    """Yield the ids of all messages in these states, by their names, and by what is settled and not moved yet.

    ``unread`` is as in ``messages``. Raises PermissionDeniedError, OSError.
    """
    if not _is_there(directory):
        return
    unmoved = _unmoved(directory)
    for state in states:
        for queue_id, _ in _names(directory, STATES[state], unread=unread):
            if state != WAITING or unmoved.get(queue_id, WAITING) == WAITING:
                yield queue_id
        if state != WAITING:
            yield from (queue_id for queue_id, settled in unmoved.items() if settled == state)


def _unmoved(directory: str) -> dict[str, str]:
    """Return the state of each message that is settled and still stands in the queue; "" when it is done."""
    unmoved = {}
    for queue_id, settled in recorded(directory).items():
        if os.path.lexists(path_in_queue(directory, queue_id)):
            try:
                kept = read_state(directory, queue_id)
            except OSError as error:
                if is_of_all(error):
                    raise
                kept = None  # whoever reads the message tells a person
            unmoved[queue_id] = state_of_settled(settled, kept)
    return unmoved


def counts(directory: str) -> Counts:
    """Count the messages, by their names only. Raises PermissionDeniedError, OSError."""
    if not _is_there(directory):
        return Counts()
    oldest = _Oldest()
    waiting = 0
    for bucket in sorted(filter(is_bucket, _listed(f"{directory}/{QUEUE}")), key=lambda bucket: bucket[2:]):
        names = _listed(f"{directory}/{QUEUE}/{bucket}")
        waiting += len(names)
        if not oldest.stamp or bucket[2:] <= oldest.stamp[:13]:
            oldest.look(names)
    deferred = 0
    for minute in _listed(f"{directory}/{DEFERRED}"):
        names = _listed(f"{directory}/{DEFERRED}/{minute}")
        deferred += len(names)
        oldest.look(names)
    to_send_at = oldest.accepted_at
    held = _listed(f"{directory}/{HELD}")
    oldest.look(held)
    failed = len(_listed(f"{directory}/{FAILED}"))
    for state in _unmoved(directory).values():
        waiting -= state != WAITING
        deferred += state == "deferred"
        failed += state == "failed"
    return Counts(
        waiting=waiting,
        deferred=deferred,
        held=len(held),
        failed=failed,
        corrupt=_without_reasons(f"{directory}/{CORRUPT}"),
        rejected=_without_reasons(f"{directory}/{REJECTED}"),
        oldest_accepted_at=oldest.accepted_at,
        oldest_to_send_at=to_send_at,
    )


class _Oldest:
    """The earliest time of acceptance among the names seen so far."""

    def __init__(self) -> None:
        self.stamp = ""
        self.accepted_at = 0.0

    def look(self, names: list[str]) -> None:
        """Look at the names of one directory, which may hold a million, and others than ours."""
        first = min(names, key=_WITHOUT_PRIORITY, default="")
        if not is_queue_id(first):
            first = min(filter(is_queue_id, names), key=_WITHOUT_PRIORITY, default="")
        if first and (not self.stamp or first[2:] < self.stamp):
            self.stamp = first[2:]
            self.accepted_at = accepted_at(first)


def _is_there(directory: str) -> bool:
    try:
        check_root(directory)
    except FileNotFoundError:
        return False
    return True


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _without_reasons(path: str) -> int:
    return sum(not name.endswith(_REASON) for name in _listed(path))


def _time_of(path: str) -> float:
    """Return until when a message is deferred; 0.0 when it has just gone, or cannot be looked at."""
    try:
        return os.lstat(path).st_mtime
    except OSError as error:
        if is_of_all(error):
            raise
        return 0.0


def _parent_name(path: str) -> str:
    return os.path.basename(os.path.dirname(path))


def _names(
    directory: str,
    place: str,
    is_wanted: Callable[[str], bool] = lambda _parent: True,
    *,
    unread: list[Unread] | None,
) -> Iterator[tuple[str, str]]:
    """Yield id and path of each message in a place, in order; of buckets and minutes those that are wanted.

    What cannot be listed of the place goes to ``unread``, if there is one. Raises OSError.
    """
    top = f"{directory}/{place}"
    if place in (HELD, FAILED):
        parents = [top]
    else:
        is_name = is_bucket if place == QUEUE else is_minute
        parents = [f"{top}/{name}" for name in sorted(filter(is_name, _listed_or(unread, top))) if is_wanted(name)]
    for parent in parents:
        for name in sorted(filter(is_queue_id, _listed_or(unread, parent))):
            yield name, f"{parent}/{name}"


def _listed_or(unread: list[Unread] | None, path: str) -> list[str]:
    """Return the names in a directory; one that cannot be read goes to ``unread``, if there is one. Raises OSError."""
    try:
        return _listed(path)
    except OSError as error:
        if unread is None or is_of_all(error):
            raise
        unread.append(Unread.directory(error, path))
        return []


def _seen(
    directory: str,
    queue_id: str,
    path: str,
    state: str,
    settled: dict[str, MessageState | None],
    *,
    unread: list[Unread] | None,
    beginning_bytes: int = _BEGINNING_BYTES,
) -> QueuedMessage | None:
    """Return what ``_read`` does; what cannot be read goes to ``unread``, if there is one. Raises OSError."""
    try:
        return _read(directory, queue_id, path, state, settled, beginning_bytes=beginning_bytes)
    except (DistrustError, DamagedError) as error:
        if unread is not None and is_left_to_a_person(STATES[state]) and os.path.lexists(path):
            unread.append(Unread.doubted(error, queue_id, path))
        return None
    except OSError as error:
        if unread is None or is_of_all(error):
            raise
        unread.append(Unread.because_of(error, queue_id, path))
        return None


def _read(
    directory: str,
    queue_id: str,
    path: str,
    state: str,
    settled: dict[str, MessageState | None],
    *,
    beginning_bytes: int,
) -> QueuedMessage | None:
    """Return a message as it stands at this moment, None when it has gone.

    Raises DistrustError or DamagedError when its file cannot be believed, OSError.
    """
    try:
        fd = open_untrusted(path, owner=os.geteuid())
    except FileNotFoundError:
        return None
    with Naming(path):
        try:
            file, beginning = read_unchecked(fd, os.fstat(fd).st_size, beginning_bytes)
        finally:
            os.close(fd)
    kept = read_state(directory, queue_id)
    if kept is not None:
        kept = fitted(kept, file.recipients)
    if state == WAITING and queue_id in settled:
        record = settled[queue_id]
        state = state_of_settled(record, kept)
        if record is None or not state:
            return None
        kept = record if kept is None or record.revision >= kept.revision else kept
    return QueuedMessage(queue_id, state, path, file.reverse_path, file.recipients, file.size_bytes, kept, beginning)


def state_of_settled(record: MessageState | None, kept: MessageState | None) -> str:
    """Return the state of a message that stands in the queue and has a record in the journal; "" when it is done."""
    if record is None:
        return ""
    if kept is not None and kept.revision > record.revision:
        return WAITING  # a person has retried it since
    if not record.pending:
        return "failed"
    return "deferred" if record.next_attempt_at else WAITING
