"""Which message may be to blame for what the server does to a connection: what is suspected, and what would prove it.

A server that refuses or hangs up at a message may mean the message or the account. Only others that are relayed tell:
so a suspect is postponed, and what it meets once others went is its own.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection

    Slots = list[int] | memoryview[int]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What earlier runs have learnt of the account.

    ``suspects`` are the messages that ``Ending.refused`` named since a run had no trouble, ``lost`` those of
    ``Ending.unresolved``, and ``Ending.refused`` of a lost connection: they come last, and so do all messages of the
    ``senders`` of `Ending`. ``distrusted`` and ``doubted`` are the last one's ``Ending.lies`` and ``Ending.doubted``.
    ``in_trouble``: the last run ended in a trouble of the account.
    """

    suspects: Collection[str] = ()
    senders: Collection[str] = ()
    lost: Collection[str] = ()
    distrusted: Collection[str] = ()
    doubted: str = ""
    in_trouble: bool = False


class Suspicion:
    """``relayed`` counts what was relayed in this run, by each of its processes in a ``slot`` that it alone writes.

    ``in_trouble``: the last run ended in a trouble of the account. ``suspects`` may make the server refuse or hang up
    by themselves: the message at which the last run ended, and those at whose MAIL a connection of this one was lost. A
    suspected sender may be what the account is refused for: his messages show nothing while proof is awaited.
    """

    def __init__(self, relayed: Slots | None = None, slot: int = 0) -> None:
        self._relayed = relayed if relayed is not None else [0]
        self._slot = slot
        self.in_trouble = False
        self.suspects: set[str] = set()
        # How much was relayed when a sender was suspected first.
        self._senders: dict[str, int] = {}
        self._tells_senders_apart = True
        # How much was relayed when other messages were let go first.
        self._postponed: dict[str, int] = {}

    def share(self, relayed: Slots) -> None:
        """Count in these slots, of which the first is ours, from now on: each ``copy`` sees what the others count."""
        relayed[0] = self.progress
        self._relayed, self._slot = relayed, 0

    def copy(self, slot: int) -> Suspicion:
        """Return the same for another process, which counts in this slot if they are shared."""
        copy = Suspicion(self._relayed, slot)
        copy.in_trouble = self.in_trouble
        copy._tells_senders_apart = self._tells_senders_apart
        copy.suspects, copy._senders, copy._postponed = set(self.suspects), dict(self._senders), dict(self._postponed)
        return copy

    @property
    def progress(self) -> int:
        """How much was relayed in this run so far."""
        return sum(self._relayed)

    def count_relayed(self) -> None:
        """Count one message more."""
        self._relayed[self._slot] += 1

    @property
    def awaits_proof(self) -> bool:
        """Whether nothing was relayed since a message was postponed, or a sender suspected: others show nothing."""
        progress = self.progress
        return progress in self._postponed.values() or progress in self._senders.values()

    @property
    def prefers_untried(self) -> bool:
        """Whether what was never tried goes first: of what was, any may be the reason for the trouble."""
        return self.in_trouble and not self.progress

    def is_to_blame(self, queue_id: str) -> bool:
        """Return whether others were relayed since this message was postponed, or it was convicted."""
        return self.progress > self._postponed.get(queue_id, inf)

    def suspect_sender(self, sender: str) -> None:
        """Let messages of others go before his, and show whether he is to blame."""
        if sender:
            self._senders.setdefault(sender, self.progress)

    def is_suspected(self, sender: str) -> bool:
        """Return whether nothing of others was relayed since this sender was suspected."""
        return self._tells_senders_apart and self.progress == self._senders.get(sender, -1)

    def give_up_on_senders(self) -> None:
        """Suspect none of them any more: there is no mail of others that would show anything."""
        self._tells_senders_apart = False

    def is_sender_to_blame(self, sender: str) -> bool:
        """Return whether others were relayed since this sender was suspected."""
        return self.progress > self._senders.get(sender, inf)

    def convict(self, queue_id: str) -> None:
        """Let the next trouble that this message meets be its own."""
        self._postponed[queue_id] = -1

    def convict_senders(self, senders: Collection[str]) -> None:
        """Let the next trouble that a message of these meets, and that may be theirs, be their own."""
        self._senders.update(dict.fromkeys(senders, -1))

    def postpone(self, queue_ids: Collection[str]) -> None:
        """Let what is relayed from now on show whether these are to blame."""
        for queue_id in queue_ids:
            self._postponed.setdefault(queue_id, self.progress)
