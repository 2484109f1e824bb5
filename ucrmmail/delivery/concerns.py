"""What a run leaves to a person: lines that cron mails, and the exit code that they ask for."""

from __future__ import annotations

from ucrmmail.dataclass import dataclass, field


@dataclass(slots=True)
class Concerns:
    """Gathered while a run goes on. ``exit_code`` is 0 while a line is all that is owed, else that of the first."""

    lines: list[str] = field(default_factory=list)
    exit_code: int = 0

    def add(self, *lines: str, exit_code: int = 0) -> None:
        """Leave these to a person."""
        self.lines += lines
        self.exit_code = self.exit_code or exit_code

    def take_over(self, other: Concerns) -> None:
        """Add what another process of the run leaves; what two of them met is told once."""
        known = set(self.lines)
        self.add(*[line for line in other.lines if line not in known], exit_code=other.exit_code)
