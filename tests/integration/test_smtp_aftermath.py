"""How a round ends that a server cut short: all of what the run is told of it, and what becomes of each message."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.support.smtp_client import ANN, BOB, JOE, ListFeed, connect, deliver, transaction
from tests.support.smtp_server import DROP, Action, Cut, Dialogue, Fault, SmtpServer, Wait
from ucrmmail.dataclass import replace
from ucrmmail.delivery.suspicion import Suspicion
from ucrmmail.message.outcome import Outcome, Result, Stage
from ucrmmail.smtp.submit import submit
from ucrmmail.smtp.transaction import LOST, NO_MARKS, ONCE, QUOTA, End, Marks, Transaction, kind_of

BOTH = pytest.mark.parametrize("pipelining", [True, False])
QUOTA_IS_OVER = "450 4.7.1 Error: too much mail from billing@isp.example"


@dataclass
class Marked(ListFeed):
    """Keeps what messages were blamed for as well."""

    blamed: list[str] = field(default_factory=list)

    def settle(self, transaction: Transaction, outcomes: tuple[Outcome, ...], marks: Marks = NO_MARKS) -> None:
        self.blamed.append(marks.blamed)
        super().settle(transaction, outcomes, marks)


@BOTH
def test_a_message_that_was_to_blame_for_a_hang_up_before_is_blamed_for_the_next_and_not_suspected(
    pipelining: bool,
) -> None:
    with SmtpServer(faults={"data": DROP}) as server:
        end, feed = deliver(server, replace(transaction("1"), blamed=LOST), pipelining=pipelining)
    assert feed.summary == {"1": "deferred"}
    assert end.trouble is not None
    assert end == End(end.trouble, alive=False, blamed=True)


@BOTH
def test_a_message_at_which_the_server_hangs_up_is_suspected(pipelining: bool) -> None:
    with SmtpServer(faults={"data": DROP}) as server:
        end, feed = deliver(server, transaction("1"), pipelining=pipelining)
    assert feed.summary == {"1": "deferred"}
    assert end.trouble is not None
    assert end == End(end.trouble, alive=False, refused="1", sender="billing@isp.example")


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        Cut(b"421 4.7.0 too many messages in this connection\r\n"),
        # OpenSMTPD (max-mails, 100 by default); it goes on, and says so to each.
        "452 4.5.3 Too many recipients: Too many messages sent",
        # aiosmtpd, where it has a command_call_limit.
        Cut(b"421 4.7.0 MAIL sent too many times\r\n"),
    ],
)
def test_a_connection_that_takes_so_many_messages_was_used_up_and_not_lost(
    answer: str | Action, pipelining: bool
) -> None:
    with SmtpServer(faults={"mail": [None, answer, answer]}) as server:
        end, feed = deliver(server, transaction("1"), transaction("2"), pipelining=pipelining)
    assert feed.summary == {"1": "relayed", "2": "returned"}
    assert end == End(None, alive=False, used_up=True, relayed=True)


@BOTH
def test_a_new_connection_that_takes_no_message_was_none_that_was_used_up(pipelining: bool) -> None:
    with SmtpServer(faults={"mail": "452 4.5.3 Too many recipients: Too many messages sent"}) as server:
        end, feed = deliver(server, transaction("1"), transaction("2"), pipelining=pipelining)
    # Another connection, and login, for each second one would change nothing.
    assert feed.summary == {"1": "deferred", "2": "deferred"}
    assert (end.used_up, end.alive) == (False, True)


class _CrashesAtMore(Action):
    def act(self, dialogue: Dialogue) -> None:
        if dialogue.forget_behind():
            DROP.act(dialogue)


@pytest.mark.parametrize("others", [0, 1])
def test_a_server_that_hangs_up_at_what_goes_along_with_a_message_gets_nothing_along_any_more(others: int) -> None:
    """Dovecot 2.3 crashes at it, and has relayed the message: with each one it would have been sent twice."""
    with SmtpServer(faults={"final-dot": lambda _: _CrashesAtMore()}) as server:
        end, feed = deliver(server, *[transaction(str(number)) for number in range(1 + others)])
    assert feed.summary == ({"0": "uncertain", "1": "returned"} if others else {"0": "relayed"})
    assert (end.distrust, end.passing) == (("PIPELINING", True) if others else ("", False))


def test_dovecot_gets_nothing_along_with_the_end_of_a_message() -> None:
    faults: dict[str, Fault] = {
        "greeting": "220 mail.isp.example Dovecot (Debian) ready.",
        "final-dot": lambda _: _CrashesAtMore(),
    }
    with SmtpServer(faults=faults) as server:
        end, feed = deliver(server, *[transaction(str(number)) for number in range(3)])
    assert feed.summary == {"0": "relayed", "1": "relayed", "2": "relayed"}
    assert (end.distrust, end.alive, len(server.connections)) == ("", True, 1)
    assert server.connections[0].pipelined


class _ForgetsMore(Action):
    def act(self, dialogue: Dialogue) -> None:
        dialogue.forget_behind()


def test_a_server_that_forgets_what_goes_along_with_a_message_is_not_waited_for_until_it_is_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Courier 1.0 does: each message had waited for `smtp.envelope_timeout`, five minutes, on a connection of its own."""
    monkeypatch.setattr("ucrmmail.smtp.asking._FIRST_ALONG_S", 0.1)
    with SmtpServer(faults={"final-dot": lambda _: _ForgetsMore()}) as server:
        end, feed = deliver(server, transaction("1"), transaction("2"))
    assert feed.summary == {"1": "relayed", "2": "returned"}
    assert (end.distrust, end.passing, end.relayed) == ("PIPELINING", True, True)


