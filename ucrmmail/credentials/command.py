"""The secret from a program of the user's own: ``credentials.command``, an argument list, no shell, with a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from ucrmmail.credentials.environment import VARIABLE
from ucrmmail.credentials.secret import SecretMissingError, SecretUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST_COMPLAINT = 300


def read(argv: Sequence[str], environ: Mapping[str, str], deadline_s: float) -> str:
    """Return the first line that the program prints.

    Raises SecretMissingError when none is configured, it cannot be started or prints nothing; SecretUnavailableError
    when it fails or does not end in time.
    """
    if not argv:
        raise SecretMissingError(
            "credentials.source is command, and credentials.command is not set",
            remedy="run `ucrmmail config set credentials.command pass,show,smtp`",
        )
    name = argv[0]
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={key: value for key, value in environ.items() if key != VARIABLE},
            start_new_session=True,
        )
    except OSError as error:
        raise SecretMissingError(
            f"credentials.command: {name} cannot be started: {error.strerror}", remedy="check the command"
        ) from None
    try:
        out, complaint = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        # Its children too: one of them may be what hangs, and would keep the pipe open.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise SecretUnavailableError(
            f"credentials.command: {name} did not answer within {deadline_s:.0f} s", remedy="run it by hand"
        ) from None
    if process.returncode:
        said = complaint.decode("utf-8", "backslashreplace").strip()[:_LONGEST_COMPLAINT]
        raise SecretUnavailableError(
            f"credentials.command: {name} failed (exit {process.returncode}){': ' + said if said else ''}",
            remedy="run it by hand, in the environment of cron",
        )
    secret = out.decode("utf-8", "surrogateescape").partition("\n")[0].removesuffix("\r")
    if not secret:
        raise SecretMissingError(f"credentials.command: {name} printed nothing", remedy="run it by hand")
    return secret
