"""Messages that cost a connection, or a server's patience, each: all other mail goes, and nobody is hammered."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.campaign.machine import DAY_S, Machine, MovedClock
from tests.support.flushes import (
    CHUNKS,
    LOGIN,
    ONE_BY_ONE,
    RELAY,
    WAYS,
    at_the_bad,
    counting_errors,
    mail,
    people,
    queued,
    run,
    taken,
)
from tests.support.postfix import private_postfix
from tests.support.smtp_server import DROP, EXTENSIONS, Action, Cut, Fault, SmtpServer, Wait
from tests.support.spools import put
from ucrmmail.delivery.account import load_account
from ucrmmail.delivery.ending import EXCUSED_CONNECTIONS
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.judgement import LOST_CONNECTIONS, MOST_IN_DOUBT
from ucrmmail.spool.claimed import Claimed
from ucrmmail.spool.moves import Moves
from ucrmmail.spool.queue import Spool
from ucrmmail.spool.state import MessageState, RecipientState

GOOD = b"Subject: good\r\n\r\nhi\r\n"
QUOTA = "450 4.7.1 Error: too many recipients from 10.0.0.1"
PUT_OFF = "450 4.1.2 Domain not found"
UNKNOWN = "550 5.1.1 User unknown"


def of_the_costly(act: str | Action, place: str) -> dict[str, Fault]:
    """Do this at a place of each message of a certain sender; a connection is a thread of the server."""
    here = threading.local()

    def at_mail(line: bytes) -> str | Action | None:
        here.is_costly = b"costly@" in line
        return act if place == "mail" and here.is_costly else None

    faults: dict[str, Fault] = {place: lambda _line: act if here.is_costly else None}
    return faults | {"mail": at_mail}


def wait_for_the_pause(machine: Machine, clock: MovedClock, *, at_least_s: float = 60.0) -> None:
    state = load_account(machine.directory + "/account.json", owner=os.geteuid())
    clock.offset += max(at_least_s, state.not_before - clock.now() + 1)


@pytest.mark.requirement("S19", "R9")
@WAYS
@pytest.mark.parametrize("refusal", [PUT_OFF, UNKNOWN])
def test_a_server_that_counts_errors_has_the_others_on_new_connections(
    tmp_path: Path, refusal: str, extensions: Sequence[str]
) -> None:
    """Its good-bye comes between two messages, as the answer to RSET or before it; it is not about the next one."""
    machine = Machine(tmp_path)
    for number in range(65):
        put(machine.directory, f"bad{number}@example.com", now=machine.clock.now(), reverse_path="")
    machine.accept("good@isp.example", "good@example.com", GOOD)
    with counting_errors(refusal, extensions) as server:
        report = run(machine, server)
        assert taken(server) == ["good@example.com"]
        assert len(server.connections) <= 8
    assert (report.exit_code, report.trouble) == (0, None)


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("chunking", [True, False])
def test_a_real_postfix_that_puts_off_a_hundred_messages_has_the_others_in_the_same_run(
    tmp_path: Path, chunking: bool
) -> None:
    machine = Machine(tmp_path)
    for number in range(100):
        put(machine.directory, f"u{number}@bad.example", now=machine.clock.now())
    machine.accept("good@isp.example", "good@x.example", GOOD)
    settings = {
        "smtpd_recipient_restrictions": "check_recipient_access inline:{{bad.example = 450 4.1.2 Domain not found}}, "
        "permit_mynetworks, reject",
        "defer_transports": "smtp",
        "smtpd_error_sleep_time": "0",
        "relay_domains": "",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with private_postfix(port, settings) as postfix:
        report = machine.flush(machine.to(postfix, chunking=chunking), options=Options(wait=False, keep_messages=True))
        assert "too many errors" in (postfix.root / "log" / "maillog").read_text()
    assert (report.exit_code, report.relayed, report.deferred) == (0, 1, 100)


@pytest.mark.requirement("S19", "R7", "R9")
@WAYS
@pytest.mark.parametrize(("refusal", "code"), [(LOGIN, 0), (QUOTA, 75)])
def test_what_is_said_of_the_account_to_some_recipients_keeps_the_message_from_no_other(
    tmp_path: Path, refusal: str, code: int, extensions: Sequence[str]
) -> None:
    """Not although the server counts it as errors, and hangs up after twenty: it was given back whole, for ever."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    mail(machine, *people(61, *range(21, 61)))
    mail(machine, "other@example.com")
    with counting_errors(refusal, extensions) as server:
        for _ in range(3):
            report = run(machine, server)
            assert len(server.connections) <= 8
            wait_for_the_pause(machine, clock)
        assert sorted(taken(server)) == sorted([*people(21), "other@example.com"])
    assert report.exit_code in {0, code}


