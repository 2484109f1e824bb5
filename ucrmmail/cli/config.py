"""``ucrmmail config``: one key at a time, or all of them in an editor; what applies, and whether it is right."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.choice import not_allowed
from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.left_behind import remarking_mail_left_behind
from ucrmmail.cli.mistyped import no_such_key, no_such_option
from ucrmmail.errors import ConfigError, PermissionDeniedError, UcrmmailError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from ucrmmail.config.advice import Advice
    from ucrmmail.config.load import Config
    from ucrmmail.config.location import Location
    from ucrmmail.config.schema import Key
    from ucrmmail.config.validate import Problem

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Set, show and check the configuration.",
    epilog="""\b
Examples:
  ucrmmail config set smtp.transport gmail
  ucrmmail config set smtp.username you@gmail.com
  ucrmmail config set smtp.password          # asks; it never enters the file
  ucrmmail config check""",
)

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Such as smtp.host.", show_default=False)]


def _key(path: str) -> Key:
    """Return the declaration of a key. Raises UsageError with the nearest one."""
    from ucrmmail.config.schema import KEYS

    key = KEYS.get(path)
    if key is None:
        raise no_such_key(path)
    return key


@app.command(
    "set",
    # The options of a program in credentials.command are no options of ours.
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Examples:
  ucrmmail config set smtp.host mail.isp.example
  ucrmmail config set throttler.duration 1h30m
  ucrmmail config set dns.domains isp.example,shop.example
  ucrmmail config set smtp.password
  pass show smtp | ucrmmail config set smtp.password --stdin --store file""",
)
def set_key(
    context: typer.Context,
    key: KeyArgument,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VALUE]...",
            help="The value; several for a list. Never a secret.",
            show_default=False,
        ),
    ] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the value from standard input (of a secret: the first line).")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="STORE", help="Where a secret is kept: keyring, file or command."),
    ] = None,
) -> None:
    """Set a key of the configuration. A secret is asked for, or read with --stdin, and kept in the credential store."""
    from ucrmmail.cli.setting import read_value, set_plain, set_secret

    declared = _key(key)
    given = values or []
    if given and stdin:
        raise UsageError("a value was given and --stdin too", remedy="leave out one of the two")
    if declared.secret:
        set_secret(context, declared, given, stdin=stdin, store=store)
        return
    if declared.kind.name != "command" and any(value.startswith("--") for value in given):
        raise no_such_option(next(value for value in given if value.startswith("--")), "config set")
    if store is not None:
        raise UsageError("--store is for secrets", remedy=f"leave it out: {key} is kept in the configuration file")
    set_plain(invocation(context).location(), declared, read_value(declared, given, stdin=stdin))


@app.command(epilog="\b\nExamples:\n  ucrmmail config get smtp.host\n  ucrmmail config get throttler.duration --json")
def get(context: typer.Context, key: KeyArgument, as_json: JsonOption = False) -> None:
    """Print the value that applies. Of a list one item a line, of an unset key its default."""
    declared = _key(key)
    if declared.secret and not as_json:
        raise UsageError(
            f"{key} is a secret, and secrets are never shown",
            remedy="`ucrmmail credentials status` tells whether it is found",
        )
    config = invocation(context).config()
    if as_json:
        from ucrmmail.output.machine import print_document
        from ucrmmail.output.settings import key_document

        print_document({"key": key, **key_document(config, key)})
        return
    written = config.written(key)
    for line in written if isinstance(written, list) else [written]:
        human.say(str(line).lower() if isinstance(line, bool) else str(line))


@app.command(epilog="\b\nExample:\n  ucrmmail config unset smtp.port")
def unset(context: typer.Context, key: KeyArgument) -> None:
    """Take a key out of the file, so that its default applies again."""
    from ucrmmail.config.edit import unset_value
    from ucrmmail.output.settings import remark_problems, shown

    declared = _key(key)
    location = invocation(context).location()
    with remarking_mail_left_behind(location, key):
        change = unset_value(location, key)
    if declared.secret:
        taken = f"{key} was taken out of {location.path}" if change.changed else f"{key} is not in {location.path}"
        human.say(f"{taken}; `ucrmmail credentials delete` takes it out of the credential store")
    elif change.changed:
        config = change.found.config
        human.say(f"{key} = {shown(key, config.written(key))}  ({config.origin(key)})")
    else:
        human.say(f"{key} was not set in {location.path}")
    remark_problems(change.found.problems)


