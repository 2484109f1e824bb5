"""How the status looks: a few lines for people, one document for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ucrmmail.clock import rfc3339
from ucrmmail.output import human
from ucrmmail.units import format_duration

if TYPE_CHECKING:
    from ucrmmail.delivery.account import AccountState
    from ucrmmail.limits.view import LimitsView
    from ucrmmail.spool.listing import Counts


def _time(at: float | None) -> str | None:
    return rfc3339(at) if at else None


def status_document(
    counts: Counts,
    limits: LimitsView,
    account: AccountState,
    last_flush: dict[str, Any] | None,
    *,
    account_opens_at: float,
    uncertain: int,
    dropped: int,
) -> dict[str, Any]:
    """Return the JSON fields of ``ucrmmail status``; ``account_opens_at`` is when a pause is over, 0.0 for none."""
    flood = limits.flood
    return {
        "waiting": counts.waiting,
        "deferred": counts.deferred,
        "held": counts.held,
        "failed": counts.failed,
        "corrupt": counts.corrupt,
        "rejected": counts.rejected,
        "dropped": dropped,
        "uncertain": uncertain,
        "oldest_accepted_at": _time(counts.oldest_accepted_at),
        "throttler": [
            {
                "limit": view.throttle.limit,
                "duration_s": view.throttle.duration_s,
                "window": "sliding" if view.throttle.sliding else "fixed",
                "unit": view.throttle.unit,
                "used": view.used,
                "resets_at": _time(view.resets_at),
            }
            for view in limits.throttles
        ],
        "antiflood": {
            "threshold": flood.threshold if flood is not None else 0,
            "pause_s": flood.pause_s if flood is not None else 0,
            "count": flood.count if flood is not None else 0,
            "paused_until": _time(flood.paused_until) if flood is not None else None,
        },
        "account": {
            "deferred": account.deferred,
            "not_before": _time(account_opens_at),
            "what": (account.what or None) if account.deferred else None,
            "remedy": (account.remedy or None) if account.deferred else None,
        },
        "last_flush": last_flush,
    }


def say_status(document: dict[str, Any]) -> None:
    """Print the status for a person."""
    for name in ("waiting", "deferred", "held", "failed", "corrupt", "rejected"):
        if document[name] or name not in ("corrupt", "rejected"):
            human.say(f"{name + ':':<12}{document[name]}")
    if document["dropped"]:
        human.say(f"dropped:    {document['dropped']} in drop/, for the next flush to take")
    if document["uncertain"]:
        human.say(f"in doubt:   {document['uncertain']} may be delivered twice: see `ucrmmail queue list`")
    if document["oldest_accepted_at"]:
        human.say(f"oldest:     accepted at {document['oldest_accepted_at']}")
    for throttle in document["throttler"]:
        resets = f", resets at {throttle['resets_at']}" if throttle["resets_at"] else ""
        span = format_duration(throttle["duration_s"])
        human.say(f"throttler:  {throttle['used']} of {throttle['limit']} {throttle['unit']} in {span}{resets}")
    flood = document["antiflood"]
    if flood["threshold"]:
        until = f", paused until {flood['paused_until']}" if flood["paused_until"] else ""
        human.say(
            f"antiflood:  {flood['count']} of {flood['threshold']}, then {format_duration(flood['pause_s'])}{until}"
        )
    account = document["account"]
    if account["deferred"]:
        until = f"deferred until {account['not_before']}" if account["not_before"] else "the next run tries again"
        human.say(f"account:    {until}: {account['what']}")
        if account["remedy"]:
            human.say(f"  remedy:   {account['remedy']}")
        if account["not_before"]:
            human.say("  sooner:   ucrmmail queue retry --state deferred")
    last = document["last_flush"]
    if last is None:
        human.say("last flush: none")
        return
    counts = ", ".join(f"{last[name]} {word}" for name, word in _COUNTED if last.get(name))
    # A run that the disk has ended has no other reason.
    ended = last.get("reason") or (f"exit code {last['exit_code']}" if last.get("exit_code") else "")
    reason = f" ({ended})" if ended else ""
    before = "last flush:"
    if last["ended_at"] != last["at"]:
        human.say(f"last flush: {last['at']}: nothing was due")
        before = "  before:  "
    human.say(f"{before} {last['ended_at']}: {counts or 'nothing to send'}{reason}")


_COUNTED = (
    ("relayed", "relayed"),
    ("deferred", "deferred"),
    ("failed", "failed"),
    ("held_back", "held back"),
    ("uncertain", "may be delivered twice"),
)
