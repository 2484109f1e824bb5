"""A second look at a server that is not as expected: what its port speaks, and which certificate it shows.

Each look is short, and no secret and no mail goes with it; all but one are connections of their own. None of them
decides anything: they only tell a person which setting is wrong.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ucrmmail.smtp.capabilities import InClear, parse_ehlo
from ucrmmail.smtp.connect import connect
from ucrmmail.smtp.trouble import RefusedError
from ucrmmail.smtp.wire import ConnectionLostError, HandshakeError, ProtocolError, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ucrmmail.clock import Clock
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.certificate import Certificate
    from ucrmmail.smtp.connect import Address
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.wire import Stopper

_LOOK_S = 10.0
# Who waits for our first words of TLS answers them at once. Whoever is silent again has had his time: a run that ends
# without mail must not take much longer than smtp.timeout says.
_TLS_LOOK_S = 1.5
_FAILURES = (RefusedError, ConnectionLostError, ProtocolError, HandshakeError)


class Look:
    """Looks at the smarthost, each time for ten seconds at the most, and for TLS much shorter. Raises StoppedError.

    ``addresses`` has the one that answered; while there is none, nothing is seen.
    """

    def __init__(self, smarthost: Smarthost, addresses: list[Address], *, clock: Clock, stop: Stopper | None) -> None:
        self._smarthost = smarthost
        self._addresses = addresses
        self._clock = clock
        self._stop = stop
        self._timeout_s = min(smarthost.timeout_s, _LOOK_S)

    def at_certificate(self) -> Certificate | None:
        """Return the certificate that was not trusted; None when it cannot be seen."""
        from ucrmmail.smtp.tls import seen_certificate, unverified_context  # noqa: PLC0415 # as in `wire`

        try:
            with self._connected() as wire:
                if self._smarthost.encryption == "starttls":
                    wire.read_reply(self._timeout_s)
                    self._ask(wire, self._hello(wire))
                    self._ask(wire, "STARTTLS")
                wire.start_tls(unverified_context(), self._smarthost.host, self._timeout_s)
                return seen_certificate(wire.socket)
        except _FAILURES:
            return None

    def in_clear(self) -> InClear | None:
        """Return what the server says in plain text, where TLS was expected; None when that is no SMTP either."""
        try:
            with self._connected() as wire:
                greeting = wire.read_reply(self._timeout_s)
                offered = parse_ehlo(self._ask(wire, self._hello(wire)))
                return InClear(str(greeting), offered.starttls)
        except _FAILURES:
            return None

    def for_tls(self, wire: Wire) -> bool:
        """Return whether a port that never greeted speaks TLS from the first byte; ``wire`` is for nothing else then.

        A server that is down gets no second connection for it.
        """
        from ucrmmail.smtp.tls import unverified_context  # noqa: PLC0415 # as in `wire`

        wire.allow(_TLS_LOOK_S)
        try:
            wire.start_tls(unverified_context(), self._smarthost.host, self._timeout_s)
        except _FAILURES:
            return False
        return True

    @contextmanager
    def _connected(self) -> Iterator[Wire]:
        deadline = self._clock.monotonic() + self._timeout_s
        found = connect(self._smarthost, self._addresses, clock=self._clock, stop=self._stop, deadline=deadline)
        wire = Wire(found.sock, clock=self._clock, stop=self._stop)
        try:
            wire.allow(deadline - self._clock.monotonic())
            yield wire
        finally:
            wire.close()

    def _hello(self, wire: Wire) -> str:
        return f"EHLO {self._smarthost.own_name(str(wire.socket.getsockname()[0]))}"

    def _ask(self, wire: Wire, command: str) -> Reply:
        wire.send(command.encode() + b"\r\n", self._timeout_s)
        return wire.read_reply(self._timeout_s)
