"""Who reads what is said while mail is sent: a pager, a terminal, a pipe. He may be slow, or stand still.

A pager that is left standing, a terminal that was stopped with Ctrl-S, or a line that hangs must not keep the run,
which has the lock of the queue. What he does not take at once is kept until the run is over; beyond a bound it is left
out, and counted.
"""

from __future__ import annotations

import os
import select
import stat

_MOST_BYTES = 1 << 20


class SlowReader:
    """The reader behind a descriptor, for whom nobody waits. ``error`` is what kept him from being told any more."""

    def __init__(self, fd: int, *, most_bytes: int = _MOST_BYTES) -> None:
        """With ``most_bytes`` 0 a piece that he has begun to take is kept, and no other."""
        self.most_bytes = most_bytes
        self.left_out = 0
        self.error: OSError | None = None
        self._own_fd = _reopened(fd)
        self._fd = fd if self._own_fd < 0 else self._own_fd
        self._waiting = bytearray()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)

    def say(self, piece: bytes) -> None:
        """Write this, keep it, or leave it out."""
        self._push()
        if self.error is not None:
            return
        if self._waiting and len(self._waiting) + len(piece) > self.most_bytes:
            self.left_out += 1
            return
        self._waiting += piece
        self._push()

    def _push(self) -> None:
        try:
            # A pipe that takes anything takes so much without a wait.
            while self._waiting and self._poll.poll(0):
                del self._waiting[: os.write(self._fd, self._waiting[: select.PIPE_BUF])]
        except BlockingIOError:
            return
        except OSError as error:
            self.error = error
            self._waiting.clear()

    def leave(self) -> bytes:
        """Return what he has not taken so far, for one who can wait."""
        if self._own_fd >= 0:
            os.close(self._own_fd)
        return bytes(self._waiting)


def _reopened(fd: int) -> int:
    """Return a descriptor of the same pipe or terminal on which no write waits; -1 when there can be none.

    A terminal that is nearly full takes a byte, and waits with the rest. To say of ``fd`` itself that it does not wait
    would say so for all who share it, the shell among them.
    """
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return -1  # its position is that of ``fd``, and it is never waited for
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return -1  # a socket, or a terminal of the user that we were before su(1)