@pytest.mark.requirement("R9")
def test_a_connection_that_ends_at_the_first_message_was_not_used_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    mail(machine, *people(30, *range(30)))
    errors = "421 4.7.0 too many errors"
    said: list[bytes] = []

    def answer(line: bytes) -> str | Action:
        said.append(line)
        return Cut(errors.encode() + b"\r\n") if len(said) % 4 == 0 else LOGIN

    with SmtpServer(extensions=ONE_BY_ONE, faults={"rcpt": answer}) as server:
        report = run(machine, server)
        assert len(server.connections) <= LOST_CONNECTIONS + MOST_IN_DOUBT
    assert report.exit_code in {69, 77}


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("way", [EXTENSIONS, ONE_BY_ONE], ids=["group", "one by one"])
@pytest.mark.parametrize(
    ("place", "act"),
    [
        ("body", DROP),
        ("final-dot", DROP),
        ("final-dot", Cut(b"450 4.2.1 later\r\n421 4.7.0 bye\r\n")),
        ("data", Cut(b"450 4.2.1 later\r\n")),
        ("mail", Cut(b"450 4.2.1 later\r\n")),
        ("rcpt", Cut(b"450 4.2.1 later\r\n")),
        ("rcpt", Cut(b"450 4.2.1 later\r\n421 4.7.0 bye\r\n")),
    ],
    ids=["body", "dot", "dot-421", "data", "mail", "rcpt", "rcpt-421"],
)
def test_many_old_messages_that_cost_a_connection_keep_new_mail_waiting_for_hours_at_most(
    tmp_path: Path, place: str, act: Action, way: Sequence[str]
) -> None:
    """They are always due first, and each run tried them first: the pause and their back-off grow together."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    for number in range(12):
        clock.offset += 1.0
        body = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" * 3000
        put(
            machine.directory,
            f"bad{number}@example.com",
            now=clock.now(),
            reverse_path="costly@isp.example",
            message=body,
        )
    with SmtpServer(extensions=way, faults=of_the_costly(act, place)) as server:
        for day in range(3):
            machine.accept("good@isp.example", f"good{day}@example.com", GOOD)
            began = clock.now()
            while f"good{day}@example.com" not in taken(server):
                before = len(server.connections)
                run(machine, server)
                assert len(server.connections) - before <= EXCUSED_CONNECTIONS
                if f"good{day}@example.com" not in taken(server):
                    wait_for_the_pause(machine, clock)
            assert clock.now() - began <= 3 * 3600.0
            clock.offset += DAY_S / 2
    assert "failed" not in {message.state for message in machine.queue()}


@pytest.mark.requirement("R9")
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize(
    ("place", "act"), [("rcpt", Cut(b"550 5.1.1 no such user\r\n")), ("mail", DROP), ("mail", Cut(b"550 5.7.1 no\r\n"))]
)
def test_one_message_at_which_the_server_hangs_up_costs_a_few_logins_and_not_one_for_each_other(
    tmp_path: Path, place: str, act: Action, connections: int
) -> None:
    """It was given back behind the message that was claimed ahead, and ended each connection again."""
    machine = Machine(tmp_path)
    machine.put(1)
    put(machine.directory, "bad@example.com", now=machine.clock.now(), reverse_path="bad@isp.example")
    machine.put(60)
    with SmtpServer(faults={place: lambda line: act if b"bad@" in line else None}) as server:
        report = run(machine, server, connections=connections)
        assert len([one for one in taken(server) if "bad" not in one and "billing" not in one]) == 61
        assert len(server.connections) <= 5 + connections
    assert report.exit_code == 0


@pytest.mark.requirement("S19")
@pytest.mark.parametrize(
    ("place", "reply"),
    [("rcpt", b"550 5.1.1 no such user\r\n421 bye\r\n"), ("final-dot", b"550 5.7.1 no\r\n421 bye\r\n"),
     ("data", b"554 5.7.1 no\r\n221 bye\r\n"), ("final-dot", b"450 4.2.1 later\r\n421 bye\r\n")],
)  # fmt: skip
def test_a_good_bye_behind_a_refusal_is_about_that_message_wherever_it_stands(
    tmp_path: Path, place: str, reply: bytes
) -> None:
    machine = Machine(tmp_path)
    mail(machine, "first@example.com")
    bad = mail(machine, "bad@example.com", "ok@example.com") if place == "rcpt" else mail(machine, "bad@example.com")
    mail(machine, "last@example.com")
    said: list[bytes] = []

    def answer(line: bytes) -> Action | None:
        said.append(line)
        return Cut(reply) if (b"<bad" in line if place == "rcpt" else len(said) == 2) else None

    with SmtpServer(faults={place: answer}) as server:
        report = run(machine, server)
        expected = {"first@example.com", "last@example.com"} | ({"ok@example.com"} if place == "rcpt" else set())
        assert expected <= set(taken(server))
    assert (report.exit_code, report.trouble) == (0, None)
    assert queued(machine, bad).state == ("deferred" if reply.startswith(b"4") else "failed")


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize("extensions", [EXTENSIONS, ONE_BY_ONE], ids=["group", "one by one"])
@pytest.mark.parametrize("names", [("bad@example.com", "good@example.com"), ("good@example.com", "bad@example.com")])
@pytest.mark.parametrize("act", [LOGIN, "450 4.7.0 too many messages", Cut(b"421 4.3.2 bye\r\n")], ids=["login", "quota", "421"])  # fmt: skip
def test_a_message_that_is_alone_goes_to_those_whom_the_server_takes(
    tmp_path: Path, act: str | Action, names: Sequence[str], extensions: Sequence[str]
) -> None:
    """No other mail shows that the account is well, and the order of the recipients must not matter."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    queue_id = mail(machine, *names)
    with SmtpServer(extensions=extensions, faults={"rcpt": at_the_bad(act)}) as server:
        for _ in range(2):
            run(machine, server)
            wait_for_the_pause(machine, clock)
        assert taken(server) == ["good@example.com"]
    left = queued(machine, queue_id)
    # At 421 the connection is over: behind one who was accepted that is as if it hung up at him, an attempt. So is what
    # is said before another is accepted: it is no account's.
    attempts = 1 if isinstance(act, Cut) == names[0].startswith("good") else 0
    assert (left.attempts, left.delivery.pending) == (attempts, ("bad@example.com",))


