"""The dialogue with the server for a person to read: no secret is in it, and the message itself is cut short."""

from __future__ import annotations

import base64

_MOST_LINES = 400
_LONGEST = 200
_REDACTED = "[redacted]"


class Transcript:
    """Collects the lines of a dialogue.

    What goes to the server in a login is never recorded (the wire marks it). ``hide`` adds a secret that a server might
    echo: it is taken out in clear and in base64.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._secrets: list[str] = []

    def hide(self, secret: str) -> None:
        """Take this text out of all that is recorded from now on."""
        if secret:
            raw = secret.encode("utf-8", "surrogateescape")
            encoded = base64.b64encode(raw).decode()
            self._secrets += [secret, encoded, encoded.rstrip("=")]

    def sent(self, data: bytes) -> None:
        """Record what goes to the server."""
        for line in data.removesuffix(b"\r\n").split(b"\r\n"):
            self._add(f"C: {self._clean(line)}")

    def received(self, line: bytes) -> None:
        """Record a line from the server."""
        self._add(f"S: {self._clean(line)}")

    def _clean(self, line: bytes) -> str:
        text = line.decode("utf-8", "surrogateescape")
        for secret in self._secrets:
            text = text.replace(secret, _REDACTED)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"

    def _add(self, line: str) -> None:
        if len(self.lines) < _MOST_LINES:
            self.lines.append(line)
