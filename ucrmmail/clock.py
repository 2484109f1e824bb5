"""The time, passed in as a value, so that a test can make a day pass in a millisecond."""

from __future__ import annotations

import functools
import time


class Clock:
    """The machine's clocks. A test subclasses it with numbers."""

    def now(self) -> float:
        """Return the time of day in seconds since the epoch; it may step back or forth."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that only ever grow: for deadlines and durations."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` (none when negative)."""
        if seconds > 0:
            time.sleep(seconds)


def rfc3339(epoch_s: float) -> str:
    """Return a time in UTC as RFC 3339 writes it, to the millisecond: ``2026-11-23T10:59:05.250Z``."""
    seconds, rest = divmod(round(epoch_s * 1000), 1000)
    return f"{_to_the_second(seconds)}.{rest:03d}Z"


@functools.lru_cache(maxsize=1)
def _to_the_second(epoch_s: int) -> str:
    """Remembers the last one: a thousand lines of a log are written within a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch_s))
