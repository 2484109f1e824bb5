"""Scratch files: where a large message is while it is taken in, and only then.

They are in the directory that the message will be in before it is renamed, so on the disk that has to have room for it.
The name is removed at once: the file ends when it is closed, or with the process. A crash between the two leaves an
empty file that a later flush removes, like any other that was arriving.
"""

from __future__ import annotations

import os
import time
from errno import EIO
from typing import Self

from ucrmmail.files import try_lock, write_all
from ucrmmail.spool.accept import check_free_space, forget_file, open_spool, refused
from ucrmmail.spool.layout import DROP, TMP, new_queue_id

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Scratch:
    """Scratch files of a spool, closed together.

    with Scratch(directory, min_free_bytes=50_000_000) as scratch:
        file = scratch.new_file()

    Those of a message that is ``handed_over`` are in drop/: nothing else in the spool of another user is ours to use.
    """

    __slots__ = ("_directory", "_files", "_handed_over", "_min_free_bytes")

    # Of this much of a file, some copies are in memory at a time.
    window_bytes = 1 << 18

    def __init__(self, directory: str, *, min_free_bytes: int, handed_over: bool = False) -> None:
        self._directory = directory.rstrip("/")
        self._min_free_bytes = min_free_bytes
        self._handed_over = handed_over
        self._files: list[ScratchFile] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.keep(None)

    def keep(self, kept: object) -> None:
        """Close all files but this one."""
        for file in self._files:
            if file is not kept:
                file.close()
        self._files = [file for file in self._files if file is kept]

    def new_file(self) -> ScratchFile:
        """Return an empty file, closed with all others. Raises what ``open_spool`` raises, OSError apart."""
        room = f"{self._directory}/{DROP}" if self._handed_over else self._directory
        # The dot keeps it from being taken from drop/.
        path = f"{room}/{'.' if self._handed_over else TMP + '/'}{new_queue_id(time.time(), 'normal')}"
        try:
            if not self._handed_over:
                open_spool(self._directory)
            file = ScratchFile(os.open(path, _NEW, 0o600), self._directory, room, self._min_free_bytes)
            self._files.append(file)
            file.lock()
            os.unlink(path)
        except OSError as error:
            forget_file(path)
            raise refused(self._directory, error) from error
        return file


class ScratchFile:
    """A file without a name; what it cannot do is a "not accepted, try again"."""

    __slots__ = ("_directory", "_fd", "_min_free_bytes", "_room")

    def __init__(self, fd: int, directory: str, room: str, min_free_bytes: int) -> None:
        self._fd = fd
        self._directory = directory
        self._room = room
        self._min_free_bytes = min_free_bytes

    def lock(self) -> None:
        """Tell a flush that it is no leftover: on NFS a file that is open keeps a name, whatever is removed."""
        try_lock(self._fd)

    def write(self, data: bytes) -> None:
        """Write behind what it holds. Raises TemporaryError, also when the disk would be too full."""
        try:
            # A pipe does not say how much will come.
            check_free_space(self._room, len(data), self._min_free_bytes)
            write_all(self._fd, data)
        except OSError as error:
            raise refused(self._directory, error) from error

    def read(self, size_bytes: int, at: int) -> bytes:
        """Return so many bytes from a place in it. Raises TemporaryError, also when they are not there."""
        try:
            data = os.pread(self._fd, size_bytes, at)
            if len(data) < size_bytes:
                raise OSError(EIO, os.strerror(EIO))
        except OSError as error:
            raise refused(self._directory, error) from error
        return data

    def close(self) -> None:
        """Let go of it, and of its room on the disk."""
        try:
            os.close(self._fd)
        except OSError:
            pass  # nobody needs what was in it: the message is accepted by now, or refused
