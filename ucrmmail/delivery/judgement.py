"""What the end of a connection means for the run: go on, let others go before one message, or end for the account.

A server that refuses or hangs up may mean the message, its sender, or the account. One message more shows which, so
the run goes on a little in doubt; but each of its connections costs a login, and servers count those.
"""

from __future__ import annotations

import threading
from math import ceil
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.delivery.ending import EX_TEMPFAIL, EX_UNAVAILABLE, EXCUSED_CONNECTIONS
from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.message.quotas import is_of_concurrency
from ucrmmail.smtp.trouble import CLOSING, account_trouble

if TYPE_CHECKING:
    from ucrmmail.delivery.ending import Ending
    from ucrmmail.delivery.feed import QueueFeed
    from ucrmmail.smtp.transaction import End

# So many connections in a row that were lost without a message relayed are a trouble of the account.
LOST_CONNECTIONS = 2
# So many messages may meet what is a lasting trouble of the account before it is taken for that: others are tried. It
# is less often one sender's than one recipient's.
MOST_IN_DOUBT = 5
MOST_SENDERS_IN_DOUBT = 2


@dataclass(slots=True)
class Losses:
    """Connections in a row that were lost with nothing relayed; the last one ``at`` the MAIL of this, "" if not.

    ``trouble`` is how the last one was lost. ``excused`` counts those that ended for what was on them. ``relayed``:
    something went before, and ``progress`` is how much the run had relayed at the first one, if that went here.
    """

    count: int = 0
    progress: int = 0
    relayed: bool = False
    excused: int = 0
    at: str = ""
    trouble: Trouble | None = None

    def begin_anew(self, *, at: str, excused: int) -> None:
        """Count from nothing again, behind a connection that did its work or ended for what was on it."""
        self.count, self.excused, self.at, self.trouble = 0, excused, at, None


