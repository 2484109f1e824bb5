"""Whose trouble it is: a message's, a sender's, a recipient's, or the account's; told from run to run, by any connection.

Whatever is to blame, however much of it there is, the rest of the queue goes in the next run or so.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.campaign.machine import Machine, MovedClock
from tests.support.flushes import ONE_BY_ONE, at_the_bad, mail, people, queued, results, run, taken
from tests.support.smtp_server import DROP, EXTENSIONS, Action, Cut, SmtpServer, Wait
from tests.support.spools import put
from ucrmmail.delivery import search
from ucrmmail.delivery.account import AccountState, load_account
from ucrmmail.delivery.feed import QueueFeed
from ucrmmail.delivery.schedule import Retry
from ucrmmail.delivery.suspicion import Suspicion
from ucrmmail.limits.ledger import Ledger
from ucrmmail.limits.rules import Rules, Throttle
from ucrmmail.smtp.wire import Wire
from ucrmmail.spool.claimed import Claimed
from ucrmmail.spool.queue import Spool

BLOCKED = "554 5.7.1 Sender address blocked"
QUOTA = "450 4.7.1 Error: too much mail from 10.0.0.1"
PAUSE = "421 4.3.0 Temporary system problem"
# A far server's words, of which nothing shows that they are.
CALLOUT = "451 4.7.1 mx.far.example has 421 too many connections from your host"
PUT_OFF = "450 4.2.0 greylisted"
MANY = Throttle(100_000, 1e8)


def account_of(machine: Machine) -> AccountState:
    return load_account(machine.directory + "/account.json", owner=os.geteuid())


def wait_for_the_pause(machine: Machine, clock: MovedClock) -> None:
    clock.offset += max(61.0, account_of(machine).not_before - clock.now() + 1)


def put_all(machine: Machine, senders: Sequence[str]) -> None:
    for number, sender in enumerate(senders):
        put(machine.directory, f"u{number}@example.com", now=machine.clock.now() + number / 1000, reverse_path=sender)


def of_sender(act: str | Action) -> Callable[[bytes], str | Action | None]:
    return lambda line: act if b"<news" in line else None


@pytest.mark.requirement("S19", "R9")
def test_a_blocked_sender_who_is_refused_over_all_connections_at_once_stops_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them took him for unknown, which was one more than may be in doubt, and the run ended for the account."""
    machine = Machine(tmp_path, rules=Rules((MANY,)))
    put_all(machine, ["news@isp.example"] * 20 + [f"other{number}@isp.example" for number in range(3)])
    is_suspected = Suspicion.is_suspected

    def at_leisure(suspicion: Suspicion, sender: str) -> bool:
        found = is_suspected(suspicion, sender)
        time.sleep(0.01)
        return found

    # What a busy machine does to threads.
    monkeypatch.setattr(Suspicion, "is_suspected", at_leisure)
    with SmtpServer(faults={"mail": of_sender(BLOCKED)}) as server:
        report = run(machine, server, connections=4)
    assert report.relayed == 3


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize(("connections", "rules"), [(1, Rules()), (4, Rules()), (4, Rules((MANY,)))])
def test_a_blocked_sender_with_many_messages_stops_nobody_elses(tmp_path: Path, connections: int, rules: Rules) -> None:
    """Behind the first 500 of them nobody was looked for, run after run."""
    machine = Machine(tmp_path, rules=rules)
    put_all(machine, ["news@isp.example"] * 600 + [f"other{number}@isp.example" for number in range(3)])
    with SmtpServer(faults={"mail": of_sender(BLOCKED)}) as server:
        report = run(machine, server, connections=connections)
        # Over several connections each message of his cost a round: up to 1,600 logins in a run.
        assert len(server.connections) <= 40
    assert report.relayed == 3
    if connections == 1:
        assert (report.exit_code, report.deferred) == (0, 600)


