"""A connection, or the account's patience, that ends among the recipients of a message: each has what is its own.

Who was refused stays refused, who was accepted gets the message, and who had no turn comes next; whatever the server
does at one of them, run after run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.campaign.machine import DAY_S, Machine, MovedClock
from tests.support.smtp_server import EXTENSIONS, HANG, Action, Cut, SmtpServer, Wait
from tests.support.spools import put
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.report import RunReport
from ucrmmail.delivery.run import BLAMED_CONNECTIONS, LOST_CONNECTIONS
from ucrmmail.limits.rules import Rules, Throttle
from ucrmmail.spool.listing import QueuedMessage

ONE_BY_ONE = tuple(each for each in EXTENSIONS if each != "PIPELINING")
CHUNKS = (*EXTENSIONS, "CHUNKING")
WAYS = pytest.mark.parametrize("extensions", [EXTENSIONS, ONE_BY_ONE, CHUNKS], ids=["group", "one by one", "chunks"])
RELAY = "554 5.7.1 <bad@example.com>: Relay access denied"
LOGIN = "530 5.7.1 authentication is required for this recipient"


def people(count: int, *bad: int) -> list[str]:
    return [("bad" if number in bad else "good") + f"{number}@example.com" for number in range(count)]


def at_the_bad(act: str | Action) -> Callable[[bytes], str | Action | None]:
    return lambda line: act if b"<bad" in line else None


def run(machine: Machine, server: SmtpServer, *, connections: int = 1, **settings: object) -> RunReport:
    options = Options(wait=False, keep_messages=True, connections=connections)
    report = machine.flush(machine.to(server, **settings), options=options)
    server.wait_until_idle()
    return report


def taken(server: SmtpServer) -> list[str]:
    return [one for message in server.accepted for one in message.recipients if message.reverse_path]


def results(message: QueuedMessage) -> dict[str, str]:
    return {one.recipient: one.result for one in message.delivery.recipients}


def mail(machine: Machine, *recipients: str) -> str:
    return put(machine.directory, *recipients, now=machine.clock.now())


def queued(machine: Machine, queue_id: str) -> QueuedMessage:
    (message,) = [each for each in machine.queue() if each.queue_id == queue_id]
    return message


@pytest.mark.requirement("R7", "S19")
@WAYS
@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("bad", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_a_server_that_refuses_a_recipient_and_hangs_up_keeps_the_message_from_nobody_else(
    tmp_path: Path, bad: Sequence[int], extensions: Sequence[str], connections: int
) -> None:
    """As Exim does with ``drop`` in an ACL."""
    machine = Machine(tmp_path)
    recipients = people(3, *bad)
    queue_id = mail(machine, *recipients)
    with SmtpServer(extensions=extensions, faults={"rcpt": at_the_bad(Cut(b"550 5.1.1 no such user\r\n"))}) as server:
        report = run(machine, server, connections=connections)
        assert sorted(taken(server)) == sorted(set(people(3)) & set(recipients))
    assert (report.exit_code, report.failed, report.deferred) == (0, 1, 0)
    found = results(queued(machine, queue_id))
    assert found == {each: "failed" if "bad" in each else "relayed" for each in recipients}


@pytest.mark.requirement("R9", "S19")
@pytest.mark.parametrize("reply", [b"550 5.1.1 no such user\r\n", b"550 5.1.1 no such user\r\n421 bye\r\n"])
def test_a_server_that_hangs_up_at_every_recipient_is_not_hammered(tmp_path: Path, reply: bytes) -> None:
    machine = Machine(tmp_path)
    for number in range(60):
        mail(machine, f"bad{number}@example.com")
    with SmtpServer(faults={"rcpt": at_the_bad(Cut(reply))}) as server:
        report = run(machine, server)
        assert len(server.connections) <= BLAMED_CONNECTIONS + LOST_CONNECTIONS
    states = [message.state for message in machine.queue() if "bad" in message.recipients[0]]
    assert (report.exit_code, report.failed, states.count("waiting")) == (
        69,
        len(server.connections),
        60 - report.failed,
    )


@pytest.mark.requirement("R7", "S19")
@WAYS
def test_a_server_that_refuses_mail_and_hangs_up_has_refused_the_message(
    tmp_path: Path, extensions: Sequence[str]
) -> None:
    machine = Machine(tmp_path)
    queue_id = mail(machine, *people(3))
    other = machine.accept("other@isp.example", "ann@example.com", b"Subject: other\r\n\r\nhi\r\n")
    refuse = Cut(b"550 5.7.1 you may not\r\n")
    faults = {"mail": lambda line: None if b"other@" in line or b"<>" in line else refuse}
    with SmtpServer(extensions=extensions, faults=faults) as server:
        report = run(machine, server)
        assert "ann@example.com" in taken(server)
    assert (report.exit_code, report.failed) == (0, 1)
    assert set(results(queued(machine, queue_id)).values()) == {"failed"}
    assert other not in [each.queue_id for each in machine.queue()]


@pytest.mark.requirement("R7", "S19")
@WAYS
def test_a_server_that_counts_errors_on_a_connection_gets_the_rest_on_a_new_one(
    tmp_path: Path, extensions: Sequence[str]
) -> None:
    """Postfix says 421 to everything behind smtpd_hard_error_limit, 20 errors, on a connection."""
    machine = Machine(tmp_path)
    recipients = people(100, *range(0, 100, 4))
    queue_id = mail(machine, *recipients)
    errors: dict[int, int] = {}

    def count(line: bytes) -> str | Action | None:
        number = len(server.connections)
        if errors.get(number, 0) >= 20:
            return Cut(b"421 4.7.0 mx.example.com Error: too many errors\r\n")
        if b"<bad" in line:
            errors[number] = errors.get(number, 0) + 1
            return "550 5.1.1 User unknown"
        return None

    with SmtpServer(extensions=extensions, faults={"rcpt": count, "data": count}) as server:
        report = run(machine, server)
        assert sorted(taken(server)) == sorted(each for each in recipients if "good" in each)
        assert len(server.connections) == 2
    assert (report.exit_code, report.failed, report.deferred) == (0, 1, 0)
    assert list(results(queued(machine, queue_id)).values()).count("failed") == 25


@pytest.mark.requirement("R7", "R22")
@WAYS
def test_a_quota_that_is_used_up_behind_some_recipients_lets_those_have_the_message(
    tmp_path: Path, extensions: Sequence[str]
) -> None:
    """Postfix's smtpd_client_recipient_rate_limit counts recipients: who comes behind it has had no turn."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    recipients = people(25)
    mail(machine, *recipients)
    asked: list[bytes] = []

    def count(line: bytes) -> str | None:
        asked.append(line)
        return "450 4.7.1 Error: too many recipients from 192.0.2.1" if len(asked) > 10 else None

    with SmtpServer(extensions=extensions, faults={"rcpt": count}) as server:
        for hour in range(3):
            asked.clear()
            report = run(machine, server)
            assert taken(server) == recipients[: 10 * (hour + 1)]
            if hour < 2:
                assert (report.exit_code, report.held_back) == (75, 1)
                (left,) = machine.queue()
                assert (left.state, left.attempts) == ("waiting", 0)
            clock.offset += DAY_S
    assert machine.queue() == []