@pytest.mark.parametrize("slow", [range(2), range(2, 3)], ids=["each", "later"])
def test_a_server_that_is_slow_at_each_mail_or_at_one_behind_the_first_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, slow: range
) -> None:
    monkeypatch.setattr("ucrmmail.smtp.asking._FIRST_ALONG_S", 0.1)
    waits: list[Action | None] = [Wait(0.2) if number in slow else None for number in range(3)]
    with SmtpServer(faults={"mail": waits}) as server:
        end, feed = deliver(server, *[transaction(str(number)) for number in range(3)])
    assert feed.summary == {"0": "relayed", "1": "relayed", "2": "relayed"}
    assert (end.distrust, end.alive) == ("", True)


def test_a_hang_up_where_an_envelope_has_gone_along_before_says_nothing_of_groups() -> None:
    """On a way that breaks now and then it is mostly there: PIPELINING was given up for a week at the second time."""
    with SmtpServer(faults={"final-dot": [None, DROP]}) as server:
        end, feed = deliver(server, *[transaction(str(number)) for number in range(3)])
    assert feed.summary == {"0": "relayed", "1": "uncertain", "2": "returned"}
    assert (end.distrust, end.passing) == ("", False)


def test_a_hang_up_behind_a_message_that_went_by_itself_says_nothing_of_groups() -> None:
    with SmtpServer(faults={"final-dot": DROP}) as server:
        end, feed = deliver(server, transaction("1"))
    assert feed.summary == {"1": "uncertain"}
    assert (end.distrust, end.passing) == ("", False)


def test_a_good_bye_at_an_envelope_behind_another_message_shows_nothing_of_who_is_meant() -> None:
    """Its first recipient was refused while the answer to the last message was under way: it goes again, by itself."""
    faults: dict[str, Fault] = {
        "rcpt": lambda line: "550 5.1.1 no" if b"ann@" in line else Cut(b"421 bye\r\n") if b"bob@" in line else None
    }
    with SmtpServer(faults=faults) as server:
        end, feed = deliver(server, transaction("1", JOE), transaction("2", ANN, BOB))
    assert feed.summary == {"1": "relayed", "2": "returned"}
    assert end.trouble is not None
    assert end == End(end.trouble, alive=False, refused="2", relayed=True)


@BOTH
@pytest.mark.parametrize("others", [False, True])
def test_a_sender_whose_quota_is_over_in_each_run_loses_attempts_only_where_no_other_is_suspected(
    pipelining: bool, others: bool
) -> None:
    suspicion = Suspicion()
    suspicion.suspect_sender("billing@isp.example")
    if others:
        suspicion.suspect_sender("sales@isp.example")
    suspicion.count_relayed("else@other.example")
    feed = Marked([transaction("1")], suspicion=suspicion)
    with SmtpServer(faults={"mail": QUOTA_IS_OVER}) as server:
        session = connect(server, pipelining=pipelining)
        submit(session, feed)
        session.close()
    assert feed.summary == {"1": "deferred"}
    assert feed.blamed == [QUOTA if others else ONCE]


@BOTH
@pytest.mark.parametrize("before", [0, 1])
def test_a_refusal_that_others_met_is_one_more_of_theirs_only_where_the_connection_took_a_message(
    before: int, pipelining: bool
) -> None:
    """A new connection that takes nothing may be one too many, or lead to another machine."""
    suspicion = Suspicion()
    suspicion.count_relayed("else@other.example")
    suspicion.blame(kind_of(Stage.MAIL, QUOTA_IS_OVER))
    suspicion.count_relayed("else@other.example")
    feed = Marked([transaction(str(number)) for number in range(before + 1)], suspicion=suspicion)
    with SmtpServer(faults={"mail": [None] * before + [QUOTA_IS_OVER]}) as server:
        session = connect(server, pipelining=pipelining)
        end = submit(session, feed)
        session.close()
    assert feed.summary[str(before)] == ("deferred" if before else "returned")
    # It is its own: the connection goes on.
    assert (end.trouble is None, end.alive) == (bool(before), bool(before))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("554 5.7.1 no", End(None, alive=False, decided=True)), ("451 4.3.0 later", End(None, alive=False, refused="1"))],
)
def test_a_server_that_hangs_up_behind_a_refusal_is_not_lost_where_that_was_for_good(reply: str, expected: End) -> None:
    with SmtpServer(faults={"data": reply, "rset": DROP}) as server:
        end, feed = deliver(server, transaction("1"), pipelining=False)
    assert feed.summary == {"1": "failed" if reply.startswith("5") else "deferred"}
    assert end == expected


@BOTH
def test_one_of_two_recipients_at_whom_the_connection_ends_again_is_put_off_alone(pipelining: bool) -> None:
    faults: dict[str, Fault] = {"rcpt": lambda line: Cut(b"421 4.3.2 filter trouble\r\n") if b"ann@" in line else None}
    with SmtpServer(faults=faults) as server:
        end, feed = deliver(server, replace(transaction("1", JOE, ANN), blamed="421"), pipelining=pipelining)
    assert end == End(None, alive=False, blamed=True, passed_over=True)
    assert [(one.recipient, one.result, one.alone) for one in feed.parts["1"]] == [(ANN, Result.DEFERRED, True)]
