"""The secret in the OS keyring, asked for by a child process.

A keyring can hang for ever: a frozen daemon, a bus that never answers, a prompt on a screen that nobody looks at. An
alarm signal in our own process would end the wait too, but only in the main thread, and it would interrupt whatever
else runs there (a flush with several connections); a thread cannot be ended at all. A child can be killed at the
deadline whatever it is doing, and brings keyring's imports into no process of ours. It costs 20 ms more. The secret
goes through pipes, never through arguments or the environment.

Under cron the Secret Service fails only because DBUS_SESSION_BUS_ADDRESS is unset: the child gets it when the user's
own bus is there. ``keyring_child`` says which keyrings are used.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

from ucrmmail.credentials import child
from ucrmmail.credentials.secret import SecretMissingError, SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEADLINE_S = 10.0
_OTHER_STORE = "`ucrmmail config set smtp.password --store file`"
# Left alone by D-Bus addresses; every other byte is written as %NN (D-Bus Specification, "Server Addresses").
_PLAIN_IN_ADDRESS = frozenset(b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz/.\\*")


def read(names: tuple[str, ...], environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> str:
    """Return the secret under the first of the names that has one.

    Raises SecretMissingError when none has, or no usable keyring is there; SecretUnavailableError when it is locked,
    fails or does not answer in time.
    """
    secret = _ask({"do": "get", "names": list(names)}, environ, deadline_s).get("secret")
    if not secret:
        raise SecretMissingError(
            f"the keyring has no secret for {names[0]!r}", remedy="run `ucrmmail config set smtp.password`"
        )
    return secret


def write(name: str, secret: str, environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> None:
    """Keep a secret. Raises as ``read``."""
    _ask({"do": "set", "names": [name], "secret": secret}, environ, deadline_s)


def delete(names: tuple[str, ...], environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> bool:
    """Forget the secrets under these names; return whether there was one. Raises as ``read``."""
    return _ask({"do": "delete", "names": list(names)}, environ, deadline_s).get("found") == "yes"


def probe(environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> None:
    """Make sure, with a set, a get and a delete, that a keyring is usable now. Raises as ``read``."""
    _ask({"do": "probe", "names": []}, environ, deadline_s)


def _ask(request: dict[str, str | list[str]], environ: Mapping[str, str], deadline_s: float) -> dict[str, str]:
    # -P: a json.py or keyring.py in the directory that the command is run from is not imported.
    argv = [sys.executable, "-P", "-m", "ucrmmail.credentials.keyring_child", str(int(deadline_s) + 2)]
    try:
        ended = child.run(argv, with_bus(environ), deadline_s, json.dumps(request).encode())
    except TimeoutError:
        raise SecretUnavailableError(
            f"the keyring did not answer within {deadline_s:.0f} s",
            why="its daemon hangs, or waits for somebody to answer a question",
            remedy=f"unlock it, or keep the secret in a file: {_OTHER_STORE}",
        ) from None
    except OSError as error:
        raise SecretUnavailableError(f"the keyring cannot be asked: {error.strerror}") from None
    try:
        answer: dict[str, str] = json.loads(ended.out)
    except ValueError:
        answer = {"error": "failed", "why": "the process that asks it ended without an answer"}
    if "error" not in answer:
        return answer
    why = answer.get("why", "")
    match answer["error"]:
        case "locked":
            raise SecretUnavailableError(
                "the keyring is locked",
                why=why,
                remedy=f"unlock it; where nobody does so after a start, keep the secret in a file: {_OTHER_STORE}",
            )
        case "failed":
            raise SecretUnavailableError(
                "the keyring failed", why=why, remedy=f"try again, or keep the secret in a file: {_OTHER_STORE}"
            )
        case _:
            raise SecretMissingError(
                "no usable keyring is here", why=why, remedy=f"keep the secret in a file: {_OTHER_STORE}"
            )


def with_bus(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, with the address of the user's own session bus where cron left it out."""
    found = dict(environ)
    if found.get("DBUS_SESSION_BUS_ADDRESS"):
        return found
    for runtime in (found.get("XDG_RUNTIME_DIR"), f"/run/user/{os.geteuid()}"):
        if runtime and _is_own_socket(f"{runtime}/bus"):
            found["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={_escaped(f'{runtime}/bus')}"
            break
    return found


def _is_own_socket(path: str) -> bool:
    try:
        there = os.stat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(there.st_mode) and there.st_uid == os.geteuid()


def _escaped(path: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN_IN_ADDRESS else f"%{byte:02x}" for byte in os.fsencode(path))
