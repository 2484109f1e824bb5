"""The process that talks to the keyring: one request on standard input, one answer on standard output, both JSON.

It is the only module that imports keyring. Its parent kills it at the deadline (see ``credentials.keyring``).
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from ucrmmail.credentials.secret import forbid_core_dumps

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "ucrmmail"
# By module: these keep secrets encrypted and ask no questions. Chosen by name, not by keyring's own priorities, by
# which a backend that prompts can come first.
_ALLOWED = (
    "keyring.backends.SecretService",
    "keyring.backends.kwallet",
    "keyring.backends.macOS",
    "keyring.backends.Windows",
)


class _NoBackendError(Exception):
    pass


def _backend() -> KeyringBackend:
    import importlib  # noqa: PLC0415

    reasons = []
    for module_name in _ALLOWED:
        class_name = {"keyring.backends.kwallet": "DBusKeyring", "keyring.backends.Windows": "WinVaultKeyring"}.get(
            module_name, "Keyring"
        )
        try:
            kind = getattr(importlib.import_module(module_name), class_name)
            # Reading the priority is how keyring asks a backend whether it can work here.
            if kind.priority > 0:
                backend: KeyringBackend = kind()
                return backend
        except Exception as error:  # noqa: BLE001 # backends raise what they like when they cannot work
            reasons.append(str(error))
    raise _NoBackendError(reasons[0] if reasons else "none is installed")


def answer(request: dict[str, str]) -> dict[str, str]:
    """Do what is asked and return the answer; ``error`` is "missing" or "locked"."""
    from keyring.errors import InitError, KeyringLocked, PasswordDeleteError  # noqa: PLC0415

    try:
        backend = _backend()
        account = request.get("account", "")
        match request["do"]:
            case "get":
                secret = backend.get_password(SERVICE, account)
                return {} if secret is None else {"secret": secret}
            case "set":
                backend.set_password(SERVICE, account, request["secret"])
                return {}
            case "delete":
                try:
                    backend.delete_password(SERVICE, account)
                except PasswordDeleteError:
                    return {"found": "no"}
                return {"found": "yes"}
            case _:
                return _probe(backend)
    except (KeyringLocked, InitError) as error:
        return {"error": "locked", "why": str(error)}
    except _NoBackendError as error:
        return {"error": "missing", "why": str(error)}
    except Exception as error:  # noqa: BLE001 # the boundary of this process: its parent tells the user
        return {"error": "missing", "why": f"{type(error).__name__}: {error}"}


def _probe(backend: KeyringBackend) -> dict[str, str]:
    account, word = f"probe-{os.getpid()}", os.urandom(8).hex()
    backend.set_password(SERVICE, account, word)
    try:
        good = backend.get_password(SERVICE, account) == word
    finally:
        backend.delete_password(SERVICE, account)
    return {} if good else {"error": "missing", "why": "it did not give back what it was given"}


def main() -> int:
    """Answer the one request on standard input."""
    forbid_core_dumps()
    found = answer(json.loads(sys.stdin.read()))
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
