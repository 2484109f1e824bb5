"""Line ends of a message that comes in pieces: CRLF in all of it, wherever the pieces begin and end.

Used by what is sent and, for a large message, by what is taken in.
"""

from __future__ import annotations

from io import IncrementalNewlineDecoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def canonical(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the message with all its line ends CRLF, the last one included; no piece ends between a CR and its LF.

    Canonical input, which is what the spool holds, is looked through once and goes on as it is.
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
        if not _is_canonical(data):
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        yield data
        at_line_start = data.endswith(b"\r\n")
    if held or not at_line_start:
        yield b"\r\n"


def _is_canonical(data: bytes) -> bool:
    """Return whether no line end in this is a lone CR or LF."""
    # In a third of the time that it takes to count them.
    seen = IncrementalNewlineDecoder(None, translate=False)
    seen.decode(data.decode("latin-1"), final=True)
    return seen.newlines in (None, "\r\n")
