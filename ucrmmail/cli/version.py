"""``ucrmmail --version``: one line for people, and with ``--json`` what a report of a fault should say."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ucrmmail import __version__

if TYPE_CHECKING:
    from ucrmmail.config.location import Location

# What pyproject.toml asks for; a test holds the two together.
LIBRARIES = ("typer", "rich", "tomli-w", "tomlkit", "keyring", "dnspython", "cryptography", "dkimpy", "idna")
# And what its extras ask for.
OPTIONAL_LIBRARIES = ("authlib", "requests")


def show_version(location: Location, *, as_json: bool) -> None:
    """Print the version; as JSON with Python, the libraries and the paths that apply."""
    from ucrmmail.output import human, machine

    if not as_json:
        human.say(f"ucrmmail {__version__}")
        return
    system = os.uname()
    machine.print_document(
        {
            "version": __version__,
            "python": sys.version.partition(" ")[0],
            "executable": sys.executable,
            "system": f"{system.sysname} {system.release} {system.machine}",
            "libraries": {name: _version_of(name) for name in LIBRARIES},
            "optional_libraries": {name: _version_of(name) for name in OPTIONAL_LIBRARIES},
            "config": location.path,
            "config_exists": location.exists,
            "spool_directory": location.spool_directory,
            "log_directory": location.log_directory,
        }
    )


def _version_of(library: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError:
        return None
