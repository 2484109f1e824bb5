"""Transactions on a session: who gets the message, what becomes of each recipient, and what goes in one write."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes

import pytest

from tests.support.never import NEVER_S
from tests.support.smtp_client import ANN, BOB, BODY, JOE, ListFeed, Stages, connect, deliver, transaction
from tests.support.smtp_server import DROP, HANG, Action, Dialogue, Fault, Raw, Said, SmtpServer, Wait
from ucrmmail.delivery.stop import Stop
from ucrmmail.message.outcome import Outcome, Scope, Stage
from ucrmmail.smtp.submit import submit
from ucrmmail.smtp.transaction import NO_MARKS, End, Marks, Transaction

both = pytest.mark.parametrize("pipelining", [True, False])


def twenty_megabytes() -> bytes:
    """More than the kernel takes for a server that does not read; made when it is needed (see ``test_large_intake``)."""
    return (b"x" * 78 + b"\r\n") * 250_000


@both
def test_messages_arrive_as_they_are_and_in_order(pipelining: bool) -> None:
    bodies = [b"Subject: %d\r\n\r\n%b\r\n" % (number, b"." * number) for number in range(5)]
    with SmtpServer() as server:
        end, feed = deliver(
            server, *(transaction(str(n), body=body) for n, body in enumerate(bodies)), pipelining=pipelining
        )
    assert end.alive
    assert end.trouble is None
    assert [message.content for message in server.messages] == bodies
    assert feed.summary == dict.fromkeys("01234", "relayed")
    assert [event for event in feed.events if event.startswith("settle")] == [f"settle {n}" for n in range(5)]
    assert server.commands[-1] == b"QUIT"


@both
def test_the_feed_may_work_while_the_server_does_and_its_trouble_is_not_the_messages(pipelining: bool) -> None:
    class Busy(ListFeed):
        def idle(self) -> None:
            super().idle()
            raise OSError("the disk is gone")

    feed = Busy([transaction("0"), transaction("1")])
    with SmtpServer() as server:
        session = connect(server, pipelining=pipelining)
        with pytest.raises(OSError, match="the disk is gone"):
            submit(session, feed)
        session.close()
    assert feed.summary["0"] == "relayed"
    assert feed.events.index("idle") < feed.events.index("settle 0")
    assert "settle 1" not in feed.events


@both
@pytest.mark.parametrize("fault", [DROP, "421 4.7.0 too many messages"], ids=["lost", "refused"])
def test_the_trouble_of_the_feed_ends_the_run_also_when_the_connection_ends_first(
    fault: str | Action, pipelining: bool
) -> None:
    class Busy(ListFeed):
        def idle(self) -> None:
            raise OSError("the disk is gone")

    feed = Busy([transaction("0"), transaction("1")])
    with SmtpServer(faults={"final-dot": [fault]}) as server:
        session = connect(server, pipelining=pipelining)
        with pytest.raises(OSError, match="the disk is gone"):
            submit(session, feed)
        session.close()
    assert feed.summary["0"] == ("uncertain" if fault is DROP else "returned")


@both
def test_what_was_given_back_to_a_feed_in_trouble_is_not_given_back_again(pipelining: bool) -> None:
    class Broken(ListFeed):
        def unused(self, transaction: Transaction) -> None:
            super().unused(transaction)
            raise OSError("the disk is gone")

    feed = Broken([transaction("0"), transaction("1")])
    with SmtpServer(faults={"final-dot": "450 4.7.1 Error: too much mail from 127.0.0.1"}) as server:
        session = connect(server, pipelining=pipelining)
        with pytest.raises(OSError, match="the disk is gone"):
            submit(session, feed)
        session.close()
    assert feed.returned == (["0", "1"] if pipelining else ["0"])


def test_a_small_message_costs_one_write_and_the_next_body_waits_for_the_record() -> None:
    reads: list[bytes] = []

    class Slow(ListFeed):
        def settle(self, transaction: Transaction, outcomes: tuple[Outcome, ...], marks: Marks = NO_MARKS) -> None:
            # Whatever left before this returned is in the server's hands now.
            time.sleep(0.05)
            reads.append(bytes(server.connections[0].received))
            super().settle(transaction, outcomes, marks)

    with SmtpServer() as server:
        session = connect(server)
        feed = Slow([transaction(str(n), body=b"body-%d\r\n" % n) for n in range(3)])
        submit(session, feed)
        session.quit()
    assert b"body-0\r\n.\r\nMAIL FROM:<billing@isp.example> SIZE=8\r\nRCPT TO:<joe@example.com>\r\nDATA\r\n" in reads[0]
    assert b"body-1" not in reads[0]
    assert b"body-1" in reads[1]
    assert b"body-2" not in reads[1]
    # QUIT never goes behind a dot.
    assert not reads[2].endswith(b"QUIT\r\n")


@pytest.mark.requirement("R7", "S19")
@both
def test_a_refused_recipient_does_not_stop_the_others(pipelining: bool) -> None:
    def rcpt(line: bytes) -> str | None:
        if b"ann@" in line:
            return "550 5.1.1 no such user"
        return "450 4.2.1 greylisted" if b"bob@" in line else None

    with SmtpServer(faults={"rcpt": rcpt}) as server:
        _, feed = deliver(server, transaction("1", JOE, ANN, BOB), transaction("2"), pipelining=pipelining)
    assert feed.results("1") == {JOE: "relayed", ANN: "failed", BOB: "deferred"}
    assert [(outcome.stage, outcome.enhanced) for outcome in feed.settled["1"]] == [
        (Stage.FINAL_DOT, "2.0.0"), (Stage.RCPT, "5.1.1"), (Stage.RCPT, "4.2.1"),
    ]  # fmt: skip
    assert feed.settled["1"][1].reply == "550 5.1.1 no such user"
    assert server.messages[0].recipients == [JOE]
    assert feed.summary["2"] == "relayed"


@both
def test_a_message_without_any_recipient_left_is_not_sent(pipelining: bool) -> None:
    faults = {"rcpt": ["550 5.1.1 no", "550 5.1.1 no"]}
    with SmtpServer(faults=faults) as server:
        _, feed = deliver(server, transaction("1", ANN, BOB), transaction("2", JOE), pipelining=pipelining)
    assert feed.results("1") == {ANN: "failed", BOB: "failed"}
    assert feed.summary["2"] == "relayed"
    assert [message.recipients for message in server.messages] == [[JOE]]
    assert server.commands.count(b"RSET") == 1


def test_data_that_was_opened_for_nobody_is_ended_by_a_lone_dot() -> None:
    faults = {"rcpt": ["550 5.1.1 no"], "data": ["354 go ahead, for whomever"]}
    with SmtpServer(faults=faults) as server:
        end, feed = deliver(server, transaction("1", ANN), transaction("2", JOE))
    assert end.alive
    assert feed.summary == {"1": "failed", "2": "relayed"}
    assert [(message.recipients, message.raw) for message in server.messages] == [([], b""), ([JOE], BODY)]


def test_data_that_was_opened_for_a_refused_message_is_left_without_a_dot() -> None:
    faults: dict[str, Fault] = {
        "mail": [Raw(b"550 5.7.1 not you\r\n")],
        "rcpt": ["250 2.1.5 ok all the same"],
        "data": ["354 go ahead all the same"],
    }
    with SmtpServer(faults=faults) as server:
        end, feed = deliver(server, transaction("1", ANN), transaction("2", JOE))
    assert (end.trouble, end.alive) == (None, False)
    assert feed.summary == {"1": "failed"}
    assert server.messages == []


@pytest.mark.requirement("R7")
@both
@pytest.mark.parametrize(
    "reply",
    [
        "452 4.5.3 too many recipients",
        "552 too many recipients",
        "452 too many recipients",
        "550 Too many recipients",
        # Salmon
        "451 Will not accept multiple recipients in one transaction",
    ],
)
def test_too_many_recipients_go_in_further_transactions_at_no_cost(pipelining: bool, reply: str) -> None:
    recipients = [f"user{number}@example.com" for number in range(7)]
    seen = [0]

    def rcpt(_line: bytes) -> str | None:
        seen[0] += 1
        return reply if len(server.messages) == 0 and seen[0] > 3 else None

    with SmtpServer(faults={"rcpt": rcpt}) as server:
        _, feed = deliver(server, transaction("1", *recipients), transaction("2"), pipelining=pipelining)
    assert set(feed.results("1").values()) == {"relayed"}
    assert [message.recipients for message in server.messages] == [recipients[:3], recipients[3:], [JOE]]


@pytest.mark.requirement("R7")
@both
def test_a_limit_of_recipients_that_the_server_states_is_kept(pipelining: bool) -> None:
    recipients = [f"user{number}@example.com" for number in range(7)]
    extensions = ["PIPELINING", "LIMITS RCPTMAX=3"]
    with SmtpServer(extensions=extensions, most_recipients=3) as server:
        _, feed = deliver(server, transaction("1", *recipients), pipelining=pipelining)
    assert [message.recipients for message in server.messages] == [recipients[:3], recipients[3:6], recipients[6:]]
    assert set(feed.results("1").values()) == {"relayed"}
    assert b"452" not in b"".join(server.commands)


def test_a_limit_of_transactions_that_the_server_states_ends_the_session_politely() -> None:
    with SmtpServer(extensions=["PIPELINING", "LIMITS MAILMAX=2"]) as server:
        end, feed = deliver(server, *(transaction(str(n)) for n in range(3)))
    assert (end.trouble, end.alive) == (None, False)
    assert feed.summary == {"0": "relayed", "1": "relayed"}
    assert [found.queue_id for found in feed.transactions] == ["2"]
    assert server.commands[-1] == b"QUIT"


def test_a_first_recipient_that_is_one_too_many_is_deferred_and_not_tried_for_ever() -> None:
    with SmtpServer(faults={"rcpt": "452 4.5.3 too many recipients"}) as server:
        _, feed = deliver(server, transaction("1", ANN, BOB))
    assert feed.results("1") == {ANN: "deferred", BOB: "deferred"}


@pytest.mark.requirement("S19")
@both
@pytest.mark.parametrize(
    ("place", "reply", "result"),
    [
        ("mail", "550 5.1.8 not you", "failed"),
        ("mail", "451 4.3.0 later", "deferred"),
        ("data", "554 5.5.1 no", "failed"),
        ("data", "451 4.3.0 later", "deferred"),
        ("final-dot", "554 5.7.1 spam", "failed"),
        ("final-dot", "451 4.3.0 later", "deferred"),
        ("final-dot", "552 5.3.4 too large", "failed"),
    ],
)
def test_a_refused_message_does_not_stop_the_others(pipelining: bool, place: str, reply: str, result: str) -> None:
    with SmtpServer(faults={place: [None, reply]}) as server:
        end, feed = deliver(server, *(transaction(n, JOE, ANN) for n in "123"), pipelining=pipelining)
    assert end.alive
    assert feed.results("1") == feed.results("3") == {JOE: "relayed", ANN: "relayed"}
    assert feed.results("2") == {JOE: result, ANN: result}
    assert feed.settled["2"][0].reply == reply
    assert len(server.accepted) == 2


@pytest.mark.requirement("R22", "S19")
@both
@pytest.mark.parametrize("place", ["mail", "rcpt", "data", "final-dot"])
@pytest.mark.parametrize(
    "reply", ["421 4.3.2 shutting down", "550 5.4.5 Daily user sending limit exceeded", "450 4.7.0 too many messages"]
)
def test_a_trouble_of_the_account_costs_no_message_an_attempt(pipelining: bool, place: str, reply: str) -> None:
    with SmtpServer(faults={place: [None, reply]}) as server:
        end, feed = deliver(server, *(transaction(n) for n in "1234"), pipelining=pipelining)
    assert end.trouble is not None
    assert (end.trouble.scope, end.trouble.exit_code, end.alive) == (Scope.ACCOUNT, 75, False)
    assert end.trouble.quota is not reply.startswith("421")
    assert feed.summary["1"] == "relayed"
    assert feed.summary["2"] == "returned"
    assert feed.summary.get("3", "returned") == "returned"
    assert len(server.accepted) == 1


@both
def test_a_quota_in_the_middle_of_many_recipients_keeps_what_was_sent(pipelining: bool) -> None:
    recipients = [f"user{number}@example.com" for number in range(4)]
    faults = {"mail": [None, "550 5.4.5 Daily user sending limit exceeded"]}
    with SmtpServer(faults=faults, extensions=["PIPELINING", "LIMITS RCPTMAX=2"]) as server:
        end, feed = deliver(server, transaction("1", *recipients), transaction("2"), pipelining=pipelining)
    assert end.trouble is not None
    assert end.trouble.quota
    # The others have not had their turn.
    assert feed.results("1") == dict.fromkeys(recipients[:2], "relayed")
    assert len(server.accepted) == 1


@pytest.mark.requirement("R11", "S19")
@both
@pytest.mark.parametrize(
    ("place", "results"),
    [
        ("mail", ["relayed", "returned"]),
        ("rcpt", ["relayed", "deferred"]),
        ("data", ["relayed", "deferred"]),
        ("body", ["relayed", "deferred"]),
        ("final-dot", ["relayed", "uncertain"]),
    ],
)
def test_a_lost_connection_defers_only_the_message_that_was_on_it(
    pipelining: bool, place: str, results: list[str]
) -> None:
    big = b"x" * 70 + b"\r\n"
    with SmtpServer(faults={place: [None, DROP]}) as server:
        end, feed = deliver(
            server, transaction("1"), transaction("2", body=big * 100_000), transaction("3"), pipelining=pipelining
        )
    assert end.trouble is not None
    assert (end.trouble.scope, end.alive) == (Scope.MESSAGE, False)
    assert [feed.summary[n] for n in "12"] == results
    assert feed.summary.get("3", "returned") == "returned"


@pytest.mark.requirement("R17")
def test_a_time_that_is_longer_than_any_wait_of_the_kernel_is_a_long_one() -> None:
    """Longer than 24 days, as of who wants nothing twice, it was an error behind each final dot, and all came again."""
    century_s = 36_525 * 86_400.0
    with SmtpServer(faults={"greeting": Wait(0.05), "final-dot": Wait(0.05)}) as server:
        _, feed = deliver(server, timeout_s=century_s, final_timeout_s=century_s)
        assert len(server.accepted) == 1
    assert feed.summary == {"1": "relayed"}


@pytest.mark.requirement("R11")
def test_silence_after_the_final_dot_is_uncertain_and_never_a_failure() -> None:
    with SmtpServer(faults={"final-dot": HANG}) as server:
        end, feed = deliver(server, transaction("1", JOE, ANN), transaction("2"), final_timeout_s=0.2)
    assert feed.results("1") == {JOE: "uncertain", ANN: "uncertain"}
    assert feed.summary["2"] == "returned"
    assert end.trouble is not None
    assert end.trouble.stage is Stage.FINAL_DOT


@pytest.mark.parametrize("reply", ["354 odd", "221 bye", "nonsense", "220 hello"])
def test_a_senseless_answer_to_the_final_dot_is_uncertain(reply: str) -> None:
    with SmtpServer(faults={"final-dot": reply}) as server:
        end, feed = deliver(server)
    assert feed.summary == {"1": "uncertain"}
    assert not end.alive


@pytest.mark.requirement("R17")
def test_the_reply_to_the_final_dot_has_a_time_of_its_own() -> None:
    with SmtpServer(faults={"final-dot": Wait(0.6)}) as server:
        _, feed = deliver(server, timeout_s=0.5, final_timeout_s=20)
    assert feed.summary == {"1": "relayed"}


@pytest.mark.requirement("S4")
def test_a_message_that_is_not_over_is_not_in_doubt_when_the_server_stops_reading() -> None:
    with SmtpServer(faults={"body": HANG}, extensions=["PIPELINING"]) as server:
        end, feed = deliver(server, transaction("1", body=twenty_megabytes(), pieces=1 << 16), timeout_s=0.3)
    assert feed.summary == {"1": "deferred"}
    assert not end.alive


def test_a_dot_that_never_left_this_machine_leaves_no_doubt() -> None:
    """One block, larger than what the kernel takes: the dot behind it cannot have arrived."""
    with SmtpServer(faults={"body": HANG}, extensions=["PIPELINING"]) as server:
        end, feed = deliver(server, transaction("1", body=twenty_megabytes()), timeout_s=0.3)
    assert feed.summary == {"1": "deferred"}
    assert not end.alive


def test_a_refusal_without_a_status_has_the_one_of_its_kind() -> None:
    refused = {b"joe": "550 no", b"ann": "450 later"}
    with SmtpServer(faults={"rcpt": lambda line: refused[line[len(b"RCPT TO:<") :][:3]]}) as server:
        _, feed = deliver(server, transaction("1", JOE, ANN))
    assert [outcome.enhanced for outcome in feed.settled["1"]] == ["5.0.0", "4.0.0"]


@pytest.mark.parametrize(
    ("said", "result", "scope"),
    [
        (b"552 5.3.4 too large\r\n", "deferred", Scope.MESSAGE),
        (b"250 2.0.0 ok\r\n", "deferred", Scope.MESSAGE),
        (b"421 4.3.2 going down\r\n", "returned", Scope.ACCOUNT),
    ],
)
def test_a_reply_before_the_dot_ends_the_message_without_one(said: bytes, result: str, scope: Scope) -> None:
    # Of less, all could be on its way before the server speaks: its word would be the answer to the dot.
    with SmtpServer(extensions=["PIPELINING"], faults={"body": Raw(said)}) as server:
        end, feed = deliver(server, transaction("1", body=twenty_megabytes()))
    assert feed.summary == {"1": result}
    assert end.trouble is not None
    assert end.trouble.scope is scope
    assert server.messages == []
    if result == "deferred":
        assert said.decode().strip() in feed.settled["1"][0].reply


@both
@pytest.mark.parametrize("place", ["mail", "rcpt", "data", "final-dot"])
def test_a_reply_nobody_asked_for_never_counts_as_another_messages(pipelining: bool, place: str) -> None:
    usual = {"mail": b"250 ok", "rcpt": b"250 ok", "data": b"354 go", "final-dot": b"250 queued"}[place]
    twice = Raw(usual + b"\r\n250 2.0.0 queued\r\n")
    with SmtpServer(faults={place: [twice, "554 5.7.1 spam" if place == "final-dot" else None]}) as server:
        _, feed = deliver(server, transaction("1"), transaction("2"), pipelining=pipelining)
    relayed = [queue_id for queue_id, result in feed.summary.items() if result == "relayed"]
    assert len(relayed) <= len(server.accepted)
    assert feed.summary.get("2") != "relayed" or len(server.accepted) == 2


IN_ITS_HEADER = b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\nhi\r\n"


@pytest.mark.requirement("R16")
@both
def test_eight_bit_text_is_encoded_for_a_server_that_takes_none(pipelining: bool) -> None:
    text = "Grüße\r\n.\r\naus Köln".encode()
    with SmtpServer(extensions=["PIPELINING", "SIZE 1000"]) as server:
        _, feed = deliver(
            server,
            transaction("1", body=b"Subject: x\r\n\r\n" + text, eight_bit=True, pieces=7),
            transaction("2"),
            pipelining=pipelining,
        )
    assert feed.summary == {"1": "relayed", "2": "relayed"}
    message = server.accepted[0]
    assert message.raw.isascii()
    assert message.options == [f"SIZE={len(message.content)}"]
    parsed = message_from_bytes(message.content)
    assert parsed.get_payload(decode=True) == text + b"\r\n"
    assert (parsed["Content-Transfer-Encoding"], parsed.get_content_charset()) == ("quoted-printable", "utf-8")


@pytest.mark.requirement("R16", "S19")
def test_a_message_that_only_its_encoding_makes_too_large_waits() -> None:
    with SmtpServer(extensions=["PIPELINING", "SIZE 1000"]) as server:
        body = b"Subject: x\r\n\r\n" + "ü".encode() * 300
        _, feed = deliver(server, transaction("1", body=body, eight_bit=True))
    assert feed.summary == {"1": "deferred"}
    assert feed.settled["1"][0].enhanced == "4.6.3"


@pytest.mark.requirement("R16", "S19")
@pytest.mark.parametrize(
    ("settings", "extensions", "becomes", "status"),
    [
        ({"eight_bit": True, "body": IN_ITS_HEADER}, ["PIPELINING"], "deferred", "4.6.3"),
        ({"reverse_path": "jörg@isp.example"}, ["PIPELINING", "8BITMIME"], "deferred", "4.6.7"),
        ({"body": b"x" * 200}, ["PIPELINING", "SIZE 100"], "failed", "5.3.4"),
        ({"reverse_path": "a@b>\r\nRCPT TO:<eve@example.com"}, ["PIPELINING"], "failed", "5.1.3"),
    ],
)
def test_what_the_server_cannot_take_stays_behind_and_the_others_go_on(
    settings: dict[str, object], extensions: list[str], becomes: str, status: str
) -> None:
    small = b"x\r\n"
    with SmtpServer(extensions=extensions) as server:
        end, feed = deliver(
            server,
            transaction("1", body=small),
            transaction("2", **{"body": small, **settings}),  # type: ignore[arg-type] # its own keywords
            transaction("3", body=small),
        )
    assert end.alive
    assert feed.summary == {"1": "relayed", "2": becomes, "3": "relayed"}
    assert feed.settled["2"][0].enhanced == status
    assert [event for event in feed.events if event.startswith("settle")] == ["settle 1", "settle 2", "settle 3"]
    assert b"eve@" not in server.received


@pytest.mark.requirement("R7")
@both
def test_a_recipient_that_the_server_cannot_take_leaves_the_others_alone(pipelining: bool) -> None:
    with SmtpServer(extensions=["PIPELINING", "8BITMIME"]) as server:
        end, feed = deliver(
            server,
            transaction("1", JOE, "jörg@example.com", ANN),
            transaction("2", "jörg@example.com"),
            transaction("3"),
            pipelining=pipelining,
        )
    assert end.alive
    assert feed.results("1") == {JOE: "relayed", "jörg@example.com": "deferred", ANN: "relayed"}
    assert feed.results("2") == {"jörg@example.com": "deferred"}
    assert feed.results("3") == {JOE: "relayed"}
    assert [message.recipients for message in server.accepted] == [[JOE, ANN], [JOE]]


@pytest.mark.requirement("S19")
def test_a_server_that_refuses_ehlo_for_once_bounces_no_mail_that_is_not_ascii() -> None:
    with SmtpServer(faults={"ehlo": ["502 5.5.1 not now"]}) as server:
        eight_bit = transaction("1", body=IN_ITS_HEADER, eight_bit=True)
        _, before = deliver(server, eight_bit, transaction("2", "jörg@example.com"), transaction("3"))
        _, after = deliver(server, eight_bit, transaction("2", "jörg@example.com"))
    assert before.summary == {"1": "deferred", "2": "deferred", "3": "relayed"}
    assert after.summary == {"1": "relayed", "2": "relayed"}


@pytest.mark.requirement("R16")
def test_what_a_message_needs_is_said_where_it_is_offered() -> None:
    with SmtpServer() as server:
        _, feed = deliver(server, transaction("1", "jürgen@example.com", eight_bit=True, utf8=True))
    assert feed.summary == {"1": "relayed"}
    assert server.messages[0].options == [f"SIZE={len(BODY)}", "BODY=8BITMIME", "SMTPUTF8"]
    assert server.messages[0].recipients == ["jürgen@example.com"]


@pytest.mark.requirement("S19")
def test_a_message_that_cannot_be_read_here_does_not_stop_the_others() -> None:
    def chunks() -> Iterator[bytes]:
        yield BODY
        raise OSError(5, "Input/output error", "/var/spool/x")

    broken = Transaction("1", "", (JOE,), 100, eight_bit=False, utf8=False, chunks=chunks)
    with SmtpServer() as server:
        end, feed = deliver(server, broken, transaction("2"))
    assert feed.summary == {"1": "deferred"}
    assert "cannot be read here" in feed.settled["1"][0].reply
    assert (end.alive, end.trouble.scope if end.trouble else None) == (False, Scope.MESSAGE)
    assert server.messages == []


@both
@pytest.mark.parametrize(("reply", "to_blame"), [("421 4.3.0 filter", True), ("421 4.7.0 too many messages", False)])
def test_421_to_the_dot_of_a_suspect_is_its_own_trouble_unless_it_is_a_quota(
    pipelining: bool, reply: str, to_blame: bool
) -> None:
    feed = ListFeed([transaction("1"), transaction("2")])
    feed.suspicion.suspects.add("1")
    with SmtpServer(faults={"final-dot": reply}) as server:
        session = connect(server, pipelining=pipelining)
        end = submit(session, feed)
        session.close()
    assert not end.alive
    if to_blame:
        assert end.trouble is None
        assert feed.summary["1"] == "deferred"
        assert feed.summary.get("2", "returned") == "returned"
    else:
        assert end.refused == "1"
        assert feed.summary["1"] == "returned"


def test_trouble_with_the_next_message_does_not_hurt_the_one_on_the_wire() -> None:
    class Failing(ListFeed):
        def ready(self) -> Transaction | None:
            if not self.transactions:
                raise OSError(28, "No space left on device")
            return super().ready()

    with SmtpServer() as server:
        session = connect(server)
        feed = Failing([transaction("1")])
        with pytest.raises(OSError, match="No space left"):
            submit(session, feed)
        session.quit()
    assert feed.summary == {"1": "relayed"}


@pytest.mark.requirement("R2")
@both
@pytest.mark.parametrize("place", ["mail", "rcpt", "data", "body"])
def test_a_request_to_stop_before_the_dot_sends_nothing(pipelining: bool, place: str) -> None:
    stop = Stop()
    with SmtpServer(faults={place: HANG}, extensions=["PIPELINING"]) as server:
        feed = ListFeed([transaction("1", body=twenty_megabytes(), pieces=1 << 16), transaction("2")])
        session = connect(server, stop=stop, timeout_s=NEVER_S, pipelining=pipelining)
        threading.Timer(0.1, stop.request, (signal.SIGTERM,)).start()
        end = submit(session, feed)
        session.close()
    assert (end.trouble, end.alive) == (None, False)
    assert feed.summary == {"1": "returned"}
    assert server.messages == []


@pytest.mark.requirement("R2")
def test_a_request_to_stop_after_the_dot_waits_for_the_answer() -> None:
    stop = Stop()
    with SmtpServer(faults={"final-dot": Wait(0.4)}) as server:
        feed = ListFeed([transaction("1"), transaction("2")])
        session = connect(server, stop=stop)
        threading.Timer(0.1, stop.request, (signal.SIGTERM,)).start()
        end = submit(session, feed)
        session.close()
    assert (end.trouble, end.alive) == (None, False)
    assert feed.summary == {"1": "relayed", "2": "returned"}
    assert len(server.accepted) == 1


def test_a_server_that_lies_about_pipelining_is_left_in_time_with_the_remedy() -> None:
    with SmtpServer(lies_about_pipelining=True) as server:
        end, feed = deliver(server, timeout_s=0.3)
        assert end.trouble is not None
        assert "smtp.pipelining false" in end.trouble.remedy
        assert end.distrust == "PIPELINING"
        assert feed.summary == {"1": "returned"}
        end, feed = deliver(server, pipelining=False)
    assert feed.summary == {"1": "relayed"}


@pytest.mark.requirement("R17", "S4")
def test_a_whole_message_has_a_deadline_that_a_drip_of_replies_cannot_stretch() -> None:
    recipients = [f"user{number}@example.com" for number in range(200)]
    with SmtpServer(faults={"rcpt": Wait(0.17)}) as server:
        end, feed = deliver(server, transaction("1", *recipients), timeout_s=0.2)
    # It is left long before the last recipient was asked for.
    assert sum(command.startswith(b"RCPT") for command in server.commands) < len(recipients)
    assert set(feed.results("1").values()) == {"deferred"}
    assert not end.alive


@pytest.mark.requirement("R17", "S4")
def test_the_deadline_of_a_message_holds_for_its_further_envelopes_too() -> None:
    recipients = [f"user{number}@example.com" for number in range(200)]
    too_many = "452 4.5.3 too many recipients"
    # The slow ones are all in one group: behind a group it may see that there is no time for another. In ten times the
    # timeout a busy machine must get through those before them.
    with SmtpServer(faults={"rcpt": [None, *[too_many] * 19, *[Wait(0.27)] * 199]}) as server:
        end, feed = deliver(server, transaction("1", *recipients), timeout_s=0.3)
    assert 20 < sum(command.startswith(b"RCPT") for command in server.commands) < 20 + 20
    assert set(feed.results("1").values()) == {"relayed", "deferred"}
    assert not end.alive


@both
@pytest.mark.requirement("R17")
@pytest.mark.parametrize(
    ("place", "own"),
    [("mail", "envelope"), ("rcpt", "envelope"), ("data", "data"), ("greeting", "greeting")],
)
def test_each_step_has_its_own_patience(pipelining: bool, place: str, own: str) -> None:
    with SmtpServer(faults={place: Wait(0.6)}) as server:
        _, feed = deliver(server, timeout_s=0.3, pipelining=pipelining, **{f"{own}_timeout_s": 20.0})
    assert feed.summary == {"1": "relayed"}
    if place != "greeting":
        with SmtpServer(faults={place: [HANG]}) as server:
            _, feed = deliver(server, timeout_s=20.0, pipelining=pipelining, **{f"{own}_timeout_s": 0.2})
        assert feed.summary["1"] != "relayed"


@pytest.mark.requirement("R15", "S4")
def test_the_end_of_a_run_bounds_the_message_that_is_under_way() -> None:
    class Ending(ListFeed):
        def left_s(self) -> float:
            return 0.0 if self.parts else 0.1

        def ready(self) -> Transaction | None:
            return super().ready() if self.left_s() else None

    feed = Ending([transaction("1", *[f"user{number}@example.com" for number in range(200)])])
    with SmtpServer(faults={"rcpt": Wait(0.09)}) as server:
        session = connect(server, timeout_s=0.5, pipelining=False)
        end = submit(session, feed)
        session.close()
    # Six tenths of a second, and not the five seconds that a message may take otherwise; who was asked in time has it.
    asked = sum(command.startswith(b"RCPT") for command in server.commands)
    assert 1 <= asked <= 7
    assert list(feed.results("1").values()) == ["relayed"] * asked
    assert end.alive


def test_the_stages_of_a_message_are_told_to_a_watcher() -> None:
    stages = Stages()
    with SmtpServer(faults={"rcpt": lambda line: "550 5.1.1 no such user" if b"ann@" in line else None}) as server:
        deliver(server, transaction("1", JOE, ANN), watcher=stages)
    told = [(report.stage.value, report.ok) for report in stages.reports[4:]]
    assert told == [
        ("mail", True), ("rcpt", True), ("rcpt", False), ("data", True), ("final-dot", True), ("quit", True),
    ]  # fmt: skip
    assert stages.reports[6].reply == "550 5.1.1 no such user"
    assert stages.reports[6].remedy


def test_a_forgotten_command_is_a_lost_connection() -> None:
    with SmtpServer(faults={"rset": Raw(b"554 no\r\n"), "rcpt": ["550 5.1.1 no"]}) as server:
        end, feed = deliver(server, transaction("1", ANN), transaction("2"))
    assert not end.alive
    assert feed.summary == {"1": "failed", "2": "returned"}


@pytest.mark.parametrize("reply", ["221 bye", "421 whatever", "554 no"])
def test_nothing_that_happens_at_quit_matters(reply: str) -> None:
    with SmtpServer(faults={"quit": reply}) as server:
        _, feed = deliver(server)
    assert feed.summary == {"1": "relayed"}


def test_quit_does_not_wait_long_for_a_server_that_hangs() -> None:
    with SmtpServer(faults={"quit": HANG}) as server:
        _, feed = deliver(server, timeout_s=NEVER_S)
    assert feed.summary == {"1": "relayed"}


@both
def test_a_connection_that_is_lost_at_the_reset_behind_another_message_is_held_against_none(pipelining: bool) -> None:
    with SmtpServer(faults={"rcpt": ["550 5.1.1 no"], "rset": DROP}) as server:
        end, feed = deliver(server, transaction("1"), transaction("2"), pipelining=pipelining)
    assert feed.summary == {"1": "failed", "2": "returned"}
    assert (end.alive, end.refused, end.relayed) == (False, "", False)


@both
def test_a_connection_that_takes_no_more_is_over_without_a_trouble_of_anybody(pipelining: bool) -> None:
    with SmtpServer(faults={"mail": [None, "421 4.7.0 too many messages in this connection"]}) as server:
        end, feed = deliver(server, transaction("1"), transaction("2"), pipelining=pipelining)
    assert (end.trouble, end.alive, end.relayed) == (None, False, True)
    assert feed.summary == {"1": "relayed", "2": "returned"}


@pytest.mark.parametrize("recipients", [1, 25])
def test_a_server_that_refuses_what_goes_along_with_the_end_of_a_message_gets_it_behind_its_answer(
    recipients: int,
) -> None:
    """Haraka since 3.3.4; RFC 2920 section 3.1 allows it. Nobody is to blame, and it costs no connection."""
    envelope = [f"user{number}@example.com" for number in range(recipients)]
    with SmtpServer(faults={"final-dot": lambda _: _NothingBehind()}) as server:
        session = connect(server)
        feed = _AsTheQueue([transaction(str(number), *envelope) for number in range(5)])
        end = submit(session, feed)
        session.quit()
        server.wait_until_idle()
    assert end == End(None, alive=True, relayed=True)
    assert [len(message.recipients) for message in server.accepted] == [recipients] * 5
    assert {result for number in range(5) for result in feed.results(str(number)).values()} == {"relayed"}
    assert (len(server.connections), feed.returned) == (1, [])
    assert feed.events.count("given back 1") == 1
    # RSET and the five envelopes.
    assert (server.commands.count(b"RSET"), sum(each.startswith(b"MAIL") for each in server.commands)) == (1, 5)


@both
def test_a_server_whose_program_failed_at_a_message_forgets_it_before_the_next(pipelining: bool) -> None:
    """aiosmtpd keeps the transaction, and would say 503 "nested MAIL command" to the next message."""
    with SmtpServer(faults={"final-dot": "500 Error: (OperationalError) database is locked"}) as server:
        session = connect(server, pipelining=pipelining)
        feed = _AsTheQueue([transaction("0"), transaction("1")])
        end = submit(session, feed)
        session.quit()
        server.wait_until_idle()
    assert (end.alive, feed.summary) == (True, {"0": "deferred", "1": "deferred"})
    # The envelope of the second one goes along with the end of the first.
    assert server.commands.count(b"RSET") == (0 if pipelining else 1)


@both
def test_a_message_that_is_out_of_step_each_time_is_its_own_trouble(pipelining: bool) -> None:
    answer = "503 5.5.1 Bad sequence of commands"
    with SmtpServer(faults={"mail": lambda line: answer if b"<odd@" in line else None}) as server:
        session = connect(server, pipelining=pipelining)
        feed = _AsTheQueue([transaction("0"), transaction("1", reverse_path="odd@isp.example"), transaction("2")])
        end = submit(session, feed)
        session.close()
    assert end.alive
    assert feed.summary == {"0": "relayed", "1": "deferred", "2": "relayed"}


class _NothingBehind(Action):
    def act(self, dialogue: Dialogue) -> Said:
        refused = dialogue.forget_behind()
        dialogue.reply("250 Message Queued" + "\n503 Bad sequence of commands - pipelined after end of DATA" * refused)
        return Said("250 Message Queued")


class _AsTheQueue(ListFeed):
    """Hands a message out again at once that was given back."""

    def unused(self, transaction: Transaction) -> None:
        self.events.append(f"given back {transaction.queue_id}")
        self.transactions.insert(0, transaction)
