"""Worlds by dice for ``test_policies``: who sends what to whom, over which connections, and what the provider minds.

A world is all in its seed. Its text is what a person needs who is told that something went wrong in it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from tests.campaign.machine import DAY_S
from tests.support.provider import HANG_UP, TAKE_AND_HANG_UP, WORDS, Mail, Policy, Scope
from ucrmmail.delivery.schedule import Retry
from ucrmmail.limits.rules import Rules, Throttle

MINUTE_S, HOUR_S = 60.0, 3600.0
# A limit that nothing comes near: connections are threads then, and not processes.
MANY = Throttle(100_000, 1e8)
# A server that hangs up at too many recipients does so at more than these.
_MANY_RECIPIENTS = 60

_QUOTA_FOR_NOW = (
    "450 4.7.1 Error: too much mail from 10.0.0.1",
    "451 4.7.1 sender rate limit exceeded",
    "454 4.7.0 Throttling failure: Maximum sending rate exceeded",
)
_QUOTA_5YZ = (
    "550 5.4.5 Daily user sending limit exceeded",
    "554 5.7.1 You have exceeded your daily sending quota",
    "550 5.7.1 sending limit reached for this account",
)
_BLOCK = (
    "554 5.7.1 Sender address blocked",
    "550 5.7.1 this account is suspended",
    "530 5.7.0 Authentication required",
)
_FOREIGN = ("550 5.7.60 SMTP; Client does not have permissions to send as this sender",)
_LATER = ("451 4.3.0 local problem", "450 4.2.0 greylisted", "452 4.3.1 insufficient system storage")
_NEVER = ("550 5.1.1 no such user", "554 5.7.1 spam", "552 5.3.4 too large")
_CLOSING = ("421 4.3.0 Temporary system problem", "421 4.7.0 try again later", "421 Service not available")
_OF_MAIL = (_QUOTA_FOR_NOW, _QUOTA_5YZ, _BLOCK, _FOREIGN, _LATER, _NEVER, _CLOSING, (HANG_UP,))
_OF_ACCOUNT = (_QUOTA_FOR_NOW, _CLOSING, (HANG_UP,))
_MESSAGES_PER_CONNECTION = (
    "421 4.7.0 too many messages in this connection",
    "421 4.4.1 Connection timed out",
    "452 4.5.3 too many messages in this session",
    HANG_UP,
)
_RECIPIENTS = (
    "452 4.5.3 too many recipients",
    "554 Transaction failed: Recipient count exceeds 50.",
    "550 5.5.3 too many recipients",
)
_CONNECTIONS = (
    "421 4.7.0 too many concurrent connections",
    "421 4.7.0 too many connections from your address",
    "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
)


@dataclass
class World:
    """``later`` are the messages that come behind the first run and the second, by number."""

    seed: int
    words: str = ""
    extensions: tuple[str, ...] = ()
    pace_s: float = 0.0
    connections: int = 1
    rules: Rules = field(default_factory=Rules)
    retry: Retry = field(default_factory=Retry)
    mails: list[Mail] = field(default_factory=list)
    priorities: dict[int, str] = field(default_factory=dict)
    later: dict[int, int] = field(default_factory=dict)
    policies: list[Policy] = field(default_factory=list)

    def __str__(self) -> str:
        senders = ", ".join(sorted({f"<{mail.sender}>" for mail in self.mails}))
        offers = " ".join(self.extensions) or "no extension"
        limits = ", ".join(map(str, self.rules.throttles)) or "no limit"
        given_up_h = self.retry.give_up_after_s / HOUR_S
        lines = (
            f"seed {self.seed}: {len(self.mails)} messages to {self.recipients} recipients, from {senders}",
            f"{len(self.later)} of them come behind the first run or the second; given up after {given_up_h:.0f} hours",
            f"{self.connections} connections to {self.words}, which offers {offers}; {limits}",
            *[f"policy: {policy}" for policy in self.policies],
        )
        return "\n    ".join(lines)

    @property
    def recipients(self) -> int:
        return sum(len(mail.recipients) for mail in self.mails)

    @property
    def account_opens_s(self) -> float:
        """When the account is refused no more; 0.0 when it never was."""
        return max((one.until_s for one in self.policies if one.scope is Scope.ACCOUNT), default=0.0)

    def units(self, limit: Throttle) -> int:
        """Return how much of a limit all of it takes, each message in one transaction."""
        return sum(limit.units(len(mail.recipients)) for mail in self.mails)

    def has(self, scope: Scope) -> bool:
        return any(policy.scope is scope for policy in self.policies)

    def is_costly(self, mail: Mail) -> bool:
        """Return whether it takes many attempts to find out to whom a message can go, or at what connections are lost."""
        hanging_up = {one.scope for one in self.policies if one.reply in {HANG_UP, TAKE_AND_HANG_UP}}
        is_concerned = [bool(self.concerning(mail, recipient)) for recipient in mail.recipients]
        return (
            len(set(is_concerned)) > 1
            or hanging_up >= {Scope.MAIL, Scope.CONNECTION}
            or (Scope.TRANSACTION in hanging_up and len(mail.recipients) > _MANY_RECIPIENTS)
        )

    def concerning(self, mail: Mail, recipient: str) -> list[Policy]:
        """Return the policies that mean this recipient of this message."""
        return [policy for policy in self.policies if policy.concerns(mail, recipient)]


def world(seed: int) -> World:
    """Return the world of this seed."""
    dice = random.Random(seed)
    made = World(seed)
    made.words = dice.choice(tuple(WORDS))
    offers = {"PIPELINING": 0.6, "CHUNKING": 0.4, "8BITMIME": 0.6, "SIZE 10485760": 0.6}
    made.extensions = tuple(name for name, chance in offers.items() if dice.random() < chance)
    made.pace_s = dice.choice((0.0, 0.0, 0.0, 0.001, 0.003))
    made.connections = dice.choice((1, 1, 2, 4))
    made.retry = Retry(MINUTE_S, HOUR_S, dice.choice((DAY_S / 2, DAY_S / 2, 5 * DAY_S)))
    is_to_many = dice.random() < 0.15
    _write(dice, made, is_to_many=is_to_many)
    made.rules = Rules(dice.choice(((), (), (), (MANY,), (MANY,), (MANY if is_to_many else _strict(dice),))))
    draws = [_of_sender, _of_domain, _of_recipient, _of_messages, _of_account, _of_connection, _of_transaction]
    for draw in dice.choices(draws, (3, 1, 3, 2, 2, 4, 2), k=dice.choice((0, 1, 1, 1, 2, 2, 3))):
        made.policies += draw(dice, made)
    return made


def _write(dice: random.Random, made: World, *, is_to_many: bool) -> None:
    domains = ("isp.example", "shop.example", "off.example")[: dice.randint(1, 3)]
    senders = [f"s{number}@{dice.choice(domains)}" for number in range(dice.randint(1, 5))]
    if dice.random() < 0.2:
        senders.append("")
    for number in range(dice.randint(5, 60)):
        count = dice.choice((1, 1, 30, 120) if is_to_many else (1, 1, 1, 2, 4))
        people = dice.sample(range(max(12, 2 * count)), count)
        recipients = tuple(f"r{person}@d{dice.randint(0, 3)}.example" for person in people)
        made.mails.append(Mail(number, dice.choice(senders), recipients))
        made.priorities[number] = dice.choice(("normal",) * 8 + ("urgent", "bulk"))
    if dice.random() < 0.25:
        made.later = {mail.number: dice.randint(1, 2) for mail in made.mails if dice.random() < 0.3}


def _strict(dice: random.Random) -> Throttle:
    """Return a limit that the world meets."""
    sliding, duration_s = dice.random() < 0.5, dice.choice((10 * MINUTE_S, HOUR_S))
    if dice.random() < 0.5:
        return Throttle(dice.choice((20, 60)), duration_s, sliding, "recipients")
    return Throttle(dice.choice((10, 30)), duration_s, sliding)


def _until(dice: random.Random) -> float:
    return dice.choice((inf, inf, 10 * MINUTE_S, 2 * HOUR_S, DAY_S))


def _of_mail(dice: random.Random, whom: str, of_mail: Callable[[Mail], bool], stages: tuple[str, ...]) -> list[Policy]:
    stage = dice.choice(stages)
    answers = (*_OF_MAIL, (TAKE_AND_HANG_UP,)) if stage == "final-dot" else _OF_MAIL
    reply = dice.choice(dice.choice(answers))
    return [Policy(whom, Scope.MAIL, (stage,), reply, _until(dice), of_mail)]


def _of_sender(dice: random.Random, made: World) -> list[Policy]:
    sender = dice.choice(made.mails).sender
    stages = ("mail", "rcpt", "data", "final-dot")
    return _of_mail(dice, f"sender <{sender}>", lambda mail: mail.sender == sender, stages)


def _of_domain(dice: random.Random, made: World) -> list[Policy]:
    domain = dice.choice(made.mails).sender.partition("@")[2]
    stages = ("mail", "rcpt", "data", "final-dot")
    return _of_mail(dice, f"senders of {domain or '<>'}", lambda mail: mail.sender.partition("@")[2] == domain, stages)


def _of_recipient(dice: random.Random, _made: World) -> list[Policy]:
    person = f"r{dice.randint(0, 5)}@"
    return _of_mail(
        dice,
        f"recipient {person}",
        lambda mail: any(one.startswith(person) for one in mail.recipients),
        ("rcpt", "rcpt", "data", "final-dot"),
    )


def _of_messages(dice: random.Random, _made: World) -> list[Policy]:
    digit = dice.randint(0, 9)
    return _of_mail(
        dice, f"messages ...{digit}", lambda mail: mail.number % 10 == digit and mail.number >= 0, ("final-dot",)
    )


def _of_account(dice: random.Random, made: World) -> list[Policy]:
    stage = dice.choice(("greeting", "ehlo", "mail", "data", "final-dot"))
    is_behind_the_opening = stage not in {"greeting", "ehlo"}
    reply = dice.choice(dice.choice((*_OF_ACCOUNT, _QUOTA_5YZ, _BLOCK) if is_behind_the_opening else _OF_ACCOUNT))
    after = dice.choice((0, 0, 5, 12, len(made.mails) // 2))
    until_s = dice.choice((10 * MINUTE_S, HOUR_S, 2 * HOUR_S))
    whom = f"the account after {after} messages"
    return [
        Policy(whom, Scope.ACCOUNT, (stage,), reply, until_s, of_talk=lambda talk: len(talk.provider.accepted) >= after)
    ]


def _of_connection(dice: random.Random, _made: World) -> list[Policy]:
    kind = dice.choice(("messages", "errors", "several"))
    if kind == "messages":
        most, reply = dice.choice((1, 2, 5, 10)), dice.choice(_MESSAGES_PER_CONNECTION)
        whom = f"more than {most} messages on a connection"
        return [Policy(whom, Scope.CONNECTION, ("mail",), reply, of_talk=lambda talk: talk.messages > most)]
    if kind == "errors":
        most, reply = dice.choice((3, 10, 20)), "421 4.7.0 Error: too many errors"
        whom, stages = f"a connection after {most} errors", ("mail", "rcpt", "data")
        return [Policy(whom, Scope.CONNECTION, stages, reply, of_talk=lambda talk: talk.errors >= most)]
    most, reply = dice.choice((1, 2)), dice.choice(_CONNECTIONS)
    whom, stage = f"more than {most} connections at a time", dice.choice(("greeting", "mail"))
    return [Policy(whom, Scope.CONNECTION, (stage,), reply, of_talk=lambda talk: talk.provider.open_connections > most)]


def _of_transaction(dice: random.Random, _made: World) -> list[Policy]:
    most, stage = dice.choice((2, 5, 20, _MANY_RECIPIENTS)), dice.choice(("rcpt", "data", "final-dot"))
    # Behind the final dot that would show nothing: the message may have been taken.
    hangs_up = most == _MANY_RECIPIENTS and stage != "final-dot" and dice.random() < 0.4
    reply = HANG_UP if hangs_up else dice.choice(_RECIPIENTS)
    whom = f"more than {most} recipients in a transaction"
    return [
        Policy(
            whom,
            Scope.TRANSACTION,
            (stage,),
            reply,
            of_talk=lambda talk: (talk.asked if stage == "rcpt" else len(talk.recipients)) > most,
        )
    ]
