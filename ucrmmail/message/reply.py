"""What a server answered (RFC 5321 section 4.2)."""

from __future__ import annotations

from ucrmmail.dataclass import dataclass

LAST_ANSWER = "the last answer was: "
"""Stands between our own words, that a recipient was given up, and the reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: ``code``, ``enhanced`` status (RFC 3463, "" when absent) and the text of its lines, undecorated.

        550-5.7.26 This mail has been blocked
        550 5.7.26 because the sender is unauthenticated

    is ``Reply(550, "5.7.26", ("This mail has been blocked", "because the sender is unauthenticated"))``.
    The text is foreign: bytes outside ASCII are kept as surrogate escapes until ``output.escape``.
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines, joined by spaces."""
        return " ".join(self.lines)

    @property
    def positive(self) -> bool:
        """Whether the server accepted (2yz) or asks for more (3yz)."""
        return 200 <= self.code < 400

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


def read_told(told: str) -> Reply | None:
    """Return the reply that was kept as text by ``str(reply)``, None when it is our own words."""
    code, _, text = told.partition(" ")
    if len(code) != 3 or not (code.isascii() and code.isdigit()):
        return None
    status, _, rest = text.partition(" ")
    numbers = status.split(".")
    if len(numbers) == 3 and all(number.isascii() and number.isdigit() for number in numbers):
        return Reply(int(code), status, (rest,))
    return Reply(int(code), "", (text,))
