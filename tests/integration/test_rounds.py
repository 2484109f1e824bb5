"""A connection outlives the rounds on it: what a pause for a limit lies between is still one dialogue for the server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.campaign.machine import Machine
from tests.support.smtp_client import ANN, BOB, BODY, JOE, ListFeed, connect, transaction
from tests.support.smtp_server import DROP, EXTENSIONS, Action, Dialogue, Fault, Raw, SmtpServer
from tests.support.spools import put
from ucrmmail.delivery.flush import Options
from ucrmmail.limits.rules import Flood, Rules, Throttle
from ucrmmail.message.outcome import Scope
from ucrmmail.smtp.submit import submit

WAYS = {
    "pipelined": (EXTENSIONS, True),
    "one by one": (EXTENSIONS, False),
    "chunks": ((*EXTENSIONS, "CHUNKING"), True),
    "chunks one by one": ((*EXTENSIONS, "CHUNKING"), False),
}
ways = pytest.mark.parametrize(("extensions", "pipelining"), WAYS.values(), ids=WAYS)


@ways
@pytest.mark.requirement("S19")
@pytest.mark.parametrize(
    ("place", "reply"),
    [("rcpt", "550 5.1.1 no such user"), ("rcpt", "450 4.2.1 later"), ("data", "451 4.3.0 later"),
     ("final-dot", "554 5.7.1 spam"), ("mail", "550 5.1.8 bad sender")],
)  # fmt: skip
def test_a_refusal_before_a_pause_is_none_of_the_message_behind_it(
    place: str, reply: str, extensions: tuple[str, ...], pipelining: bool
) -> None:
    if place == "data" and "CHUNKING" in extensions:
        place = "rcpt"
    with SmtpServer(extensions=extensions, faults={place: [reply]}) as server:
        session = connect(server, pipelining=pipelining)
        first, second = ListFeed([transaction("1", ANN)]), ListFeed([transaction("2", BOB), transaction("3", JOE)])
        assert submit(session, first).alive
        end = submit(session, second)
        session.quit()
        server.wait_until_idle()
    assert first.summary["1"] in {"failed", "deferred"}
    assert second.summary == {"2": "relayed", "3": "relayed"}
    assert end.relayed
    assert [message.recipients for message in server.accepted] == [[BOB], [JOE]]
    assert {message.content for message in server.accepted} == {BODY}
    assert len(server.connections) == 1


@pytest.mark.requirement("S6")
def test_a_lone_dot_for_nobody_never_ends_an_older_transaction() -> None:
    faults: dict[str, Fault] = {
        "data": ["451 4.3.0 later", "354 go ahead, for nobody"],
        "rcpt": lambda line: "550 5.1.1 no such user" if BOB.encode() in line else None,
    }
    with SmtpServer(faults=faults) as server:
        session = connect(server)
        submit(session, ListFeed([transaction("1", ANN)]))
        feed = ListFeed([transaction("2", BOB)])
        submit(session, feed)
        session.quit()
        server.wait_until_idle()
    assert feed.summary == {"2": "failed"}
    assert server.accepted == []


@ways
def test_a_server_with_an_old_transaction_in_its_mind_is_told_to_forget_it(
    extensions: tuple[str, ...], pipelining: bool
) -> None:
    """It says "nested MAIL", for whatever reason; the messages behind that one do not pay for it."""
    with SmtpServer(extensions=extensions, faults={"mail": ["503 5.5.1 nested MAIL command"]}) as server:
        session = connect(server, pipelining=pipelining)
        feed = ListFeed([transaction("1", ANN), transaction("2", BOB)])
        submit(session, feed)
        session.quit()
        server.wait_until_idle()
    assert server.commands.count(b"RSET") == 1
    assert feed.summary["1"] != "relayed"
    assert feed.summary["2"] == "relayed"


@ways
@pytest.mark.parametrize("reply", ["421 4.7.0 too many messages in this connection", "452 4.5.3 too many messages in this session"])  # fmt: skip
def test_a_connection_that_has_taken_its_messages_before_a_pause_costs_nobody_anything(
    reply: str, extensions: tuple[str, ...], pipelining: bool
) -> None:
    with SmtpServer(extensions=extensions, faults={"mail": [None, reply]}) as server:
        session = connect(server, pipelining=pipelining)
        submit(session, ListFeed([transaction("1", ANN)]))
        feed = ListFeed([transaction("2", BOB)])
        end = submit(session, feed)
        session.close()
    assert end.trouble is None
    assert not end.alive
    assert feed.summary == {"2": "returned"}


@pytest.mark.requirement("S19", "R22")
@ways
def test_under_a_limit_of_recipients_one_unknown_recipient_stops_nobody(
    tmp_path: Path, extensions: tuple[str, ...], pipelining: bool
) -> None:
    machine = Machine(tmp_path, rules=Rules(throttles=(Throttle(2, 0.3, unit="recipients"),)))
    for number in range(7):
        names = [f"user{number}-{each}@example.com" for each in range(2 if number == 3 else 1)]
        put(machine.directory, *names, now=machine.clock.now())
    faults = {"rcpt": lambda line: "550 5.1.1 no such user" if b"user1-" in line or b"user3-0" in line else None}
    with SmtpServer(extensions=extensions, faults=faults) as server:
        report = machine.flush(machine.to(server, pipelining=pipelining), options=Options(wait=True))
        server.wait_until_idle()
    told = [message for message in server.accepted if message.reverse_path]
    assert sorted(recipient for message in told for recipient in message.recipients if "user" in recipient) == [
        "user0-0@example.com", "user2-0@example.com", "user3-1@example.com", "user4-0@example.com",
        "user5-0@example.com", "user6-0@example.com",
    ]  # fmt: skip
    assert report.deferred == 0


@dataclasses.dataclass(frozen=True)
class CloseWhenIdle(Action):
    """Take the message, and close the connection when nothing has come for a while, with a word or without."""

    after_s: float
    word: str

    def act(self, dialogue: Dialogue) -> None:
        dialogue.reply("250 2.0.0 queued")
        dialogue.pause(self.after_s)
        if self.word:
            dialogue.reply(self.word)
        DROP.act(dialogue)


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("word", ["", "421 4.4.2 idle for too long"])
def test_a_connection_that_is_closed_in_a_pause_costs_no_message_anything(tmp_path: Path, word: str) -> None:
    machine = Machine(tmp_path, rules=Rules(flood=Flood(1, 0.6)))
    machine.put(3)
    with SmtpServer(faults={"final-dot": [CloseWhenIdle(0.2, word), CloseWhenIdle(0.2, word)]}) as server:
        report = machine.flush(machine.to(server), options=Options(wait=True))
        server.wait_until_idle()
        assert len(server.connections) == 3
    assert (report.relayed, report.exit_code) == (3, 0)
    assert machine.queue() == []


@pytest.mark.requirement("S19", "S1")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("extra", ["550 5.7.1 one reply too many", "450 4.7.1 one reply too many"])
@pytest.mark.parametrize("chunking", [False, True])
def test_a_reply_too_many_fails_no_message_when_the_next_ones_show_it(extra: str, count: int, chunking: bool) -> None:
    """The envelope went out behind the last message, so that the reply looks like the one to its MAIL."""
    extensions = (*EXTENSIONS, "CHUNKING") if chunking else EXTENSIONS
    names = [f"user{number}@example.com" for number in range(count)]
    doubled = Raw(f"250 2.0.0 queued\r\n{extra}\r\n".encode())
    with SmtpServer(extensions=extensions, faults={"final-dot": [doubled]}) as server:
        session = connect(server)
        feed = ListFeed([transaction("1", ANN), transaction("2", *names)])
        end = submit(session, feed)
        session.close()
    assert feed.results("1") == {ANN: "relayed"}
    assert "failed" not in feed.results("2").values() if "2" in feed.settled else feed.returned == ["2"]
    assert not end.alive
    assert len(server.messages) == 1


@dataclasses.dataclass(frozen=True)
class OneEach(Action):
    """Take one message on each connection, and say so at the next MAIL."""

    def act(self, dialogue: Dialogue) -> None:
        if len([line for line in dialogue.commands if line.startswith(b"MAIL")]) > 1:
            dialogue.reply("421 4.7.0 too many messages in this connection")
            DROP.act(dialogue)


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("pause_s", [0.0, 0.2])
def test_a_server_that_takes_one_message_a_connection_gets_one_connection_a_message(
    tmp_path: Path, pause_s: float
) -> None:
    machine = Machine(tmp_path, rules=Rules(flood=Flood(1, pause_s) if pause_s else None))
    machine.put(5)
    with SmtpServer(faults={"mail": OneEach()}) as server:
        report = machine.flush(machine.to(server), options=Options(wait=True))
        server.wait_until_idle()
        assert len(server.connections) == 5
    assert (report.relayed, report.exit_code, report.trouble) == (5, 0, None)


def test_a_connection_takes_no_more_transactions_than_it_says_though_a_message_needs_more() -> None:
    with SmtpServer(extensions=(*EXTENSIONS, "LIMITS RCPTMAX=2 MAILMAX=2")) as server:
        session = connect(server)
        feed = ListFeed([transaction("1", *[f"user{number}@example.com" for number in range(5)])])
        end = submit(session, feed)
        server.wait_until_idle()
        assert len([line for line in server.commands if line.startswith(b"MAIL")]) == 2
    assert (end.alive, end.used_up, end.trouble) == (False, True, None)
    assert [each.recipients for each in feed.transactions] == [("user4@example.com",)]


def test_a_server_that_has_taken_a_chunk_knows_chunks_whatever_it_says_of_the_message() -> None:
    faults: dict[str, Fault] = {"final-dot": ["500 message rejected: virus found"]}
    with SmtpServer(extensions=(*EXTENSIONS, "CHUNKING"), faults=faults) as server:
        session = connect(server)
        feed = ListFeed([transaction("1"), transaction("2")])
        end = submit(session, feed)
        session.quit()
    assert (end.distrust, feed.summary) == ("", {"1": "failed", "2": "relayed"})


@pytest.mark.parametrize("reply", ["530 5.7.0 Authentication required", "550 5.4.5 Daily user sending limit exceeded"])
def test_a_trouble_of_the_account_for_good_is_no_messages_whoever_meets_it(reply: str) -> None:
    with SmtpServer(faults={"mail": [None, reply]}) as server:
        session = connect(server)
        feed = ListFeed([transaction("1"), transaction("2"), transaction("3")])
        end = submit(session, feed)
        session.close()
    assert end.trouble is not None
    assert end.trouble.scope is Scope.ACCOUNT
    assert (feed.summary, end.alive) == ({"1": "relayed", "2": "returned"}, False)
