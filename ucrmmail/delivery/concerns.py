"""What a run leaves to a person: lines that cron mails, and the exit code that they ask for.

What the next run would not tell again is kept on the disk until it was written to where a person reads it: `untold`.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.delivery.untold import Kept, Untold


@dataclass(slots=True)
class Concerns:
    """Gathered while a run goes on. ``exit_code`` is 0 while a line is all that is owed, else that of the first.

    Without ``untold`` nothing is kept. ``kept`` are the lines for which it was asked to, ``counted`` how many of them
    found no room in it. ``hourly`` are the lines that a person is not told again within the hour.
    """

    lines: list[str] = field(default_factory=list)
    exit_code: int = 0
    untold: Untold | None = None
    kept: set[str] = field(default_factory=set)
    counted: int = 0
    hourly: list[str] = field(default_factory=list)

    def add(self, *lines: str, exit_code: int = 0) -> None:
        """Leave these to a person; who meets the same again tells it again."""
        self.lines += lines
        self.exit_code = self.exit_code or exit_code

    def add_hourly(self, *lines: str, exit_code: int) -> None:
        """Leave to a person what each run meets again until it is mended: see `hourly`."""
        if lines:
            self.add(*lines, exit_code=exit_code)
            self.hourly += lines

    def add_once(self, *lines: str, exit_code: int = 0) -> bool:
        """Leave to a person what no run tells again; return whether it is sure to be told, whatever ends this one."""
        self.add(*lines, exit_code=exit_code)
        return self.keep(*lines)

    def keep(self, *lines: str) -> bool:
        """Keep lines on the disk that are added here later, before their cause is forgotten; False when it refuses."""
        new = [line for line in lines if line not in self.kept]
        if self.untold is None or not new:
            return True
        try:
            self.counted += self.untold.add(new)
        except OSError:
            return False
        self.kept.update(new)
        return True

    @contextmanager
    def telling(self, line: str) -> Iterator[None]:
        """Keep a line before what it tells of is done; when that fails, it is not told."""
        new = line not in self.kept
        self.keep(line)
        try:
            yield
        except OSError:
            if new:
                self._take_back(line)
            raise

    def _take_back(self, line: str) -> None:
        self.kept.discard(line)
        if self.untold is not None:
            with suppress(OSError):  # a line too many does no harm
                self.untold.take_back(line)

    def take_over(self, other: Concerns) -> None:
        """Add what another process of the run leaves; what two of them met is told once."""
        known = set(self.lines)
        self.add(*[line for line in other.lines if line not in known], exit_code=other.exit_code)
        self.counted += other.counted
        self.hourly += [line for line in other.hourly if line not in known]

    def recall(self) -> Kept | None:
        """Put first what is kept of earlier runs, and of processes of this one that died, and return what it was."""
        if self.untold is None:
            return None
        from ucrmmail.delivery.untold import more_line  # noqa: PLC0415 # who has nothing to tell needs none of it

        kept = self.untold.read()
        if not kept.content:
            # What cannot be read is not emptied either: each run finds it again.
            self.hourly += kept.lines
        more = [more_line(kept.more - self.counted)] if kept.more > self.counted else []
        self.lines = list(dict.fromkeys([*kept.lines, *more, *self.lines]))
        return kept
