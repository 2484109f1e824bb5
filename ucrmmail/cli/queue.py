"""``ucrmmail queue``: what is in the queue, and what a person does with it.

Exit codes: 1 when the state of a message has to be changed first, 66 when a queue id is not in the queue, 74 when a
message cannot be read, 75 when one is being sent at this moment.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.queue_choice import (
    AllOption,
    Filters,
    IdsArgument,
    RecipientOption,
    SenderOption,
    StateOption,
    all_found,
    chosen,
    found,
)
from ucrmmail.dataclass import replace
from ucrmmail.errors import CheckFailedError, InputOutputError, NoInputError, TemporaryError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ucrmmail.spool.manage import Change
    from ucrmmail.spool.unread import Unread

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
queue id is not in the queue, with 74 when a message cannot be read, with 75 when one is being sent at this moment.""",
)


_INSTEAD = {
    "failed": "`ucrmmail queue retry` tries it again, `ucrmmail queue remove` removes it",
    "held": "`ucrmmail queue release` lets it be sent",
}
_IS = {"failed": "has failed", "held": "is held"}
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def _spool_directory(context: typer.Context) -> str:
    from ucrmmail.config.submission import read_submission_settings, refuse_missing

    location = invocation(context).location()
    refuse_missing(location)
    return read_submission_settings(location.path, os.environ, os.geteuid()).spool_directory


