"""Connecting: each address of a smarthost in turn, whatever is wrong with the one before."""

from __future__ import annotations

import socket
import time
from typing import cast

import pytest

from tests.support.smtp_server import SmtpServer
from ucrmmail.clock import Clock
from ucrmmail.smtp.connect import Address, connect
from ucrmmail.smtp.smarthost import Smarthost
from ucrmmail.smtp.trouble import RefusedError

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
