"""What is sent, and what becomes of it: the nouns between the queue and the client.

A ``Feed`` hands out transactions and takes their outcomes; a ``Message`` is a transaction under way, which may need
several envelopes, and ends with one outcome for each recipient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ucrmmail.dataclass import dataclass, field, replace
from ucrmmail.message.outcome import Kind, Outcome, Result, Scope, Stage, Trouble
from ucrmmail.message.quotas import is_too_many_recipients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# What a server "said" that hung up instead: among the recipients, or at MAIL.
LOST = "lost"
LOST_AT_MAIL = "lost at MAIL"
# What a message is blamed for when its sender may send no more for now: that costs no attempt. Neither this nor ONCE
# holds for the next one.
QUOTA = "quota"
ONCE = "once"
# One of several in a row that are refused alike, where others were found to be to blame: so it is at the limit of an
# account, too. It costs no attempt, and is not kept.
ALIKE = "alike"
# Who sends what has the null reverse-path: reports of ours, and those that others pass on through us.
_NOBODY = "<>"
# Of a reply, which may have 64 KiB for each of a thousand recipients.
_LONGEST_TOLD = 4096


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message and its envelope, ready to leave; ``chunks()`` yields the message anew at each call.

    Reading may fail with OSError: then this message is deferred, and the others go on. ``may_pass_over``: when the
    server hangs up at a recipient, the others are asked without him; else their attempt is over too. ``is_alone``: it
    is for one at whom it did so before. ``blamed`` is what the server said in an earlier run as of the account (the
    code, or ``LOST...``), and was found to mean this message alone.
    """

    queue_id: str
    reverse_path: str
    recipients: tuple[str, ...]
    size_bytes: int
    eight_bit: bool
    utf8: bool
    chunks: Callable[[], Iterator[bytes]]
    may_pass_over: bool = True
    is_alone: bool = False
    blamed: str = ""

    @property
    def sender(self) -> str:
        """Whose it is, as senders are told apart: never "", which is nobody's."""
        return sender_of(self.reverse_path)


def sender_of(reverse_path: str) -> str:
    """Return whose messages those of a reverse-path are; servers refuse the null one as they do any other."""
    return reverse_path or _NOBODY


@dataclass(frozen=True, slots=True)
class Marks:
    """What is to be known of a message beside its outcomes, for whoever decides whose turn it is.

    ``late``: the server was so slow that not everybody could be asked, or was lost; others go before those do.
    ``blamed``: what it met that is a trouble of the account elsewhere, and was found to be its own, or ``QUOTA``,
    ``ONCE`` or ``ALIKE``. ``alone`` has had no turn, and is asked by himself from now on: whatever the server has
    against the account, it ended the connection at him. Those ``denied`` have had none either, since what was said to
    them concerns all: the others are asked before them.
    """

    late: bool = False
    blamed: str = ""
    alone: str = ""
    denied: tuple[str, ...] = ()


NO_MARKS = Marks()


class Evidence(Protocol):
    """What tells whether a message is to blame for what the server says as of the account, or for a hang-up.

    ``suspects`` are the queue ids at which the last run ended, or at whose MAIL a connection of this one was lost.
    """

    suspects: set[str]

    def suspects_only(self, sender: str) -> bool:
        """Return whether nobody but this sender is suspected of being what the account is refused for."""

    def is_to_blame(self, queue_id: str, *, hung_up: bool = False) -> bool:
        """Return whether others were relayed since this suspect was refused, or the server ``hung_up`` at it."""

    def is_sender_to_blame(self, sender: str, *, hung_up: bool = False) -> bool:
        """Return the same of what this sender, or his domain, is suspected for."""

    def is_one_more(self, kind: str) -> bool:
        """Return whether others of this run were to blame for what they met, while mail went between them."""

    def is_known(self, kind: str) -> bool:
        """Return whether one of these met an answer of this kind."""

    def is_next_to_one(self, kind: str) -> bool:
        """Return whether nothing was relayed since the last of these, or none met an answer of this kind."""


