"""In which order messages leave: by priority, then oldest first, with what becomes due or urgent meanwhile.

A queue id is the order as text, and its bucket is the beginning of it. So the names of one bucket at a time are enough,
and a million messages do not slow the first one down.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ucrmmail.journal import FULL
from ucrmmail.spool.layout import DEFERRED, QUEUE, epoch_of, is_bucket, is_id_in, is_minute, is_queue_id, minute_of
from ucrmmail.spool.unread import is_of_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ucrmmail.spool.aside import Aside
    from ucrmmail.spool.moves import Moves

# Mail that is more urgent, and what was deferred until now, is looked for this often while others leave.
LOOK_AGAIN_S = 1.0
# More names than this are not kept in memory at a time.
_NAMES_AT_ONCE = 50_000
# More messages are not brought back at a time: the first of them can leave before the last is back.
_BACK_AT_ONCE = 5_000
# A retry may be scheduled somewhat later than the longest delay (jitter); what is beyond that is a clock set back.
_SLACK = 1.25
_SLACK_S = 120.0


class Return:
    """Which deferred messages a run brings back that looks at ``now`` (s since the epoch).

    A time further ahead than any delay shows that the clock was set back: it counts as now.
    """

    def __init__(self, now: float, max_delay_s: float) -> None:
        self._now = now
        self._minute = minute_of(now)
        self._beyond = minute_of(now + max_delay_s * _SLACK + _SLACK_S)

    def of_minute(self, due: str) -> bool:
        """Return whether some of the messages of a minute in deferred/ come back."""
        return due <= self._minute or due > self._beyond

    def of_message(self, due: str, at: float) -> bool:
        """Return whether a message comes back that stands in such a minute with this time: of the present one some."""
        return due != self._minute or at <= self._now


class Order:
    """Yields queue ids in sending order; what is not a message's name is put ``aside``.

    ``make_room()`` gives up the room that is held for a full disk.
    """

    def __init__(
        self, moves: Moves, aside: Aside, monotonic: Callable[[], float], make_room: Callable[[], None] = lambda: None
    ) -> None:
        self._moves = moves
        self._aside = aside
        self._monotonic = monotonic
        self._make_room = make_room
        self._queue = f"{moves.directory}/{QUEUE}"
        self._deferred = f"{moves.directory}/{DEFERRED}"

    def due(self, busy: Collection[str], come_back: Callable[[], int]) -> Iterator[str]:
        """Yield the ids of waiting messages, without those in ``busy``, until the queue was seen to hold no other.

        ``come_back()`` brings back what was deferred until now and returns how many those were. About once a second
        more urgent mail, and older mail that came back, is looked for and goes first.
        """
        # The state of each directory (its time stamp) when its names were read: unchanged, it has nothing new.
        looked: dict[str, int] = {}
        come_back()
        look_at = self._monotonic() + LOOK_AGAIN_S
        while True:
            complete = True
            for bucket, name in self._unseen(looked):
                complete = False
                if name not in busy:
                    yield name
                if self._monotonic() < look_at:
                    continue
                look_at = self._monotonic() + LOOK_AGAIN_S
                back = come_back()
                first, _ = next(self._changed(looked), ("", 0))
                if first and (first < bucket or (first == bucket and back)):
                    # The rest of this bucket is read again after it, or with what came back.
                    looked[bucket] = -1
                    break
            if complete and not come_back():
                return

    def _unseen(self, looked: dict[str, int]) -> Iterator[tuple[str, str]]:
        """Yield, in one way through the queue, the ids of each bucket that is new or has changed since, with it.

        A message that leaves changes its bucket too: to begin anew behind each would cost the square of their number.
        """
        for bucket, change in self._changed(looked):
            looked[bucket] = change
            for name in self._names(bucket):
                yield bucket, name

    def _changed(self, looked: dict[str, int]) -> Iterator[tuple[str, int]]:
        """Yield in order each bucket that is new, or has changed since its names were read, and its time stamp."""
        for bucket in sorted(os.listdir(self._queue)):
            if not is_bucket(bucket):
                self._aside.put_in_order(self._queue, bucket)
                continue
            change = self._change_of(self._queue, bucket)
            if change and looked.get(bucket) != change:
                yield bucket, change

    def _change_of(self, parent: str, name: str) -> int:
        """Return the time stamp of a directory; 0 when it is gone, or is none: then it is taken away."""
        try:
            found = os.lstat(f"{parent}/{name}")
        except FileNotFoundError:
            return 0
        if not stat.S_ISDIR(found.st_mode):
            self._aside.put_in_order(parent, name)
            return 0
        return found.st_mtime_ns

    def _names(self, bucket: str) -> Iterator[str]:
        """Yield the queue ids of a bucket in order; however many there are, only some are in memory."""
        last = ""
        while True:
            names, complete = self._next_names(bucket, last)
            yield from names
            if complete:
                return
            last = names[-1]

    def _next_names(self, bucket: str, last: str) -> tuple[list[str], bool]:
        """Return the smallest ids of a bucket after ``last``, sorted, and whether those are all."""
        names: list[str] = []
        complete = True
        path = f"{self._queue}/{bucket}"
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    if name <= last:
                        continue
                    if not is_id_in(bucket, name):
                        self._aside.put_in_order(path, name)
                        continue
                    names.append(name)
                    if len(names) >= 2 * _NAMES_AT_ONCE:
                        names.sort()
                        del names[_NAMES_AT_ONCE:]
                        complete = False
        except FileNotFoundError:
            pass
        except OSError as error:
            self._aside.pass_over(path, error)
        names.sort()
        return (names, True) if complete else (names[:_NAMES_AT_ONCE], False)

    def count(self) -> int:
        """Return how many messages wait in the queue."""
        count = 0
        for bucket in os.listdir(self._queue):
            try:
                with os.scandir(f"{self._queue}/{bucket}") as entries:
                    count += sum(1 for _ in entries)
            except OSError as error:
                # Another was quicker, it is no directory, or it cannot be looked into, as a person was told.
                if is_of_all(error):
                    raise
        return count

    def bring_back(self, now: float, max_delay_s: float) -> int:
        """Bring back into the queue what was deferred until ``now``, oldest first; return how many those were.

        At the most some thousands at a time. ``max_delay_s`` is as in ``Return``. What cannot come back, since a full
        disk has no room for one more directory, say, is told, and does not stop what waits. Raises OSError.
        """
        returns = Return(now, max_delay_s)
        back = 0
        for due in sorted(os.listdir(self._deferred)):
            if not is_minute(due):
                self._aside.put_in_order(self._deferred, due)
            elif returns.of_minute(due) and back < _BACK_AT_ONCE and self._change_of(self._deferred, due):
                back += self._bring_back_minute(due, returns, _BACK_AT_ONCE - back)
        return back

    def _bring_back_minute(self, due: str, returns: Return, most: int) -> int:
        """Bring back what is due of a minute."""
        path = f"{self._deferred}/{due}"
        back = 0
        for name, at in self._times_in(path):
            if back >= most:
                break
            if not returns.of_message(due, at):
                continue
            if is_queue_id(name):
                back += self._is_back(f"{path}/{name}", name)
            else:
                self._aside.put_in_order(path, name)
        return back

    def _is_back(self, path: str, name: str) -> bool:
        """Bring one message back; return whether it came."""
        try:
            self._with_room(path, name)
        except FileNotFoundError:
            return False  # a person has moved it
        except OSError as error:
            if is_of_all(error):
                raise
            # Once for all of them, however many that are.
            where = self._deferred if error.errno in FULL else os.path.dirname(path)
            self._aside.tell(f"{where}: not all that is due can come back into the queue: {error.strerror}")
            return False
        return True

    def _with_room(self, path: str, name: str) -> None:
        """Move a message into the queue, on a full disk with the room that is held for what must go on there."""
        try:
            self._moves.to_queue(path, name)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._make_room()
            self._moves.to_queue(path, name)

    def next_due_at(self) -> float:
        """Return when the first deferred message comes back, in seconds since the epoch; 0.0 when none is deferred."""
        for due in sorted(filter(is_minute, os.listdir(self._deferred))):
            earliest = 0.0
            for count, (_, at) in enumerate(self._times_in(f"{self._deferred}/{due}")):
                earliest = min(earliest or at, at)
                if count > _BACK_AT_ONCE:
                    return float(epoch_of(due))
            if earliest:
                return earliest
        return 0.0

    def _times_in(self, path: str) -> Iterator[tuple[str, float]]:
        """Yield name and time of each message in a minute of deferred/."""
        try:
            entries = os.scandir(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._aside.pass_over(path, error)
            return
        with entries:
            for entry in entries:
                try:
                    at = entry.stat(follow_symlinks=False).st_mtime
                except FileNotFoundError:
                    continue
                except OSError as error:
                    self._aside.pass_over(path, error)
                    return
                yield entry.name, at
