"""``flush --dry-run``: what would go, in which order and when, if each message took no time. Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ucrmmail.limits.view import read_tally, schedule
from ucrmmail.spool.listing import messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.limits.rules import Rules


@dataclass(frozen=True, slots=True)
class Forecast:
    """One message that would go: ``at`` is when, in seconds since the epoch."""

    queue_id: str
    reverse_path: str
    recipients: tuple[str, ...]
    size_bytes: int
    at: float


def forecast(directory: str, rules: Rules, *, now: float, boot_id: str, message_limit: int) -> Iterator[Forecast]:
    """Yield the messages that are due, in sending order, at most ``message_limit`` (0: all). Raises OSError."""
    due = list(islice(messages(directory, states=("waiting",)), message_limit or None))
    tally = read_tally(f"{directory}/ledger", rules, now, boot_id)
    for message, at in zip(due, schedule(tally, now, (len(message.recipients) for message in due)), strict=True):
        yield Forecast(message.queue_id, message.reverse_path, tuple(message.recipients), message.size_bytes, at)
