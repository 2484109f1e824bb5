"""What a provider would count, by brute force and by its own clock: (time of acceptance, units) in the order of time.

None of this knows how ucrmmail counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

Events = Sequence[tuple[float, int]]


def most_in_any_span(events: Events, duration_s: float) -> int:
    """Return the most units in any span of that length, wherever it begins."""
    return max(
        (sum(units for at, units in events if first <= at < first + duration_s) for first, _ in events), default=0
    )


def most_in_fixed_windows(events: Events, duration_s: float) -> int:
    """Return the most units in a window, each of which starts with the first message behind the one before."""
    most = count = 0
    start = float("-inf")
    for at, units in events:
        if at >= start + duration_s:
            start, count = at, 0
        count += units
        most = max(most, count)
    return most


def windows_can_be_drawn(events: Events, duration_s: float, limit: int) -> bool:
    """Return whether the messages can be cut into windows of at least that length with at most ``limit`` units each."""
    sums = [0, *itertools.accumulate(units for _, units in events)]
    starts = {0}
    for end in range(1, len(events)):
        for start in starts:
            if events[end][0] - events[start][0] >= duration_s and sums[end] - sums[start] <= limit:
                starts.add(end)
                break
    # The latest start reaches farthest to the right, but an earlier one may be the only one that can be followed.
    return not events or any(sums[-1] - sums[start] <= limit for start in starts)


def longest_row(events: Events, pause_s: float) -> int:
    """Return the most messages in a row without a pause of that length between two of them."""
    longest = row = 0
    last = float("-inf")
    for at, _ in events:
        row = 1 if at - last >= pause_s else row + 1
        longest = max(longest, row)
        last = at
    return longest
