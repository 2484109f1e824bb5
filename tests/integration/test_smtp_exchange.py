"""What a reply means where it came: good-byes that nobody asked for, one reply too many, commands in a group refused."""

from __future__ import annotations

import pytest

from tests.support.smtp_client import ANN, BODY, JOE, deliver, transaction
from tests.support.smtp_server import EXTENSIONS, GARBAGE, Cut, Fault, Raw, SmtpServer
from ucrmmail.message.outcome import Stage
from ucrmmail.message.reply import Reply
from ucrmmail.smtp.exchange import is_done, is_good_bye

CHUNKING = (*EXTENSIONS, "CHUNKING")


@pytest.mark.parametrize(
    ("code", "done"),
    [(200, True), (250, True), (251, True), (299, True), (220, False), (221, False), (300, False), (354, False)],
)
def test_a_command_is_done_by_any_2yz_that_is_neither_a_greeting_nor_a_good_bye(code: int, done: bool) -> None:
    assert is_done(Reply(code, "", ("so it is",))) is done
    assert is_good_bye(Reply(code, "", ("so it is",))) is (code == 221)


def test_a_good_bye_behind_a_message_is_told_as_what_the_server_said_of_the_next() -> None:
    with SmtpServer(faults={"final-dot": [Raw(b"250 queued\r\n421 4.3.2 maintenance\r\n")]}) as server:
        end, feed = deliver(server, transaction("1"), transaction("2"), pipelining=False)
    assert feed.summary == {"1": "relayed", "2": "returned"}
    assert end.trouble is not None
    assert end.trouble.reply is not None
    assert str(end.trouble.reply) == "421 4.3.2 maintenance"


@pytest.mark.parametrize(
    "answer",
    [
        "500 SMTP Protocol synchronization error",
        "503 SMTP protocol synchronization error",
        # Exim 4.96
        "554 SMTP synchronization error",
    ],
)
def test_a_server_that_minds_commands_in_a_group_is_asked_one_by_one_and_no_message_is_to_blame(answer: str) -> None:
    with SmtpServer(faults={"mail": answer}) as server:
        end, feed = deliver(server, transaction("1"))
    assert (end.distrust, feed.summary) == ("PIPELINING", {"1": "returned"})


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_good_bye_in_the_place_of_data_that_has_another_reply_behind_it_refuses_nobody(pipelining: bool) -> None:
    """The answers are out of step: which message the server is about is not known."""
    with SmtpServer(faults={"data": Raw(b"421 4.7.0 not this one\r\n354 go ahead\r\n")}) as server:
        end, feed = deliver(server, transaction("1"), pipelining=pipelining)
    assert "where it makes no sense" in (end.trouble.what if end.trouble is not None else "")
    assert feed.summary == {"1": "deferred"}


def test_errors_that_were_counted_up_to_the_answer_to_rset_use_up_the_connection_alone() -> None:
    too_many = Cut(b"421 4.7.0 mx.example.com Error: too many errors\r\n")
    faults: dict[str, Fault] = {"data": "554 5.7.1 no", "rset": too_many}
    with SmtpServer(extensions=("SIZE",), faults=faults) as server:
        end, feed = deliver(server, transaction("1"), transaction("2"))
    assert (end.trouble, end.used_up) == (None, True)
    assert feed.summary == {"1": "failed"}


def test_errors_that_were_counted_up_to_a_chunk_use_up_the_connection_alone() -> None:
    """Postfix: the command behind one refusal too many is BDAT. All mail had waited for the account's pause."""
    faults: dict[str, Fault] = {
        "rcpt": lambda line: "550 5.1.1 no" if b"ann@" in line else None,
        "final-dot": [None, Cut(b"421 4.7.0 mx.example.com Error: too many errors\r\n")],
    }
    with SmtpServer(extensions=CHUNKING, faults=faults) as server:
        end, feed = deliver(server, transaction("1", JOE, ANN), transaction("2", JOE, ANN))
    assert (end.trouble, end.used_up, end.relayed) == (None, True, True)
    assert feed.results("1") == {JOE: "relayed", ANN: "failed"}
    assert feed.results("2") == {ANN: "failed"}