class Feed(Protocol):
    """Where transactions come from, and where their outcomes go.

    Every transaction handed out is given back once, in order: to ``settle`` with an outcome for each recipient who had
    a turn, or to ``unused`` when its body never left for reasons not its own.

    ``has_others``: other connections ask it too now, and what waits here behind a slow message would go over them.
    """

    has_others: bool

    @property
    def suspicion(self) -> Evidence:
        """What the run knows of who is to blame."""

    @property
    def awaits_proof(self) -> bool:
        """Whether what becomes of the message on the wire decides whose turn is next: none goes along with its end."""

    def ready(self) -> Transaction | None:
        """Return the next transaction that may leave now; None when none may."""

    def settle(self, transaction: Transaction, outcomes: tuple[Outcome, ...], marks: Marks = NO_MARKS) -> None:
        """Record what became of it; when this returns, the next body may leave."""

    def left_s(self) -> float:
        """Return for how many seconds more a message may be begun; ``inf`` when that does not end."""

    def idle(self) -> None:
        """Use the time in which the server works on a message for what need not be done between two messages."""

    def unused(self, transaction: Transaction) -> None:
        """Take it back: nothing was sent, and no attempt is spent."""


@dataclass(frozen=True, slots=True)
class End:
    """How a round of transactions ended: ``trouble`` is None when the feed had no more; ``alive`` is the session.

    A session that is not alive is over; with a trouble of the message, or none, the others can go on a new one.
    ``refused`` is the message that may be to blame: at which the server said what is a trouble of the account that may
    be its own, or to whose MAIL it hung up instead of an answer; "" for none. ``sender`` is the `Transaction.sender` of
    that one: it may be said, or done, to all his messages. ``blamed``: one was indeed to blame, and lost an attempt, or
    ``decided``: a recipient was refused for good before it ended; such a connection is none that was lost, unless there
    are many in a row. ``passed_over``: it ended at one of several recipients, and the others are asked without him; nor
    is that one, but it shows nothing either. ``distrust`` is the extension that the server seems not to understand
    although it offers it, PIPELINING or CHUNKING, "" for none; the message that it was seen with was given back, to be
    tried without it. ``passing`` says that this is a guess, which proves nothing and holds for this run alone.
    ``relayed``: the server took a message in this round. ``used_up``: it takes only so many on a connection, so that
    this one was not lost. ``denied`` is a refusal to relay that a login may mend. ``fewer``: it goes on with fewer
    recipients in a transaction, since so many were refused. ``slow``: it took so long to answer MAIL that silence shows
    nothing.
    """

    trouble: Trouble | None
    alive: bool
    refused: str = ""
    sender: str = ""
    blamed: bool = False
    decided: bool = False
    distrust: str = ""
    passing: bool = False
    passed_over: bool = False
    relayed: bool = False
    used_up: bool = False
    denied: Trouble | None = None
    fewer: bool = False
    slow: bool = False


