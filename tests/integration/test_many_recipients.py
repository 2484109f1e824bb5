"""What becomes of each of many recipients: only who was put off is asked again, and nobody gets a message twice."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Sequence
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from tests.campaign.machine import DAY_S, Machine, MovedClock, OurStop
from tests.support.flushes import CHUNKS, WAYS, mail, people, queued, results, run, taken
from tests.support.policies import LikeTheFirst
from tests.support.smtp_server import DROP, EXTENSIONS, HANG, Action, Cut, Fault, SmtpServer, Wait
from tests.support.spools import put
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.report import RunReport
from ucrmmail.limits.rules import Rules, Throttle

MIXED = [f"d{number % 3}" for number in range(60)]
OTHER_POLICY = (
    "452-4.5.3 Domain policy size per transaction exceeded. Please send this\n"
    "452 4.5.3 recipient in a separate transaction."
)


def taken_by(server: SmtpServer) -> list[str]:
    """Whom the server has accepted the message for; a report of a failure is not the message."""
    server.wait_until_idle()
    return [recipient for message in server.accepted for recipient in message.recipients if "user" in recipient]


def flush_one_part(machine: Machine, server: SmtpServer) -> RunReport:
    """A run that is asked to stop while the server thinks about its second MAIL."""
    mails: list[bytes] = []

    def stop(line: bytes) -> Action | None:
        mails.append(line)
        if len(mails) == 1:
            return None
        machine.stop.request(signal.SIGTERM)
        return HANG

    machine.stop = OurStop()
    server.faults["mail"] = stop
    try:
        return machine.flush(machine.to(server))
    finally:
        del server.faults["mail"]
        machine.stop = OurStop()


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("most", [0, 3], ids=["any-number", "three-a-transaction"])
@pytest.mark.parametrize(
    ("reply", "state"), [("450 4.2.1 later", "deferred"), ("550 5.1.1 no such user", "failed")], ids=["4yz", "5yz"]
)
@pytest.mark.parametrize("count", [1, 2, 100, 1000])
def test_of_many_recipients_the_refused_one_alone_is_tried_again_or_fails(
    tmp_path: Path, count: int, reply: str, state: str, most: int
) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    recipients = [f"user{number}@example.com" for number in range(count)]
    odd = recipients[count // 2]
    others = [recipient for recipient in recipients if recipient != odd]
    queue_id = put(machine.directory, *recipients, now=clock.now())
    refusing = {"rcpt": lambda line: reply if b"<%b>" % odd.encode() in line else None}
    with SmtpServer(faults=refusing, most_recipients=most) as server:
        machine.flush(machine.to(server))
        assert sorted(taken_by(server)) == sorted(others)
        assert max((len(message.recipients) for message in server.accepted), default=0) <= (most or count)
    (left,) = [message for message in machine.queue() if message.queue_id == queue_id]
    assert left.state == state
    results = {recipient.recipient: recipient.result for recipient in left.delivery.recipients}
    assert results == {**dict.fromkeys(others, "relayed"), odd: state}
    clock.offset += DAY_S
    with SmtpServer(most_recipients=most) as server:
        machine.flush(machine.to(server))
        assert taken_by(server) == ([odd] if state == "deferred" else [])
    assert [message.state for message in machine.queue() if message.queue_id == queue_id] == (
        [] if state == "deferred" else ["failed"]
    )


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("place", ["data", "final-dot"])
@pytest.mark.parametrize(("reply", "state"), [("451 4.7.1 later", "deferred"), ("550 5.7.1 no attachments", "failed")])
@WAYS
def test_what_a_recipient_is_refused_for_in_a_transaction_of_his_own_keeps_it_from_nobody_else(
    tmp_path: Path, extensions: tuple[str, ...], reply: str, state: str, place: str
) -> None:
    """Servers with a filter for each mailbox take recipients one by one, so that it can say no to the content."""
    machine = Machine(tmp_path)
    recipients = people(4)
    queue_id = mail(machine, *recipients)
    # A chunk that is not the last there is in the first transaction alone, to see whether the server knows it.
    refusals = [reply] if place == "data" and extensions == CHUNKS else [None, reply]
    with SmtpServer(
        faults={"chunk" if len(refusals) == 1 else place: refusals}, most_recipients=1, extensions=extensions
    ) as server:
        run(machine, server)
    refused = recipients[len(refusals) - 1]
    assert taken(server) == [one for one in recipients if one != refused]
    assert results(queued(machine, queue_id)) == {**dict.fromkeys(recipients, "relayed"), refused: state}


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("place", ["data", "final-dot"])
@pytest.mark.parametrize("reply", ["451 4.7.1 later", "550 5.7.1 spam"])
def test_a_hang_up_behind_each_refusal_costs_no_connection_for_each_who_waits(
    tmp_path: Path, reply: str, place: str
) -> None:
    """Exim's `drop`: the run had ended for the account, and no other mail went; nor do the others bounce for it."""
    machine = Machine(tmp_path)
    recipients = people(30)
    queue_id, other = mail(machine, *recipients), put(machine.directory, reverse_path="", now=machine.clock.now() + 1)
    senders: list[bytes] = []

    def refused(_line: bytes) -> Action | None:
        return Cut(f"{reply}\r\n".encode()) if b"<>" not in senders[-1] else None

    with SmtpServer(faults={"mail": senders.append, place: refused}, most_recipients=1) as server:
        report = run(machine, server)
    assert (report.trouble, len(server.accepted) > 0) == (None, True)
    assert other not in [each.queue_id for each in machine.queue()]
    # The first hang-up of a run may mean that commands came in a group.
    assert len(server.connections) <= 4
    assert queued(machine, queue_id).delivery.attempts == 1
    assert set(list(results(queued(machine, queue_id)).values())[2:]) == {"deferred"}


