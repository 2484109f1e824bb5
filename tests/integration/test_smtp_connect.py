"""Connecting: each address of a smarthost in turn, whatever is wrong with the one before."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import pytest

from tests.support.network import wait_until
from tests.support.never import NEVER_S
from tests.support.smtp_server import SmtpServer
from ucrmmail.clock import Clock
from ucrmmail.delivery.stop import Stop
from ucrmmail.errors import TemporaryError
from ucrmmail.message.outcome import Scope, Stage
from ucrmmail.smtp.connect import Address, connect, resolve
from ucrmmail.smtp.smarthost import Smarthost
from ucrmmail.smtp.trouble import RefusedError
from ucrmmail.smtp.wire import StoppedError

# What the kernel says to a family that it was built without, as some are without IPv6.
_UNKNOWN = Address(cast("socket.AddressFamily", 255), ("2001:db8::25", 25, 0, 0))


def test_an_address_of_a_family_that_the_kernel_lacks_is_passed_over() -> None:
    with SmtpServer() as server:
        spoken = Address(socket.AF_INET, ("127.0.0.1", server.port))
        connection = connect(
            Smarthost("localhost", server.port), [_UNKNOWN, spoken],
            clock=Clock(), stop=None, deadline=time.monotonic() + 30,
        )  # fmt: skip
        connection.sock.close()
    assert connection.address == spoken
    assert connection.problems == ("2001:db8::25: this machine does not speak IP of that version",)


@pytest.mark.parametrize(
    ("port", "remedy"),
    [
        (25, "many networks block port 25 for their customers: set smtp.port to 587 or 465"),
        (587, "check smtp.host and smtp.port, and that no firewall is in between; nothing was lost"),
    ],
)
def test_no_other_address_is_told_with_the_reason_of_each(port: int, remedy: str) -> None:
    with pytest.raises(RefusedError) as refused:
        connect(
            Smarthost("h.example", port), [_UNKNOWN], clock=Clock(), stop=None, deadline=time.monotonic() + 30,
            before=["192.0.2.1: no route to it"],
        )  # fmt: skip
    trouble = refused.value.trouble
    assert (trouble.scope, trouble.stage, trouble.why, trouble.remedy) == (Scope.ACCOUNT, Stage.CONNECT, "", remedy)
    assert trouble.what == (
        f"no connection to h.example:{port} "
        "(192.0.2.1: no route to it; 2001:db8::25: this machine does not speak IP of that version)"
    )


@contextmanager
def at_its_backlog() -> Iterator[tuple[socket.socket, Address]]:
    """Yield a listener of whom nobody hears until it has accepted one, and its address."""
    with socket.create_server(("127.0.0.2", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            yield listener, Address(socket.AF_INET, address)


@pytest.mark.requirement("R9")
def test_an_address_that_takes_its_time_is_waited_for() -> None:
    """It takes the second SYN, which comes a second behind the first."""
    with at_its_backlog() as (listener, slow), ExitStack() as accepted:
        accepting = threading.Timer(0.1, lambda: accepted.enter_context(listener.accept()[0]))
        accepting.start()
        connection = connect(
            Smarthost("localhost", 25), [slow], clock=Clock(), stop=None, deadline=time.monotonic() + NEVER_S
        )
        connection.sock.close()
        accepting.join()
    assert (connection.address, connection.problems) == (slow, ())


@pytest.mark.requirement("R9")
def test_a_silent_address_takes_a_moment_of_the_time_for_the_next_one() -> None:
    """It took half of it, in each run and for each connection: of thirty seconds a cron job has few left."""
    with at_its_backlog() as (_, silent), SmtpServer() as server:
        spoken, last = Address(socket.AF_INET, ("127.0.0.1", server.port)), _UNKNOWN
        connection = connect(
            Smarthost("localhost", 25), [silent, spoken, last],
            clock=Clock(), stop=None, deadline=time.monotonic() + NEVER_S,
        )  # fmt: skip
        connection.sock.close()
    assert (connection.address, connection.others) == (spoken, (last,))
    assert connection.problems == ("127.0.0.2: no answer yet when another one gave one",)


def test_addresses_that_are_all_silent_share_the_time_and_each_is_told() -> None:
    with at_its_backlog() as (_, first), at_its_backlog() as (_, second), pytest.raises(RefusedError) as refused:
        connect(Smarthost("h.example", 587), [first, second], clock=Clock(), stop=None, deadline=time.monotonic() + 0.2)
    assert refused.value.trouble.what.count("127.0.0.2: no answer: a firewall may drop what is sent") == 2


def test_a_name_that_is_not_there_is_told_in_the_words_of_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(RefusedError) as refused:
        resolve(Smarthost("h.example", 25), clock=Clock(), stop=None, deadline=time.monotonic() + NEVER_S)
    trouble = refused.value.trouble
    assert (trouble.scope, trouble.stage) == (Scope.ACCOUNT, Stage.RESOLVE)
    assert trouble.what == "the name h.example was not found: Name or service not known"
    assert trouble.remedy == "check smtp.host, and the resolver of this machine (/etc/resolv.conf)"


def test_too_many_open_files_are_no_fault_of_an_address() -> None:
    _, most = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            connect(
                Smarthost("localhost", 25), [Address(socket.AF_INET, ("127.0.0.1", 25))],
                clock=Clock(), stop=None, deadline=time.monotonic() + NEVER_S,
            )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.requirement("R4")
def test_too_many_open_files_for_the_next_address_leave_one_that_is_asked_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.socket

    def first(*arguments: int) -> socket.socket:
        monkeypatch.setattr(socket, "socket", second)
        return real(*arguments)

    def second(*_: int) -> None:
        monkeypatch.undo()
        accepted.enter_context(listener.accept()[0])
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with at_its_backlog() as (listener, slow), ExitStack() as accepted:
        monkeypatch.setattr("ucrmmail.smtp.connect._TURN_S", 0.01)
        monkeypatch.setattr(socket, "socket", first)
        connection = connect(
            Smarthost("localhost", 25), [slow, Address(socket.AF_INET, ("127.0.0.1", 25))],
            clock=Clock(), stop=None, deadline=time.monotonic() + NEVER_S,
        )  # fmt: skip
        connection.sock.close()
    assert (connection.address, connection.problems) == (slow, ("127.0.0.1: Too many open files",))


def test_a_request_to_stop_ends_the_wait_for_an_address_and_leaves_no_socket() -> None:
    stop = Stop()
    stop.request(signal.SIGTERM)
    with SmtpServer() as server:
        open_before = os.listdir("/proc/self/fd")
        with pytest.raises(StoppedError):
            connect(
                Smarthost("localhost", server.port), [Address(socket.AF_INET, ("127.0.0.1", server.port))],
                clock=Clock(), stop=stop, deadline=time.monotonic() + NEVER_S,
            )  # fmt: skip
        # The server's own end is accepted, and closed, on a thread.
        wait_until(lambda: len(os.listdir("/proc/self/fd")) == len(open_before), "every socket is closed")


def test_a_name_that_no_thread_can_look_up_is_for_later_and_leaves_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(TemporaryError, match=r"h\.example cannot be looked up") as caught:
        resolve(Smarthost("h.example", 25), clock=Clock(), stop=None, deadline=time.monotonic() + NEVER_S)
    assert "ulimit -u" in caught.value.why
    # Those of earlier tests may be collected meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= len(before)
