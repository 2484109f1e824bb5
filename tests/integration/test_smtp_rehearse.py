"""A transaction that stops before the message: what is asked, what is reported, and that nothing is left open."""

from __future__ import annotations

import pytest

from tests.support.smtp_client import BOB, JOE, Stages, connect
from tests.support.smtp_server import DROP, EXTENSIONS, GARBAGE, Action, SmtpServer
from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.smtp.rehearse import rehearse

ASCII_ONLY = tuple(each for each in EXTENSIONS if each != "SMTPUTF8")


def rehearsed(server: SmtpServer, *, sender: str = JOE, recipient: str = BOB) -> tuple[Trouble | None, Stages]:
    """What came of it, and the stages behind EHLO."""
    stages = Stages()
    session = connect(server, watcher=stages)
    del stages.reports[:]
    trouble = rehearse(session, sender, recipient)
    session.close()
    server.wait_until_idle()
    assert server.messages == []
    return trouble, stages


def behind_ehlo(server: SmtpServer) -> list[bytes]:
    return server.commands[1:]


def test_who_would_be_taken_is_asked_without_a_size_and_the_transaction_is_ended() -> None:
    with SmtpServer(faults={"mail": "250 2.1.0 sender ok", "rset": "250 2.0.0 forgotten"}) as server:
        trouble, stages = rehearsed(server)
    assert trouble is None
    assert behind_ehlo(server) == [b"MAIL FROM:<joe@example.com>", b"RCPT TO:<bob@example.com>", b"RSET"]
    assert [(each.stage, each.ok, each.detail) for each in stages.reports] == [
        (Stage.MAIL, True, JOE), (Stage.RCPT, True, BOB), (Stage.RSET, True, "forgotten"),
    ]  # fmt: skip
    assert stages.reports[0].reply == "250 2.1.0 sender ok"


@pytest.mark.parametrize(
    ("place", "reply", "scope", "asked"),
    [
        ("mail", "553 5.1.8 no such sender", Scope.MESSAGE, [b"MAIL", b"RSET"]),
        ("rcpt", "550 5.1.1 no such user", Scope.RECIPIENT, [b"MAIL", b"RCPT", b"RSET"]),
        ("rcpt", "300 5.1.1 well", Scope.RECIPIENT, [b"MAIL", b"RCPT", b"RSET"]),
        ("mail", "530 5.7.0 log in first", Scope.ACCOUNT, [b"MAIL"]),
    ],
)
def test_what_is_in_the_way_is_told_and_the_transaction_ended_unless_the_session_is(
    place: str, reply: str, scope: Scope, asked: list[bytes]
) -> None:
    with SmtpServer(faults={place: reply}) as server:
        trouble, stages = rehearsed(server)
    assert trouble is not None
    assert (trouble.scope, trouble.stage.value, str(trouble.reply)) == (scope, place, reply)
    assert [line[:4] for line in behind_ehlo(server)] == asked
    (failed,) = [each for each in stages.reports if not each.ok]
    assert (failed.stage.value, failed.reply) == (place, reply)


@pytest.mark.parametrize(
    ("place", "act"),
    [("mail", DROP), ("rcpt", DROP), ("rset", DROP), ("rcpt", GARBAGE), ("rcpt", "221 2.0.0 bye")],
)
def test_a_connection_that_breaks_is_a_trouble_of_the_account_that_says_where(place: str, act: Action) -> None:
    with SmtpServer(faults={place: act}) as server:
        trouble, stages = rehearsed(server)
    assert trouble is not None
    assert (trouble.scope, trouble.stage.value) == (Scope.ACCOUNT, place)
    assert trouble.what.startswith(f"127.0.0.1:{server.port}: the server ")
    assert trouble.what.endswith(f" (at {place})")
    assert trouble.remedy == "try again; nothing was lost"
    assert (stages.reports[-1].stage.value, stages.reports[-1].ok) == (place, False)


@pytest.mark.parametrize(("sender", "recipient"), [("jörg@example.com", BOB), (JOE, "jörg@example.com")])
def test_an_address_that_the_server_cannot_read_is_not_asked_for(sender: str, recipient: str) -> None:
    with SmtpServer(extensions=ASCII_ONLY) as server:
        trouble, stages = rehearsed(server, sender=sender, recipient=recipient)
        assert trouble is not None
        assert (trouble.scope, trouble.kind, trouble.stage) == (Scope.MESSAGE, Kind.PERMANENT, Stage.MAIL)
        assert "SMTPUTF8" in trouble.what
        assert behind_ehlo(server) == [b"RSET"]
    assert stages.names == ["mail", "rset"]
    with SmtpServer() as server:
        assert rehearsed(server, sender=sender, recipient=recipient)[0] is None
    assert behind_ehlo(server)[0] == f"MAIL FROM:<{sender}> SMTPUTF8".encode()
