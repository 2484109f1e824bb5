"""The steps between the states of a message: each is one rename, and is made durable later, many together.

Until ``make_durable`` a power cut may take a step back. So the journal is forgotten only after it.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ucrmmail.files import DistrustError, Naming, fsync_directory, is_there, open_untrusted, read_all, write_all
from ucrmmail.spool.accept import ATTEMPTS, make_bucket
from ucrmmail.spool.layout import (
    CORRUPT,
    DEFERRED,
    FAILED,
    HELD,
    QUEUE,
    REJECTED,
    SENT,
    STATE,
    TMP,
    hour_of,
    minute_of,
    path_in_queue,
)
from ucrmmail.spool.state import decode_state, encode_state
from ucrmmail.spool.unread import is_of_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from contextlib import AbstractContextManager

    from ucrmmail.spool.state import MessageState

# So few are asked for by name in each minute of deferred/, which may hold a million others; else its names are read.
_FEW = 20
_LARGEST_STATE_BYTES = 1 << 28
_STATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_NAME_BYTES = 180


def aside_line(place: str, name: str, reason: str) -> str:
    """Return what a person is told of what was set aside in corrupt/ or rejected/ under this name."""
    if place == REJECTED:
        return f"drop/{name} was rejected: {reason}"
    return f"a queue file was set aside as corrupt/{name}: {reason}"


class Moves:
    """Moves messages, and remembers what is not durable yet. ``keep_sent_s`` keeps relayed ones in sent/.

    ``telling(line)`` is entered before something is set aside: who is killed behind that has told it. It is left with
    the error of a move that failed.
    """

    def __init__(
        self,
        directory: str,
        *,
        keep_sent_s: float = 0.0,
        telling: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.directory = directory
        self._telling = telling
        self.keeps_sent = keep_sent_s > 0
        self._parents = {f"{directory}/{place}" for place in (QUEUE, DEFERRED, SENT)}
        self._directories: set[str] = set()
        # By queue id, the revision that was written.
        self._states: dict[str, int] = {}

    def put(self, source: str, queue_id: str, state: MessageState) -> None:
        """Put a message that was not relayed to all where its state says. Raises OSError; then it can be repeated."""
        # Repeated for hundreds of messages that cannot be moved, many times a second, it is there already.
        if self._states.get(queue_id) != state.revision:
            self.write_state(queue_id, state)
        if not state.pending:
            self.to_failed(source, queue_id)
        elif state.next_attempt_at > 0:
            self.to_deferred(source, queue_id, state.next_attempt_at)
        else:
            self.to_queue(source, queue_id)

    def relayed(self, source: str, queue_id: str, *, now: float, had_state: bool) -> None:
        """Remove a message that nobody waits for any more, or keep it in sent/."""
        if self.keeps_sent:
            self._rename_into(f"{self.directory}/{SENT}/{hour_of(now)}", source, queue_id)
        else:
            self.remove(source)
        if had_state:
            self.forget_state(queue_id)

    def remove(self, source: str) -> None:
        """Remove a file for good."""
        os.unlink(source)
        self._directories.add(os.path.dirname(source))

    def to_queue(self, source: str, queue_id: str) -> None:
        """Let a message wait for its turn."""
        self._rename_into(os.path.dirname(path_in_queue(self.directory, queue_id)), source, queue_id)

    def to_deferred(self, source: str, queue_id: str, at: float) -> None:
        """Let a message wait for its time. It is the file's time stamp too: `ls -l` shows when each comes back."""
        os.utime(source, (at, at))
        self._rename_into(f"{self.directory}/{DEFERRED}/{minute_of(at)}", source, queue_id)

    def to_held(self, source: str, queue_id: str) -> None:
        """Keep a message until a person releases it."""
        self._rename(source, f"{self.directory}/{HELD}/{queue_id}")

    def to_failed(self, source: str, queue_id: str) -> None:
        """Keep a message that failed for good until a person removes or retries it."""
        self._rename(source, f"{self.directory}/{FAILED}/{queue_id}")

    def to_tmp(self, source: str, queue_id: str) -> None:
        """Take a message out of the queue that is about to be removed, as one that was not accepted yet."""
        self._rename(source, f"{self.directory}/{TMP}/{queue_id}")

    def to_corrupt(self, source: str, name: str, reason: str) -> str:
        """Set aside what cannot be believed, whatever it is, with the reason beside it; return its new name.

        A rename opens nothing and follows no link.
        """
        return self.set_aside(source, CORRUPT, name, reason)

    def set_aside(self, source: str, place: str, name: str, reason: str) -> str:
        """Move anything to ``place`` under a name that is free there, with ``NAME.reason`` beside it."""
        kept = free_name(f"{self.directory}/{place}", name)
        with self._telling(aside_line(place, kept, reason)):
            self._rename(source, f"{self.directory}/{place}/{kept}")
        try:
            fd = os.open(f"{self.directory}/{place}/{kept}.reason", _STATE_FLAGS, 0o600)
            try:
                write_all(fd, f"{reason}\n".encode("utf-8", "backslashreplace"))
            finally:
                os.close(fd)
        except OSError:
            # A full disk keeps us from explaining, not from getting it out of the way.
            return kept
        return kept

    def write_state(self, queue_id: str, state: MessageState, *, synced: bool = False) -> None:
        """Replace the state beside a message in one step. Raises OSError.

        ``synced``: no record says the same, so that the new one must be on the disk before the old one goes.
        """
        temporary = f"{self.directory}/{TMP}/{queue_id}.state"
        fd = os.open(temporary, _STATE_FLAGS, 0o600)
        with Naming(temporary):
            try:
                write_all(fd, encode_state(state) + b"\n")
                if synced:
                    os.fsync(fd)
            finally:
                os.close(fd)
        os.rename(temporary, f"{self.directory}/{STATE}/{queue_id}")
        self._states[queue_id] = state.revision

    def forget_state(self, queue_id: str) -> None:
        """Remove the state of a message that is gone; it may have had none."""
        self._states.pop(queue_id, None)
        try:
            self.remove(f"{self.directory}/{STATE}/{queue_id}")
        except FileNotFoundError:
            return

    def _rename_into(self, directory: str, source: str, name: str) -> None:
        """Rename into a directory that may have to be made first, or was just removed because it was empty."""
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                self._rename(source, f"{directory}/{name}")
            except FileNotFoundError:
                if not attempts_left or not os.path.lexists(source):
                    raise
                make_bucket(directory)
                self._directories.add(os.path.dirname(directory))
            else:
                return

    def _rename(self, source: str, target: str) -> None:
        os.rename(source, target)
        self._directories.add(os.path.dirname(source))
        self._directories.add(os.path.dirname(target))

    def left(self, directory: str) -> None:
        """Take in that something was moved out of this directory: it must not come back either."""
        self._directories.add(directory)

    def make_durable(self) -> None:
        """Bring all steps so far to the disk, then remove the directories that are empty now. Raises OSError."""
        for queue_id in self._states:
            _fsync_file(f"{self.directory}/{STATE}/{queue_id}")
        if self._states:
            fsync_directory(f"{self.directory}/{STATE}")
        for path in self._directories:
            try:
                fsync_directory(path)
            except FileNotFoundError:
                continue
        parents = {path for path in map(self._remove_empty, self._directories) if path}
        for path in parents:
            fsync_directory(path)
        self._states.clear()
        self._directories.clear()

    def remove_empty(self) -> None:
        """Remove the empty directories that crashes have left: an empty queue/ tells cron that nothing is to do."""
        for parent in self._parents:
            try:
                names = os.listdir(parent)
            except PermissionError:
                continue  # a person was told
            for name in names:
                if remove_if_empty(f"{parent}/{name}"):
                    self._directories.add(parent)

    def _remove_empty(self, path: str) -> str:
        """Remove a bucket, or a minute, that is empty; return its parent, "" when it stays."""
        parent = os.path.dirname(path)
        return parent if parent in self._parents and remove_if_empty(path) else ""


