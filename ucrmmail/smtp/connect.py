"""From a host name to a socket: each address in turn, within one deadline, and for each why it did not answer.

One that is silent does not keep the next from its turn (RFC 8305): a machine whose IPv6 leads nowhere is not rare.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ucrmmail.dataclass import dataclass
from ucrmmail.errors import TemporaryError
from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.trouble import RefusedError, account_trouble
from ucrmmail.smtp.wire import StoppedError, ready_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

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
_SLOWER = "no answer yet when another one gave one"
# RFC 8305 section 5 has a quarter of a second, and two at the most. A server is not to see connections without a word
# whenever the network is slow.
_TURN_S = 1.0


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
        if not _wait_for([reader], select.POLLIN, clock=clock, stop=stop, deadline=deadline):
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
    """Return a connection to the address that answers first, of those that have had their turn.

    They share the time: one that does not answer leaves some for the next, and is waited for beside it. ``before`` is
    why other addresses are out of the question. Raises RefusedError when none answers, with the reason of each;
    StoppedError.
    """
    problems: dict[Address, str] = {}
    left = deque(addresses)
    asked: dict[int, tuple[Address, socket.socket]] = {}
    try:
        while left or asked:
            until = deadline
            if left:
                turn_s = min(_TURN_S, (deadline - clock.monotonic()) / len(left))
                address = left.popleft()
                sock, problem = _begin(address, is_alone=not asked)
                if sock is None:
                    problems[address] = _words_of(problem)
                    continue
                asked[sock.fileno()] = address, sock
                until = clock.monotonic() + turn_s if left else deadline
            ready = _wait_for([*asked], select.POLLOUT, clock=clock, stop=stop, deadline=until)
            for fd in ready:
                address, sock = asked.pop(fd)
                problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if problem == 0:
                    # A group of commands is one write already; waiting for more (Nagle) would cost a round trip.
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    problems |= {slower: _SLOWER for slower, _ in asked.values()}
                    return Connection(sock, address, (*before, *_told(addresses, problems)), tuple(left))
                sock.close()
                problems[address] = _words_of(problem)
            if not (ready or left):
                problems |= {silent: _words_of(errno.ETIMEDOUT) for silent, _ in asked.values()}
                break
    finally:
        for _, sock in asked.values():
            sock.close()
    raise RefusedError(
        account_trouble(
            Stage.CONNECT,
            f"no connection to {smarthost.name} ({'; '.join((*before, *_told(addresses, problems)))})",
            remedy=(
                "many networks block port 25 for their customers: set smtp.port to 587 or 465"
                if smarthost.port == 25
                else "check smtp.host and smtp.port, and that no firewall is in between; nothing was lost"
            ),
        )
    )


def _begin(address: Address, *, is_alone: bool) -> tuple[socket.socket | None, int]:
    """Return a socket that is being connected, or what is in the way.

    Raises OSError, as for too many open files, when it ``is_alone``: beside it, another one may answer yet.
    """
    try:
        sock = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        # A kernel without IPv6 is no reason not to try IPv4. Too many open files would be one.
        if is_alone and error.errno != errno.EAFNOSUPPORT:
            raise
        return None, error.errno or 0
    problem = sock.connect_ex(address.sockaddr)
    if problem in {0, errno.EINPROGRESS}:
        return sock, 0
    sock.close()
    return None, problem


def _words_of(problem: int) -> str:
    return _WORDS.get(problem) or os.strerror(problem)


def _told(addresses: Sequence[Address], problems: Mapping[Address, str]) -> list[str]:
    """Return what was in the way, in the order of the addresses."""
    return [f"{address.text}: {problems[address]}" for address in addresses if address in problems]


def _wait_for(fds: Collection[int], event: int, *, clock: Clock, stop: Stopper | None, deadline: float) -> list[int]:
    """Wait until a descriptor is ready, and return which are; none when the time is over. Raises StoppedError."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, event)
    if stop is not None:
        poll.register(stop.fileno(), select.POLLIN)
    ready = ready_of(poll, deadline - clock.monotonic())
    if stop is not None and stop.fileno() in ready:
        raise StoppedError
    return [fd for fd in fds if fd in ready]
