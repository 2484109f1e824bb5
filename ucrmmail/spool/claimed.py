"""A message that is worked on: locked by the kernel, checked, open until what became of it is carried out.

The lock is on the queue file itself, so that ``queue hold`` or ``remove`` never touch a message that is on the wire,
and it ends with the process.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.files import DistrustError, Naming, name_error, open_distrusted, try_lock
from ucrmmail.spool.layout import STATE, accepted_at, priority_of
from ucrmmail.spool.moves import find, read_state
from ucrmmail.spool.queuefile import DamagedError, pieces, read_checked
from ucrmmail.spool.state import fitted
from ucrmmail.spool.unread import Unread, is_of_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.spool.aside import Aside
    from ucrmmail.spool.queuefile import QueueFile
    from ucrmmail.spool.state import MessageState


class BusyError(Exception):
    """Another process works on this message at this moment."""


@dataclass(slots=True)
class Claimed:
    """A message for this process alone, until it is settled or released.

    Not frozen: it owns the open, locked descriptor. The content of a large message stays on the disk.
    """

    queue_id: str
    path: str
    state: MessageState
    _file: QueueFile
    _content: bytes
    _fd: int

    @property
    def reverse_path(self) -> str:
        """Where bounces go; "" is the null reverse-path."""
        return self._file.reverse_path

    @property
    def recipients(self) -> tuple[str, ...]:
        """All recipients of the message."""
        return self._file.recipients

    @property
    def pending(self) -> tuple[str, ...]:
        """The recipients that are still to be tried."""
        return self.state.pending

    @property
    def size_bytes(self) -> int:
        """The size of the message as it goes on the wire, without dot-stuffing."""
        return self._file.size_bytes

    @property
    def eight_bit(self) -> bool:
        """Whether the message needs 8BITMIME (RFC 6152)."""
        return self._file.eight_bit

    @property
    def utf8(self) -> bool:
        """Whether the message needs SMTPUTF8 (RFC 6531)."""
        return self._file.utf8

    @property
    def priority(self) -> str:
        """One of urgent, normal, bulk."""
        return priority_of(self.queue_id)

    @property
    def accepted_at(self) -> float:
        """When the message was accepted, in seconds since the epoch."""
        return accepted_at(self.queue_id)

    @property
    def has_name(self) -> bool:
        """Whether the file is in a directory yet: in another one, where somebody has moved it, or the whole spool."""
        with Naming(self.path):
            return os.fstat(self._fd).st_nlink > 0

    def chunks(self) -> Iterator[bytes]:
        """Yield the message in pieces, from its beginning, as often as asked. Raises OSError."""
        if self._content:
            return iter((self._content[self._file.offset :],))
        return self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        """Yield the message from its file: it was checked, which takes a while, and a part of it is no message."""
        size_bytes = 0
        for part in pieces(self._fd, self._file.offset):
            size_bytes += len(part)
            yield part
        if size_bytes != self.size_bytes:
            raise OSError(errno.EIO, "the file is not as long any more as it was", self.path)

    def close(self) -> None:
        """Let go of the message: the lock ends with the last descriptor."""
        if self._fd >= 0:
            with Naming(self.path):
                os.close(self.detach())

    def detach(self) -> int:
        """Return the descriptor, which somebody else closes."""
        fd, self._fd = self._fd, -1
        return fd


def claim_file(directory: str, path: str, queue_id: str) -> Claimed | None:
    """Return the message at ``path``, locked and its content checked; None when it is not there any more.

    Raises BusyError, DamagedError, DistrustError (a link, a FIFO, somebody else's file), OSError.
    """
    try:
        fd, found = open_distrusted(path, owner=os.geteuid())
    except FileNotFoundError:
        return None
    claimed = None
    try:
        if not try_lock(fd):
            raise BusyError(queue_id)
        if _is_still_at(found, path):
            file, content = read_checked(fd, found.st_size)
            state = fitted(read_state(directory, queue_id), file.recipients)
            claimed = Claimed(queue_id, path, state, file, content, fd)
    except OSError as error:
        name_error(error, path)
        raise
    finally:
        if claimed is None:
            with Naming(path):
                os.close(fd)
    return claimed


def claim_at(directory: str, path: str, queue_id: str, aside: Aside) -> Claimed | None:
    """Do as ``claim_file``; also None when it is taken by another, or cannot be had, which ``aside`` sees to.

    What is damaged, or is no regular file of ours, is set aside. Raises OSError when no file can be opened at all.
    """
    try:
        return claim_file(directory, path, queue_id)
    except BusyError:
        return None
    except (DamagedError, DistrustError) as error:
        aside.set_aside(path, queue_id, str(error))
    except OSError as error:
        if is_of_all(error):
            raise
        aside.tell(_unread(directory, error, queue_id, path).line)
    return None


def _unread(directory: str, error: OSError, queue_id: str, path: str) -> Unread:
    """Return what is told of a message that cannot be had: one line for all where their states are shut away."""
    states = f"{directory}/{STATE}"
    if error.filename == f"{states}/{queue_id}" and not os.access(states, os.X_OK, effective_ids=True):
        return Unread.directory(error, states)
    return Unread.because_of(error, queue_id, path)


def lock_message(
    directory: str, queue_id: str, *, wait: bool, seen_at: tuple[str, str] | None = None
) -> tuple[str, str, int] | None:
    """Return place, path and locked descriptor of a message wherever it is; None when it is nowhere.

    ``seen_at``: where it was found already; it may have been moved since.

    Raises BusyError (unless ``wait``), DistrustError, OSError.
    """
    while (found := seen_at or find(directory, queue_id)) is not None:
        place, path = found
        seen_at = None
        try:
            fd, found_there = open_distrusted(path, owner=os.geteuid())
        except FileNotFoundError:
            continue
        locked = False
        try:
            if not try_lock(fd, wait=wait):
                raise BusyError(queue_id)
            locked = _is_still_at(found_there, path)
        except OSError as error:
            name_error(error, path)
            raise
        finally:
            if not locked:
                with Naming(path):
                    os.close(fd)
        if locked:
            return place, path, fd
    return None


def _is_still_at(found: os.stat_result, path: str) -> bool:
    """Return whether the file was not moved between open and lock: only while the name is its own, the lock counts."""
    try:
        return os.path.samestat(found, os.lstat(path))
    except FileNotFoundError:
        return False
