"""What a refusal means and what to do: a reply that is known by its text, else its status code, else its number.

There are two readers. The administrator is told what to set, publish or ask for; the writer of a message that was not
delivered (``for_writer``) cannot do that, and is told whether the address, the size or the time was wrong.
"""

from __future__ import annotations

import re

from ucrmmail.message.outcome import Stage
from ucrmmail.message.quotas import is_of_connections, is_quota
from ucrmmail.message.refusals import REFUSALS, Refusal, known_refusal, stops_account
from ucrmmail.message.reply import LAST_ANSWER, Reply, read_told
from ucrmmail.message.status import ASK, MEANINGS, UNKNOWN, Meaning, meaning_of
from ucrmmail.message.words import is_of_a_failure, words_of

_STAGES = frozenset(stage.value for stage in Stage)
# What the queue does about it, in every text that says so.
_RUN_TRIES_AGAIN = "a later run tries again"
_LATER = f"nothing: {_RUN_TRIES_AGAIN}"
_QUOTA = (
    "the provider counts what this account sends, and its limit is reached",
    f"nothing now: {_RUN_TRIES_AGAIN}. To stay below it, set throttler.message_limit and throttler.duration",
)
_CONNECTIONS = (
    "the smarthost takes no more connections now, from this machine or from all",
    (
        f"nothing now: {_RUN_TRIES_AGAIN}. If it goes on, lower smtp.connections, run the flush less often, or look "
        "for other programs that use this account"
    ),
)
_TROUBLE_OF_ITS_OWN = ("the smarthost itself has trouble at the moment", _LATER)
_NOT_NOW = ("the smarthost takes no mail from this machine, or this account, at the moment", _LATER)
# 454 says so, whatever else its code does (RFC 4954 section 6, RFC 3207 section 4); in both 4.7.0 is no policy.
_NOT_FOR_NOW = {
    Stage.AUTH: (
        "the smarthost cannot check user names and passwords at the moment; it does not say that yours is wrong",
        _LATER,
    ),
    Stage.STARTTLS: ("the smarthost cannot do TLS at the moment", _LATER),
}
_NOT_LET_IN = "the server takes no mail at all, or none from the address of this machine"
_LET_IN = "check smtp.host and smtp.port; if they are right, ask the provider whether it blocks this machine's address"
# The commands of the opening, by what is wrong when the server does not know them (RFC 5321 section 4.2.4; 504 at AUTH
# is a mechanism that it does not have, RFC 4954 section 4).
_UNKNOWN_COMMAND = frozenset({500, 502, 503, 504})
_OPENING = {
    Stage.EHLO: (
        "it does not like the name that this machine gives, or takes no mail from here",
        "set smtp.local_hostname to the full name of this machine; if that is right, ask the provider",
    ),
    Stage.STARTTLS: (
        "it offers STARTTLS and does not do it",
        "`ucrmmail test-connection --probe` shows which port does, such as 465 with smtp.encryption = tls",
    ),
    Stage.AUTH: (
        "it does not do this kind of login, although it offers it",
        "set smtp.authentication to another one of those that `ucrmmail test-connection` shows, such as login",
    ),
}
# To HELO as well; such as Dovecot's LMTP.
_NO_SMTP = (
    "it knows neither EHLO nor HELO: that port is not for SMTP, but perhaps for LMTP",
    "check smtp.host and smtp.port; `ucrmmail test-connection --probe` tries the usual ones",
)
# Said before the server knows any recipient, it speaks of itself; before it knows a message, of this machine.
_OF_OTHER_SYSTEMS = tuple(MEANINGS[detail] for detail in ("3", "4", "4.1", "4.2", "4.4", "4.5"))
_OF_A_POLICY = tuple(MEANINGS[detail] for detail in ("7", "7.1", "7.2"))
_OF_AN_ADDRESS = tuple(meaning for detail, meaning in MEANINGS.items() if detail[0] in "12")
_NOT_THE_PASSWORD = frozenset({".7.9", ".7.10", ".7.11", ".7.12", ".7.13"})
_BEFORE_MAIL = (Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH)

# What servers without status codes say, such as Exim and Courier. An address that Exim cannot route may be wrong in
# either part.
_IN_WORDS = (
    ("1", re.compile(r"\bunrouteable address\b")),
    (
        "1.1",
        re.compile(
            r"\b(user|recipient|mailbox) unknown\b|\bunknown (user|recipient)\b|\bno such (user|person|mailbox)\b"
        ),
    ),
    ("3.4", re.compile(r"\bmessage (size exceeds|too (big|large)|exceeds (fixed )?maximum)\b|=message too big\b")),
)

# RFC 3463: for the mailbox (X.2.3), for the mail system (X.3.4).
_TOO_LARGE = frozenset({".2.3", ".3.4"})
# RFC 5321 has 552 for this and for a mailbox that is full.
_OF_THE_SIZE = re.compile(r"\b(size|too (large|big|long)|larger|bytes)\b")
_OF_THE_MAILBOX = re.compile(r"mailbox|inbox|quota")


