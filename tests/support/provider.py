"""A provider with policies: whom it refuses, where in the dialogue, in what words and until when.

    policy = Policy("news@isp.example", Scope.MAIL, ("mail",), "554 5.7.1 Sender address blocked", of_mail=...)
    provider = Provider([policy], now=clock.now)
    with SmtpServer(faults=provider.faults, words=WORDS["exim"]) as server:
        ...
    provider.accepted, provider.refusals                            what it took and what it said: the truth

It knows what a provider knows: the connection and what went over it, the transaction, what was taken in all.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from math import inf

from tests.support.smtp_server import DROP, Action, Cut, Dialogue, Fault, Said

HANG_UP = ""
TAKE_AND_HANG_UP = "250"
_PLACES = ("greeting", "ehlo", "mail", "rcpt", "data", "final-dot", "rset")

WORDS: Mapping[str, Mapping[str, str]] = {
    "postfix": {
        "mail": "250 2.1.0 Ok", "rcpt": "250 2.1.5 Ok", "data": "354 End data with <CR><LF>.<CR><LF>",
        "chunk": "250 2.0.0 Ok", "final-dot": "250 2.0.0 Ok: queued as {id}", "rset": "250 2.0.0 Ok",
    },
    "exim": {
        "mail": "250 OK", "rcpt": "250 Accepted", "data": '354 Enter message, ending with "." on a line by itself',
        "chunk": "250 chunk received", "final-dot": "250 OK id=1abcde-{id}-4F", "rset": "250 Reset OK",
    },
    "exchange": {
        "mail": "250 2.1.0 Sender OK", "rcpt": "250 2.1.5 Recipient OK",
        "data": "354 Start mail input; end with <CRLF>.<CRLF>", "chunk": "250 2.6.0 CHUNK received OK",
        "final-dot": "250 2.6.0 <{id}@x> [InternalId={id}, Hostname=A.example] Queued mail for delivery",
        "rset": "250 2.0.0 Resetting",
    },
    "qmail": {
        "mail": "250 ok", "rcpt": "250 ok", "data": "354 go ahead",
        "chunk": "250 ok", "final-dot": "250 ok {id} qp {id}", "rset": "250 flushed",
    },
    "a server of one word": dict.fromkeys(("mail", "rcpt", "chunk", "final-dot", "rset"), "250 2.0.0 OK"),
    "a server of no word twice": {
        "mail": "250 ok {id}", "rcpt": "250 fine {id}", "data": "354 go {id}",
        "chunk": "250 go on {id}", "final-dot": "250 done {id}", "rset": "250 flushed {id}",
    },
}  # fmt: skip
"""What servers say of what they take, by place; of several it can not be told by its words which command is meant."""


@dataclass(frozen=True)
class Mail:
    """A message as far as it is known: ``number`` is that of its Message-ID, ``<17@campaign.example>``, else -1."""

    number: int
    sender: str
    recipients: tuple[str, ...]

    @property
    def message_id(self) -> str:
        return f"<{self.number}@campaign.example>"


class Scope(Enum):
    """What a policy is about: certain mail, all of the account's, how connections are used, or transactions."""

    MAIL = auto()
    ACCOUNT = auto()
    CONNECTION = auto()
    TRANSACTION = auto()


@dataclass(frozen=True)
class Policy:
    """Refuse ``whom`` at these stages, ``until_s`` after the provider has begun.

    ``of_mail`` tells whether it holds of the mail as it is known at this stage (at RCPT that is this recipient alone),
    ``of_talk`` of what went over the connection. The connection ends behind a 421.
    """

    whom: str
    scope: Scope
    stages: tuple[str, ...]
    reply: str
    until_s: float = inf
    of_mail: Callable[[Mail], bool] = lambda _mail: True
    of_talk: Callable[[Talk], bool] = lambda _talk: True

    def __str__(self) -> str:
        said = {HANG_UP: "hangs up", TAKE_AND_HANG_UP: "takes it and hangs up"}.get(self.reply, self.reply)
        until = "for ever" if self.until_s == inf else f"for {self.until_s / 60:.0f} minutes"
        return f"{self.whom} at {', '.join(self.stages)}: {said}, {until}"

    def concerns(self, mail: Mail, recipient: str) -> bool:
        """Return whether this recipient of this message is refused for its own sake, or for that of its company."""
        shown = Mail(mail.number, mail.sender, (recipient,)) if self.stages == ("rcpt",) else mail
        return self.scope is Scope.MAIL and self.of_mail(shown)


