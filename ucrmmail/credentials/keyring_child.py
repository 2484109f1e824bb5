"""The process that talks to the keyring: one request on standard input, one answer on standard output, both JSON.

    {"do": "get", "names": ["billing@isp.example"]}      {"secret": "..."}, or {} when there is none
    {"do": "set", "names": [...], "secret": "..."}       {}
    {"do": "delete", "names": [...]}                     {"found": "yes"} or {"found": "no"}
    {"do": "probe", "names": []}                         {}
                                                         {"error": "missing", "locked" or "failed", "why": "..."}

Only keyrings are used that keep secrets encrypted and are not ours to unlock: Secret Service, KWallet, macOS, Windows.
Others prompt, or only look encrypted. They are named here and tried in this order, which also spares keyring's own
search through all that is installed; the user's choice (PYTHON_KEYRING_BACKEND, keyringrc.cfg) is followed when it is
one of them. It is the only module that imports keyring. Its parent kills it at the deadline (see ``keyring``).
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from ucrmmail.credentials.secret import forbid_core_dumps

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "ucrmmail"
_PROBE_SERVICE = "ucrmmail.probe"
_SECRET_SERVICE = "keyring.backends.SecretService"  # noqa: S105 # a module, not a secret
_ALLOWED = {
    _SECRET_SERVICE: "Keyring",
    "keyring.backends.kwallet": "DBusKeyring",
    "keyring.backends.macOS": "Keyring",
    "keyring.backends.Windows": "WinVaultKeyring",
}
# A chooser among all that is installed: we choose ourselves.
_CHAINER = "keyring.backends.chainer"


class _AnswerError(Exception):
    """Ends the request with an error: "missing" (there is no usable keyring) or "locked"."""

    def __init__(self, error: str, why: str) -> None:
        super().__init__(why)
        self.error = error


def answer(request: dict[str, str | list[str]]) -> dict[str, str]:
    """Do what is asked and return the answer."""
    try:
        backend = _backend()
        _refuse_locked(backend)
        return _done(backend, str(request["do"]), list(request["names"]), str(request.get("secret", "")))
    except _AnswerError as error:
        return {"error": error.error, "why": str(error)}
    except Exception as error:  # noqa: BLE001 # the boundary of this process; backends raise what they like
        return {"error": _kind(error), "why": _why(error, str(request.get("secret", "")))}


def _kind(error: Exception) -> str:
    # By name, since the import of keyring itself may be what failed.
    if isinstance(error, ImportError):
        return "missing"
    return "locked" if type(error).__name__ in ("KeyringLocked", "LockedException", "InitError") else "failed"


def _why(error: Exception, secret: str) -> str:
    text = f"{type(error).__name__}: {error}"
    return type(error).__name__ if secret and secret in text else text


def _backend() -> KeyringBackend:
    """Return the keyring to use: the one that the user has named, else the first that can work here."""
    named = _named()
    if named is not None:
        module = type(named).__module__
        if module in _ALLOWED:
            return named
        if module != _CHAINER:
            raise _AnswerError(
                "missing",
                f"{module} is chosen by PYTHON_KEYRING_BACKEND or keyringrc.cfg, and is none that keeps"
                " secrets encrypted without asking questions",
            )
    reasons = []
    for module, name in _ALLOWED.items():
        try:
            kind = getattr(importlib.import_module(module), name)
            # Reading the priority is how keyring asks a backend whether it can work here.
            if kind.priority > 0:
                backend: KeyringBackend = kind()
                return backend
        except Exception as error:  # noqa: BLE001 # each says in its own way that it cannot
            reasons.append(str(error))
    # The first is the Secret Service, whose reason is the one to tell on a server; mostly it names no address.
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    where = f" (DBUS_SESSION_BUS_ADDRESS is {address})" if address else ""
    raise _AnswerError("missing", reasons[0] + where if reasons else "")


def _named() -> KeyringBackend | None:
    from keyring import core  # noqa: PLC0415 # an import that fails is to be answered

    try:
        return core.load_env() or core.load_config()
    except Exception as error:  # noqa: BLE001 # whatever the user has named may raise whatever it likes
        raise _AnswerError("missing", f"the keyring that is chosen for keyring cannot be used: {error}") from None


def _refuse_locked(backend: KeyringBackend) -> None:
    """Answer "locked" where the Secret Service would ask: from cron the question would be put every minute.

    Of the others the deadline takes care.
    """
    if type(backend).__module__ != _SECRET_SERVICE:
        return
    import secretstorage  # noqa: PLC0415 # only there where there is a Secret Service

    with closing(secretstorage.dbus_init()) as bus:
        path = getattr(backend, "preferred_collection", "/org/freedesktop/secrets/aliases/default")
        try:
            collection = secretstorage.Collection(bus, path)
        except secretstorage.ItemNotFoundException:
            raise _AnswerError("missing", "the Secret Service has no default collection yet") from None
        if collection.is_locked():
            raise _AnswerError("locked", "the default collection of the Secret Service is locked")


def _done(backend: KeyringBackend, task: str, names: list[str], secret: str) -> dict[str, str]:
    match task:
        case "get":
            for name in names:
                found = backend.get_password(SERVICE, name)
                if found is not None:
                    return {"secret": found}
            return {}
        case "set":
            backend.set_password(SERVICE, names[0], secret)
            return {}
        case "delete":
            return {"found": "yes" if sum(_deleted(backend, name) for name in names) else "no"}
        case _:
            return _probed(backend)


def _deleted(backend: KeyringBackend, name: str) -> bool:
    if backend.get_password(SERVICE, name) is None:
        return False
    backend.delete_password(SERVICE, name)
    return True


def _probed(backend: KeyringBackend) -> dict[str, str]:
    name, word = f"pid {os.getpid()}", os.urandom(8).hex()
    backend.set_password(_PROBE_SERVICE, name, word)
    try:
        good = backend.get_password(_PROBE_SERVICE, name) == word
    finally:
        backend.delete_password(_PROBE_SERVICE, name)
    return {} if good else {"error": "missing", "why": "it did not give back what it was given"}


def main(arguments: list[str]) -> int:
    """Answer the one request on standard input; the argument is how many seconds this process may live."""
    # Should the parent be killed, nobody else would end a wait for a frozen keyring. The signal's default action ends
    # a process even where Python would not run a handler.
    signal.alarm(int(arguments[0]))
    forbid_core_dumps()
    found = answer(json.loads(sys.stdin.read()))
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(found))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
