"""How a run is asked to end: a signal makes a descriptor readable, and whatever waits watches it.

A signal handler that raised could tear a record in two. This one only writes a byte to a pipe: the wire, which waits
for the server, and the run, which waits for a limit to open, both see it within a moment and end in good order.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)
# What a pipe holds.
_MOST_WRITTEN = 1 << 16


class Stop:
    """A request to end the run; ``fileno()`` is readable once it was made."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.signal_number = 0

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._read_fd

    @property
    def requested(self) -> bool:
        """Whether the run should end."""
        return self.signal_number != 0

    def request(self, signal_number: int, _frame: FrameType | None = None) -> None:
        """Ask the run to end; safe in a signal handler."""
        self.signal_number = signal_number
        os.write(self._write_fd, b"\0")

    def wake(self) -> None:
        """End every wait, and each that begins before `rest`, though nobody has asked the run to end."""
        os.write(self._write_fd, b"\0")

    def rest(self) -> None:
        """Let waits last again, unless the run was asked to end."""
        with suppress(BlockingIOError):
            os.read(self._read_fd, _MOST_WRITTEN)
        if self.requested:
            os.write(self._write_fd, b"\0")

    def renew(self) -> None:
        """Let this process have a pipe of its own, after a fork."""
        self.close()
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.requested:
            os.write(self._write_fd, b"\0")

    def close(self) -> None:
        """Let go of the pipe: nothing may watch it any more."""
        os.close(self._read_fd)
        os.close(self._write_fd)

    def on_signals(self) -> None:
        """Let SIGTERM, SIGINT and SIGHUP end the run in good order, and SIGXCPU: it may use no more of the processor.

        One that is ignored stays so: nohup(1) has a run outlive its terminal, and a shell keeps Ctrl-C from a job in
        the background.
        """
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.request)

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the run is asked to end."""
        if seconds > 0:
            # Not select(2), which knows no descriptor from 1,024 on.
            poll = select.poll()
            poll.register(self._read_fd, select.POLLIN)
            poll.poll(seconds * 1000)


def end_at_once() -> None:
    """Let those signals end the process again where it stands: the run is over, and only a reader is waited for."""
    for number in _SIGNALS:
        if getattr(signal.getsignal(number), "__func__", None) is Stop.request:
            signal.signal(number, signal.SIG_DFL)