@pytest.mark.requirement("R2", "R18")
def test_a_run_that_is_stopped_has_lost_no_connection(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    put(machine.directory, "lost@example.com", now=machine.clock.now(), reverse_path="lost@isp.example")
    mail(machine, "slow@example.com")

    def answer(line: bytes) -> Action | None:
        if b"<slow" in line:
            machine.stop.request(15)
            return Wait(30.0)
        return DROP if b"<lost" in line else None

    with SmtpServer(extensions=ONE_BY_ONE, faults={"rcpt": answer}) as server:
        report = machine.flush(machine.to(server, timeout_s=10.0), options=Options(wait=False))
    assert (report.exit_code, report.reason, report.trouble) == (0, "stopped", None)
    assert report.held_back
    assert 0.0 < report.next_at <= machine.clock.now(), "what had no turn may leave at once"


@pytest.mark.requirement("R18")
def test_relaying_that_is_denied_is_told_once_an_hour_whoever_the_recipients_are(tmp_path: Path) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    told = 0
    with SmtpServer(faults={"rcpt": lambda line: f"554 5.7.1 {line[8:].decode()}: Relay access denied"}) as server:
        for number in range(50):
            mail(machine, f"someone{number}@example{number}.com")
            report = run(machine, server)
            assert report.exit_code == 77
            told += not report.told
            clock.offset += 60.0
    assert told == 1


@pytest.mark.requirement("R18")
def test_relaying_that_is_denied_is_told_once_an_hour_though_mail_to_others_goes_between(tmp_path: Path) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    state = f"{machine.directory}/account.json"
    told = 0
    with SmtpServer(faults={"rcpt": at_the_bad(RELAY)}) as server:
        for number in range(30):
            mail(machine, "bad@example.com")
            report = run(machine, server)
            assert report.exit_code == 77
            assert load_account(state, owner=os.geteuid()).deferred
            told += not report.told
            mail(machine, f"good{number}@example.com")
            report = run(machine, server)
            # With a report, where one of the others came back meanwhile and has failed for good.
            assert f"good{number}@example.com" in taken(server)
            assert report.trouble is None
            assert not load_account(state, owner=os.geteuid()).deferred
            clock.offset += 60.0
    assert told == 1


@pytest.mark.requirement("S19", "R9")
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("act", [DROP, Cut(b"421 4.3.2 filter trouble\r\n")], ids=["hang up", "421"])
def test_a_message_that_was_found_to_be_to_blame_at_mail_never_stands_for_the_account_when_it_is_alone(
    tmp_path: Path, act: Action, connections: int
) -> None:
    """Each of its attempts paused the account, for up to four hours, and new mail waited for the end of that."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    put(machine.directory, "bad@example.com", now=clock.now(), reverse_path="costly@isp.example")
    mail(machine, "first@example.com")
    with SmtpServer(faults={"mail": lambda line: act if b"costly@" in line else None}) as server:
        run(machine, server, connections=connections)
        wait_for_the_pause(machine, clock)
        # Another connection may have had the first one, before it was known that this was in trouble.
        mail(machine, "second@example.com")
        run(machine, server, connections=connections)
        (left,) = machine.queue()
        for attempt in range(left.attempts, left.attempts + 5):
            (left,) = machine.queue()
            clock.offset += max(60.0, left.delivery.next_attempt_at - clock.now() + 1)
            report = run(machine, server, connections=connections)
            assert (report.exit_code, report.deferred) == (0, 1), attempt
            new = f"new{attempt}@example.com"
            mail(machine, new)
            clock.offset += 60.0
            run(machine, server, connections=connections)
            assert new in taken(server)


@contextmanager
def claims_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Which messages are opened to be looked at: the work that a run does besides sending."""
    claimed: list[str] = []
    claim = Spool.claim

    def counted(spool: Spool, queue_id: str) -> Claimed | None:
        claimed.append(queue_id)
        return claim(spool, queue_id)

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "claim", counted)
        yield claimed


