"""Replies and troubles, as people are shown them."""

from __future__ import annotations

import pytest

from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.message.reply import Reply, read_told


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (Reply(250, "2.0.0", ("Ok",)), "250 2.0.0 Ok"),
        (Reply(550, "5.7.26", ("blocked", "unauthenticated")), "550 5.7.26 blocked unauthenticated"),
        (Reply(250, "", ("",)), "250"),
        (Reply(354, "", ()), "354"),
    ],
)
def test_a_reply_is_shown_on_one_line(reply: Reply, shown: str) -> None:
    assert str(reply) == shown


@pytest.mark.parametrize(("code", "positive"), [(199, False), (220, True), (354, True), (421, False), (550, False)])
def test_a_reply_is_positive_when_the_server_accepts_or_asks_for_more(code: int, positive: bool) -> None:
    assert Reply(code, "", ()).positive is positive


def test_a_trouble_is_told_in_the_words_of_the_server_else_in_ours() -> None:
    silent = Trouble(Scope.ACCOUNT, Kind.TRANSIENT, Stage.CONNECT, "no connection")
    assert silent.told == "no connection"
    refused = Trouble(
        Scope.RECIPIENT, Kind.PERMANENT, Stage.RCPT, "refused", reply=Reply(550, "5.1.1", ("No such user",))
    )
    assert refused.told == "550 5.1.1 No such user"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(250, "2.0.0", ("Ok",)),
        Reply(550, "5.7.515", ("Access denied",)),
        Reply(554, "", ("5.7 is no status",)),
        Reply(250, "", ("",)),
    ],
)
def test_a_reply_that_was_kept_as_text_is_read_again(reply: Reply) -> None:
    assert read_told(str(reply)) == reply


@pytest.mark.parametrize("told", ["", "the connection was lost", "12", "5550 x", "²50 x"])
def test_our_own_words_are_no_reply(told: str) -> None:
    assert read_told(told) is None
