"""Every fault at every stage, for one message among three: the run ends in time, and each message is in its right state.

The short form of the campaign: a session is opened anew after a loss, at the most twice, as the flush does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.smtp_client import SECRET, USER, ListFeed, connect, transaction
from tests.support.smtp_server import DROP, GARBAGE, HANG, RESET, Cut, Drip, Endless, Fault, Raw, SmtpServer, Split
from ucrmmail.dataclass import replace
from ucrmmail.message.outcome import Scope, Trouble
from ucrmmail.smtp.opening import SessionError
from ucrmmail.smtp.submit import submit
from ucrmmail.smtp.transaction import Transaction
from ucrmmail.smtp.wire import LONGEST_LINE

OPENING = ["greeting", "ehlo", "starttls", "tls", "auth"]
PLACES = [*OPENING, "mail", "rcpt", "data", "body", "final-dot"]
FAULTS: dict[str, Fault] = {
    "4yz": "451 4.3.0 later",
    "5yz": "554 5.3.0 no",
    "421": "421 4.3.2 shutting down",
    "close": DROP,
    "reset": RESET,
    "hang": HANG,
    "drip": Drip(b"250-drip\r\n", 0.01),
    "garbage": GARBAGE,
    "binary": Raw(bytes(range(256)) + b"\r\n"),
    "wrong code": "299 what",
    "no such code": "600 what",
    "wrong continuation": "250-a\n251 b",
    "endless lines": Endless(b"250-more\r\n"),
    "endless line": Endless(b"x"),
    "a line of 64 KiB": Raw(b"250 " + b"y" * 65536 + b"\r\n"),
    "8-bit text": "451 4.3.0 \udcff\x1b[2J\x07",
    "split": Split(b"451-4.3.0 la\r\n451 4.3.0 ter\r\n"),
    "bare LF": Raw(b"451 4.3.0 later\n"),
    "two replies": Raw(b"451 4.3.0 later\r\n250 2.0.0 queued\r\n"),
    # Half a yes is none: whoever is in between can end any connection, also one in TLS.
    "cut off": Cut(b"250 2.0.0 o"),
}
TIMEOUT_S = 0.3
# What ends by the clock alone; all else ends by what is read.
TIMED_OUT = {"hang", "drip"}
# R15: no more is read of any flood. What the server could send is counted, so that the buffers of both kernels are in it.
MOST_OF_A_FLOOD = 1 << 20
SMALL_BUFFER = 1 << 15
# Where no reply is due there is none to be wrong.
MATRIX = [
    (place, fault)
    for place in PLACES
    for fault in FAULTS
    if not (place in {"body", "tls"} and isinstance(FAULTS[fault], str))
]
# The opening has TLS and a login in it; what comes behind it is met in the clear, and in TLS behind a login.
WAYS = [(*case, tls) for case in MATRIX for tls in ([True] if case[0] in OPENING else [False, True])]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


def run(server: SmtpServer, feed: ListFeed, **settings: object) -> Trouble | None:
    """Send what the feed has over as many sessions as it takes, three at the most; the trouble of the account, if any."""
    for _ in range(3):
        try:
            session = connect(server, **settings)
        except SessionError as error:
            return error.trouble
        end = submit(session, feed)
        if end.alive:
            session.quit()
            return None
        session.close()
        if end.trouble is not None and end.trouble.scope is Scope.ACCOUNT:
            return end.trouble
    return None


def slow(transaction: Transaction, until: Callable[[], bool]) -> Transaction:
    """The same with a body of megabytes, of which the second half waits for that, or a moment if it never comes."""
    half = b"x\r\n" * 500_000

    def chunks() -> Iterator[bytes]:
        yield half
        for _ in range(20):
            if until():
                break
            time.sleep(0.005)
        yield half

    return replace(transaction, size_bytes=2 * len(half), chunks=chunks)


def check(server: SmtpServer, feed: ListFeed, trouble: Trouble | None, place: str, fault: str) -> None:
    results = feed.summary
    # What is told as relayed was accepted, and what is not in doubt was not.
    assert len(server.accepted) >= sum(result == "relayed" for result in results.values())
    assert len(server.accepted) <= sum(result in {"relayed", "uncertain"} for result in results.values())
    # Only a 5yz to MAIL, RCPT, DATA or the dot fails anything.
    failed = [queue_id for queue_id, result in results.items() if result == "failed"]
    may_fail = fault == "5yz" and place in {"mail", "rcpt", "data", "final-dot"}
    assert failed == (["2"] if may_fail else [])
    if place in OPENING:
        assert trouble is not None
        assert results == {}
        return
    assert results["1"] == "relayed"
    if trouble is None:
        assert results["2"] in {"relayed", "deferred", "failed", "uncertain", "returned"}
        # The one behind it goes on, unless it was handed back for the next run, or got a reply that was not its own.
        assert results["3"] in {"relayed", "returned"} | ({"deferred"} if fault == "two replies" else set())
    else:
        assert "deferred" not in results.values()


# A reset in the moment before ssl.wrap_socket makes Python 3.11 forget the socket, ours or the server's, to the collector.
@pytest.mark.requirement("R15", "S4", "S19")
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])
@pytest.mark.parametrize(
    ("place", "fault", "tls"), WAYS, ids=["-".join([*way[:2], "tls" if way[2] else "clear"]) for way in WAYS]
)
def test_a_fault_of_the_server_ends_in_the_right_state_and_in_time(
    authority: TestAuthority, place: str, fault: str, tls: bool, pipelining: bool
) -> None:
    wanted = FAULTS[fault]
    assert not callable(wanted)
    waits = fault in TIMED_OUT
    patience_s = TIMEOUT_S if waits else 10 * TIMEOUT_S
    faults: dict[str, Fault] = {place: wanted if place in OPENING else [None, wanted]}  # type: ignore[list-item] # no sequence is among them
    with SmtpServer(
        tls=authority.server_context("localhost") if tls else None,
        logins={USER: SECRET},
        faults=faults,
        buffer_bytes=SMALL_BUFFER,
    ) as server:
        feed = ListFeed([transaction(queue_id) for queue_id in "123"])
        if place == "body":
            # What a server says in the middle of a body is told from its answer to the dot only while the body lasts.
            feed.transactions[1] = slow(feed.transactions[1], until=lambda: place in server.acted)
        trouble = run(
            server,
            feed,
            host="localhost" if tls else "127.0.0.1",
            encryption="starttls" if tls else "none",
            ca_file=str(authority.ca_file),
            username=USER,
            # A busy machine may be slow to take the next connection.
            timeout_s=TIMEOUT_S if place in OPENING and waits else 10 * TIMEOUT_S,
            greeting_timeout_s=TIMEOUT_S if place == "greeting" and waits else 10 * TIMEOUT_S,
            envelope_timeout_s=patience_s,
            data_timeout_s=patience_s,
            block_timeout_s=patience_s,
            final_timeout_s=patience_s,
            pipelining=pipelining,
        )
        server.wait_until_idle(0.05)
        check(server, feed, trouble, place, fault)
        assert all(dialogue.sent_bytes <= MOST_OF_A_FLOOD for dialogue in server.connections)
        assert server.connections or waits, "a flood that was not seen ends nothing"
        if place not in OPENING:
            assert server.connections[0].in_tls == tls
            assert server.connections[0].login == USER
    assert SECRET.encode() not in server.received_in_clear or not tls


def memory_kib(name: str) -> int:
    """What the kernel says of the memory of this process: VmRSS now, VmHWM at the most."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.requirement("R15", "S3")
@pytest.mark.parametrize(
    "flood", [b"250-more\r\n", b"x", b"250-" + b"z" * 4000 + b"\r\n"], ids=["lines", "line", "long"]
)
@pytest.mark.parametrize("place", ["greeting", "mail", "final-dot"])
def test_floods_leave_the_memory_as_it_was(place: str, flood: bytes) -> None:
    feed = ListFeed([transaction(queue_id) for queue_id in "123"])
    with SmtpServer(faults={place: Endless(flood)}) as server:
        # The peak of the tests before this one would hide that of a flood: let the kernel forget it (proc(5)).
        Path("/proc/self/clear_refs").write_text("5")
        before = memory_kib("VmRSS")
        run(server, feed)
        peak = memory_kib("VmHWM")
    assert peak - before < 20 << 10
    assert server.connections[0].sent_bytes > LONGEST_LINE, "that was no flood"
    assert "relayed" not in feed.summary.values()


def test_every_place_of_the_matrix_is_one_that_the_server_knows() -> None:
    # A place that the server does not know would test nothing, and pass.
    text = Path(__file__).parents[1].joinpath("support", "smtp_server.py").read_text(encoding="utf-8")
    for place in PLACES:
        assert f'"{place}"' in text, place
