"""A server that takes recipients of one kind in a transaction: those that are like the first."""

from __future__ import annotations

from collections.abc import Callable


class LikeTheFirst:
    """``kind`` is what a RCPT command shows of its recipient; ``reply`` is for who is of another than the first."""

    def __init__(self, kind: Callable[[bytes], bytes], reply: str) -> None:
        self._kind = kind
        self._reply = reply
        self._first = b""

    def at_mail(self, _line: bytes) -> None:
        """Begin a transaction."""
        self._first = b""

    def at_rcpt(self, line: bytes) -> str | None:
        """Take the recipient, or refuse him."""
        kind = self._kind(line)
        self._first = self._first or kind
        return None if kind == self._first else self._reply
