"""What becomes of the counts when the configuration changes between two runs.

    changed          then
    limit            the same window goes on, with the new limit
    duration         the same start, with the new duration
    kind             all that counts is taken to have been sent when the last of it was
    unit             its twin takes the window's place: it counted the same in the other unit
    a throttle added what the one with the longest duration knows
    the program      the ledger of a version without twins does not know to how many recipients its messages went:
                     counted in recipients, the window is full until it is over. Of recipients there were no fewer
                     than messages: that count stays

Where something is not known it is counted: too little mail for one window is better than a blocked account.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ucrmmail.dataclass import replace
from ucrmmail.limits.antiflood import Row
from ucrmmail.limits.fixed import FixedWindow
from ucrmmail.limits.sliding import SlidingWindow
from ucrmmail.limits.tally import Tally, Window, empty_window

if TYPE_CHECKING:
    from ucrmmail.limits.rules import Rules, Throttle

# No limit is larger.
_MANY = 1_000_000_000


def adapted(tally: Tally, rules: Rules) -> Tally:
    """Return the tally under ``rules``; a tally whose rules are these already is returned as it is.

    A throttle takes over the window of the one with the same duration, else, in their order, one that is left.
    """
    has_twins = len(tally.twins) == len(tally.windows)
    if tally.rules == rules and has_twins:
        return tally
    row = Row(rules.flood) if rules.flood is not None else None
    if row is not None and tally.row is not None:
        row = replace(tally.row, rule=row.rule)
    twins = tally.twins if has_twins else [_likely_twin(window, tally) for window in tally.windows]
    pairs = _pairs_for(list(zip(tally.windows, twins, strict=True)), rules, tally)
    return replace(tally, rules=rules, windows=[own for own, _ in pairs], twins=[twin for _, twin in pairs], row=row)


def _likely_twin(window: Window, tally: Tally) -> Window:
    """Return what counts in the other unit at the most, of what an older version counted in this one alone."""
    twin = _converted(window, window.rule.twin, tally)
    if twin.rule.unit == "recipients" and twin.used(tally.latest):
        _settle(twin, _MANY, tally, since=tally.latest)
    return twin


def _pairs_for(left: list[tuple[Window, Window]], rules: Rules, tally: Tally) -> list[tuple[Window, Window]]:
    """Return a window and its twin for each throttle, from the pairs there were."""
    known = max(left, key=lambda pair: pair[0].rule.duration_s, default=None)
    heirs: dict[int, tuple[Window, Window]] = {}
    for exact in (True, False):
        for place, throttle in enumerate(rules.throttles):
            if place in heirs:
                continue
            for pair in left:
                if pair[0].rule.duration_s == throttle.duration_s or not exact:
                    left.remove(pair)
                    heirs[place] = pair
                    break
    pairs: list[tuple[Window, Window]] = []
    for place, throttle in enumerate(rules.throttles):
        before, suited = (heirs[place], _converted) if place in heirs else (known, _added)
        if before is None:
            pairs.append((empty_window(throttle), empty_window(throttle.twin)))
            continue
        own, twin = before if before[0].rule.unit == throttle.unit else reversed(before)
        pairs.append((suited(own, throttle, tally), suited(twin, throttle.twin, tally)))
    return pairs


def _added(known: Window, throttle: Throttle, tally: Tally) -> Window:
    """Return a window for a throttle that is new: what was sent just before it counts, as at the provider."""
    if isinstance(known, FixedWindow) and not throttle.sliding and known.since + throttle.duration_s <= tally.latest:
        # When they were sent in it nobody knows: as if just now.
        new = empty_window(throttle)
        if units := min(known.used(tally.latest), throttle.limit):
            _settle(new, units, tally, since=tally.latest)
        return new
    return _converted(known, throttle, tally)


def _converted(old: Window, throttle: Throttle, tally: Tally) -> Window:
    """Return what is counted in ``old`` as a window for ``throttle``."""
    if old.rule.sliding == throttle.sliding:
        new: Window = replace(old, rule=throttle)
        if isinstance(new, SlidingWindow):
            new.entries = deque(new.entries)
        return new
    new = empty_window(throttle)
    if units := old.used(tally.latest):
        since = old.entries[0][0] if isinstance(old, SlidingWindow) else old.since
        _settle(new, units, tally, since=since)
    return new


def _settle(window: Window, units: int, tally: Tally, *, since: float) -> None:
    """Count units of which nobody knows when they were sent: as late as it may have been."""
    window.settled(tally.latest, units, since=since, reservation_id=0, next_id=tally.next_id, certain=False)
