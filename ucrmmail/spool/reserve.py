"""Room on the disk that is given up when there is no other: what is queued can still be sent then.

A message leaves only when there is room for the record of what becomes of it. On a full disk that is the room which
this file has held, and each message that is relayed and removed makes more. On one without room for another file,
which what was deferred may need to come back, it is the file itself.
"""

from __future__ import annotations

import os
import stat

from ucrmmail.files import Naming
from ucrmmail.journal import FULL

RESERVE = "reserve"
# Room for the records of two messages with some seventy recipients each, whatever the server says to them.
_RESERVED_BYTES = 1 << 20
# Still enough for what becomes of a message to a few.
_LEAST_BYTES = 1 << 17
_BLOCK_BYTES = 512
_FLAGS = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Reserve:
    """The file ``reserve`` of a spool."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/{RESERVE}"

    def give_up(self) -> None:
        """Free what is held, and the file too: a disk may have no room for another one. Raises OSError."""
        try:
            fd = os.open(self._path, _FLAGS)
        except FileNotFoundError:
            return
        try:
            # Shortened first: of what is removed, XFS says only a while later that it is free.
            with Naming(self._path):
                os.ftruncate(fd, 0)
        except OSError as error:
            # Btrfs at the limit of a quota shortens no file, but removes one.
            if error.errno not in FULL:
                raise
        finally:
            os.close(fd)
        self._remove()

    def _remove(self) -> None:
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass  # another one, who makes the spool at this moment, was quicker

    def hold_first(self) -> None:
        """Hold the room in a spool that is made. Raises OSError when the disk has none: then nothing is left of it."""
        fd = os.open(self._path, _FLAGS | os.O_CREAT, 0o600)
        try:
            with Naming(self._path):
                os.fchmod(fd, 0o600)
                _fill(fd)
        except OSError as error:
            # What is no question of room, such as a limit of the process, keeps nobody from submitting.
            if error.errno in FULL:
                self._remove()
                raise
        finally:
            os.close(fd)

    def hold(self) -> None:
        """Hold the room again; on a disk that has less, what there is of it: it may be gone at the next look."""
        held_bytes = 0
        try:
            found = os.lstat(self._path)
            held_bytes = min(found.st_blocks * _BLOCK_BYTES, found.st_size)
            if not stat.S_ISREG(found.st_mode) or held_bytes >= _RESERVED_BYTES:
                return
        except OSError:
            pass  # it is not there yet
        try:
            fd = os.open(self._path, _FLAGS | os.O_CREAT, 0o600)
        except OSError:
            return
        try:
            _hold_more(fd, held_bytes)
        except OSError:
            pass  # the next run looks at it again
        finally:
            os.close(fd)


def _hold_more(fd: int, held_bytes: int) -> None:
    """Hold the room, or half of it, or half of that, as long as this is more than is held. Raises OSError."""
    size_bytes = _RESERVED_BYTES
    while size_bytes > max(held_bytes, _LEAST_BYTES - 1):
        try:
            _fill(fd, size_bytes, held_bytes)
        except OSError as error:
            if error.errno not in FULL:
                raise
            size_bytes //= 2
        else:
            return


def _fill(fd: int, size_bytes: int = _RESERVED_BYTES, held_bytes: int = 0) -> None:
    try:
        os.posix_fallocate(fd, 0, size_bytes)
    except OSError:
        # A part of it would be in the way of whoever needs the last blocks.
        os.ftruncate(fd, held_bytes)
        raise
