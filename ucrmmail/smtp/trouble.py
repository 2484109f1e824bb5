"""The whole error policy: what was seen, whom it concerns, and whether trying again can help.

    seen                                        scope      kind       so
    no connection, TLS or login refused, 421    account    transient  stop the run; no message loses an attempt
    a quota of the sender, at any stage         account    transient  the same
    MAIL, DATA or final dot: 4yz                message    transient  try this one later
    RCPT: 4yz                                   recipient  transient  that one later; the others go on
    RCPT: 452 4.5.3                             recipient  transient  the rest goes in another transaction
    RCPT: 5yz                                   recipient  permanent  reported to the sender; the others go on
    MAIL, DATA or final dot: 5yz                message    permanent  DSN to the reverse-path
    530, 538 at MAIL or RCPT                    account    transient  it wants TLS or a login: the operator's to mend
    silence after the final dot                 message    uncertain  counts against the limits, is tried again

An operator's mistake never bounces a user's mail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.smtp.remedies import advice_for

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply

_SESSION_STAGES = frozenset({Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.TLS, Stage.AUTH})
# Texts and codes of replies that mean a quota of the sender. Sources: Google "SMTP errors and codes" (4.2.1 is the
# recipient's, 5.4.5 and 4.7.28 the sender's), Amazon SES "SMTP response codes" (454 Throttling failure), Microsoft
# "Exchange Online limits" (5.1.90, 5.2.120 and 4.3.2 with these words), Zoho "550 5.4.6 Unusual sending activity".
_QUOTA_CODES = frozenset({"5.4.5", "4.4.5", "4.7.28", "5.7.28", "5.1.90", "5.2.120", "5.4.6"})
_QUOTA_WORDS = (
    "too many messages",
    "too many emails",
    "too many mails",
    "too many login",
    "too many requests",
    "too many connections",
    "too many concurrent",
    "sending limit",
    "sending quota",
    "message quota",
    "daily quota",
    "hourly quota",
    "daily limit",
    "hourly limit",
    "daily user sending",
    "rate limit",
    "ratelimit",
    "rate exceeded",
    "sending rate",
    "submission rate",
    "throttl",
    "quota exceeded",
    "limit exceeded",
    "exceeded the limit",
    "exceeded the maximum number of messages",
    "exceeded the rate",
    "unusual sending activity",
    "too fast",
    "slow down",
)
# These name a recipient's mailbox or one message, not the sender's allowance.
_NOT_QUOTA = ("mailbox", "recipient", "over quota", "greylist", "graylist", "size limit", "message size")


def is_quota(stage: Stage, reply: Reply) -> bool:
    """Return whether a refusal means that the sender has sent too much, rather than that this message is wrong."""
    if reply.code < 400 or (reply.code == 452 and reply.enhanced == "4.5.3"):
        return False
    if reply.enhanced in _QUOTA_CODES:
        return True
    text = reply.text.lower()
    if any(words in text for words in _NOT_QUOTA):
        return False
    if stage is Stage.RCPT and reply.code in (450, 451) and reply.enhanced != "4.7.0":
        # Greylisting says "too many" in many ways; it is the recipient's.
        return any(words in text for words in ("sending limit", "sending quota", "message quota", "sending rate"))
    return any(words in text for words in _QUOTA_WORDS) or (reply.enhanced == "4.7.0" and "too many" in text)


def classify(stage: Stage, reply: Reply) -> Trouble:
    """Return what a refusal means. ``reply`` is negative, or not the one that was due."""
    why, remedy = advice_for(stage, reply)
    quota = is_quota(stage, reply)
    scope, kind, exit_code = _scope(stage, reply, quota=quota)
    return Trouble(
        scope=scope,
        kind=kind,
        stage=stage,
        what=_what(stage, quota=quota),
        why=why,
        remedy=remedy,
        reply=reply,
        quota=quota,
        exit_code=exit_code,
    )


def _scope(stage: Stage, reply: Reply, *, quota: bool) -> tuple[Scope, Kind, int]:
    if stage is Stage.AUTH and 500 <= reply.code < 600 and not quota:
        return Scope.ACCOUNT, Kind.PERMANENT, 77
    if stage in (Stage.STARTTLS, Stage.TLS) or (stage is Stage.GREETING and reply.code >= 500):
        return Scope.ACCOUNT, Kind.TRANSIENT, 69
    if reply.code == 421 or quota or stage in _SESSION_STAGES:
        return Scope.ACCOUNT, Kind.TRANSIENT, 75
    if reply.code in (530, 538) or (reply.code == 550 and reply.enhanced == "5.7.30"):
        return Scope.ACCOUNT, Kind.PERMANENT, 77
    scope = Scope.RECIPIENT if stage is Stage.RCPT else Scope.MESSAGE
    return scope, Kind.PERMANENT if 500 <= reply.code < 600 else Kind.TRANSIENT, 75


def _what(stage: Stage, *, quota: bool) -> str:
    if quota:
        return "the smarthost says that this account has sent too much for now"
    return {
        Stage.GREETING: "the smarthost does not let us in",
        Stage.EHLO: "the smarthost refused our EHLO",
        Stage.STARTTLS: "the smarthost refused STARTTLS",
        Stage.AUTH: "the smarthost refused the login",
        Stage.MAIL: "the smarthost refused the reverse-path",
        Stage.RCPT: "the smarthost refused the recipient",
        Stage.DATA: "the smarthost refused DATA",
        Stage.FINAL_DOT: "the smarthost refused the message",
    }.get(stage, f"the smarthost refused at {stage.value}")


def account_trouble(stage: Stage, what: str, *, why: str = "", remedy: str = "", exit_code: int = 69) -> Trouble:
    """Return a trouble of the account that no reply tells of: no connection, no TLS, a protocol error."""
    return Trouble(
        scope=Scope.ACCOUNT, kind=Kind.TRANSIENT, stage=stage, what=what, why=why, remedy=remedy, exit_code=exit_code
    )


def connection_lost(stage: Stage, what: str) -> Trouble:
    """Return the trouble of a connection that broke before a message's final dot."""
    return Trouble(scope=Scope.MESSAGE, kind=Kind.TRANSIENT, stage=stage, what=what, exit_code=69)
