"""The opening of a session with the smarthost: resolve, connect, greeting, EHLO, TLS, login; then transactions can go.

Nothing learnt before TLS survives it, and there is no way from TLS back to plain text. Every failure here is the
account's: no message is to blame.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, cast

from ucrmmail.dataclass import replace
from ucrmmail.message.outcome import Stage, Trouble
from ucrmmail.message.quotas import is_of_concurrency
from ucrmmail.smtp.auth import Credentials, choose_mechanism, log_in
from ucrmmail.smtp.capabilities import Capabilities, parse_ehlo
from ucrmmail.smtp.connect import connect, resolve
from ucrmmail.smtp.look import Look
from ucrmmail.smtp.session import Session
from ucrmmail.smtp.stages import Stages, facts_of_certificate, facts_of_ehlo, facts_of_tls, told_end, told_tls
from ucrmmail.smtp.trouble import RefusedError, account_trouble, classify
from ucrmmail.smtp.wire import (
    ConnectionLostError,
    HandshakeError,
    NoAnswerError,
    ProtocolError,
    Wire,
    first_to_speak,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from ucrmmail.clock import Clock
    from ucrmmail.message.reply import Reply
    from ucrmmail.smtp.certificate import Certificate
    from ucrmmail.smtp.connect import Address
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.stages import Watcher
    from ucrmmail.smtp.wire import Observer, Stopper

# Up to here an address has shown nothing of the account: another one may be better.
_OF_THE_ADDRESS = frozenset({Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.TLS})
# Every command of the opening has its own time; all behind the greeting have this many times as much together.
_OPENING_TIMES = 3
# "Dovecot ready.", "Dovecot (Debian) ready.": its submission service (2.3) may crash at an envelope that goes along
# with the end of a message. It has relayed that by then, so that it is sent twice before the crash tells as much.
_CRASHES_AT_MORE = "dovecot"
# A server that waits for us to begin TLS is silent for longer than this before it hangs up.
_SILENCE_S = 1.0


class SessionError(Exception):
    """No session could be opened; ``trouble`` is of the account."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.what)
        self.trouble = trouble


def open_session(
    smarthost: Smarthost,
    *,
    secret: Callable[[], str],
    after_refusal: Callable[[], str] = str,
    clock: Clock,
    within_s: float = math.inf,
    stop: Stopper | None = None,
    observer: Observer | None = None,
    watcher: Watcher | None = None,
    silent: set[Address] | None = None,
) -> Session:
    """Return a session that is ready for transactions.

    Of several addresses the next one is asked where one is not reached, or lets nobody in. ``silent`` are those where
    that was so before: they are asked behind the others, and those that are met now are added.

    ``secret()`` is called only when the server has said that it takes a login; ``after_refusal()`` when it refused a
    token, and returns another one to try once, or "". ``within_s`` is how much time the caller has; the opening ends
    one command's time behind it at the latest. Raises SessionError with the trouble, StoppedError when the run
    was asked to end; errors of the two functions pass through.
    """
    stages = Stages(watcher, clock)
    credentials = Credentials(secret, after_refusal)
    opening = _Opening(
        smarthost, credentials, clock,
        within_s=within_s, stop=stop, observer=observer, stages=stages, silent=silent if silent is not None else set(),
    )  # fmt: skip
    try:
        return opening.open()
    except (RefusedError, ConnectionLostError, ProtocolError, HandshakeError) as error:
        trouble = opening.told_of_all(error)
        stages.failed(trouble, opening.facts)
        raise SessionError(trouble) from error


class _Asked(NamedTuple):
    """A connection to one of the addresses, made at that time of the monotonic clock, whose first words are awaited."""

    wire: Wire
    address: Address
    at: float


