"""What a refusal means and what to do: a reply that is known by its text, else its status code, else its number.

There are two readers. The administrator is told what to set, publish or ask for; the writer of a message that was not
delivered (``for_writer``) cannot do that, and is told whether the address, the size or the time was wrong.
"""

from __future__ import annotations

from ucrmmail.message.outcome import Stage
from ucrmmail.message.refusals import known_refusal
from ucrmmail.message.reply import Reply, read_told
from ucrmmail.message.status import ASK, UNKNOWN, meaning_of

_STAGES = frozenset(stage.value for stage in Stage)
_QUOTA = (
    "the provider counts what this account sends, and its limit is reached",
    "nothing now: a later run tries again. To stay below it, set throttler.message_limit and throttler.duration",
)


def for_administrator(stage: Stage, reply: Reply, *, quota: bool = False) -> tuple[str, str]:
    """Return (why, remedy) for a refusal; both may be "". ``quota``: the reply is known to mean a quota."""
    known = known_refusal(reply)
    if known is not None:
        return known.why, known.remedy
    if quota:
        return _QUOTA
    if reply.code == 421:
        return "the smarthost asks to be left alone for a while", "nothing: a later run tries again"
    wrong_password = meaning_of("5.7.8")
    if stage is Stage.AUTH and reply.code >= 500 and reply.enhanced[1:] not in {".7.9", ".7.11", ".7.13"}:
        return "user name or password is not accepted", wrong_password.remedy
    if reply.code in {530, 538}:
        return (
            "the smarthost wants a login or TLS first",
            "set smtp.username, run `ucrmmail config set smtp.password`, and check smtp.encryption",
        )
    meaning = meaning_of(reply.enhanced)
    return ("", "") if meaning is UNKNOWN else (meaning.what, meaning.remedy)


def for_administrator_told(stage: str, told: str) -> tuple[str, str]:
    """Return the same for a refusal that was kept as text, with the name of its stage; ("", "") for our own words."""
    reply = read_told(told)
    if reply is None or reply.code < 400 or stage not in _STAGES:
        return "", ""
    return for_administrator(Stage(stage), reply)


def for_writer(enhanced: str, told: str = "") -> tuple[str, str]:
    """Return (what it means, what to do) for the writer of a message; words that promise nothing when nothing is known.

    A reply that is known by its text concerns the administrator, who is named in the report.
    """
    reply = read_told(told)
    known = known_refusal(reply) if reply is not None else None
    if known is not None:
        return known.why, known.advice or ASK
    meaning = meaning_of(enhanced)
    return meaning.what, meaning.advice or ASK
