"""The secret in an owner-only file, as TOML; for servers without a keyring.

    [secrets]
    "billing@isp.example" = "..."

It is opened without following links, and refused when it is more than one file's name, when others can read it or when
it belongs to somebody else. It is written only into a directory that nobody else can write to: there no link can take
its place between the look and the rename.
"""

from __future__ import annotations

import os
import stat
import tomllib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ucrmmail.credentials.secret import SecretMissingError
from ucrmmail.errors import CannotCreateError, ConfigError, PermissionDeniedError
from ucrmmail.files import DistrustError, Locked, open_untrusted, read_all, replace_file, replacements_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LARGEST = 1 << 20
_STORE = "`ucrmmail config set smtp.password --store file`"


def read(path: str, names: tuple[str, ...]) -> str:
    """Return the secret under the first of the names that has one.

    Raises SecretMissingError when none has, PermissionDeniedError when the file is not to be trusted, ConfigError when
    it is not a file of secrets.
    """
    secrets = _secrets(path)
    for name in names:
        if secrets.get(name):
            return secrets[name]
    raise SecretMissingError(f"{path} has no secret for {names[0]!r}", remedy=f"run {_STORE}")


def write(path: str, name: str, secret: str) -> None:
    """Keep a secret; those under other names stay. Raises CannotCreateError, and as ``read`` when a file is there."""
    _change(path, lambda secrets: secrets | {name: secret})


def delete(path: str, names: tuple[str, ...]) -> bool:
    """Forget the secrets under these names; return whether there was one. Raises as ``write``.

    What a writer that was killed has left is forgotten too.
    """
    try:
        found = bool(_secrets(path).keys() & set(names))
    except SecretMissingError:
        found = False
    if found:
        _change(path, lambda secrets: {name: secrets[name] for name in secrets if name not in names})
    elif replacements_left(path):
        with _writing(path):
            pass
    return found


def _change(path: str, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    import tomli_w  # noqa: PLC0415 # only what writes needs it

    with _writing(path):
        try:
            secrets = _secrets(path)
        except SecretMissingError:
            secrets = {}
        replace_file(path, tomli_w.dumps({"secrets": change(secrets)}).encode(), mode=0o600, follows_link=True)


@contextmanager
def _writing(path: str) -> Iterator[None]:
    """Be the only writer of the file, in a directory that nobody else can write to, and remove what others have left.

    Who was killed has left secrets too. Raises CannotCreateError, PermissionDeniedError.
    """
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _refuse_open_directory(directory)
        with Locked(f"{path}.lock"):
            for left in replacements_left(path):
                os.unlink(left)
            yield
    except OSError as error:
        raise CannotCreateError(
            f"{path} cannot be written: {error.strerror or error}",
            remedy="make its directory yours, or name another file: `ucrmmail config set credentials.file`",
        ) from None


def _refuse_open_directory(directory: str) -> None:
    found = os.stat(directory)
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionDeniedError(
            f"{directory}: others can change what is in it, so no secret is put there",
            remedy="choose a directory of your own: `ucrmmail config set credentials.file`, or `chmod go-w` this one",
        )


def _secrets(path: str) -> dict[str, str]:
    try:
        fd = open_untrusted(path, owner=os.geteuid())
    except (FileNotFoundError, NotADirectoryError):
        raise SecretMissingError(f"the secret file {path} is not there", remedy=f"run {_STORE}") from None
    except DistrustError as error:
        raise PermissionDeniedError(
            f"the secret file is not used: {error}", remedy="make it a file of your own, with mode 0600"
        ) from None
    except OSError as error:
        raise PermissionDeniedError(
            f"the secret file {path} cannot be read: {error.strerror}", remedy="run the command as its owner"
        ) from None
    try:
        if os.fstat(fd).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise PermissionDeniedError(
                f"the secret file {path} is open to other users",
                remedy=f"run `chmod 600 {path}`, and change the password: it may be known",
            )
        return _parsed(read_all(fd, _LARGEST), path)
    except DistrustError as error:
        raise ConfigError(
            f"the secret file {path} is not used: {error}", remedy="see `ucrmmail config get credentials.file`"
        ) from None
    finally:
        os.close(fd)


def _parsed(data: bytes, path: str) -> dict[str, str]:
    """Return the table of secrets. The parser's own words could quote a line of it, so they are dropped."""
    try:
        found: object = tomllib.loads(data.decode()).get("secrets", {})
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(secret, str) for secret in found.values()):
        raise ConfigError(
            f"{path} is not a file of secrets: a table [secrets] with one quoted text an account",
            remedy=f"mend it, or remove it and run {_STORE}",
        )
    return found
