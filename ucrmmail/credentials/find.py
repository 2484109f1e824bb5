"""Which source answers: a systemd credential, the environment, then the one source that is configured. No cascade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.credentials import command, environment, file, keyring
from ucrmmail.credentials.secret import (
    LONGEST_BYTES,
    Secret,
    SecretMissingError,
    SecretUnavailableError,
    checked,
    forbid_core_dumps,
)
from ucrmmail.dataclass import dataclass
from ucrmmail.errors import UcrmmailError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Store:
    """Where an account's secret is kept: ``source`` is "keyring", "file" or "command".

    It is kept under the first of ``names``, the user name of the account. The others are names that it may have been
    kept under before: the configuration file's, when it had no user name yet. ``recorded`` is False when nobody has
    chosen the source. ``key`` is the key of the configuration that the secret belongs to.
    """

    names: tuple[str, ...]
    source: str
    recorded: bool
    command: tuple[str, ...]
    file: str
    key: str = environment.SMTP

    @property
    def account(self) -> str:
        """The name of the account, for people."""
        return self.names[0]


def find_secret(store: Store, environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> Secret:
    """Return the secret and where it came from: "systemd", "environment", or the source.

    Raises SecretMissingError (78), SecretUnavailableError (75), PermissionDeniedError (77), ConfigError (78).
    """
    forbid_core_dumps()
    value = environment.read_credential(environ, store.key)
    if value is not None:
        return Secret("systemd", value)
    value = environment.read_variable(environ, store.key)
    if value is not None:
        return Secret("environment", value)
    try:
        return Secret(store.source, _read(store, environ, deadline_s))
    except SecretMissingError as error:
        if store.recorded:
            raise
        raise SecretMissingError(
            f"there is no secret for {store.account!r} yet",
            why=error.what,
            remedy=f"run `ucrmmail config set {store.key}`",
        ) from None


def read_kept(store: Store, environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> str:
    """Return what is kept in the store's source, whatever the environment brings along. Raises as ``find_secret``."""
    forbid_core_dumps()
    return _read(store, environ, deadline_s)


def _read(store: Store, environ: Mapping[str, str], deadline_s: float) -> str:
    try:
        return _read_source(store, environ, deadline_s)
    except UcrmmailError as error:
        # The sources speak of the account's secret, which is what they are for.
        error.remedy = error.remedy.replace(environment.SMTP, store.key)
        raise


def _read_source(store: Store, environ: Mapping[str, str], deadline_s: float) -> str:
    if store.source == "keyring":
        return keyring.read(store.names, environ, deadline_s)
    if store.source == "file":
        return file.read(store.file, store.names)
    return command.read(store.command, environ, deadline_s)


def keep_secret(
    store: Store,
    secret: str,
    environ: Mapping[str, str],
    deadline_s: float = DEADLINE_S,
    *,
    longest_bytes: int = LONGEST_BYTES,
) -> None:
    """Put the secret into the store's source, and read it back from there.

    A command keeps its secret itself: ``secret`` is then "" or the same. Raises UsageError when it cannot be a secret,
    and as ``find_secret``.
    """
    forbid_core_dumps()
    checked(secret, "the secret", longest_bytes)
    if store.source == "keyring":
        keyring.write(store.account, secret, environ, deadline_s)
    elif store.source == "file":
        file.write(store.file, store.account, secret)
    found = _read(store, environ, deadline_s)
    if found == secret or (store.source == "command" and not secret):
        return
    if store.source == "command":
        raise UsageError(
            f"credentials.command: {store.command[0]} prints another secret than the one given",
            why="with this source nothing is stored: the program is asked each time",
            remedy="change the secret there; or say --store keyring or --store file",
        )
    raise SecretUnavailableError(f"the {store.source} did not give back the secret that it was given")


def delete_secret(store: Store, environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> bool:
    """Forget the secret in the store's source; return whether there was one.

    Raises UsageError for a command, whose secret is not ours to delete; and as ``find_secret``.
    """
    if store.source == "keyring":
        return keyring.delete(store.names, environ, deadline_s)
    if store.source == "file":
        return file.delete(store.file, store.names)
    raise UsageError(
        "the secret is kept by the program in credentials.command, and is not ours to delete",
        remedy="delete it there; `ucrmmail config unset credentials.source` stops its use",
    )
