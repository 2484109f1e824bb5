"""What a person has to read and is told once only, until it was written to where they read it: the file ``untold``.

    "1-20261123T110559.123456-k3x9qa to b@y failed: 550 5.1.1 No such user"      one JSON string a line

A failure that no report can tell, a file that was set aside, a damaged ledger: of these nobody learns but from the
output of a run. So each line is on the disk before its cause is forgotten, that is, marked as reported, or moved away.
The run whose output was written empties the file; behind one that was killed, or whose output was full or left, the
next one tells what it finds. To be told twice does no harm.

Those who add hold the flush lock, the processes of several connections at a time. Who empties it does not any more,
since a reader may be slow: the file has a lock of its own, for a moment.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.files import DistrustError, Naming, fsync_directory, open_untrusted, try_lock, write_all
from ucrmmail.jsontext import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "untold"
# Beyond this a line is only counted, and a person is told how many there are.
_MOST_BYTES = 1 << 18
_ONE_MORE = b"+\n"
_MOST_COUNTED = 100_000
_LONGEST_BYTES = _MOST_BYTES + len(_ONE_MORE) * _MOST_COUNTED
_SEE = "`ucrmmail queue list --state failed`, rejected/ and corrupt/ in the spool show what they were about"
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file holds: ``lines``, each once, and how many ``more`` were only counted; ``content`` is its bytes."""

    lines: tuple[str, ...] = ()
    more: int = 0
    content: bytes = b""


class Untold:
    """The file at ``path``; what no run has left there is removed, as if there was none."""

    def __init__(self, path: str) -> None:
        self.path = path

    def add(self, lines: Sequence[str]) -> int:
        """Keep these durably; return how many found no room and are only counted. Raises OSError."""
        fd = self._open()
        with Naming(self.path):
            try:
                try_lock(fd, wait=True)
                return self._append(fd, lines)
            finally:
                os.close(fd)

    def _open(self) -> int:
        try:
            os.close(open_untrusted(self.path, owner=os.geteuid()))
        except DistrustError:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        try:
            return os.open(self.path, _FLAGS)
        except FileNotFoundError:
            fd = os.open(self.path, _FLAGS | os.O_CREAT, 0o600)
            # What is synced into a file without a durable name is lost with it.
            fsync_directory(os.path.dirname(self.path))
            return fd

    def _append(self, fd: int, lines: Sequence[str]) -> int:
        size = os.fstat(fd).st_size
        # Behind half a line, of one who was killed, a new one begins.
        parts = [b"\n"] if size and os.pread(fd, 1, size - 1) != b"\n" else []
        end, counted = size, 0
        for line in lines:
            record = json.dumps(line).encode() + b"\n"
            # Once one was only counted, those behind it are too: they are told in their order.
            if counted or end + len(record) > _MOST_BYTES:
                counted += 1
                record = _ONE_MORE if end < _LONGEST_BYTES - len(_ONE_MORE) else b""
            end += len(record)
            parts.append(record)
        try:
            write_all(fd, b"".join(parts))
            if counted < len(lines):
                os.fdatasync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
        return counted

    def take_back(self, line: str) -> None:
        """Remove a line that was added last, since nothing has come of it; behind another it stays. Raises OSError."""
        # With what ends the line before it: a part of a longer one is not this one.
        record = b"\n" + json.dumps(line).encode() + b"\n"
        fd = self._open()
        with Naming(self.path):
            try:
                try_lock(fd, wait=True)
                size = os.fstat(fd).st_size
                if os.pread(fd, len(record), max(0, size - len(record))) in (record, record[1:]):
                    os.ftruncate(fd, size - len(record[1:]))
            finally:
                os.close(fd)

    def read(self) -> Kept:
        """Return what nobody was told of yet. What cannot be read, or was damaged, is one line more, and no error."""
        try:
            content = self._content()
        except FileNotFoundError:
            return Kept()
        except OSError as error:
            if isinstance(error, DistrustError) and _removed(self.path):
                return Kept((f"{error}, and was removed: it had kept lines for a person; {_SEE}",))
            return Kept(
                (f"{self.path} cannot be read ({error.strerror or error}): it keeps lines for a person; {_SEE}",)
            )
        lines: dict[str, None] = {}
        more = damaged = 0
        for record in content[:_LONGEST_BYTES].splitlines():
            if record + b"\n" == _ONE_MORE:
                more += 1
                continue
            try:
                line = read_json(record)
            except ValueError:
                line = None
            if isinstance(line, str):
                lines[line] = None
            else:
                damaged += bool(record)
        if damaged or len(content) > _LONGEST_BYTES:
            lines[f"{self.path} was damaged: lines for a person are lost; {_SEE}"] = None
        return Kept(tuple(lines), more, content)

    def _content(self) -> bytes:
        fd = open_untrusted(self.path, owner=os.geteuid())
        with Naming(self.path):
            try:
                return os.read(fd, _LONGEST_BYTES + 1)
            finally:
                os.close(fd)

    def forget(self, told: Kept) -> None:
        """Empty the file, unless a run beside us has added to it: that one tells all of it. Raises OSError."""
        if not told.content:
            return
        fd = self._open()
        with Naming(self.path):
            try:
                try_lock(fd, wait=True)
                if os.pread(fd, _LONGEST_BYTES + 1, 0) == told.content:
                    os.ftruncate(fd, 0)
            finally:
                os.close(fd)


def more_line(count: int) -> str:
    """Return the line for those that were only counted."""
    least = "at least " if count >= _MOST_COUNTED else ""
    return f"{least}{count} more lines found no room; {_SEE}"


def _removed(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True