def for_administrator(stage: Stage, reply: Reply) -> tuple[str, str]:
    """Return (why, remedy) for a refusal; both may be ""."""
    known = REFUSALS["account-blocked"] if stops_account(stage, reply) else _known_refusal(reply)
    if known is not None:
        return known.why, known.remedy
    if is_of_connections(reply):
        return _CONNECTIONS
    if is_quota(reply):
        return _QUOTA
    if reply.code == 421:
        return "the smarthost asks to be left alone for a while", _LATER
    if is_of_a_failure(reply):
        return _TROUBLE_OF_ITS_OWN
    if stage is Stage.EHLO and reply.code in {500, 502}:
        return _NO_SMTP
    if stage in _OPENING and reply.code in _UNKNOWN_COMMAND and reply.enhanced[1:] != ".7.8":
        return _OPENING[stage]
    wrong_password = meaning_of("5.7.8")
    if stage is Stage.AUTH and reply.code >= 500 and reply.enhanced[1:] not in _NOT_THE_PASSWORD:
        return "user name or password is not accepted", wrong_password.remedy
    if reply.code in {530, 538}:
        return (
            "the smarthost wants a login or TLS first",
            "set smtp.username, run `ucrmmail config set smtp.password`, and check smtp.encryption",
        )
    meaning = meaning_of(reply.enhanced)
    if stage not in _BEFORE_MAIL and not reply.enhanced:
        meaning = _meaning_of_words(reply)
    if stage in _BEFORE_MAIL:
        return _at_the_opening(stage, reply, meaning)
    if stage is Stage.MAIL and reply.code < 500 and (meaning is UNKNOWN or meaning in _OF_OTHER_SYSTEMS):
        return _TROUBLE_OF_ITS_OWN
    return ("", "") if meaning is UNKNOWN else (meaning.what, meaning.remedy)


def _meaning_of_words(reply: Reply) -> Meaning:
    """Return what a refusal without a status code says in words that need none."""
    text = words_of(reply)
    return next((MEANINGS[detail] for detail, words in _IN_WORDS if words.search(text)), UNKNOWN)


def _at_the_opening(stage: Stage, reply: Reply, meaning: Meaning) -> tuple[str, str]:
    """Return the same where the server knows no message yet: what a code says of one, or of its ways, does not fit."""
    fits = meaning is not UNKNOWN and meaning not in (*_OF_OTHER_SYSTEMS, *_OF_A_POLICY, *_OF_AN_ADDRESS)
    if stage is Stage.GREETING and reply.code >= 500:
        # RFC 5321 section 3.1.
        fits = fits and reply.enhanced[1:] != ".7.0"
        return (meaning.what, meaning.remedy or _LET_IN) if fits else (_NOT_LET_IN, _LET_IN)
    if stage in _NOT_FOR_NOW and meaning not in _OF_A_POLICY and (reply.code == 454 or reply.enhanced == "4.7.0"):
        return _NOT_FOR_NOW[stage]
    if fits:
        return meaning.what, meaning.remedy
    if reply.code >= 500:
        return _OPENING[stage]
    return _NOT_NOW if meaning in _OF_A_POLICY else _TROUBLE_OF_ITS_OWN


def _known_refusal(reply: Reply) -> Refusal | None:
    """Return what is known of a refusal.

    Where it is a quota, that says more than who is refused: "SASL login name rejected: too many messages".
    """
    known = known_refusal(reply)
    return None if known is not None and known.says and is_quota(reply) else known


def by_hand(remedy: str) -> str:
    """Return a remedy for a person who sends or tests at once: what is not in the queue no later run tries again."""
    return remedy.replace(_RUN_TRIES_AGAIN, "try again later")


def for_administrator_told(stage: str, told: str, enhanced: str = "") -> tuple[str, str]:
    """Return the same for a refusal that was kept as text, with the name of its stage; for our words by their code."""
    reply = read_told(told)
    if reply is None:
        meaning = meaning_of(enhanced)
        return ("", "") if meaning is UNKNOWN or not meaning.remedy else (meaning.what, meaning.remedy)
    if reply.code < 400 or stage not in _STAGES:
        return "", ""
    return for_administrator(Stage(stage), reply)


def for_writer(enhanced: str, told: str = "") -> tuple[str, str]:
    """Return (what it means, what to do) for the writer of a message; words that promise nothing when nothing is known.

    A reply that is known by its text concerns the administrator, who is named in the report.
    """
    reply = read_told(told)
    known = _known_refusal(reply) if reply is not None else None
    if known is not None:
        return known.why, known.advice or ASK
    if reply is not None and is_quota(reply):
        return _QUOTA[0], ASK
    meaning = meaning_of(enhanced)
    if meaning is UNKNOWN and reply is not None and not reply.enhanced:
        meaning = _meaning_of_words(reply)
    return meaning.what, meaning.advice or ASK


def is_too_large(enhanced: str, told: str) -> bool:
    """Return whether a refusal means that the message is too large (RFC 3463: X.2.3, X.3.4; or 552 by its words).

    ``told`` may be our own words, and what the server said last behind them.
    """
    reply = read_told(told.partition(LAST_ANSWER)[2] or told)
    if reply is None:
        return enhanced[1:] in _TOO_LARGE
    if {enhanced[1:], reply.enhanced[1:]} & _TOO_LARGE:
        return True
    text = words_of(reply)
    return (
        reply.code == 552
        and reply.enhanced[1:] != ".2.2"
        and _OF_THE_SIZE.search(text) is not None
        and _OF_THE_MAILBOX.search(text) is None
    )
