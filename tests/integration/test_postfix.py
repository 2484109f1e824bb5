"""End to end against Postfix from Debian as the smarthost: it takes the message, queues it, and its queue id is told."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.postfix import Postfix, private_postfix
from tests.support.program import PLAIN, Program

SETTINGS = {
    "defer_transports": "smtp",
    "smtpd_recipient_restrictions": (
        "check_recipient_access inline:{bad@example.com=reject}, permit_mynetworks, reject"
    ),
    "smtpd_recipient_limit": "50",
}


@pytest.fixture
def postfix() -> Iterator[Postfix]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with private_postfix(port, SETTINGS) as running:
        yield running


@pytest.mark.parametrize("chunking", [True, False])
def test_postfix_takes_what_is_flushed(program: Program, postfix: Postfix, chunking: bool) -> None:
    program.configure(postfix.port, smtp=f"chunking = {str(chunking).lower()}")
    many = ", ".join(f"user{number}@example.com" for number in range(120))
    program.sendmail("-t")
    program.sendmail("-f", "app@isp.example", "good@example.com", "bad@example.com")
    program.sendmail("-t", message=PLAIN.replace(b"joe@example.com", many.encode()))
    program.sendmail("-t", message=PLAIN + b"x" * 5000 + b"\r\n.\r\n" + b"tail\r\n")
    report = program.run("flush", "--json").json
    outcomes = [outcome for message in report["messages"] for outcome in message["recipients"].items()]
    # Postfix counts the bytes for whoever counted them.
    taken = r"250 2.0.0 Ok: \d+ bytes queued as \w+" if chunking else r"250 2.0.0 Ok: queued as \w+"
    assert all(re.fullmatch(taken, result["reply"]) for name, result in outcomes if name[:3] != "bad")
    assert dict(outcomes)["bad@example.com"]["outcome"] == "failed"
    # A recipient limit of 50: the others went in further transactions, at once, and each exactly once.
    assert sum(name.startswith("user") for name, _ in outcomes) == 120
    deadline = time.monotonic() + 10
    queued = b""
    while queued.count(b"@example.com") < 122 and time.monotonic() < deadline:
        time.sleep(0.2)
        queued = postfix.run("postqueue", "-p")
    assert queued.count(b"user119@example.com") == 1
    assert [message["state"] for message in program.queue()] == ["failed"]
