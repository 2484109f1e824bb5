"""When a deferred message comes back (RFC 5321 section 4.5.4.1): an age and a count become a time.

    attempt      1     2     3     4     5     6    7 ...
    then waits   5m   10m   20m   40m   80m  160m   4h   each up to a quarter longer; max_delay up to a fifth shorter

The quarter spreads messages that were deferred together. It is drawn from the queue id, so that the same message
always gets the same answer: nothing needs to be remembered, and a test can say what comes out.

Nothing expires by the clock alone. Giving up is decided after a real attempt that was made at or behind the deadline,
so that a machine that was off for a week, or whose clock leapt ten years, tries once more first.
"""

from __future__ import annotations

import zlib

from ucrmmail.dataclass import dataclass

# Beyond 40 doublings every delay is at its bound: the number stays one that a float holds.
_MOST_DOUBLINGS = 40
_SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class Retry:
    """How long a message waits after its first attempt, at the most, and for how long it is tried at all."""

    first_delay_s: float = 300.0
    max_delay_s: float = 14_400.0
    give_up_after_s: float = 432_000.0


def next_attempt(attempts: int, *, first_at: float, now: float, retry: Retry, seed: str) -> float | None:
    """Return when a message that was deferred ``now``, in its attempt number ``attempts``, is tried again.

    None means that it is given up: it was first tried ``give_up_after_s`` ago or earlier (``first_at``). Times are
    seconds since the epoch. The last attempt is made when that time is over rather than one long delay before it or
    after it. Counted is from the first attempt, not from acceptance: a smarthost that was down for a week, or a limit
    that held the message back, has not used up its time, and a failed message that a person retries gets all of it.

    A first attempt in the future shows that the clock was set back since. Its age is then what the delays so far
    add up to, else a clock that once stood ten years ahead would have it tried for ten years.
    """
    if first_at > now:
        first_at = now - sum(_nominal_delay_s(earlier, retry) for earlier in range(1, attempts))
    deadline = first_at + retry.give_up_after_s
    if now >= deadline:
        return None
    again = now + _spread_delay_s(attempts, retry, seed)
    # A deadline that is near is no reason to come back at once.
    return min(again, max(deadline, now + retry.first_delay_s))


def _nominal_delay_s(attempts: int, retry: Retry) -> float:
    doubled = retry.first_delay_s * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS)
    return min(doubled, retry.max_delay_s)


def _spread_delay_s(attempts: int, retry: Retry, seed: str) -> float:
    """Return the delay with its spread; at the bound the spread goes below it, so that it spreads there too."""
    fraction = zlib.crc32(f"{seed} {attempts}".encode()) / 2**32
    lowest = max(retry.first_delay_s, min(_nominal_delay_s(attempts, retry), retry.max_delay_s / (1 + _SPREAD)))
    return min(lowest * (1 + _SPREAD * fraction), retry.max_delay_s)
