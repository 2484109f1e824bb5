"""A terminal that a test sits at: it waits for what is asked, and types."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import termios
import time
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

from tests.support.program import Program

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
# A machine under load is given time; a question that never comes is a failure.
_PATIENCE_S = 40.0
_AGAIN_S = 3.0


class Terminal:
    """A command with a controlling terminal of its own; ``text`` is all that was seen.

    with Terminal(program, "setup") as terminal:
        terminal.answer("Address", "me@isp.example")
        assert terminal.ends() == 0
    """

    def __init__(self, program: Program, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            # A session with this terminal as its own, so that a hidden question finds it as /dev/tty.
            ["setsid", "--ctty", *program.command(*arguments)],
            stdin=slave, stdout=slave, stderr=slave, cwd=program.home,
            env={**program.env, "TERM": "dumb", "COLUMNS": "200"},
        )  # fmt: skip
        os.close(slave)
        self._raw = ""
        self._answered = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        return _CONTROL.sub("", self._raw)

    def sees(self, text: str) -> None:
        """Wait until this text is there, behind what was answered last."""
        ends_at = time.monotonic() + _PATIENCE_S
        while text not in self.text[self._answered :]:
            assert self._read(ends_at), f"{text!r} was never shown; seen:\n{self.text}"
        self._answered = self.text.index(text, self._answered) + len(text)

    def answer(self, question: str, line: str) -> None:
        """Wait for a question and type a line."""
        self.sees(question)
        os.write(self._master, line.encode() + b"\n")

    def answer_hidden(self, question: str, line: str) -> None:
        """Wait for a question that shows nothing of its answer, and type it: what is typed earlier is thrown away."""
        self.sees(question)
        ends_at = time.monotonic() + _PATIENCE_S
        while termios.tcgetattr(self._master)[3] & termios.ECHO:
            assert time.monotonic() < ends_at, f"{question!r} shows its answer"
            time.sleep(0.01)
        os.write(self._master, line.encode() + b"\n")

    def press(self, question: str, key: bytes) -> None:
        """Wait for a question and press a key such as Ctrl-C, again if need be, as a person does.

        A signal between Python's last look and its read from the terminal is seen only at the next key.
        """
        self.sees(question)
        # To its end, so that what is shown from now on is the answer to the key.
        if not self.text.endswith(": "):
            self.sees(": ")
        while True:
            os.write(self._master, key)
            ends_at = time.monotonic() + _AGAIN_S
            while self._read(ends_at):
                if self.text[self._answered :].replace("^C", "").strip():
                    return
            if time.monotonic() < ends_at:
                return

    def ends(self) -> int:
        """Read to the end and return the exit code."""
        ends_at = time.monotonic() + _PATIENCE_S
        while self._read(ends_at):
            pass
        return self._process.wait(_PATIENCE_S)

    def _read(self, ends_at: float) -> bool:
        """Read what comes; False at the end, or when the time is over."""
        ready = wait([self._master], max(0.0, ends_at - time.monotonic()))
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:
            data = b""
        self._raw += data.decode("utf-8", "replace")
        return bool(data)
