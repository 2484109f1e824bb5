"""From a host name to a socket: each address in turn, within one deadline, and for each why it did not answer."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

from ucrmmail.dataclass import dataclass
from ucrmmail.errors import TemporaryError
from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.trouble import RefusedError, account_trouble
from ucrmmail.smtp.wire import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ucrmmail.clock import Clock
    from ucrmmail.smtp.smarthost import Smarthost
    from ucrmmail.smtp.wire import Stopper

_WORDS = {
    errno.ECONNREFUSED: "refused: nothing listens on this port",
    errno.EHOSTUNREACH: "no route to it, or a firewall on the way refuses",
    errno.ENETUNREACH: "no route to it",
    errno.EACCES: "a firewall or a route of this machine forbids it",
    errno.EPERM: "a firewall or a route of this machine forbids it",
    errno.EAFNOSUPPORT: "this machine does not speak IP of that version",
    errno.ETIMEDOUT: "no answer: a firewall may drop what is sent to this port",
}


@dataclass(frozen=True, slots=True)
class Address:
    """One of the addresses of the smarthost, as the system's resolver gives it, best first (RFC 6724)."""

    family: socket.AddressFamily
    sockaddr: tuple[object, ...]

    @property
    def text(self) -> str:
        """The address as people write it."""
        return str(self.sockaddr[0])


class Connection(NamedTuple):
    """A connected socket, the address it leads to, and why those before it did not answer; no ``others`` were tried."""

    sock: socket.socket
    address: Address
    problems: tuple[str, ...]
    others: tuple[Address, ...] = ()


def resolve(smarthost: Smarthost, *, clock: Clock, stop: Stopper | None, deadline: float) -> list[Address]:
    """Return the addresses of the smarthost.

    The system's resolver can take a minute and cannot be interrupted, so that it runs in a thread of its own, which is
    left behind when the deadline (on the monotonic clock) or the request to stop comes first.

    Raises RefusedError when there are none; StoppedError; TemporaryError when no thread can be started.
    """
    found: list[Address] = []
    problems: list[str] = []
    reader, writer = os.pipe2(os.O_CLOEXEC)

    # As bytes it is taken as it is: for a name that is ASCII, encoding as IDNA would only load its tables.
    host = smarthost.host.encode() if smarthost.host.isascii() else smarthost.host

    def look_up() -> None:
        try:
            for family, _, _, _, sockaddr in socket.getaddrinfo(host, smarthost.port, type=socket.SOCK_STREAM):
                found.append(Address(family, sockaddr))
        except (OSError, UnicodeError) as error:
            problems.append(getattr(error, "strerror", None) or str(error))
        finally:
            os.close(writer)

    try:
        _start(look_up, writer, smarthost.host)
        if not _wait_for(reader, select.POLLIN, clock=clock, stop=stop, deadline=deadline):
            problems.append("the resolver did not answer in time")
    finally:
        os.close(reader)
    if found and not problems:
        return list(dict.fromkeys(found))
    raise RefusedError(
        account_trouble(
            Stage.RESOLVE,
            f"the name {smarthost.host} was not found: {problems[0]}",
            remedy="check smtp.host, and the resolver of this machine (/etc/resolv.conf)",
        )
    )


def _start(look_up: Callable[[], None], writer: int, host: str) -> None:
    """Start the thread that closes ``writer`` at its end. Raises TemporaryError when there can be no more."""
    try:
        threading.Thread(target=look_up, daemon=True).start()
    except RuntimeError as error:
        os.close(writer)
        raise TemporaryError(
            f"the name {host} cannot be looked up: no thread can be started",
            why="this user, or the service, has as many processes and threads as it may (ulimit -u, TasksMax)",
            remedy="end some of them, or raise the limit; nothing was lost",
        ) from error


def connect(
    smarthost: Smarthost,
    addresses: Sequence[Address],
    *,
    clock: Clock,
    stop: Stopper | None,
    deadline: float,
    before: Sequence[str] = (),
) -> Connection:
    """Return a connection to the first address that answers.

    They share the time: one that does not answer leaves some for the next. ``before`` is why other addresses are out of
    the question. Raises RefusedError when none answers, with the reason of each; StoppedError.
    """
    problems = list(before)
    for number, address in enumerate(addresses):
        now = clock.monotonic()
        share = now + (deadline - now) / (len(addresses) - number)
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            # A kernel without IPv6 is no reason not to try IPv4. Too many open files would be one.
            if error.errno != errno.EAFNOSUPPORT:
                raise
            problems.append(f"{address.text}: {_WORDS[error.errno]}")
            continue
        try:
            problem = _try(sock, address, clock=clock, stop=stop, deadline=share)
        except BaseException:
            sock.close()
            raise
        if problem == 0:
            # A group of commands is one write already; waiting for more (Nagle) would cost a round trip.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Connection(sock, address, tuple(problems), tuple(addresses[number + 1 :]))
        sock.close()
        problems.append(f"{address.text}: {_WORDS.get(problem) or os.strerror(problem)}")
    raise RefusedError(
        account_trouble(
            Stage.CONNECT,
            f"no connection to {smarthost.name} ({'; '.join(problems)})",
            remedy=(
                "many networks block port 25 for their customers: set smtp.port to 587 or 465"
                if smarthost.port == 25
                else "check smtp.host and smtp.port, and that no firewall is in between; nothing was lost"
            ),
        )
    )


def _try(sock: socket.socket, address: Address, *, clock: Clock, stop: Stopper | None, deadline: float) -> int:
    """Connect; return 0, or the errno of what is in the way."""
    problem = sock.connect_ex(address.sockaddr)
    if problem != errno.EINPROGRESS:
        return problem
    if not _wait_for(sock.fileno(), select.POLLOUT, clock=clock, stop=stop, deadline=deadline):
        return errno.ETIMEDOUT
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _wait_for(fd: int, event: int, *, clock: Clock, stop: Stopper | None, deadline: float) -> bool:
    """Wait until the descriptor is ready; False when the time is over. Raises StoppedError."""
    poll = select.poll()
    poll.register(fd, event)
    if stop is not None:
        poll.register(stop.fileno(), select.POLLIN)
    ready = dict(poll.poll(max(0.0, deadline - clock.monotonic()) * 1000))
    if stop is not None and stop.fileno() in ready:
        raise StoppedError
    return fd in ready
