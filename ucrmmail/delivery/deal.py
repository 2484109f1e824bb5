"""The line from a run to its workers: queue ids, each for whoever is free.

A socket that keeps the boundaries of what is written is read by all workers, and the kernel gives each id to one of
them. No more ids are on the line than a moment's work, and what is there can be taken back, so that urgent mail does
not wait behind them.
"""

from __future__ import annotations

import socket
import struct
import termios
from collections import deque
from contextlib import suppress
from fcntl import ioctl
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# So many ids are taken from the queue at once.
_BLOCK = 64
# The kernel doubles it, and counts three quarters of a kilobyte for an id: some thirty are on the line.
_LINE_BYTES = 12_000
_LONGEST_ID = 64


class Deal:
    """Queue ids on their way to the workers of a run."""

    def __init__(self) -> None:
        self._hand, self._table = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._hand.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LINE_BYTES)
        self._hand.setblocking(False)

    @property
    def closed(self) -> bool:
        """Whether no more ids will come."""
        return self._hand.fileno() < 0

    def fileno(self) -> int:
        """Return the descriptor that is ready for writing when there is room for an id."""
        return self._hand.fileno()

    def put(self, queue_id: str) -> bool:
        """Let the next worker that is free have this message; False when there is no room now."""
        try:
            self._hand.send(queue_id.encode())
        except BlockingIOError:
            return False
        return True

    @property
    def is_empty(self) -> bool:
        """Whether the workers have taken all that was put on the line."""
        (unread,) = struct.unpack("i", ioctl(self._hand, termios.TIOCOUTQ, bytes(4)))
        return not unread

    def take_back(self) -> list[str]:
        """Return the ids that no worker has taken yet; they are not on the line any more."""
        ids: list[str] = []
        # The line ends with nothing when it is closed, and asks to wait when it is not.
        with suppress(BlockingIOError):
            while queue_id := self._table.recv(_LONGEST_ID, socket.MSG_DONTWAIT):
                ids.append(queue_id.decode())
        return ids

    def close(self) -> None:
        """Let the workers end when the line is empty."""
        self._hand.close()

    def leave(self) -> None:
        """Let go of both ends."""
        self._hand.close()
        self._table.close()

    def waits(self) -> bool:
        """Wait until an id is on the line, and leave it there; False when no more will come. For a worker."""
        return bool(self._table.recv(_LONGEST_ID, socket.MSG_PEEK))

    def ids(self) -> Iterator[str]:
        """Yield ids until the run has no more, or is gone. For a worker, which has closed the other end."""
        while queue_id := self._table.recv(_LONGEST_ID):
            yield queue_id.decode()


class Dealer:
    """Puts the queue on the line in its order; ``dealt`` gets every id, and none that it holds is put there again."""

    def __init__(self, deal: Deal, due: Callable[[], Iterator[str]], dealt: dict[str, None]) -> None:
        self._deal = deal
        self._due = due
        self._ids: Iterator[str] = iter(())
        self._dealt = dealt
        self._waiting: deque[str] = deque()
        self._last = ""
        # The queue had nothing more when it was asked last.
        self._is_at_its_end = False

    @property
    def waits_for_the_last(self) -> bool:
        """Whether all is on the line, and what may still come before it is looked for until it is taken."""
        return not (self._waiting or self._deal.closed)

    def hand_out(self) -> None:
        """Put as many ids on the line as it takes; close it when the last one was taken. Raises OSError."""
        while not self._deal.closed:
            if not self._waiting:
                # To list the queue again and again would cost more than to send from it.
                if self._is_at_its_end and not self._deal.is_empty:
                    return
                if self._take(_BLOCK):
                    continue
                if self._deal.is_empty:
                    self._deal.close()
                return
            if self._deal.put(self._waiting[0]):
                self._last = self._waiting.popleft()
            else:
                return

    def look_again(self) -> None:
        """Ask the queue for what comes next although the line is full: it may be more urgent. Raises OSError."""
        if not self._deal.closed:
            self._take(1)

    def _take(self, most: int) -> bool:
        ids = list(islice(self._ids, most))
        if not ids:
            # The queue was at its end: something may have come meanwhile.
            self._ids = self._undealt()
            ids = list(islice(self._ids, most))
        self._is_at_its_end = not ids
        before = self._waiting[-1] if self._waiting else self._last
        self._waiting += ids
        if ids and ids[0] < before:
            # A queue id is its place in the order.
            self._waiting = deque(sorted([*self._waiting, *self._deal.take_back()]))
        return bool(ids)

    def _undealt(self) -> Iterator[str]:
        """Yield what is due and was not dealt; it counts as dealt at once, as the queue may name it again."""
        for queue_id in self._due():
            if queue_id not in self._dealt:
                self._dealt[queue_id] = None
                yield queue_id
