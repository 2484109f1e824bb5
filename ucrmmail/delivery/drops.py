"""The drop directory as a run sees it: taken in before the first message leaves, and looked at again while it goes on.

A run may take an hour, since it waits for limits; whoever only has the drop directory must not wait for its end, and
what is urgent goes before what was there first.
"""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING

from ucrmmail.errors import InputOutputError, TemporaryError
from ucrmmail.spool.intake import Intake, take_drops
from ucrmmail.spool.layout import DROP, REJECTED
from ucrmmail.spool.moves import aside_line
from ucrmmail.spool.quiet import QUIET_S
from ucrmmail.spool.unread import is_of_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.concerns import Concerns
    from ucrmmail.message.prepare import Prepared

# A run looks again after so long, and takes for no longer than a moment then: a message may be on the wire. Before that
# it looks at the names, which takes what it takes (about a second for 300,000), so that each look takes something.
LOOK_AGAIN_S = 2.0
_LONGEST_TAKING_S = 0.5
# A file that was dropped a moment ago is waited for; one that others still write to is left to the next look.
_LONGEST_QUIET_S = 1.0
_MOST_LOOKS = 4


class Drops:
    """Takes in what is complete, and leaves to a person what was rejected or cannot be taken; each of it once.

    What a run that is ``stopping()`` leaves, and what its beginning finds when the monotonic clock shows
    ``takes_until``, the next one finds where it was.
    """

    def __init__(
        self,
        directory: str,
        *,
        prepare: Callable[..., Prepared],
        max_size_bytes: int,
        min_free_bytes: int,
        clock: Clock,
        concerns: Concerns,
        stopping: Callable[[], bool] = lambda: False,
        takes_until: float = inf,
    ) -> None:
        self._directory = directory
        self._prepare = prepare
        self._max_size_bytes = max_size_bytes
        self._min_free_bytes = min_free_bytes
        self._clock = clock
        self._concerns = concerns
        self._stopping = stopping
        self._takes_until = takes_until
        self._told: set[str] = set()
        self._looked_at = clock.monotonic()

    def take_all(self, sleep: Callable[[float], None]) -> None:
        """Take all that is there as a run begins, and what comes while it does. Raises OSError."""
        until = self._clock.now() + _LONGEST_QUIET_S
        for _ in range(_MOST_LOOKS):
            taken = self._take(self._may_go_on)
            if not taken.quiet_at or taken.quiet_at > until or not self._may_go_on():
                break
            # Those that came one after the other become quiet one after the other: this is time for all of them.
            sleep(max(taken.quiet_at - self._clock.now(), QUIET_S))
        self._looked_at = self._clock.monotonic()

    def look_again(self) -> bool:
        """Return whether more was accepted, if it is time to look: for a moment, behind the look at the names.

        Raises OSError.
        """
        if self._clock.monotonic() - self._looked_at < LOOK_AGAIN_S or self._stopping():
            return False
        until = 0.0

        def may_go_on() -> bool:
            # Asked for the first time when the names have been looked at.
            nonlocal until
            until = until or self._clock.monotonic() + _LONGEST_TAKING_S
            return not self._stopping() and self._clock.monotonic() < until

        taken = self._take(may_go_on)
        self._looked_at = self._clock.monotonic()
        return bool(taken.accepted)

    def _may_go_on(self) -> bool:
        return not self._stopping() and self._clock.monotonic() < self._takes_until

    def _take(self, may_go_on: Callable[[], bool]) -> Intake:
        if not self._is_open():
            return Intake()
        taken = take_drops(
            self._directory,
            prepare=self._prepare,
            now=self._clock.now(),
            max_size_bytes=self._max_size_bytes,
            min_free_bytes=self._min_free_bytes,
            may_go_on=may_go_on,
            telling=self._concerns.telling,
        )
        self._concerns.add(*self._new([aside_line(REJECTED, name, reason) for name, reason in taken.rejected]))
        # As a submission that the same disk refuses; else a file that cannot be read, or moved.
        exit_code = (TemporaryError if taken.waits else InputOutputError).exit_code
        self._concerns.add_hourly(*self._new(taken.problems), exit_code=exit_code)
        return taken

    def _is_open(self) -> bool:
        """Return whether the directory can be looked into; mail that is in the queue goes all the same."""
        path = f"{self._directory}/{DROP}"
        try:
            os.scandir(path).close()
        except OSError as error:
            why = f"{path} cannot be looked into ({error.strerror}); {_mend(error)}"
            self._concerns.add_hourly(*self._new([why]), exit_code=InputOutputError.exit_code)
            return False
        return True

    def _new(self, lines: list[str]) -> list[str]:
        """Return those that this run has not met yet."""
        new = [line for line in lines if line not in self._told]
        self._told.update(new)
        return new


def _mend(error: OSError) -> str:
    """Return what to do about a drop directory that cannot be looked into."""
    if isinstance(error, PermissionError):
        return "give it back to the user who runs the flush"
    return "the next run looks again" if is_of_all(error) else "mend the disk, or make it a directory again"
