"""After a crash: what the journals of an earlier run say is carried out, whatever the disk refuses meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.files import DistrustError
from ucrmmail.spool.claimed import claim_at, lock_message
from ucrmmail.spool.layout import HELD, path_in_queue
from ucrmmail.spool.moves import find, find_all, read_state
from ucrmmail.spool.unread import Unread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ucrmmail.spool.aside import Aside
    from ucrmmail.spool.moves import Moves
    from ucrmmail.spool.outcomes import Outcomes
    from ucrmmail.spool.state import MessageState


class Recovery:
    """Carries out records with ``moves``; what cannot be done now ``outcomes`` keeps, and ``aside`` tells of it."""

    def __init__(self, outcomes: Outcomes, moves: Moves, aside: Aside, *, now: float) -> None:
        self._outcomes = outcomes
        self._moves = moves
        self._aside = aside
        self._now = now

    def carry_out(self, records: Mapping[str, MessageState | None], stopping: Callable[[], bool]) -> None:
        """Move or remove each message as its newest record says; when the run is ``stopping()`` the rest is left.

        Raises OSError.
        """
        directory = self._moves.directory
        unknown: dict[str, OSError] = {}
        places = find_all(directory, records, unknown)
        for queue_id, error in unknown.items():
            self._aside.tell(Unread.because_of(error, queue_id, path_in_queue(directory, queue_id)).line)
        for queue_id, state in records.items():
            if queue_id in unknown or stopping():
                self._outcomes.leave(queue_id, state)
                continue
            try:
                there = redo(self._moves, queue_id, state, places.get(queue_id), now=self._now)
            except DistrustError as error:
                self._part_with(queue_id, state, str(error))
                continue
            except OSError as error:
                # A full disk must not stop the queue; this message is not touched before its record is carried out.
                self._settle_later(queue_id, state, error)
                continue
            if there:
                self._outcomes.note_unreported(queue_id, state)
        if self._outcomes.settled:
            # What was refused for once is done now: a message in parts goes on in this run.
            self._outcomes.sync()

    def _part_with(self, queue_id: str, state: MessageState | None, why: str) -> None:
        """Set a message aside whose file cannot be trusted; what its record says holds when it is put back."""
        path = self._path_of(queue_id)
        if path is None:
            return  # it was removed by hand, at this moment
        try:
            is_done = redo_unopened(self._moves, queue_id, state, path, now=self._now)
        except OSError as error:
            self._aside.tell(f"{path}: {why}, and what is recorded of it cannot be carried out: {error.strerror}")
            self._outcomes.leave(queue_id, state)
            return
        if not is_done:
            self._aside.set_aside(path, queue_id, why)

    def _settle_later(self, queue_id: str, state: MessageState | None, error: OSError) -> None:
        """Hold on to a message whose record could not be carried out; the next sync tries again.

        Where it cannot be had, such as one that cannot be read now, the next run does.
        """
        if self._outcomes.leave_beyond(queue_id, state, error):
            return
        directory = self._moves.directory
        path = self._path_of(queue_id)
        claimed = claim_at(directory, path, queue_id, self._aside) if path is not None else None
        if claimed is not None:
            self._outcomes.hold_settled(claimed, state)
        else:
            unknown: dict[str, OSError] = {}
            # Of one that was relayed, and is gone, the state could not be removed.
            if find_all(directory, (queue_id,), unknown) or unknown or state is None:
                self._outcomes.leave(queue_id, state)
        self._outcomes.note_unreported(queue_id, state)

    def _path_of(self, queue_id: str) -> str | None:
        found = find(self._moves.directory, queue_id)
        return found[1] if found is not None else None


def redo(
    moves: Moves, queue_id: str, state: MessageState | None, seen_at: tuple[str, str] | None, *, now: float
) -> bool:
    """Carry out the newest record of a message (None: relayed to everyone); return whether the message is still there.

    ``seen_at`` is what ``find_all`` says of it: one that is nowhere does not come back. Raises DistrustError, OSError.
    """
    locked = lock_message(moves.directory, queue_id, wait=True, seen_at=seen_at) if seen_at is not None else None
    if locked is None:
        if state is None:
            moves.forget_state(queue_id)
        return False
    place, path, fd = locked
    try:
        if state is None:
            moves.relayed(path, queue_id, now=now, had_state=True)
            return False
        kept = read_state(moves.directory, queue_id)
        if kept is not None and kept.revision > state.revision:
            return True  # a person has released or retried it since
        if place == HELD:
            moves.write_state(queue_id, state)
        else:
            moves.put(path, queue_id, state)
        return True
    finally:
        os.close(fd)


def redo_unopened(moves: Moves, queue_id: str, state: MessageState | None, path: str, *, now: float) -> bool:
    """Do what ``redo`` can where the file of a message cannot be trusted; return whether nothing of it is left.

    Who has it does not get it again, should a person put it back. Raises OSError.
    """
    try:
        if state is None:
            moves.relayed(path, queue_id, now=now, had_state=True)
            return True
    except IsADirectoryError:
        return False
    kept = read_state(moves.directory, queue_id)
    if kept is None or kept.revision <= state.revision:
        moves.write_state(queue_id, state)
    return False
