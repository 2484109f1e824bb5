"""The delivery log: a line for each recipient of each attempt, as a postmaster expects to grep it.

    2026-11-23T11:05:59.123Z 1-20261123T110559.123456-k3x9qa from=<a@x> to=<b@y> relayed final-dot "250 2.0.0 Ok"

A refusal that is known, or whose status code is, has ``why="..." remedy="..."`` behind it. Foreign text is escaped, so
that no reply can forge a line. Lines are gathered and written together with the queue's own batches. A log that cannot
be opened, or not be written any more, stops no mail: what became of a message stands in the queue's journal, which has
its room. How many lines are missing is told at the end of the run.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ucrmmail.clock import rfc3339
from ucrmmail.files import DistrustError, Naming, write_all
from ucrmmail.message.explain import for_administrator_told
from ucrmmail.message.outcome import Result

if TYPE_CHECKING:
    from ucrmmail.message.outcome import Outcome

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def log_line(at: float, queue_id: str, reverse_path: str, outcome: Outcome) -> str:
    """Return the line for one outcome, without its line end."""
    doubt = " may-be-delivered-twice" if outcome.uncertain else ""
    text = (
        f"{rfc3339(at)} {queue_id} from=<{reverse_path}> to=<{outcome.recipient}> "
        f'{outcome.result.value} {outcome.stage.value}{doubt} "{outcome.reply}"'
    )
    if outcome.result is not Result.RELAYED:
        why, remedy = for_administrator_told(outcome.stage.value, outcome.reply, outcome.enhanced)
        text += (f' why="{why}"' if why else "") + (f' remedy="{remedy}"' if remedy else "")
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_BYTES).encode("ascii", "backslashreplace").decode()


# Controls, and the surrogates that stand for bytes which are not UTF-8.
_BYTES = {code: f"\\x{code & 0xFF:02x}" for code in [*range(0x20), 0x7F, *range(0xDC80, 0xDD00)]}


def open_log(path: str) -> DeliveryLog:
    """Return the log at ``path``; if it cannot be opened, one of which every line is missing, and which says why."""
    try:
        return DeliveryLog(path)
    except OSError as error:
        return DeliveryLog(path, trouble=error)


def _open(path: str) -> int:
    try:
        fd = os.open(path, _FLAGS, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(path, _FLAGS, 0o600)
    with Naming(path):
        found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise DistrustError(f"{path} is not a regular file")
    return fd


class DeliveryLog:
    """Appends to the log file at ``path``. A rotated file (moved by logrotate) is noticed at the next run."""

    def __init__(self, path: str, *, trouble: OSError | None = None) -> None:
        """Open the log, making it (0600) and its directory (0700) when missing; with a ``trouble``, nothing is opened.

        Raises OSError, DistrustError when it is not a regular file.
        """
        self._fd = _open(path) if trouble is None else -1
        self._lines: list[str] = []
        self._path = path
        self._torn = False
        self.trouble = trouble
        self.missing = 0

    def add(self, at: float, queue_id: str, reverse_path: str, outcome: Outcome) -> None:
        """Keep a line for the next ``write``."""
        self._lines.append(log_line(at, queue_id, reverse_path, outcome))

    def write(self) -> None:
        """Write what was gathered, in one append; what cannot be written is ``missing``, and ``trouble`` says why."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        # Behind half a line a new one begins.
        text = ("\n" if self._torn else "") + "\n".join(lines) + "\n"
        try:
            write_all(self._fd, text.encode())
            self._torn = False
        except OSError as error:
            self._torn = True
            self.trouble = self.trouble or error
            self.missing += len(lines)

    @property
    def complaint(self) -> str:
        """What a person has to be told of lines that are missing; "" when none are."""
        if self.trouble is None or not self.missing:
            return ""
        # One that is not trusted names itself.
        why = f"{self._path}: {self.trouble.strerror}" if self.trouble.strerror else str(self.trouble)
        return f"{why}: {self.missing} lines of the delivery log could not be written"

    def close(self) -> None:
        """Write the rest and close the file. Raises OSError."""
        self.write()
        if self._fd >= 0:
            with Naming(self._path):
                os.close(self._fd)
