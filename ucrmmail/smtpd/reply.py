"""Replies to a client (RFC 5321 section 4.2), with the enhanced status codes of RFC 2034 and RFC 3463.

    250 2.1.5 ok
    553 5.1.3 'joe@' is not an address: behind @, a dot must stand between two names (write it as joe@example.com)

What came from the client, a file name or the system goes through ``escape``: nothing in it begins another reply.
"""

from __future__ import annotations

from ucrmmail.output.escape import visible

# With the line end (RFC 5321 section 4.5.3.1.5).
_LONGEST_LINE_BYTES = 512


class RefusedError(Exception):
    """A command is refused, with this reply."""

    def __init__(self, code: int, status: str, text: str) -> None:
        super().__init__(code, status, text)
        self.code = code
        self.status = status
        self.text = text


def encode_reply(code: int, status: str, *texts: str) -> bytes:
    """Return a reply as it goes on the wire, a line for each text.

    ``status`` is "" for the greeting, and for the replies to EHLO and DATA, which have none (RFC 2034 section 4).
    Characters outside ASCII are spelled out: not every client has said that it can read them.
    """
    lines = []
    for number, text in enumerate(texts, 1):
        start = f"{code}{' ' if number == len(texts) else '-'}{status}{' ' if status else ''}"
        line = (start + visible(text)).encode("ascii", "backslashreplace")
        room = _LONGEST_LINE_BYTES - 2
        lines.append(line if len(line) <= room else line[: room - 3] + b"...")
    return b"".join(line + b"\r\n" for line in lines)
