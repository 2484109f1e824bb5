"""``ucrmmail credentials``, and where ``config set smtp.password`` puts a secret."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ucrmmail.cli.context import JsonOption, invocation
from ucrmmail.errors import ConfigError, UcrmmailError, UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from ucrmmail.config.load import Config
    from ucrmmail.credentials.find import Store

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See where the account's secret comes from, or delete it.",
    epilog="""\b
Examples:
  ucrmmail credentials status --as-cron
  ucrmmail credentials delete

\b
To set it: ucrmmail config set smtp.password""",
)


def store_of(config: Config, source: str = "") -> Store:
    """Return where this account's secret is kept."""
    from ucrmmail.credentials.find import Store

    beside = f"{os.path.dirname(os.path.realpath(config.path))}/secrets.toml"
    return Store(
        account=config.text("smtp.username") or "default",
        source=source or (config.text("credentials.source") if config.is_set("credentials.source") else ""),
        command=config.words("credentials.command"),
        file=config.text("credentials.file") or beside,
    )


@app.command(
    epilog="\b\nExamples:\n  ucrmmail credentials status\n  ucrmmail credentials status --as-cron --json",
)
def status(
    context: typer.Context,
    as_cron: Annotated[bool, typer.Option("--as-cron", help="Look with the environment that cron gives.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell which source has the secret, here or as cron would see it."""
    if as_cron:
        raise typer.Exit(_as_cron(invocation(context).location().path, as_json=as_json))
    from ucrmmail.credentials.find import find_secret
    from ucrmmail.output import machine

    store = store_of(invocation(context).config())
    problem: UcrmmailError | None = None
    source = store.source
    try:
        source = find_secret(store, os.environ).source
    except UcrmmailError as error:
        problem = error
    if as_json:
        machine.print_document(
            {
                "source": source or None,
                "found": problem is None,
                "account": store.account,
                "error": problem.what if problem is not None else None,
                "remedy": problem.remedy if problem is not None else None,
            }
        )
        if problem is not None:
            raise typer.Exit(problem.exit_code)
        return
    if problem is not None:
        raise problem
    human.say(f"{source}: has the secret of {store.account}")


def _as_cron(config_path: str, *, as_json: bool) -> int:
    """Run the same command in a process with cron's environment, so that the answer is the real one."""
    user = pwd.getpwuid(os.geteuid())
    environment = {
        "HOME": os.environ.get("HOME", user.pw_dir),
        "LOGNAME": user.pw_name,
        "SHELL": "/bin/sh",
        "PATH": "/usr/bin:/bin",
    }
    # -P: nothing is imported from the directory where we happen to stand.
    command = [sys.executable, "-P", "-m", "ucrmmail", "--config", config_path, "credentials", "status"]
    sys.stdout.flush()
    return subprocess.run([*command, "--json"] if as_json else command, env=environment, check=False).returncode


@app.command(epilog="\b\nExample:\n  ucrmmail credentials delete --yes")
def delete(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the account's secret from its source."""
    from ucrmmail.config.edit import unset_value
    from ucrmmail.credentials.find import delete_secret

    called = invocation(context)
    store = store_of(called.config())
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask on", remedy="say --yes")
        typer.confirm(f"Delete the secret of {store.account}?", abort=True, err=True)
    found = delete_secret(store, os.environ)
    unset_value(called.location(), "credentials.source")
    human.say(f"the secret of {store.account} is deleted" if found else f"there was no secret of {store.account}")


def save_secret(context: typer.Context, key: str, secret: str, store: str | None) -> None:
    """Keep a secret in the store that was asked for, the recorded one, or the keyring if one is usable now.

    Raises ConfigError with the ready commands when there is none; whatever the store raises.
    """
    from ucrmmail.config.edit import set_value
    from ucrmmail.credentials.find import keep_secret

    called = invocation(context)
    chosen = store_of(called.config(), store or "")
    if not chosen.source:
        _need_keyring(key)
        chosen = store_of(called.config(), "keyring")
    keep_secret(chosen, secret, os.environ)
    set_value(called.location(), "credentials.source", chosen.source)
    where = f" {chosen.file}" if chosen.source == "file" else ""
    human.say(f"{key}: the secret of {chosen.account} is in the {chosen.source}{where}")
    if chosen.source == "keyring":
        human.note("check that cron can read it too: `ucrmmail credentials status --as-cron`")


def _need_keyring(key: str) -> None:
    from ucrmmail.credentials import keyring

    try:
        keyring.probe(os.environ)
    except UcrmmailError as error:
        raise ConfigError(
            f"{error.what}, so the secret was not kept",
            why=error.why,
            remedy=f"run `ucrmmail config set {key} --store file` (an owner-only file), or set credentials.command "
            f"and run `ucrmmail config set {key} --store command`",
        ) from None
