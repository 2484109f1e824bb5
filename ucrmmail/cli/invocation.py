"""What every command needs to know of its invocation: which config file, and how to load it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from ucrmmail.config.load import Config
    from ucrmmail.config.location import Location


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options that go before any command."""

    config_option: str | None = None

    def location(self) -> Location:
        """Return which config file applies, and why."""
        from ucrmmail.config.location import locate

        return locate(self.config_option, os.environ, os.geteuid())

    def config(self) -> Config:
        """Return the checked configuration. Raises ConfigError with all that is wrong in the file."""
        from ucrmmail.config.load import load

        return load(self.location())