def test_a_first_chunk_that_is_refused_for_the_number_of_recipients_sends_the_message_in_parts() -> None:
    """Postfix with reject_multi_recipient_bounce: the message bounced."""
    asked: list[bytes] = []

    def refused(_line: bytes) -> str | None:
        return "550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce" if len(asked) > 1 else None

    faults: dict[str, Fault] = {
        "mail": lambda _line: asked.clear(),
        "rcpt": asked.append,
        "chunk": refused,
        "final-dot": refused,
    }
    with SmtpServer(extensions=CHUNKING, faults=faults) as server:
        end, feed = deliver(server, transaction("1", JOE, ANN))
    assert (end.alive, feed.returned, len(server.accepted)) == (True, ["1"], 0)
    # It comes again, in parts, and RSET first: Postfix (3.7) still counts who was refused with a chunk.
    assert end.fewer


def test_a_message_whose_last_chunk_was_refused_is_forgotten_before_the_next() -> None:
    with SmtpServer(extensions=CHUNKING, faults={"final-dot": [None, "550 5.7.1 no"]}) as server:
        _, feed = deliver(server, *[transaction(str(number)) for number in range(3)], pipelining=False)
    assert feed.summary == {"0": "relayed", "1": "failed", "2": "relayed"}
    assert [line[:4] for line in server.commands if line[:4] in {b"RSET", b"MAIL"}] == [
        b"MAIL",
        b"MAIL",
        b"RSET",
        b"MAIL",
    ]


def test_a_refusal_of_a_chunk_that_may_be_a_recipients_is_asked_again_with_data() -> None:
    with SmtpServer(extensions=CHUNKING, faults={"chunk": "550 5.1.1 no such user"}) as server:
        end, feed = deliver(server, transaction("1", JOE, ANN))
    assert (end.distrust, end.passing, feed.returned) == ("CHUNKING", True, ["1"])


@pytest.mark.parametrize("more", [0, 1])
def test_the_first_chunk_is_known_to_be_taken_by_its_size_alone_and_else_the_message_comes_back(more: int) -> None:
    def taken(line: bytes) -> str:
        return f"250 {int(line.split()[1]) + more} well"

    with SmtpServer(extensions=CHUNKING, faults={"chunk": taken}) as server:
        _, feed = deliver(server, transaction("1"), pipelining=False)
    assert feed.summary == {"1": "relayed" if not more else "returned"}
    assert [message.by_chunks for message in server.messages] == [True] * (1 - more)


@pytest.mark.parametrize("pipelining", [True, False])
def test_an_answer_to_the_last_chunk_in_the_words_of_mail_is_in_doubt_and_shows_that_chunks_cannot_be_told_apart(
    pipelining: bool,
) -> None:
    """It had other words for the message before: one answer is missing, or one too many was there."""
    faults: dict[str, Fault] = {
        "mail": "250 2.1.0 sender ok",
        "final-dot": ["250 2.0.0 queued", "250 2.1.0 sender ok"],
    }
    with SmtpServer(extensions=CHUNKING, faults=faults) as server:
        end, feed = deliver(server, transaction("1"), transaction("2"), pipelining=pipelining)
    assert feed.summary == {"1": "relayed", "2": "uncertain"}
    assert "answered '250 2.1.0 sender ok' to the content" in feed.settled["2"][0].reply
    assert (end.distrust, end.relayed) == ("CHUNKING", True)


def test_an_answer_to_the_final_dot_that_is_none_leaves_a_doubt_that_says_what_came() -> None:
    with SmtpServer(faults={"final-dot": GARBAGE}) as server:
        _, feed = deliver(server, transaction("1", body=BODY))
    (outcome,) = feed.settled["1"]
    assert (outcome.uncertain, outcome.stage) == (True, Stage.FINAL_DOT)
    assert "what is this" in outcome.reply
    assert outcome.reply.endswith("(after the final dot)")


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_server_that_answers_all_in_the_same_words_has_the_next_message_with_data(pipelining: bool) -> None:
    faults: dict[str, Fault] = dict.fromkeys(("mail", "rcpt", "chunk", "final-dot"), "250 ok")
    with SmtpServer(extensions=CHUNKING, faults=faults) as server:
        _, feed = deliver(server, transaction("1"), transaction("2"), pipelining=pipelining)
    assert feed.summary == {"1": "relayed", "2": "relayed"}
    assert [message.by_chunks for message in server.messages] == [True, False]


def test_what_stands_behind_an_answer_that_is_none_is_no_good_bye() -> None:
    with SmtpServer(faults={"mail": Raw(b"what is this\r\n421 4.3.2 bye\r\n")}) as server:
        end, feed = deliver(server, transaction("1"), pipelining=False)
    assert feed.summary == {"1": "returned"}
    assert end.trouble is not None
    assert (end.trouble.reply, "which is no reply" in end.trouble.what) == (None, True)