@app.command("list", epilog="\b\nExamples:\n  ucrmmail config list\n  ucrmmail config list --json | jq .keys")
def list_keys(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show every key with its value, its default and its origin."""
    from ucrmmail.output import machine, settings

    config = invocation(context).config()
    if as_json:
        machine.print_document(settings.list_document(config))
    else:
        settings.show_list(config)


@app.command(epilog="\b\nExamples:\n  ucrmmail config path\n  less $(ucrmmail config path 2>/dev/null)")
def path(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print which file applies; on standard error, why."""
    location = invocation(context).location()
    if as_json:
        from ucrmmail.output.machine import print_document

        print_document({"path": location.path, "reason": location.reason, "exists": location.exists})
        return
    human.say(location.path)
    human.note(location.reason + ("" if location.exists else " (it does not exist)"))


@app.command(epilog="\b\nExamples:\n  ucrmmail config check\n  ucrmmail --config draft.toml config check")
def check(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show all that is wrong, and what is probably not meant. Exit code 78 when mail could not be sent."""
    from ucrmmail.config.advice import advice
    from ucrmmail.output import machine, settings

    location = invocation(context).location()
    try:
        config, problems = _examined(location)
    except (ConfigError, PermissionDeniedError) as error:
        if as_json:
            machine.print_document(settings.check_document(location.path, (_as_problem(location, error),), ()))
        raise
    remarks: tuple[Advice, ...] = advice(config)
    if as_json:
        machine.print_document(settings.check_document(location.path, problems, remarks))
    else:
        settings.show_check(location.path, problems, remarks)
    if problems:
        raise typer.Exit(ConfigError.exit_code)


def _examined(location: Location) -> tuple[Config, tuple[Problem, ...]]:
    """Return what is in the file and what is wrong with it, an unknown smarthost included."""
    from ucrmmail.config.load import examine

    found = examine(location)
    unknown = found.config.smarthost_problem()
    if found.problems or unknown is None:
        return found.config, found.problems
    return found.config, (_as_problem(location, unknown),)


def _as_problem(location: Location, error: UcrmmailError) -> Problem:
    from ucrmmail.config.validate import Problem

    remedy = f"; {error.remedy}" if error.remedy else ""
    return Problem(location.path, 0, "", error.what.removeprefix(f"{location.path}: ") + remedy)


@app.command(epilog="\b\nExamples:\n  ucrmmail config presets\n  ucrmmail config presets gmail")
def presets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[PRESET]", help="Show what to type for this one."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the providers known by name, and the limits they publish."""
    from ucrmmail.config.presets import NAMES, PRESETS
    from ucrmmail.output import machine, settings

    if name is not None and name not in NAMES:
        raise not_allowed(f"there is no preset {name!r}", name, NAMES, remedy="(or smtp.host by hand)")
    chosen = [preset for preset in PRESETS if name in (None, preset.name)]
    if as_json:
        machine.print_document({"presets": [settings.preset_document(preset) for preset in chosen]})
    elif name is None:
        settings.show_presets(chosen)
    else:
        settings.show_preset(chosen[0])


@app.command(epilog="\b\nExamples:\n  ucrmmail config edit\n  EDITOR=nano ucrmmail config edit")
def edit(context: typer.Context) -> None:
    """Edit the file in $VISUAL or $EDITOR. It replaces the old one only when it is valid.

    Where neither is set, the usual editor of the system needs a terminal (else exit code 2).
    """
    from ucrmmail.cli.editor import Draft, editor_command
    from ucrmmail.config.edit import read_text, replace_text
    from ucrmmail.config.sample import sample

    location = invocation(context).location()
    command = editor_command(os.environ, on_terminal=sys.stdin.isatty())
    before = read_text(location)
    draft = before if before is not None else sample().encode()
    with Draft(location.path, draft) as file:
        while True:
            after = file.edit(command)
            if after == draft:
                human.say("nothing was changed")
                return
            try:
                with remarking_mail_left_behind(location):
                    replace_text(location, after, before)
            except UcrmmailError as error:
                if not _edit_again(error):
                    error.why = f"{location.path} is as it was; the rejected text is kept in {file.keep()}"
                    raise
            else:
                human.say(f"{location.path} was changed")
                return


def _edit_again(error: UcrmmailError) -> bool:
    """Show what is wrong and ask; without a terminal there is nobody to ask."""
    if not (sys.stdin.isatty() and isinstance(error, ConfigError)):
        return False
    human.print_error(error)
    return typer.confirm("Edit again?", default=True, err=True)
