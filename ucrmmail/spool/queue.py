"""The queue as a flush works on it: recover, take what is due, claim, settle. The caller holds the flush lock.

What became of a message is written to a journal before anything else happens to it. ``settle`` returns when the record
is in the kernel: a process that is killed loses nothing. ``sync`` brings the records to the disk, many together, and
only then moves or removes the messages. ``finish`` makes those steps durable and empties the journal. Whatever a crash
leaves half done, ``recover`` completes from the journal:

    settle   record in the kernel                 killed: recover moves or removes the message
    sync     record on the disk, message moved    power cut: recover repeats the move
    finish   move on the disk, journal empty      nothing is left to repeat
"""

from __future__ import annotations

import errno
import os
from contextlib import closing, nullcontext, suppress
from itertools import filterfalse
from typing import TYPE_CHECKING

from ucrmmail.clock import Clock
from ucrmmail.dataclass import replace
from ucrmmail.files import DistrustError
from ucrmmail.journal import FULL, Journal, read_past_damage
from ucrmmail.spool.aside import Aside
from ucrmmail.spool.claimed import BusyError, Claimed, claim_file
from ucrmmail.spool.closer import Closer, most_together
from ucrmmail.spool.layout import STATE, check_root, path_in_queue
from ucrmmail.spool.moves import Moves, find, find_all, read_state
from ucrmmail.spool.order import Order
from ucrmmail.spool.queuefile import DamagedError
from ucrmmail.spool.records import damage_in, journal_path, newest, relayed_record, state_record, worker_journals
from ucrmmail.spool.recovery import (
    purge_sent,
    redo,
    redo_unopened,
    sweep_drop,
    sweep_replacements,
    sweep_taken,
    sweep_tmp,
)
from ucrmmail.spool.reserve import Reserve
from ucrmmail.spool.state import ALL_RELAYED, longest_encoding
from ucrmmail.spool.unread import Unread, is_of_all
from ucrmmail.spool.unrecorded import unrecorded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ucrmmail.spool.state import MessageState

# What a process beside others takes of the disk at first; it gets none of a full one, or below `ulimit -f`.
_ROOM_BESIDE_BYTES = 1 << 18
_NO_ROOM = FULL | {errno.EFBIG}
# A journal that is longer is emptied during the run, so that recovering from it never takes long.
_LONG_JOURNAL_BYTES = 1 << 22


