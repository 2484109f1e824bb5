"""A spool with messages in it, and what becomes of them: the words of the spool tests."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ucrmmail.clock import Clock
from ucrmmail.dataclass import replace
from ucrmmail.spool.accept import accept
from ucrmmail.spool.claimed import Claimed
from ucrmmail.spool.layout import make_spool
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.state import MessageState

NOW = 1_795_432_000.25  # 2026-11-23T11:06:40.25Z
MESSAGE = b"From: billing@isp.example\r\nTo: joe@example.com\r\nMessage-ID: <1@isp.example>\r\n\r\nPlease pay.\r\n"
JOE, ANN = "joe@example.com", "ann@example.com"
MAX_DELAY_S = 4 * 3600.0


class StillClock(Clock):
    """A clock that stands until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.at = now
        self.passed = 0.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.passed

    def move(self, seconds: float) -> None:
        self.at += seconds
        self.passed += seconds


def new_spool(path: Path) -> str:
    directory = str(path / "spool")
    make_spool(directory)
    return directory


def put(
    directory: str,
    *recipients: str,
    now: float = NOW,
    priority: str = "normal",
    message: bytes = MESSAGE,
    reverse_path: str = "billing@isp.example",
) -> str:
    return accept(
        directory,
        reverse_path=reverse_path,
        recipients=recipients or (JOE,),
        message=message,
        priority=priority,
        eight_bit=False,
        utf8=False,
        now=now,
        min_free_bytes=0,
    )


def claim(spool: Spool, queue_id: str) -> Claimed:
    claimed = spool.claim(queue_id)
    assert claimed is not None
    return claimed


def content(claimed: Claimed) -> bytes:
    return b"".join(claimed.chunks())


def after(state: MessageState, result: str, *, only: Sequence[str] = (), next_attempt_at: float = 0.0) -> MessageState:
    """The state after an attempt that had this result for the recipients ``only`` (all by default)."""
    recipients = tuple(
        replace(each, result=result, reply=f"said {result}", stage="final-dot", at=NOW, reported=False)
        if not only or each.recipient in only
        else each
        for each in state.recipients
    )
    return replace(
        state,
        attempts=state.attempts + 1,
        first_attempt_at=state.first_attempt_at or NOW,
        next_attempt_at=next_attempt_at,
        reason=f"said {result}" if result == "deferred" else "",
        recipients=recipients,
    )


def reported(state: MessageState) -> MessageState:
    return replace(state, recipients=tuple(replace(each, reported=True) for each in state.recipients))


def settle(spool: Spool, queue_id: str, result: str, *, only: Sequence[str] = (), in_s: float = 0.0) -> MessageState:
    claimed = claim(spool, queue_id)
    at = NOW + in_s if in_s else 0.0
    state = after(claimed.state, result, only=only, next_attempt_at=at)
    spool.settle(claimed, state)
    return state


def everything_in(directory: str, *, without: Iterable[str] = ("journal", "lock", "reserve")) -> list[str]:
    """All files of a spool, as paths below it."""
    found = []
    for parent, _, names in os.walk(directory):
        found += [os.path.relpath(os.path.join(parent, name), directory) for name in names]
    return sorted(set(found) - set(without))


def place_of(directory: str, queue_id: str) -> str:
    """The place a message is in; "" when it is nowhere, and never in two places."""
    places = [path.split("/")[0] for path in everything_in(directory) if path.split("/")[-1] == queue_id]
    places = [place for place in places if place != "state"]
    assert len(places) <= 1, places
    return places[0] if places else ""
