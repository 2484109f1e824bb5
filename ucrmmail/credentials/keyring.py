"""The secret in the OS keyring, asked for by a child process.

A keyring can hang for ever: a frozen daemon, a bus that never answers, a prompt on a screen nobody sees. No timeout
within the process is safe against a library that blocks in C or holds a lock, so a child does the work and is killed at
the deadline. The secret goes over pipes, never through arguments or the environment. The parent imports no keyring.

Only backends that keep secrets encrypted and ask no questions are used: Secret Service, KWallet, macOS, Windows. Others
prompt, or only look encrypted. Under cron the Secret Service fails only because DBUS_SESSION_BUS_ADDRESS is unset;
it is set when the user's own bus is there.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

from ucrmmail.credentials.environment import VARIABLE
from ucrmmail.credentials.secret import SecretMissingError, SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ucrmmail.errors import UcrmmailError

SERVICE = "ucrmmail"
DEADLINE_S = 10.0


def read(account: str, environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> str:
    """Return the secret of an account.

    Raises SecretMissingError when there is none, or no usable keyring; SecretUnavailableError when it is locked or
    does not answer in time.
    """
    secret = _ask({"do": "get", "account": account}, environ, deadline_s).get("secret")
    if secret is None:
        raise SecretMissingError(
            f"the keyring has no secret for {account!r}", remedy="run `ucrmmail config set smtp.password`"
        )
    return secret


def write(account: str, secret: str, environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> None:
    """Keep the secret of an account. Raises as ``read``."""
    _ask({"do": "set", "account": account, "secret": secret}, environ, deadline_s)


def delete(account: str, environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> bool:
    """Forget the secret of an account; return whether there was one. Raises as ``read``."""
    return _ask({"do": "delete", "account": account}, environ, deadline_s).get("found") == "yes"


def probe(environ: Mapping[str, str], deadline_s: float = DEADLINE_S) -> None:
    """Make sure, with a set, a get and a delete, that a keyring is usable now. Raises as ``read``."""
    _ask({"do": "probe"}, environ, deadline_s)


def _ask(request: dict[str, str], environ: Mapping[str, str], deadline_s: float) -> dict[str, str]:
    environment = {key: value for key, value in with_bus(environ).items() if key != VARIABLE}
    process = subprocess.Popen(
        # -P: without it a json.py in the directory where we happen to stand would be imported, and run as us.
        [sys.executable, "-P", "-m", "ucrmmail.credentials.keyring_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        out, _ = process.communicate(json.dumps(request).encode(), timeout=deadline_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise SecretUnavailableError(
            f"the keyring did not answer within {deadline_s:.0f} s",
            remedy="unlock it, or keep the secret in a file: `ucrmmail config set smtp.password --store file`",
        ) from None
    try:
        answer: dict[str, str] = json.loads(out)
    except ValueError:
        answer = {"error": "missing", "why": "the keyring library failed"}
    if "error" in answer:
        raise _error(answer)
    return answer


def _error(answer: dict[str, str]) -> UcrmmailError:
    why = answer.get("why", "")
    if answer["error"] == "locked":
        return SecretUnavailableError(
            "the keyring is locked", why=why,
            remedy="unlock it; for cron, keep the secret in a file: `ucrmmail config set smtp.password --store file`",
        )  # fmt: skip
    return SecretMissingError(
        "no usable keyring is here", why=why,
        remedy="keep the secret in a file: `ucrmmail config set smtp.password --store file`",
    )  # fmt: skip


def with_bus(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, with the address of the user's own session bus when cron left it out."""
    found = dict(environ)
    if found.get("DBUS_SESSION_BUS_ADDRESS"):
        return found
    runtime = found.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    bus = f"{runtime}/bus"
    try:
        there = os.stat(bus)
    except OSError:
        return found
    if stat.S_ISSOCK(there.st_mode) and there.st_uid == os.geteuid():
        found["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
    return found
