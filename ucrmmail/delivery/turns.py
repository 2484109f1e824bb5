"""Whose turn it is: the message that is next, claimed ahead of its time, and those that come behind others.

Messages leave in the order of the queue, but for two kinds. A suspect waits while proof is awaited, since it would show
nothing. A message that is late, because the server is slow with each of its recipients or was lost at one, or that is
known to cost a connection, comes behind all others of its priority: it would keep them waiting run after run. So does
what a `Search` passes over, while nothing shows that the account is out of its trouble.
"""

from __future__ import annotations

import zlib
from heapq import heappop, heappush
from itertools import chain
from math import inf
from typing import TYPE_CHECKING

from ucrmmail.delivery.search import Search, waits_lately
from ucrmmail.smtp.transaction import sender_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ucrmmail.clock import Clock
    from ucrmmail.delivery.suspicion import Suspicion
    from ucrmmail.spool.claimed import Claimed
    from ucrmmail.spool.queue import Spool
    from ucrmmail.spool.state import MessageState

# While one is searched for that shows whose trouble it is, each is opened for that: the time is looked at this often.
_SEARCHED_AT_ONCE = 100
# What may have come before messages that let others go first is looked for this often while those go: to list the queue
# takes as long as it is.
_LOOK_AGAIN_S = 0.5
_URGENT = "0"
# So many that were to blame before are asked in vain while a suspect waits: each may cost a connection, and too many of
# those end the run, before anything shows who is to blame.
_MOST_IN_VAIN = 2
# Of what is dealt to several, one connection passes over no more that was tried before while no message is suspected:
# who holds it has to send it alone, and what comes meanwhile waits for that.
_MOST_HELD = 500


