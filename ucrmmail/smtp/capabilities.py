"""What a server offers in its EHLO reply (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply

# STARTTLS has eight letters, and the first seven are replaced.
_CROSSED_OUT = re.compile(r"X{7,}[A-Z]?|\*{7,}")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions offered; ``mechanisms`` are in upper case, a number is 0 where the server states no limit.

    ``most_recipients`` are those of one transaction, ``most_transactions`` those of one session (RFC 9422).
    """

    name: str = ""
    keywords: tuple[str, ...] = ()
    mechanisms: tuple[str, ...] = ()
    size: bool = False
    size_bytes: int = 0
    most_recipients: int = 0
    most_transactions: int = 0
    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    utf8: bool = False
    starttls: bool = False

    @property
    def is_rewritten(self) -> bool:
        """Whether a firewall has crossed out what it does not know, as Cisco's ``inspect esmtp`` does.

        250-mail.example.net
        250-SIZE 35882577
        250 XXXXXXXA
        """
        words = (keyword.partition(" ")[0] for keyword in self.keywords)
        return any(_CROSSED_OUT.fullmatch(word) for word in words)


@dataclass(frozen=True, slots=True)
class InClear:
    """What a server says to a client that speaks plain text: its ``greeting``, and whether it offers STARTTLS."""

    greeting: str
    starttls: bool


def parse_ehlo(reply: Reply) -> Capabilities:
    """Return what an EHLO reply offers.

        250-mx.example.net
        250-SIZE 35882577
        250-LIMITS RCPTMAX=100 MAILMAX=50
        250 AUTH PLAIN LOGIN

    Keywords compare without regard to case. The old form ``AUTH=LOGIN`` counts as AUTH.
    """
    found: dict[str, list[str]] = {}
    for line in reply.lines[1:]:
        keyword, *words = line.upper().split() or [""]
        if keyword.startswith("AUTH="):
            keyword, words = "AUTH", [keyword.removeprefix("AUTH="), *words]
        found.setdefault(keyword, []).extend(words)
    limits = dict(word.split("=", 1) for word in found.get("LIMITS", ()) if "=" in word)
    return Capabilities(
        name=(reply.lines[0] if reply.lines else "").partition(" ")[0],
        keywords=tuple(reply.lines[1:]),
        mechanisms=tuple(dict.fromkeys(word for word in found.get("AUTH", ()) if word)),
        size="SIZE" in found,
        size_bytes=_number("".join(found.get("SIZE", ())[:1])),
        most_recipients=_number(limits.get("RCPTMAX", "")),
        most_transactions=_number(limits.get("MAILMAX", "")),
        pipelining="PIPELINING" in found,
        chunking="CHUNKING" in found,
        eight_bit="8BITMIME" in found,
        utf8="SMTPUTF8" in found,
        starttls="STARTTLS" in found,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
