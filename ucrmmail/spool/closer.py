"""Closing removed messages in the background: the last close frees the file, and ext4 waits for its disk in that.

It was a tenth of a millisecond a message, a fifth of what a message costs in all. They are handed over many together:
two threads that take turns for each file cost as much again. Beside others that sync to that disk it is two
milliseconds, and several wait together there: so there is a further thread each time that the others are not through.
"""

from __future__ import annotations

import os
import queue
import resource
import threading
from contextlib import suppress
from itertools import groupby

# So many batches wait at the most, whatever the disk does: with what is settled they stay below 1,024 descriptors.
_MOST_WAITING = 2
_THREADS = 4
# Files are kept open until they are closed together: no more than this.
MOST_TOGETHER = 200
# What a run has open besides, and how many times as many there are until all are closed: with the usual limit of 1,024
# descriptors it is as many as there may be.
_OTHERS_OPEN = 24
_TIMES_OPEN = 5


def most_together() -> int:
    """Return how many files may be open to be closed together, with as many descriptors as a process may have."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return MOST_TOGETHER
    return max(1, min(MOST_TOGETHER, (allowed - _OTHERS_OPEN) // _TIMES_OPEN))


class Closer:
    """Closes descriptors on threads of its own, which begin as they are needed and end with ``finish``."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[list[int] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._gathered: list[int] = []
        self._most = most_together()

    def gather(self, fd: int) -> None:
        """Close it soon, with others that come."""
        self._gathered.append(fd)
        if len(self._gathered) >= self._most:
            self._close_gathered()

    def _close_gathered(self) -> None:
        if self._gathered:
            self.close(self._gathered)
            self._gathered = []

    def close(self, fds: list[int]) -> None:
        """Close them soon; at once when too much waits, or no thread can be started."""
        waiting = self._waiting.qsize()
        if waiting >= _MOST_WAITING * _THREADS or not self._has_threads(1 + len(self._threads) * bool(waiting)):
            _close_all(fds)
            return
        fds = sorted(fds)
        most = -(-len(fds) // _THREADS)
        for first in range(0, len(fds), most):
            self._waiting.put(fds[first : first + most])

    def _has_threads(self, wanted: int) -> bool:
        """Return whether there are threads to close them, as many as are wanted or some."""
        # As many processes and threads as there may be (ulimit -u): it only takes longer.
        with suppress(RuntimeError):
            while len(self._threads) < min(wanted, _THREADS):
                thread = threading.Thread(target=self._work, daemon=True)
                thread.start()
                self._threads.append(thread)
        return bool(self._threads)

    def finish(self) -> None:
        """Return when all are closed."""
        self._close_gathered()
        for _ in self._threads:
            self._waiting.put(None)
        while self._threads:
            self._threads.pop().join()

    def _work(self) -> None:
        while (fds := self._waiting.get()) is not None:
            _close_all(fds)


def _close_all(fds: list[int]) -> None:
    """Close the descriptors, each run of neighbours in one system call."""
    for _, run in groupby(enumerate(sorted(fds)), lambda numbered: numbered[1] - numbered[0]):
        neighbours = [fd for _, fd in run]
        os.closerange(neighbours[0], neighbours[-1] + 1)
