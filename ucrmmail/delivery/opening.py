"""Before a run: complete what a crash left, report what was not, take the drop directory, bring back what is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.delivery.notices import MOST_OF_ORIGINAL_BYTES, told_by
from ucrmmail.delivery.settlement import all_reported, unreported
from ucrmmail.errors import TemporaryError, UcrmmailError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.concerns import Concerns
    from ucrmmail.delivery.drops import Drops
    from ucrmmail.delivery.notices import Reporter
    from ucrmmail.delivery.schedule import Retry
    from ucrmmail.spool.claimed import Claimed
    from ucrmmail.spool.queue import Spool
    from ucrmmail.spool.state import MessageState, RecipientState


def open_queue(
    spool: Spool,
    *,
    drops: Drops,
    reporter: Reporter,
    retry: Retry,
    clock: Clock,
    sleep: Callable[[float], None],
    stopping: Callable[[], bool] = lambda: False,
    set_back: bool = False,
    concerns: Concerns,
) -> None:
    """Make the queue ready for a run. When the clock was ``set_back``, all that is deferred is due. Raises OSError.

    What a run that is ``stopping()`` leaves here, the next one finds where it was.
    """
    for queue_id in spool.recover(clock.now(), stopping):
        if stopping():
            break
        path = spool.find(queue_id)
        claimed = spool.claim_at(path, queue_id) if path is not None else None
        if claimed is None:
            continue
        if unreported(claimed.state):
            original = beginning_of(claimed)
            report_failures(
                spool, claimed, claimed.state, reporter, original=original, now=clock.now(), concerns=concerns
            )
        else:
            # A person has retried it since, and so knows of the failure: nothing is left to tell.
            spool.update_state(queue_id, claimed.state)
        spool.release(claimed)

    drops.take_all(sleep)
    spool.promote_due(clock.now(), retry.max_delay_s, everything=set_back)


def beginning_of(claimed: Claimed) -> bytes:
    """Return as much of the message as a report looks at, whatever its size; what can be read of it, at the least."""
    parts: list[bytes] = []
    size = 0
    try:
        for part in claimed.chunks():
            parts.append(part)
            size += len(part)
            if size > MOST_OF_ORIGINAL_BYTES:
                break
    except OSError:
        pass  # the failure has to be told all the same
    return b"".join(parts)


def _line(queue_id: str, failed: RecipientState, was_to_tell: str = "") -> str:
    doubt = "; it may have been delivered" if failed.uncertain else ""
    untold = f"; {was_to_tell}" if was_to_tell else ""
    return f"{queue_id} to {failed.recipient} failed: {failed.reply}{doubt}{untold}"


def report_failures(
    spool: Spool,
    claimed: Claimed,
    state: MessageState,
    reporter: Reporter,
    *,
    original: bytes,
    now: float,
    concerns: Concerns,
) -> None:
    """Tell a person of the failures that nobody was told of, then mark them as told.

    The failure itself is recorded already. A crash in between repeats the telling, it never swallows it. A report that
    cannot be queued (a full disk), and a line that cannot be kept for a person, stays owed, and the next run tries
    again: it does not stop the other messages.
    """
    failed = unreported(state)
    try:
        told = reporter.report(
            queue_id=claimed.queue_id,
            reverse_path=claimed.reverse_path,
            accepted_at=claimed.accepted_at,
            failed=failed,
            original=original,
            now=now,
        )
    except (TemporaryError, OSError) as error:
        why = error.what if isinstance(error, TemporaryError) else str(error)
        more = f", and to {len(failed) - 1} more" if len(failed) > 1 else ""
        # Each run tries again until the disk has room, and cron mails what each one prints.
        concerns.add_hourly(
            f"{_line(claimed.queue_id, failed[0])}{more}; the report of that could not be queued, the next run tries "
            f"again: {why}",
            exit_code=TemporaryError.exit_code,
        )
        return
    except UcrmmailError as error:
        # There is no way to write to them: the person who reads this is told in their place.
        concerns.add_once(f"no report of what follows can be sent: {error.what}")
        told = ""
    if not told:
        was_to_tell = told_by(original, lambda queue_id: spool.find(queue_id) is not None)
        if not concerns.add_once(*[_line(claimed.queue_id, one, was_to_tell) for one in failed]):
            return
    spool.update_state(claimed.queue_id, all_reported(state))
