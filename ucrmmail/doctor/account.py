"""The account between two runs: its limits, and what the last flush learnt of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.clock import rfc3339
from ucrmmail.dataclass import replace
from ucrmmail.doctor.check import Check, Verdict
from ucrmmail.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.delivery.account import AccountState
    from ucrmmail.limits.view import LimitsView

# A smarthost that was not reached, a login that was refused: what a session shows to be over.
_OVER_WHEN_IT_WORKS = (69, 77)


def judge_limits(limits: LimitsView, waiting: int, now: float) -> Check:
    """Judge whether mail waits for a limit: that is well, and still what the one who waits for it wants to know."""
    told, used_up, opens_at = [], False, 0.0
    for view in limits.throttles:
        throttle = view.throttle
        told.append(f"{view.used} of {throttle.limit} {throttle.unit} in {format_duration(throttle.duration_s)}")
        if view.used >= throttle.limit:
            used_up, opens_at = True, max(opens_at, view.resets_at or 0.0)
    flood = limits.flood
    if flood is not None:
        told.append(f"{flood.count} of {flood.threshold} in a row")
        if flood.paused_until is not None and flood.paused_until > now:
            used_up, opens_at = True, max(opens_at, flood.paused_until)
    facts = {"opens_at": rfc3339(opens_at) if used_up else None}
    if not told:
        return Check("limits", Verdict.OK, "none is set", facts=facts)
    detail = ", ".join(told)
    if used_up and waiting:
        detail += f": used up until {rfc3339(opens_at)}, and {waiting} wait for it"
        return Check(
            "limits", Verdict.WARN, detail, "they go by themselves; `ucrmmail flush --dry-run` says when", facts=facts
        )
    return Check("limits", Verdict.OK, detail, facts=facts)


def judge_account(state: AccountState, opens_at: float, now: float) -> Check:
    """Judge what the last runs learnt of the account; ``opens_at`` is when the next one may try."""
    if not state.deferred:
        return Check("account", Verdict.OK, "the last run had no trouble with it")
    pause = f"; no run tries before {rfc3339(opens_at)}" if opens_at > now else "; the next run tries again"
    facts = {"not_before": rfc3339(opens_at) if opens_at > now else None, "exit_code": state.exit_code}
    return Check("account", Verdict.FAIL, f"{state.what}{pause}", state.remedy, facts=facts)


def with_hindsight(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the checks, the account's in the light of a session that has just been well.

    What the last run found may be mended, and without mail no run comes to know it.
    """
    verdicts = {check.name: check.verdict for check in checks}
    well = verdicts.get("connection") in (Verdict.OK, Verdict.WARN) and verdicts.get("login") is Verdict.OK

    def seen_again(check: Check) -> Check:
        if check.name != "account" or check.facts.get("exit_code") not in _OVER_WHEN_IT_WORKS or not well:
            return check
        return replace(
            check,
            verdict=Verdict.WARN,
            detail=f"it works now; the last run had trouble: {check.detail}",
            remedy="nothing is to be done: the next run that may try goes on",
        )

    return tuple(map(seen_again, checks))
