"""What a strict server reads from the bytes of a session: shares no code with the writer, and forgives nothing.

A reader of RFC 5321 section 2.3.8 and 4.5.2 as a state machine over bytes. It is told nothing but what came in, and
takes it that every command was answered with yes.
"""

from __future__ import annotations

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
    """Return the transactions of this session. Raises StrictError."""
    lines = _lines(wire)
    mails: list[Mail] = []
    at, state = 0, "idle"
    while at < len(lines):
        line = lines[at]
        at += 1
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
            end = next((n for n in range(at, len(lines)) if lines[n] == b"."), None)
            if end is None:
                raise StrictError("a message that never ends")
            mails[-1].content = _content(lines[at:end], eight_bit=b"BODY=8BITMIME" in mails[-1].parameters)
            at, state = end + 1, "idle"
        elif not (line.startswith(b"EHLO ") and not mails) and line not in {b"QUIT", b"RSET"}:
            raise StrictError(f"a command that is none, in state {state}: {line!r}")
    if state != "idle":
        raise StrictError(f"the session ends in the state {state}")
    return mails


def _lines(wire: bytes) -> list[bytes]:
    lines: list[bytes] = []
    line = bytearray()
    previous = 0
    for byte in wire:
        if previous == 13:
            if byte != 10:
                raise StrictError(f"a CR without LF behind {bytes(line)!r}")
            lines.append(bytes(line))
            line.clear()
        elif byte == 10:
            raise StrictError(f"an LF without CR behind {bytes(line)!r}")
        elif byte == 0:
            raise StrictError("a NUL")
        elif byte != 13:
            line.append(byte)
        previous = byte
    if line or previous == 13:
        raise StrictError("the last line does not end")
    return lines


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


def _content(lines: list[bytes], *, eight_bit: bool) -> bytes:
    for line in lines:
        if len(line) > 999:
            raise StrictError(f"a line of {len(line)} bytes")
        if not eight_bit and not line.isascii():
            raise StrictError(f"8-bit text without BODY=8BITMIME: {line!r}")
        if line.startswith(b".") and not line.startswith(b".."):
            raise StrictError(f"a dot that was not doubled: {line!r}")
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines)