class Turns:
    """The order in which a feed claims messages; ``next`` is claimed and has not left.

    ``due()`` names what was dealt to this process, each message once; without it the queue is asked, and names a
    message again as long as it stands there. ``left_s()`` is as in `QueueFeed`.
    """

    def __init__(
        self,
        spool: Spool,
        suspicion: Suspicion,
        clock: Clock,
        *,
        left_s: Callable[[], float],
        due: Callable[[], Iterator[str]] | None = None,
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._left_s = left_s
        self._suspicion = suspicion
        self._source = due or spool.due
        self._is_dealt = due is not None
        self._due: Iterator[str] = iter(())
        # What was asked for too early, and comes before what is due. (To chain it in front would nest without end.)
        self._first: list[str] = []
        self.next: Claimed | None = None
        # Suspects whose turn it was while proof was awaited, and what is of suspected senders.
        self._aside: dict[str, None] = {}
        self._of_suspected: dict[str, None] = {}
        # Of each suspected sender the first message of those.
        self._first_of: dict[str, str] = {}
        # A heap of what was dealt to us and is not done: what was begun or given back, and what was claimed behind it.
        self._again: list[str] = []
        # Messages that would keep others waiting: their ids, and a heap of the same.
        self._late: set[str] = set()
        self._late_in_order: list[str] = []
        self._search = Search(suspicion, clock, left_s=left_s)
        self._passed = 0
        # How many of those to blame were asked since as much was relayed, and at which progress a suspect had its turn.
        self._in_vain = 0
        self._in_vain_at = self._let_in_at = -1
        self._asked_at = -inf

    @property
    def holds_work(self) -> bool:
        """Whether a message is in hand already, or was set aside, that nobody else will send meanwhile."""
        others = self._again or self._first or self._aside or self._of_suspected or self._late or self._search
        return self.next is not None or bool(others)

    @property
    def has_aside(self) -> bool:
        """Whether suspects wait for proof."""
        return bool(self._aside)

    def look(self, *, others_are_out: bool) -> Claimed | None:
        """Return ``next``, claimed now unless it is already; None when nothing is due that could be claimed.

        ``others_are_out``: what becomes of them may show who is to blame, so that suspects wait for that.
        """
        if self.next is not None and self._aside and not self._suspicion.awaits_proof:
            # It was claimed ahead of the proof, and the suspects have their turn now.
            self._spool.release(self.next)
            self._put_first(self.next.queue_id)
            self.next = None
        if self.next is None:
            self.next = self._claim_next(others_are_out=others_are_out)
            if self.next is not None and self.next.state.blamed:
                self._count_in_vain()
        return self.next

    def leave_out(self) -> None:
        """Let go of what was claimed ahead, if it is to be left out of this run."""
        if self.next is not None and self._suspicion.is_left_out(sender_of(self.next.reverse_path)):
            self._spool.leave_out(self.next)
            self.next = None

    def take(self) -> Claimed | None:
        """Return ``next``, which leaves now."""
        taken, self.next = self.next, None
        return taken

    def put_back(self) -> None:
        """Let go of a message that was claimed ahead, so that a more urgent one can come before it."""
        if self.next is not None:
            self._spool.release(self.next)
            self.next = None
            self.ask_anew()

    def ask_anew(self) -> None:
        """Ask the queue at the next look: something stands in it again, before others."""
        self._due, self._asked_at = iter(()), -inf
        if not self._is_dealt:
            self._first = []

    def go_on_with(self, queue_id: str) -> None:
        """Let a message that is in parts, or never left, keep its place in the order, before one claimed ahead."""
        ahead = self.take()
        if ahead is not None:
            self._spool.release(ahead)
        if self._is_dealt:
            self._put_first(queue_id)
            if ahead is not None:
                self._put_first(ahead.queue_id)
        else:
            # It stands in the queue, which is asked anew: more urgent mail may have come before it.
            self.ask_anew()

    def let_others_first(self) -> bool:
        """Let go of a suspect that was claimed ahead, and claim another message; False when there is none."""
        self.set_suspect_aside()
        if self.next is not None and self._search.passes(self.next.queue_id, self.next.state):
            self._spool.release(self.next)
            self.next = None
        if self.next is None:
            self.next = self._claim_from_queue()
        if self.next is None and self._left_s() > 0 and self._suspicion.gives_up_domains():
            self._of_suspected = self._bring_back(self._of_suspected)
            self.next = self._claim_from_queue()
        return self.next is not None

    def set_suspect_aside(self) -> None:
        """Let go of a suspect that was claimed ahead: another one that may be to blame shows nothing."""
        if self.next is not None and (self.next.queue_id in self._suspicion.suspects or self._shows_nothing(self.next)):
            if self.next.queue_id in self._suspicion.suspects:
                self._aside[self.next.queue_id] = None
            else:
                self._wait_for_others(self.next)
            self._spool.release(self.next)
            self.next = None

    def _claim_next(self, *, others_are_out: bool) -> Claimed | None:
        """Return the first message due that nobody else works on, a suspect last while proof is awaited."""
        if (self._aside or self._of_suspected) and not self._suspicion.awaits_proof:
            self._due = chain(self._due, self._of_suspected)
            for queue_id in reversed(self._aside):
                if queue_id in self._suspicion.lost:
                    # Behind the rest: a server that is silent at it may take all the time there is.
                    self._come_last(queue_id)
                else:
                    # What the server answers now tells whether others like it may end the run.
                    self._put_first(queue_id)
            self._of_suspected, self._aside = {}, {}
        claimed = self._let_in() or self._claim_from_queue()
        if claimed is None and not others_are_out and self._left_s() > 0:
            # Nothing else can show whether it is to blame.
            while claimed is None and self._of_suspected:
                if not self._suspicion.gives_up_domains():
                    claimed = self._claim_in_turn()
                    if claimed is not None:
                        break
                    # Where that changes nothing, they were waiting for the proof of a suspect, which may be settled.
                    self._suspicion.gives_up()
                self._bring_suspected_back()
                claimed = self._claim_from_queue()
            while claimed is None and self._aside:
                claimed = self._claim_in_turn() or self._claim_suspect()
        return claimed

    def _count_in_vain(self) -> None:
        """Count one more that was to blame before; it is not in vain once something is relayed."""
        progress = self._suspicion.progress
        self._in_vain = 1 + self._in_vain * (self._in_vain_at == progress)
        self._in_vain_at = progress

    def _let_in(self) -> Claimed | None:
        """Claim a suspect, once, behind others that were asked in vain: what it met may be over. None if not yet."""
        if self._in_vain < _MOST_IN_VAIN or self._suspicion.lost.issuperset(self._aside):
            return None
        progress = self._suspicion.progress
        if self._in_vain_at != progress or self._let_in_at == progress:
            return None
        self._let_in_at = progress
        return self._claim_suspect()

    def _wait_for_others(self, claimed: Claimed) -> None:
        """Let mail of others go before this one of a suspected sender."""
        self._of_suspected[claimed.queue_id] = None
        self._first_of.setdefault(sender_of(claimed.reverse_path), claimed.queue_id)

    def _claim_in_turn(self) -> Claimed | None:
        """Claim a message of him who was refused longest ago, where several senders wait; None where they do not.

        Drawn by messages, the one of a sender would hardly have its turn beside the hundreds of another one, however
        long his own trouble is over. He is asked for a suspect when he has no other: it may be what was refused.
        """
        had_turn = self._suspicion.had_turn
        waiting: dict[str, list[str]] = {}
        for queue_id in self._aside if len(self._suspicion.refused_senders) > 1 else ():
            claimed = self._spool.claim(queue_id) if queue_id not in self._suspicion.lost else None
            if claimed is not None:
                waiting.setdefault(sender_of(claimed.reverse_path), []).append(queue_id)
                self._spool.release(claimed)
        waiting |= {sender: [first] for sender, first in self._first_of.items() if first in self._of_suspected}
        order = {sender: at for at, sender in enumerate(self._suspicion.refused_senders)}
        if len(waiting.keys() & order) < 2 or had_turn.issuperset(waiting):
            return None
        sender = min(waiting, key=lambda one: (one in had_turn, order.get(one, -1)))
        had_turn.add(sender)
        chosen = self._drawn(waiting[sender])
        self._aside.pop(chosen, None)
        self._of_suspected.pop(chosen, None)
        return self._claim(chosen)

    def _claim_suspect(self) -> Claimed | None:
        """Claim one of the suspects that wait, drawn anew in each run: what one met may be over first.

        Those at which a connection was lost come last.
        """
        waiting = [queue_id for queue_id in self._aside if queue_id not in self._suspicion.lost] or list(self._aside)
        chosen = self._drawn(waiting)
        del self._aside[chosen]
        return self._claim(chosen)

    def _drawn(self, waiting: Sequence[str]) -> str:
        return waiting[zlib.crc32(repr(self._clock.now()).encode()) % len(waiting)]

    def _claim_from_queue(self) -> Claimed | None:
        """Claim what is due; asks the queue anew once, for what came meanwhile. None when the time is up, too."""
        self._search.begin_to_count()
        if self._search and not self._search.is_on:
            # Some went, and it may be what was in the way.
            self._end_search(proved=True)
        for _ in range(2):
            while (queue_id := self._next_id()) is not None:
                if queue_id in self._suspicion.suspects and self._suspicion.awaits_proof:
                    self._aside[queue_id] = None
                    continue
                if self._was_seen(queue_id):
                    continue
                claimed = self._claim_late(before=queue_id)
                if claimed is not None:
                    self._put_first(queue_id)
                    return claimed
                claimed = self._claim(queue_id)
                if claimed is not None:
                    if self._shows_nothing(claimed):
                        self._wait_for_others(claimed)
                    elif not self._search.passes(queue_id, claimed.state):
                        if not self._comes_behind(claimed.state):
                            return claimed
                        self._come_last(queue_id)
                    self._spool.release(claimed)
                self._passed += 1
                if self._passed % _SEARCHED_AT_ONCE:
                    continue
                if self._left_s() <= 0:
                    return None
                if self._holds_too_much:
                    self._end_search()
                elif (self._search or self._of_suspected) and self._search.takes_too_long():
                    self._give_up_search()
                    return self._claim_from_queue()
            now = self._clock.monotonic()
            if self._late and not self._search and now - self._asked_at < _LOOK_AGAIN_S:
                break
            self._due, self._asked_at = self._source(), now
        if self._search:
            # There is none that was never tried, or so far back.
            return self._claim_furthest() or self._claim_from_queue()
        return self._claim_late()

    @property
    def _holds_too_much(self) -> bool:
        """Whether a search keeps messages from the other connections, and nothing is known to be in the way."""
        is_suspected = self._suspicion.suspects or self._suspicion.senders
        return self._is_dealt and self._search.retried > _MOST_HELD and not is_suspected

    def _claim_furthest(self) -> Claimed | None:
        """End the search, and claim the last one that was passed over, as far back as the queue is.

        The nearest to it come next: what is like those at the head of the queue stands there.
        """
        furthest = self._search.take_furthest()
        if furthest:
            self.ask_anew()
            passed = self._search.end()
            # What is urgent goes in its order all the same.
            urgent = [queue_id for queue_id in passed if _priority_of(queue_id) == _URGENT]
            others = [queue_id for queue_id in passed if _priority_of(queue_id) != _URGENT]
            self._first = [*sorted(others, key=_priority_of, reverse=True), *reversed(urgent)]
        else:
            self._end_search()
        claimed = self._claim(furthest) if furthest else None
        if claimed is not None and self._shows_nothing(claimed):
            self._spool.release(claimed)
            self._wait_for_others(claimed)
            return None
        return claimed

    def _end_search(self, *, proved: bool = False) -> None:
        """Let what was passed over have its place in the order again; what may be in the way is last if that is proved.

        Both are so for the rest of the run.
        """
        passed = self._search.end()
        last = {queue_id for queue_id, may_be_in_the_way in passed.items() if proved and may_be_in_the_way}
        for queue_id in last:
            self._come_last(queue_id)
        if len(passed) > len(last):
            self._bring_back(queue_id for queue_id in passed if queue_id not in last)

    def _come_last(self, queue_id: str) -> None:
        if queue_id not in self._late:
            self._late.add(queue_id)
            heappush(self._late_in_order, queue_id)

    def _give_up_search(self) -> None:
        """Let all have their places in the order again, for the rest of the run."""
        self._end_search()
        while self._suspicion.gives_up():
            pass
        self._bring_suspected_back()

    def _bring_suspected_back(self) -> None:
        """Let them have their places again: the suspects too, as long as none of those was postponed in this run."""
        self._of_suspected = self._bring_back(self._of_suspected)
        if not self._suspicion.awaits_proof:
            self._aside = self._bring_back(self._aside)

    def _bring_back(self, passed: Iterable[str]) -> dict[str, None]:
        """Let these have their places in the order again; return the empty dict that is left of them."""
        if self._is_dealt:
            for queue_id in passed:
                self._put_first(queue_id)
        else:
            self.ask_anew()
        return {}

    def _was_seen(self, queue_id: str) -> bool:
        return any(queue_id in seen for seen in (self._late, self._search, self._aside, self._of_suspected))

    def _shows_nothing(self, claimed: Claimed) -> bool:
        """Return whether it is of a sender who may be to blame, as another message is, while proof is awaited."""
        return self._suspicion.is_suspected(sender_of(claimed.reverse_path)) and self._suspicion.awaits_proof

    def _comes_behind(self, state: MessageState) -> bool:
        """Return whether others go before this message: not for ever, where what may leave never reaches them all."""
        return (bool(state.blamed) or state.late) and waits_lately(state, self._clock.now())

    def _next_id(self) -> str | None:
        if self._again:
            return heappop(self._again)
        return self._first.pop() if self._first else next(self._due, None)

    def _put_first(self, queue_id: str) -> None:
        """Let this one have its turn before the rest of what is due."""
        if self._is_dealt:
            heappush(self._again, queue_id)
        else:
            self._first.append(queue_id)

    def _claim_late(self, *, before: str = "") -> Claimed | None:
        """Claim the first message that comes behind others; ``before`` this one only when it is more urgent."""
        while self._late_in_order:
            queue_id = self._late_in_order[0]
            if before and (self._search.is_on or _priority_of(queue_id) >= _priority_of(before)):
                return None
            self._late.remove(heappop(self._late_in_order))
            claimed = self._claim(queue_id)
            if claimed is not None:
                return claimed
        return None

    def _claim(self, queue_id: str) -> Claimed | None:
        """Claim a message; None when it is gone, or somebody else has it, or it is left out of this run."""
        claimed = self._spool.claim(queue_id)
        if claimed is not None and self._suspicion.is_left_out(sender_of(claimed.reverse_path)):
            self._spool.leave_out(claimed)
            return None
        return claimed


def _priority_of(queue_id: str) -> str:
    """Return what an id begins with."""
    return queue_id[:1]
