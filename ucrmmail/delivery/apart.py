"""Recipients who are asked apart: the server hung up when it was asked for one, and did not take it out on him alone.

The others are asked without him at once, and he by himself behind them. That costs a connection each time, which keep
other mail waiting: at too many of its recipients, the attempt of a message is over for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Result

if TYPE_CHECKING:
    from collections.abc import Collection

    from ucrmmail.message.outcome import Outcome
    from ucrmmail.smtp.transaction import Transaction
    from ucrmmail.spool.state import MessageState

# So many go together of a message that has lost a connection at one, which may have been one too many, and half as many
# after each attempt in which it did so again.
_MOST_TOGETHER = 50
_MOST_HALVINGS = 3
# At so many of its recipients a message may lose a connection in one attempt before the others wait for the next one.
# While nothing was relayed in the run, the server may hang up at all.
_MOST_PASSED_OVER = 6
_MOST_IN_DOUBT = 3


def turn_of(state: MessageState) -> tuple[str, ...]:
    """Return who goes in the next transaction."""
    turn = state.turn
    if not any(one.alone for one in state.recipients):
        return turn
    return turn[: _MOST_TOGETHER >> min(state.attempts, _MOST_HALVINGS)]


def may_pass_over(state: MessageState, *, has_relayed: bool) -> bool:
    """Return whether this attempt has lost few connections at single recipients; the run ``has_relayed`` some mail."""
    if len(state.recipients) == 1:
        return True
    passed_over = sum(one.alone and one.tried for one in state.recipients)
    return passed_over < (_MOST_PASSED_OVER if has_relayed else _MOST_IN_DOUBT)


def is_alone(state: MessageState) -> bool:
    """Return whether the turn is that of a recipient who is asked by himself."""
    if len(state.recipients) == 1:
        return False
    turn = state.turn
    return len(turn) == 1 and any(one.alone for one in state.recipients if one.recipient == turn[0])


def is_over(transaction: Transaction, outcomes: Collection[Outcome], *, late: bool) -> bool:
    """Return whether who had no turn has none in this attempt: it was lost at too many, or at one more of those."""
    if transaction.may_pass_over or any(outcome.result is Result.RELAYED for outcome in outcomes):
        return False
    return late or transaction.is_alone
