"""The whole error policy: what was seen, whom it concerns, and whether trying again can help.

    seen                                          scope      kind       so
    no connection, no TLS, 421, 4yz to the login  account    transient  stop the run; no message loses an attempt
    a quota of the sender, at any stage           account    transient  the same
    5yz to the login, or a login is wanted        account    permanent  the same; a person must change a setting
    a block of the account (message.refusals)     account    permanent  the same; with 4yz transient
    our own name, address or login (message.ours) account    permanent  the same, unless a far server is quoted
    MAIL, DATA or final dot: 4yz                  message    transient  try this one later
    503 (commands out of step) at any of them     message    transient  the same: nothing is wrong with the message
    MAIL, DATA or final dot: 5yz                  message    permanent  DSN to the reverse-path, unless it is null
    RCPT: 452 4.5.3 behind accepted ones          -          -          the rest goes in another transaction, at once
    RCPT: the same without any (552 is meant too) recipient  transient  that one later
    RCPT: 4yz (greylisting, a full mailbox)       recipient  transient  that one later; the others go on
    RCPT: relaying is denied, and there is no login  recipient  transient  the same: a setting may be what is missing
    RCPT: 5yz                                     recipient  permanent  that one is reported; the others go on
    the connection lost before the final dot      message    transient  try this one later, on a new connection
    silence after the final dot                   message    uncertain  counts against the limits, is tried again
    a transient trouble of the account, any at
    RCPT, or the connection lost at MAIL, at one
    message only                                  message    transient  try this one later (``delivery.run``)

An operator's mistake (a setting, a password) never bounces a user's mail, and only a 5yz other than 503 to MAIL, RCPT,
DATA or the final dot bounces anything; and its word, in EHLO, that a message is too large (``envelope``).
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ucrmmail.message.explain import for_administrator
from ucrmmail.message.ours import without_addresses
from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.message.refusals import concerns_account, denies_relay, stops_account

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.message.reply import Reply


# RFC 5321 section 3.8: the server closes the connection behind it.
CLOSING = 421


class RefusedError(Exception):
    """The account has a trouble: nothing more can be sent on this session."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.what)
        self.trouble = trouble


class _Rule(NamedTuple):
    stages: frozenset[Stage]
    holds: Callable[[Reply], bool]
    scope: Scope
    kind: Kind
    exit_code: int = 75


def _any(_reply: Reply) -> bool:
    return True


def _5yz(reply: Reply) -> bool:
    return 500 <= reply.code < 600


def _421(reply: Reply) -> bool:
    return reply.code == CLOSING


def _wants_login(reply: Reply) -> bool:
    """Whether the server asks for a login or for TLS (RFC 4954 section 6), or takes no passwords any more.

    503 with these words is what qmail and hMailServer say to a client that has not logged in.
    """
    text = reply.text.lower()
    return (
        reply.code in {530, 534, 535, 538}
        or (reply.code == 503 and "auth" in text)
        or (reply.enhanced == "5.7.30" and "basic authentication" in text)
    )


def _out_of_step(reply: Reply) -> bool:
    """Whether the server has lost count of our commands; what it refuses then is not the message's fault."""
    return reply.code == 503


_ALL = frozenset(Stage)
_RCPT = frozenset({Stage.RCPT})
_LOGIN = frozenset({Stage.AUTH})
_TLS = frozenset({Stage.STARTTLS, Stage.TLS})
_HELLO = frozenset({Stage.GREETING, Stage.EHLO})
_OPENING = _HELLO | _TLS | _LOGIN
# The recipients are accepted.
_TAKEN = frozenset({Stage.DATA, Stage.FINAL_DOT})


def _until_a_person_helps(stages: frozenset[Stage], holds: Callable[[Reply], bool]) -> tuple[_Rule, _Rule]:
    """Return the rules of what every message meets: our host or our account is refused, for good or for now."""
    return (
        _Rule(stages, lambda reply: _5yz(reply) and holds(reply), Scope.ACCOUNT, Kind.PERMANENT, 77),
        _Rule(stages, holds, Scope.ACCOUNT, Kind.TRANSIENT),
    )


