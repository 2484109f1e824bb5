"""The secret in an owner-only file, as TOML; for servers without a keyring.

It is opened without following links, and refused when others can read it or it belongs to somebody else.
"""

from __future__ import annotations

import os
import stat
import tomllib

from ucrmmail.credentials.secret import SecretMissingError
from ucrmmail.errors import CannotCreateError, ConfigError, PermissionDeniedError
from ucrmmail.files import DistrustError, Locked, open_untrusted, read_all, replace_file

_LARGEST = 1 << 20


def read(path: str, account: str) -> str:
    """Return the secret of an account. Raises SecretMissingError, PermissionDeniedError, ConfigError."""
    secrets = _read_all(path)
    if account not in secrets:
        raise SecretMissingError(
            f"{path} has no secret for {account!r}", remedy="run `ucrmmail config set smtp.password --store file`"
        )
    return secrets[account]


def write(path: str, account: str, secret: str) -> None:
    """Keep the secret of an account; those of others stay. Raises CannotCreateError and what ``read`` raises."""
    _change(path, {account: secret})


def delete(path: str, account: str) -> bool:
    """Forget the secret of an account; return whether there was one."""
    try:
        found = account in _read_all(path)
    except SecretMissingError:
        return False
    if found:
        _change(path, {account: None})
    return found


def _change(path: str, change: dict[str, str | None]) -> None:
    import tomli_w  # noqa: PLC0415 # only what writes needs it

    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with Locked(f"{path}.lock"):
            try:
                secrets = _read_all(path)
            except SecretMissingError:
                secrets = {}
            kept = {name: value for name, value in {**secrets, **change}.items() if value is not None}
            replace_file(path, tomli_w.dumps({"secrets": kept}).encode())
    except OSError as error:
        raise CannotCreateError(f"{path} cannot be written: {error.strerror}", remedy="mend its directory") from None


def _read_all(path: str) -> dict[str, str]:
    try:
        fd = open_untrusted(path, owner=os.geteuid())
    except FileNotFoundError:
        raise SecretMissingError(
            f"the secret file {path} is not there", remedy="run `ucrmmail config set smtp.password --store file`"
        ) from None
    except (DistrustError, OSError) as error:
        raise PermissionDeniedError(
            f"the secret file {path} is not used: {error}", remedy="make it a file of your own, mode 0600"
        ) from None
    try:
        if os.fstat(fd).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise PermissionDeniedError(
                f"the secret file {path} is open to other users",
                remedy=f"run `chmod 600 {path}`, and change the secret: it may be known",
            )
        found = tomllib.loads(read_all(fd, _LARGEST).decode())["secrets"]
        return {str(name): str(value) for name, value in found.items()}
    except (DistrustError, ValueError, KeyError, AttributeError):
        # The parser's own words could quote a line of the file, and with it the secret.
        raise ConfigError(
            f"{path} is not a file of secrets",
            remedy="remove it and run `ucrmmail config set smtp.password --store file`",
        ) from None
    finally:
        os.close(fd)