def test_that_a_single_recipient_is_too_many_is_not_asked_for_each_of_them(tmp_path: Path) -> None:
    """The server miscounts, or means something else: the message had gone over the line once for each of them."""
    machine = Machine(tmp_path)
    queue_id = mail(machine, *people(40))
    with SmtpServer(faults={"final-dot": "452 4.5.3 too many recipients"}) as server:
        run(machine, server)
    assert len(server.messages) == 6
    assert set(results(queued(machine, queue_id)).values()) == {"deferred"}


QUOTAS: dict[str, tuple[dict[str, Fault], int]] = {
    "at MAIL": ({"mail": [None, "450 4.7.0 too many messages, slow down"]}, 75),
    "at the dot": ({"final-dot": [None, "451 4.7.1 too many messages from this account"]}, 75),
    "421": ({"mail": [None, "421 4.7.0 try again later, too busy"]}, 75),
    "of the connection": ({"mail": [None, "452 4.5.3 too many messages in this session"]}, 0),
}


@pytest.mark.requirement("R7", "R22")
@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize(("faults", "code"), QUOTAS.values(), ids=QUOTAS)
def test_a_trouble_of_the_account_between_two_transactions_costs_nobody_who_waits_an_attempt(
    tmp_path: Path, faults: dict[str, Fault], code: int, connections: int
) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    recipients = [f"user{number}@example.com" for number in range(10)]
    put(machine.directory, *recipients, now=clock.now())
    options = Options(wait=False, connections=connections, keep_messages=True)
    with SmtpServer(faults=faults, most_recipients=3) as server:
        report = machine.flush(machine.to(server), options=options)
        assert report.exit_code == code
        assert taken_by(server) == (recipients if code == 0 else recipients[:3])
    if code:
        (left,) = machine.queue()
        assert (left.state, left.attempts, left.next_attempt_at) == ("waiting", 0, 0.0)
        assert (report.held_back, report.deferred) == (1, 0)
        clock.offset += DAY_S
        with SmtpServer(most_recipients=3) as server:
            machine.flush(machine.to(server), options=options)
            assert taken_by(server) == recipients[3:]
    assert machine.queue() == []


@pytest.mark.requirement("R2", "R7")
def test_a_run_that_is_asked_to_stop_between_two_transactions_costs_nobody_who_waits_an_attempt(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path)
    recipients = [f"user{number}@example.com" for number in range(10)]
    put(machine.directory, *recipients, now=machine.clock.now())

    def stop(line: bytes) -> str | None:
        machine.stop.request(signal.SIGTERM)
        return None

    with SmtpServer(faults={"final-dot": stop}, most_recipients=3) as server:
        machine.flush(machine.to(server))
        assert taken_by(server) == recipients[:3]
    (left,) = machine.queue()
    assert (left.state, left.attempts) == ("waiting", 0)