def is_quota(reply: Reply) -> bool:
    """Return whether a refusal means that the sender has sent too much, rather than that this message is wrong.

    Greylisting, full mailboxes and too large messages are not meant: those are the recipient's and the message's.
    """
    if reply.code < 400 or is_too_many_recipients(reply):
        return False
    # An address that is repeated says nothing of a quota, whatever its name is.
    text = without_addresses(reply.text[:_TELLING_CHARACTERS].lower())
    if reply.enhanced in _QUOTA_STATUS or any(words in text for words in _QUOTA_WORDS):
        return True
    # 535 "Too many bad auth attempts" is Yahoo's word for a wrong password.
    if reply.code == 535 or reply.enhanced[1:] in _ROOM_STATUS or any(words in text for words in _NOT_THE_SENDERS):
        return False
    if (_PERIOD.search(text) and _LIMIT.search(text)) or _OF_THE_SENDER.search(text):
        return True
    if "recipient" in text:
        return False
    # "4.7.0 too many ..." is what Postfix and Google say to clients, whatever follows.
    if any(words in text for words in _RATE_WORDS) or (reply.enhanced[1:] == ".7.0" and "too many" in text):
        return True
    # With 452 and 552 it is most often the mailbox that is full.
    return reply.code not in {452, 552} and any(words in text for words in _SOME_QUOTA_WORDS)


def is_too_many_recipients(reply: Reply) -> bool:
    """Return whether one transaction has too many recipients (RFC 5321 section 4.5.3.1.10: 452, and 552 of old).

    Some say 550 with these words: asked for again in a transaction of its own, the recipient shows what was meant.
    """
    if reply.code // 100 not in {4, 5}:
        return False
    return reply.enhanced[1:] == ".5.3" or (
        reply.code in {452, 550, 552} and not reply.enhanced and "too many recipients" in reply.text.lower()
    )


def is_of_the_connection(reply: Reply) -> bool:
    """Return whether a limit is used up that a new connection has again: "too many messages in this connection"."""
    return _OF_THE_CONNECTION.search(reply.text.lower()) is not None


def is_of_concurrency(reply: Reply) -> bool:
    """Return whether a limit of connections at a time is used up: 432 "sender thread limit exceeded" of Microsoft."""
    return not reply.positive and _OF_CONCURRENCY.search(reply.text.lower()) is not None


def is_of_errors(reply: Reply) -> bool:
    """Return whether a server ends a connection on which it has refused too much: Postfix's smtpd_hard_error_limit."""
    return reply.code == CLOSING and _TOO_MANY_ERRORS in reply.text.lower()


# The first that holds decides.
_POLICY = (
    _Rule(_ALL, is_quota, Scope.ACCOUNT, Kind.TRANSIENT),
    _Rule(_ALL, _421, Scope.ACCOUNT, Kind.TRANSIENT),
    _Rule(_TLS, _any, Scope.ACCOUNT, Kind.TRANSIENT, 69),
    _Rule(_HELLO, _5yz, Scope.ACCOUNT, Kind.TRANSIENT, 69),
    _Rule(_LOGIN, _5yz, Scope.ACCOUNT, Kind.PERMANENT, 77),
    _Rule(_OPENING, _any, Scope.ACCOUNT, Kind.TRANSIENT),
    _Rule(_ALL, _wants_login, Scope.ACCOUNT, Kind.PERMANENT, 77),
    *_until_a_person_helps(_ALL, concerns_account),
    *_until_a_person_helps(frozenset({Stage.MAIL}), partial(stops_account, Stage.MAIL)),
    *_until_a_person_helps(_TAKEN, partial(stops_account, Stage.FINAL_DOT)),
    _Rule(_ALL, _out_of_step, Scope.MESSAGE, Kind.TRANSIENT),
    # RFC 5321 section 4.5.3.1.10: 552 is to be taken for 452 here.
    _Rule(_RCPT, is_too_many_recipients, Scope.RECIPIENT, Kind.TRANSIENT),
    _Rule(_RCPT, _5yz, Scope.RECIPIENT, Kind.PERMANENT),
    _Rule(_RCPT, _any, Scope.RECIPIENT, Kind.TRANSIENT),
    _Rule(_ALL, _5yz, Scope.MESSAGE, Kind.PERMANENT),
    _Rule(_ALL, _any, Scope.MESSAGE, Kind.TRANSIENT),
)

