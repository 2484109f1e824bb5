"""The secret from a program of the user's own: ``credentials.command``, an argument list, no shell, with a deadline.

Nothing is stored: whoever keeps secrets in ``pass``, a vault or a token broker goes on doing so.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

from ucrmmail.credentials import child
from ucrmmail.credentials.secret import SecretMissingError, SecretUnavailableError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST_COMPLAINT = 300
_BY_HAND = "run it by hand; cron gives it no terminal and a short PATH: `ucrmmail credentials status --as-cron`"


def read(argv: Sequence[str], environ: Mapping[str, str], deadline_s: float) -> str:
    """Return the first line that the program prints.

    Raises SecretMissingError when none is configured, it cannot be started or prints nothing; SecretUnavailableError
    when it fails or does not end in time; ConfigError when it prints what is no secret.
    """
    if not argv:
        raise SecretMissingError(
            "credentials.source is command, and credentials.command is not set",
            remedy="run `ucrmmail config set credentials.command 'pass show smtp'`, with your program",
        )
    name = f"credentials.command: {argv[0]}"
    try:
        ended = child.run(argv, environ, deadline_s)
    except TimeoutError:
        raise SecretUnavailableError(f"{name} did not end within {deadline_s:.0f} s", remedy=_BY_HAND) from None
    except OSError as error:
        raise _not_started(name, error) from None
    if ended.returncode:
        raise SecretUnavailableError(f"{name} failed: {_how(ended)}", why=_complaint(ended), remedy=_BY_HAND)
    if not _line(ended):
        raise SecretMissingError(f"{name} printed nothing, or an empty line first", remedy=_BY_HAND)
    return first_line(ended.out, f"what {name} printed")


def _line(ended: child.Ended) -> bytes:
    return ended.out.partition(b"\n")[0].strip()


def _not_started(name: str, error: OSError) -> SecretMissingError | SecretUnavailableError:
    what = f"{name} cannot be started: {error.strerror}"
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return SecretUnavailableError(what, remedy="try again when the machine is less busy")
    return SecretMissingError(what, remedy="run `ucrmmail config set credentials.command` with its full path")


def _how(ended: child.Ended) -> str:
    if ended.returncode > 0:
        return f"exit {ended.returncode}"
    try:
        return f"killed by {signal.Signals(-ended.returncode).name}"
    except ValueError:
        return f"killed by signal {-ended.returncode}"


def _complaint(ended: child.Ended) -> str:
    """Return what it printed on standard error; should that repeat the secret, without it."""
    said = ended.err
    if _line(ended):
        said = said.replace(_line(ended), b"[redacted]")
    return os.fsdecode(said).strip()[:_LONGEST_COMPLAINT]
