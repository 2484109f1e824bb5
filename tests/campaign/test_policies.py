"""The whole engine against providers with policies of all kinds, over simulated days (R9, R22, S19).

A world has a queue of mail and a provider that refuses some of it, or all for a time, or more than it likes: see
``policy_worlds``. What the provider took and said is the truth. Behind each run holds:

    nothing is lost       each recipient of each message was taken, or waits, or failed and is kept with the reply
    nothing comes twice   but for what was told as uncertain
    nothing fails         but what a policy means, with the 5yz that was said of it; or it was given up in its time
    others get theirs     soon, in runs and in simulated time; and so do those whose own trouble is over
    nobody is pestered    a run makes so many connections, and meets so many refusals, at the most
    no run ends silently  with mail in ``queue/``: it says why
    limits hold           by the provider's clock, and what was refused has not used them up

A world that fails names its seed: ``UCRMMAIL_CAMPAIGN_SEED=n`` in the short form runs it alone. Over several connections
it may take some runs to meet the same again.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.machine import DAY_S
from tests.campaign.policy_days import SLACK_S, Days
from tests.campaign.policy_worlds import World, world
from tests.campaign.world import LONG, SEED
from tests.support.limits_oracle import most_in_any_span, windows_can_be_drawn
from tests.support.provider import Mail, Policy, Scope
from ucrmmail.limits.rules import Throttle
from ucrmmail.spool.state import RecipientState

pytestmark = pytest.mark.timeout(3600)

IS_ALONE = "UCRMMAIL_CAMPAIGN_SEED" in os.environ and not LONG
WORLDS = 600 if LONG else 1 if IS_ALONE else 10
AT_ONCE = 20 if LONG else 5

# So long may mail wait that no policy means, and as long behind the last trouble that it had, or the account: for its
# own pause, that of the account, and the runs in which one is told from the other.
PATIENCE_S = 4000.0
PATIENCE_IN_TROUBLE_S = 16_000.0
PATIENCE_IN_RUNS = 16


def wrong_in(days: Days) -> Iterator[str]:
    """Say what does not hold behind a run."""
    queue = days.queue()
    for mail in days.accepted.values():
        for recipient in mail.recipients:
            state = queue.get(mail.message_id, {}).get(recipient)
            for wrong in wrong_of(days, mail, recipient, state):
                yield f"{mail.message_id} of <{mail.sender}> to {recipient}: {wrong}"
    yield from sent_twice(days)
    yield from pestered(days)
    yield from ended_silently(days)
    for limit in days.world.rules.throttles:
        yield from beyond_limit(days, limit)
        yield from used_up_by_others(days, limit)


def wrong_of(days: Days, mail: Mail, recipient: str, state: RecipientState | None) -> Iterator[str]:
    """Say what is wrong with what became of a recipient; the queue has no ``state`` of who is done."""
    is_taken = bool(days.taken[mail.message_id, recipient])
    policies = days.world.concerning(mail, recipient)
    if (state is None or state.result == "relayed") and not is_taken:
        yield "lost"
    elif state is not None and state.result == "failed":
        yield from failed_for_nothing(days, mail, state, policies)
    elif not is_taken:
        yield from late(days, mail, policies)


def failed_for_nothing(days: Days, mail: Mail, state: RecipientState, policies: list[Policy]) -> Iterator[str]:
    was_said = state.reply.startswith("5") and any(
        (one.place, one.reply) == (state.stage, state.reply) and one.is_of(mail, state.recipient)
        for one in days.provider.refusals
    )
    is_given_up = "given up after" in state.reply and days.age_s >= days.world.retry.give_up_after_s
    if not (policies and (was_said or is_given_up)):
        why = "what was not said of it" if policies else "no policy that means it"
        yield f"failed at {state.stage} with {why}: {state.reply}"


def late(days: Days, mail: Mail, policies: list[Policy]) -> Iterator[str]:
    """Say so when mail waits for longer than what is in its way explains."""
    until_s = max([days.world.account_opens_s, *(one.until_s for one in policies)])
    most_s = until_s + (PATIENCE_IN_TROUBLE_S if until_s else PATIENCE_S)
    # Each message may take its place in a window twice.
    most_s += 2 * windows_s(days.world) + DAY_S * days.world.is_costly(mail)
    if days.age_s > most_s:
        yield f"waits after {days.runs} runs and {days.age_s:.0f} s, of {most_s:.0f}"
    if most_s == PATIENCE_S and days.runs > PATIENCE_IN_RUNS:
        yield f"waits after {days.runs} runs, of {PATIENCE_IN_RUNS}"


def windows_s(of: World) -> float:
    """Return how long the windows are that all the mail of a world fills."""
    in_parts = of.has(Scope.TRANSACTION)
    return sum(
        (of.recipients if in_parts else of.units(limit)) // limit.limit * limit.duration_s
        for limit in of.rules.throttles
    )


def sent_twice(days: Days) -> Iterator[str]:
    known = {mail.message_id for mail in days.world.mails}
    more: Counter[tuple[str, str]] = Counter()
    for (message_id, recipient), times in days.taken.items():
        more[message_id if message_id in known else "", recipient] += times - 1
    for (message_id, recipient), times in more.items():
        doubts = days.doubts[message_id, recipient]
        if times > doubts:
            yield f"{message_id or 'a report'} to {recipient}: taken {times} times more than once, in doubt {doubts} times"


def pestered(days: Days) -> Iterator[str]:
    # Each connection of a run may be followed by 20 that end for what is on them (``delivery.ending``).
    most = 20 + 25 * days.world.connections
    if days.world.has(Scope.CONNECTION):
        most += 2 * days.world.recipients
    if days.connections > most:
        yield f"{days.connections} connections in a run, of {most}"
    most = 60 + 3 * days.world.recipients
    if days.refusals > most:
        yield f"{days.refusals} refusals in a run, of {most}"


def ended_silently(days: Days) -> Iterator[str]:
    left, report = days.left(), days.report
    if left and not (report.exit_code or report.reason or report.trouble or report.held_back):
        yield f"the run ended silently with {len(left)} in queue/"


def taken_of(days: Days, limit: Throttle) -> list[tuple[float, int]]:
    """Return when how much was taken of what a limit counts."""
    return [(one.at, limit.units(len(one.mail.recipients))) for one in days.provider.accepted]


def beyond_limit(days: Days, limit: Throttle) -> Iterator[str]:
    """Say so when more was taken than a limit lets through."""
    taken = taken_of(days, limit)
    duration_s = limit.duration_s - SLACK_S
    if limit.sliding:
        holds = most_in_any_span(taken, duration_s) <= limit.limit
    else:
        holds = windows_can_be_drawn(taken, duration_s, limit.limit)
    if not holds:
        yield f"taken beyond {limit}"


def used_up_by_others(days: Days, limit: Throttle) -> Iterator[str]:
    """Say so when a run ended for a limit of which too little was taken: what was refused has used it up (R22)."""
    # What is in doubt may count for longer (``limits.fixed``), and what others have on their way is not settled.
    if days.report.reason == "throttler" and not days.doubts.total():
        since = days.clock.now() - limit.duration_s - SLACK_S
        used = sum(units for at, units in taken_of(days, limit) if at > since)
        # A message of several recipients may not fit any more.
        if used < limit.limit - 3 * (limit.unit == "recipients"):
            yield f"the run ended for {limit} with {used} taken"


@pytest.mark.requirement("R7", "R9", "R11", "R22", "S19")
@pytest.mark.parametrize("first", range(SEED, SEED + WORLDS, AT_ONCE))
def test_whatever_a_provider_minds_the_rest_of_the_mail_goes(first: int, tmp_path: Path) -> None:
    wrong = []
    figures: Counter[str] = Counter()
    for seed in range(first, min(first + AT_ONCE, SEED + WORLDS)):
        made = world(seed)
        days = Days(made, Path(tempfile.mkdtemp(dir=tmp_path)))
        try:
            found = days.live(wrong_in)
        except Exception as error:
            error.add_note(str(made))
            raise
        if found:
            wrong.append("\n    ".join((str(made), f"in run {days.runs}, after {days.age_s:.0f} s:", *found[:5])))
        failed = sum(one.result == "failed" for states in days.queue().values() for one in states.values())
        figures += Counter(
            worlds=1, policies=len(made.policies), runs=days.runs, messages=len(made.mails),
            recipients=made.recipients, taken=days.taken.total(), refusals=len(days.provider.refusals),
            failed=failed, excused=days.taken.total() - len(days.taken),
        )  # fmt: skip
    print(f"from seed {first}: {', '.join(f'{number} {name}' for name, number in figures.items())}")
    assert not wrong, "\n\n".join(wrong)
