"""The user's editor on a draft that only they can read, beside the file that it is to replace."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Self

from ucrmmail.credentials.environment import VARIABLES
from ucrmmail.errors import UsageError
from ucrmmail.files import write_all

if TYPE_CHECKING:
    from collections.abc import Mapping

_USUAL = ("sensible-editor", "editor", "nano", "vi")


def editor_command(environ: Mapping[str, str], *, on_terminal: bool) -> list[str]:
    """Return the editor and its arguments: $VISUAL, $EDITOR, or what a system usually has. Raises UsageError.

    One that was named may need no terminal; what a system usually has waits for one that is not there for ever.
    """
    for variable in ("VISUAL", "EDITOR"):
        named = environ.get(variable, "")
        if not named.strip():
            continue
        try:
            return shlex.split(named)
        except ValueError:
            raise UsageError(
                f"{variable}: {named!r} has a quote that is not closed", remedy=f"set {variable} anew"
            ) from None
    if not on_terminal:
        raise UsageError(
            "there is no terminal to edit on",
            remedy="use `ucrmmail config set`, or name an editor that needs none in VISUAL or EDITOR",
        )
    for name in _USUAL:
        if shutil.which(name, path=environ.get("PATH")):
            return [name]
    raise UsageError("no editor was found", remedy="name one: `EDITOR=nano ucrmmail config edit`")


class Draft:
    """A text in a file of its own while it is edited. ``with Draft(...)`` removes it at the end, unless it was kept."""

    def __init__(self, path: str, content: bytes) -> None:
        self._target = path
        directory = os.path.dirname(os.path.realpath(path))
        os.makedirs(directory, mode=0o700, exist_ok=True)
        # Only for the owner, and named .toml so that editors know what it is.
        fd, self._path = tempfile.mkstemp(prefix=".config-", suffix=".toml", dir=directory)
        try:
            write_all(fd, content)
        finally:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if os.path.exists(self._path):
            os.unlink(self._path)

    def edit(self, command: list[str]) -> bytes:
        """Run the editor and return what it left. Raises UsageError when it cannot be run or fails."""
        remedy = "name another editor: `EDITOR=nano ucrmmail config edit`"
        try:
            # An editor may keep its environment for years, in a session file or a shell of its own.
            environment = {name: value for name, value in os.environ.items() if name not in VARIABLES.values()}
            done = subprocess.run([*command, self._path], env=environment, check=False)
        except OSError as error:
            raise UsageError(f"the editor {command[0]!r} cannot be run: {error.strerror}", remedy=remedy) from None
        if done.returncode:
            raise UsageError(
                f"the editor {command[0]!r} ended with {done.returncode}; nothing was changed", remedy=remedy
            )
        try:
            with open(self._path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise UsageError(
                "the editor took the draft away; nothing was changed",
                remedy="save under the same name; or `ucrmmail config set`",
            ) from None

    def keep(self) -> str:
        """Keep the text beside the configuration file and return its path."""
        kept = f"{os.path.realpath(self._target)}.rejected"
        os.replace(self._path, kept)
        return kept
