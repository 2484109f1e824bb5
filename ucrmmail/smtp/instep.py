"""Whether a reply answers what was asked last, where no code shows it.

A server that has said one thing too many is a reply behind from then on, and each answer is the one to the question
before. DATA shows that, since nothing else is answered with 354. A chunk (RFC 3030) is answered with 250, as MAIL and
RCPT are: there the words have to tell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply

# RFC 3463: the address of the sender, and of the recipient, is valid.
_OF_THE_ENVELOPE = frozenset({".1.0", ".1.5"})
# What servers say to a chunk: how long it was, or one of these.
_OF_A_CHUNK = re.compile(r"\b(?:chunk|bdat|bytes?|octets?|continue)\b")
# What is about an address, or a mailbox: a recipient's answer, most likely.
_OF_A_RECIPIENT = frozenset({"", ".1", ".2"})
# Addresses, and what counts or names a message.
_VARIES = re.compile(r"<[^>]*>|\S*@\S*|\S*[0-9]\S*")
_MOST_WORDS = 16


class InStep:
    """What a session has heard in answer to MAIL and RCPT, and whether chunks are answered in other words.

    ``tells_apart`` is not known before the last chunk of a message was answered: SubEthaSMTP has words of their own for
    the others alone.
    """

    def __init__(self) -> None:
        self._words: set[str] = set()
        self._codes: set[str] = set()
        self.tells_apart = False

    def hear(self, reply: Reply) -> None:
        """Take in what MAIL or RCPT was answered with."""
        if len(self._words) < _MOST_WORDS:
            self._words.add(_wording(reply))
            self._codes.add(reply.enhanced)

    def is_of_chunk(self, reply: Reply, size_bytes: int) -> bool:
        """Return whether this is certainly what the server says to a chunk of this size.

        If it has said one thing too many since it greeted us, what was heard so far is not all that it says to MAIL and
        RCPT: other words alone show nothing.
        """
        text = reply.text.lower()
        if _OF_A_CHUNK.search(text) or str(size_bytes) in re.findall(r"[0-9]+", text):
            return True
        return bool(reply.enhanced) and reply.enhanced[1:3] != ".1" and reply.enhanced not in self._codes

    def is_of_envelope(self, reply: Reply) -> bool:
        """Return whether this is what the server says to MAIL or RCPT."""
        return reply.enhanced[1:] in _OF_THE_ENVELOPE or _wording(reply) in self._words


def may_be_of_recipient(reply: Reply) -> bool:
    """Return whether a refusal of the content may be that of a recipient instead."""
    return reply.enhanced[1:3] in _OF_A_RECIPIENT


def _wording(reply: Reply) -> str:
    return " ".join((reply.enhanced, *_VARIES.sub("#", reply.text.lower()).split()))