def _as_states(records: Mapping[str, MessageState | None]) -> dict[str, MessageState]:
    return {queue_id: state if state is not None else ALL_RELAYED for queue_id, state in records.items()}


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
        self._journal = Journal(journal_path(self.directory, worker), make_room=self.make_room, past_damage=True)
        self._settled: dict[str, tuple[Claimed, MessageState]] = {}
        # They stay open until they are moved, whatever the caller's rhythm of syncs.
        self._most_settled = most_together()
        self._unreported: dict[str, MessageState] = {}
        self._undone: dict[str, MessageState] = {}
        self._inherited: dict[str, MessageState] = {}
        self._left_out: set[str] = set()
        self._closer = Closer()
        self._reserved: dict[str, int] = {}
        self._reserved_bytes = 0
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
        spool._left_out.update(self._left_out, self._undone)
        # What a recovery could not forget, on a full disk, or a worker before this one, is not this one's to forget.
        spool._inherited = _as_states(newest(spool._journal.replayed))
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
        records = list(self._journal.replayed)
        damaged = {journal_path(self.directory, 0): self._journal.damaged}
        for path in left:
            found, damaged[path] = read_past_damage(path)
            records += found
        for path, count in damaged.items():
            if count:
                self.lost.append(damage_in(path, count))
                with self._telling(self.lost[-1]):
                    pass  # it is forgotten later, behind all that is carried out
        to_do = newest(records)
        sweep_taken(self.directory, to_do)
        unknown: dict[str, OSError] = {}
        places = find_all(self.directory, to_do, unknown)
        for queue_id, error in unknown.items():
            self._aside.tell(Unread.because_of(error, queue_id, path_in_queue(self.directory, queue_id)).line)
        for queue_id, state in to_do.items():
            if queue_id in unknown or stopping():
                self._leave(queue_id, state)
                continue
            try:
                there = redo(self._moves, queue_id, state, places.get(queue_id), now=now)
            except DistrustError as error:
                self._part_with(queue_id, state, str(error), now)
                continue
            except OSError as error:
                # A full disk must not stop the queue; this message is not touched before its record is carried out.
                self._settle_later(queue_id, state, error)
                continue
            if there and state is not None and state.unreported:
                self._unreported[queue_id] = state
        if self._settled:
            # What was refused for once is done now: a message in parts goes on in this run.
            self.sync()
        if records:
            forgotten = self._checkpoint()
            self._journal.replayed.clear()
            if not forgotten:
                left = []
        for path in left:
            os.unlink(path)
        self._reserve.hold()
        sweep_tmp(self.directory, now, self._aside)
        sweep_replacements(self.directory, now, self._aside)
        sweep_drop(self.directory, now)
        purge_sent(self.directory, now - self._keep_sent_s, self._aside)
        # Of one that is left, the spool does not say yet what has failed.
        return [queue_id for queue_id in self._unreported if queue_id not in self._undone]

    def _leave(self, queue_id: str, state: MessageState | None) -> None:
        """Leave it to the next run to carry out a record; until then the message is not claimed."""
        self._undone[queue_id] = state if state is not None else ALL_RELAYED

    def _part_with(self, queue_id: str, state: MessageState | None, why: str, now: float) -> None:
        """Set a message aside whose file cannot be trusted; what its record says holds when it is put back."""
        path = self.find(queue_id)
        if path is None:
            return  # it was removed by hand, at this moment
        try:
            is_done = redo_unopened(self._moves, queue_id, state, path, now=now)
        except OSError as error:
            self._aside.tell(f"{path}: {why}, and what is recorded of it cannot be carried out: {error.strerror}")
            self._leave(queue_id, state)
            return
        if not is_done:
            self._aside.set_aside(path, queue_id, why)

    def _leave_beyond(self, kept: int, queue_id: str, state: MessageState | None, error: OSError) -> bool:
        """Leave a message that cannot be moved when so many are ``kept`` open already: there are not many descriptors.

        Returns whether it was left.
        """
        if kept < self._most_settled // 2:
            return False
        self._leave(queue_id, state)
        self._aside.tell(
            f"{self.directory}: not all that was settled can be moved ({error.strerror}): the next run tries again"
        )
        return True

    def _settle_later(self, queue_id: str, state: MessageState | None, error: OSError) -> None:
        """Hold on to a message whose record could not be carried out; the next ``sync`` tries again.

        Where it cannot be had, such as one that cannot be read now, the next run does.
        """
        if self._leave_beyond(len(self._settled), queue_id, state, error):
            return
        path = self.find(queue_id)
        claimed = self.claim_at(path, queue_id) if path is not None else None
        if claimed is not None:
            self._settled[queue_id] = (claimed, state if state is not None else ALL_RELAYED)
        else:
            unknown: dict[str, OSError] = {}
            # Of one that was relayed, and is gone, the state could not be removed.
            if find_all(self.directory, (queue_id,), unknown) or unknown or state is None:
                self._leave(queue_id, state)
        if state is not None and state.unreported:
            self._unreported[queue_id] = state

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
        return filterfalse(self._is_left_out, self._order.due(self._settled, self._come_back))

    def _is_left_out(self, queue_id: str) -> bool:
        return queue_id in self._undone or queue_id in self._left_out

    def _come_back(self) -> int:
        return self._order.bring_back(self._clock.now(), self._max_delay_s) if self._max_delay_s else 0

    def count_waiting(self) -> int:
        """Return how many messages wait in the queue and are not settled."""
        return self._order.count() - len(self._settled)

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
            self._settled[queue_id] = (claimed, claimed.state)
            return None
        return claimed

    def claim_at(self, path: str, queue_id: str) -> Claimed | None:
        """Do as ``claim`` for a message that may be elsewhere in the spool: see ``find``."""
        try:
            return claim_file(self.directory, path, queue_id)
        except BusyError:
            return None
        except (DamagedError, DistrustError) as error:
            self._aside.set_aside(path, queue_id, str(error))
        except OSError as error:
            if is_of_all(error):
                raise
            self._aside.tell(self._unread(error, queue_id, path).line)
        return None

    def _unread(self, error: OSError, queue_id: str, path: str) -> Unread:
        """Return what is told of a message that cannot be had: one line for all where their states are shut away."""
        states = f"{self.directory}/{STATE}"
        if error.filename == f"{states}/{queue_id}" and not os.access(states, os.X_OK, effective_ids=True):
            return Unread.directory(error, states)
        return Unread.because_of(error, queue_id, path)

    def find(self, queue_id: str) -> str | None:
        """Return where a message is: in queue/, deferred/, held/ or failed/; None when it is nowhere."""
        found = find(self.directory, queue_id)
        return found[1] if found is not None else None

    def release(self, claimed: Claimed) -> None:
        """Let go of a message that was not tried, or was only read."""
        self._forget_room(claimed.queue_id)
        claimed.close()

    def leave_out(self, claimed: Claimed) -> None:
        """Let go of a message that is not to be claimed again in this run."""
        self.exclude(claimed.queue_id)
        self.release(claimed)

    def exclude(self, queue_id: str) -> None:
        """Let nobody claim a message in the rest of this run, here or in what is put ``beside`` this from now on."""
        self._left_out.add(queue_id)

    @property
    def unmoved(self) -> Collection[str]:
        """The ids of what is settled, and does not stand where it belongs (yet)."""
        return self._settled.keys() | self._undone.keys()

    def ensure_room(self, claimed: Claimed) -> None:
        """Make sure that its outcome can be recorded even if the disk fills up. Raises OSError (ENOSPC).

        The room of all messages that are out counts together, until they are settled or released.
        """
        size_bytes = longest_encoding(claimed.recipients)
        self._journal.ensure_room(self._reserved_bytes + size_bytes)
        self._reserved_bytes += size_bytes
        self._reserved[claimed.queue_id] = size_bytes

    def _forget_room(self, queue_id: str) -> None:
        self._reserved_bytes -= self._reserved.pop(queue_id, 0)

    def settle(self, claimed: Claimed, state: MessageState) -> None:
        """Record what became of a message; when this returns, the death of the process loses nothing of it.

        Relayed to everyone, it will be removed. While recipients are pending, it comes back at
        ``state.next_attempt_at``, or at once when that is 0.0. Else it has failed, for some at least.
        Raises OSError: then nothing more may be sent, since it could not be recorded either. It is recorded itself,
        unless that is an UnrecordedError.
        """
        queue_id = claimed.queue_id
        try:
            if state.relayed:
                self._journal.append(relayed_record(queue_id))
            else:
                state = replace(state, revision=claimed.state.revision + 1)
                self._record(queue_id, state)
        except OSError as error:
            if error.errno in FULL:
                with suppress(OSError):
                    self.make_room()
            with closing(claimed):
                raise unrecorded(error, self._moves, claimed, state, now=self._clock.now()) from error
        self._forget_room(queue_id)
        if state.next_attempt_at == 0.0 and state.pending:
            # It stays where it is, to be claimed again in this run. The record goes first: the state of an earlier run
            # says who has the message, and a power cut must not leave neither.
            self._journal.sync()
            self._moves.write_state(queue_id, state)
            claimed.close()
        else:
            self._settled[queue_id] = (claimed, state)
        if len(self._settled) >= self._most_settled:
            self.sync()
        elif self._sync_each:
            self._journal.sync()

    def update_state(self, queue_id: str, state: MessageState) -> None:
        """Replace the state of a message that was settled, where it stands. Raises OSError."""
        claimed, before = self._settled.get(queue_id, (None, None))
        if before is None:
            before = self._undone.get(queue_id) or read_state(self.directory, queue_id)
        state = replace(state, revision=1 + (before.revision if before is not None else state.revision))
        self._record(queue_id, state)
        if claimed is not None:
            self._settled[queue_id] = (claimed, state)
        elif queue_id in self._undone:
            self._undone[queue_id] = state
        else:
            self._journal.sync()
            self._moves.write_state(queue_id, state)

    def _record(self, queue_id: str, state: MessageState) -> None:
        self._journal.append(state_record(queue_id, state))
        if state.unreported:
            self._unreported[queue_id] = state
        else:
            self._unreported.pop(queue_id, None)

    # --- durability -------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Bring the records to the disk, then move or remove the messages they are about. Raises OSError.

        A message that cannot be moved (a full disk) keeps its record, and is tried again at the next sync.
        """
        self._journal.sync()
        now = self._clock.now()
        removed: list[int] = []
        kept = 0
        for queue_id, (claimed, state) in list(self._settled.items()):
            try:
                if state.relayed:
                    self._moves.relayed(claimed.path, queue_id, now=now, had_state=claimed.state.revision > 0)
                else:
                    self._moves.put(claimed.path, queue_id, state)
            except OSError as error:
                if os.path.lexists(claimed.path) or claimed.has_name:
                    if self._leave_beyond(kept, queue_id, state, error):
                        del self._settled[queue_id]
                        claimed.close()
                    kept += 1
                    continue
                if state.relayed and claimed.state.revision:
                    # It is gone, and its state may not be.
                    self._leave(queue_id, state)
                # Or it was removed by hand, under our lock: so be it.
            del self._settled[queue_id]
            if state.relayed and not self._keep_sent_s:
                removed.append(claimed.detach())
            else:
                # Who comes next must find it unlocked.
                claimed.close()
        if removed:
            self._closer.close(removed)
        if self._journal.offset > _LONG_JOURNAL_BYTES:
            self._checkpoint()

    def finish(self) -> frozenset[str]:
        """End the run: every step is on the disk, the journal is empty but for what could not be moved.

        Returns the ids of that: it is free for others then, who must not take it. Raises OSError.
        """
        self.sync()
        unmoved = frozenset(self.unmoved)
        for claimed, state in self._settled.values():
            where = "moved to failed" if not state.pending else "moved to deferred"
            what = "removed, though it was relayed" if state.relayed else where
            self._aside.tell(f"{claimed.path} cannot be {what}: the next run tries again")
        self._checkpoint()
        self._moves.remove_empty()
        if self._worker and not self._journal.offset:
            os.unlink(journal_path(self.directory, self._worker))
        self._journal.close()
        if not self._worker:
            # Of a disk that is full, it may be all that the journal gives back.
            self._reserve.hold()
        self._closer.finish()
        for claimed, _ in self._settled.values():
            claimed.close()
        self._settled.clear()
        return unmoved

    def abandon(self) -> None:
        """Let go of all, when a run cannot go on: the next one carries out what is in the journal. Raises OSError."""
        for claimed, _ in self._settled.values():
            claimed.close()
        self._settled.clear()

    def _checkpoint(self) -> bool:
        """Make all steps durable, then let the journal forget why they were made; False when it could not.

        It keeps what was not done yet: moves that failed, records that a recovery was asked to leave, what was in the
        journal of a worker before, and failures that no person was told of.
        """
        self._moves.make_durable()
        settled = {queue_id: state for queue_id, (_, state) in self._settled.items()}
        kept = self._inherited | self._undone | settled | self._unreported
        if not kept:
            self._journal.clear()
            return True
        try:
            self._journal.keep_only(
                relayed_record(queue_id) if state.relayed else state_record(queue_id, state)
                for queue_id, state in kept.items()
            )
        except OSError:
            # On a full disk the long journal stays: carrying it out again changes nothing.
            return False
        return True