@pytest.mark.requirement("R9", "S19")
@pytest.mark.parametrize(("connections", "rules"), [(1, Rules()), (4, Rules()), (4, Rules((MANY,)))])
@pytest.mark.parametrize("senders", [1, 2])
@pytest.mark.parametrize("place", ["mail", "data", "final-dot"])
def test_an_account_that_is_blocked_during_a_run_is_told_from_a_sender(
    tmp_path: Path, connections: int, rules: Rules, senders: int, place: str
) -> None:
    """What was relayed before shows nothing of it: taken for his own trouble, all his mail lost its attempts."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock, rules=rules)
    put_all(machine, [f"user{number % senders}@isp.example" for number in range(200)])

    def blocked(_line: bytes) -> str | None:
        return "550 5.7.501 Access denied, account suspended" if len(server.accepted) >= 20 else None

    with SmtpServer(faults={place: blocked}) as server:
        for number in range(3):
            report = run(machine, server, connections=connections)
            assert report.exit_code == 77
            # What another connection had on its way when one was refused may pass for a proof once.
            assert report.deferred <= (100 if number == 0 and connections > 1 and senders > 1 else 10)
            wait_for_the_pause(machine, clock)
    assert not [message for message in machine.queue() if message.state == "failed"]


@pytest.mark.requirement("S19")
@pytest.mark.parametrize(("connections", "rules"), [(4, Rules()), (4, Rules((MANY,)))])
@pytest.mark.parametrize("place", ["rcpt", "mail"])
def test_messages_that_are_answered_as_if_there_were_too_many_connections_stop_no_others(
    tmp_path: Path, connections: int, rules: Rules, place: str
) -> None:
    """Such as the far server says to a smarthost that asks it whether there is such a recipient."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock, rules=rules)
    put_all(machine, [*(f"bad{number}@isp.example" for number in range(4)), *["good@isp.example"] * 40])
    here = threading.local()

    def at_mail(line: bytes) -> str | None:
        here.is_bad = b"<bad" in line
        return said if place == "mail" and here.is_bad else None

    said = CALLOUT
    with SmtpServer(faults={"rcpt": lambda _line: said if here.is_bad else None} | {"mail": at_mail}) as server:
        for _ in range(5):
            run(machine, server, connections=connections)
            wait_for_the_pause(machine, clock)
        assert len(server.accepted) == 40


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("place", ["mail", "data", "final-dot"])
def test_what_another_connection_has_in_hand_shows_whether_it_is_the_account(tmp_path: Path, place: str) -> None:
    """The run had ended for the account, and taken that away from it, when one connection had seen enough."""
    machine = Machine(tmp_path)
    put_all(machine, ["news@isp.example", "other@isp.example", *["news@isp.example"] * 6])
    here = threading.local()

    def at_mail(line: bytes) -> Action | str | None:
        here.is_blocked = b"<news" in line
        return refused(line) if place == "mail" else None

    def refused(_line: bytes) -> Action | str | None:
        if not here.is_blocked:
            return Wait(1.2)
        time.sleep(0.3)
        return BLOCKED

    with SmtpServer(faults={"mail": at_mail} | ({place: refused} if place != "mail" else {})) as server:
        report = run(machine, server, connections=3)
        assert [message.reverse_path for message in server.accepted] == ["other@isp.example"]
    assert (report.exit_code, report.relayed, report.deferred) == (0, 1, 7)


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("senders", [3, 6])
def test_several_blocked_senders_stop_nobody_else(tmp_path: Path, senders: int) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put_all(machine, [*(f"news{number % senders}@isp.example" for number in range(60)), "other@isp.example"])
    with SmtpServer(faults={"mail": of_sender(BLOCKED)}) as server:
        for _ in range(1 + senders // 3):
            report = run(machine, server)
            wait_for_the_pause(machine, clock)
        assert len(server.accepted) == 1
    assert (report.exit_code, report.relayed, report.deferred) == (0, 1, 60)
    assert account_of(machine).senders == ""


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("place", ["body", "final-dot"])
@pytest.mark.parametrize("tried_before", [True, False])
def test_many_messages_at_which_the_server_hangs_up_keep_new_mail_for_a_run_at_most(
    tmp_path: Path, place: str, tried_before: bool
) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put_all(machine, ["news@isp.example"] * 600)
    if tried_before:
        with SmtpServer(faults={"rcpt": PUT_OFF}) as server:
            assert run(machine, server).deferred == 600
    here = threading.local()

    def at_mail(line: bytes) -> None:
        here.is_costly = b"<news" in line

    clock.offset += 3700
    mail(machine, "new@example.com")
    with SmtpServer(faults={"mail": at_mail, place: lambda _line: DROP if here.is_costly else None}) as server:
        for _ in range(2):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert [message.recipients for message in server.accepted] == [["new@example.com"]]


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("said", [QUOTA, PAUSE])
def test_what_ends_one_run_each_is_remembered_until_it_was_tried_again(
    tmp_path: Path, said: str, connections: int
) -> None:
    """Forgotten as soon as anything was relayed, eight of them took 37 runs, and 32 hours."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    costly = 8
    for number in range(costly):
        mail(machine, f"good{number}@example.com")
        mail(machine, f"bad{number}@example.com")
    mail(machine, "last@example.com")
    began = clock.now()
    with SmtpServer(faults={"rcpt": lambda line: said if b"<bad" in line else None}) as server:
        runs = 0
        while len(set(taken(server))) < costly + 1:
            assert (runs := runs + 1) <= costly + 1
            run(machine, server, connections=connections)
            wait_for_the_pause(machine, clock)
    # Which of four connections has which message, and meets its trouble first, is a matter of luck.
    assert clock.now() - began <= 3600.0 * connections


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("extensions", [EXTENSIONS, ONE_BY_ONE], ids=["group", "one by one"])
@pytest.mark.parametrize("act", [DROP, Cut(b"450 4.2.1 later\r\n")])
def test_nobody_is_given_up_because_the_server_hangs_up_at_others(
    tmp_path: Path, act: Action, extensions: Sequence[str]
) -> None:
    """Each of them cost all others an attempt: behind forty, ten were given up who had never been asked."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.retry = Retry()
    queue_id = mail(machine, *people(50, *range(40)))
    attempts = 8
    with SmtpServer(extensions=extensions, faults={"rcpt": lambda line: act if b"<bad" in line else None}) as server:
        for number in range(attempts):
            mail(machine, f"other{number}@example.com")
            assert run(machine, server).exit_code == 0
            assert f"other{number}@example.com" in taken(server), "other mail goes first"
            # Now and then one more shows that it is not for PIPELINING.
            assert len(server.connections) <= 11 * (number + 1)
            clock.offset += 5 * 3600.0
    left = queued(machine, queue_id)
    assert left.attempts == attempts
    assert {name: result for name, result in results(left).items() if "good" in name} == dict.fromkeys(
        people(50)[40:], "relayed"
    )


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("said", ["530 5.7.0 authentication required for this recipient", QUOTA])
def test_one_recipient_of_several_that_go_one_by_one_keeps_the_message_from_no_other(tmp_path: Path, said: str) -> None:
    """It is the only mail, and nothing shows whether the server means the account."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    mail(machine, *people(6, 0))
    faults = {"rcpt": lambda line: said if b"<bad" in line else None}
    with SmtpServer(extensions=(*EXTENSIONS, "LIMITS RCPTMAX=1"), faults=faults) as server:
        for _ in range(2):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert sorted(taken(server)) == people(6)[1:]


@pytest.mark.requirement("R2", "S19")
@pytest.mark.parametrize("tried_before", [True, False])
def test_a_search_for_what_shows_whose_trouble_it_is_ends_when_the_run_is_asked_to(
    tmp_path: Path, tried_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.put(800)
    if tried_before:
        with SmtpServer(faults={"rcpt": PUT_OFF}) as server:
            assert run(machine, server).deferred == 800
        clock.offset += 120
        with SmtpServer(faults={"greeting": "421 4.3.2 down"}) as server:
            assert run(machine, server).exit_code == 75
        wait_for_the_pause(machine, clock)
    claimed: list[str] = []
    claim = Spool.claim

    def counted(spool: Spool, queue_id: str) -> Claimed | None:
        claimed.append(queue_id)
        if len(claimed) == 300:
            machine.stop.request(15)
        return claim(spool, queue_id)

    monkeypatch.setattr(Spool, "claim", counted)
    with SmtpServer(faults={"mail": "530 5.7.0 Authentication required"}) as server:
        report = run(machine, server)
    assert len(claimed) <= 401
    assert (report.reason, report.held_back) in {("stopped", 800), ("account", 800)}


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("in_main", [True, False])
def test_no_connection_goes_on_when_an_outcome_could_not_be_recorded(
    tmp_path: Path, in_main: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, rules=Rules((MANY,)))
    machine.put(100)
    settle, failed_at = Spool.settle, list[int]()

    def fails_once(spool: Spool, claimed: Claimed, state: object) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        if not failed_at and len(server.accepted) >= 10 and is_main is in_main:
            failed_at.append(len(server.accepted))
            raise OSError(errno.EIO, "Input/output error", "journal")
        settle(spool, claimed, state)  # type: ignore[arg-type]

    monkeypatch.setattr(Spool, "settle", fails_once)
    with SmtpServer(faults={"final-dot": Wait(0.01)}) as server:
        with pytest.raises(OSError, match="Input/output error"):
            run(machine, server, connections=3)
        server.wait_until_idle()
        # What was on the wire, and one more of each whose dot was answered at that moment.
        assert len(server.accepted) <= failed_at[0] + 2 * 3


@pytest.mark.requirement("R22")
def test_an_envelope_that_went_ahead_gives_its_place_back_when_the_queue_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, rules=Rules((Throttle(10, 1e8),)))
    machine.put(4)
    with SmtpServer() as server:

        def fails(_feed: QueueFeed) -> None:
            raise OSError(errno.EIO, "no", "queue")

        monkeypatch.setattr(QueueFeed, "idle", fails)
        with pytest.raises(OSError, match="no"):
            run(machine, server)
        server.wait_until_idle()
        assert len(server.accepted) == 1
    now = machine.clock.now()
    ledger = Ledger(f"{machine.directory}/ledger", machine.rules, now, machine.boot_id)
    left = 0
    while ledger.earliest(now) <= now:
        ledger.reserve(now)
        left += 1
    assert left == 9


@pytest.mark.requirement("R9")
def test_a_run_in_which_the_server_spoke_of_messages_alone_ends_the_growth_of_the_pause(tmp_path: Path) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    mail(machine, "joe@example.com")
    with SmtpServer(faults={"greeting": "421 4.3.2 down"}) as server:
        for _ in range(4):
            run(machine, server)
            wait_for_the_pause(machine, clock)
    assert account_of(machine).failures == 4
    with SmtpServer(faults={"rcpt": PUT_OFF}) as server:
        assert run(machine, server).deferred == 1
    assert account_of(machine).failures == 0


@pytest.mark.requirement("S19")
def test_a_refusal_of_data_is_not_waited_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cost a fifth of a second, in which one reply too many might have come; RSET, which is due, tells at once."""
    machine = Machine(tmp_path)
    machine.put(10)
    waits: list[float] = []
    has_spoken = Wire.has_spoken

    def counted(wire: Wire, within_s: float = 0.0) -> bool:
        waits.extend([within_s] if within_s else [])
        return has_spoken(wire, within_s)

    monkeypatch.setattr(Wire, "has_spoken", counted)
    with SmtpServer(faults={"data": "450 4.7.1 greylisted"}) as server:
        assert run(machine, server).deferred == 10
        assert (len(server.connections), server.commands.count(b"RSET")) == (1, 10)
    assert waits == []


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("place", ["mail", "rcpt", "final-dot"])
@pytest.mark.parametrize(
    "said", ["450 4.7.1 <{}>: Sender address rejected: sender rate limit exceeded", PAUSE], ids=["quota", "421"]
)
def test_a_sender_who_may_send_no_more_for_now_stops_nobody_elses_mail(
    tmp_path: Path, said: str, place: str, connections: int
) -> None:
    """One message of his was learnt in a run, and the next run met the next one."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put_all(machine, ["news@isp.example"] * 120 + [f"other{number}@isp.example" for number in range(3)])
    here = threading.local()

    def at_mail(line: bytes) -> str | None:
        here.is_his = b"<news" in line
        return refuse(line) if place == "mail" else None

    def refuse(_line: bytes) -> str | None:
        return said.format("news@isp.example") if here.is_his else None

    faults = {place: refuse} | {"mail": at_mail}
    with SmtpServer(faults=faults) as server:
        for _ in range(3):
            run(machine, server, connections=connections)
            wait_for_the_pause(machine, clock)
        assert len(server.accepted) == 3


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("act", ["530 5.7.0 Authentication required", PAUSE, DROP], ids=["530", "421", "hang-up"])
def test_a_server_that_takes_no_reports_takes_everything_else(
    tmp_path: Path, act: str | Action, connections: int
) -> None:
    """The null reverse-path was never suspected."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put_all(machine, [""] * 60 + [f"other{number}@isp.example" for number in range(5)])
    with SmtpServer(faults={"mail": lambda line: act if b"<>" in line else None}) as server:
        for _ in range(3):
            run(machine, server, connections=connections)
            wait_for_the_pause(machine, clock)
        assert len(server.accepted) == 5
        assert len(server.connections) <= 60


DOMAIN_OFF = "550 5.7.1 Domain off.example is not allowed to send: see https://mail.example/help"


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("connections", [1, 4])
def test_a_blocked_domain_with_many_senders_stops_no_other_domain(tmp_path: Path, connections: int) -> None:
    machine = Machine(tmp_path)
    put_all(machine, [*(f"user{each}@off.example" for each in range(100)), *["other@isp.example"] * 5])
    with SmtpServer(faults={"mail": lambda line: DOMAIN_OFF if b"@off." in line else None}) as server:
        report = run(machine, server, connections=connections)
        assert len(server.accepted) == 5
    assert not report.failed


@pytest.mark.requirement("S19")
def test_two_blocked_senders_of_the_only_domain_stop_nobody_else_of_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    put_all(machine, [f"news{each % 2}@isp.example" for each in range(60)] + ["other@isp.example"] * 5)
    with SmtpServer(faults={"mail": of_sender(BLOCKED)}) as server:
        report = run(machine, server)
        assert len(server.accepted) == 5
    assert (report.exit_code, report.relayed, report.deferred) == (0, 5, 60)


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("longest_s", [0.0, 60.0])
def test_a_search_for_others_does_not_take_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest_s: float
) -> None:
    """A queue of one sender that is longer than a run was searched to the end of its time, and nothing was sent."""
    monkeypatch.setattr(search, "LONGEST_SEARCH_S", longest_s)
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put_all(machine, ["news@isp.example"] * 300 + ["other@isp.example"])
    with SmtpServer(faults={"mail": QUOTA}) as server:
        run(machine, server)
        wait_for_the_pause(machine, clock)
    assert account_of(machine).senders == "news@isp.example"
    with SmtpServer() as server:
        assert run(machine, server).relayed == 301
        assert server.accepted[0].reverse_path == ("other@isp.example" if longest_s else "news@isp.example")


