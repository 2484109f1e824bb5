"""Real shells on a terminal of their own: what a person types, and what the shell makes of it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPLETIONS = ROOT / "completions"

# Printed by a function of the shell, so that what is typed is never taken for it.
_END = "THE-END"
_SHOW = f"show() {{ printf '<%s>\\n' \"$@\"; echo {_END[:3]}'{_END[3:]}'; }}\n"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>()][0B]?|\r|\x07|\x08 ?")
_DEADLINE_S = 20.0

BASH = f"""\
PS1='> '
bind 'set enable-bracketed-paste off'
bind 'set show-all-if-ambiguous on'
bind 'set page-completions off'
bind 'set completion-query-items 0'
{_SHOW}
"""
ZSH = f"""\
PS1='> '
unsetopt prompt_sp prompt_cr beep
LISTMAX=1000
autoload -Uz compinit && compinit -u -D
{_SHOW}
"""


def program_directory(home: Path) -> tuple[Path, Path]:
    """Return a directory for PATH with this tree's ``ucrmmail`` in it, and the file where it notes each start."""
    directory, notes = home / "bin", home / "started"
    directory.mkdir()
    program = directory / "ucrmmail"
    program.write_text(f'#!/bin/sh\necho "$*" >>{notes}\nPYTHONPATH={ROOT} exec {sys.executable} -m ucrmmail "$@"\n')
    program.chmod(0o755)
    return directory, notes


class Terminal:
    """An interactive shell on a wide terminal."""

    def __init__(self, command: list[str], env: Mapping[str, str], home: Path) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 100, 200, 0, 0))
        self._fd = master
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**env, "TERM": "xterm", "LC_ALL": "C.UTF-8"},
            cwd=home,
        )
        os.close(slave)
        self._seen = ""

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._fd)

    def accepted(self, typed: str) -> list[str]:
        """Type, press Tab once, and return the words of the line as the shell itself reads them."""
        # To the beginning of the line, where a command is put that shows its arguments.
        self._type(f"{typed}\t\x01show \n")
        return re.findall(r"^<(.*)>$", self._read_until(_END), re.MULTILINE)

    def offered(self, typed: str, *expected: str) -> str:
        """Type, press Tab, and return the screen as soon as all that is expected is on it."""
        self._type(f"{typed}\t")
        screen = self._read_until(*expected)
        self._type("\x01\x0bshow\n")
        self._read_until(_END)
        return screen

    def _type(self, text: str) -> None:
        self._seen = ""
        os.write(self._fd, text.encode())

    def _read_until(self, *expected: str) -> str:
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            screen = _ESCAPES.sub("", self._seen)
            if all(text in screen for text in expected):
                return screen
            ready = wait([self._fd], max(0.0, deadline - time.monotonic()))
            assert ready, f"{expected} did not appear in:\n{screen}"
            self._seen += os.read(self._fd, 65536).decode("utf-8", "replace")
