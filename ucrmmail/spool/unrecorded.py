"""When the journal does not take what became of a message: the spool itself is made to say it, then the run ends.

    relayed to everyone    the message is removed, or kept in sent/, as with a record: nobody can send it again
    to some, or in doubt   the state beside it says who has it, or may have it; the others count as not tried

This is on the disk when it returns, and no record of an earlier part undoes it: a message that is gone does not come
back, and of two states the one with the higher revision holds. That somebody was refused is not kept: only a record has
the sender told of it, so the next run asks again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ucrmmail.dataclass import replace

if TYPE_CHECKING:
    from ucrmmail.spool.claimed import Claimed
    from ucrmmail.spool.moves import Moves
    from ucrmmail.spool.state import MessageState, RecipientState


class UnrecordedError(OSError):
    """What became of a message is in no journal; ``is_kept``: nobody who has it gets it again all the same."""

    is_kept = False


def unrecorded(error: OSError, moves: Moves, claimed: Claimed, state: MessageState, *, now: float) -> UnrecordedError:
    """Keep what became of a message without the record that ``error`` refused; return the error that tells of both."""
    before = claimed.state
    # Nobody is left of a message that goes.
    recipients = () if state.relayed else tuple(map(_without_record, before.recipients, state.recipients))
    is_kept = True
    if recipients != before.recipients:
        try:
            _keep(moves, claimed, recipients, now=now)
        except OSError:
            is_kept = False
    if not is_kept or any(recipient.uncertain for recipient in recipients):
        so = "it may be delivered twice"
    else:
        so = "it is tried again" if recipients == before.recipients else "it is not sent again to those who have it"
    told = UnrecordedError(
        error.errno,
        f"{error.strerror or error}; what became of {claimed.queue_id} could not be recorded: {so}",
        error.filename,
    )
    told.is_kept = is_kept
    return told


def _without_record(before: RecipientState, after: RecipientState) -> RecipientState:
    """Return who has the message as such, and who may have it as one who is still to be tried."""
    return after if after.result == "relayed" else replace(before, uncertain=after.uncertain)


def _keep(moves: Moves, claimed: Claimed, recipients: tuple[RecipientState, ...], *, now: float) -> None:
    """Make the spool say who has the message, on the disk. Raises OSError."""
    queue_id, before = claimed.queue_id, claimed.state
    if recipients:
        moves.write_state(queue_id, replace(before, recipients=recipients, revision=before.revision + 1), synced=True)
        moves.make_durable()
        return
    try:
        moves.relayed(claimed.path, queue_id, now=now, had_state=False)
    except OSError:
        if not moves.keeps_sent:
            raise
        # What sent/ does not take is better gone than sent again.
        moves.remove(claimed.path)
    moves.make_durable()
    # Only now: it says who has a message that a power cut brings back. Left behind, it is in nobody's way.
    with suppress(OSError):
        moves.forget_state(queue_id)
