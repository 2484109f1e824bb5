"""``ucrmmail queue``: what is in the queue, and what a person does with it.

Exit codes: 1 when the state of a message has to be changed first, 66 when a queue id is not in the queue, 75 when a
message is being sent at this moment.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.choice import not_allowed
from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.errors import CheckFailedError, NoInputError, TemporaryError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ucrmmail.spool.listing import QueuedMessage
    from ucrmmail.spool.manage import Change

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See, hold, release, retry and remove queued messages.",
    epilog="""\b
Examples:
  ucrmmail queue list --state deferred
  ucrmmail queue show 1-20261123T110559.123456-k3x9qa
  ucrmmail queue retry --all
  ucrmmail queue remove --state failed --yes

Ends with 1 when a message has failed that is to be held or released, or is held that is to be retried, with 66 when a
queue id is not in the queue, with 75 when a message is being sent at this moment.""",
)


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
_INSTEAD = {
    "failed": "`ucrmmail queue retry` tries it again, `ucrmmail queue remove` removes it",
    "held": "`ucrmmail queue release` lets it be sent",
}
_IS = {"failed": "has failed", "held": "is held"}
_NO_MORE: Mapping[str, object] = {}
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def _spool_directory(context: typer.Context) -> str:
    from ucrmmail.config.submission import read_submission_settings, refuse_missing

    location = invocation(context).location()
    refuse_missing(location)
    return read_submission_settings(location.path, os.environ, os.geteuid()).spool_directory


def _checked(state: str | None) -> str | None:
    from ucrmmail.spool.listing import STATES

    if state is not None and state not in STATES:
        raise not_allowed(f"--state {state}: there is no such state", state, STATES)
    return state


@app.command(
    "list", epilog="\b\nExamples:\n  ucrmmail queue list --recipient @example.com\n  ucrmmail queue list --json"
)
def list_messages(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    state: StateOption = None,
    sender: Annotated[
        str | None, typer.Option("--sender", metavar="ADDRESS", help="Only with this reverse-path, or @domain.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option("--recipient", metavar="ADDRESS", help="Only to this recipient, or @domain.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the messages. Waiting ones come first, in sending order, then deferred, held and failed ones."""
    from ucrmmail.output.queue import show_list
    from ucrmmail.spool.listing import STATES, messages

    directory = _spool_directory(context)
    wanted = _checked(state)
    states = tuple(STATES) if wanted is None else (wanted,)
    found = messages(directory, states=states)
    if queue_ids:
        found = iter([_found(directory, queue_id) for queue_id in queue_ids])
    show_list(
        (
            message
            for message in found
            if message.state in states
            and (sender is None or _matches(message.reverse_path, sender))
            and (recipient is None or any(_matches(each, recipient) for each in message.recipients))
        ),
        as_json=as_json,
    )


def _matches(address: str, wanted: str) -> bool:
    """Return whether an address is the one asked for, or in the domain asked for (``@example.com``)."""
    address, wanted = address.lower(), wanted.lower().removeprefix("<").removesuffix(">")
    return address.endswith(wanted) if wanted.startswith("@") else address == wanted


def _found(directory: str, queue_id: str) -> QueuedMessage:
    from ucrmmail.spool.listing import message

    found = message(directory, queue_id)
    if found is None:
        raise NoInputError(
            f"{queue_id} is not in the queue",
            why="it was sent or removed, or never was there",
            remedy="see `ucrmmail queue list`",
        )
    return found


