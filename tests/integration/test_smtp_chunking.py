"""CHUNKING (RFC 3030): messages that are counted instead of ended by a dot, and all that holds for a final dot."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.test_smtp_smuggling import PATTERNS, canonical
from tests.support.smtp_client import ANN, BODY, JOE, ListFeed, connect, deliver, transaction
from tests.support.smtp_server import DROP, EXTENSIONS, SmtpServer
from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.submit import submit
from ucrmmail.smtp.transcript import Transcript

CHUNKING = (*EXTENSIONS, "CHUNKING")
FIRST_LINE = BODY.partition(b"\r\n")[0]
MEGABYTES = (b"x" * 78 + b"\r\n") * 32_768  # 2.5 MiB: three chunks

both = pytest.mark.parametrize("pipelining", [True, False])


def server_with(**options: Any) -> SmtpServer:
    return SmtpServer(extensions=CHUNKING, **options)


@both
def test_messages_are_counted_and_no_dot_is_doubled(pipelining: bool) -> None:
    bodies = [b"Subject: %d\r\n\r\n%b\r\n.\r\nRSET\r\n" % (number, b"." * number) for number in range(5)]
    with server_with() as server:
        end, feed = deliver(server, *(transaction(str(n), body=b) for n, b in enumerate(bodies)), pipelining=pipelining)
    assert (end.alive, end.trouble) == (True, None)
    assert feed.summary == dict.fromkeys("01234", "relayed")
    assert [message.raw for message in server.messages] == bodies
    # The first chunk of a connection is the first line without its end, which no server could take for a command.
    assert [line for line in server.commands if line.startswith(b"BDAT")] == [
        b"BDAT 10", b"BDAT %d LAST" % (len(bodies[0]) - 10), *(b"BDAT %d LAST" % len(body) for body in bodies[1:])
    ]  # fmt: skip
    assert {b"DATA", b"RSET"}.isdisjoint(server.commands)


def test_the_next_envelope_goes_with_the_last_chunk() -> None:
    with server_with() as server:
        deliver(server, transaction("1"), transaction("2"))
    sent = bytes(server.connections[0].received)
    assert b"BDAT %d\r\n%b" % (len(FIRST_LINE), FIRST_LINE) in sent
    rest = BODY.removeprefix(FIRST_LINE)
    assert b"BDAT %d LAST\r\n%bMAIL FROM:" % (len(rest), rest) in sent


@both
def test_a_large_message_goes_in_several_chunks(pipelining: bool) -> None:
    with server_with() as server:
        _, feed = deliver(server, transaction(body=MEGABYTES, pieces=100_000), pipelining=pipelining)
    assert feed.summary == {"1": "relayed"}
    assert server.messages[0].raw == MEGABYTES
    sizes = [line.split() for line in server.commands if line.startswith(b"BDAT")]
    assert [int(sizes[0][1]), len(sizes)] == [78, 4]
    assert [size[2:] for size in sizes] == [[], [], [], [b"LAST"]]


@both
@pytest.mark.parametrize(("reply", "result"), [("552 5.3.4 too large", "failed"), ("452 4.3.1 no room", "deferred")])
def test_a_chunk_that_is_refused_ends_the_message_and_the_next_one_goes(
    pipelining: bool, reply: str, result: str
) -> None:
    with server_with(faults={"chunk": [None, reply]}) as server:
        end, feed = deliver(
            server, transaction("1", body=MEGABYTES, pieces=100_000), transaction("2"), pipelining=pipelining
        )
    assert end.alive
    assert feed.summary == {"1": result, "2": "relayed"}
    assert feed.settled["1"][0].stage is Stage.BODY
    assert feed.settled["1"][0].reply == reply
    assert [message.raw for message in server.messages] == [BODY]
    assert server.commands.count(b"RSET") == 1


@both
def test_nothing_is_sent_to_nobody(pipelining: bool) -> None:
    with server_with(faults={"rcpt": ["550 5.1.1 no"]}) as server:
        _, feed = deliver(server, transaction("1", ANN), transaction("2", JOE), pipelining=pipelining)
    assert feed.summary == {"1": "failed", "2": "relayed"}
    assert len([line for line in server.commands if line.startswith(b"BDAT")]) == 2
    assert server.commands.count(b"RSET") == 1


@both
def test_the_last_chunk_may_be_refused(pipelining: bool) -> None:
    with server_with(faults={"final-dot": ["554 5.7.1 spam"]}) as server:
        _, feed = deliver(server, transaction("1"), transaction("2"), pipelining=pipelining)
    assert feed.summary == {"1": "failed", "2": "relayed"}


@both
def test_a_connection_that_is_lost_behind_the_last_chunk_leaves_it_uncertain(pipelining: bool) -> None:
    with server_with(faults={"final-dot": DROP}) as server:
        end, feed = deliver(server, transaction("1"), transaction("2"), pipelining=pipelining)
    assert not end.alive
    assert feed.summary["1"] == "uncertain"


@both
def test_a_connection_that_is_lost_between_two_chunks_leaves_no_doubt(pipelining: bool) -> None:
    with server_with(faults={"chunk": [None, DROP]}) as server:
        end, feed = deliver(server, transaction("1", body=MEGABYTES, pieces=100_000), pipelining=pipelining)
    assert not end.alive
    assert feed.summary == {"1": "deferred"}
    assert server.messages == []


def test_a_server_that_is_about_to_close_concerns_the_account() -> None:
    with server_with(faults={"chunk": ["421 4.3.2 shutting down"]}) as server:
        end, feed = deliver(server, transaction("1", body=MEGABYTES, pieces=100_000))
    assert end.trouble is not None
    assert end.trouble.stage is Stage.BODY
    assert feed.summary == {"1": "returned"}


def test_what_is_counted_is_what_leaves() -> None:
    """A lone CR or LF becomes a line end on the way, which changes the count."""
    with server_with() as server:
        _, feed = deliver(
            server, transaction("1", body=b"Subject: x\n\nlone\rCR and no end", pieces=7), transaction("2")
        )
    assert feed.summary == {"1": "relayed", "2": "relayed"}
    assert server.messages[0].raw == b"Subject: x\r\n\r\nlone\r\nCR and no end\r\n"


@pytest.mark.requirement("S1")
@pytest.mark.parametrize("pieces", [0, 1, 8192])
@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_is_more_than_bytes_of_one_message(name: str, pieces: int) -> None:
    with server_with() as server:
        _, feed = deliver(server, transaction("1", body=PATTERNS[name], pieces=pieces), transaction("2"))
    assert feed.summary == {"1": "relayed", "2": "relayed"}
    assert server.messages[0].raw == canonical(PATTERNS[name])
    assert len(server.messages) == 2


@pytest.mark.parametrize("chunking", [True, False])
def test_it_is_a_setting(chunking: bool) -> None:
    with server_with() as server:
        deliver(server, chunking=chunking)
    assert server.messages[0].by_chunks is chunking


def test_a_transcript_shows_the_command_and_not_the_message() -> None:
    transcript = Transcript()
    with server_with() as server:
        session = connect(server, observer=transcript)
        submit(session, ListFeed([transaction()]))
        session.quit()
    assert f"C: BDAT {len(BODY) - len(FIRST_LINE)} LAST" in transcript.lines
    assert f"C: [{len(BODY) - len(FIRST_LINE)} bytes of message]" in transcript.lines
    assert not any("Please pay" in line for line in transcript.lines)


@both
@pytest.mark.requirement("S1")
@pytest.mark.parametrize("pieces", [0, 1, 3, 25, 26])
def test_a_server_that_does_not_know_the_chunks_it_offers_reads_none_as_commands(pipelining: bool, pieces: int) -> None:
    """As a proxy does that passes on what the server behind it offers, and answers the commands by itself."""
    smuggled = b"MAIL FROM:<eve@example.org>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n.\r\n"
    body = FIRST_LINE + b"\r\n\r\n" + smuggled * 3
    with server_with(lies_about_chunking=True) as server:
        session = connect(server, pipelining=pipelining)
        first = ListFeed([transaction("1", body=body, pieces=pieces), transaction("2")])
        end = submit(session, first)
        session.close()
        assert end.distrust == "CHUNKING"
        assert first.settled == {}
        session = connect(server, pipelining=pipelining)
        session.do_without({end.distrust})
        again = ListFeed([transaction("1", body=body, pieces=pieces), transaction("2")])
        submit(session, again)
        session.quit()
        server.wait_until_idle()
    assert again.summary == {"1": "relayed", "2": "relayed"}
    assert [message.content for message in server.messages] == [body, BODY]
    assert not any(b"eve" in command or b"victim" in command for command in server.commands)