@pytest.mark.requirement("S4", "S19", "R7")
@WAYS
@pytest.mark.parametrize("act", [HANG, Wait(3.0)], ids=["for ever", "for long"])
def test_a_server_that_is_silent_at_one_recipient_costs_that_one_alone_an_attempt(
    tmp_path: Path, extensions: Sequence[str], act: Action
) -> None:
    machine = Machine(tmp_path)
    recipients = people(5, 2)
    mail(machine, *recipients)
    with SmtpServer(extensions=extensions, faults={"rcpt": at_the_bad(act)}) as server:
        report = run(machine, server, timeout_s=1.0)
        assert sorted(taken(server)) == sorted(each for each in recipients if "good" in each)
    assert (report.exit_code, report.deferred) == (0, 1)
    (left,) = machine.queue()
    assert (left.state, left.attempts, left.delivery.pending) == ("deferred", 1, (recipients[2],))


@pytest.mark.requirement("S19")
@WAYS
@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "among others"])
@pytest.mark.parametrize("reply", [LOGIN, RELAY], ids=["login", "relay"])
def test_a_login_that_is_wanted_for_one_recipient_alone_stops_nobody_else(
    tmp_path: Path, extensions: Sequence[str], connections: int, alone: bool, reply: str
) -> None:
    """As relays do that are open to their own domain. Nothing bounces by it either: a setting can mend it."""
    machine = Machine(tmp_path)
    recipients = ["bad@example.com"] if alone else people(3, 1)
    queue_id = mail(machine, *recipients)
    others = [mail(machine, f"other{number}@example.com") for number in range(4)]
    with SmtpServer(extensions=extensions, faults={"rcpt": at_the_bad(reply)}) as server:
        report = run(machine, server, connections=connections)
        assert len(taken(server)) == len(others) + (0 if alone else 2)
    assert (report.exit_code, report.deferred, report.failed) == (0, 1, 0)
    left = queued(machine, queue_id)
    assert (left.state, left.attempts, len(left.delivery.pending)) == ("deferred", 1, 1)
    assert reply in left.reason


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("reply", [LOGIN, RELAY], ids=["login", "relay"])
def test_a_login_that_is_wanted_for_all_stops_the_run_after_two_of_them(
    tmp_path: Path, connections: int, reply: str
) -> None:
    """A name of the user that was forgotten in the settings bounces nobody's mail."""
    machine = Machine(tmp_path)
    for number in range(20):
        mail(machine, f"user{number}@example.com")
    with SmtpServer(faults={"rcpt": reply}) as server:
        report = run(machine, server, connections=connections)
        asked = [line for line in server.commands if line.startswith(b"RCPT")]
        assert len(asked) <= 2 * connections + 2
    assert (report.exit_code, report.held_back) == (77, 20)
    assert {(message.state, message.attempts) for message in machine.queue()} == {("waiting", 0)}


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("act", [Cut(b"421 4.3.0 go away\r\n"), LOGIN, "450 4.7.0 too many messages"])
def test_a_message_that_was_found_to_be_to_blame_once_never_stands_for_the_account_again(
    tmp_path: Path, act: str | Action
) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    culprit = mail(machine, "bad@example.com")
    with SmtpServer(faults={"rcpt": at_the_bad(act)}) as server:
        assert run(machine, server).exit_code in {75, 77}
        clock.offset += 600
        mail(machine, "good@example.com")
        report = run(machine, server)
        assert (report.exit_code, report.relayed, report.deferred) == (0, 1, 1)
        for attempts in range(2, 5):
            # It is all that is due, and what it meets is its own.
            clock.offset += DAY_S
            report = run(machine, server)
            assert (report.exit_code, report.deferred, report.trouble) == (0, 1, None)
            assert queued(machine, culprit).attempts == attempts
        mail(machine, "good@example.com")
        assert run(machine, server).relayed == 1
        clock.offset += 5 * DAY_S
        assert run(machine, server).failed == 1
    assert queued(machine, culprit).state == "failed"


