"""The dialogue with the server for a person to read: no secret is in it, and the message itself is cut short."""

from __future__ import annotations

_MOST_LINES = 400
_LONGEST = 200


class Transcript:
    """Collects the lines of a dialogue.

    Neither side of it holds a secret: the wire marks what goes out in a login, and takes echoes out of what comes back.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def sent(self, data: bytes) -> None:
        """Record what goes to the server."""
        for line in data.removesuffix(b"\r\n").split(b"\r\n"):
            self._add(f"C: {self._clean(line)}")

    def received(self, line: bytes) -> None:
        """Record a line from the server."""
        self._add(f"S: {self._clean(line)}")

    def _clean(self, line: bytes) -> str:
        text = line.decode("utf-8", "surrogateescape")
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"

    def _add(self, line: str) -> None:
        if len(self.lines) < _MOST_LINES:
            self.lines.append(line)
