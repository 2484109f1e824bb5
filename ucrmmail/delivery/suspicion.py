"""Which message may be to blame for what the server does to a connection: what is suspected, and what would prove it.

A server that refuses or hangs up at a message may mean the message or the account. Only others that are relayed tell:
so a suspect is postponed, and what it meets once others went is its own.
"""

from __future__ import annotations

import zlib
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    Counts = list[int] | memoryview[int]

# What is relayed is counted by sender, in so many counts: two senders in one count show nothing of each other.
SENDERS = 64


class Suspicion:
    """``relayed`` counts what was relayed in this run, by each process in ``SENDERS`` counts that it alone writes.

    ``in_trouble``: the last run ended in a trouble of the account. ``suspects`` may make the server refuse or hang up
    by themselves: the message at which the last run ended, and those at whose MAIL a connection of this one was lost. A
    suspected sender may be what the account is refused for: his messages show nothing while proof is awaited.
    """

    def __init__(self, relayed: Counts | None = None, number: int = 0) -> None:
        self._relayed = relayed if relayed is not None else [0] * SENDERS
        self._first = number * SENDERS
        self.in_trouble = False
        self.suspects: set[str] = set()
        # How much was relayed when a sender was suspected first.
        self._senders: dict[str, int] = {}
        self._tells_senders_apart = True
        # How much was relayed when other messages were let go first, in all and over this process's connections.
        self._postponed: dict[str, int] = {}
        self._postponed_here: dict[str, int] = {}

    def share(self, relayed: Counts) -> None:
        """Count in these from now on, of which the first ``SENDERS`` are ours: each ``copy`` sees what others count."""
        for place, count in enumerate(self._relayed[:SENDERS]):
            relayed[place] = count
        self._relayed, self._first = relayed, 0

    def copy(self, number: int) -> Suspicion:
        """Return the same for another process, which has counts of its own if they are shared."""
        copy = Suspicion(self._relayed, number)
        copy.in_trouble = self.in_trouble
        copy._tells_senders_apart = self._tells_senders_apart
        copy.suspects, copy._senders, copy._postponed = set(self.suspects), dict(self._senders), dict(self._postponed)
        here = copy._here
        copy._postponed_here = {queue_id: at if at < 0 else here for queue_id, at in self._postponed_here.items()}
        return copy

    @property
    def progress(self) -> int:
        """How much was relayed in this run so far."""
        return sum(self._relayed)

    def count_relayed(self, sender: str) -> None:
        """Count one message more; who is not refused, is not what the account is refused for."""
        self._relayed[self._first + _count_of(sender)] += 1
        self._senders.pop(sender, None)

    def _of_others(self, sender: str) -> int:
        """Return how much of other senders was relayed in this run."""
        return self.progress - sum(self._relayed[_count_of(sender) :: SENDERS])

    @property
    def awaits_proof(self) -> bool:
        """Whether nothing was relayed since a message was postponed, or a sender suspected: others show nothing."""
        return self.progress in self._postponed.values() or any(map(self.is_suspected, self._senders))

    @property
    def prefers_untried(self) -> bool:
        """Whether what was never tried goes first: of what was, any may be the reason for the trouble."""
        return self.in_trouble and not self.progress

    def is_to_blame(self, queue_id: str, *, hung_up: bool = False) -> bool:
        """Return whether others were relayed since this message was postponed, or it was convicted.

        Of a server that ``hung_up``, which it may do now and then, no other connection shows whether it was for this.
        """
        if hung_up:
            return self._here > self._postponed_here.get(queue_id, inf)
        return self.progress > self._postponed.get(queue_id, inf)

    @property
    def _here(self) -> int:
        return sum(self._relayed[self._first : self._first + SENDERS])

    def suspect_sender(self, sender: str) -> None:
        """Let messages of others go before his, and show whether he is to blame."""
        if sender:
            self._senders.setdefault(sender, self._of_others(sender))

    def is_suspected(self, sender: str) -> bool:
        """Return whether nothing of others was relayed since this sender was suspected."""
        known = self._senders.get(sender) if self._tells_senders_apart else None
        return known is not None and known == self._of_others(sender)

    def give_up_on_senders(self) -> None:
        """Suspect none of them any more: there is no mail of others that would show anything."""
        self._tells_senders_apart = False

    def is_sender_to_blame(self, sender: str) -> bool:
        """Return whether mail of others was relayed since this sender was suspected."""
        known = self._senders.get(sender)
        return known is not None and self._of_others(sender) > known

    def convict(self, queue_id: str) -> None:
        """Let the next trouble that this message meets be its own."""
        self._postponed[queue_id] = self._postponed_here[queue_id] = -1

    def postpone(self, queue_ids: Collection[str]) -> None:
        """Let what is relayed from now on show whether these are to blame."""
        for queue_id in queue_ids:
            self._postponed.setdefault(queue_id, self.progress)
            self._postponed_here.setdefault(queue_id, self._here)


def _count_of(sender: str) -> int:
    return zlib.crc32(sender.encode("utf-8", "surrogateescape")) % SENDERS