@pytest.mark.requirement("R7", "R19")
def test_who_is_put_off_under_a_limit_of_recipients_puts_off_nobody_else(tmp_path: Path) -> None:
    machine = Machine(tmp_path, rules=Rules(throttles=(Throttle(3, 0.3, unit="recipients"),)))
    recipients = [f"user{number}@example.com" for number in range(12)]
    put(machine.directory, *recipients, now=machine.clock.now())
    greylisting = {"rcpt": lambda line: "450 4.2.0 greylisted" if b"user0@" in line or b"user7@" in line else None}
    with SmtpServer(faults=greylisting) as server:
        report = machine.flush(machine.to(server), options=Options(wait=True))
        assert sorted(taken_by(server)) == sorted({*recipients} - {recipients[0], recipients[7]})
        # Each of them was asked once.
        assert len([line for line in server.commands if line.startswith(b"RCPT")]) == 12
    (left,) = machine.queue()
    assert (left.state, left.attempts, report.deferred) == ("deferred", 1, 1)
    assert left.delivery.pending == (recipients[0], recipients[7])


@pytest.mark.requirement("R7", "R17")
@pytest.mark.parametrize("extensions", [EXTENSIONS, ("8BITMIME",), (*EXTENSIONS, "CHUNKING")], ids=["pipelined", "one by one", "chunks"])  # fmt: skip
def test_a_server_that_is_slow_with_each_recipient_gets_the_message_in_parts(
    tmp_path: Path, extensions: tuple[str, ...]
) -> None:
    """No run has the time for all of them, and none is lost or put off for that."""
    machine = Machine(tmp_path)
    recipients = [f"user{number}@example.com" for number in range(40)]
    put(machine.directory, *recipients, now=machine.clock.now())
    runs = 0
    with SmtpServer(extensions=extensions, faults={"rcpt": lambda _line: Wait(0.05)}) as server:
        while machine.queue() and runs < 20:
            runs += 1
            report = machine.flush(
                machine.to(server, timeout_s=1.0), options=Options(wait=False, time_limit_s=0.5, keep_messages=True)
            )
            assert (report.exit_code, report.deferred, report.failed) == (0, 0, 0)
            assert all((left.state, left.attempts) == ("waiting", 0) for left in machine.queue())
        server.wait_until_idle()
        assert taken_by(server) == recipients
        assert len([line for line in server.commands if line.startswith(b"RCPT")]) == 40
    assert 1 < runs < 10