@dataclass
class Talk:
    """One connection: its ``messages`` and ``errors`` so far, and whom the transaction has ``asked`` for and taken."""

    provider: Provider
    dialogue: Dialogue
    messages: int = 0
    errors: int = 0
    asked: int = 0
    sender: str | None = None
    recipients: tuple[str, ...] = ()

    def hear(self, place: str, line: bytes) -> Mail | None:
        """Return what is known of the mail here; None where nothing is refused but what is out of step."""
        if place in {"greeting", "ehlo"}:
            return Mail(-1, "", ())
        if place == "mail" and self.sender is None:
            self.messages += 1
            return Mail(-1, _path_in(line), ())
        if place == "rcpt" and self.sender is not None:
            self.asked += 1
            return Mail(-1, self.sender, (_path_in(line),))
        if place in {"data", "final-dot"} and self.recipients:
            found = re.match(r"<(\d+)@campaign\.example>$", message_id_of(line)) if place == "final-dot" else None
            return Mail(int(found[1]) if found else -1, self.sender or "", self.recipients)
        if place == "rset":
            self.forget()
        return None

    def go_on(self, place: str, mail: Mail) -> None:
        """Take what was said."""
        if place == "mail":
            self.sender = mail.sender
        elif place == "rcpt":
            self.recipients += mail.recipients

    def forget(self) -> None:
        self.sender, self.recipients, self.asked = None, (), 0


@dataclass(frozen=True)
class Accepted:
    """A transaction that was taken ``at`` a time of the provider's clock, over one of its connections."""

    at: float
    message_id: str
    mail: Mail
    connection: int


@dataclass(frozen=True)
class Refusal:
    """What was said, or not said (``HANG_UP``), and of what."""

    at: float
    place: str
    reply: str
    mail: Mail

    def is_of(self, mail: Mail, recipient: str) -> bool:
        """Return whether this was said of this message, or of this recipient of it, as far as was known."""
        asked = set(self.mail.recipients)
        is_meant = recipient in asked if self.place == "rcpt" else asked <= set(mail.recipients)
        return self.mail.sender == mail.sender and is_meant and self.mail.number in {-1, mail.number}


@dataclass(frozen=True)
class _Asked(Action):
    """A command, or the end of a message, that the provider is to answer."""

    provider: Provider
    place: str
    line: bytes

    def act(self, dialogue: Dialogue) -> Said | None:
        return self.provider.answer(dialogue, self.place, self.line)


@dataclass
class Provider:
    """Answers for an `SmtpServer` by its policies, the first that holds; ``pace_s`` is how long it thinks each time."""

    policies: Sequence[Policy]
    now: Callable[[], float]
    pace_s: float = 0.0
    accepted: list[Accepted] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    _talks: dict[int, Talk] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._began = self.now()

    @property
    def faults(self) -> dict[str, Fault]:
        return {place: partial(_Asked, self, place) for place in _PLACES}

    @property
    def open_connections(self) -> int:
        return sum(talk.dialogue.sock.fileno() >= 0 for talk in self._talks.values())

    def answer(self, dialogue: Dialogue, place: str, line: bytes) -> Said | None:
        """Reply, or hang up, by the policies; None to go on as usual."""
        time.sleep(self.pace_s)
        with self._lock:
            # A server keeps its dialogues.
            talk = self._talks.setdefault(id(dialogue), Talk(self, dialogue))
            reply = self._judge(talk, place, line)
        if reply is None:
            return None
        if reply in {HANG_UP, TAKE_AND_HANG_UP}:
            DROP.act(dialogue)
        if reply.startswith("421"):
            Cut(f"{reply}\r\n".encode()).act(dialogue)
        dialogue.reply(reply)
        return Said(reply)

    def _judge(self, talk: Talk, place: str, line: bytes) -> str | None:
        mail = talk.hear(place, line)
        if mail is None:
            return None
        now = self.now()
        for policy in self.policies:
            is_in_force = place in policy.stages and now - self._began < policy.until_s
            if is_in_force and policy.of_mail(mail) and policy.of_talk(talk):
                reply = policy.reply
                break
        else:
            reply = None
        if reply in {None, TAKE_AND_HANG_UP}:
            talk.go_on(place, mail)
            if place == "final-dot":
                self.accepted.append(Accepted(now, message_id_of(line), mail, id(talk)))
        elif reply is not None:
            talk.errors += 1
            self.refusals.append(Refusal(now, place, reply, mail))
        if place == "final-dot":
            talk.forget()
        return reply


def message_id_of(content: bytes) -> str:
    found = re.search(rb"(?im)^message-id:\s*(\S+)", content.partition(b"\r\n\r\n")[0])
    return found[1].decode() if found else ""


def _path_in(line: bytes) -> str:
    return line.partition(b"<")[2].partition(b">")[0].decode("utf-8", "surrogateescape")