@app.command(
    "list", epilog="\b\nExamples:\n  ucrmmail queue list --recipient @example.com\n  ucrmmail queue list --json"
)
def list_messages(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    state: StateOption = None,
    sender: SenderOption = None,
    recipient: RecipientOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the messages. Waiting ones come first, in sending order, then deferred, held and failed ones."""
    from ucrmmail.output.queue import show_list
    from ucrmmail.spool.listing import STATES, messages

    directory = _spool_directory(context)
    filters = Filters(state, sender, recipient)
    states = filters.states(STATES)
    unread: list[Unread] = []
    listed = all_found(directory, queue_ids, unread) if queue_ids else messages(directory, states=states, unread=unread)
    show_list((each for each in listed if each.state in states and filters.let_through(each)), unread, as_json=as_json)
    if unread:
        raise typer.Exit(InputOutputError.exit_code)


@app.command(epilog="\b\nExample:\n  ucrmmail queue show 1-20261123T110559.123456-k3x9qa")
def show(
    context: typer.Context,
    queue_id: Annotated[str, typer.Argument(metavar="QUEUE_ID", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Show a message, and what became of each recipient. Its header and its first lines are shown too."""
    from ucrmmail.output.queue import show_message, whole_document

    message = found(_spool_directory(context), queue_id)
    if as_json:
        from ucrmmail.output.machine import print_document

        print_document(whole_document(message))
    else:
        show_message(message)


@app.command(epilog="\b\nExample:\n  ucrmmail queue hold --sender @shop.example")
def hold(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    every: AllOption = False,
    state: StateOption = None,
    sender: SenderOption = None,
    recipient: RecipientOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Keep messages from being sent until they are released."""
    from ucrmmail.spool import manage

    del yes  # nothing is lost: there is nothing to ask
    directory = _spool_directory(context)
    filters = Filters(state, sender, recipient)
    unread: list[Unread] = []
    ids = chosen(directory, queue_ids, filters, every=every, of=manage.STATES_FOR["hold"], unread=unread)
    changes = _unless(manage.hold(directory, ids), "failed", "held")
    _change(changes, unread, one_by_one=bool(queue_ids), as_json=as_json)


@app.command(epilog="\b\nExample:\n  ucrmmail queue release --all")
def release(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    every: AllOption = False,
    state: StateOption = None,
    sender: SenderOption = None,
    recipient: RecipientOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let held messages be sent again."""
    from ucrmmail.spool import manage

    del yes
    directory = _spool_directory(context)
    filters = Filters(state, sender, recipient)
    unread: list[Unread] = []
    ids = chosen(directory, queue_ids, filters, every=every, of=manage.STATES_FOR["release"], unread=unread)
    changes = _unless(manage.release(directory, ids), "failed", "released")
    _change(changes, unread, one_by_one=bool(queue_ids), as_json=as_json)


@app.command(epilog="\b\nExamples:\n  ucrmmail queue retry --all\n  ucrmmail queue retry --state failed")
def retry(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    every: AllOption = False,
    state: StateOption = None,
    sender: SenderOption = None,
    recipient: RecipientOption = None,
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
    filters = Filters(state, sender, recipient)
    unread: list[Unread] = []
    ids = chosen(directory, queue_ids, filters, every=every, of=manage.STATES_FOR["retry"], unread=unread)

    def lift(done: Sequence[Change]) -> Mapping[str, object]:
        # Of a message that is not there, or cannot be tried, nothing is to be sent sooner.
        is_wanted = bool(done) or not queue_ids
        lifted = is_wanted and lift_pause(f"{directory}/account.json", owner=os.geteuid())
        if lifted and not as_json:
            human.say("the pause of the account is over: the next flush connects")
        return {"pause_lifted": lifted}

    changes = _unless(manage.retry(directory, ids), "held", "tried")
    _change(changes, unread, one_by_one=bool(queue_ids), as_json=as_json, then=lift)


@app.command(epilog="\b\nExample:\n  ucrmmail queue remove --state failed --recipient @example.com --yes")
def remove(
    context: typer.Context,
    queue_ids: IdsArgument = None,
    *,
    every: AllOption = False,
    state: StateOption = None,
    sender: SenderOption = None,
    recipient: RecipientOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove messages for good. Nobody is told; by a filter or --all only after a question, or with --yes."""
    from ucrmmail.spool import manage

    directory = _spool_directory(context)
    filters = Filters(state, sender, recipient)
    unread: list[Unread] = []
    ids = chosen(
        directory, queue_ids, filters, every=every, of=manage.STATES_FOR["remove"], unread=unread, for_all=True
    )
    if not queue_ids and not yes:
        _ask(len(ids))
    _change(manage.remove(directory, ids), unread, one_by_one=bool(queue_ids), as_json=as_json)


def _ask(count: int) -> None:
    """Ask before many messages are removed. Raises UsageError when there is nobody to ask, Abort for a no."""
    if not sys.stdin.isatty():
        raise UsageError(f"this removes {count} messages for good", remedy="add --yes if that is what you want")
    if count:
        typer.confirm(f"Remove {count} messages for good?", abort=True, err=True)


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
    changes: Iterator[Change],
    unread: Sequence[Unread],
    *,
    one_by_one: bool,
    as_json: bool,
    then: Callable[[Sequence[Change]], Mapping[str, object]] = lambda _done: {},
) -> None:
    """Make the changes and tell what was done; ends with the exit code of what was not.

    ``unread`` are those, and directories, of which nobody knows whether they were meant; ``then()`` comes behind the
    changes that were made, and returns what else is for programs. What was changed before an OSError is told, and then
    it is raised.
    """
    from ucrmmail.spool.manage import UNKNOWN, Change

    done: list[Change] = []
    undone = [Change(each.queue_id, trouble=each.trouble, unread=True) for each in unread]
    failure: OSError | None = None
    more: Mapping[str, object] = {}
    try:
        for change in changes:
            (undone if change.trouble else done).append(change)
        more = then(done)
    except OSError as error:
        if not done:
            raise
        failure = error
    if not one_by_one:
        # What was sent, removed or refused for good between listing and now needs nobody.
        undone = [change for change in undone if change.trouble != UNKNOWN and not _stays(change)]
    _tell(done, undone, one_by_one=one_by_one, as_json=as_json, more=more)
    if failure is not None:
        raise failure
    if undone:
        raise typer.Exit(_code_of(undone))


def _code_of(undone: Sequence[Change]) -> int:
    """Return the exit code of changes that could not be made, and say what to do where their own lines do not."""
    from ucrmmail.spool.manage import BUSY

    if any(change.unread for change in undone):
        return InputOutputError.exit_code
    if all(_stays(change) for change in undone):
        return CheckFailedError.exit_code
    busy = any(change.trouble == BUSY for change in undone)
    human.note_advice("", "try again when it is sent" if busy else "see `ucrmmail queue list`")
    return TemporaryError.exit_code if busy else NoInputError.exit_code


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
        human.note(f"ucrmmail: {f'{change.queue_id} {change.trouble}'.lstrip()}")