@app.command(epilog="\b\nExample:\n  ucrmmail queue show 1-20261123T110559.123456-k3x9qa")
def show(
    context: typer.Context,
    queue_id: Annotated[str, typer.Argument(metavar="QUEUE_ID", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Show a message, and what became of each recipient. Its header and its first lines are shown too."""
    from ucrmmail.output.queue import show_message, whole_document

    message = _found(_spool_directory(context), queue_id)
    if as_json:
        from ucrmmail.output.machine import print_document

        print_document(whole_document(message))
    else:
        show_message(message)


@app.command(epilog="\b\nExample:\n  ucrmmail queue hold --all")
def hold(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    every: AllOption = False,
    state: StateOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Keep messages from being sent until they are released."""
    from ucrmmail.spool import manage

    del yes  # nothing is lost: there is nothing to ask
    directory = _spool_directory(context)
    chosen = _chosen(directory, queue_ids, state, every=every, of=manage.STATES_FOR["hold"])
    changes = _unless(manage.hold(directory, chosen), "failed", "held")
    _change(changes, one_by_one=bool(queue_ids), as_json=as_json)


@app.command(epilog="\b\nExample:\n  ucrmmail queue release --all")
def release(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    every: AllOption = False,
    state: StateOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let held messages be sent again."""
    from ucrmmail.spool import manage

    del yes
    directory = _spool_directory(context)
    chosen = _chosen(directory, queue_ids, state, every=every, of=manage.STATES_FOR["release"])
    changes = _unless(manage.release(directory, chosen), "failed", "released")
    _change(changes, one_by_one=bool(queue_ids), as_json=as_json)


@app.command(epilog="\b\nExamples:\n  ucrmmail queue retry --all\n  ucrmmail queue retry --state failed")
def retry(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    every: AllOption = False,
    state: StateOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Try deferred messages now, and failed ones from the start. Who was relayed is not sent to again.

    A pause after a refused login, or of a smarthost that was down, is over then.
    """
    from ucrmmail.delivery.account import lift_pause
    from ucrmmail.spool import manage

    del yes
    directory = _spool_directory(context)
    chosen = _chosen(directory, queue_ids, state, every=every, of=manage.STATES_FOR["retry"])
    changes = list(_unless(manage.retry(directory, chosen), "held", "tried"))
    lifted = lift_pause(f"{directory}/account.json", owner=os.geteuid())
    if lifted and not as_json:
        human.say("the pause of the account is over: the next flush connects")
    _change(iter(changes), one_by_one=bool(queue_ids), as_json=as_json, more={"pause_lifted": lifted})


@app.command(epilog="\b\nExample:\n  ucrmmail queue remove --state failed --yes")
def remove(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    every: AllOption = False,
    state: StateOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove messages for good. Nobody is told; with --all or --state only after a question, or with --yes."""
    from ucrmmail.spool import manage

    directory = _spool_directory(context)
    chosen = _chosen(directory, queue_ids, state, every=every, of=manage.STATES_FOR["remove"])
    if not queue_ids and not yes:
        chosen = list(chosen)
        _ask(len(chosen))
    _change(manage.remove(directory, chosen), one_by_one=bool(queue_ids), as_json=as_json)


def _ask(count: int) -> None:
    """Ask before many messages are removed. Raises UsageError when there is nobody to ask, Abort for a no."""
    if not sys.stdin.isatty():
        raise UsageError(f"this removes {count} messages for good", remedy="add --yes if that is what you want")
    if count:
        typer.confirm(f"Remove {count} messages for good?", abort=True, err=True)


def _chosen(
    directory: str, queue_ids: Sequence[str] | None, state: str | None, *, every: bool, of: Sequence[str]
) -> Iterable[str]:
    """Return the ids that are meant: those named, or all in the state asked for, or in the states ``of``."""
    from ucrmmail.spool.listing import queue_ids as ids_in

    wanted = _checked(state)
    if queue_ids:
        if every or wanted:
            raise UsageError("queue ids and --all or --state were given", remedy="leave out one of the two")
        return queue_ids
    if not every and wanted is None:
        raise UsageError("no messages were named", remedy="give queue ids, --state STATE or --all")
    # Taken before anything is changed: what is moved must not be found a second time.
    return list(chain.from_iterable(ids_in(directory, each) for each in of if wanted in (None, each)))


def _unless(changes: Iterator[Change], state: str, done: str) -> Iterator[Change]:
    """Yield the changes; that a message in this state cannot be ``done`` anything with is a trouble."""
    for change in changes:
        if change.after == state == change.before:
            yield replace(change, trouble=f"{_IS[state]} and cannot be {done}: {_INSTEAD[state]}")
        else:
            yield change


def _stays(change: Change) -> bool:
    """Return whether nothing can be done with a message as long as it is in its state."""
    return bool(change.trouble) and change.before == change.after != ""


def _change(
    changes: Iterator[Change], *, one_by_one: bool, as_json: bool, more: Mapping[str, object] = _NO_MORE
) -> None:
    """Make the changes and tell what was done; ends with the exit code of what was not. ``more`` is for programs."""
    done: list[Change] = []
    undone: list[Change] = []
    for change in changes:
        (undone if change.trouble else done).append(change)
    if not one_by_one:
        # What was sent, removed or refused for good between listing and now needs nobody.
        from ucrmmail.spool.manage import UNKNOWN

        undone = [change for change in undone if change.trouble != UNKNOWN and not _stays(change)]
    _tell(done, undone, one_by_one=one_by_one, as_json=as_json, more=more)
    if undone:
        from ucrmmail.spool.manage import BUSY

        if all(_stays(change) for change in undone):
            raise typer.Exit(CheckFailedError.exit_code)
        busy = any(change.trouble == BUSY for change in undone)
        human.note_advice("", "try again when it is sent" if busy else "see `ucrmmail queue list`")
        raise typer.Exit(TemporaryError.exit_code if busy else NoInputError.exit_code)


def _tell(
    done: Sequence[Change], undone: Sequence[Change], *, one_by_one: bool, as_json: bool, more: Mapping[str, object]
) -> None:
    if as_json:
        from ucrmmail.output.machine import print_document

        print_document(
            {
                "changed": [
                    {"queue_id": change.queue_id, "before": change.before, "after": change.after or "removed"}
                    for change in done
                ],
                "errors": [{"queue_id": change.queue_id, "error": change.trouble} for change in undone],
                **more,
            }
        )
    elif one_by_one:
        for change in done:
            same = "already " if change.before == change.after else ""
            human.say(f"{change.queue_id} is {same}{change.after or 'removed'}")
    else:
        human.say(f"{len(done)} messages changed" if len(done) != 1 else "1 message changed")
    for change in undone:
        human.note(f"ucrmmail: {change.queue_id} {change.trouble}")
