"""Connecting: each address of a smarthost in turn, whatever is wrong with the one before."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from typing import cast

import pytest

from tests.support.network import wait_until
from tests.support.never import NEVER_S
from tests.support.smtp_server import SmtpServer
from ucrmmail.clock import Clock
from ucrmmail.delivery.stop import Stop
from ucrmmail.errors import TemporaryError
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


def test_no_other_address_is_told_with_the_reason() -> None:
    with pytest.raises(RefusedError) as refused:
        connect(Smarthost("h.example", 25), [_UNKNOWN], clock=Clock(), stop=None, deadline=time.monotonic() + 30)
    assert "2001:db8::25: this machine does not speak IP of that version" in str(refused.value.trouble)


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
    assert len(os.listdir("/proc/self/fd")) == len(before)
