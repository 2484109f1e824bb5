"""Closing removed messages in the background: the last close frees the file, and ext4 waits for its disk in that.

It was a tenth of a millisecond a message, a fifth of what a message costs in all.
"""

from __future__ import annotations

import os
import queue
import threading

# So many descriptors wait at the most, whatever the disk does.
_MOST_WAITING = 500


class Closer:
    """Closes descriptors on a thread of its own, which begins with the first one and ends with ``finish``."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def close(self, fd: int) -> None:
        """Close it soon; at once when too many wait."""
        if self._waiting.qsize() >= _MOST_WAITING:
            os.close(fd)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._waiting.put(fd)

    def finish(self) -> None:
        """Return when all are closed."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (fd := self._waiting.get()) is not None:
            os.close(fd)