@dataclass(slots=True)
class Message:
    """A transaction under way: who has an outcome, who is in the envelope on the wire, who waits for another one.

    ``mail`` and ``rcpts`` are the commands of the envelope. The first ``asked`` of its recipients are on the wire, and
    DATA behind them if it was ``data_asked``. ``kept_s``: of the time for it, what is not for RCPT. ``late``: others go
    before the rest of it. ``behind``: its envelope went behind the final dot of another message. ``asking`` is whose
    answer is awaited, ``accepted`` whether one of this envelope was; ``turned_down`` who got the last one, if that was
    no. ``refused`` are those of this envelope who were refused, and ``turned_away`` is what MAIL was refused with: it
    counts only when the answers are known to be in step, or when no more come. ``denied`` are those who got an answer
    that concerns all, and behind whom nobody was accepted so far. ``blamed``: what
    was said as of the account, or done, and was found to be its own.
    """

    transaction: Transaction
    waiting: tuple[str, ...]
    envelope: tuple[str, ...] = ()
    mail: bytes = b""
    rcpts: tuple[bytes, ...] = ()
    asked: int = 0
    data_asked: bool = False
    kept_s: float = 0.0
    late: bool = False
    behind: bool = False
    asking: str = ""
    accepted: bool = False
    turned_down: str = ""
    refused: dict[str, Outcome] = field(default_factory=dict)
    turned_away: Trouble | None = None
    denied: dict[str, Trouble] = field(default_factory=dict)
    blamed: str = ""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    beyond: Outcome | None = None

    def decide(self, recipients: tuple[str, ...], outcome: Outcome) -> None:
        """Give those of these recipients who have none the outcome."""
        for recipient in recipients:
            if recipient not in self.outcomes:
                self.outcomes[recipient] = outcome.of(recipient)

    def decide_refused(self) -> None:
        """Let the refusals of this envelope count."""
        for recipient, outcome in self.refused.items():
            self.decide((recipient,), outcome)
        if self.turned_away is not None:
            self.refuse(self.turned_away)
        self.refused.clear()

    def accept(self) -> None:
        """Take in that the server takes it for a recipient: what it said to others before concerns them alone."""
        self.accepted = True
        for recipient, trouble in self.denied.items():
            self.refused[recipient] = outcome_of(as_own(trouble))
        self.denied.clear()

    @property
    def limit(self) -> Trouble | None:
        """What was said to those who were denied: once nobody is left to be asked, that concerns all."""
        return next(iter(self.denied.values()), None)

    def refuse(self, trouble: Trouble) -> None:
        """Let a refusal decide about those of whom it was said, and who have no outcome yet.

        At MAIL, and where it was said as of the account, that is everybody. What a server refuses later it may refuse
        for a recipient's sake, such as one that takes them one by one, so that each has the filter of his own: who
        waits for another transaction has it. Where a single one is said to be too many, so are the others.
        """
        too_many = trouble.reply is not None and is_too_many_recipients(trouble.reply)
        concerns_all = trouble.stage is Stage.MAIL or bool(self.blamed) or too_many
        self.decide(self.transaction.recipients if concerns_all else self.envelope, outcome_of(trouble))
        if concerns_all:
            self.waiting = ()

    def put_off(self, refusal: Outcome) -> None:
        """Let who waits do so until the next attempt: the server hangs up behind a refusal.

        Each of them would cost a connection; but none bounces for what was said of others.
        """
        self.decide(self.transaction.recipients, replace(refusal, result=Result.DEFERRED))
        self.waiting = ()

    @property
    def is_refused_for_good(self) -> bool:
        """Whether somebody was refused and will not be asked again: what the server does then, it does about that."""
        return any(outcome.result is Result.FAILED for outcome in self.outcomes.values())

    @property
    def is_deferred(self) -> bool:
        """Whether somebody is to be asked again."""
        return any(outcome.result is Result.DEFERRED for outcome in self.outcomes.values())

    @property
    def may_have_left(self) -> bool:
        """Whether the server has it, or may have it, for somebody."""
        return any(outcome.uncertain or outcome.result is Result.RELAYED for outcome in self.outcomes.values())


def as_own(trouble: Trouble) -> Trouble:
    """Return a trouble of the account that was found to be a message's own.

    What an administrator has to mend bounces nothing, even then.
    """
    return replace(trouble, scope=Scope.MESSAGE, kind=Kind.TRANSIENT)


def outcome_of(trouble: Trouble) -> Outcome:
    """Return the outcome that a trouble of a message or a recipient gives, for a recipient still to be named."""
    result = Result.FAILED if trouble.kind is Kind.PERMANENT else Result.DEFERRED
    enhanced = trouble.reply.enhanced if trouble.reply is not None else ""
    if not enhanced:
        enhanced = "5.0.0" if result is Result.FAILED else "4.0.0"
    return Outcome("", result, trouble.stage, trouble.told[:_LONGEST_TOLD], enhanced)


def kind_of(stage: Stage, said: str) -> str:
    """Return what is alike in two refusals: where they came, and the codes of the reply."""
    code, _, text = said.partition(" ")
    enhanced = text.partition(" ")[0]
    return f"{code} {enhanced if enhanced[:1].isdecimal() else ''} {stage.value}"
