"""``ucrmmail credentials``, and where ``config set smtp.password`` puts a secret."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.cli.mistyped import no_such_store
from ucrmmail.cli.store import IMAP, store_of
from ucrmmail.errors import ConfigError, UcrmmailError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from ucrmmail.cli.as_cron import Look
    from ucrmmail.config.load import Config
    from ucrmmail.config.location import Location
    from ucrmmail.credentials.find import Store


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See where the account's secret comes from, or delete it.",
    epilog="""\b
Examples:
  ucrmmail credentials status
  ucrmmail credentials delete

\b
To set it: ucrmmail config set smtp.password""",
)


@app.command(
    epilog="""\b
Examples:
  ucrmmail credentials status
  ucrmmail credentials status --as-cron --json"""
)
def status(
    context: typer.Context,
    as_cron: Annotated[
        bool | None,
        typer.Option("--as-cron/--here", help="Look only with the environment that cron gives, or only with this one."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which source has the secret: here, and as cron would see it. The exit code is that of the first look."""
    from ucrmmail.cli.as_cron import look_as_cron, look_here
    from ucrmmail.output import machine

    called = invocation(context)
    location = called.location()
    looks: dict[str, Look] = {}
    if not as_cron:
        looks["here"] = look_here(called.config(), os.environ)
    if as_cron is not False:
        looks["as cron"] = look_as_cron(location)
    first, *others = looks.values()
    if as_json:
        machine.print_document({**first.document(), **({"as_cron": others[0].document()} if others else {})})
    else:
        _show(looks)
        if "as cron" in looks:
            _note_other_config(location)
    if not first.found:
        raise typer.Exit(first.exit_code)


def _show(looks: dict[str, Look]) -> None:
    if len({(look.source, str(look.error)) for look in looks.values()}) == 1:
        looks = {" and ".join(looks): next(iter(looks.values()))}
    for where, look in looks.items():
        if look.error is None:
            human.say(f"{where}: {look.source} has {_told_of(look)} of {look.account}")
        else:
            human.print_error(look.error, program=where)


def _told_of(look: Look) -> str:
    if look.token is None:
        return "the secret"
    told = f"the sign-in ({look.token['flow']})"
    if look.token["expires_at"]:
        told += f", with an access token until {look.token['expires_at']} that is renewed by itself,"
    if look.token["sign_in_expires_at"]:
        told += f" and ends for good at {look.token['sign_in_expires_at']},"
    return told


def _note_other_config(location: Location) -> None:
    from ucrmmail.cli.as_cron import other_config_of_cron

    other = other_config_of_cron(location)
    if other:
        human.note(f"in the crontab, say `ucrmmail --config {location.path} flush`: without it {other} is read there")


