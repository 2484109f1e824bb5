"""A run of the flush over seven messages, each with a fate of its own, and what must hold however it ended."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.spools import (
    ANN,
    JOE,
    MAX_DELAY_S,
    MESSAGE,
    NOW,
    StillClock,
    after,
    claim,
    content,
    everything_in,
    place_of,
    put,
    reported,
    settle,
)
from ucrmmail.spool.layout import is_queue_id
from ucrmmail.spool.moves import read_state
from ucrmmail.spool.queue import Spool

Say = Callable[[str], None]
LATER = NOW + 10 * 365 * 86400


def whole_messages(spool: Spool) -> list[str]:
    """Claim all that is due; each must be whole."""
    found = []
    for queue_id in list(spool.due()):
        claimed = claim(spool, queue_id)
        assert content(claimed) == MESSAGE
        spool.release(claimed)
        found.append(queue_id)
    assert spool.corrupt == []
    return found


def recovered(directory: str) -> Spool:
    spool = Spool(directory, clock=StillClock(LATER))
    spool.recover(LATER)
    return spool


def seven_messages(directory: str) -> None:
    """In the order of their seconds: to be relayed, deferred, refused, half refused, half relayed; deferred before; bulk."""
    for number in range(5):
        put(directory, JOE, ANN, now=NOW + number)
    before = put(directory, JOE, ANN, now=NOW - 60)
    spool = Spool(directory, clock=StillClock())
    settle(spool, before, "relayed", only=[JOE], in_s=1)
    spool.finish()
    put(directory, JOE, ANN, now=NOW, priority="bulk")


def run(directory: str, say: Say, *, sync_every: int = 2) -> None:
    """A flush: say what is on the wire, and what is recorded."""
    spool = Spool(directory, clock=StillClock(NOW + 2))
    for queue_id in spool.recover(NOW + 2):
        tell_failures(spool, queue_id, say)
    spool.promote_due(NOW + 2, MAX_DELAY_S)
    for number, queue_id in enumerate(spool.due()):
        claimed = spool.claim(queue_id)
        if claimed is None:
            continue
        spool.ensure_room(claimed)
        say(f"wire {queue_id} {','.join(claimed.pending)}")
        match fate(queue_id):
            case "relayed":
                spool.settle(claimed, after(claimed.state, "relayed"))
            case "deferred":
                spool.settle(claimed, after(claimed.state, "deferred", next_attempt_at=NOW + 3600))
            case "half":
                spool.settle(claimed, after(claimed.state, "relayed", only=[JOE], next_attempt_at=NOW + 3600))
            case "failed":
                say(f"telling {queue_id}")
                state = after(claimed.state, "failed")
                spool.settle(claimed, state)
                spool.update_state(queue_id, reported(state))
                say(f"told {queue_id}")
        say(f"recorded {queue_id}")
        if number % sync_every == 1:
            spool.sync()
    spool.finish()


def tell_failures(spool: Spool, queue_id: str, say: Say) -> None:
    path = spool.find(queue_id)
    assert path is not None
    failed = spool.claim_at(path, queue_id)
    assert failed is not None
    say(f"telling {queue_id}")
    spool.update_state(queue_id, reported(failed.state))
    say(f"told {queue_id}")
    spool.release(failed)


def fate(queue_id: str) -> str:
    if queue_id.startswith("2") or queue_id[2:17] == "20261123T110540":
        return "relayed"
    return ("relayed", "deferred", "failed", "half", "relayed")[int(queue_id[15:17]) - 40]


def check_run(directory: str, said: list[str]) -> None:
    """Whatever was recorded is so; whatever was not waits; nobody who has the message gets it again."""
    recorded = {line.split()[1] for line in said if line.startswith("recorded")}
    settled = {line.split()[1] for line in said if line.startswith("wire")}
    told = {line.split()[1] for line in said if line.startswith("told")}
    spool = Spool(directory, clock=StillClock(LATER))
    unreported = set(spool.recover(LATER))
    waiting = whole_messages(spool)
    for queue_id in all_ids(directory, said, waiting):
        place = place_of(directory, queue_id)
        kind = fate(queue_id)
        if queue_id in recorded or queue_id in told:
            assert place == {"relayed": "", "deferred": "deferred", "failed": "failed", "half": "deferred"}[kind]
            assert queue_id not in waiting
        elif queue_id not in settled:
            assert place in ("queue", "deferred"), (queue_id, place)
        state = read_state(directory, queue_id)
        if kind == "half" and queue_id in recorded:
            assert state is not None
            assert state.pending == (ANN,)
        if place == "failed":
            assert state is not None
            # Told, or to be told by the next run: never forgotten.
            assert (queue_id in unreported) == state.unreported
            assert queue_id in unreported or queue_id in told or f"telling {queue_id}" in said
    spool.finish()


def all_ids(directory: str, said: list[str], waiting: list[str]) -> set[str]:
    names = {path.rsplit("/", 1)[-1] for path in everything_in(directory)}
    spoken = {line.split()[1] for line in said}
    found = {name for name in names | spoken | set(waiting) if is_queue_id(name)}
    assert len(found) <= 7
    return found
