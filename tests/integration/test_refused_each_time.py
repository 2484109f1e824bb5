"""A message at which the server always says what it says of the account: it stops the others for one run, not for ever.

The first time the account may be to blame, and no message loses an attempt. In the next run another message goes before
it, which shows whose trouble it is; while all are refused, it is the account's, however often that is so.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from tests.support.program import Program
from tests.support.smtp_server import DROP, EXTENSIONS, Action, SmtpServer
from ucrmmail.delivery.ending import EXCUSED_CONNECTIONS
from ucrmmail.delivery.judgement import LOST_CONNECTIONS, MOST_SENDERS_IN_DOUBT

DAILY, RATE, DOWN = "552 daily limit exceeded", "450 4.7.0 too many messages", "421 4.3.2 filter trouble"
# With a limit, several connections are threads of one process; without, they are processes.
LIMITED = {"throttler": 'message_limit = 1000\nduration = "1h"'}


def enqueue(program: Program, *names: str, priority: str = "normal") -> None:
    for name in names:
        mail = b"From: a@isp.example\nTo: %b@example.com\nSubject: hi\n\nhi\n" % name.encode()
        if priority == "normal":
            # It starts four times as fast.
            program.sendmail("-t", "-f", f"{name}@isp.example", message=mail)
        else:
            program.run("enqueue", "--priority", priority, "--from", f"{name}@isp.example", "-", stdin=mail)


def server_that_says(reply: str, place: str) -> SmtpServer:
    """At one message only: its name is in its reverse-path, its recipient and its header."""
    return SmtpServer(faults={place: lambda line: reply if b"culprit" in line else None})


def two_and_no_more() -> Callable[[bytes], str | None]:
    said = iter([None, None])
    return lambda _line: next(said, DAILY)


def end_the_pause(program: Program) -> None:
    program.run("queue", "retry", "--all")


@pytest.mark.requirement("S19", "R22")
@pytest.mark.parametrize(
    ("connections", "limits"), [(1, {}), (3, {}), (3, LIMITED)], ids=["one", "processes", "threads"]
)
@pytest.mark.parametrize(
    ("place", "reply"),
    [("mail", DAILY), ("rcpt", DAILY), ("rcpt", RATE), ("mail", DOWN), ("rcpt", DOWN), ("final-dot", DAILY)],
)
def test_it_is_deferred_in_the_second_run_and_the_others_go(
    program: Program, place: str, reply: str, connections: int, limits: dict[str, str]
) -> None:
    with server_that_says(reply, place) as server:
        program.configure(server.port, smtp=f"connections = {connections}", **limits)
        enqueue(program, "culprit")
        program.run("flush", code=75)
        enqueue(program, "b", "c")
        assert {message["attempts"] for message in program.queue()} == {0}, "the account may be to blame"
        end_the_pause(program)
        report = program.run("flush", "--json").json
        server.wait_until_idle()
        assert (report["relayed"], report["deferred"], report["error"]) == (2, 1, None)
        assert sorted(message.reverse_path for message in server.accepted) == ["b@isp.example", "c@isp.example"]
    (left,) = program.queue()
    assert (left["state"], left["attempts"]) == ("deferred", 1)
    assert reply in left["reason"]


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("connections", [1, 3])
def test_also_when_it_is_the_last_of_the_queue(program: Program, connections: int) -> None:
    with server_that_says(DAILY, "rcpt") as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        enqueue(program, "culprit", priority="bulk")
        program.run("flush", code=75)
        end_the_pause(program)
        enqueue(program, "b", "c")
        report = program.run("flush", "--json").json
        assert (report["relayed"], report["deferred"], report["error"]) == (2, 1, None)


@pytest.mark.requirement("S19")
@pytest.mark.parametrize(
    ("place", "said", "connections"),
    [("mail", DROP, 1), ("rcpt", RATE, 1), ("rcpt", RATE, 3), ("mail", DOWN, 3), ("final-dot", DOWN, 1)],
)
def test_two_of_them_at_the_head_of_the_queue_do_not_take_turns(
    program: Program, place: str, said: str | Action, connections: int
) -> None:
    with SmtpServer(faults={place: lambda line: said if b"culprit" in line else None}) as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        enqueue(program, "culprit1", "culprit2", "b", "c")
        for _ in range(4):
            program.run("flush", code=None)
            server.wait_until_idle()
            if len(server.accepted) == 2:
                break
            end_the_pause(program)
        assert sorted(message.reverse_path for message in server.accepted) == ["b@isp.example", "c@isp.example"]
    assert len(program.queue()) == 2


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize(("place", "reply"), [("mail", DAILY), ("rcpt", RATE), ("mail", DOWN), ("final-dot", RATE)])
def test_a_quota_that_is_used_up_costs_no_message_an_attempt_however_long_it_takes(
    program: Program, place: str, reply: str, connections: int
) -> None:
    with SmtpServer(faults={place: reply}) as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        enqueue(program, "a", "b", "c")
        for _ in range(4):
            before = len(server.connections)
            report = program.run("flush", "--json", code=75).json
            assert (report["reason"], report["held_back"]) == ("account", 3)
            assert len(server.connections) - before <= 2 * connections
            end_the_pause(program)
        assert {message["attempts"] for message in program.queue()} == {0}
        server.faults = {}
        assert program.run("flush", "--json").json["relayed"] == 3


def test_a_quota_that_lets_some_go_costs_no_message_an_attempt(program: Program) -> None:
    with SmtpServer() as server:
        program.configure(server.port)
        enqueue(program, *"abcdef")
        for left in (4, 2):
            server.faults = {"mail": two_and_no_more()}
            report = program.run("flush", "--json", code=75).json
            assert (report["relayed"], report["deferred"], report["held_back"]) == (2, 0, left)
            assert {message["attempts"] for message in program.queue()} == {0}
            end_the_pause(program)


@pytest.mark.parametrize("place", ["mail", "data", "final-dot"])
def test_a_password_that_is_wanted_is_never_the_messages_own(program: Program, place: str) -> None:
    with SmtpServer(faults={place: "530 5.7.0 Authentication required"}) as server:
        program.configure(server.port)
        enqueue(program, "a", "b", "c", "d", "e", "f", "g")
        for _ in range(3):
            before = len(server.connections)
            program.run("flush", code=77)
            assert len(server.connections) - before <= 1 + MOST_SENDERS_IN_DOUBT, "providers block many logins"
            end_the_pause(program)
        assert server.accepted == []
    assert {message["attempts"] for message in program.queue()} == {0}


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("place", ["mail", "data", "final-dot"])
@pytest.mark.parametrize(
    "reply",
    [
        "530 5.7.1 Authentication required to send as this domain",
        "550 5.7.1 Domain shop.example is not allowed to send: disabled",
        "550 5.4.6 Sender address blocked",
    ],
)
def test_a_sender_who_is_blocked_stops_no_other(program: Program, reply: str, place: str, connections: int) -> None:
    """A provider blocks a domain of several, or an address: what waits of it shows nothing of the account."""
    here = threading.local()

    def at_mail(line: bytes) -> str | None:
        here.is_blocked = b"blocked@" in line
        return reply if place == "mail" and here.is_blocked else None

    with SmtpServer(faults={place: lambda _line: reply if here.is_blocked else None} | {"mail": at_mail}) as server:
        program.configure(server.port, smtp=f"connections = {connections}")
        for number in range(8):
            mail = b"From: a@isp.example\nTo: joe@example.com\nSubject: %d\n\nhi\n" % number
            program.sendmail("-t", "-f", "blocked@isp.example", message=mail)
        enqueue(program, "good")
        for _ in range(3):
            program.run("flush")
            if server.accepted:
                break
            end_the_pause(program)
        assert [message.reverse_path for message in server.accepted] == ["good@isp.example"]
    assert {message["state"] for message in program.queue()} <= {"waiting", "deferred"}


class FewAtOnce(SmtpServer):
    """Takes two messages on a connection, then says so, at this place."""

    def __init__(self, reply: str, *, place: str = "mail", extensions: Sequence[str] = EXTENSIONS) -> None:
        super().__init__(faults={"final-dot": self._count, place: self._answer}, extensions=extensions)
        self._reply = reply
        self._counts = place == "final-dot"
        self._ended: Counter[int] = Counter()

    def _count(self, _content: bytes) -> None:
        self._ended[len(self.connections)] += 1

    def _answer(self, line: bytes) -> str | None:
        if self._counts:
            self._count(line)
        return self._reply if self._ended[len(self.connections)] >= 2 + self._counts else None


@pytest.mark.requirement("S19")
@pytest.mark.parametrize(
    "reply",
    [
        "421 4.4.1 Connection timed out",
        "421 4.4.2 mx.isp.example Error: timeout exceeded",
        "451 4.4.2 Timeout waiting for data from client.",
        "421 4.7.0 too many messages in this connection",
        "452 4.3.2 maximum of 2 messages per session reached",
    ],
)
def test_a_server_that_takes_few_messages_on_a_connection_gets_the_others_on_the_next(
    program: Program, reply: str
) -> None:
    with FewAtOnce(reply) as server:
        program.configure(server.port)
        enqueue(program, *"abcde")
        assert program.run("flush").stderr == ""
        server.wait_until_idle()
        assert len(server.accepted) == 5
        assert len(server.connections) == 3


@pytest.mark.requirement("S19", "R22")
@pytest.mark.parametrize("extensions", [EXTENSIONS, (*EXTENSIONS, "CHUNKING"), ("8BITMIME",)])
@pytest.mark.parametrize(
    ("place", "reply"),
    [
        # Stalwart; IONOS and its brands; Amazon SES
        ("data", "452 4.4.5 Maximum number of messages per session exceeded."),
        ("mail", "451 Requested action aborted: Mails per session limit exceeded."),
        ("rcpt", "451 Requested action aborted: Mails per session limit exceeded."),
        ("final-dot", "451 Requested action aborted: Mails per session limit exceeded."),
        ("data", "421 Maximum message count per session reached"),
    ],
)
def test_so_it_is_wherever_the_server_says_that_it_has_taken_its_messages(
    program: Program, place: str, reply: str, extensions: tuple[str, ...]
) -> None:
    with FewAtOnce(reply, place=place, extensions=extensions) as server:
        program.configure(server.port)
        enqueue(program, *"abcde")
        assert program.run("flush", "--json").json["relayed"] == 5
        server.wait_until_idle()
        # In chunks no DATA comes behind the first message, which has shown that the server means what it offers.
        assert len(server.connections) == (3 if place != "data" or "CHUNKING" not in extensions else 1)


@pytest.mark.requirement("R9", "R22")
def test_a_server_that_says_so_of_one_message_each_time_defers_that_one(program: Program) -> None:
    """Behind others it costs a connection, which shows that it is its own."""
    reply = "452 4.4.5 Maximum number of messages per session exceeded."
    faults = {"final-dot": lambda content: reply if b"To: c@example.com" in content else None}
    with SmtpServer(faults=faults) as server:
        program.configure(server.port)
        enqueue(program, *"abcde")
        for _ in range(3):
            program.run("flush", code=None)
            end_the_pause(program)
        server.wait_until_idle()
        assert {message.reverse_path[0] for message in server.accepted} == set("abde")
        assert len(server.connections) <= 6


@pytest.mark.requirement("R9")
def test_a_server_that_says_so_of_every_message_gets_so_many_connections_and_no_more(program: Program) -> None:
    with SmtpServer(faults={"mail": "452 4.3.2 maximum of 2 messages per session reached"}) as server:
        program.configure(server.port)
        for number in range(30):
            program.sendmail("-f", "a@isp.example", f"u{number}@example.com")
        assert "maximum of 2 messages per session" in program.run("flush", code=69).stderr
        assert len(server.connections) <= EXCUSED_CONNECTIONS + LOST_CONNECTIONS
    assert {message["state"] for message in program.queue()} == {"waiting", "deferred"}


@pytest.mark.requirement("R9", "R22")
def test_a_server_that_says_so_from_the_first_message_on_is_left_alone(program: Program) -> None:
    with SmtpServer(faults={"mail": "421 4.7.0 too many messages in this connection"}) as server:
        program.configure(server.port)
        enqueue(program, *"ab")
        program.run("flush", code=75)
        assert len(server.connections) == 1
    assert {message["attempts"] for message in program.queue()} == {0}