@pytest.mark.requirement("R8", "R9")
def test_messages_at_whose_mail_the_server_hangs_up_are_given_up_and_told_of(tmp_path: Path) -> None:
    """Each run lost two connections at others of them, so that none ever lost an attempt."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.retry = Retry()
    put_all(machine, ["news@isp.example"] * 8)
    days = 6
    with SmtpServer(faults={"mail": lambda line: DROP if b"<news" in line else None}) as server:
        for number in range(days * 12):
            put_all(machine, [f"other{number}@isp.example"])
            run(machine, server)
            clock.offset += 7200.0
        told = [message for message in server.accepted if not message.reverse_path]
        assert len(taken(server)) >= days * 12 - 3
    assert len(told) == 8
    assert {message.state for message in machine.queue() if message.reverse_path == "news@isp.example"} == {"failed"}


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("refused", ["450 4.2.0 greylisted", "550 5.1.1 no such user"])
def test_a_server_that_takes_a_few_messages_on_a_connection_may_refuse_all_of_them(
    tmp_path: Path, refused: str, connections: int
) -> None:
    """Where nothing was relayed on it, its end was taken for a quota of the account."""
    machine = Machine(tmp_path)
    for number in range(20):
        mail(machine, f"bad{number}@example.com")
    for number in range(20):
        mail(machine, f"good{number}@example.com")
    asked: dict[int, int] = {}

    def at_mail(line: bytes) -> str | None:
        number = next(at for at, each in enumerate(server.connections) if each.commands and each.commands[-1] is line)
        asked[number] = asked.get(number, 0) + 1
        return "421 4.7.0 too many messages in this connection" if asked[number] > 5 else None

    refuse = {"rcpt": lambda line: refused if b"<bad" in line else None}
    with SmtpServer(faults={"mail": at_mail, **refuse}) as server:
        report = run(machine, server, connections=connections)
        assert sum(recipient.startswith("good") for recipient in taken(server)) == 20
    assert (report.exit_code, report.deferred + report.failed) == (0, 20)


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("others", [0, 3])
def test_a_server_that_says_good_bye_at_some_recipients_keeps_the_message_from_no_other_for_long(
    tmp_path: Path, others: int
) -> None:
    """One of them was learnt in an attempt, which was over for all: sixty had it after two days."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.retry = Retry()
    begun = clock.now()
    mail(machine, *people(80, *range(0, 80, 4)))
    with SmtpServer(faults={"rcpt": lambda line: PAUSE if b"<bad" in line else None}) as server:
        while sum(recipient.startswith("good") for recipient in taken(server)) < 60:
            assert clock.now() - begun < (1.0 if others else 4.0) * 3600
            put_all(machine, ["other@isp.example"] * others)
            run(machine, server)
            wait_for_the_pause(machine, clock)
            due = min((message.next_attempt_at for message in machine.queue()), default=0.0)
            clock.offset += max(0.0, due - clock.now())


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("said", [CALLOUT, "530 5.7.1 authentication is required for this recipient"])
@pytest.mark.parametrize("extensions", [EXTENSIONS, ONE_BY_ONE], ids=["group", "one by one"])
def test_a_mailing_that_is_alone_in_the_queue_learns_from_its_own_recipients(
    tmp_path: Path, extensions: Sequence[str], said: str
) -> None:
    """Each run learnt of one recipient more: those behind thirty had it after days."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.retry = Retry()
    mail(machine, *people(90, *range(30)))
    with SmtpServer(extensions=extensions, faults={"rcpt": at_the_bad(said)}) as server:
        for _ in range(8):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert len(taken(server)) == 60
    assert len(machine.queue()[0].delivery.pending) == 30


@pytest.mark.requirement("S19", "R22")
@pytest.mark.parametrize("extensions", [EXTENSIONS, ONE_BY_ONE], ids=["group", "one by one"])
def test_what_a_recipient_is_told_before_another_is_accepted_concerns_him_alone(
    tmp_path: Path, extensions: Sequence[str]
) -> None:
    machine = Machine(tmp_path)
    queue_id = mail(machine, *people(12, 1, 4, 5))
    with SmtpServer(extensions=extensions, faults={"rcpt": at_the_bad(CALLOUT)}) as server:
        report = run(machine, server)
        assert (len(taken(server)), len(server.accepted)) == (9, 1)
    assert (report.exit_code, report.deferred, account_of(machine).deferred) == (0, 1, False)
    left = queued(machine, queue_id)
    assert (left.attempts, len(left.delivery.pending)) == (1, 3)


@pytest.mark.requirement("S19", "R22")
@pytest.mark.parametrize("extensions", [EXTENSIONS, ONE_BY_ONE], ids=["group", "one by one"])
def test_a_quota_that_ends_within_a_message_costs_its_other_recipients_nothing(
    tmp_path: Path, extensions: Sequence[str]
) -> None:
    """They come together when there is room again, and not each in a copy of its own."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.retry = Retry()
    queue_id = mail(machine, *people(60))
    asked: list[bytes] = []
    room = 7

    def at_rcpt(line: bytes) -> str | None:
        asked.append(line)
        return QUOTA if len(asked) > room else None

    with SmtpServer(extensions=extensions, faults={"rcpt": at_rcpt}) as server:
        for _ in range(4):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert (len(taken(server)), len(server.accepted)) == (7, 1)
        assert queued(machine, queue_id).attempts == 0
        room = 1000
        assert run(machine, server).relayed == 1
        assert (len(taken(server)), len(server.accepted)) == (60, 2)


