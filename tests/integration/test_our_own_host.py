"""What a server has against our own host or account bounces nobody's mail: all of it waits until a person has mended it.

A server that looks at the name in EHLO, or at the address, says so at RCPT (Postfix's smtpd_delay_reject), where a
refusal for good is that of a recipient elsewhere.
"""

from __future__ import annotations

import threading

import pytest

from tests.support.program import Program
from tests.support.smtp_server import SmtpServer

LISTED = "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"
FULL = "504 5.5.2 <{name}>: Helo command rejected: need fully-qualified hostname"
STOPPED = "550 5.7.1 Your account has been suspended"
LOGIN = "554 5.7.1 <isp>: SASL login name rejected: Access denied"
SPENT = "550 Requested action not taken: mailbox unavailable Failure sending mail. Try again later."


def enqueue(program: Program, count: int) -> None:
    for number in range(count):
        mail = b"From: a@isp.example\nTo: u%d@example.com\nSubject: invoice\n\nhi\n" % number
        program.sendmail("-t", "-f", f"user{number}@isp.example", message=mail)


def all_wait(program: Program, count: int) -> None:
    queue = program.queue()
    assert len(queue) == count
    assert {(message["state"], message["attempts"]) for message in queue} == {("waiting", 0)}


class Names:
    """A server that wants a full name or an address in EHLO, and says so at each recipient."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._here = threading.local()
        self.faults = {"ehlo": self._ehlo, "rcpt": self._rcpt}

    def _ehlo(self, line: bytes) -> None:
        self._here.name = line.decode().split()[1]
        self.heard.append(self._here.name)

    def _rcpt(self, _line: bytes) -> str | None:
        return None if "." in self._here.name else FULL.format(name=self._here.name)


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("connections", [1, 3])
def test_a_name_that_the_server_does_not_like_bounces_nothing(program: Program, connections: int) -> None:
    names = Names()
    with SmtpServer(faults=names.faults) as server:
        program.configure(server.port, smtp=f'local_hostname = "app1"\nconnections = {connections}')
        enqueue(program, 20)
        told = program.run("flush", code=77).stderr
        assert "need fully-qualified hostname" in told
        assert "set smtp.local_hostname to a full name" in told
        for _ in range(2):
            all_wait(program, 20)
            program.run("queue", "retry", "--all")
            program.run("flush", code=77)
        all_wait(program, 20)
        program.run("config", "set", "smtp.local_hostname", "app1.isp.example")
        report = program.run("flush", "--json").json
        server.wait_until_idle()
        assert (report["relayed"], report["failed"], report["error"]) == (20, 0, None)
        assert sorted(one for message in server.accepted for one in message.recipients) == sorted(
            f"u{number}@example.com" for number in range(20)
        )
    assert set(names.heard) == {"app1", "app1.isp.example"}
    assert program.queue() == []


@pytest.mark.requirement("S19")
def test_a_machine_without_a_full_name_gives_its_address(program: Program) -> None:
    """Of a container and of many a virtual machine the name has no dot."""
    names = Names()
    with SmtpServer(faults=names.faults) as server:
        program.configure(server.port)
        enqueue(program, 1)
        assert program.run("flush", "--json").json["relayed"] == 1
    assert all("." in name for name in names.heard)


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize(
    ("place", "said", "remedy"),
    [
        ("rcpt", LISTED, "ask for its removal"),
        ("rcpt", LOGIN, "look into the account"),
        ("mail", STOPPED, "look into the account"),
        ("final-dot", STOPPED, "why"),
    ],
)
def test_an_address_on_a_block_list_and_a_stopped_account_bounce_nothing(
    program: Program, place: str, said: str, remedy: str, connections: int
) -> None:
    blocked = [said]
    with SmtpServer(faults={place: lambda _line: blocked[0] if blocked else None}) as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        enqueue(program, 6)
        told = program.run("flush", code=77).stderr
        assert said in told
        assert remedy in told
        for _ in range(2):
            all_wait(program, 6)
            program.run("queue", "retry", "--all")
            program.run("flush", code=77)
        all_wait(program, 6)
        blocked.clear()
        program.run("queue", "retry", "--all")
        report = program.run("flush", "--json").json
        server.wait_until_idle()
        assert (report["relayed"], report["failed"], report["error"]) == (6, 0, None)
        assert len(server.accepted) == 6
    assert program.queue() == []


@pytest.mark.requirement("S19", "R9")
def test_what_a_far_server_has_against_the_smarthost_is_reported_for_that_recipient(program: Program) -> None:
    said = f"550 5.1.1 undeliverable address: host mx.example.com said: {LISTED}"
    with SmtpServer(faults={"rcpt": lambda line: said if b"<u0@" in line else None}) as server:
        program.configure(server.port)
        enqueue(program, 3)
        report = program.run("flush", "--json").json
        # The report to the sender is the third.
        assert (report["relayed"], report["failed"], report["error"]) == (3, 1, None)


@pytest.mark.requirement("S19", "R22")
def test_a_quota_that_is_said_of_each_recipient_bounces_nothing(program: Program) -> None:
    spent = [SPENT]
    with SmtpServer(faults={"rcpt": lambda _line: spent[0] if spent else None}) as server:
        program.configure(server.port)
        enqueue(program, 20)
        assert "its limit is reached" in program.run("flush", code=75).stderr
        all_wait(program, 20)
        spent.clear()
        program.run("queue", "retry", "--all")
        assert program.run("flush", "--json").json["relayed"] == 20
