"""The whole error policy: what was seen, whom it concerns, and whether trying again can help.

    seen                                          scope      kind       so
    no connection, no TLS, 421, 4yz to the login  account    transient  stop the run; no message loses an attempt
    a quota of the sender, at any stage           account    transient  the same, unless a far server is quoted
    5yz to the login, or a login is wanted        account    permanent  the same; a person must change a setting
    a block of the account (message.refusals)     account    permanent  the same; with 4yz transient
    our own name, address or login (message.ours) account    permanent  the same, unless a far server is quoted
    MAIL, DATA or final dot: 4yz                  message    transient  try this one later; behind MAIL, those of it who
                                                                        wait for another transaction have it at once
    503 (commands out of step) at any of them     message    transient  the same: nothing is wrong with the message
    the server's program has failed, with any 5yz as 4yz     transient  the same (``message.words.is_of_a_failure``)
    MAIL, DATA or final dot: 5yz                  message    permanent  DSN to the reverse-path, unless it is null
    RCPT: 452 4.5.3 behind accepted ones          -          -          the rest goes in another transaction, at once
    RCPT: the same without any (552 is meant too) recipient  transient  that one later, or over a new connection
    DATA or final dot: the same                   -          -          half of them go in another transaction, at once
    the same, of one recipient                    message    transient  try this one later
    RCPT: 4yz (greylisting, a full mailbox)       recipient  transient  that one later; the others go on
    RCPT: relaying is denied, and there is no login  recipient  transient  the same: a setting may be what is missing
    RCPT: 5yz                                     recipient  permanent  that one is reported; the others go on
    the connection lost before the final dot      message    transient  try this one later, on a new connection
    silence after the final dot                   message    uncertain  counts against the limits, is tried again
    a transient trouble of the account, any at
    RCPT, or the connection lost at MAIL, at one
    message only                                  message    transient  try this one later (``delivery.run``)

An operator's mistake (a setting, a password) never bounces a user's mail, and only a 5yz other than these to MAIL,
RCPT, DATA or the final dot bounces anything; and its word, in EHLO, that a message is too large (``envelope``).
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ucrmmail.message.explain import for_administrator
from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.message.quotas import is_of_connections, is_of_logins, is_quota, is_too_many_recipients
from ucrmmail.message.refusals import concerns_account, denies_relay, stops_account
from ucrmmail.message.words import is_of_a_failure, words_of

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


_OF_THE_SIZE = re.compile(r"\bsize\b|\btoo (big|large)\b")


def _wants_login(reply: Reply) -> bool:
    """Whether the server asks for a login or for TLS (RFC 4954 section 6), or takes no passwords any more.

    503 with these words is what qmail and hMailServer say to a client that has not logged in. Courier says 534 of a
    message that is too big.
    """
    text = words_of(reply)
    return (
        reply.code in {530, 535, 538}
        or (reply.code == 534 and _OF_THE_SIZE.search(text) is None)
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


# The first that holds decides.
_POLICY = (
    _Rule(_ALL, is_quota, Scope.ACCOUNT, Kind.TRANSIENT),
    _Rule(_ALL, _421, Scope.ACCOUNT, Kind.TRANSIENT),
    _Rule(_TLS, _any, Scope.ACCOUNT, Kind.TRANSIENT, 69),
    _Rule(_HELLO, _5yz, Scope.ACCOUNT, Kind.TRANSIENT, 69),
    _Rule(_OPENING, is_of_a_failure, Scope.ACCOUNT, Kind.TRANSIENT),
    _Rule(_RCPT, is_of_a_failure, Scope.RECIPIENT, Kind.TRANSIENT),
    _Rule(_ALL, is_of_a_failure, Scope.MESSAGE, Kind.TRANSIENT),
    _Rule(_LOGIN, _5yz, Scope.ACCOUNT, Kind.PERMANENT, 77),
    _Rule(_OPENING, _any, Scope.ACCOUNT, Kind.TRANSIENT),
    _Rule(_ALL, _wants_login, Scope.ACCOUNT, Kind.PERMANENT, 77),
    *_until_a_person_helps(_ALL, concerns_account),
    *_until_a_person_helps(frozenset({Stage.MAIL}), partial(stops_account, Stage.MAIL)),
    *_until_a_person_helps(_TAKEN, partial(stops_account, Stage.FINAL_DOT)),
    _Rule(_ALL, _out_of_step, Scope.MESSAGE, Kind.TRANSIENT),
    # RFC 5321 section 4.5.3.1.10: 552 is to be taken for 452 here.
    _Rule(_RCPT, is_too_many_recipients, Scope.RECIPIENT, Kind.TRANSIENT),
    # Of several, half go again at once. Said of one, it is the server's miscount.
    _Rule(_ALL, is_too_many_recipients, Scope.MESSAGE, Kind.TRANSIENT),
    _Rule(_RCPT, _5yz, Scope.RECIPIENT, Kind.PERMANENT),
    _Rule(_RCPT, _any, Scope.RECIPIENT, Kind.TRANSIENT),
    _Rule(_ALL, _5yz, Scope.MESSAGE, Kind.PERMANENT),
    _Rule(_ALL, _any, Scope.MESSAGE, Kind.TRANSIENT),
)

# It may be a login that is missing: a person is told, and has days to set it.
_WITHOUT_LOGIN = (_Rule(_RCPT, denies_relay, Scope.RECIPIENT, Kind.TRANSIENT, 77), *_POLICY)


def classify(stage: Stage, reply: Reply, *, logged_in: bool = True) -> Trouble:
    """Return what a refusal means: the reply is negative, or not the one that was due at this stage."""
    policy = _POLICY if logged_in else _WITHOUT_LOGIN
    rule = next(rule for rule in policy if stage in rule.stages and rule.holds(reply))
    quota = rule.holds is is_quota
    why, remedy = for_administrator(stage, reply)
    return Trouble(
        scope=rule.scope,
        kind=rule.kind,
        stage=stage,
        what=_SENT_TOO_MUCH if quota and not (is_of_connections(reply) or is_of_logins(reply)) else _REFUSED[stage],
        why=why,
        remedy=remedy,
        reply=reply,
        quota=quota,
        exit_code=rule.exit_code,
        missing_login=rule.holds is denies_relay,
    )


_SENT_TOO_MUCH = "the smarthost says that this account has sent too much for now"
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