@pytest.mark.requirement("R22", "S19")
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("sender", ["news@shop.example", "bounce-{}@shop.example"])
@pytest.mark.parametrize("place", ["mail", "final-dot"])
def test_the_mail_of_a_sender_over_his_quota_is_not_asked_for_one_after_the_other(
    tmp_path: Path, place: str, sender: str, connections: int
) -> None:
    """Each of his messages was tried in each second run, as far as it took: 14,000 a day for 400 of them."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.retry = Retry()
    put_all(machine, [sender.format(number) for number in range(60)])
    here = threading.local()

    def at_mail(line: bytes) -> str | None:
        here.is_over = b"@shop" in line
        return refuse(line) if place == "mail" else None

    def refuse(_line: bytes) -> str | None:
        if here.is_over:
            refused[clock.offset] += 1
        return QUOTA if here.is_over else None

    refused: Counter[float] = Counter()
    with SmtpServer(faults={"mail": at_mail} | ({place: refuse} if place != "mail" else {})) as server:
        for _ in range(24):
            put_all(machine, ["other@isp.example"])
            run(machine, server, connections=connections)
            clock.offset += 300.0
        # The last ones may wait for the end of a pause.
        assert len(server.accepted) >= 22
    # Each connection learns it from five in a row, and may have one on its way when it does; sixty when all were tried.
    assert max(refused.values()) <= 7 * connections + 1
    assert sum(message.attempts for message in machine.queue()) <= refused.total()


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize(("said", "connections"), [(QUOTA, 1), (BLOCKED, 3)], ids=["quota", "blocked"])
def test_of_senders_who_are_all_refused_each_has_his_turn_however_much_the_others_have(
    tmp_path: Path, said: str, connections: int
) -> None:
    """Turns were drawn among the messages: one message waited for a day beside forty of another, its own trouble over."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put_all(machine, ["news@isp.example"] * 25 + ["billing@isp.example"] + ["news@isp.example"] * 15)
    refused = {b"<news", b"<billing"}
    with SmtpServer(faults={"mail": lambda line: said if any(map(line.__contains__, refused)) else None}) as server:
        for number in range(6):
            if number == 3:
                refused.remove(b"<billing")
            run(machine, server, connections=connections)
            wait_for_the_pause(machine, clock)
        assert [message.reverse_path for message in server.accepted] == ["billing@isp.example"]


