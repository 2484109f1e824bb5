"""Room on the disk that is given up when there is no other: what is queued can still be sent then.

A message leaves only when there is room for the record of what becomes of it. On a full disk that is the room which
this file has held, and each message that is relayed and removed makes more.
"""

from __future__ import annotations

import os

from ucrmmail.files import Naming

RESERVE = "reserve"
# The records of two messages to a thousand recipients each, whatever the server says to them, are smaller.
_RESERVED_BYTES = 1 << 18
_BLOCK_BYTES = 512


class Reserve:
    """The file ``reserve`` of a spool."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/{RESERVE}"

    def give_up(self) -> bool:
        """Free what is held; return whether it was anything. Raises OSError."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            with Naming(self._path):
                held = os.fstat(fd).st_blocks > 0
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)
        return held

    def hold(self) -> None:
        """Hold the room again, where the disk has it; a disk that has none has no more for us later either."""
        try:
            if os.stat(self._path).st_blocks * _BLOCK_BYTES >= _RESERVED_BYTES:
                return
        except OSError:
            pass  # it is not there yet
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(fd, 0, _RESERVED_BYTES)
        except OSError:
            # A part of it would be in the way of whoever needs the last blocks.
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)