class Judgement:
    """Judges the ends of the connections of a run, and writes into their common ``ending`` what the run learns."""

    def __init__(self, feed: QueueFeed, ending: Ending) -> None:
        self._feed = feed
        self._ending = ending
        self._in_doubt = 0
        self._lock = threading.Lock()

    def goes_on(self, end: End, losses: Losses, without: frozenset[str], *, must_end: bool) -> bool:
        """Take in how a round of transactions ended; False when its connection is one more than the server wants.

        ``losses`` are those of this connection, in place of which there may be a new one each time, and ``without``
        is what it has gone without. A run that ``must_end`` has asked the server for nothing that it could refuse.
        """
        self._learn_extensions(end, without)
        self._ending.relayed |= end.relayed
        self._ending.denied = end.denied or self._ending.denied
        if self._is_one_too_many(end, losses):
            # As at a connection that is refused: the others go on, and have its message too. Should it come where there
            # are no others, that is what the server means: the message is not suspected, so that it is not to blame
            # for an account that was blocked meanwhile.
            self._ending.unconnected = end.trouble
            return False
        postponed = end.trouble is not None and end.trouble.scope is Scope.ACCOUNT and self._postpones(end, end.trouble)
        is_excused = self._excuse(end, losses)
        is_stopped = end.trouble is None and must_end
        # With the doubt about an extension it is tried once more: that is the one which counts. A mere guess at which a
        # message was lost is a lost connection as well.
        tries_again = end.distrust and not (end.passing and end.refused)
        is_explained = is_excused or postponed or is_stopped or end.used_up or tries_again or end.relayed or end.fewer
        return end.alive or bool(is_explained) or self._count(losses, end)

    def is_one_of_several(self, losses: Losses) -> bool:
        """Return whether others of this run have relayed something since this connection was lost first."""
        return self._feed.has_others and self._feed.suspicion.progress > losses.progress

    def out_of_time(self, losses: Losses) -> None:
        """Remember, at the end of the time, that it was the server which took it, and would take that of each run."""
        if losses.count and not self._feed.suspicion.progress:
            self._ending.because_of(_connections_are_lost(losses), losses.at, in_doubt=True)
        elif losses.at:
            self._ending.unresolved.add(losses.at)

    def let_in_late(self, took_s: float) -> None:
        """Remember that the server let a connection in when its run could send no more, ``took_s`` after it asked."""
        self._ending.let_in_late = account_trouble(
            Stage.GREETING,
            # Without a figure: the next run is to tell that it is the same.
            "the smarthost let this run in when no time was left to send anything",
            why=f"it took {took_s:.1f} s: it is slow, or one of its addresses is",
            remedy=f"let `flush` have a --time-limit well above {ceil(took_s)}s; `ucrmmail test-connection` shows why",
            exit_code=EX_TEMPFAIL,
        )

    def _is_one_too_many(self, end: End, losses: Losses) -> bool:
        """Return whether the server wants fewer connections at a time, and says so when it is to take a message.

        With 421 alone if it has taken nothing here so far, but something over others: those are to meet it as well.
        """
        if end.trouble is None or end.trouble.reply is None or end.trouble.stage is not Stage.MAIL:
            return False
        if not self._feed.has_others or self._feed.suspicion.prefers_untried or end.alive:
            return False
        is_new = end.refused not in self._feed.suspicion.suspects and not (end.relayed or losses.relayed)
        is_meant = end.trouble.reply.code == CLOSING and is_new and bool(self._feed.suspicion.progress)
        return is_meant or is_of_concurrency(end.trouble.reply)

    def _postpones(self, end: End, trouble: Trouble) -> bool:
        """Let others go before the message at which the account was refused; without any, the run ends for that."""
        if trouble.kind is Kind.PERMANENT:
            # In this run another of the same sender shows whether it is one recipient's, the next one looks further.
            at_recipient = trouble.stage is Stage.RCPT
            most = MOST_IN_DOUBT if at_recipient else MOST_SENDERS_IN_DOUBT
            # Connections that are refused at the same moment are no more in doubt than one.
            with self._lock:
                # Another of the same sender was on its way already, and tells nothing new.
                is_known = self._feed.suspicion.is_suspected(end.sender)
                if end.refused and (is_known or self._in_doubt < most):
                    # Another message shows at once whether it is the account's; one of another sender, if need be.
                    self._in_doubt += not is_known
                    self._suspect(end.refused, sender="" if at_recipient else end.sender)
        self._ending.senders.update({end.sender} - {""})
        if self._feed.postpone(end.refused):
            return True
        # What others have in hand may still show that it is this sender's.
        in_doubt = end.refused in self._feed.suspicion.suspects or self._feed.suspicion.was_suspected(end.sender)
        if end.refused:
            # Of several connections, each may have met another one.
            self._ending.suspects[end.refused] = None
        self._end_all(trouble, end.refused, sender=end.sender, in_doubt=in_doubt)
        return False

    def _suspect(self, queue_id: str, *, sender: str = "") -> None:
        self._feed.suspect((queue_id,), sender=sender)
        self._ending.suspects[queue_id] = None

    def _excuse(self, end: End, losses: Losses) -> bool:
        """Return whether a connection may have ended for what was on it, and count it as that."""
        most = EXCUSED_CONNECTIONS if end.decided or self._ending.relayed else MOST_IN_DOUBT
        is_excused = (end.blamed or end.decided or end.passed_over) and losses.excused < most
        losses.relayed |= end.relayed
        if end.relayed or (is_excused and not end.passed_over):
            of_account = end.trouble is not None and end.trouble.scope is Scope.ACCOUNT
            losses.begin_anew(
                at="" if of_account or end.alive else end.refused, excused=0 if end.relayed else losses.excused + 1
            )
        elif is_excused:
            losses.excused += 1
        return is_excused

    def _count(self, losses: Losses, end: End) -> bool:
        """Count a connection that was lost; behind the first, another message shows whether it was this one.

        Returns False when it is one more than the server wants, as it seems: others relayed mail meanwhile.
        """
        if not losses.count:
            losses.progress = self._feed.suspicion.progress if losses.relayed else 0
        losses.count += 1
        again, losses.at, losses.trouble = end.refused == losses.at, end.refused, end.trouble
        if losses.count >= LOST_CONNECTIONS:
            is_explained = end.blamed or end.decided or (end.refused and again)
            if self.is_one_of_several(losses) and not is_explained:
                self._ending.unconnected = _connections_are_lost(losses)
                return False
            if end.refused:
                # The next run lets others go first: it may be these two, or their sender's all, and not the account.
                self._ending.unresolved.add(end.refused)
                self._ending.senders.update({end.sender} - {""})
            self._end_all(_connections_are_lost(losses), end.refused, in_doubt=bool(end.refused) and again)
        elif end.refused:
            self._feed.suspect((end.refused,), hung_up=True)
            self._feed.postpone(end.refused)
        return True

    def _end_all(self, trouble: Trouble, refused: str, *, sender: str = "", in_doubt: bool) -> None:
        """Let the run end for the account's trouble: every connection ends what it has in hand, and begins no more."""
        with self._lock:
            self._ending.because_of(trouble, refused, sender=sender, in_doubt=in_doubt)
        self._feed.closed = True

    def _learn_extensions(self, end: End, without: frozenset[str]) -> None:
        """Learn from a round what the server does not understand: mail that goes without is the proof."""
        ending = self._ending
        if end.distrust:
            ending.distrusted.add(end.distrust)
            is_refuted = end.distrust in ending.refuted
            if end.passing and (end.distrust != ending.guessed_before or is_refuted):
                if end.distrust == "PIPELINING" and not is_refuted:
                    ending.guessed = end.distrust
            elif end.distrust == "CHUNKING":
                # It said so itself.
                ending.lies.add(end.distrust)
            else:
                ending.doubted = end.distrust
        elif (doubted := ending.doubted) in without:
            if end.relayed and not end.slow:
                ending.lies.add(doubted)
                ending.doubted = ""
            elif end.slow or not end.alive:
                # It was not that, and others may go as they were offered.
                ending.refuted.add(doubted)
                ending.distrusted.discard(doubted)
                ending.doubted = ""


def _connections_are_lost(losses: Losses) -> Trouble:
    trouble = losses.trouble
    what = "one connection after the other was lost" if losses.count > 1 else "the connection was lost"
    return Trouble(
        scope=Scope.ACCOUNT,
        kind=Kind.TRANSIENT,
        stage=trouble.stage if trouble is not None else Stage.CONNECT,
        what=f"{what}: {trouble.what}" if trouble is not None else what,
        remedy="run `ucrmmail test-connection`; nothing was lost, the next run tries again",
        reply=trouble.reply if trouble is not None else None,
        exit_code=EX_UNAVAILABLE,
    )