@pytest.mark.requirement("S19", "R9")
def test_of_senders_at_whose_mail_the_server_hangs_up_each_is_asked_as_often(tmp_path: Path) -> None:
    """Of three in a run, two were the same in each, and kept the others from their turn for hours."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put_all(machine, [f"user{number % 4}@isp.example" for number in range(12)])
    with SmtpServer(faults={"mail": DROP}) as server:
        asked = []
        for _ in range(10):
            run(machine, server)
            asked.append(len(server.commands))
            wait_for_the_pause(machine, clock)
        # In the first ones it is found that it is all of them.
        lately = server.commands[asked[3] :]
    counts = Counter(line for line in lately if line.startswith(b"MAIL"))
    assert len(counts) == 4
    assert max(counts.values()) - min(counts.values()) <= 2


@pytest.mark.requirement("R9", "R22", "S19")
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("senders", [["news@shop.example"], ["news@shop.example", "bulk@club.example"]])
def test_senders_who_stay_over_their_quota_keep_others_for_the_shortest_pause_at_the_most(
    tmp_path: Path, senders: list[str], connections: int
) -> None:
    """Whenever his mail alone was due, it was the account's trouble again, and the pause grew to four hours."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.retry = Retry()
    put_all(machine, senders * 6)
    over = {sender.encode() for sender in senders}
    waited, since = [], 0.0
    with SmtpServer(faults={"mail": lambda line: QUOTA if any(one in line for one in over) else None}) as server:
        for number in range(60):
            if number % 20 == 0:
                put_all(machine, ["other@isp.example"])
                since = clock.offset
            before = len(server.accepted)
            run(machine, server, connections=connections)
            if len(server.accepted) > before:
                waited.append(clock.offset - since)
            clock.offset += 600.0
    assert len(waited) == 3
    # One may wait before it is learnt.
    assert sorted(waited)[-2] <= 1800.0
    assert {message.state for message in machine.queue()} <= {"waiting", "deferred"}


