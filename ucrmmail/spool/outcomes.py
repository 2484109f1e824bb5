"""What became of the messages of a run: recorded at once, carried out soon, forgotten when that is on the disk.

    settle   record in the kernel                 killed: the next run moves or removes the message
    sync     record on the disk, message moved    power cut: the next run repeats the move
    finish   move on the disk, journal empty      nothing is left to repeat

A message that was settled stays open and locked until it stands where it belongs, so that nobody takes it meanwhile.
What the disk does not let us move keeps its record, and so does a failure that no person was told of.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from ucrmmail.dataclass import replace
from ucrmmail.journal import FULL, Journal
from ucrmmail.spool.closer import Closer, most_together
from ucrmmail.spool.moves import read_state
from ucrmmail.spool.records import journal_path, newest, relayed_record, state_record
from ucrmmail.spool.state import ALL_RELAYED, longest_encoding
from ucrmmail.spool.unrecorded import unrecorded

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from ucrmmail.clock import Clock
    from ucrmmail.spool.aside import Aside
    from ucrmmail.spool.claimed import Claimed
    from ucrmmail.spool.moves import Moves
    from ucrmmail.spool.state import MessageState

# A journal that is longer is emptied during the run, so that recovering from it never takes long.
_LONG_JOURNAL_BYTES = 1 << 22


def _as_state(state: MessageState | None) -> MessageState:
    """Return what a record says as a state: None is one that was relayed to everyone."""
    return state if state is not None else ALL_RELAYED


class Outcomes:
    """The outcomes that one process records, in a journal of its own; ``worker`` is its number, 0 is the run itself.

    With ``sync_each`` every one is on the disk before ``settle`` returns. ``removes``: what was relayed is not kept.
    """

    def __init__(
        self,
        moves: Moves,
        aside: Aside,
        clock: Clock,
        *,
        worker: int,
        sync_each: bool,
        removes: bool,
        make_room: Callable[[], None],
    ) -> None:
        """Open the journal. Raises DistrustError, OSError."""
        self._moves = moves
        self._aside = aside
        self._clock = clock
        self._worker = worker
        self._sync_each = sync_each
        self._removes = removes
        self._make_room = make_room
        self.journal = Journal(journal_path(moves.directory, worker), make_room=make_room, past_damage=True)
        self._settled: dict[str, tuple[Claimed, MessageState]] = {}
        # They stay open until they are moved, whatever the caller's rhythm of syncs.
        self._most_settled = most_together()
        self._undone: dict[str, MessageState] = {}
        self._unreported: dict[str, MessageState] = {}
        self._inherited: dict[str, MessageState] = {}
        self._long_bytes = _LONG_JOURNAL_BYTES
        self._closer = Closer()
        self._reserved: dict[str, int] = {}
        self._reserved_bytes = 0

    # --- a message is settled ---------------------------------------------------------------------------------

    def ensure_room(self, claimed: Claimed) -> None:
        """Make sure that an outcome can be recorded even if the disk fills up. Raises OSError (ENOSPC).

        The room of all messages that are out counts together, until they are settled or released.
        """
        size_bytes = longest_encoding(claimed.recipients)
        self.journal.ensure_room(self._reserved_bytes + size_bytes)
        self._reserved_bytes += size_bytes
        self._reserved[claimed.queue_id] = size_bytes

    def forget_room(self, queue_id: str) -> None:
        """Let others have the room of a message that is not out any more."""
        self._reserved_bytes -= self._reserved.pop(queue_id, 0)

    def settle(self, claimed: Claimed, state: MessageState) -> None:
        """Record what became of a message, as `Spool.settle` says. Raises OSError, UnrecordedError."""
        queue_id = claimed.queue_id
        try:
            if state.relayed:
                self.journal.append(relayed_record(queue_id))
                # Whoever retried it knows what it had met before, and that must not stand in place of this record.
                self._unreported.pop(queue_id, None)
            else:
                state = replace(state, revision=claimed.state.revision + 1)
                self._record(queue_id, state)
        except OSError as error:
            if error.errno in FULL:
                with suppress(OSError):
                    self._make_room()
            with closing(claimed):
                raise unrecorded(error, self._moves, claimed, state, now=self._clock.now()) from error
        self.forget_room(queue_id)
        if state.next_attempt_at == 0.0 and state.pending:
            # It stays where it is, to be claimed again in this run. The record goes first: the state of an earlier run
            # says who has the message, and a power cut must not leave neither.
            self.journal.sync()
            self._moves.write_state(queue_id, state)
            claimed.close()
        else:
            self._settled[queue_id] = (claimed, state)
        if len(self._settled) >= self._most_settled:
            self.sync()
        elif self._sync_each:
            self.journal.sync()

    def update_state(self, queue_id: str, state: MessageState) -> None:
        """Replace the state of a message that was settled, as `Spool.update_state` says. Raises OSError."""
        claimed, before = self._settled.get(queue_id, (None, self._undone.get(queue_id)))
        is_moved = before is None
        if is_moved:
            before = read_state(self._moves.directory, queue_id)
            if state.failed and not (state.unreported or (before is not None and before.unreported)):
                self._unreported.pop(queue_id, None)
                return
        state = replace(state, revision=1 + (before.revision if before is not None else state.revision))
        self._record(queue_id, state)
        if claimed is not None:
            self._settled[queue_id] = (claimed, state)
        elif is_moved:
            self.journal.sync()
            self._moves.write_state(queue_id, state)
        else:
            self._undone[queue_id] = state

    def _record(self, queue_id: str, state: MessageState) -> None:
        self.journal.append(state_record(queue_id, state))
        if state.unreported:
            self._unreported[queue_id] = state
        else:
            self._unreported.pop(queue_id, None)

    # --- a record of an earlier run ---------------------------------------------------------------------------

    def inherit(self) -> None:
        """Keep what is in the journal of a worker before this one: its recovery could not forget it, on a full disk."""
        self._inherited = {queue_id: _as_state(state) for queue_id, state in newest(self.journal.replayed).items()}

    def hold_settled(self, claimed: Claimed, state: MessageState | None) -> None:
        """Go on with a message whose record was not carried out yet: the next ``sync`` does."""
        self._settled[claimed.queue_id] = (claimed, _as_state(state))

    def hold_done(self, claimed: Claimed) -> None:
        """Go on with a message whose state says that nothing is left to send, and that does not stand there yet.

        Raises OSError.
        """
        self.hold_settled(claimed, claimed.state)
        # Of one that was set aside and put back no record says so.
        self.note_unreported(claimed.queue_id, claimed.state)
        if len(self._settled) >= self._most_settled:
            self.sync()

    def leave(self, queue_id: str, state: MessageState | None) -> None:
        """Leave it to the next run to carry out a record; until then nobody may claim the message."""
        self._undone[queue_id] = _as_state(state)

    def leave_beyond(
        self, queue_id: str, state: MessageState | None, error: OSError, *, kept: int | None = None
    ) -> bool:
        """Leave a message that cannot be moved when many are kept open already: there are not many descriptors.

        ``kept`` is how many; else as many as are settled. Returns whether it was left.
        """
        if (len(self._settled) if kept is None else kept) < self._most_settled // 2:
            return False
        self.leave(queue_id, state)
        self._aside.tell(
            f"{self._moves.directory}: not all that was settled can be moved ({error.strerror}): "
            "the next run tries again"
        )
        return True

    def note_unreported(self, queue_id: str, state: MessageState | None) -> None:
        """Keep the record of a message with failures that no person was told of."""
        if state is not None and state.unreported:
            self._unreported[queue_id] = state

    @property
    def untold(self) -> list[str]:
        """The ids of messages with failures that no person was told of, where the spool itself says so."""
        return [queue_id for queue_id in self._unreported if queue_id not in self._undone]

    # --- what nobody may claim --------------------------------------------------------------------------------

    @property
    def settled(self) -> AbstractSet[str]:
        """The ids of what is settled, and open until it stands where it belongs."""
        return self._settled.keys()

    @property
    def undone(self) -> AbstractSet[str]:
        """The ids of what is left to the next run."""
        return self._undone.keys()

    # --- durability -------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Bring the records to the disk, then move or remove the messages they are about. Raises OSError.

        A message that cannot be moved (a full disk) keeps its record, and is tried again at the next sync.
        """
        self.journal.sync()
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
                    if self.leave_beyond(queue_id, state, error, kept=kept):
                        del self._settled[queue_id]
                        claimed.close()
                    kept += 1
                    continue
                if state.relayed and claimed.state.revision:
                    # It is gone, and its state may not be.
                    self.leave(queue_id, state)
                # Or it was removed by hand, under our lock: so be it.
            del self._settled[queue_id]
            if state.relayed and self._removes:
                removed.append(claimed.detach())
            else:
                # Who comes next must find it unlocked.
                claimed.close()
        if removed:
            self._closer.close(removed)
        if self.journal.offset > self._long_bytes:
            self._checkpoint()
            # What it has to keep, it would only write again.
            self._long_bytes = self.journal.offset + _LONG_JOURNAL_BYTES

    def forget_replayed(self) -> bool:
        """Forget what the journals of earlier runs said, now that it is carried out; False when that is not possible.

        Raises OSError.
        """
        is_forgotten = self._checkpoint()
        self.journal.replayed.clear()
        return is_forgotten

    def finish(self) -> frozenset[str]:
        """End the run, as `Spool.finish` says. Raises OSError."""
        self.sync()
        unmoved = frozenset(self.settled | self.undone)
        for claimed, state in self._settled.values():
            where = "moved to failed" if not state.pending else "moved to deferred"
            what = "removed, though it was relayed" if state.relayed else where
            self._aside.tell(f"{claimed.path} cannot be {what}: the next run tries again")
        self._checkpoint()
        self._moves.remove_empty()
        if self._worker and not self.journal.offset:
            os.unlink(journal_path(self._moves.directory, self._worker))
        self.journal.close()
        self._closer.finish()
        self.abandon()
        return unmoved

    def abandon(self) -> None:
        """Let go of all: the next run carries out what is in the journal. Raises OSError."""
        for claimed, _ in self._settled.values():
            claimed.close()
        self._settled.clear()

    def _checkpoint(self) -> bool:
        """Make all steps durable, then let the journal forget why they were made; False when it could not.

        It keeps what was not done yet: moves that failed, records that a recovery was asked to leave, what was in the
        journal of a worker before, and failures that no person was told of. Raises OSError.
        """
        self._moves.make_durable()
        settled = {queue_id: state for queue_id, (_, state) in self._settled.items()}
        kept = self._inherited | self._undone | settled | self._unreported
        if not kept:
            self.journal.clear()
            return True
        try:
            self.journal.keep_only(
                relayed_record(queue_id) if state.relayed else state_record(queue_id, state)
                for queue_id, state in kept.items()
            )
        except OSError:
            # On a full disk the long journal stays: carrying it out again changes nothing.
            return False
        return True
