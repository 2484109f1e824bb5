"""The time, passed in as a value, so that a test can make a day pass in a millisecond."""

from __future__ import annotations

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
    milliseconds = round(epoch_s * 1000)
    seconds, rest = divmod(milliseconds, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"
