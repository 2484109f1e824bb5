"""A job of cron or systemd that runs the flush: what its command line says."""

from __future__ import annotations

import os
import shlex
import shutil

from ucrmmail.dataclass import dataclass

CRON_PATH = "/usr/bin:/bin"
_PROGRAM = "ucrmmail"
_MOST_SHELLS = 3


@dataclass(frozen=True, slots=True)
class Job:
    """A line or unit that runs ``ucrmmail flush``.

    ``place`` says where it stands, ``user`` as whom it runs, ``program`` what is run and in which ``search_path``;
    ``config`` is the configuration file that it names, "" for the default. ``gap_s`` is the longest time between two
    runs, None when that is not known. ``by_cron`` needs a running cron; ``off`` says why it is not run at all ("": it
    is), and ``remedy`` what switches it on.
    """

    place: str
    user: str
    program: str
    search_path: str = CRON_PATH
    config: str = ""
    gap_s: float | None = None
    by_cron: bool = True
    off: str = ""
    remedy: str = ""

    def problem(self) -> str:
        """Return why the program would not be found; "" when it would, or when only a shell could tell."""
        if "$" in self.program or self.program.startswith("~"):
            return ""
        if "/" in self.program:
            return "" if os.access(self.program, os.X_OK) else f"{self.program} is not there, or is no program"
        if shutil.which(self.program, path=self.search_path) is None:
            return f"{self.program} is not found in the PATH that it runs with ({self.search_path})"
        return ""


@dataclass(frozen=True, slots=True)
class FlushCall:
    """A call of ``ucrmmail flush`` in a command line: the program, and the configuration that it names."""

    program: str
    config: str


def find_flush(command: str, *, depth: int = 0) -> FlushCall | None:
    """Return the call of ``ucrmmail flush`` in a command of a shell; None when there is none that can be seen.

    ``depth`` is how many shells are around it.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    variable = ""
    for place, word in enumerate(words):
        variable = word.removeprefix("UCRMMAIL_CONFIG=") if word.startswith("UCRMMAIL_CONFIG=") else variable
        if any(character.isspace() for character in word):
            # A shell's -c and its command.
            inner = find_flush(word, depth=depth + 1) if depth < _MOST_SHELLS else None
            if inner is not None:
                return FlushCall(inner.program, inner.config or variable)
        elif os.path.basename(word) == _PROGRAM:
            config = _config_of_flush(words[place + 1 :])
            if config is not None:
                as_module = place >= 2 and words[place - 1] == "-m"
                program = next((each for each in words if "python" in each), word) if as_module else word
                return FlushCall(program, config or variable)
    return None


def _config_of_flush(words: list[str]) -> str | None:
    """Return the value of ``--config`` before the word ``flush``, "" without one; None when another word is there."""
    config = ""
    rest = iter(words)
    for word in rest:
        if word == "--config":
            config = next(rest, "")
        elif word.startswith("--config="):
            config = word.removeprefix("--config=")
        else:
            return config if word.rstrip(";&") == "flush" else None
    return None