# It may be a login that is missing: a person is told, and has days to set it.
_WITHOUT_LOGIN = (_Rule(_RCPT, denies_relay, Scope.RECIPIENT, Kind.TRANSIENT, 77), *_POLICY)

# Status codes that mean a quota of the sender wherever they come from: congestion (RFC 3463, X.4.5), with which Google
# says "Daily user sending limit exceeded"; Google's "unusual rate" (support.google.com/a/answer/3726730); Microsoft's
# daily limit of recipients, a tenant over its threshold, its limit for external recipients (learn.microsoft.com, NDR
# codes in Exchange Online).
_QUOTA_STATUS = frozenset({"4.4.5", "5.4.5", "4.7.28", "5.7.28", "5.1.90", "5.7.232", "5.7.233", "5.7.705", "5.7.750"})
# Words that only a quota of the sender has.
_QUOTA_WORDS = (
    "sending limit",  # Google 5.4.5
    "sending quota",
    "smtp relay limit",  # Google 4.2.1 "Peak SMTP relay limit exceeded for customer", 5.7.1 "Daily SMTP relay limit"
    "relay sending limit",
    "too many login",  # Google 454 4.7.0
    "unusual rate",
    "throttling failure",  # Amazon SES 454 "Throttling failure: Maximum sending rate exceeded" (developer guide)
    "message quota",  # Amazon SES "Daily message quota exceeded"
    "sending rate",
    "submissionquota",  # Microsoft 554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException
    "submission quota",
    "submission rate",  # Microsoft 4.4.2 "Message submission rate for this client has exceeded the configured limit"
    "sender thread limit",  # Microsoft 432 4.3.2, more than three connections
    "sender throttled",  # Microsoft 550 5.2.251 to 5.2.255
    "unusual sending activity",  # Zoho 550 5.4.6; the code alone is a mail loop
    "recipient rate limit",  # Microsoft 5.7.233, and Exchange's RecipientRateLimit
    "quota for outgoing",
    "quota for outbound",
    "outmail quota",  # Prolateral 554 "Recipient address rejected: You have exceeded your Outmail quota"
    "credits exceeded",  # SendGrid 451 "Authentication failed: Maximum credits exceeded"
    "too much mail from",  # Postfix 450 4.7.1, smtpd_client_message_rate_limit
    "too many recipients from",  # Postfix 450 4.7.1, smtpd_client_recipient_rate_limit
)
# Words of any rate or quota; whose it is, the rest of the text says.
_RATE_WORDS = (
    "too many messages",
    "too many emails",
    "too many mails",
    "too many auth",
    "too many requests",
    "too many connections",
    "too many concurrent",
    "concurrent connection",
    "too fast",
    "too quickly",
    "slow down",
    "rate limit",
    "rate-limit",
    "ratelimit",  # rspamd, as in mailcow: 451 4.7.1 Ratelimit "user" exceeded
    "rate exceeded",
    "throttl",
    "daily limit",
    "hourly limit",
    "daily quota",
    "hourly quota",
)
_SOME_QUOTA_WORDS = ("quota exceeded", "exceeded your quota")
# No room in a mailbox or on a disk, or a message that is too large (RFC 3463: X.2.2, X.2.3, X.3.1, X.3.4).
_ROOM_STATUS = frozenset({".2.2", ".2.3", ".3.1", ".3.4"})
# An allowance for a time, in whatever words: cPanel's "has exceeded the max defers and failures per hour", "exceeded
# the number of messages allowed per hour", "exceeded your daily email quota", "the daily recipient limit".
_PERIOD = re.compile(r"\b(daily|hourly|per[ -](second|minute|hour|day|month))\b")
_LIMIT = re.compile(r"\b(limit|quota|allowance|exceed(s|ed|ing)?|reached|too many|only \d+ (messages|e?mails))\b")
# One that is said to be the sender's: "Sender rate limit exceeded", "Outgoing mail limit reached".
_OF_THE_SENDER = re.compile(r"\b(sender|outgoing|outbound)\b.{0,30}\b(limit|quota|throttled)\b")
_OF_THE_CONNECTION = re.compile(
    r"\b(too many|max(imum)?|limit)\b.{0,40}\b(in|on|over|per|for) (this |a |a single |one |the same )?"
    r"(smtp )?(connection|session)\b"
)
_OF_CONCURRENCY = re.compile(
    r"\b(concurrent|simultaneous|parallel) (smtp )?(connection|session)s?\b|\bthread limit\b"
    r"|\btoo many (open |concurrent |simultaneous )?(smtp )?(connections|sessions)\b"
)
_TOO_MANY_ERRORS = "too many errors"
# What a refusal means, its beginning says. A server may send 64 KiB of it for each of a thousand recipients.
_TELLING_CHARACTERS = 4096
# These name a recipient's mailbox or a property of one message, not the sender's allowance.
_NOT_THE_SENDERS = (
    "mailbox",
    "inbox",
    "receiving",
    "receive limit",  # Microsoft 550 5.2.121
    "trying to contact",
    "over quota",
    "user quota",
    "greylist",
    "graylist",
    "message size",
    "too large",
    _TOO_MANY_ERRORS,
)


