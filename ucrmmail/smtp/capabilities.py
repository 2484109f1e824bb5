"""What a server offers in its EHLO reply (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions offered; ``size_bytes`` 0 is no stated limit, ``mechanisms`` are in upper case."""

    name: str = ""
    keywords: tuple[str, ...] = ()
    mechanisms: tuple[str, ...] = ()
    size_bytes: int = 0
    most_recipients: int = 0
    pipelining: bool = False
    eight_bit: bool = False
    utf8: bool = False
    size: bool = False
    starttls: bool = False


def parse_ehlo(reply: Reply) -> Capabilities:
    """Return what an EHLO reply offers; an HELO reply offers nothing.

        250-mx.example.net
        250-SIZE 35882577
        250 AUTH PLAIN LOGIN

    Keywords compare without regard to case. The old form ``AUTH=LOGIN`` counts as AUTH; RFC 9422 gives LIMITS.
    """
    found: dict[str, list[str]] = {}
    for line in reply.lines[1:]:
        words = line.upper().replace("AUTH=", "AUTH ").split()
        if words:
            found.setdefault(words[0], []).extend(words[1:])
    limits = dict(word.split("=", 1) for word in found.get("LIMITS", ()) if "=" in word)
    return Capabilities(
        name=(reply.lines[0] if reply.lines else "").partition(" ")[0],
        keywords=tuple(reply.lines[1:]),
        mechanisms=tuple(dict.fromkeys(found.get("AUTH", ()))),
        size_bytes=_number(next(iter(found.get("SIZE", ())), "")),
        most_recipients=_number(limits.get("RCPTMAX", "")),
        pipelining="PIPELINING" in found,
        eight_bit="8BITMIME" in found,
        utf8="SMTPUTF8" in found,
        size="SIZE" in found,
        starttls="STARTTLS" in found,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