def test_many_recipients_are_asked_for_in_groups_in_which_no_server_counts_too_many_errors(tmp_path: Path) -> None:
    """Postfix hangs up after twenty (smtpd_hard_error_limit), and who was accepted before them would get nothing."""
    machine = Machine(tmp_path)
    put(machine.directory, *[f"user{number}@example.com" for number in range(1000)], now=machine.clock.now())
    with SmtpServer() as server:
        machine.flush(machine.to(server))
        groups = [read.count(b"RCPT") for read in server.connections[0].reads if b"RCPT" in read]
        assert len(server.accepted) == 1
    assert groups[0] == 20
    assert set(groups[1:-1]) == {19}


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("extensions", [EXTENSIONS, ("PIPELINING", "CHUNKING"), ("8BITMIME",)])
@pytest.mark.parametrize("place", ["data", "final-dot"])
@pytest.mark.parametrize(
    "reply",
    ["554 Transaction failed: Recipient count exceeds 50.", "550 5.5.3 too many recipients", "452 4.5.3 too many"],
)
def test_who_counts_the_recipients_behind_the_last_one_gets_the_message_in_parts(
    tmp_path: Path, reply: str, place: str, extensions: Sequence[str]
) -> None:
    """Amazon SES refuses at the end of the content, and the message had failed for all of them."""
    machine = Machine(tmp_path)
    recipients = [f"user{number}@example.com" for number in range(120)]
    put(machine.directory, *recipients, now=machine.clock.now())
    here = threading.local()

    def at_mail(_line: bytes) -> None:
        here.asked = 0

    def at_rcpt(_line: bytes) -> None:
        here.asked += 1

    def refuse(_line: bytes) -> str | None:
        return reply if here.asked > 30 else None

    faults: dict[str, Fault] = {"mail": at_mail, "rcpt": at_rcpt, place: refuse}
    with SmtpServer(extensions=extensions, faults=faults) as server:
        report = machine.flush(machine.to(server))
        server.wait_until_idle()
        if place == "data" and "CHUNKING" in extensions:
            assert len(server.accepted) == 1
        else:
            assert [len(message.recipients) for message in server.accepted] == [30, 30, 30, 30]
        assert sorted(taken_by(server)) == sorted(recipients)
        assert len(server.connections) <= 2
    assert (report.exit_code, report.relayed, report.failed) == (0, 1, 0)


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("extensions", [EXTENSIONS, ("8BITMIME",)])
def test_how_many_recipients_a_server_takes_is_learnt_from_the_first_transactions(
    tmp_path: Path, extensions: Sequence[str]
) -> None:
    """Each transaction asked for twenty anew, and servers count what they refuse."""
    machine = Machine(tmp_path)
    recipients = [f"user{number}@example.com" for number in range(200)]
    put(machine.directory, *recipients, now=machine.clock.now())
    with SmtpServer(most_recipients=5, extensions=extensions) as server:
        machine.flush(machine.to(server))
        assert sorted(taken_by(server)) == sorted(recipients)
        assert len([line for line in server.commands if line.startswith(b"RCPT")]) <= 200 + 40