class _Opening:
    def __init__(
        self,
        smarthost: Smarthost,
        credentials: Credentials,
        clock: Clock,
        *,
        within_s: float,
        stop: Stopper | None,
        observer: Observer | None,
        stages: Stages,
        silent: set[Address],
    ) -> None:
        self._smarthost = smarthost
        self._timeout_s = smarthost.timeout_s
        self._credentials = credentials
        self._clock = clock
        self._ends_at = clock.monotonic() + max(within_s, 0.0) + smarthost.timeout_s
        self._stop = stop
        self._observer = observer
        self._stages = stages
        self._connected_at = math.inf
        self._stage = Stage.RESOLVE
        self._silent = silent
        self._connects_until = 0.0
        self._answered_in_s = 0.0
        self._looks_ahead = True
        self._problems: tuple[str, ...] = ()
        self._tried: tuple[str, ...] = ()
        self._answered: list[Address] = []
        self._look = Look(smarthost, self._answered, clock=clock, stop=stop)
        self._certificate: Certificate | None = None
        self._is_for_tls = False
        self._has_several = False

    @property
    def facts(self) -> dict[str, object]:
        """What was seen of the certificate that is not trusted."""
        return facts_of_certificate(self._certificate, self._clock.now())

    def open(self) -> Session:
        # A file that cannot be used is found before anything is sent.
        context = self._context()
        addresses = self._resolved()
        waiting: list[_Asked] = []
        try:
            while True:
                asked, addresses = self._first_to_speak(waiting, addresses, context)
                try:
                    # Those that are silent have had their time.
                    session = self._introduced(asked.wire, context, others=len(addresses))
                except (RefusedError, ConnectionLostError, ProtocolError) as error:
                    try:
                        if isinstance(error, NoAnswerError) and not (addresses or waiting):
                            self._look_for_tls(asked.wire)
                    finally:
                        asked.wire.close()
                    if not self._shows_the_address(error):
                        raise
                    self._go_on_from(asked.address, self._told(error))
                    if not (addresses or waiting):
                        raise
                except BaseException:
                    asked.wire.close()
                    raise
                else:
                    self._silent.discard(asked.address)
                    return session
        finally:
            for asked in waiting:
                asked.wire.close()

    def _first_to_speak(
        self, waiting: list[_Asked], addresses: Sequence[Address], context: ssl.SSLContext | None
    ) -> tuple[_Asked, Sequence[Address]]:
        """Return the connection on which the server speaks first, taken out of ``waiting``, and the addresses left.

        While there are others, the next address is asked beside those that are silent so far: some look up who we are
        before they greet, and need half a minute for it where nobody answers them.
        """
        while True:
            if addresses or not waiting:
                try:
                    wire, addresses = self._connected(addresses)
                except RefusedError as error:
                    if not waiting:
                        raise
                    addresses = ()
                    self._tried = (*self._tried, error.trouble.what)
                else:
                    asked = _Asked(wire, self._answered[0], self._connected_at)
                    if not (addresses or waiting):
                        return asked, addresses
                    waiting.append(asked)
                    if context is not None and self._smarthost.encryption == "tls":
                        wire.begin_tls(context, self._smarthost.host)
            self._stage = Stage.TLS if self._smarthost.encryption == "tls" else Stage.GREETING
            wires = [asked.wire for asked in waiting]
            # Where it is the last one, it has its own time at this stage, and no more.
            patience_s = min(self._patience_s(len(addresses)), self._smarthost.patience_s(self._stage))
            speaker = first_to_speak(wires, patience_s)
            if speaker is not None:
                asked = waiting.pop(wires.index(speaker))
                self._answered[:], self._connected_at = [asked.address], asked.at
                return asked, addresses
            self._go_on_from(waiting[-1].address, f"the server did not answer in time (at {self._stage.value})")
            if not addresses:
                self._look_for_tls(waiting[-1].wire)
                raise NoAnswerError("the server did not answer in time")

    def _go_on_from(self, address: Address, told: str) -> None:
        """Let another address have its turn, and this one come behind the others from now on."""
        self._silent.add(address)
        self._connects_until = min(self._clock.monotonic() + self._timeout_s, self._ends_at)
        self._tried = (*self._tried, f"{address.text}: {told}")
        self._problems = (*self._problems, self._tried[-1])

    def _shows_the_address(self, error: Exception) -> bool:
        """Return whether another address of the server may let us in: this one said no, or broke off, before a login.

        What it offers, and whose certificate it shows, is another matter.
        """
        if isinstance(error, RefusedError):
            reply = error.trouble.reply
            if reply is None:
                return False
            if self._tried and (error.trouble.quota or is_of_concurrency(reply)):
                # All of them count us, and each time. Only a host that has too many of everybody's says the same, as
                # Exim does for smtp_accept_max: one other address shows it.
                return False
        return self._stage in _OF_THE_ADDRESS

    def _told(self, error: Exception) -> str:
        if isinstance(error, RefusedError):
            return f"it said {error.trouble.reply} (at {self._stage.value})"
        return f"{error} (at {self._stage.value})"

    def _context(self) -> ssl.SSLContext | None:
        if self._smarthost.encryption == "none":
            return None
        from ucrmmail.smtp.tls import context_for  # noqa: PLC0415 # as in `wire`

        return context_for(self._smarthost)

    def _resolved(self) -> Sequence[Address]:
        self._connects_until = self._clock.monotonic() + self._timeout_s
        addresses = resolve(self._smarthost, clock=self._clock, stop=self._stop, deadline=self._connects_until)
        self._stages.over(Stage.RESOLVE, ", ".join(address.text for address in addresses))
        self._has_several = len(addresses) > 1
        return sorted(addresses, key=self._silent.__contains__)

    def _connected(self, addresses: Sequence[Address]) -> tuple[Wire, tuple[Address, ...]]:
        """Return a connection to the first of these that answers, and the others."""
        self._stage = Stage.CONNECT
        clock, stop = self._clock, self._stop
        found = connect(
            self._smarthost, addresses, clock=clock, stop=stop, deadline=self._connects_until, before=self._problems
        )
        self._connected_at = clock.monotonic()
        self._answered[:] = [found.address]
        self._silent.update(set(addresses).difference(found.others, self._answered))
        self._problems = found.problems
        self._stages.over(Stage.CONNECT, "; ".join((found.address.text, *found.problems)))
        return Wire(found.sock, clock=clock, stop=stop, observer=self._observer), found.others

    def _introduced(self, wire: Wire, context: ssl.SSLContext | None, *, others: int) -> Session:
        """Go from the greeting to the login (RFC 5321 section 3.1, RFC 3207, RFC 4954)."""
        smarthost = self._smarthost
        began, left_s = self._clock.monotonic(), self._left_s()
        wire.allow(self._patience_s(others))
        if context is not None and smarthost.encryption == "tls":
            self._secure(wire, context)
        self._greeted(wire)
        capabilities = self._ehlo(wire)
        if context is not None and smarthost.encryption == "starttls":
            self._ask_for_tls(wire, capabilities)
            self._secure(wire, context)
            # What the server offered in clear may have been a forger's word.
            capabilities = self._ehlo(wire)
        wire.allow(left_s - (self._clock.monotonic() - began))
        if smarthost.logs_in:
            self._stage = Stage.AUTH
            mechanism = choose_mechanism(smarthost, capabilities, in_tls=context is not None)
            done = log_in(wire, smarthost, mechanism, self._credentials)
            offered = capabilities.mechanisms
            renewed = "; the token that was kept was refused, a new one was fetched" if done.renewed else ""
            self._stages.over(
                Stage.AUTH,
                f"{mechanism} as {smarthost.username} (offered: {', '.join(offered)}){renewed}",
                reply=done.reply,
                facts={"mechanism": mechanism, "mechanisms": list(offered), "token_renewed": done.renewed},
            )
        wire.allow(math.inf)
        session = Session(wire, smarthost, capabilities, self._stages)
        session.answered_in_s = self._answered_in_s
        session.looks_ahead = self._looks_ahead
        return session

    def _left_s(self) -> float:
        all_s = self._smarthost.patience_s(Stage.GREETING) + _OPENING_TIMES * self._timeout_s
        return min(all_s, self._ends_at - self._clock.monotonic())

    def _patience_s(self, others: int) -> float:
        """Return for how long an address may be silent, while there are ``others`` to be asked.

        What is no SMTP server is silent for long: half of the time is for the other addresses, and for the mail.
        """
        left_s = self._left_s()
        half_s = max((left_s - self._timeout_s) / 2, left_s / (2 * (others + 1)))
        return min(self._timeout_s, half_s) if others else left_s

    def _greeted(self, wire: Wire) -> None:
        self._stage = Stage.GREETING
        greeting = wire.read_reply(self._smarthost.patience_s(Stage.GREETING))
        if greeting.code != 220:
            raise RefusedError(classify(Stage.GREETING, greeting))
        self._stages.over(Stage.GREETING, greeting.text, reply=greeting)
        self._looks_ahead = _CRASHES_AT_MORE not in greeting.text.lower()

    def _ehlo(self, wire: Wire) -> Capabilities:
        self._stage = Stage.EHLO
        name = self._smarthost.own_name(str(wire.socket.getsockname()[0]))
        asked_at = wire.now_s
        reply = self._ask(wire, f"EHLO {name}")
        self._answered_in_s = wire.now_s - asked_at
        if reply.code == 250:
            capabilities = parse_ehlo(reply)
            told = ", ".join(capabilities.keywords) or "no extensions"
            self._stages.over(Stage.EHLO, told, facts=facts_of_ehlo(capabilities))
            return capabilities
        if reply.code in {500, 501, 502, 504}:
            # A server from before 1995; it offers nothing (RFC 5321 section 3.2).
            reply = self._ask(wire, f"HELO {name}")
            if reply.code == 250:
                self._stages.over(Stage.EHLO, "HELO only: no extensions", reply=reply)
                return Capabilities()
        raise RefusedError(classify(Stage.EHLO, reply))

    def _ask(self, wire: Wire, command: str) -> Reply:
        wire.send(command.encode() + b"\r\n", self._timeout_s)
        return wire.read_reply(self._timeout_s)

    def _ask_for_tls(self, wire: Wire, capabilities: Capabilities) -> None:
        self._stage = Stage.STARTTLS
        name = self._smarthost.name
        if capabilities.is_rewritten and not capabilities.starttls:
            raise RefusedError(
                account_trouble(
                    Stage.STARTTLS,
                    f"a firewall in between rewrites what {name} offers, and nothing is sent without TLS",
                    why="extensions are crossed out with X or *, as the SMTP inspection of some firewalls does",
                    remedy="switch that inspection off, or use TLS from the first byte: run `ucrmmail config set "
                    "smtp.port 465` and `ucrmmail config set smtp.encryption tls`",
                )
            )
        if not capabilities.starttls:
            raise RefusedError(
                account_trouble(
                    Stage.STARTTLS,
                    f"{name} does not offer STARTTLS, and nothing is sent without it",
                    why="it has no TLS on this port, or somebody in between takes the offer out",
                    remedy="run `ucrmmail config set smtp.encryption tls` if this is a port for TLS (465)",
                )
            )
        reply = self._ask(wire, "STARTTLS")
        if reply.code != 220:
            raise RefusedError(classify(Stage.STARTTLS, reply))
        if wire.pending:
            raise RefusedError(
                account_trouble(
                    Stage.STARTTLS,
                    f"{name} sent more in clear behind its reply to STARTTLS: an injected reply",
                    why="somebody in between may have put it there to be read as if it came through TLS",
                    remedy="try from another network; mail waits here",
                )
            )
        self._stages.over(Stage.STARTTLS, reply.text, reply=reply)

    def _secure(self, wire: Wire, context: ssl.SSLContext) -> None:
        self._stage = Stage.TLS
        wire.start_tls(context, self._smarthost.host, self._timeout_s)
        if self._stages.watched:
            from ucrmmail.smtp.tls import seen_certificate  # noqa: PLC0415 # as in `wire`

            sock = cast("ssl.SSLSocket", wire.socket)  # since the handshake
            now, certificate, facts = self._clock.now(), seen_certificate(sock), facts_of_tls(sock)
            self._stages.over(
                Stage.TLS,
                told_tls(facts, certificate, now),
                warning=told_end(certificate, now),
                facts={**facts, **facts_of_certificate(certificate, now)},
            )

    def told_of_all(self, error: Exception) -> Trouble:
        """Return the trouble of the account that an exception means, with what other addresses did."""
        trouble = self._trouble_of(error)
        # Of a single address, the trouble says it all.
        if not (self._tried and self._has_several) or trouble.stage is Stage.CONNECT:
            return trouble
        return replace(trouble, why="; ".join(filter(None, (trouble.why, *self._tried))))

    def _trouble_of(self, error: Exception) -> Trouble:
        if isinstance(error, RefusedError):
            return error.trouble
        if isinstance(error, HandshakeError):
            return self._tls_trouble(error.error)
        remedy = "check smtp.host, smtp.port and smtp.encryption; nothing was lost"
        if self._stage is Stage.GREETING and self._smarthost.encryption != "tls":
            if self._is_for_tls:
                remedy = "this port speaks TLS from the first byte: run `ucrmmail config set smtp.encryption tls`"
            elif isinstance(error, NoAnswerError):
                remedy = "it may be overloaded, or a firewall is in between; try `ucrmmail test-connection --probe`"
            elif isinstance(error, ConnectionLostError) and self._clock.monotonic() - self._connected_at > _SILENCE_S:
                remedy = "it was silent first, as ports for TLS are; try `ucrmmail test-connection --probe`"
        why = ""
        if self._smarthost.encryption != "none":
            from ucrmmail.smtp.tls import told_of_alert  # noqa: PLC0415 # as in `wire`

            why, remedy = told_of_alert(self._smarthost, str(error)) or (why, remedy)
        what = f"{self._smarthost.name}: {error} (at {self._stage.value})"
        return account_trouble(self._stage, what, why=why, remedy=remedy)

    def _look_for_tls(self, wire: Wire) -> None:
        """See whether a server that has not greeted us waits for the first words of TLS."""
        if self._stage is Stage.GREETING and self._smarthost.encryption != "tls":
            self._is_for_tls = self._look.for_tls(wire)

    def _tls_trouble(self, error: ssl.SSLError) -> Trouble:
        import ssl  # noqa: PLC0415 # as in `wire`

        from ucrmmail.smtp.tls import speaks_no_tls, tls_trouble  # noqa: PLC0415

        in_clear = None
        if isinstance(error, ssl.SSLCertVerificationError):
            self._certificate = self._look.at_certificate()
        elif speaks_no_tls(error):
            in_clear = self._look.in_clear()
        return tls_trouble(self._smarthost, error, self._certificate, in_clear)