@pytest.mark.requirement("R8", "R22")
@pytest.mark.parametrize("place", ["mail", "rcpt", "final-dot"])
@pytest.mark.parametrize("senders", [["news@shop.example"], ["news@shop.example", "bulk@club.example"]])
def test_senders_who_stay_over_their_quota_for_good_are_given_up(
    tmp_path: Path, senders: list[str], place: str
) -> None:
    """The mail of one was, after three times the time; with a second one none ever was."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put_all(machine, senders * 2)
    over = {sender.encode() for sender in senders}
    sender = b""

    def at_mail(line: bytes) -> str | None:
        nonlocal sender
        sender = line
        return refuse(line) if place == "mail" else None

    def refuse(_line: bytes) -> str | None:
        return QUOTA if any(one in sender for one in over) else None

    failed: list[tuple[int, int]] = []
    with SmtpServer(faults={"mail": at_mail} | ({place: refuse} if place != "mail" else {})) as server:
        for number in range(2 * 17):
            put_all(machine, ["other@isp.example"])
            report = run(machine, server)
            if report.failed:
                failed.append((number // 2, report.failed))
            clock.offset += 12 * 3600.0
    assert sum(count for _, count in failed) == len(senders) * 2
    assert all(15 <= day <= 16 for day, _ in failed)


@pytest.mark.requirement("R22", "S19")
@pytest.mark.parametrize("connections", [1, 4])
def test_a_quota_that_many_senders_share_costs_none_of_them_an_attempt(tmp_path: Path, connections: int) -> None:
    """Others went first, and used it up: that is no proof against who comes then."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.retry = Retry()
    put_all(machine, [f"user{number % 12}@shop{number % 12}.example" for number in range(60)])
    hour: dict[int, int] = {}

    def at_mail(_line: bytes) -> str | None:
        number = int((clock.offset) // 3600)
        hour[number] = hour.get(number, 0) + 1
        return QUOTA if hour[number] > 10 else None

    with SmtpServer(faults={"mail": at_mail}) as server:
        # An hour more than sixty need: one that was let in may go back, with its connection, before it has left.
        for _ in range(7 * 12 + 1):
            run(machine, server, connections=connections)
            # Refused at first, one who is refused again may be to blame; nobody else is.
            assert sum(message.attempts for message in machine.queue()) <= 3 * connections
            clock.offset += 300.0
        assert len(server.accepted) == 60


@pytest.mark.requirement("R22", "S19")
@pytest.mark.parametrize(("connections", "rules"), [(1, Rules()), (4, Rules()), (4, Rules((MANY,)))])
@pytest.mark.parametrize("after", [0, 20])
def test_a_server_that_says_good_bye_to_everybody_is_left_alone(
    tmp_path: Path, connections: int, rules: Rules, after: int
) -> None:
    """A message was asked for without each recipient at whom it did so, and each of those lost an attempt."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock, rules=rules)
    for number in range(40):
        mail(machine, *[f"r{each}@{number}.example" for each in range(4)])

    welcome: dict[bytes, bool] = {}

    def at_rcpt(line: bytes) -> Action | None:
        # Decided at the first recipient of a message: to one said in its middle belongs an attempt.
        message = line.partition(b"@")[2]
        if not welcome.get(message):
            welcome[message] = len(server.accepted) < after
        return None if welcome[message] else Cut(PAUSE.encode() + b"\r\n")

    with SmtpServer(faults={"rcpt": at_rcpt}) as server:
        for _ in range(3):
            before = len(server.connections)
            report = run(machine, server, connections=connections)
            assert (report.exit_code, report.deferred) == (75, 0)
            assert len(server.connections) - before <= 2 * connections
            wait_for_the_pause(machine, clock)
    with SmtpServer() as server:
        run(machine, server, connections=connections)
    assert machine.queue() == []


@pytest.mark.requirement("R7", "R8")
def test_who_was_never_asked_is_not_given_up(tmp_path: Path) -> None:
    """Behind very many at whom the server hangs up he got their last answer, and failed with them."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    machine.retry = Retry()
    queue_id = mail(machine, *people(120, *range(110)))
    with SmtpServer(faults={"rcpt": at_the_bad(DROP)}) as server:
        for _ in range(120):
            run(machine, server)
            due = min((message.next_attempt_at for message in machine.queue() if message.next_attempt_at), default=0.0)
            clock.offset += max(60.0, account_of(machine).not_before - clock.now(), due - clock.now())
            if sum(recipient.startswith("good") for recipient in taken(server)) == 10:
                break
        else:
            pytest.fail("somebody had it never")
    assert not {one.result for one in queued(machine, queue_id).delivery.recipients if "good" in one.recipient} - {
        "relayed"
    }
