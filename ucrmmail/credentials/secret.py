"""A secret that does not show itself, and what its absence means."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field

from ucrmmail.errors import ConfigError, TemporaryError


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
    """The source is locked or does not answer; it may later (75)."""


def forbid_core_dumps() -> None:
    """Keep a crash from writing the memory, which holds a secret, to the disk."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
