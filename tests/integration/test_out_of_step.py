"""A server that says one thing too many: each answer is then the one to the question before.

It answers as one does that is far away: what is too many comes when the next command is on its way already.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.campaign.machine import Machine, MovedClock
from tests.support.flushes import mail, queued, results, run, taken
from tests.support.smtp_client import ListFeed, connect, transaction
from tests.support.smtp_server import DROP, Action, Cut, Dialogue, Fault, Raw, Said, SmtpServer
from ucrmmail.smtp.submit import submit
from ucrmmail.smtp.transaction import Transaction

NO_SUCH_USER = "550 5.1.1 no such user"
USUAL = {"greeting": "220 hi", "mail": "250 2.1.0 sender ok", "final-dot": "250 2.0.0 queued"}
WAYS = pytest.mark.parametrize(
    "extensions",
    [("8BITMIME",), ("PIPELINING",), ("CHUNKING",), ("PIPELINING", "CHUNKING")],
    ids=["plain", "pipelining", "chunking", "both"],
)


class AgainFeed(ListFeed):
    """Hands out again what was given back unused, as the queue does."""

    def unused(self, transaction: Transaction) -> None:
        self.transactions.insert(0, transaction)


class TooMuch(Action):
    """Give the usual answer, and another one that nobody asked for, at once or a moment later."""

    def __init__(self, usual: str, *, late: bool) -> None:
        self._usual = usual
        self._late = late

    def act(self, dialogue: Dialogue) -> Said:
        if self._late:
            dialogue.reply(self._usual)
            time.sleep(0.01)
            dialogue.reply("250 2.0.0 extra")
        else:
            dialogue.reply(f"{self._usual}\n250 2.0.0 extra")
        return Said(self._usual)


def far_away(faults: dict[str, Callable[[bytes], str | Action | None]]) -> dict[str, Fault]:
    """Let each answer take a while."""

    def slow(place: str) -> Callable[[bytes], str | Action | None]:
        def answer(line: bytes) -> str | Action | None:
            time.sleep(0.02)
            return faults[place](line) if place in faults else None

        return answer

    return {place: slow(place) for place in ("greeting", "ehlo", "mail", "rcpt", "data", "final-dot")}


def once(action: Action) -> Callable[[bytes], Action | None]:
    """Do it the first time."""
    left = [action]
    return lambda _line: left.pop() if left else None


@pytest.mark.requirement("R7", "S3", "S19")
@WAYS
@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("place", ["greeting", "mail", "final-dot"])
@pytest.mark.parametrize("connections", [1, 3])
def test_nobody_fails_for_anothers_answer_and_nothing_is_taken_for_relayed_that_is_not(
    tmp_path: Path, extensions: Sequence[str], late: bool, place: str, connections: int
) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    mail(machine, "first@example.com")
    mixed = mail(machine, "bad0@example.com", "good1@example.com", "bad2@example.com", "good3@example.com")
    mail(machine, "last@example.com")
    faults: dict[str, Callable[[bytes], str | Action | None]] = {
        "rcpt": lambda line: NO_SUCH_USER if b"<bad" in line else None,
        place: once(TooMuch(USUAL[place], late=late)),
    }
    with SmtpServer(extensions=extensions, faults=far_away(faults)) as server:
        for _ in range(4):
            report = run(machine, server, connections=connections)
            settled = [message for message in report.messages if message.reverse_path]
            told = {one.recipient: one.result for message in settled for one in message.outcomes}
            assert not [each for each, result in told.items() if result == "failed" and "bad" not in each]
            assert {each for each, result in told.items() if result == "relayed"} <= set(taken(server))
            # Behind every pause, and every delay.
            clock.offset += 20_000.0
        assert {"first@example.com", "good1@example.com", "good3@example.com", "last@example.com"} == set(taken(server))
    assert results(queued(machine, mixed)) == {
        "bad0@example.com": "failed", "good1@example.com": "relayed",
        "bad2@example.com": "failed", "good3@example.com": "relayed",
    }  # fmt: skip


@pytest.mark.requirement("S1", "S19")
@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("answer", ["334 go on", "300 well", "399 and"])
def test_nothing_but_354_opens_the_content(answer: str, pipelining: bool) -> None:
    """Behind another answer the server would take the lines of the message for commands."""
    body = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\n"
    feed = ListFeed([transaction("1", body=body), transaction("2")])
    with SmtpServer(faults={"data": Raw(answer.encode() + b"\r\n")}) as server:
        session = connect(server, pipelining=pipelining)
        end = submit(session, feed)
        session.close()
        server.wait_until_idle()
        assert not [line for line in server.commands if b"evil" in line]
    assert (end.alive, feed.summary["1"]) == (False, "deferred")


@pytest.mark.requirement("S19")
def test_who_answers_everything_in_the_same_words_gets_no_more_chunks() -> None:
    faults: dict[str, Fault] = {place: lambda _line: "250 ok" for place in ("mail", "rcpt", "final-dot", "chunk")}
    with SmtpServer(extensions=("PIPELINING", "CHUNKING"), faults=faults) as server:
        session = connect(server)
        feed = ListFeed([transaction(str(number)) for number in range(4)])
        end = submit(session, feed)
        session.quit()
        assert [message.by_chunks for message in server.accepted] == [True, False, False, False]
    assert (end.alive, set(feed.summary.values())) == (True, {"relayed"})


@pytest.mark.requirement("S19")
def test_words_of_their_own_tell_the_answers_to_chunks_apart() -> None:
    faults: dict[str, Fault] = {"mail": lambda _line: "250 ok", "rcpt": lambda _line: "250 Accepted"}
    faults["final-dot"] = lambda _line: "250 ok id=1abcde-000123-4F"
    with SmtpServer(extensions=("PIPELINING", "CHUNKING"), faults=faults) as server:
        session = connect(server)
        feed = ListFeed([transaction(str(number)) for number in range(4)])
        submit(session, feed)
        session.quit()
        assert [message.by_chunks for message in server.accepted] == [True] * 4
        reads = server.connections[0].reads
    # The envelope of the third goes with the end of the second.
    assert any(b"BDAT" in read and b"MAIL FROM" in read for read in reads)


@pytest.mark.requirement("S19", "R7")
@WAYS
def test_content_that_is_refused_in_words_for_a_recipient_fails_all_the_same(
    tmp_path: Path, extensions: Sequence[str]
) -> None:
    machine = Machine(tmp_path)
    refused = mail(machine, "a@example.com", "b@example.com")
    mail(machine, "other@example.com")
    faults: dict[str, Fault] = {"final-dot": lambda raw: "550 rejected" if b"joe@" in raw else None}
    with SmtpServer(extensions=extensions, faults=faults) as server:
        report = run(machine, server)
    assert set(results(queued(machine, refused)).values()) == {"failed"}
    assert report.exit_code == 0


@pytest.mark.requirement("S19")
def test_a_server_that_knows_no_chunks_by_any_word_gets_the_message_with_data(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for number in range(3):
        mail(machine, f"user{number}@example.com")

    def refuse(line: bytes) -> str | None:
        return "501 5.5.4 syntax error" if line.startswith(b"BDAT") else None

    with SmtpServer(extensions=("8BITMIME", "CHUNKING"), faults={"chunk": refuse}) as server:
        report = run(machine, server)
        assert len(taken(server)) == 3
    assert (report.relayed, report.failed) == (3, 0)


@pytest.mark.requirement("S19", "R11")
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize(
    ("mail_reply", "rcpt_reply", "chunk_reply", "last_reply"),
    [
        ("250 Ok", "250 Ok", "250 Message OK, 21 bytes received", "250 Ok"),
        ("250 2.1.0 Sender ok", "250 OK", "250 OK", "250 OK"),
        ("250 2.1.0 OK", "250 2.0.0 OK", "250 2.0.0 OK", "250 2.0.0 OK"),
        ("250 2.1.0 OK", "250 2.1.5 OK", "250 2.1.5 OK", "250 2.1.5 OK"),
        ("250 OK", "250 OK", "250 OK", "250 OK"),
    ],
    ids=["SubEthaSMTP", "a code at MAIL", "one code", "the code of RCPT", "all the same"],
)
def test_whatever_words_a_server_has_for_chunks_each_message_arrives_once(
    tmp_path: Path, connections: int, mail_reply: str, rcpt_reply: str, chunk_reply: str, last_reply: str
) -> None:
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    for number in range(6):
        mail(machine, f"user{number}@example.com")
    faults: dict[str, Fault] = {
        "mail": lambda _line: mail_reply, "rcpt": lambda _line: rcpt_reply,
        "chunk": lambda _line: chunk_reply, "final-dot": lambda _line: last_reply,
    }  # fmt: skip
    with SmtpServer(extensions=("PIPELINING", "CHUNKING"), faults=faults) as server:
        for _ in range(3):
            assert run(machine, server, connections=connections).exit_code == 0
            clock.offset += 20_000.0
        assert sorted(taken(server)) == [f"user{number}@example.com" for number in range(6)]


@pytest.mark.requirement("S19", "R11")
def test_an_answer_that_cannot_be_one_to_the_content_costs_a_second_copy_at_the_most(tmp_path: Path) -> None:
    """It looked like that of RCPT each time, and the message arrived again with each attempt, for days."""
    clock = MovedClock()
    machine = Machine(tmp_path, clock=clock)
    for number in range(3):
        mail(machine, f"user{number}@example.com")
    last = iter(["250 2.0.0 queued"])
    faults: dict[str, Fault] = {"final-dot": lambda _line: next(last, "250 2.1.5 recipient ok")}
    with SmtpServer(extensions=("PIPELINING", "CHUNKING"), faults=faults) as server:
        for _ in range(6):
            run(machine, server)
            clock.offset += 20_000.0
        assert max(taken(server).count(one) for one in taken(server)) <= 2
        assert set(taken(server)) == {f"user{number}@example.com" for number in range(3)}
    assert machine.queue() == []


EXIM = {"ehlo": "250-mx.example.com\n250-8BITMIME\n250 CHUNKING", "mail": "250 OK", "rcpt": "250 Accepted"}
POSTFIX = {"ehlo": EXIM["ehlo"], "mail": "250 2.1.0 Ok", "rcpt": "250 2.1.5 Ok"}
SENDMAIL = {"ehlo": EXIM["ehlo"], "mail": "250 ok", "rcpt": "250 ok"}


@pytest.mark.requirement("R7", "S3", "S19")
@pytest.mark.parametrize("pause_s", [0.02, 0.25], ids=["near", "far"])
@pytest.mark.parametrize("words", [EXIM, POSTFIX, SENDMAIL], ids=["words", "codes", "the same"])
@pytest.mark.parametrize("place", ["ehlo", "mail"])
def test_the_first_message_in_chunks_is_taken_for_relayed_by_its_own_answer_alone(
    tmp_path: Path, place: str, words: dict[str, str], pause_s: float
) -> None:
    """What was said too many came so early that the words of RCPT were never heard as an answer to it."""
    machine = Machine(tmp_path)
    mail(machine, "spam@example.com")
    mail(machine, "good@example.com")
    once_more = once(TooMuch(words[place], late=True))
    asked = [b""]

    def far(at: str) -> Callable[[bytes], str | Action | None]:
        def answer(line: bytes) -> str | Action | None:
            time.sleep(pause_s)
            if at == place and (action := once_more(line)) is not None:
                return action
            if at == "rcpt":
                asked.append(line)
            if at == "final-dot":
                return "554 5.7.1 spam" if b"spam@" in asked[-1] else "250 OK id=1abcde-000123-4F"
            return words.get(at) or ("250 19 byte chunk, total 19" if at == "chunk" else None)

        return answer

    faults: dict[str, Fault] = {at: far(at) for at in ("ehlo", "mail", "rcpt", "chunk", "data", "final-dot")}
    with SmtpServer(extensions=("8BITMIME", "CHUNKING"), faults=faults) as server:
        report = run(machine, server)
        settled = [message for message in report.messages if message.reverse_path]
        told = {one.recipient: one.result for message in settled for one in message.outcomes}
        relayed = {each for each, result in told.items() if result == "relayed"}
        assert relayed <= set(taken(server))
    assert told.get("good@example.com") != "failed"


@pytest.mark.requirement("S19")
def test_words_that_may_be_those_of_rcpt_let_the_message_go_with_data_on_the_same_connection() -> None:
    faults: dict[str, Fault] = {"mail": lambda _line: "250 ok", "rcpt": lambda _line: "250 Accepted"}
    faults["chunk"] = lambda _line: "250 go on"
    with SmtpServer(extensions=("PIPELINING", "CHUNKING"), faults=faults) as server:
        session = connect(server)
        feed = AgainFeed([transaction(str(number)) for number in range(3)])
        end = submit(session, feed)
        session.quit()
        server.wait_until_idle()
        assert [message.by_chunks for message in server.accepted] == [False, False, False]
        assert len(server.connections) == 1
    assert (end.alive, set(feed.summary.values())) == (True, {"relayed"})


@pytest.mark.requirement("R9", "S19")
@pytest.mark.parametrize(
    ("place", "act"),
    [
        ("mail", Cut(b"421 4.7.0 Too many messages in this connection\r\n")),
        ("mail", DROP),
        ("rset", "500 what"),
        ("rset", DROP),
    ],
    ids=["421", "hang-up at MAIL", "no RSET", "hang-up at RSET"],
)
def test_a_server_of_such_words_that_takes_one_transaction_a_connection_gets_all_mail(
    tmp_path: Path, place: str, act: str | Action
) -> None:
    """The next connection began with a chunk again, hundreds of times a second."""
    machine = Machine(tmp_path)
    for number in range(3):
        mail(machine, f"user{number}@example.com")
    here = threading.local()

    def at_mail(_line: bytes) -> str | Action | None:
        if getattr(here, "thread", None) is not threading.current_thread():
            here.thread, here.mails = threading.current_thread(), 0
        here.mails += 1
        return act if place == "mail" and here.mails > 1 else "250 2.0.0 Roger"

    faults: dict[str, Fault] = {"mail": at_mail, "rcpt": lambda _line: "250 2.0.0 I will make sure <x> gets this"}
    faults["chunk"] = lambda _line: "250 2.0.0 go on"
    if place == "rset":
        faults["rset"] = lambda _line: act
    with SmtpServer(extensions=("8BITMIME", "CHUNKING"), faults=faults) as server:
        run(machine, server)
        assert sorted(taken(server)) == [f"user{number}@example.com" for number in range(3)]
        assert len(server.connections) <= 6
    assert machine.queue() == []


@pytest.mark.requirement("R2", "S3")
@pytest.mark.parametrize("extensions", [("CHUNKING",), ("PIPELINING", "CHUNKING")])
def test_a_request_to_stop_takes_back_nothing_that_was_accepted(tmp_path: Path, extensions: Sequence[str]) -> None:
    """It came while one more answer was looked for, and the message went again with the next run."""
    machine = Machine(tmp_path)
    mail(machine, "joe@example.com")

    def accept(_line: bytes) -> str:
        threading.Timer(0.05, machine.stop.request, (signal.SIGTERM,)).start()
        return "250 ok"

    faults: dict[str, Fault] = {place: lambda _line: "250 ok" for place in ("mail", "rcpt", "chunk")}
    with SmtpServer(extensions=extensions, faults=faults | {"final-dot": accept}) as server:
        report = run(machine, server)
        assert taken(server) == ["joe@example.com"]
    assert (report.relayed, machine.queue()) == (1, [])
