"""The dialogue with the server for a person to read: no secret is in it, and it is bounded."""

from __future__ import annotations

import base64

_MOST_LINES = 400
_LONGEST = 200
_REDACTED = "[redacted]"


class Transcript:
    """Collects the lines of a dialogue, ``C:`` ours and ``S:`` the server's.

    The login's own lines come redacted from the wire, and so do replies that repeat them. ``hide`` takes a secret out
    of everything else too, in clear and in base64.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._secrets: list[str] = []

    def hide(self, secret: str) -> None:
        """Take this text out of all that is recorded from now on."""
        if secret:
            encoded = base64.b64encode(secret.encode("utf-8", "surrogateescape")).decode()
            self._secrets += [secret, encoded, encoded.rstrip("=")]

    def sent(self, data: bytes) -> None:
        """Record what goes to the server."""
        for line in data.removesuffix(b"\r\n").split(b"\r\n"):
            self._add("C", line)

    def received(self, line: bytes) -> None:
        """Record a line from the server."""
        self._add("S", line)

    def _add(self, speaker: str, line: bytes) -> None:
        if len(self.lines) >= _MOST_LINES:
            self.lines[_MOST_LINES - 1 :] = ["... (the rest is not recorded)"]
            return
        text = line.decode("utf-8", "surrogateescape")
        for secret in self._secrets:
            text = text.replace(secret, _REDACTED)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}... ({len(text)} characters)"
        self.lines.append(f"{speaker}: {text}")
