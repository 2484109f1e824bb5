"""Accepting many messages at once: each file is synced, the directories once for all of them.

Syncing waits for the disk, so several threads do it while the caller prepares the next message. Nobody may be told of
a queue id before ``commit`` has returned it.

The next message may take its time, as one that comes through a pipe does: until ``commit`` each file stays open, and so
locked, or a flush would take it for a leftover.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from ucrmmail.spool.accept import check_free_space, enter_queue, forget, open_spool, refused, room_for, write_arriving
from ucrmmail.spool.queuefile import encode_head

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from ucrmmail.message.arrival import Stored

_SYNCING_THREADS = 2
# A reader of the queue ids sees the first ones after some tens of milliseconds.
_MOST_TOGETHER = 256


def _most_open() -> int:
    """Return how many files may be open at a time; most of what a process may have is left to others."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_TOGETHER if allowed == resource.RLIM_INFINITY else max(1, min(_MOST_TOGETHER, allowed // 4))


class Batch:
    """Messages that are accepted together, in the order of ``add``; what is not committed is forgotten at the end.

    with Batch(directory, min_free_bytes=50_000_000) as batch:
        batch.add(...)
        for queue_id in batch.commit(): ...

    One that ``is_full`` is to be committed before more is added to it.
    """

    def __init__(self, directory: str, *, min_free_bytes: int) -> None:
        self._directory = directory
        self._min_free_bytes = min_free_bytes
        self._arriving: dict[str, Future[None]] = {}
        self._open: list[int] = []
        self._most = _most_open()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget_all()
        if self._pool is not None:
            self._pool.shutdown()

    def __len__(self) -> int:
        return len(self._arriving)

    @property
    def is_full(self) -> bool:
        """Whether as many files are open as should be."""
        return len(self._arriving) >= self._most

    def add(
        self,
        queue_id: str,
        *,
        reverse_path: str,
        recipients: Sequence[str],
        message: bytes | Stored,
        eight_bit: bool,
        utf8: bool,
    ) -> None:
        """Write a message down under an id that the caller made (ids are sending order: none may be made twice).

        Raises what ``accept`` raises; the messages added before are not concerned.
        """
        head = encode_head(reverse_path, recipients, message, eight_bit=eight_bit, utf8=utf8)
        try:
            if not self._arriving:
                open_spool(self._directory)
            check_free_space(self._directory, room_for(message), self._min_free_bytes)
            fd = write_arriving(self._directory, queue_id, head, message)
        except BaseException as error:
            forget(self._directory, (queue_id,))
            if isinstance(error, OSError):
                raise refused(self._directory, error) from error
            raise
        self._open.append(fd)
        self._arriving[queue_id] = self._sync(fd)

    def _sync(self, fd: int) -> Future[None]:
        """Begin to sync a file; the threads begin with the first one, since most batches of a flush are empty."""
        from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415 # 4 ms

        if self._pool is None:
            self._pool = ThreadPoolExecutor(_SYNCING_THREADS)
        try:
            return self._pool.submit(os.fsync, fd)
        except RuntimeError:
            # As many processes and threads as there may be (ulimit -u): it only takes longer. One thread that was
            # started before syncs it as well, or finds it closed, which nobody asks for.
            synced: Future[None] = Future()
            try:
                os.fsync(fd)
            except OSError as error:
                synced.set_exception(error)
            else:
                synced.set_result(None)
            return synced

    def commit(self) -> tuple[str, ...]:
        """Accept what was added and return the queue ids, in order: all of it is durable then.

        Raises TemporaryError: then nothing of this batch was accepted.
        """
        queue_ids = tuple(self._arriving)
        try:
            for synced in self._arriving.values():
                synced.result()
            self._let_go()
            if queue_ids:
                enter_queue(self._directory, queue_ids)
        except BaseException as error:
            self._forget_all()
            if isinstance(error, OSError):
                raise refused(self._directory, error) from error
            raise
        self._arriving.clear()
        return queue_ids

    def _let_go(self) -> None:
        """Close the files, so that a flush can have them once they are in the queue. Raises OSError."""
        while self._open:
            # They look new from here on: that keeps them from a flush while they have no lock and are not moved yet.
            os.utime(self._open[-1])
            os.close(self._open.pop())

    def _forget_all(self) -> None:
        for synced in self._arriving.values():
            # Waited for: a descriptor must not be closed under it. Its failure is told by commit.
            synced.exception()
        while self._open:
            with suppress(OSError):
                os.close(self._open.pop())
        forget(self._directory, self._arriving)
        self._arriving.clear()
