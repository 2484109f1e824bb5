"""Which source answers: a systemd credential, the environment, then the one source that is configured. No cascade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ucrmmail.credentials import command, environment, file, keyring
from ucrmmail.credentials.secret import Secret, SecretMissingError, forbid_core_dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Store:
    """Where an account's secret is kept: ``source`` is "keyring", "file", "command", or "" when none was chosen."""

    account: str
    source: str
    command: tuple[str, ...]
    file: str


def find_secret(store: Store, environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> Secret:
    """Return the secret and where it came from.

    Raises SecretMissingError (78), SecretUnavailableError (75), PermissionDeniedError (77), ConfigError (78).
    """
    forbid_core_dumps()
    value = environment.read_credential(environ)
    if value is not None:
        return Secret("systemd", value)
    value = environment.read_variable(environ)
    if value is not None:
        return Secret("environment", value)
    match store.source:
        case "keyring":
            return Secret("keyring", keyring.read(store.account, environ, deadline_s))
        case "file":
            return Secret("file", file.read(store.file, store.account))
        case "command":
            return Secret("command", command.read(store.command, environ, deadline_s))
        case _:
            raise SecretMissingError(
                f"there is no secret for {store.account!r}", remedy="run `ucrmmail config set smtp.password`"
            )


def keep_secret(store: Store, secret: str, environ: Mapping[str, str]) -> None:
    """Put the secret into the store's source and read it back. Raises as ``find_secret``."""
    forbid_core_dumps()
    if store.source == "keyring":
        keyring.write(store.account, secret, environ)
        kept = keyring.read(store.account, environ)
    elif store.source == "file":
        file.write(store.file, store.account, secret)
        kept = file.read(store.file, store.account)
    else:
        kept = command.read(store.command, environ, DEADLINE_S)
        secret = secret or kept
    if kept != secret:
        raise SecretMissingError(f"the {store.source} did not give back the secret that it was given")


def delete_secret(store: Store, environ: Mapping[str, str]) -> bool:
    """Forget the secret; return whether there was one. A command's secret is not ours to delete."""
    if store.source == "keyring":
        return keyring.delete(store.account, environ)
    return store.source == "file" and file.delete(store.file, store.account)
