"""Which message may be to blame for what the server does to a connection: what is suspected, and what would prove it.

A server that refuses or hangs up at a message may mean the message or the account. Only others that are relayed tell:
so a suspect is postponed, and what it meets once others went is its own.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class Suspicion:
    """``progress`` counts what was relayed in this run.

    ``suspects`` may make the server refuse or hang up by themselves: the message at which the last run ended, and those
    at whose MAIL a connection of this one was lost.
    """

    def __init__(self) -> None:
        self.progress = 0
        self.suspects: set[str] = set()
        # How much was relayed when other messages were let go first.
        self._postponed: dict[str, int] = {}

    def copy(self) -> Suspicion:
        """Return the same for a process that goes on by itself."""
        copy = Suspicion()
        copy.progress, copy.suspects, copy._postponed = self.progress, set(self.suspects), dict(self._postponed)
        return copy

    @property
    def awaits_proof(self) -> bool:
        """Whether a message was postponed and nothing was relayed since: another suspect would show nothing."""
        return self.progress in self._postponed.values()

    def is_to_blame(self, queue_id: str) -> bool:
        """Return whether others were relayed since this message was postponed, or it was convicted."""
        return self.progress > self._postponed.get(queue_id, inf)

    def convict(self, queue_id: str) -> None:
        """Let the next trouble that this message meets be its own."""
        self._postponed[queue_id] = -1

    def postpone(self, queue_ids: Collection[str]) -> None:
        """Let what is relayed from now on show whether these are to blame."""
        for queue_id in queue_ids:
            self._postponed.setdefault(queue_id, self.progress)
