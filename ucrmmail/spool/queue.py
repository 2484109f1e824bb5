"""The queue as a flush works on it: recover, take what is due, claim, settle. The caller holds the flush lock.

What became of a message is written to a journal before anything else happens to it (`outcomes`); whatever a crash
leaves half done, ``recover`` completes from there.
"""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext, suppress
from itertools import filterfalse
from typing import TYPE_CHECKING

from ucrmmail.clock import Clock
from ucrmmail.journal import FULL, Journal, read_past_damage
from ucrmmail.spool.aside import Aside
from ucrmmail.spool.claimed import Claimed, claim_at
from ucrmmail.spool.layout import check_root, path_in_queue
from ucrmmail.spool.moves import Moves, find
from ucrmmail.spool.order import Order
from ucrmmail.spool.outcomes import Outcomes
from ucrmmail.spool.records import damage_in, journal_path, newest, worker_journals
from ucrmmail.spool.recovery import Recovery
from ucrmmail.spool.reserve import Reserve
from ucrmmail.spool.sweeps import (
    purge_sent,
    sweep_drop,
    sweep_old_names,
    sweep_replacements,
    sweep_taken,
    sweep_tmp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

    from ucrmmail.spool.state import MessageState

# What a process beside others takes of the disk at first; it gets none of a full one, or below `ulimit -f`.
_ROOM_BESIDE_BYTES = 1 << 18
_NO_ROOM = FULL | {errno.EFBIG}


class Spool:
    """The queue below one directory.

    With ``sync_each`` every outcome is on the disk before ``settle`` returns. ``keep_sent_s`` keeps relayed messages
    in sent/ for so long. ``corrupt`` lists (name, reason) of all that was set aside in this run; ``problems`` are
    sentences about what the disk refused, ``lost`` about what damaged journals no longer say. ``telling(line)`` is
    entered with each line about what is set aside or lost, before that is done: the next run finds nothing of it.
    ``worker`` is the number of a process that works beside others.
    """

    def __init__(
        self,
        directory: str,
        *,
        sync_each: bool = False,
        keep_sent_s: float = 0.0,
        clock: Clock | None = None,
        worker: int = 0,
        telling: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Open the spool. Raises PermissionDeniedError, DistrustError, OSError."""
        self.directory = directory.rstrip("/") or "/"
        check_root(self.directory)
        self._clock = clock or Clock()
        self._sync_each = sync_each
        self._keep_sent_s = keep_sent_s
        self._telling = telling
        self._moves = Moves(self.directory, keep_sent_s=keep_sent_s, telling=telling)
        self._aside = Aside(self._moves)
        self.corrupt = self._aside.corrupt
        self.problems = self._aside.problems
        self.lost: list[str] = []
        self._order = Order(self._moves, self._aside, self._clock.monotonic, self.make_room)
        self._worker = worker
        self._reserve = Reserve(self.directory)
        self._outcomes = Outcomes(
            self._moves,
            self._aside,
            self._clock,
            worker=worker,
            sync_each=sync_each,
            removes=not keep_sent_s,
            make_room=self.make_room,
        )
        self._left_out: set[str] = set()
        self._max_delay_s = 0.0

    def beside(self, worker: int) -> Spool:
        """Return the queue for another process of the same run, with a journal of its own. Raises as the class does."""
        spool = Spool(
            self.directory,
            sync_each=self._sync_each,
            keep_sent_s=self._keep_sent_s,
            clock=self._clock,
            worker=worker,
            telling=self._telling,
        )
        spool._left_out.update(self._left_out, self._outcomes.undone)
        spool._outcomes.inherit()
        return spool

    def has_room_beside(self, processes: int) -> bool:
        """Return whether the disk has room for the journals of so many processes. Raises DistrustError, OSError."""
        path = journal_path(self.directory, 1)
        try:
            journal = Journal(path, past_damage=True)
            try:
                journal.ensure_room(processes * _ROOM_BESIDE_BYTES)
            finally:
                journal.close()
                if not journal.offset:
                    # No process may come to remove it: a run that was asked to end starts none.
                    with suppress(OSError):
                        os.unlink(path)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            return False
        return True

    def make_room(self) -> None:
        """Give up the room that is held for a full disk. Raises OSError."""
        self._reserve.give_up()

    # --- before the run ---------------------------------------------------------------------------------------

    def recover(self, now: float, stopping: Callable[[], bool] = lambda: False) -> list[str]:
        """Complete what an earlier run recorded and did not carry out, and remove leftovers.

        When the run is ``stopping()``, what is left to do stays in the journal for the next one, and those messages
        cannot be claimed. Returns the ids of messages with failures that no person has been told of. Raises OSError.
        """
        left = worker_journals(self.directory)
        records = self._read_journals(left)
        to_do = newest(records)
        sweep_old_names(self.directory)
        sweep_taken(self.directory, to_do)
        Recovery(self._outcomes, self._moves, self._aside, now=now).carry_out(to_do, stopping)
        if not records or self._outcomes.forget_replayed():
            for path in left:
                os.unlink(path)
        self._reserve.hold()
        sweep_tmp(self.directory, now, self._aside)
        sweep_replacements(self.directory, now, self._aside)
        sweep_drop(self.directory, now)
        purge_sent(self.directory, now - self._keep_sent_s, self._aside)
        return self._outcomes.untold

    def _read_journals(self, left: Iterable[str]) -> list[bytes]:
        """Return the records of our journal and of those that workers have ``left``. Raises DistrustError, OSError."""
        own = self._outcomes.journal
        records = list(own.replayed)
        damaged = {journal_path(self.directory, 0): own.damaged}
        for path in left:
            found, damaged[path] = read_past_damage(path)
            records += found
        for path, count in damaged.items():
            if count:
                self.lost.append(damage_in(path, count))
                with self._telling(self.lost[-1]):
                    pass  # it is forgotten later, behind all that is carried out
        return records

    def promote_due(self, now: float, max_delay_s: float, *, everything: bool = False) -> int:
        """Bring back into the queue what was deferred until ``now``; ``due`` goes on with it from then on.

        ``max_delay_s`` is the longest delay there is: what comes later shows a clock that was set back, and is due.
        ``everything``: it is known to have been, so that no time ahead means anything but what is due in a moment.
        Returns how many came back. Raises OSError.
        """
        self._max_delay_s = max_delay_s
        while everything and self._order.bring_back(now, 0.0):
            pass
        return self._order.bring_back(now, max_delay_s)

    # --- what is due ------------------------------------------------------------------------------------------

    def due(self) -> Iterator[str]:
        """Yield queue ids in sending order; some may be gone, or taken by another, when they are claimed.

        More urgent mail that arrives meanwhile, and what was deferred until now, goes first within about a second.
        """
        return filterfalse(self._is_left_out, self._order.due(self._outcomes.settled, self._come_back))

    def _is_left_out(self, queue_id: str) -> bool:
        return queue_id in self._outcomes.undone or queue_id in self._left_out

    def _come_back(self) -> int:
        return self._order.bring_back(self._clock.now(), self._max_delay_s) if self._max_delay_s else 0

    def count_waiting(self) -> int:
        """Return how many messages wait in the queue and are not settled."""
        return self._order.count() - len(self._outcomes.settled)

    def next_due_at(self) -> float:
        """Return when the first deferred message comes back, in seconds since the epoch; 0.0 when none is deferred."""
        return self._order.next_due_at()

    # --- one message ------------------------------------------------------------------------------------------

    def claim(self, queue_id: str) -> Claimed | None:
        """Return a waiting message for this process alone; None when it is gone, taken by another, or damaged.

        What is damaged, or is no regular file of ours, is set aside and listed in ``corrupt``: it does not stop the
        others. Raises OSError when no file can be opened at all.
        """
        if self._is_left_out(queue_id):
            return None
        claimed = self.claim_at(path_in_queue(self.directory, queue_id), queue_id)
        if claimed is not None and not claimed.pending:
            # The state was carried out and the move was not: there is nothing to send.
            self._outcomes.hold_done(claimed)
            return None
        return claimed

    def claim_at(self, path: str, queue_id: str) -> Claimed | None:
        """Do as ``claim`` for a message that may be elsewhere in the spool: see ``find``."""
        return claim_at(self.directory, path, queue_id, self._aside)

    def find(self, queue_id: str) -> str | None:
        """Return where a message is: in queue/, deferred/, held/ or failed/; None when it is nowhere."""
        found = find(self.directory, queue_id)
        return found[1] if found is not None else None

    def release(self, claimed: Claimed) -> None:
        """Let go of a message that was not tried, or was only read."""
        self._outcomes.forget_room(claimed.queue_id)
        claimed.close()

    def leave_out(self, claimed: Claimed) -> None:
        """Let go of a message that is not to be claimed again in this run."""
        self.exclude(claimed.queue_id)
        self.release(claimed)

    def exclude(self, queue_id: str) -> None:
        """Let nobody claim a message in the rest of this run, here or in what is put ``beside`` this from now on."""
        self._left_out.add(queue_id)

    @property
    def unmoved(self) -> AbstractSet[str]:
        """The ids of what is settled, and does not stand where it belongs (yet)."""
        return self._outcomes.settled | self._outcomes.undone

    def ensure_room(self, claimed: Claimed) -> None:
        """Make sure that its outcome can be recorded even if the disk fills up. Raises OSError (ENOSPC)."""
        self._outcomes.ensure_room(claimed)

    def settle(self, claimed: Claimed, state: MessageState) -> None:
        """Record what became of a message; when this returns, the death of the process loses nothing of it.

        Relayed to everyone, it will be removed. While recipients are pending, it comes back at
        ``state.next_attempt_at``, or at once when that is 0.0. Else it has failed, for some at least.
        Raises OSError: then nothing more may be sent, since it could not be recorded either. It is recorded itself,
        unless that is an UnrecordedError.
        """
        self._outcomes.settle(claimed, state)

    def update_state(self, queue_id: str, state: MessageState) -> None:
        """Replace the state of a message that was settled, where it stands. Raises OSError.

        That its failures were told is not noted where none is left: a person has retried, or removed, it meanwhile.
        """
        self._outcomes.update_state(queue_id, state)

    # --- durability -------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Bring the records to the disk, then move or remove the messages they are about. Raises OSError."""
        self._outcomes.sync()

    def finish(self) -> frozenset[str]:
        """End the run: every step is on the disk, the journal is empty but for what could not be moved.

        Returns the ids of that: it is free for others then, who must not take it. Raises OSError.
        """
        unmoved = self._outcomes.finish()
        if not self._worker:
            # Of a disk that is full, it may be all that the journal gives back.
            self._reserve.hold()
        return unmoved

    def abandon(self) -> None:
        """Let go of all, when a run cannot go on: the next one carries out what is in the journal. Raises OSError."""
        self._outcomes.abandon()
