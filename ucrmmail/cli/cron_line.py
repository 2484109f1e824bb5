"""The line of a crontab that runs the flush of this account."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

from ucrmmail.cli.own import own_command

if TYPE_CHECKING:
    from ucrmmail.config.location import Location


def cron_line(location: Location) -> str:
    """Return the line for the user's own crontab, with the whole path of the program: cron's PATH is short."""
    from ucrmmail.cli.as_cron import other_config_of_cron

    config = f" --config {shlex.quote(location.path)}" if other_config_of_cron(location) else ""
    command = f"{_program()}{config} flush --time-limit 50s"
    # A % ends the command in a crontab.
    return f"* * * * * {command.replace('%', chr(92) + '%')}"


def _program() -> str:
    """Return how this program is called from anywhere."""
    beside = f"{os.path.dirname(sys.executable)}/ucrmmail"
    found = shutil.which("ucrmmail") or (beside if os.access(beside, os.X_OK) else "")
    if found and not zipfile.is_zipfile(sys.argv[0]):
        return shlex.quote(os.path.abspath(found))
    return shlex.join(own_command())
