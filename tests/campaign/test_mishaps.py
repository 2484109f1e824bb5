"""Everything at once, over simulated days: kills and refusals of the disk at any call, a person who meddles, a provider
with policies (R1, R2, R4, R5, R6, R19, R22, S19).

A world is that of ``test_policies``. Its mail is submitted and dropped; submissions, changes of the queue and runs are
killed or stopped, or the file system refuses them a call, or all of a kind, or all at a place for some runs; the
configuration changes from run to run; messages are held, released, retried and removed, while a run is at work too. Behind
each run holds what ``test_policies`` asks for, but:

    nothing comes twice   except what was told as uncertain, and the last message of each connection of a killed run
    others get theirs     as soon as there, counted from the last mishap
    limits hold           what a killed run has counted and not sent is used up
    held is held          what was held, or removed, while a run was at work, does not leave behind that

and when nothing happens any more nothing is left in ``tmp/``, set aside, or without its message, and each failure was told.

A world that fails names its seed: ``UCRMMAIL_CAMPAIGN_SEED=n`` in the short form runs it alone. Where the calls of a run
fall differs a little from one time to the next: it may take some to meet the same again.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.campaign.machine import DAY_S
from tests.campaign.mishap_days import MishapDays
from tests.campaign.policy_days import Days
from tests.campaign.policy_worlds import world
from tests.campaign.test_policies import (
    PATIENCE_IN_TROUBLE_S,
    beyond_limit,
    ended_silently,
    failed_for_nothing,
    pestered,
    windows_s,
)
from tests.campaign.world import LONG, SEED
from tests.support.provider import Mail
from tests.support.spools import everything_in
from ucrmmail.spool.state import RecipientState

pytestmark = pytest.mark.timeout(3600)

IS_ALONE = "UCRMMAIL_CAMPAIGN_SEED" in os.environ and not LONG
WORLDS = 600 if LONG else 1 if IS_ALONE else 10
AT_ONCE = 10 if LONG else 5


def wrong_in(days: Days) -> Iterator[str]:
    """Say what does not hold behind a run."""
    assert isinstance(days, MishapDays)
    queue, dropped = days.queue(), days.dropped
    for mail in days.accepted.values():
        for recipient in mail.recipients if mail.message_id not in days.removed else ():
            state = queue.get(mail.message_id, {}).get(recipient)
            for wrong in wrong_of(days, mail, recipient, state, dropped):
                yield f"{mail.message_id} of <{mail.sender}> to {recipient}: {wrong}"
    yield from sent_twice(days)
    yield from pestered(days)
    yield from ended_silently(days)
    for limit in days.world.rules.throttles:
        yield from beyond_limit(days, limit)


def wrong_of(
    days: MishapDays, mail: Mail, recipient: str, state: RecipientState | None, dropped: Collection[str]
) -> Iterator[str]:
    """Say what is wrong with what became of a recipient; the queue has no ``state`` of who is done."""
    is_taken = bool(days.taken[mail.message_id, recipient])
    if (state is None or state.result == "relayed") and not is_taken:
        if mail.message_id not in dropped:
            yield "lost"
    elif state is not None and state.result == "failed":
        yield from failed_for_nothing(days, mail, state, days.world.concerning(mail, recipient))
    elif not is_taken:
        yield from late(days, mail)


def late(days: MishapDays, mail: Mail) -> Iterator[str]:
    """Say so when mail waits for longer than what is in its way, and what happened, explains."""
    policies = [policy for recipient in mail.recipients for policy in days.world.concerning(mail, recipient)]
    until_s = max([days.world.account_opens_s, days.last_mishap_s, *(one.until_s for one in policies)])
    most_s = until_s + PATIENCE_IN_TROUBLE_S + 2 * windows_s(days.world) + DAY_S * days.world.is_costly(mail)
    if days.age_s > most_s:
        yield f"waits after {days.runs} runs and {days.age_s:.0f} s, of {most_s:.0f}"


def sent_twice(days: MishapDays) -> Iterator[str]:
    """Say what was taken once more than a doubt or a kill explains, or behind its removal."""
    taken = days.provider.accepted
    # What a run was about to record when it was killed: the last transaction of each of its connections.
    last_of = {one.connection: number for number, one in enumerate(taken)}
    before: dict[tuple[str, str], int] = {}
    unexcused: Counter[tuple[str, str]] = Counter()
    for number, one in enumerate(taken):
        if number >= days.removed.get(one.message_id, len(taken)):
            yield f"{one.message_id} was sent behind its removal"
        if any(held == one.message_id and since <= number < until for held, since, until in days.held):
            yield f"{one.message_id} was sent while it was held"
        for recipient in one.mail.recipients:
            at = before.get((one.message_id, recipient))
            if at is not None and not (days.was_killed_at(at) and last_of[taken[at].connection] == at):
                unexcused[one.message_id, recipient] += 1
            before[one.message_id, recipient] = number
    for (message_id, recipient), times in unexcused.items():
        # A report has no Message-ID that is known here.
        doubts = days.doubts[message_id, recipient] + days.doubts["", recipient]
        if times > doubts:
            yield f"{message_id} to {recipient}: taken {times} times more than once, in doubt {doubts} times"


def left_behind(days: MishapDays) -> Iterator[str]:
    """Say what is left of what was killed, or refused, when all is over."""
    ids = {message.queue_id for message in days.machine.queue()}
    for path in everything_in(days.machine.directory):
        place, _, name = path.partition("/")
        if place in {"corrupt", "rejected", "tmp"} or (place == "state" and name not in ids):
            yield f"left behind: {path}"
    yield from untold(days)


def untold(days: MishapDays) -> Iterator[str]:
    """Say whose failure nobody was told of: by a report that was taken, or that is queued."""
    reports = Counter(one.mail.recipients for one in days.provider.accepted if not one.mail.sender)
    failed: Counter[tuple[str, ...]] = Counter()
    for message in days.machine.queue():
        mail = days.by_id.get(message.message_id)
        if not message.reverse_path and mail is None:
            reports[message.recipients] += 1
        for one in message.delivery.recipients:
            if one.result == "failed" and not one.reported:
                yield f"{message.queue_id} to {one.recipient} failed, and nobody was told"
        if mail is not None and mail.sender and message.delivery.failed:
            failed[(mail.sender,)] += 1
    for to, count in failed.items():
        if reports[to] < count:
            yield f"{to}: {count} messages failed, of which {reports[to]} reports were made"


@pytest.mark.requirement("R1", "R2", "R4", "R5", "R6", "R19", "R22", "S19")
@pytest.mark.parametrize("first", range(SEED, SEED + WORLDS, AT_ONCE))
def test_whatever_happens_on_the_way_no_mail_is_lost_or_sent_twice(first: int, tmp_path: Path) -> None:
    wrong = []
    figures: Counter[str] = Counter()
    for seed in range(first, min(first + AT_ONCE, SEED + WORLDS)):
        days = MishapDays(world(seed), Path(tempfile.mkdtemp(dir=tmp_path)))
        try:
            found = days.live(wrong_in) or list(left_behind(days))
        except Exception as error:
            error.add_note(days.told)
            raise
        if found:
            wrong.append("\n    ".join((days.told, f"in run {days.runs}, after {days.age_s:.0f} s:", *found[:5])))
        figures += Counter(
            worlds=1, runs=days.runs, messages=len(days.world.mails), mishaps=len(days.mishaps), **days.met,
            taken=days.taken.total(), excused=days.taken.total() - len(days.taken),
        )  # fmt: skip
    print(f"from seed {first}: {', '.join(f'{number} {name}' for name, number in figures.items())}")
    assert not wrong, "\n\n".join(wrong)
