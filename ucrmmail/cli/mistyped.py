"""What a command line that was mistyped is answered with, and what of it may be said again.

A secret is easily typed where none belongs: behind an equals sign, as one argument too many, in the place of the key.
Errors go into cron's mail, logs and screenshots. So a word is repeated only where it is near one that is known.
"""

from __future__ import annotations

import re

from ucrmmail.errors import UsageError

# What a key is made of: what follows is its value, whatever stands between the two.
_NAME = re.compile(r"[\w.-]*")
# What could be a key of another release; a password without a table in front of it is not.
_IN_A_TABLE = re.compile(r"[A-Za-z_]+\.[A-Za-z_]+")
_SAYABLE = re.compile(r"[A-Za-z_. -]+")


def no_such_key(word: str) -> UsageError:
    """Return the error for a word that is no key, with the nearest one."""
    from ucrmmail.config.schema import KEYS, nearest

    if word.startswith("-"):
        return no_such_option(word, "config set")
    secret = _secret_before_its_value(word)
    if secret:
        return secret_in_argument(secret)
    name = _name(word)
    near = name if name in KEYS else nearest(name) or nearest(word)
    repeated = _SAYABLE.fullmatch(word) and (not KEYS[near].secret if near else _IN_A_TABLE.fullmatch(word))
    remedy = f"did you mean {near}?" if near else "see `ucrmmail config list`"
    if near == name:
        remedy += " A blank stands between a key and its value"
    return UsageError(f"there is no key {word!r}" if repeated else "there is no such key", remedy=remedy)


def no_such_option(word: str, command: str) -> UsageError:
    """Return the error for an option that ``command`` does not have, without what is joined to it as its value."""
    secret = _secret_before_its_value(word)
    if secret:
        return secret_in_argument(secret)
    option = f"--{_name(word.lstrip('-'))}" if word.startswith("--") else word[:2]
    return UsageError(f"no such option: {option}", remedy=f"see `ucrmmail {command} --help`")


def no_such_store(word: str, allowed: tuple[str, ...]) -> UsageError:
    """Return the error for a store that does not exist: who takes --store for the secret gives it there."""
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), allowed, 1)
    remedy = f"allowed: {', '.join(allowed)}"
    if near:
        return UsageError(f"--store: {word!r} is not known", remedy=f"did you mean {near[0]}? {remedy}")
    return UsageError("--store: what is given is no store", remedy=remedy)


def secret_in_argument(key: str) -> UsageError:
    """Return the error for a secret that was given as an argument."""
    return UsageError(
        f"{key}: a secret is not taken from the command line",
        why="every user of this machine can see it there while the command runs, and the shell may keep it;"
        " take it for known and replace it",
        remedy=how_to_give(key),
    )


def how_to_give(key: str) -> str:
    """Return how a secret is given."""
    return f"`ucrmmail config set {key}` asks for it; or pipe it in with --stdin"


def _secret_before_its_value(word: str) -> str:
    """Return the secret key that a word names and goes on behind, as ``smtp.password=X`` does; "" for any other."""
    from ucrmmail.config.schema import KEYS

    bare = word.lstrip("-")
    name = _name(bare)
    if name == bare:
        return ""
    given = name.lower().replace("-", "_")
    secrets = [key for key in KEYS.values() if key.secret]
    named = [key.path for key in secrets if key.path == given]
    return next(iter([*named, *(key.path for key in secrets if key.name == given.rpartition(".")[2])]), "")


def _name(word: str) -> str:
    found = _NAME.match(word)
    return found[0] if found else ""
