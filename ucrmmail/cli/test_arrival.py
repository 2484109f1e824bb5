"""``test-send --verify-imap``: the mailbox is opened before anything is sent, then looked into until it is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.config.load import Config
    from ucrmmail.mailbox.imap import Mailbox, Mailserver
    from ucrmmail.mailbox.wait import Arrival
    from ucrmmail.output.arrival import Proof


@dataclass(frozen=True, slots=True)
class Watch:
    """A mailbox that is open, and how long to wait."""

    config: Config
    server: Mailserver
    mailbox: Mailbox
    recipient: str
    wait_s: float

    def prove(self, message_id: str, since: float, *, quiet: bool) -> Proof:
        """Wait for the message, and return what its arrival proves; ``since`` is when it was sent (monotonic)."""
        from ucrmmail.clock import Clock
        from ucrmmail.mailbox.verdict import read_header
        from ucrmmail.mailbox.wait import wait_for
        from ucrmmail.output import human
        from ucrmmail.output.arrival import Proof, WaitProgress

        def wait(watch: Callable[[float], None]) -> Arrival:
            return wait_for(
                message_id,
                self.mailbox,
                reopen=lambda: _opened(self.config, self.server),
                clock=Clock(),
                since=since,
                deadline=since + self.wait_s,
                watch=watch,
            )

        if human.on_terminal(stderr=True) and not quiet:
            with WaitProgress(self.server.host, self.wait_s) as progress:
                arrival = wait(progress.looked)
        else:
            arrival = wait(lambda _seconds: None)
        if arrival.found is None:
            return Proof(self.server.host, arrival, None)
        names = (self.server.host, self.recipient.rpartition("@")[2])
        return Proof(self.server.host, arrival, read_header(arrival.found.header, mailbox_names=names))


def open_watch(config: Config, place: str, wait: str, recipient: str) -> Watch:
    """Open the mailbox at HOST[:PORT]. Raises UsageError, and as ``open_mailbox`` and for a secret that is missing."""
    from ucrmmail.mailbox.imap import Mailserver
    from ucrmmail.units import parse_duration

    try:
        wait_s = parse_duration(wait)
    except ValueError as error:
        raise UsageError(f"--wait: {error}", remedy="such as --wait 2m") from None
    encryption = config.text("imap.encryption")
    host, port = _place(place, 993 if encryption == "tls" else 143)
    server = Mailserver(
        host=host,
        port=port,
        username=config.text("imap.username") or recipient,
        encryption=encryption,
        ca_file=config.text("imap.ca_file"),
    )
    return Watch(config, server, _opened(config, server), recipient, wait_s)


def _opened(config: Config, server: Mailserver) -> Mailbox:
    from ucrmmail.cli.oauth import keeper_of, uses_oauth
    from ucrmmail.cli.store import store_of
    from ucrmmail.clock import Clock
    from ucrmmail.credentials.find import find_secret
    from ucrmmail.mailbox.imap import open_mailbox

    try:
        secret = find_secret(store_of(config, key="imap.password"), os.environ)
    except ConfigError:
        keeper = keeper_of(config) if uses_oauth(config) and server.username == config.text("smtp.username") else None
        if keeper is None:
            raise
        # The mailbox of the account itself: what it signs in with to send is good to look into it.
        return open_mailbox(server, keeper.access_token(), clock=Clock(), is_token=True)
    return open_mailbox(server, secret.reveal(), clock=Clock())


def _place(place: str, port: int) -> tuple[str, int]:
    """Return host and port of HOST, HOST:PORT or [IPv6]:PORT. Raises UsageError."""
    from ucrmmail.config.texts import host as checked_host

    if "@" in place:
        # As in the address of a web page, where the password may stand before it: not repeated.
        raise UsageError(
            "--verify-imap: a host name has no @",
            remedy="write HOST or HOST:PORT; `ucrmmail config set imap.username`, and imap.password, for the login",
        )
    name, separator, number = place.rpartition(":")
    if not separator or "]" in number or (name.count(":") and not name.startswith("[")):
        name, number = place, str(port)
    try:
        found = int(number) if number.isascii() and number.isdigit() else 0
        if not 1 <= found <= 65535:
            raise ValueError("the port is a number from 1 to 65535")
        host = name.removeprefix("[").removesuffix("]")
        checked_host(host)
    except ValueError as error:
        raise UsageError(f"--verify-imap {place}: {error}", remedy="write HOST or HOST:PORT") from None
    return host, found
