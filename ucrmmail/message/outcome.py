"""What became of an attempt: for each recipient an ``Outcome``, for what went wrong a ``Trouble``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply


class Stage(StrEnum):
    """Where in the dialogue something happened (RFC 5321 section 3), in the order of the dialogue.

    QUEUE is before it, or between: the disk refused.
    """

    QUEUE = "queue"
    CONFIGURATION = "configuration"
    SECRET = "secret"  # noqa: S105 # the name of a stage
    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    FINAL_DOT = "final-dot"
    RSET = "rset"
    QUIT = "quit"


class Scope(StrEnum):
    """Whom a trouble concerns; the narrowest that is true."""

    ACCOUNT = "account"
    MESSAGE = "message"
    RECIPIENT = "recipient"


class Kind(StrEnum):
    """Whether trying again can help."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    UNCERTAIN = "uncertain"
    """The final dot left and no reply came: the server may have accepted the message (RFC 1047)."""


class Result(StrEnum):
    """What became of one recipient in one attempt."""

    RELAYED = "relayed"
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something went wrong: for whom, for how long, at which stage, and what a person can do about it.

    ``reply`` is the server's, or None when it said nothing. ``quota`` marks a reply that means a quota of the sender;
    ``exit_code`` is what the run ends with when the scope is the account. ``missing_login``: there is none, and that
    may be why.
    """

    scope: Scope
    kind: Kind
    stage: Stage
    what: str
    why: str = ""
    remedy: str = ""
    reply: Reply | None = None
    quota: bool = False
    exit_code: int = 75
    missing_login: bool = False

    @property
    def told(self) -> str:
        """The reply as the server sent it, else our own words."""
        return str(self.reply) if self.reply is not None else self.what


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt made of one recipient.

    ``reply`` is the server's text, or our own words when it said nothing. ``enhanced`` is a status code of RFC 3463
    ("2.0.0" style) for the DSN. ``uncertain`` means that the message may have been accepted all the same: it counts
    against the limits and is tried again. ``alone``: the connection ended when the recipient was asked for, who is to
    go in a transaction of its own from now on.
    """

    recipient: str
    result: Result
    stage: Stage
    reply: str
    enhanced: str = ""
    uncertain: bool = False
    alone: bool = False

    def of(self, recipient: str) -> Outcome:
        """Return the same outcome for another recipient."""
        return Outcome(recipient, self.result, self.stage, self.reply, self.enhanced, self.uncertain, self.alone)