def remove_if_empty(path: str) -> bool:
    """Remove a directory unless something is in it; return whether it was removed."""
    try:
        os.rmdir(path)
    except OSError as error:
        # Something is in it, another was quicker, or it is no directory.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
            raise
        return False
    return True


def free_name(directory: str, name: str) -> str:
    """Return ``name``, or one like it that nothing in ``directory`` has, short enough for ``.reason`` to follow.

    Of a thousand with this name not all are asked for: the first free number is searched for by halves.
    """
    stem = name
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        stem = os.fsdecode(os.fsencode(name)[:_LONGEST_NAME_BYTES])

    def numbered(number: int) -> str:
        return stem if number == 1 else f"{stem}.{number}"

    def is_free(number: int) -> bool:
        path = f"{directory}/{numbered(number)}"
        return not os.path.lexists(path) and not os.path.lexists(f"{path}.reason")

    taken, free = 0, 1
    while not is_free(free):
        taken, free = free, 2 * free
    while free - taken > 1:
        between = (taken + free) // 2
        if is_free(between):
            free = between
        else:
            taken = between
    return numbered(free)


def _fsync_file(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with Naming(path):
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read_state(directory: str, queue_id: str) -> MessageState | None:
    """Return the state that is kept beside a message; None when there is none, or it cannot be believed.

    Raises OSError when nobody can say.
    """
    path = f"{directory}/{STATE}/{queue_id}"
    # Most messages are relayed at the first attempt, and to open it costs more than this question.
    if not is_there(path):
        return None
    try:
        # A second name, as a backup by `cp -al` gives it, takes nothing from what we wrote: who has it has it.
        fd = open_untrusted(path, owner=os.geteuid(), most_links=sys.maxsize)
        with Naming(path):
            try:
                return decode_state(read_all(fd, _LARGEST_STATE_BYTES))
            finally:
                os.close(fd)
    except (FileNotFoundError, DistrustError):
        return None


def find(directory: str, queue_id: str) -> tuple[str, str] | None:
    """Return the place (queue, held, failed, deferred) and path of a message; None when it is in none of them."""
    return find_all(directory, (queue_id,)).get(queue_id)


def find_all(
    directory: str, queue_ids: Iterable[str], unknown: dict[str, OSError] | None = None
) -> dict[str, tuple[str, str]]:
    """Return what ``find`` says of each message, without those that are nowhere; deferred/ is gone through once.

    Where a message should stand and nobody can say whether it does, ``unknown`` gets why; else it counts as nowhere.
    """
    found = {}
    missing = set()
    unknown = {} if unknown is None else unknown
    for queue_id in queue_ids:
        there = _find_named(directory, queue_id, unknown)
        if there is not None:
            found[queue_id] = there
        else:
            missing.add(queue_id)
    for due in os.listdir(f"{directory}/{DEFERRED}") if missing else ():
        minute = f"{directory}/{DEFERRED}/{due}"
        here = _names_in(minute, missing)
        found.update({queue_id: (DEFERRED, f"{minute}/{queue_id}") for queue_id in here})
        missing -= here
        if not missing:
            break
    # While we looked, it may have come back from where we had not looked yet to where we had.
    for queue_id in missing:
        there = _find_named(directory, queue_id, unknown)
        if there is not None:
            found[queue_id] = there
    for queue_id in found.keys() & unknown.keys():
        del unknown[queue_id]
    return found


def _find_named(directory: str, queue_id: str, unknown: dict[str, OSError]) -> tuple[str, str] | None:
    """Return place and path of a message that is in a place which its name alone tells; ``unknown`` as in `find_all`.

    Raises OSError when nobody can say of any.
    """
    for place, path in (
        (QUEUE, path_in_queue(directory, queue_id)),
        (HELD, f"{directory}/{HELD}/{queue_id}"),
        (FAILED, f"{directory}/{FAILED}/{queue_id}"),
    ):
        try:
            if is_there(path):
                return place, path
        except OSError as error:
            if is_of_all(error):
                raise
            unknown[queue_id] = error
    return None


def _names_in(path: str, wanted: Collection[str]) -> set[str]:
    """Return which of the wanted names are in a directory; in one that cannot be looked into, none. Raises OSError."""
    if len(wanted) <= _FEW:
        return {name for name in wanted if os.path.lexists(f"{path}/{name}")}
    try:
        with os.scandir(path) as entries:
            return {entry.name for entry in entries if entry.name in wanted}
    except OSError as error:
        # It is gone, or cannot be looked into: what is in it no run can send, and who lists the queue tells of it.
        if is_of_all(error):
            raise
        return set()
