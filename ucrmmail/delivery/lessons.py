"""What runs learn of an account, one from the other: whose trouble it may be, what its server does not understand.

Pure: from the state that is kept and the ending of a run to the state that the next one finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, replace
from ucrmmail.delivery.account import AccountState, after_trouble, distrusted, without, works
from ucrmmail.delivery.ending import EX_UNAVAILABLE
from ucrmmail.delivery.suspicion import keys_of
from ucrmmail.message.outcome import Stage

if TYPE_CHECKING:
    from collections.abc import Collection

    from ucrmmail.delivery.ending import Ending
    from ucrmmail.delivery.schedule import Retry
    from ucrmmail.message.outcome import Trouble

# So many messages, and senders, that may be to blame are remembered.
_MOST_SUSPECTS = 100
# So many are passed over at the most: to pass over one costs nothing, but it is later than others for it.
_MOST_PASSED_OVER = 1023


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a run is told of earlier ones.

    ``suspects`` are the messages that ``Ending.refused`` named since a run had no trouble, ``lost`` those of
    ``Ending.unresolved``, and ``Ending.refused`` of a lost connection: they come last, and so do all messages of the
    ``senders`` of `Ending`. ``distrusted``, ``doubted`` and ``guessed`` are the last one's ``lies``, ``doubted`` and
    ``guessed``. ``in_trouble``: the last run ended in a trouble of the account; ``secret_first``: it had no secret, and
    this one connects to no server before it has. ``over_quota`` is as in `AccountState`. ``passes_over`` is as in
    `Suspicion`: sixteen times as many with each run in trouble, so that messages which are refused alike cost few runs,
    however many there are, and not one each.
    """

    suspects: Collection[str] = ()
    senders: Collection[str] = ()
    lost: Collection[str] = ()
    distrusted: Collection[str] = ()
    doubted: str = ""
    guessed: str = ""
    in_trouble: bool = False
    passes_over: int = 0
    over_quota: Collection[str] = ()
    secret_first: bool = False


def lessons_of(state: AccountState, *, now: float, settings_mark: str) -> Lessons:
    """Return what a run that begins ``now``, in seconds since the epoch, is to know."""
    return Lessons(
        # What others do not use up: a quota does not go first to those, and pass for the suspect's own trouble.
        suspects=state.suspect.split(),
        senders=state.senders.splitlines(),
        lost=state.lost.split(),
        distrusted=distrusted(state, now=now, settings_mark=settings_mark),
        doubted=state.doubted if state.settings_mark == settings_mark else "",
        guessed=state.guessed if state.settings_mark == settings_mark else "",
        in_trouble=state.deferred,
        passes_over=_passed_over(state),
        over_quota=state.over_quota.splitlines() if state.settings_mark == settings_mark else (),
        secret_first=state.stage == Stage.SECRET,
    )


def _passed_over(state: AccountState) -> int:
    if not (state.suspect or state.lost):
        return 0
    return min((1 << 4 * min(max(state.searched - 1, 0), 10)) - 1, _MOST_PASSED_OVER)


def after_calm_run(
    state: AccountState, ending: Ending, *, relayed: bool, answered: bool, now: float, settings_mark: str
) -> AccountState:
    """Return the state after a run that met no trouble of the account; the same object where nothing changed.

    ``relayed``: it relayed a message to all. ``answered``: the server refused one, with nothing against the account.
    """
    known = state
    state = _with_extensions(state, ending, now=now, settings_mark=settings_mark)
    state = _with_quotas(state, ending, settings_mark=settings_mark)
    if state.deferred and (ending.relayed or answered):
        # The server was reached, and has nothing against the account.
        state = _works(state)
    lost = _joined(ending.unresolved) if relayed else state.lost
    return state if state is known and lost == state.lost else replace(state, lost=lost)


def _works(state: AccountState) -> AccountState:
    """Return the state of an account without troubles; that a refusal to relay was told is kept: others go between."""
    if state.stage != Stage.RCPT or state.not_before:
        return works(state)
    return replace(works(state), what=state.what, exit_code=state.exit_code, told_at=state.told_at)


def _with_quotas(state: AccountState, ending: Ending, *, settings_mark: str) -> AccountState:
    before = state.over_quota.splitlines() if state.settings_mark in ("", settings_mark) else []
    over_quota = _joined([*(one for one in before if one not in ending.cleared), *sorted(ending.over_quota)], "\n")
    if over_quota == (state.over_quota if before else ""):
        return state
    if state.settings_mark not in ("", settings_mark):
        state = AccountState()
    return replace(state, over_quota=over_quota, settings_mark=settings_mark)


def after_troubled_run(
    state: AccountState,
    ending: Ending,
    trouble: Trouble,
    *,
    now: float,
    retry: Retry,
    settings_mark: str,
    secret_mark: str,
    told_at: float,
) -> AccountState:
    """Return the state after a run that ended in ``trouble``: how long to wait, and who may be to blame."""
    state = _with_extensions(state, ending, now=now, settings_mark=settings_mark)
    state = _with_quotas(state, ending, settings_mark=settings_mark)
    if ending.relayed:
        # What was not tried behind the proof is suspect still: it would end the next run as it has ended this one.
        state = replace(works(state), suspect=state.suspect, senders=state.senders)
    refused = ending.refused.split()
    at_lost = trouble.exit_code == EX_UNAVAILABLE
    return after_trouble(
        state,
        trouble,
        now=now,
        first_delay_s=retry.first_delay_s,
        max_delay_s=retry.max_delay_s,
        settings_mark=settings_mark,
        secret_mark=secret_mark,
        # Each may be to blame: two of them would only take turns.
        suspect=_joined([*state.suspect.split(), *ending.suspects, *([] if at_lost else refused)]),
        senders=_joined(_in_turn(state.senders.splitlines(), ending), "\n"),
        lost=_joined([*state.lost.split(), *ending.unresolved, *(refused if at_lost else [])]),
        # Where nothing of others was there to show it, it is his again, as it seems: they wait as little as may be.
        grows=not trouble.quota or set(keys_of(ending.sender)).isdisjoint(state.over_quota.splitlines()),
        told_at=told_at,
    )


def _in_turn(senders: Collection[str], ending: Ending) -> list[str]:
    """Return the suspected senders; who was asked last comes last, since others may be refused no more."""
    left = [one for one in senders if one not in ending.cleared | ending.senders]
    return [*sorted(left, key=ending.had_turn.__contains__), *sorted(ending.senders)]


def _with_extensions(state: AccountState, ending: Ending, *, now: float, settings_mark: str) -> AccountState:
    doubted = ending.doubted if ending.doubted not in ending.lies else ""
    # Only where mail went is something shown.
    guessed = ending.guessed if ending.relayed else state.guessed
    if not ending.lies and (doubted, guessed) == (state.doubted, state.guessed):
        return state
    return without(state, ending.lies, doubted, guessed=guessed, now=now, settings_mark=settings_mark)


def _joined(suspects: Collection[str], between: str = " ") -> str:
    return between.join(list(dict.fromkeys(suspects))[-_MOST_SUSPECTS:])
