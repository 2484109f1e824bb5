"""A message's bytes on the wire: line ends are CRLF, a leading dot is doubled, and the end comes once (RFC 5321 4.5.2).

Whatever the input holds, the five bytes that end the DATA appear only where this module puts them. A lone CR or LF,
which some servers read as a line end, never leaves (SMTP smuggling, CVE-2023-51764).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

END = b".\r\n"


def stuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the message as it goes behind DATA, without the final dot, ending with CRLF.

    Canonical input, which is what the spool holds, costs three counts and one search a chunk.
    """
    at_line_start = True
    held = b""  # a CR at the end of a chunk: its LF may come with the next
    for chunk in chunks:
        data = held + chunk
        held = b""
        if data.endswith(b"\r"):
            data, held = data[:-1], b"\r"
        if not data:
            continue
        pairs = data.count(b"\r\n")
        if not pairs == data.count(b"\n") == data.count(b"\r"):
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        out = data.replace(b"\r\n.", b"\r\n..")
        yield b"." + out if at_line_start and out.startswith(b".") else out
        at_line_start = data.endswith(b"\r\n")
    if held or not at_line_start:
        yield b"\r\n"
