"""An open session with the smarthost, logged in: what was learnt of it, and how it ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.instep import InStep
from ucrmmail.smtp.wire import ConnectionLostError, ProtocolError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from ucrmmail.message.outcome import Trouble
    from ucrmmail.smtp.capabilities import Capabilities
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.stages import Stages
    from ucrmmail.smtp.wire import Wire

_QUIT_TIMEOUT_S = 2.0
# RFC 5321 section 4.5.3.1.8: a server takes a hundred recipients at the least; more go until it objects.
_MOST_RECIPIENTS = 1000


class Session:
    """An open session, logged in. ``transactions_left`` is how many more the server allows on it.

    ``most_recipients`` are those of one transaction; ``had_too_many``: there were more in one, by their number;
    ``counts_recipients``: it may take only so many on a connection. ``looks_ahead``: the next envelope goes along with
    the end of a message, and one that ``went_along`` was answered. ``answered_in_s`` is how long the answer to EHLO
    took; ``slow_at_mail``: one to MAIL took longer than one that goes along is awaited for.

    ``settled``: a message was dealt with on it, whatever became of that; ``relayed``: the server has taken one;
    ``alike``: so many were refused since as others were; ``refused``: it has refused one, or a recipient; ``denied`` is
    a refusal to relay that a login may mend. ``knows_chunks``: it has taken a chunk (RFC 3030), and ``in_step`` is what
    tells its answers to those; ``doubts_chunks``: the answer to the first one may have been another's.

    ``reset_due``: it still has an envelope that nothing came of, which RSET must end before the next one, however much
    later (RFC 5321 section 4.1.4: no MAIL in a transaction). ``broken``: it opened DATA for a message that it had
    refused, where a dot would deliver an empty one, or is about to close; nothing more goes on it. ``used_up``: it
    takes only so much on a connection.
    """

    def __init__(self, wire: Wire, smarthost: Smarthost, capabilities: Capabilities, stages: Stages) -> None:
        self.wire = wire
        self.smarthost = smarthost
        self.capabilities = capabilities
        self.stages = stages
        self.pipelining = capabilities.pipelining and smarthost.pipelining
        self.chunking = capabilities.chunking and smarthost.chunking
        self.most_recipients = capabilities.most_recipients or _MOST_RECIPIENTS
        self.transactions_left: float = capabilities.most_transactions or math.inf
        self.answered_in_s = 0.0
        self.had_too_many = False
        self.counts_recipients = True
        self.looks_ahead = True
        self.went_along = False
        self.slow_at_mail = False
        self.settled = False
        self.relayed = False
        self.alike = 0
        self.refused = False
        self.denied: Trouble | None = None
        self.knows_chunks = False
        self.doubts_chunks = False
        self.in_step = InStep()
        self.reset_due = False
        self.broken = False
        self.used_up = False

    def do_without(self, extensions: Collection[str]) -> None:
        """Use none of these extensions, whatever the server offers: PIPELINING, CHUNKING."""
        self.pipelining = self.pipelining and "PIPELINING" not in extensions
        self.chunking = self.chunking and "CHUNKING" not in extensions

    def is_alive(self) -> bool:
        """Return whether the server has neither closed the connection nor said good-bye."""
        return not self.wire.has_spoken()

    def quit(self) -> None:
        """Say QUIT and close. What was accepted is accepted, so nothing that goes wrong here matters."""
        try:
            self.wire.allow(2 * _QUIT_TIMEOUT_S)
            self.wire.send(b"QUIT\r\n", _QUIT_TIMEOUT_S)
            reply = self.wire.read_reply(_QUIT_TIMEOUT_S)
            self.stages.over(Stage.QUIT, reply.text, reply=reply)
        except (ConnectionLostError, ProtocolError, StoppedError):
            pass
        finally:
            self.wire.close()

    def close(self) -> None:
        """Close the connection without a word."""
        self.wire.close()
