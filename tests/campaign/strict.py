"""What a strict server reads from the bytes of a session: shares no code with the writer, and forgives nothing.

A reader of RFC 5321 section 2.3.8 and 4.5.2, and of RFC 3030, as a state machine over bytes. It is told nothing but what came in, and
takes it that every command was answered with yes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


class StrictError(AssertionError):
    """Something on the wire that a strict server would refuse, or two servers could read in two ways."""


@dataclass
class Mail:
    """One transaction as it was read."""

    reverse_path: bytes
    parameters: list[bytes]
    recipients: list[bytes] = field(default_factory=list)
    content: bytes = b""


def read(wire: bytes) -> list[Mail]:
    """Return the transactions of this session, by DATA or in counted chunks (RFC 3030). Raises StrictError."""
    source = _Source(wire)
    mails: list[Mail] = []
    state = "idle"
    while not source.at_end:
        line = source.line()
        if line.startswith(b"MAIL FROM:<") and state == "idle":
            path, rest = _path(line[10:])
            mails.append(Mail(path, rest.split()))
            state = "mail"
        elif line.startswith(b"RCPT TO:<") and state in {"mail", "rcpt"}:
            path, rest = _path(line[8:])
            if rest or not path:
                raise StrictError(f"a recipient with something behind it: {line!r}")
            mails[-1].recipients.append(path)
            state = "rcpt"
        elif line == b"DATA" and state == "rcpt":
            lines = []
            while (line := source.line()) != b".":
                if line.startswith(b".") and not line.startswith(b".."):
                    raise StrictError(f"a dot that was not doubled: {line!r}")
                lines.append(line.removeprefix(b"."))
            mails[-1].content = _checked(lines, mails[-1])
            state = "idle"
        elif (chunk := re.fullmatch(rb"BDAT (0|[1-9][0-9]*)( LAST)?", line)) and state in {"rcpt", "chunk"}:
            mails[-1].content += source.counted(int(chunk[1]))
            state = "chunk"
            if chunk[2]:
                content = _Source(mails[-1].content)
                lines = []
                while not content.at_end:
                    lines.append(content.line())
                _checked(lines, mails[-1])
                state = "idle"
        elif not (line.startswith(b"EHLO ") and not mails) and line not in {b"QUIT", b"RSET"}:
            raise StrictError(f"a command that is none, in state {state}: {line!r}")
    if state != "idle":
        raise StrictError(f"the session ends in the state {state}")
    return mails


class _Source:
    """Bytes that are read once, by lines or by number."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)

    def line(self) -> bytes:
        line = bytearray()
        previous = 0
        while not self.at_end:
            byte = self._data[self._at]
            self._at += 1
            if previous == 13:
                if byte != 10:
                    raise StrictError(f"a CR without LF behind {bytes(line)!r}")
                return bytes(line)
            if byte == 10:
                raise StrictError(f"an LF without CR behind {bytes(line)!r}")
            if byte == 0:
                raise StrictError("a NUL")
            if byte != 13:
                line.append(byte)
            previous = byte
        raise StrictError("the last line does not end")

    def counted(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise StrictError(f"a chunk of {len(piece)} bytes that said {count}")
        self._at += count
        return piece


def _path(text: bytes) -> tuple[bytes, bytes]:
    """Read ``<path>`` and return it with what comes behind: within quotes a > is a character like any other."""
    quoted = escaped = False
    for at, byte in enumerate(text):
        if at == 0:
            continue
        if byte < 32 or byte == 127:
            raise StrictError(f"a control character in an address: {text!r}")
        if escaped:
            escaped = False
        elif byte == 0x5C and quoted:
            escaped = True
        elif byte == 0x22:
            quoted = not quoted
        elif byte == 0x3E and not quoted:
            rest = text[at + 1 :]
            if rest and not rest.startswith(b" "):
                raise StrictError(f"something sticks to an address: {text!r}")
            return text[1:at], rest
        elif byte in b" <" and not quoted:
            raise StrictError(f"an address that is none: {text!r}")
    raise StrictError(f"an address that does not end: {text!r}")


def _checked(lines: list[bytes], mail: Mail) -> bytes:
    for line in lines:
        if len(line) > 998:
            raise StrictError(f"a line of {len(line)} bytes")
        if b"BODY=8BITMIME" not in mail.parameters and not line.isascii():
            raise StrictError(f"8-bit text without BODY=8BITMIME: {line!r}")
    return b"".join(line + b"\r\n" for line in lines)
