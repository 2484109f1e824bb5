"""What becomes of the counts when the configuration changes between two runs.

    changed          then
    limit            the same window goes on, with the new limit
    duration         the same start, with the new duration
    kind             all that counts is taken to have been sent when the last of it was
    recipients to messages   the count stays: there were no more messages than recipients
    messages to recipients   nobody knows how many there were: the window is full until it is over
    a throttle added         what the one with the longest duration knows; of recipients, one for each message at least

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


def adapted(tally: Tally, rules: Rules) -> Tally:
    """Return the tally under ``rules``; a tally whose rules are these already is returned as it is.

    A throttle takes over the window of the one with the same duration, else, in their order, one that is left.
    """
    if tally.rules == rules:
        return tally
    row = Row(rules.flood) if rules.flood is not None else None
    if row is not None and tally.row is not None:
        row = replace(tally.row, rule=row.rule)
    return replace(tally, rules=rules, windows=_windows_for(tally, rules), row=row)


def _windows_for(tally: Tally, rules: Rules) -> list[Window]:
    left = list(tally.windows)
    heirs: dict[int, Window] = {}
    for exact in (True, False):
        for place, throttle in enumerate(rules.throttles):
            if place in heirs:
                continue
            for old in left:
                if old.rule.duration_s == throttle.duration_s or not exact:
                    left.remove(old)
                    heirs[place] = _converted(old, throttle, tally)
                    break
    known = max(tally.windows, key=lambda window: window.rule.duration_s, default=None)
    return [heirs.get(place) or _added(known, throttle, tally) for place, throttle in enumerate(rules.throttles)]


def _added(known: Window | None, throttle: Throttle, tally: Tally) -> Window:
    """Return a window for a throttle that is new: what was sent just before it counts, as at the provider."""
    if known is None:
        return empty_window(throttle)
    # A window that is full for a day would be worse than to count each message once.
    known = replace(known, rule=replace(known.rule, unit=throttle.unit))
    if isinstance(known, FixedWindow) and not throttle.sliding and known.since + throttle.duration_s <= tally.latest:
        # When they were sent in it nobody knows: as if just now.
        new = empty_window(throttle)
        if units := min(known.used(tally.latest), throttle.limit):
            new.settled(tally.latest, units, since=tally.latest, reservation_id=0, next_id=tally.next_id, certain=False)
        return new
    return _converted(known, throttle, tally)


def _converted(old: Window, throttle: Throttle, tally: Tally) -> Window:
    """Return what is counted in ``old`` as a window for ``throttle``."""
    used = old.used(tally.latest)
    new: Window
    if old.rule.sliding == throttle.sliding:
        new = replace(old, rule=throttle)
        if isinstance(new, SlidingWindow):
            new.entries = deque(new.entries)
        units = 0
    else:
        new = empty_window(throttle)
        units = used
    if used and old.rule.unit == "messages" and throttle.unit == "recipients":
        units = throttle.limit
    if units:
        since = old.entries[0][0] if isinstance(old, SlidingWindow) else old.since
        new.settled(tally.latest, units, since=since, reservation_id=0, next_id=tally.next_id, certain=False)
    return new
