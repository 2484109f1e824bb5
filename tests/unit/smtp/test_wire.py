"""The wire: deadlines that a drip cannot stretch, bounds on what is read, and nothing said that was to be hidden."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.network import wait_until
from tests.support.never import NEVER_S
from ucrmmail.clock import Clock
from ucrmmail.smtp.tls import unverified_context
from ucrmmail.smtp.wire import (
    LARGEST_REPLY,
    LONGEST_LINE,
    ConnectionLostError,
    NoAnswerError,
    ProtocolError,
    StoppedError,
    Wire,
    _reason,
    parse_reply,
)


class Stop:
    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self.requested = False

    def fileno(self) -> int:
        return self._reader

    def request(self) -> None:
        self.requested = True
        os.write(self._writer, b"x")

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def stop() -> Iterator[Stop]:
    found = Stop()
    yield found
    found.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@contextlib.contextmanager
def in_background(work: Callable[[], None]) -> Iterator[None]:
    def quietly() -> None:
        with contextlib.suppress(OSError):
            work()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    yield
    thread.join(5)


Pair = tuple[socket.socket, socket.socket]


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_a_reply_split_at_every_byte_is_one_reply(pair: Pair, ending: bytes) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    text = b"250-one" + ending + b"250 2.1.0 two" + ending
    for at in range(len(text) + 1):
        theirs.sendall(text[:at])
        with in_background(lambda at=at: theirs.sendall(text[at:])):  # type: ignore[misc] # mypy cannot infer it
            assert wire.read_reply(2).lines == ("one", "2.1.0 two")
    assert wire.pending == b""


@pytest.mark.requirement("S3")
@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_the_longest_line_is_read_and_a_longer_one_is_not(pair: Pair, ending: bytes) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    text = "x" * (LONGEST_LINE - 4)
    theirs.sendall(b"250 " + text.encode() + ending)
    assert wire.read_reply(2).text == text
    # Room for the CR: without one a line may have a character more.
    theirs.sendall(b"250 " + text.encode() + b"xx" + ending)
    with pytest.raises(ProtocolError, match=r"^the server sent a line that does not end$"):
        wire.read_reply(2)


def test_a_line_that_has_not_ended_at_its_greatest_length_may_still_end(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    theirs.sendall(b"250 " + b"x" * (LONGEST_LINE - 4))
    assert wire.has_spoken()
    with in_background(lambda: theirs.sendall(b"\r\n")):
        assert wire.read_reply(2).code == 250


def test_an_empty_line_is_a_line_and_no_reply(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    theirs.sendall(b"\n250 ok\r\n")
    with pytest.raises(ProtocolError, match="the server sent '', which is no reply"):
        wire.read_reply(2)
    assert wire.pending == b"250 ok\r\n"


def test_only_spaces_stand_between_a_status_and_its_text() -> None:
    assert parse_reply([b"250 2.0.0  \tXok"]).lines == ("\tXok",)
    with pytest.raises(ProtocolError, match=r"^the lines of a reply do not belong together$"):
        parse_reply([b"250-a", b"251 b"])


def test_of_two_secrets_one_in_the_other_the_longer_is_hidden_first(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    wire.hide(b"zzzz", b"azzzzb")
    theirs.sendall(b"535 azzzzb zzzz\r\n")
    assert wire.read_reply(2).text == "[redacted] [redacted]"


def test_a_connection_that_was_lost_has_sent_all_unless_it_says_otherwise() -> None:
    assert ConnectionLostError("the server closed the connection").unsent == 0


def test_several_replies_in_one_segment_are_several(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    theirs.sendall(b"250 a\r\n550-b\r\n550 c\r\n354 d\r\n")
    assert [str(wire.read_reply(1)) for _ in range(3)] == ["250 a", "550 b c", "354 d"]


@pytest.mark.requirement("S4")
def test_a_drip_does_not_stretch_the_deadline(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())

    def drip() -> None:
        while True:
            theirs.sendall(b"x")
            time.sleep(0.02)

    with in_background(drip):
        with pytest.raises(NoAnswerError):
            wire.read_reply(0.3)
        wire.close()


@pytest.mark.requirement("R17", "S4")
def test_all_together_have_a_deadline_too(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    wire.allow(0.2)
    theirs.sendall(b"250 a\r\n")
    assert wire.read_reply(NEVER_S).code == 250
    with pytest.raises(NoAnswerError):
        wire.read_reply(NEVER_S)
    with pytest.raises(NoAnswerError):
        wire.send(b"x" * 10_000_000, NEVER_S)


@pytest.mark.requirement("R15", "S3")
@pytest.mark.parametrize(
    "flood", [b"250-again\r\n", b"x" * 1000, b"250-" + b"y" * 3000 + b"\r\n"], ids=["lines", "one line", "long lines"]
)
def test_a_flood_ends_the_session_early(pair: Pair, flood: bytes) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    sent = 0

    def pour() -> None:
        nonlocal sent
        while True:
            sent += theirs.send(flood)

    with in_background(pour):
        with pytest.raises(ProtocolError, match="does not end"):
            wire.read_reply(5)
        wire.close()
    assert sent < 1 << 20


def test_what_the_server_says_while_we_send_is_kept(pair: Pair) -> None:
    ours, theirs = pair
    for sock in pair:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    wire = Wire(ours, clock=Clock())
    replies = 4000

    def answer_each_line_before_reading_on() -> None:
        for _ in range(replies):
            theirs.recv(10, socket.MSG_WAITALL)
            theirs.sendall(b"250 2.1.5 ok\r\n")

    with in_background(answer_each_line_before_reading_on):
        wire.send(b"RCPT x  \r\n" * replies, 5)
        assert {wire.read_reply(5).code for _ in range(replies)} == {250}


@pytest.mark.requirement("S3")
def test_a_server_that_only_talks_does_not_fill_our_memory(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())

    def talk() -> None:
        while True:
            theirs.sendall(b"250 hello\r\n" * 1000)

    with in_background(talk):
        with pytest.raises(NoAnswerError):
            wire.send(b"x" * 50_000_000, 0.5)
        assert len(wire.pending) < 2 * LARGEST_REPLY
        wire.close()


def test_the_unsent_part_is_told_when_the_connection_breaks(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    theirs.close()
    with pytest.raises(ConnectionLostError) as caught:
        wire.send(b"x" * 100, 1)
    assert caught.value.unsent == 100


def test_what_the_server_said_before_it_hung_up_can_still_be_read(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    theirs.sendall(b"421 4.3.2 going down\r\n")
    theirs.close()
    with pytest.raises(ConnectionLostError, match="the connection broke") as caught:
        wire.send(b"QUIT\r\n", 1)
    assert caught.value.unsent == 6
    assert str(wire.last_words()) == "421 4.3.2 going down"


def test_a_request_to_stop_ends_a_wait_at_once(pair: Pair, stop: Stop) -> None:
    wire = Wire(pair[0], clock=Clock(), stop=stop)
    with in_background(stop.request), pytest.raises(StoppedError):
        wire.read_reply(NEVER_S)
    with pytest.raises(StoppedError):
        wire.send(b"x" * 50_000_000, NEVER_S)


def test_a_request_to_stop_does_not_end_a_patient_wait(pair: Pair, stop: Stop) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock(), stop=stop)
    stop.request()

    def answer_later() -> None:
        time.sleep(0.2)
        theirs.sendall(b"250 queued\r\n")

    cpu = time.process_time()
    with in_background(answer_later):
        assert wire.read_reply(5, patient=True).code == 250
    assert time.process_time() - cpu < 0.15, "the wait turned into a busy loop"


def test_hidden_words_are_in_no_reply_and_no_error(pair: Pair) -> None:
    ours, theirs = pair
    seen: list[bytes] = []

    class Observer:
        def sent(self, data: bytes) -> None:
            seen.append(data)

        def received(self, line: bytes) -> None:
            seen.append(line)

    wire = Wire(ours, clock=Clock(), observer=Observer())
    wire.hide(b"canary-4711", b"Y2FuYXJ5", b"abc")
    theirs.sendall(b"535 canary-4711 or Y2FuYXJ5 is wrong, abc\r\n")
    assert wire.read_reply(1).text == "[redacted] or [redacted] is wrong, abc"
    theirs.sendall(b"what is canary-4711\r\n")
    with pytest.raises(ProtocolError) as caught:
        wire.read_reply(1)
    assert "canary" not in str(caught.value)
    theirs.sendall(b"421 canary-4711\r\n")
    theirs.close()
    words = wire.last_words()
    assert words is not None
    assert words.text == "[redacted]"
    assert b"canary" not in b"".join(seen)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"250 2500 is hidden", "250 [redacted] is hidden"),
        (b"250-a\r\n250 2500", "250 a [redacted]"),
        (b"535 abcd", "535 [redacted]"),
        (b"535 abcdefgh is longer than abcd", "535 [redacted] is longer than [redacted]"),
        (b"535 xyz stays", "535 xyz stays"),
        (b"535 kabcdm is whole", "535 [redacted] is whole"),
        (b"250-2500\r\n250 b", "250 [redacted] b"),
        (b"250", "250"),
    ],
)
def test_what_is_hidden_leaves_the_code_and_goes_whole(pair: Pair, line: bytes, told: str) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    wire.hide(b"abcd", b"xyz")
    wire.hide(b"2500", b"250 ", b"abcdefgh", b"kabcdm", b"250-")
    theirs.sendall(line + b"\r\n")
    assert str(wire.read_reply(1)) == told


@pytest.mark.parametrize("line", [b"abcd what", b"abc what", b"25 0what", b"2500what"])
def test_what_is_no_reply_is_shown_without_what_is_hidden(pair: Pair, line: bytes) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    wire.hide(b"what", b"2500")
    theirs.sendall(line + b"\r\n")
    with pytest.raises(ProtocolError) as caught:
        wire.read_reply(1)
    assert "what" not in str(caught.value)
    assert "[redacted]" in str(caught.value)


def test_a_line_that_is_no_reply_is_shown_by_its_beginning(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    theirs.sendall(b"a" * 79 + b"\xff" + b"b" * 20 + b"\r\n")
    with pytest.raises(ProtocolError, match=r"^the server sent 'a{79}\\xff', which is no reply$"):
        wire.read_reply(1)


def test_what_is_pending_has_been_said(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    theirs.sendall(b"250 one\r\n250 two\r\n")
    assert wire.read_reply(1).text == "one"
    assert wire.has_spoken()
    assert wire.pending == b"250 two\r\n"


def test_why_a_connection_broke_is_told_in_words(pair: Pair) -> None:
    assert _reason(OSError(104, "Connection reset by peer")) == "Connection reset by peer"
    assert _reason(OSError("no number")) == "no number"
    tls = ssl.SSLError(1, "[SSL: WRONG] wrong (_ssl.c:1)")
    tls.reason = "WRONG"
    assert _reason(tls) == "WRONG"


def test_what_comes_within_a_moment_is_waited_for(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    assert not wire.has_spoken()
    assert not wire.has_spoken(0.01)
    clock = Awaited()
    wire = Wire(ours, clock=clock)

    def late() -> None:
        clock.somebody_waits.wait(NEVER_S)
        theirs.sendall(b"354 go on\r\n")

    clock.begin()
    with in_background(late):
        assert wire.has_spoken(NEVER_S)
    assert wire.pending == b"354 go on\r\n"
    assert wire.has_spoken(NEVER_S)
    theirs.close()
    assert Wire(ours, clock=Clock()).has_spoken(NEVER_S)


def test_a_run_that_was_not_asked_to_end_goes_on(pair: Pair, stop: Stop) -> None:
    wire = Wire(pair[0], clock=Clock(), stop=stop)
    wire.end_if_asked()
    Wire(pair[0], clock=Clock()).end_if_asked()
    stop.request()
    with pytest.raises(StoppedError):
        wire.end_if_asked()


def test_last_words_are_a_reply_or_nothing(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    assert wire.last_words() is None
    theirs.sendall(b"421-4.3.0 going\r\n421 4.3.0 down\r\n250 more\r\n")
    assert str(wire.last_words()) == "421 4.3.0 going down"


@pytest.mark.parametrize("said", [b"", b"421 not finished", b"421-goes on\r\n", b"nonsense\r\n", b"421-a\r\n250 b\r\n"])
def test_unfinished_last_words_are_nothing(pair: Pair, said: bytes) -> None:
    ours, theirs = pair
    theirs.sendall(said)
    theirs.close()
    assert Wire(ours, clock=Clock()).last_words() is None


def test_a_quiet_connection_has_not_spoken(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    assert not wire.has_spoken()
    theirs.sendall(b"4")
    assert wire.has_spoken()
    assert wire.pending == b"4"


def test_a_closed_connection_has_spoken(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    theirs.close()
    assert wire.has_spoken()


def test_a_connection_whose_close_fails_is_gone_all_the_same(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    os.close(ours.fileno())
    wire.close()
    assert theirs.recv(1) == b""


# --- TLS ------------------------------------------------------------------------------------------------------------------


class Rushing(Clock):
    """A clock on which every look at it takes a while."""

    def __init__(self, each_s: float) -> None:
        self._each_s = each_s
        self._passed = 0.0

    def monotonic(self) -> float:
        self._passed += self._each_s
        return self._passed


class Awaited(Clock):
    """A clock that knows when somebody waits: who does asks for the time when it starts, and again for what is left."""

    def __init__(self) -> None:
        self.somebody_waits = threading.Event()
        self.begin()

    def begin(self) -> None:
        """Wait for the next one who waits."""
        self._asked = 0
        self.somebody_waits.clear()

    def monotonic(self) -> float:
        self._asked += 1
        if self._asked > 1:
            self.somebody_waits.set()
        return super().monotonic()


@contextlib.contextmanager
def tls_at(
    theirs: socket.socket, authority: TestAuthority, first: Callable[[], object] = bool
) -> Iterator[list[ssl.SSLSocket]]:
    """Speak TLS at the other end, after what comes ``first``; the list has the socket when that is done."""
    secured: list[ssl.SSLSocket] = []

    def secure() -> None:
        first()
        secured.append(authority.server_context("localhost").wrap_socket(theirs, server_side=True))

    thread = threading.Thread(target=secure, daemon=True)
    thread.start()
    try:
        yield secured
    finally:
        thread.join(NEVER_S)
        for sock in secured:
            sock.close()


def test_a_drip_in_tls_does_not_stretch_the_deadline(pair: Pair, tmp_path: Path) -> None:
    """What is decrypted already is read without a wait, and the time is over all the same."""
    ours, theirs = pair
    wire = Wire(ours, clock=Rushing(each_s=1.0))
    with tls_at(theirs, TestAuthority(tmp_path)) as secured:
        wire.start_tls(unverified_context(), "localhost", NEVER_S)
        wait_until(lambda: bool(secured), "the handshake")
        secured[0].sendall(b"250-never")
        with pytest.raises(NoAnswerError):
            wire.read_reply(0.5)
        assert wire.pending == b"250-never"
        wire.close()


def test_a_handshake_waits_for_a_server_that_is_slow_to_read(pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    ours.setblocking(False)
    full = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            full += ours.send(b"x" * 1024)
    clock = Awaited()

    def read_it_all() -> None:
        clock.somebody_waits.wait(NEVER_S)
        theirs.recv(full, socket.MSG_WAITALL)

    wire = Wire(ours, clock=clock)
    with tls_at(theirs, TestAuthority(tmp_path), read_it_all) as secured:
        wire.start_tls(unverified_context(), "localhost", NEVER_S)
        wait_until(lambda: bool(secured), "the handshake")
        secured[0].sendall(b"220 hello\r\n")
        assert wire.read_reply(NEVER_S).code == 220
        wire.close()


class Told(socket.socket):
    """Keeps what the system was told."""

    options: list[tuple[object, ...]]

    def setsockopt(self, *option: object) -> None:
        self.options.append(option)
        super().setsockopt(*option)  # type: ignore[call-overload]


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="a word of Linux")
def test_what_has_come_of_a_group_is_acknowledged_at_once() -> None:
    """A server under Nagle's algorithm, such as Haraka, sends the next reply of the group no sooner: 40 ms later."""
    acknowledged = (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = Told(fileno=socket.create_connection(listener.getsockname()).detach())
        theirs, _ = listener.accept()
    with ours, theirs:
        ours.options = []
        wire = Wire(ours, clock=Clock())
        for _ in range(2):
            wire.send(b"MAIL\r\nRCPT\r\n", NEVER_S)
            theirs.send(b"250 sender\r\n")
            assert wire.read_reply(NEVER_S).text == "sender"
            ours.options.clear()

            def answer() -> None:
                wait_until(lambda: acknowledged in ours.options, "the acknowledgement")
                theirs.send(b"250 recipient\r\n")

            with in_background(answer):
                assert wire.read_reply(NEVER_S).text == "recipient"
        # What comes in one piece costs nothing.
        ours.options.clear()
        wire.send(b"MAIL\r\nRCPT\r\n", NEVER_S)
        later = threading.Timer(0.02, theirs.sendall, (b"250 sender\r\n250 recipient\r\n",))
        later.start()
        assert [wire.read_reply(NEVER_S).text for _ in range(2)] == ["sender", "recipient"]
        later.join()
        assert ours.options == []


def test_a_connection_of_another_kind_acknowledges_nothing(pair: Pair) -> None:
    ours, theirs = pair
    wire = Wire(ours, clock=Clock())
    theirs.send(b"250 ")
    with in_background(lambda: theirs.sendall(b"ok\r\n")):
        assert wire.read_reply(NEVER_S).code == 250
