"""Which queued messages a command of ``queue`` is for: those that are named, or those that the filters let through."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.choice import not_allowed
from ucrmmail.dataclass import dataclass
from ucrmmail.errors import InputOutputError, NoInputError, NoUserError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ucrmmail.spool.listing import QueuedMessage
    from ucrmmail.spool.unread import Unread

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[QUEUE_ID]...", show_default=False, help="Messages."),
]
AllOption = Annotated[bool, typer.Option("--all", help="All messages for which it makes sense.")]
StateOption = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only messages in this state: waiting, deferred, held or failed.",
    ),
]
SenderOption = Annotated[
    str | None, typer.Option("--sender", metavar="ADDRESS", help="Only with this reverse-path, or @domain.")
]
RecipientOption = Annotated[
    str | None, typer.Option("--recipient", metavar="ADDRESS", help="Only to this recipient, or @domain.")
]


@dataclass(frozen=True, slots=True)
class Filters:
    """What the options ask for; None where one was not given. ``sender`` and ``recipient``: an address, or @domain."""

    state: str | None = None
    sender: str | None = None
    recipient: str | None = None

    @property
    def given(self) -> bool:
        """Whether there is one."""
        return (self.state, self.sender, self.recipient) != (None, None, None)

    def states(self, of: Iterable[str]) -> list[str]:
        """Return which of these states are asked for. Raises UsageError when there is no such state at all."""
        from ucrmmail.spool.listing import STATES

        if self.state is not None and self.state not in STATES:
            raise not_allowed(f"--state {self.state}: there is no such state", self.state, STATES)
        return [state for state in of if self.state in (None, state)]

    def let_through(self, message: QueuedMessage) -> bool:
        """Return whether it is from whom, and to whom, it is asked for."""
        return self._is_from(message) and (self.recipient is None or any(self._wanted(message.recipients)))

    def meant_by(self, message: QueuedMessage) -> bool:
        """Return whether a change is for it: one of those who do not have it yet is asked for."""
        if not self._is_from(message):
            return False
        if self.recipient is None:
            return True
        without = [one.recipient for one in message.delivery.recipients if one.result != "relayed"]
        return any(self._wanted(without or message.recipients))

    def leave_nobody_waiting(self, message: QueuedMessage) -> bool:
        """Return whether nobody waits for it but those who are asked for: who has failed and was reported does not."""
        return self.recipient is None or all(self._wanted(message.delivery.awaiting))

    def _is_from(self, message: QueuedMessage) -> bool:
        return self.sender is None or _matches(message.reverse_path, self.sender)

    def _wanted(self, recipients: Iterable[str]) -> Iterator[bool]:
        return (self.recipient is not None and _matches(each, self.recipient) for each in recipients)


def chosen(
    directory: str,
    queue_ids: Sequence[str] | None,
    filters: Filters,
    *,
    every: bool,
    of: Sequence[str],
    unread: list[Unread],
    for_all: bool = False,
) -> list[str]:
    """Return the ids that are meant: those named, or those in the states ``of`` that the filters mean.

    With ``for_all`` one that others than ``filters.recipient`` wait for as well is left, and told. What cannot be read,
    so that nobody knows whether a filter means it, goes to ``unread``. All are found before anything is changed: what
    is moved must not be found a second time. Raises UsageError when nothing was named, or something twice.
    """
    from ucrmmail.spool.listing import messages
    from ucrmmail.spool.listing import queue_ids as ids_in

    states = filters.states(of)
    if queue_ids:
        if every or filters.given:
            raise UsageError("queue ids and --all or a filter were given", remedy="leave out one of the two")
        return list(queue_ids)
    if not every and not filters.given:
        raise UsageError("no messages were named", remedy="give queue ids, --state, --sender or --recipient, or --all")
    if filters.sender is None and filters.recipient is None:
        # Names tell the state: no message need be read.
        return list(ids_in(directory, states, unread=unread))
    meant: list[str] = []
    left = 0
    # Of each no more than its id is kept: what was read of a million takes gigabytes.
    for message in messages(directory, states=states, unread=unread):
        if not filters.meant_by(message):
            continue
        if for_all and not filters.leave_nobody_waiting(message):
            left += 1
        else:
            meant.append(message.queue_id)
    if left:
        human.note(
            f"ucrmmail: left where they are: {left}, which others wait for as well; name the queue ids if all are meant"
        )
    return meant


def found(directory: str, queue_id: str) -> QueuedMessage:
    """Return the message with this id. Raises NoInputError when there is none, InputOutputError when it is unread."""
    unread: list[Unread] = []
    there = all_found(directory, [queue_id], unread)
    for each in unread:
        raise InputOutputError(f"{queue_id} cannot be read: {each.path}: {each.why}", remedy=each.remedy)
    return there[0]


def all_found(directory: str, queue_ids: Iterable[str], unread: list[Unread]) -> list[QueuedMessage]:
    """Return the messages with these ids; what cannot be read goes to ``unread``. Raises NoInputError."""
    from ucrmmail.spool.listing import message

    there = []
    for queue_id in queue_ids:
        before = len(unread)
        it = message(directory, queue_id, unread=unread)
        if it is not None:
            there.append(it)
        elif len(unread) == before:
            raise NoInputError(
                f"{queue_id} is not in the queue",
                why="it was sent or removed, or never was there",
                remedy="see `ucrmmail queue list`",
            )
    return there


def _matches(address: str, wanted: str) -> bool:
    """Return whether an address is the one asked for, or in the domain asked for (``@example.com``)."""
    address, wanted = address.lower(), _as_queued(wanted)
    return address.endswith(wanted) if wanted.startswith("@") else address == wanted


@lru_cache
def _as_queued(wanted: str) -> str:
    """Return an address, or ``@domain``, as envelopes have it, in lower case: an international domain as A-label."""
    from ucrmmail.message.address import parse_mailbox

    wanted = wanted.lower().removeprefix("<").removesuffix(">")
    local, at, domain = wanted.rpartition("@")
    try:
        return wanted if domain.isascii() else local + at + parse_mailbox(f"x@{domain}").removeprefix("x@")
    except NoUserError:
        return wanted  # nothing in the queue is called so
