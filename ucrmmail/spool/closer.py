"""Closing removed messages in the background: the last close frees the file, and ext4 waits for its disk in that.

It was a tenth of a millisecond a message, a fifth of what a message costs in all. They are handed over many together:
two threads that take turns for each file cost as much again.
"""

from __future__ import annotations

import os
import queue
import threading
from itertools import groupby

# So many batches wait at the most, whatever the disk does: with what is settled they stay below 1,024 descriptors.
_MOST_WAITING = 2


class Closer:
    """Closes descriptors on a thread of its own, which begins with the first ones and ends with ``finish``."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[list[int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def close(self, fds: list[int]) -> None:
        """Close them soon; at once when too much waits, or no thread can be started."""
        if self._waiting.qsize() >= _MOST_WAITING:
            _close_all(fds)
            return
        if self._thread is None:
            thread = threading.Thread(target=self._work, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # As many processes and threads as there may be (ulimit -u): it only takes longer.
                _close_all(fds)
                return
            self._thread = thread
        self._waiting.put(fds)

    def finish(self) -> None:
        """Return when all are closed."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (fds := self._waiting.get()) is not None:
            _close_all(fds)


def _close_all(fds: list[int]) -> None:
    """Close the descriptors, each run of neighbours in one system call."""
    for _, run in groupby(enumerate(sorted(fds)), lambda numbered: numbered[1] - numbered[0]):
        neighbours = [fd for _, fd in run]
        os.closerange(neighbours[0], neighbours[-1] + 1)