@pytest.mark.requirement("R19", "R7")
@pytest.mark.parametrize("sliding", [False, True])
def test_a_message_to_more_recipients_than_a_limit_holds_keeps_nothing_waiting_that_there_is_room_for(
    tmp_path: Path, sliding: bool
) -> None:
    clock = MovedClock()
    rules = Rules(throttles=(Throttle(50, DAY_S, sliding=sliding, unit="recipients"),))
    machine = Machine(tmp_path, clock=clock, rules=rules)
    mail(machine, "first@example.com")
    with SmtpServer() as server:
        run(machine, server)
        mail(machine, *people(60))
        report = run(machine, server)
        assert len(taken(server)) == 50, "there was room for 49 of them"
        assert (report.reason, report.held_back) == ("throttler", 1)
        clock.offset += DAY_S + 1
        mail(machine, "behind@example.com")
        assert run(machine, server).relayed == 2
    assert re.sub(r"\d", "", " ".join(taken(server)[-12:])) == "good@example.com " * 11 + "behind@example.com"
    assert machine.queue() == []


@pytest.mark.requirement("R19", "R7")
def test_what_is_refused_in_a_part_leaves_its_place_to_the_others(tmp_path: Path) -> None:
    machine = Machine(tmp_path, rules=Rules(throttles=(Throttle(5, DAY_S, unit="recipients"),)))
    mail(machine, *people(8, 0, 3))
    with SmtpServer(faults={"rcpt": at_the_bad("550 5.1.1 no such user")}) as server:
        run(machine, server)
        assert len(taken(server)) == 5


@pytest.mark.parametrize("connections", [1, 2])
def test_a_server_that_counts_a_used_up_connection_for_a_moment_longer_is_asked_again(
    tmp_path: Path, connections: int
) -> None:
    machine = Machine(tmp_path)
    for number in range(4):
        mail(machine, f"user{number}@example.com")
    faults = {
        "mail": [None, None, Cut(b"421 4.7.0 too many messages in this connection\r\n")],
        "greeting": [None] * connections + [Cut(b"421 4.7.0 too many connections\r\n")],
    }
    with SmtpServer(faults=faults) as server:
        report = run(machine, server, connections=connections)
        assert (report.exit_code, report.relayed, len(taken(server))) == (0, 4, 4)


@pytest.mark.requirement("R9")
@pytest.mark.parametrize("rules", [Rules(), Rules(throttles=(Throttle(1000, DAY_S),))], ids=["processes", "threads"])
@pytest.mark.parametrize("others_stay", [True, False])
def test_a_connection_that_is_not_let_in_again_stops_the_others_only_when_it_is_the_last(
    tmp_path: Path, rules: Rules, others_stay: bool
) -> None:
    """The first one, too: a server that takes so many messages on each counts it for a moment after its end."""
    machine = Machine(tmp_path, rules=rules)
    for number in range(30):
        mail(machine, f"user{number}@example.com")
    begun: dict[int, int] = {}

    def greet(_line: bytes) -> str | Action | None:
        refused = len(server.connections) == 4 if others_stay else len(server.connections) > 3
        return Cut(b"421 4.7.0 too many connections from you\r\n") if refused else None

    def take(line: bytes) -> str | Action | None:
        which = next(at for at, each in enumerate(server.connections) if each.commands and each.commands[-1] is line)
        begun[which] = begun.get(which, 0) + 1
        if begun[which] > 3 and not (others_stay and which):
            return Cut(b"421 4.7.0 too many messages in this connection\r\n")
        return Wait(0.05)

    with SmtpServer(faults={"greeting": greet, "mail": take}) as server:
        report = run(machine, server, connections=3)
        sent = len(taken(server))
    if others_stay:
        assert (report.exit_code, report.relayed, sent) == (0, 30, 30)
    else:
        assert (report.exit_code, report.relayed, report.held_back) == (75, sent, 30 - sent)
        assert 3 <= sent <= 9
