"""What a run in trouble passes over, while it looks for a message that shows whether the account works.

What was tried before may be the reason for the trouble, and so may what stands right behind a message that was: what is
refused alike often stands together. Both have their turn once some message went, or when there is nothing else.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.suspicion import Suspicion
    from ucrmmail.spool.state import MessageState

# So long after its last turn, or the time of the next one, a message has its usual place again.
BEHIND_FOR_S = 3600.0
# It is searched for so long at the most, or half of the time that the run has left: some hundred thousand messages of
# one sender, or such as were tried before, may be all there is.
LONGEST_SEARCH_S = 10.0


class Search:
    """One search of a run; false while nothing was passed over. ``left_s()`` is as in `QueueFeed`."""

    def __init__(self, suspicion: Suspicion, clock: Clock, *, left_s: Callable[[], float]) -> None:
        self._suspicion = suspicion
        self._clock = clock
        self._left_s = left_s
        # With whether they come behind the rest once some went.
        self._passed: dict[str, bool] = {}
        self._untried: list[str] = []
        self._is_over = False
        self._until = inf

    def __bool__(self) -> bool:
        return bool(self._passed)

    def __contains__(self, queue_id: str) -> bool:
        return queue_id in self._passed

    @property
    def retried(self) -> int:
        """How many were passed over since they were tried before."""
        return len(self._passed) - len(self._untried)

    @property
    def is_on(self) -> bool:
        """Whether there is something to look for: nothing went in this run yet, and it is not over."""
        return not self._is_over and self._suspicion.prefers_untried

    def passes(self, queue_id: str, state: MessageState) -> bool:
        """Return whether a message is passed over, and remember it then."""
        if not self.is_on:
            return False
        if state.attempts:
            # One that was greylisted, or met a full mailbox, is in nobody's way.
            was_to_blame = bool(state.blamed) or state.late
            self._passed[queue_id] = was_to_blame and waits_lately(state, self._clock.now())
        elif len(self._untried) < self._suspicion.passes_over:
            self._untried.append(queue_id)
            self._passed[queue_id] = True
        else:
            return False
        return True

    def begin_to_count(self) -> None:
        """Let the time of a search count from its next hundred on."""
        self._until = inf

    def takes_too_long(self) -> bool:
        """Return whether enough time went into it: nobody else may have mail."""
        now = self._clock.monotonic()
        self._until = min(self._until, now + min(LONGEST_SEARCH_S, self._left_s() / 2))
        return now >= self._until

    def take_furthest(self) -> str:
        """Return the one that stands furthest back of those never tried, which is passed over no more; "" if none."""
        furthest = self._untried[-1] if self._untried else ""
        self._passed.pop(furthest, None)
        return furthest

    def end(self) -> dict[str, bool]:
        """End it for the rest of the run; return what was passed over, and whether it may be what is in the way."""
        passed, self._passed, self._untried, self._is_over = self._passed, {}, [], True
        return passed


def waits_lately(state: MessageState, now: float) -> bool:
    """Return whether a message was, or could be, tried not long before ``now``."""
    return 0.0 <= now - max(state.last_at, state.next_attempt_at) < BEHIND_FOR_S
