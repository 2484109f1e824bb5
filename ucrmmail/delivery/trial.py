"""The feed of ``test-send``: a few messages that are not in the queue, under the same limits as those that are.

What is sent here is sent in the eyes of the provider, so each transaction is reserved in the ledger before it leaves,
and is confirmed or refunded as in ``feed``. A limit that is in the way is told, not waited for: a person is looking.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field, replace
from ucrmmail.delivery.suspicion import Suspicion
from ucrmmail.message.outcome import Result
from ucrmmail.smtp.transaction import NO_MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ucrmmail.clock import Clock
    from ucrmmail.limits.ledger import Ledger, Reservation
    from ucrmmail.message.outcome import Outcome
    from ucrmmail.smtp.transaction import Marks, Transaction


@dataclass(slots=True)
class Trial:
    """Hands out the messages, in their order, as long as the limits let them leave.

    ``outcomes`` are by queue id. After the run, ``left`` are the messages that did not leave (or not for all), and
    ``limit`` ("throttler" or "antiflood") with ``opens_at`` (seconds since the epoch) say why, when it is for a limit.
    """

    ledger: Ledger
    clock: Clock
    left: deque[Transaction]
    outcomes: dict[str, tuple[Outcome, ...]] = field(default_factory=dict)
    limit: str = ""
    opens_at: float = 0.0
    has_others: bool = False
    awaits_proof: bool = False
    # Nothing is ever suspected: a person is told what became of each.
    suspicion: Suspicion = field(default_factory=Suspicion)
    _open: list[tuple[Transaction, Reservation]] = field(default_factory=list)

    @classmethod
    def of(cls, transactions: Iterable[Transaction], ledger: Ledger, clock: Clock) -> Trial:
        """Return a trial of these messages."""
        return cls(ledger, clock, deque(transactions))

    @property
    def recipients_left(self) -> int:
        """How many recipients have not had their turn."""
        return sum(len(transaction.recipients) for transaction in self.left)

    def may_begin(self) -> bool:
        """Return whether the first message may leave now; nothing is reserved yet."""
        now = self.clock.now()
        return bool(self.left) and self._limits_let(self._amount(self.left[0], now), now)

    def ready(self) -> Transaction | None:
        """Return the next message, its place under the limits taken; None when there is none, or a limit is closed."""
        if not self.left:
            return None
        transaction = self.left[0]
        now = self.clock.now()
        amount = self._amount(transaction, now)
        if not self._limits_let(amount, now):
            return None
        reservation = self.ledger.reserve(now, amount)
        self.left.popleft()
        if amount < len(transaction.recipients):
            # To more recipients than there is room for, it goes in parts.
            self.left.appendleft(replace(transaction, recipients=transaction.recipients[amount:]))
            transaction = replace(transaction, recipients=transaction.recipients[:amount])
        self._open.append((transaction, reservation))
        return transaction

    def _amount(self, transaction: Transaction, now: float) -> int:
        return self.ledger.part(now, len(transaction.recipients))

    def _limits_let(self, amount: int, now: float) -> bool:
        opens_at = self.ledger.earliest(now, amount)
        self.limit, self.opens_at = "", 0.0
        if opens_at > now:
            self.limit, self.opens_at = self.ledger.in_the_way(now, amount), opens_at
        return opens_at <= now

    def settle(self, transaction: Transaction, outcomes: tuple[Outcome, ...], marks: Marks = NO_MARKS) -> None:
        """Count what the server took, or may have taken."""
        del marks  # there is nothing else to send
        reservation = self._taken(transaction)
        counted = sum(outcome.result is Result.RELAYED or outcome.uncertain for outcome in outcomes)
        if counted:
            uncertain = not any(outcome.result is Result.RELAYED for outcome in outcomes)
            self.ledger.confirm(reservation, self.clock.now(), counted, uncertain=uncertain)
        else:
            self.ledger.refund(reservation)
        self.outcomes[transaction.queue_id] = self.outcomes.get(transaction.queue_id, ()) + outcomes
        had_turn = {outcome.recipient for outcome in outcomes}
        if rest := tuple(recipient for recipient in transaction.recipients if recipient not in had_turn):
            self.left.appendleft(replace(transaction, recipients=rest))

    def unused(self, transaction: Transaction) -> None:
        """Take back a message that never left, for reasons not its own."""
        self.ledger.refund(self._taken(transaction))
        self.left.appendleft(transaction)

    def _taken(self, transaction: Transaction) -> Reservation:
        """Return the place of a transaction that is under way; it is not any more."""
        place = next(number for number, (one, _) in enumerate(self._open) if one.queue_id == transaction.queue_id)
        return self._open.pop(place)[1]

    def left_s(self) -> float:
        """Return ``inf``: a person waits, and may press Ctrl-C."""
        return math.inf

    def idle(self) -> None:
        """There is nothing else to do."""