@pytest.mark.requirement("R7")
@pytest.mark.parametrize(
    ("domains", "reply", "extensions"),
    [
        (MIXED, "452 4.5.3 not together with these", EXTENSIONS),
        (MIXED, OTHER_POLICY, EXTENSIONS),
        (sorted(MIXED), OTHER_POLICY, EXTENSIONS),
        (sorted(MIXED), OTHER_POLICY, ("8BITMIME",)),
        (["d0", "d1", "d2", "d3"], OTHER_POLICY, EXTENSIONS),
    ],
    ids=["mixed", "told", "sorted", "one by one", "few"],
)
def test_recipients_who_are_refused_together_with_those_of_other_domains_are_no_number(
    tmp_path: Path, domains: list[str], reply: str, extensions: Sequence[str]
) -> None:
    """What came behind such a message went to one recipient at a time."""
    machine = Machine(tmp_path)
    recipients = [f"user{number}@{domain}.example" for number, domain in enumerate(domains)]
    put(machine.directory, *recipients, now=machine.clock.now())
    others = [f"user9{number}@d0.example" for number in range(60)]
    put(machine.directory, *others, now=machine.clock.now() + 1)
    policy = LikeTheFirst(lambda line: line.partition(b"@")[2], reply)
    with SmtpServer(faults={"mail": policy.at_mail, "rcpt": policy.at_rcpt}, extensions=extensions) as server:
        report = machine.flush(machine.to(server))
        server.wait_until_idle()
        assert sorted(taken_by(server)) == sorted(recipients + others)
        assert len(server.accepted[-1].recipients) == 60
        assert len(server.connections) == 1
    assert (report.exit_code, report.relayed, machine.queue()) == (0, 2, [])


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("place", ["data", "final-dot"])
def test_who_says_good_bye_for_too_many_recipients_gets_the_message_in_parts(tmp_path: Path, place: str) -> None:
    machine = Machine(tmp_path)
    recipients = [f"user{number}@example.com" for number in range(40)]
    put(machine.directory, *recipients, now=machine.clock.now())
    here = threading.local()

    def at_mail(_line: bytes) -> None:
        here.asked = 0

    def at_rcpt(_line: bytes) -> None:
        here.asked += 1

    def refuse(_line: bytes) -> Action | None:
        return Cut(b"421 4.5.3 too many recipients\r\n") if here.asked > 5 else None

    with SmtpServer(faults={"mail": at_mail, "rcpt": at_rcpt, place: refuse}) as server:
        report = machine.flush(machine.to(server))
        assert sorted(taken_by(server)) == sorted(recipients)
    assert (report.exit_code, report.trouble) == (0, None)


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("most", [8, 20])
def test_who_hangs_up_at_few_recipients_gets_fewer_with_each_attempt(tmp_path: Path, most: int) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put(machine.directory, *[f"user{number}@example.com" for number in range(60)], now=machine.clock.now())
    here = threading.local()

    def at_mail(_line: bytes) -> None:
        here.asked = 0

    def at_rcpt(_line: bytes) -> Action | None:
        here.asked += 1
        return DROP if here.asked > most else None

    with SmtpServer(faults={"mail": at_mail, "rcpt": at_rcpt}) as server:
        for _ in range(8):
            machine.flush(machine.to(server))
            clock.offset += 4000.0
        assert len(taken_by(server)) == len(set(taken_by(server))) == 60
    assert machine.queue() == []


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("connections", [1, 3])
def test_who_takes_few_recipients_and_few_messages_on_a_connection_gets_all_in_one_run(
    tmp_path: Path, connections: int
) -> None:
    """It was taken for a quota of the account: 5 of 405 after three hours, and each run began with all of them."""
    machine = Machine(tmp_path)
    recipients = [f"user{number}@example.com" for number in range(40)]
    put(machine.directory, *recipients, now=machine.clock.now())
    others = [put(machine.directory, f"user9{number}@example.com", now=machine.clock.now()) for number in range(3)]
    here = threading.local()

    def at_mail(_line: bytes) -> Action | None:
        here.asked = 0
        if getattr(here, "thread", None) is not threading.current_thread():
            here.thread, here.mails = threading.current_thread(), 0
        here.mails += 1
        return Cut(b"421 4.7.0 too many messages in this connection\r\n") if here.mails > 3 else None

    def at_rcpt(_line: bytes) -> None:
        here.asked += 1

    def refuse(_line: bytes) -> str | None:
        return "554 5.5.3 too many recipients" if here.asked > 5 else None

    faults: dict[str, Fault] = {"mail": at_mail, "rcpt": at_rcpt, "final-dot": refuse}
    with SmtpServer(faults=faults) as server:
        report = machine.flush(machine.to(server), options=Options(wait=False, connections=connections))
        server.wait_until_idle()
        assert len(taken_by(server)) == len(recipients) + len(others)
    assert (report.exit_code, report.trouble, machine.queue()) == (0, None, [])


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("extensions", [EXTENSIONS, ("8BITMIME",), (*EXTENSIONS, "CHUNKING")])
@pytest.mark.parametrize(
    ("act", "messages", "each"),
    [
        ("452 4.5.3 too many recipients", 60, 1),
        ("452 4.5.3 too many recipients", 1, 60),
        ("452 4.5.3 too many recipients", 4, 15),
        ("450 4.7.1 too many recipients in this session", 60, 1),
        ("450 4.7.1 too many recipients in this session", 4, 15),
        # In the middle of a message it may mean the recipient.
        (Cut(b"421 4.7.0 too many recipients on this connection\r\n"), 60, 1),
        (Cut(b"421 4.5.3 too many recipients\r\n"), 60, 1),
    ],
)
def test_who_takes_few_recipients_on_a_connection_gets_the_others_on_the_next(
    tmp_path: Path, act: str | Action, messages: int, each: int, extensions: Sequence[str]
) -> None:
    """They were deferred one after the other, and each run had one connection."""
    machine = Machine(tmp_path)
    everybody = [[f"user{number}.{one}@example.com" for one in range(each)] for number in range(messages)]
    for recipients in everybody:
        put(machine.directory, *recipients, now=machine.clock.now())
    here = threading.local()

    def at_rcpt(_line: bytes) -> str | Action | None:
        here.asked = getattr(here, "asked", 0) + 1
        return act if here.asked > 10 else None

    with SmtpServer(extensions=extensions, faults={"rcpt": at_rcpt}) as server:
        report = machine.flush(machine.to(server))
        server.wait_until_idle()
        assert sorted(taken_by(server)) == sorted(one for recipients in everybody for one in recipients)
        assert len(server.connections) <= 7
    assert (report.exit_code, report.relayed, machine.queue()) == (0, messages, [])


