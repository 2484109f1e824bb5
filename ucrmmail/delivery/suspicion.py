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


@dataclass(frozen=True, slots=True)
class Lessons:
    """What earlier runs have learnt of the account.

    ``suspects`` are the messages that ``Ending.refused`` named in the runs since something was relayed, ``lost`` those
    of ``Ending.unresolved``, and ``Ending.refused`` of a lost connection: they come last. ``distrusted`` and
    ``doubted`` are the last one's ``Ending.lies`` and ``Ending.doubted``. ``in_trouble``: the last run ended in a
    trouble of the account, and none has relayed anything since.
    """

    suspects: Collection[str] = ()
    lost: Collection[str] = ()
    distrusted: Collection[str] = ()
    doubted: str = ""
    in_trouble: bool = False


class Suspicion:
    """``progress`` counts what was relayed in this run.

    ``in_trouble``: the last run ended in a trouble of the account. ``suspects`` may make the server refuse or hang up
    by themselves: the message at which the last run ended, and those at whose MAIL a connection of this one was lost. A
    suspected sender may be what the account is refused for: his messages show nothing while proof is awaited.
    """

    def __init__(self) -> None:
        self.progress = 0
        self.in_trouble = False
        self.suspects: set[str] = set()
        # How much was relayed when a sender was suspected first.
        self._senders: dict[str, int] = {}
        # How much was relayed when other messages were let go first.
        self._postponed: dict[str, int] = {}

    def copy(self) -> Suspicion:
        """Return the same for a process that goes on by itself."""
        copy = Suspicion()
        copy.progress, copy.in_trouble = self.progress, self.in_trouble
        copy.suspects, copy._senders, copy._postponed = set(self.suspects), dict(self._senders), dict(self._postponed)
        return copy

    @property
    def awaits_proof(self) -> bool:
        """Whether a message was postponed and nothing was relayed since: another suspect would show nothing."""
        return self.progress in self._postponed.values()

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
        return self.progress == self._senders.get(sender, -1)

    def is_sender_to_blame(self, sender: str) -> bool:
        """Return whether others were relayed since this sender was suspected."""
        return self.progress > self._senders.get(sender, inf)

    def convict(self, queue_id: str) -> None:
        """Let the next trouble that this message meets be its own."""
        self._postponed[queue_id] = -1

    def postpone(self, queue_ids: Collection[str]) -> None:
        """Let what is relayed from now on show whether these are to blame."""
        for queue_id in queue_ids:
            self._postponed.setdefault(queue_id, self.progress)
