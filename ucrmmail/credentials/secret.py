"""A secret that does not show itself, what may be one, and what its absence means."""

from __future__ import annotations

import ctypes
import resource
import sys

from ucrmmail.dataclass import dataclass, field
from ucrmmail.errors import ConfigError, TemporaryError, UsageError

# An AUTH line has at most 12,288 octets (RFC 4954 section 4.12), of which base64 takes a quarter.
LONGEST_BYTES = 8192
_PR_SET_DUMPABLE = 4


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret and where it came from. ``repr`` and tracebacks show the source alone."""

    source: str
    _value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value


class SecretMissingError(ConfigError):
    """The source answers and has no secret, or there is no source (78)."""


class SecretUnavailableError(TemporaryError):
    """The source is locked, failed or does not answer; it may later (75)."""


def first_line(raw: bytes, where: str) -> str:
    """Return the secret in what a source gave: its first line, without the line end.

    Raises SecretMissingError when there is nothing in it, ConfigError when it is no secret. ``where`` begins the
    sentence that is shown; what was given never does.
    """
    line = raw.partition(b"\n")[0].removesuffix(b"\r")
    if not line:
        raise SecretMissingError(f"{where} is empty", remedy="put the secret on its first line")
    try:
        return checked(line.decode(), where)
    except (UnicodeDecodeError, UsageError):
        raise ConfigError(
            f"{where} does not begin with a secret: one line of text in UTF-8, at most {LONGEST_BYTES} bytes",
            remedy="put the secret alone on the first line",
        ) from None


def checked(secret: str, where: str, longest_bytes: int = LONGEST_BYTES) -> str:
    """Return the secret if it is one line of text, and no longer than a login can carry. Raises UsageError."""
    # A NUL ends a password in AUTH PLAIN (RFC 4616), a line end in every store; others come with a clumsy paste.
    if any(character < " " or character == "\x7f" for character in secret):
        raise UsageError(f"{where} holds a control character", remedy="paste or pipe in the secret alone")
    try:
        size_bytes = len(secret.encode())
    except UnicodeEncodeError:
        raise UsageError(f"{where} is not text in UTF-8", remedy="paste or pipe in the secret alone") from None
    if size_bytes > longest_bytes:
        raise UsageError(f"{where} is longer than {longest_bytes} bytes", remedy="paste or pipe in the secret alone")
    return secret


def forbid_core_dumps() -> None:
    """Keep a crash from writing the memory, which holds a secret, to the disk."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        # The limit does not hold where the kernel pipes the dump to a program, as Ubuntu's apport has it.
        # Besides, no other process of this user can look into the memory from now on.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