@pytest.mark.requirement("R7", "S19")
def test_who_takes_a_recipient_on_no_connection_has_him_deferred(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for name in ("ann", "bad", "bob", "bad", "eve"):
        put(machine.directory, f"{name}@example.com", now=machine.clock.now())
    with SmtpServer(
        faults={"rcpt": lambda line: "452 4.5.3 too many recipients" if b"<bad" in line else None}
    ) as server:
        report = machine.flush(machine.to(server))
        server.wait_until_idle()
        assert len(server.accepted) == 3
        assert len(server.connections) <= 3
    assert (report.exit_code, report.deferred, report.trouble) == (0, 2, None)
    assert [message.attempts for message in machine.queue()] == [1, 1]


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("act", [DROP, Cut(b"421 4.5.3 too much\r\n")])
def test_who_hangs_up_at_one_recipient_too_many_gets_fewer_at_a_time(tmp_path: Path, act: Action) -> None:
    """Each attempt had met it again, six times, and the others had it after two days."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put(machine.directory, *[f"user{number}@example.com" for number in range(120)], now=machine.clock.now())
    here = threading.local()

    def at_mail(_line: bytes) -> None:
        here.asked = 0

    def at_rcpt(_line: bytes) -> Action | None:
        here.asked += 1
        return act if here.asked > 50 else None

    with SmtpServer(faults={"mail": at_mail, "rcpt": at_rcpt}) as server:
        machine.flush(machine.to(server))
        server.wait_until_idle()
        # All but the one at whom it hung up, who may be to blame.
        assert len(taken_by(server)) == 119
        assert len(server.connections) == 2
        clock.offset += 3600.0
        machine.flush(machine.to(server))
        server.wait_until_idle()
        assert len(taken_by(server)) == 120
    assert machine.queue() == []


@pytest.mark.requirement("R1", "R7")
@pytest.mark.parametrize("connections", [1, 2])
def test_a_killed_run_repeats_one_transaction_of_a_message_that_needs_several(tmp_path: Path, connections: int) -> None:
    machine = Machine(tmp_path)
    recipients = [f"user{number}@example.com" for number in range(30)]
    put(machine.directory, *recipients, now=machine.clock.now())
    dots = [0]
    leader: list[int] = []

    def kill_at_the_fifth(_line: bytes) -> Action | None:
        dots[0] += 1
        if dots[0] != 5:
            return None
        os.killpg(leader[0], signal.SIGKILL)
        return HANG

    def flush() -> None:
        # So that the kill meets its processes as well.
        os.setpgid(0, 0)
        machine.flush(machine.to(server), options=options)

    options = Options(wait=False, connections=connections)
    with SmtpServer(faults={"final-dot": kill_at_the_fifth}, most_recipients=5) as server:
        run = ForkProcess(target=flush)
        run.start()
        assert run.pid is not None
        leader.append(run.pid)
        run.join()
        assert run.exitcode == -signal.SIGKILL
        server.wait_until_idle()
        assert taken_by(server) == recipients[:20]
        machine.flush(machine.to(server), options=options)
        assert taken_by(server) == recipients
    assert machine.queue() == []


@pytest.mark.requirement("S19")
def test_a_message_that_is_late_does_not_keep_others_waiting_run_after_run(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    now = machine.clock.now()
    recipients = [f"user{number}@example.com" for number in range(60)]
    put(machine.directory, *recipients, now=now - 60)
    slow = {"rcpt": lambda line: Wait(0.05) if b"user" in line else None}
    sent: list[list[str]] = []
    with SmtpServer(extensions=("8BITMIME",), faults=slow) as server:
        for number in range(3):
            put(machine.directory, f"other{number}@example.com", now=now + number)
            # Less urgent, it waits until the message that is late is through.
            put(machine.directory, f"bulk{number}@example.com", now=now - 90 + number, priority="bulk")
            before = len(server.accepted)
            machine.flush(
                machine.to(server, timeout_s=1.0), options=Options(wait=False, time_limit_s=0.5, keep_messages=True)
            )
            server.wait_until_idle()
            sent.append([message.recipients[0] for message in server.accepted[before:]])
    assert sent[0] == ["user0@example.com"]
    # The first run had no time for it; from then on, others of its priority go before it, and less urgent ones never do.
    assert sent[1][:3] == ["other0@example.com", "other1@example.com", sent[1][2]]
    assert sent[1][2].startswith("user")
    assert sent[2][0] == "other2@example.com"
    assert not any(name.startswith("bulk") for names in sent for name in names)


def test_who_is_given_up_with_the_last_part_is_reported_and_logged_as_failed(tmp_path: Path) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    recipients = [f"user{number}@example.com" for number in range(4)]
    put(machine.directory, *recipients, now=clock.now())
    with SmtpServer(faults={"rcpt": lambda line: "450 4.2.1 later" if b"user" in line else None}) as server:
        machine.flush(machine.to(server))
        clock.offset += 6 * DAY_S
        machine.rules = Rules(throttles=(Throttle(2, 0.2, unit="recipients"),))
        report = machine.flush(machine.to(server), options=Options(wait=True, keep_messages=True))
    (message,) = [each for each in report.messages if "user0@example.com" in [one.recipient for one in each.outcomes]]
    assert {outcome.recipient: outcome.result.value for outcome in message.outcomes} == dict.fromkeys(
        recipients, "failed"
    )
    log = (Path(machine.directory) / "delivery.log").read_text()
    assert all(f"to=<{each}> failed" in log for each in recipients)


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("connections", [1, 2])
def test_a_message_in_several_transactions_keeps_its_place_before_what_is_less_urgent(
    tmp_path: Path, connections: int
) -> None:
    machine = Machine(tmp_path)
    now = machine.clock.now()
    put(machine.directory, *[f"user{number}@example.com" for number in range(10)], now=now, priority="urgent")
    for number in range(30):
        put(machine.directory, f"other{number}@example.com", now=now - 60 + number)
    with SmtpServer(most_recipients=2) as server:
        machine.flush(machine.to(server), options=Options(wait=False, connections=connections))
        server.wait_until_idle()
        first = [message.recipients[0] for message in server.accepted]
    urgent = [at for at, name in enumerate(first) if name.startswith("user")]
    assert len(urgent) == 5
    # With several connections the others send meanwhile.
    assert urgent == [0, 1, 2, 3, 4] or connections == 2
    assert len(first) == 35


@pytest.mark.requirement("R7")
def test_urgent_mail_that_comes_between_two_parts_goes_between_them(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    now = machine.clock.now()
    put(machine.directory, *[f"user{number}@example.com" for number in range(10)], now=now, priority="bulk")
    for number in range(5):
        put(machine.directory, f"bulk{number}@example.com", now=now + 1 + number, priority="bulk")

    def urgent_comes(_line: bytes) -> Action | None:
        if len(server.messages) != 2:
            return None
        put(machine.directory, "urgent@example.com", now=now, priority="urgent")
        # For as long as the queue is not looked at again.
        return Wait(1.1)

    with SmtpServer(faults={"final-dot": urgent_comes}, most_recipients=2) as server:
        machine.flush(machine.to(server))
        server.wait_until_idle()
        first = [message.recipients[0] for message in server.accepted]
    assert "urgent@example.com" in first[2:4]
    assert [name for name in first if name[0] != "u" or name == "urgent@example.com"][1:] == [
        f"bulk{number}@example.com" for number in range(5)
    ]
    assert len(first) == 5 + 5 + 1


def reports(server: SmtpServer) -> list[bytes]:
    return [message.content for message in server.accepted if b"report-type=delivery-status" in message.content]


@pytest.mark.requirement("R8")
def test_who_is_refused_in_several_parts_is_told_in_one_report(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    put(machine.directory, *[f"user{number}@example.com" for number in range(20)], now=machine.clock.now())
    refusing = {"rcpt": lambda line: "550 5.1.1 no such user" if re.search(rb"user\d*[13579]@", line) else None}
    with SmtpServer(faults=refusing, most_recipients=3) as server:
        machine.flush(machine.to(server))
        server.wait_until_idle()
        (report,) = reports(server)
    assert len(re.findall(rb"(?i)final-recipient:[^\r\n]*user\d*[13579]@", report)) == 10


@pytest.mark.requirement("R8")
def test_a_failure_in_a_part_is_reported_once_though_the_run_ends_behind_it(tmp_path: Path) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    recipients = [f"user{number}@example.com" for number in range(6)]
    put(machine.directory, *recipients, now=clock.now())
    faults: dict[str, Fault] = {
        "rcpt": lambda line: (
            "550 5.1.1 no such user" if b"user0@" in line else "450 4.2.1 later" if b"user1@" in line else None
        )
    }
    told: list[bytes] = []
    with SmtpServer(faults=faults, most_recipients=2) as server:
        for _ in range(6):
            flush_one_part(machine, server)
            server.wait_until_idle()
        told += reports(server)
        assert len(told) == 1
        assert b"user0@example.com" in told[0]
        clock.offset += 6 * DAY_S
        report = flush_one_part(machine, server)
        machine.flush(machine.to(server))
        server.wait_until_idle()
        assert len(reports(server)) == 2
    (message,) = [each for each in report.messages if each.result == "failed"]
    assert {outcome.recipient: outcome.result.value for outcome in message.outcomes} == {recipients[1]: "failed"}
    assert taken_by(server) == recipients[2:]


def test_who_was_put_off_in_a_part_of_another_run_is_reported_when_given_up(tmp_path: Path) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock, rules=Rules(throttles=(Throttle(1, 60.0, unit="recipients"),)))
    recipients = [f"user{number}@example.com" for number in range(4)]
    put(machine.directory, *recipients, now=clock.now())
    later: dict[str, Fault] = {"rcpt": lambda line: "450 4.2.1 later" if b"user2@" not in line else None}
    with SmtpServer(faults=later) as server:
        for wait_s in (61.0, 6 * DAY_S):
            machine.flush(machine.to(server), options=Options(wait=False))
            clock.offset += wait_s
        for _ in range(2):
            report = flush_one_part(machine, server)
            assert (report.deferred, report.failed, report.held_back) == (0, 0, 1)
        report = machine.flush(machine.to(server), options=Options(wait=False, keep_messages=True))
    (message,) = [each for each in report.messages if each.result == "failed"]
    results = {outcome.recipient: outcome.result.value for outcome in message.outcomes}
    # Two of them were asked in runs before this one.
    assert results == dict.fromkeys([recipients[0], recipients[1], recipients[3]], "failed")
    log = (Path(machine.directory) / "delivery.log").read_text()
    for recipient in results:
        assert f"to=<{recipient}> failed" in log


@pytest.mark.requirement("R7", "R22")
def test_nobody_is_given_up_after_one_attempt_because_a_limit_let_the_others_wait_for_days(tmp_path: Path) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock, rules=Rules(throttles=(Throttle(2, DAY_S, unit="recipients"),)))
    recipients = [f"user{number}@example.com" for number in range(14)]
    put(machine.directory, *recipients, now=clock.now())
    later: dict[str, Fault] = {"rcpt": lambda line: "450 4.2.1 greylisted" if b"user0@" in line else None}
    with SmtpServer(faults=later) as server:
        for _ in range(7):
            report = machine.flush(machine.to(server))
            assert report.failed == 0
            clock.offset += DAY_S + 1
        assert sorted(taken_by(server)) == sorted(recipients[1:])
        (left,) = machine.queue()
        assert (left.state, left.attempts) == ("deferred", 1)
        server.faults.clear()
        machine.flush(machine.to(server))
    assert machine.queue() == []


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("place", ["data", "final-dot"])
def test_who_hangs_up_behind_that_refusal_gets_fewer_on_the_next_connection(tmp_path: Path, place: str) -> None:
    machine = Machine(tmp_path)
    put(machine.directory, *[f"user{number}@example.com" for number in range(120)], now=machine.clock.now())
    here = threading.local()

    def at_mail(_line: bytes) -> None:
        here.asked = 0

    def at_rcpt(_line: bytes) -> None:
        here.asked += 1

    def refuse(_line: bytes) -> Action | None:
        return Cut(b"554 Transaction failed: Recipient count exceeds 30.\r\n") if here.asked > 30 else None

    with SmtpServer(faults={"mail": at_mail, "rcpt": at_rcpt, place: refuse}) as server:
        report = machine.flush(machine.to(server))
        server.wait_until_idle()
        assert len(taken_by(server)) == 120
        assert len(server.connections) <= 4
    assert (report.exit_code, report.relayed) == (0, 1)
