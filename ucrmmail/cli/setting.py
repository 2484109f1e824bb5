"""What ``config set`` does with a value: a plain one goes into the file, a secret into the credential store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from ucrmmail.cli.context import invocation
from ucrmmail.cli.left_behind import remarking_mail_left_behind
from ucrmmail.cli.mistyped import how_to_give, no_such_store, secret_in_argument
from ucrmmail.errors import UsageError
from ucrmmail.output import human

if TYPE_CHECKING:
    from ucrmmail.config.kinds import Written
    from ucrmmail.config.location import Location
    from ucrmmail.config.schema import Key

# A secret is one line; a long value is not longer than the file may be.
_STDIN_LIMIT = 1 << 20
_STORES = ("keyring", "file", "command")


def read_value(key: Key, given: list[str], *, stdin: bool) -> Written:
    """Return the value as it is written into the file. Raises UsageError."""
    if stdin:
        text = _decoded(sys.stdin.buffer.read(_STDIN_LIMIT)).removesuffix("\n").removesuffix("\r")
        given = [line for line in text.splitlines() if line.strip()] if key.kind.is_list else [text]
    elif not given:
        raise UsageError(f"{key.path} needs a value", remedy=f"`ucrmmail config set {key.path} {key.example}`")
    try:
        written = key.kind.read(given)
        key.kind.check(written)
    except ValueError as error:
        raise UsageError(
            f"{key.path}: {error}; allowed: {key.allowed}", remedy=f"`ucrmmail config set {key.path} {key.example}`"
        ) from None
    return written


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError("standard input is not UTF-8 text", remedy="convert it with iconv(1)") from None


def set_plain(location: Location, key: Key, written: Written) -> None:
    """Write the value into the file, say so, and say what is probably not meant or is left to do."""
    from ucrmmail.config.advice import advice
    from ucrmmail.config.edit import set_value
    from ucrmmail.output.settings import remark_problems, remark_transport, shown

    with remarking_mail_left_behind(location, key.path):
        found = set_value(location, key.path, written).found
        human.say(f"{key.path} = {shown(key.path, written)}  ({location.path})")
        if key.path == "smtp.transport":
            remark_transport(found.config.preset, found.config)
        for item in advice(found.config):
            if item.key == key.path:
                human.note(f"warning: {item}")
        remark_problems(found.problems)


def set_secret(context: typer.Context, key: Key, given: list[str], *, stdin: bool, store: str | None) -> None:
    """Take a secret from the terminal or standard input to the credential store. Raises UsageError."""
    if given:
        raise secret_in_argument(key.path)
    if store is not None and store not in _STORES:
        raise no_such_store(store, _STORES)
    if stdin:
        secret = _decoded(sys.stdin.buffer.readline(_STDIN_LIMIT)).removesuffix("\n").removesuffix("\r")
    elif store == "command":
        # The program has it: there is nothing to type.
        secret = ""
    elif sys.stdin.isatty():
        secret = typer.prompt(key.path, hide_input=True, default="", show_default=False, err=True)
    else:
        raise UsageError(f"{key.path}: there is no terminal to ask on", remedy="pipe it in with --stdin")
    if not secret and store != "command":
        raise UsageError(f"{key.path}: the secret is empty", remedy=how_to_give(key.path))
    from ucrmmail.cli.credentials import save_secret

    save_secret(context, key.path, _without_display_blanks(secret, context), store)


def _without_display_blanks(secret: str, context: typer.Context) -> str:
    """Return an app password as it is meant: Google shows its 16 letters in four groups."""
    joined = "".join(secret.split())
    if joined == secret or len(joined) != 16 or not (joined.isascii() and joined.isalpha()):
        return secret
    return joined if invocation(context).config().text("smtp.transport") == "gmail" else secret