@pytest.mark.requirement("R12", "R13")
def test_behind_an_outage_each_message_is_opened_a_few_times_and_not_all_of_them_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was never tried is searched for in vain; with 4,000 messages a run had taken fifty times as long."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    queue_ids = [mail(machine, f"user{number}@example.com") for number in range(300)]
    for queue_id in queue_ids:
        recipient = RecipientState(f"user{queue_ids.index(queue_id)}@example.com", result="deferred", at=clock.now())
        Moves(machine.directory).write_state(queue_id, MessageState((recipient,), attempts=1))
    with SmtpServer(faults={"greeting": DROP}) as server:
        assert run(machine, server).exit_code == 69
    wait_for_the_pause(machine, clock)
    with SmtpServer() as server, claims_counted(monkeypatch) as claimed:
        assert run(machine, server).relayed == 300
        assert len(claimed) <= 3 * 300
        assert taken(server) == [f"user{number}@example.com" for number in range(300)], "in the order of the queue"


@pytest.mark.requirement("R7", "S19")
@pytest.mark.parametrize(
    "extensions",
    [EXTENSIONS, ONE_BY_ONE, CHUNKS, (*ONE_BY_ONE, "CHUNKING")],
    ids=["group", "one by one", "chunks", "chunks one by one"],
)
@pytest.mark.parametrize("names", [people(3, 2), people(3, 0), people(21, 19)], ids=["last", "first", "20th of 21"])
@pytest.mark.parametrize(
    "words",
    [b"550 5.1.1 no\r\n421 4.7.0 bye\r\n", b"450 4.2.0 no\r\n421 4.7.0 bye\r\n", b"550 5.1.1 no\r\n221 bye\r\n",
     b"450 4.2.0 no\r\n", b"550 5.1.1 no\r\n421 4.7.0 Error: too many errors\r\n"],
    ids=["550-421", "450-421", "550-221", "450", "errors"],
)  # fmt: skip
def test_a_good_bye_in_one_breath_with_a_refusal_keeps_the_message_from_nobody_else(
    tmp_path: Path, words: bytes, names: Sequence[str], extensions: Sequence[str]
) -> None:
    """There may be no command on the wire that it answers; who comes next is not to blame, and was given up with them."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    queue_id = mail(machine, *names)
    with SmtpServer(extensions=extensions, faults={"rcpt": at_the_bad(Cut(words))}) as server:
        for _ in range(3):
            report = run(machine, server)
            # Nothing was refused for good, and no other mail shows that the account is well.
            assert report.exit_code == 0 or (report.exit_code, words[:3]) == (75, b"450")
            clock.offset += 6 * 3600.0
        assert sorted(taken(server)) == sorted(name for name in names if "bad" not in name)
    bad = {one.result for one in queued(machine, queue_id).delivery.recipients if "bad" in one.recipient}
    assert bad == {"failed" if words.startswith(b"5") else "deferred"}