def classify(stage: Stage, reply: Reply, *, logged_in: bool = True) -> Trouble:
    """Return what a refusal means: the reply is negative, or not the one that was due at this stage."""
    policy = _POLICY if logged_in else _WITHOUT_LOGIN
    rule = next(rule for rule in policy if stage in rule.stages and rule.holds(reply))
    quota = rule.holds is is_quota
    why, remedy = for_administrator(stage, reply, quota=quota)
    return Trouble(
        scope=rule.scope,
        kind=rule.kind,
        stage=stage,
        what="the smarthost says that this account has sent too much for now" if quota else _REFUSED[stage],
        why=why,
        remedy=remedy,
        reply=reply,
        quota=quota,
        exit_code=rule.exit_code,
        missing_login=rule.holds is denies_relay,
    )


_REFUSED = dict.fromkeys(Stage, "the smarthost refused") | {
    Stage.GREETING: "the smarthost does not let us in",
    Stage.EHLO: "the smarthost refused our EHLO",
    Stage.STARTTLS: "the smarthost refused STARTTLS, and nothing is sent without it",
    Stage.AUTH: "the smarthost refused the login",
    # Not "the reverse-path": a 4yz here is seldom about that.
    Stage.MAIL: "the smarthost refused MAIL",
    Stage.RCPT: "the smarthost refused the recipient",
    Stage.DATA: "the smarthost refused DATA",
    Stage.BODY: "the smarthost interrupted the message",
    Stage.FINAL_DOT: "the smarthost refused the message",
}


def account_trouble(stage: Stage, what: str, *, why: str = "", remedy: str = "", exit_code: int = 69) -> Trouble:
    """Return a trouble of the account that no reply tells of: no connection, no TLS, a setting that is wrong."""
    return Trouble(
        scope=Scope.ACCOUNT, kind=Kind.TRANSIENT, stage=stage, what=what, why=why, remedy=remedy, exit_code=exit_code
    )


def lost_connection(stage: Stage, what: str) -> Trouble:
    """Return the trouble of a connection that broke while a message was on it."""
    kind = Kind.UNCERTAIN if stage is Stage.FINAL_DOT else Kind.TRANSIENT
    return Trouble(scope=Scope.MESSAGE, kind=kind, stage=stage, what=what, exit_code=69)
