"""Every fault at every stage, for one and for several connections, with and without pipelining, under a limit.

The run ends, each message is in its right state, no limit is exceeded, the verdict names the stage; and once the server
has come to its senses, everything is delivered, once each but for what was in doubt.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.campaign.machine import DAY_S, Machine, MovedClock, number_in
from tests.campaign.world import LONG, dice
from tests.integration.test_smtp_faults import FAULTS, MOST_OF_A_FLOOD, OPENING, SMALL_BUFFER, TIMED_OUT, TIMEOUT_S
from tests.support.certificates import TestAuthority
from tests.support.never import NEVER_S
from tests.support.smtp_client import SECRET, USER
from tests.support.smtp_server import DROP, HANG, RESET, Drip, Fault, Raw, SmtpServer, Wait
from ucrmmail.delivery.flush import Options
from ucrmmail.delivery.report import RunReport
from ucrmmail.limits.rules import rules_from
from ucrmmail.message.outcome import Result

pytestmark = pytest.mark.timeout(7200)

DIALOGUE = ["mail", "rcpt", "data", "body", "final-dot", "rset"]
PLACES = [*OPENING, *DIALOGUE, "quit"]
ALL_FAULTS: dict[str, Fault] = {
    **FAULTS,
    "an empty line": Raw(b"\r\n"),
    "unsolicited": Raw(b"250 2.0.0 ok\r\n250 2.0.0 ok\r\n250 2.0.0 ok\r\n"),
}
# Replies too many: what comes behind is taken for the answer to another command, and noticed where it does not fit.
TOO_MANY = {"unsolicited", "two replies"}
MESSAGES = 7
LIMIT = 5
NO = "550 5.1.1 no such user"


@dataclass(frozen=True)
class Case:
    place: str
    fault: str
    connections: int
    pipelining: bool
    tls: bool

    @property
    def opening(self) -> bool:
        return self.place in OPENING


def cases(place: str) -> list[Case]:
    """All cases of this stage: where no reply is due there is none to be wrong.

    The opening has TLS and a login in it. Behind it each fault is met in both, in half of its cases: with one connection
    and with several, pipelined and not, and for the next fault the other way round.
    """
    found = [
        Case(
            place, fault, connections, pipelining, place in OPENING or (number + connections // 3 + pipelining) % 2 == 0
        )
        for number, fault in enumerate(ALL_FAULTS)
        for connections, pipelining in itertools.product((1, 3), (True, False))
        if not (place in {"body", "tls"} and isinstance(ALL_FAULTS[fault], str))
    ]
    if LONG:
        return found
    in_tls, in_clear = [case for case in found if case.tls], [case for case in found if not case.tls]
    chosen = dice(place)
    return [*chosen.sample(in_tls, 3 if in_clear else 5), *chosen.sample(in_clear, 2 if in_clear else 0)]


def faults_of(case: Case) -> dict[str, Fault]:
    wanted = ALL_FAULTS[case.fault]
    if case.opening:
        # Of one connection the login must fail. Of several the first one works, and the others are refused.
        working = [None] * (2 if case.place == "ehlo" else 1)
        return {case.place: wanted if case.connections == 1 else [*working, *[wanted] * 20]}  # type: ignore[list-item]
    faults: dict[str, Fault] = {case.place: [None, wanted]}  # type: ignore[list-item]
    if case.place in {"rset", "quit"}:
        faults[case.place] = wanted
    if case.place == "rset":
        # All recipients of a message refused: without pipelining nothing but RSET takes its MAIL back.
        faults["rcpt"] = [None, NO]
    # Time for the other connections to take part.
    faults.setdefault("final-dot", [Wait(0.02)] * 3 if case.connections > 1 else None)
    return faults


def first_run(machine: Machine, server: SmtpServer, case: Case, authority: TestAuthority) -> RunReport:
    # A busy machine may be slow to answer: what ends by what is read is not hurried.
    patience_s = TIMEOUT_S if case.fault in TIMED_OUT else 10 * TIMEOUT_S
    connect = machine.to(
        server,
        host="localhost" if case.tls else "127.0.0.1",
        encryption="starttls" if case.tls else "none",
        ca_file=str(authority.ca_file),
        username=USER if case.tls else "",
        timeout_s=patience_s,
        final_timeout_s=patience_s,
        pipelining=case.pipelining,
    )
    return machine.flush(connect, options=Options(wait=False, keep_messages=True, connections=case.connections))


def check_verdict(report: RunReport, case: Case) -> None:
    """Who reads the report must learn where it went wrong."""
    if case.opening:
        if case.connections > 1:
            assert (report.trouble, report.relayed) == (None, LIMIT), "the first connection works"
            return
        assert report.trouble is not None
        # What ruins the handshake belongs to either stage.
        known = {case.place, *({"starttls", "tls"} if case.place in {"starttls", "tls"} else ())}
        assert report.trouble.stage.value in known or case.fault in TOO_MANY, report.trouble
        assert report.relayed == 0
        return
    stages = {
        outcome.stage.value
        for message in report.messages
        for outcome in message.outcomes
        if outcome.result is not Result.RELAYED
    }
    if report.trouble is not None:
        stages.add(report.trouble.stage.value)
    if case.place == "quit":
        # All was said and done: what a server makes of QUIT changes nothing.
        assert (report.trouble, report.relayed, stages) == (None, LIMIT, set())
        return
    if case.fault in TOO_MANY:
        return
    # A message refused at RCPT is what brings the RSET about; its fault shows there, or at the command behind it.
    known = {"rset", "rcpt", "mail"} if case.place == "rset" else {case.place}
    if case.place == "body":
        # A kernel that takes the rest of the body lets the client wait at the dot.
        known.add("final-dot")
    assert stages <= known, stages


def check_states(machine: Machine, server: SmtpServer, report: RunReport, case: Case) -> set[int]:
    """What the server accepted is relayed or in doubt; nothing else is; nothing is gone. Returns what is in doubt."""
    told = {message.queue_id: message for message in report.messages}
    in_doubt = sum(any(outcome.uncertain for outcome in message.outcomes) for message in told.values())
    accepted = [number_in(message.content) for message in server.accepted]
    assert len(accepted) == len(set(accepted)), "twice in one run"
    # A reply in the place of another's may be taken for it; no other fault makes a message relayed that is not.
    if case.fault not in {"unsolicited", "wrong code"}:
        assert report.relayed <= len(accepted) <= report.relayed + in_doubt
    assert len(accepted) <= LIMIT, "beyond the limit"
    states = Counter(message.state for message in machine.queue() if message.reverse_path)
    assert report.relayed + states.total() == MESSAGES
    assert set(states) <= {"waiting", "deferred", "failed"}
    may_fail = (case.fault == "5yz" and case.place in {"mail", "rcpt", "data", "final-dot"}) or case.place == "rset"
    assert states["failed"] <= may_fail, "only a 5yz to MAIL, RCPT, DATA or the dot fails a message"
    return set(accepted)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


# A reset in the moment before ssl.wrap_socket makes Python 3.11 forget the socket, ours or the server's, to the collector.
@pytest.mark.requirement("R15", "S19")
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("place", PLACES)
def test_a_fault_at_this_stage_leaves_every_message_in_its_right_state(
    tmp_path: Path, authority: TestAuthority, place: str
) -> None:
    for number, case in enumerate(cases(place)):
        home = tmp_path / str(number)
        home.mkdir()
        try:
            survive(home, authority, case)
        except AssertionError as error:
            error.add_note(str(case))
            raise
    print(f"{place}: {number + 1} cases, {sum(case.tls for case in cases(place))} of them in TLS")


def survive(home: Path, authority: TestAuthority, case: Case) -> None:
    clock = MovedClock()
    machine = Machine(home, clock=clock, rules=rules_from(message_limit=LIMIT, duration_s=3600.0))
    # What a server says in the middle of a body is told from its answer to the dot only while the body lasts.
    machine.put(MESSAGES, bodies={1: b"x\r\n" * 1_000_000} if case.place == "body" else None)
    with SmtpServer(
        tls=authority.server_context("localhost") if case.tls else None,
        logins={USER: SECRET} if case.tls else None,
        faults=faults_of(case),
        buffer_bytes=SMALL_BUFFER,
    ) as server:
        report = first_run(machine, server, case, authority)
        server.wait_until_idle(0.05)
        if case.place == "rset" and not case.pipelining:
            assert b"RSET" in server.commands, "the fault was never met"
        check_verdict(report, case)
        before = check_states(machine, server, report, case)
        assert max(dialogue.sent_bytes for dialogue in server.connections) <= MOST_OF_A_FLOOD, "read on in a flood"
    recover(machine, clock, before, report, case)


def recover(machine: Machine, clock: MovedClock, before: set[int], report: RunReport, case: Case) -> None:
    """Against a server that works everything else arrives, once."""
    with SmtpServer() as server:
        for _ in range(4):
            clock.offset += DAY_S
            machine.flush(machine.to(server))
        server.wait_until_idle(1.0)
        after = Counter(number_in(message.content) for message in server.accepted)
    after.pop(-1, None)
    assert set(after.values()) <= {1}
    left = machine.queue()
    assert {message.state for message in left} <= {"failed"}
    doubtful = sum(any(outcome.uncertain for outcome in message.outcomes) for message in report.messages)
    assert len(before & set(after)) <= doubtful, "sent twice without a doubt"
    if case.fault not in {"unsolicited", "wrong code"}:
        assert len(before | set(after)) + len(left) == MESSAGES, "lost"


@pytest.mark.requirement("R9", "R15", "S19")
@pytest.mark.parametrize("fault", [DROP, RESET], ids=["closed", "reset"])
@pytest.mark.parametrize("connections", [1, 3])
def test_a_server_that_hangs_up_on_each_connection_is_a_trouble_of_the_account(
    tmp_path: Path, fault: Fault, connections: int
) -> None:
    machine = Machine(tmp_path)
    machine.put(MESSAGES)
    with SmtpServer(faults={"greeting": fault}) as server:
        report = machine.flush(machine.to(server), options=Options(wait=False, connections=connections))
        # The others wait for the first to log in.
        assert len(server.connections) == 1
    assert report.trouble is not None
    # A reset may come before the connection is told as made.
    assert report.trouble.stage.value in {"greeting", "connect"}
    assert [message.state for message in machine.queue()] == ["waiting"] * MESSAGES


@pytest.mark.requirement("R9", "S19")
@pytest.mark.parametrize("connections", [1, 3])
def test_a_port_where_nobody_listens_is_named_and_costs_no_attempt(tmp_path: Path, connections: int) -> None:
    machine = Machine(tmp_path)
    machine.put(MESSAGES)
    with SmtpServer() as server:
        pass
    report = machine.flush(machine.to(server), options=Options(wait=False, connections=connections))
    assert report.trouble is not None
    assert report.trouble.stage.value == "connect"
    assert [message.state for message in machine.queue()] == ["waiting"] * MESSAGES


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("fault", [HANG, Drip(b"220-patience, please\r\n", 0.05)], ids=["silent", "dripping"])
@pytest.mark.parametrize("connections", [1, 3])
def test_a_greeting_that_never_comes_holds_a_run_little_longer_than_its_time_limit(
    tmp_path: Path, fault: Fault, connections: int
) -> None:
    machine = Machine(tmp_path)
    machine.put(MESSAGES)
    with SmtpServer(faults={"greeting": fault}) as server:
        connect = machine.to(server, timeout_s=0.3, greeting_timeout_s=NEVER_S)
        report = machine.flush(connect, options=Options(time_limit_s=1.0, connections=connections))
    assert report.trouble is not None
    assert (report.trouble.stage.value, report.exit_code) == ("greeting", 69)
    assert [message.state for message in machine.queue()] == ["waiting"] * MESSAGES