@app.command(
    epilog="""\b
Examples:
  ucrmmail credentials delete
  ucrmmail credentials delete --store keyring --yes"""
)
def delete(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="STORE", help="From keyring or file, instead of the configured source."),
    ] = None,
    imap: Annotated[
        bool, typer.Option("--imap", help="The mailbox's, imap.password, instead of the account's.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete the account's secret from its source, its OAuth token too. That this is its source stays configured."""
    from ucrmmail.cli.oauth import is_configured, keeper_of
    from ucrmmail.credentials.environment import override
    from ucrmmail.credentials.find import delete_secret
    from ucrmmail.output import machine

    if store not in (None, "keyring", "file"):
        raise no_such_store(store, ("keyring", "file"))
    config = invocation(context).config()
    chosen = store_of(config, store or "", IMAP if imap else "smtp.password")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask on", remedy="say --yes")
        typer.confirm(f"Delete the secret of {chosen.account} from the {chosen.source}?", abort=True, err=True)
    found = delete_secret(chosen, os.environ)
    token = False
    if is_configured(config) and not imap:
        token = keeper_of(config, source=chosen.source).forget()
        client_secret = store_of(config, chosen.source, "oauth.client_secret")
        found = delete_secret(client_secret, os.environ) or token or found
    if as_json:
        fields = {"source": chosen.source, "account": chosen.account, "deleted": found, "token_deleted": token}
        machine.print_document(fields)
    elif found:
        human.say(f"the secret of {chosen.account} is deleted from the {chosen.source}")
    else:
        human.say(f"the {chosen.source} has no secret of {chosen.account}")
    if token:
        human.note("the provider still knows the sign-in: end it there too, in the account's security settings")
    other = override(os.environ, chosen.key)
    if other:
        human.note(f"{other} still gives a secret here")


def save_secret(context: typer.Context, key: str, secret: str, store: str | None) -> None:
    """Keep a secret in the store that was asked for, else in the recorded one, else in a keyring that is usable now.

    Without any of them a person is asked whether a file will do. Raises ConfigError with the ready commands when there
    is nobody to ask, and whatever the store raises.
    """
    from ucrmmail.config.edit import set_value
    from ucrmmail.credentials.find import keep_secret

    called = invocation(context)
    config = called.config()
    before = config.text("credentials.source") if config.is_set("credentials.source") else ""
    if key == IMAP:
        _refuse_other_store(config, store, before)
    source = "" if before and key == IMAP else store or before or usable_source(config, f"config set {key}")
    chosen = store_of(config, source, key)
    keep_secret(chosen, secret, os.environ)
    if key == IMAP and before:
        human.say(f"{key}: {_place(chosen)} now has the secret of the mailbox")
        return
    set_value(called.location(), "credentials.source", chosen.source)
    if chosen.source == "command":
        human.say(f"{key}: is asked from {chosen.command[0]} each time; nothing was stored")
    else:
        human.say(f"{key}: {_place(chosen)} now has the secret of {chosen.account}")
    if key == IMAP:
        return
    # Without a sign-in yet, cron finds no token either: that is no news.
    to_sign_in = key != "smtp.password"
    if to_sign_in:
        human.note("next: `ucrmmail login`")
    remark(called.location(), chosen, before, cron=not to_sign_in)


def _place(chosen: Store) -> str:
    return chosen.file if chosen.source == "file" else "the keyring"


def _refuse_other_store(config: Config, store: str | None, before: str) -> None:
    """Raise UsageError for a store that the mailbox's secret is never looked for in."""
    kept = store_of(config, key=IMAP).source
    if store == "command" or (before and store not in (None, kept)):
        raise UsageError(
            f"--store: imap.password is kept where smtp.password is, or in the file: here that is {kept}",
            remedy="leave --store out",
        )


def usable_source(config: Config, command: str) -> str:
    """Return the source to use when none was chosen: a keyring that works now, or the file that a person agrees to.

    ``command`` is what the person has run. Raises ConfigError with the ready commands when there is nobody to ask.
    """
    from ucrmmail.credentials import keyring

    try:
        keyring.probe(os.environ)
    except UcrmmailError as error:
        if sys.stdin.isatty() and sys.stderr.isatty():
            human.print_error(error)
            path = store_of(config).file
            if typer.confirm(f"Keep the secret in {path}, readable by you alone?", err=True):
                return "file"
        raise ConfigError(
            f"{error.what}, so the secret was not kept",
            why=error.why,
            remedy=f"run `ucrmmail {command} --store file` (an owner-only file)"
            + (
                "; or, with a program that prints it, `ucrmmail config set credentials.command 'pass show smtp'` and"
                f" `ucrmmail {command} --store command`"
                if command.startswith("config")
                else ""
            ),
        ) from None
    return "keyring"


def remark(location: Location, chosen: Store, before: str, *, cron: bool = True) -> None:
    """Say what will surprise: an older copy, a source that goes first, and that cron cannot read it."""
    from ucrmmail.cli.as_cron import look_as_cron
    from ucrmmail.credentials.environment import override

    if before in ("keyring", "file") and before != chosen.source:
        human.note(f"the {before} may still have an older one: `ucrmmail credentials delete --store {before}`")
    other = override(os.environ, chosen.key)
    if other:
        human.note(f"warning: {other} goes before it here")
    look = look_as_cron(location) if cron else None
    if look is not None and look.error is not None:
        human.note(f"warning: cron would not find it: {look.error.what}")
        if look.error.why:
            human.note(f"  why:    {look.error.why}")
        if look.error.remedy:
            human.note(f"  remedy: {look.error.remedy}")
