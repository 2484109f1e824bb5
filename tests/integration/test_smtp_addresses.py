"""A smarthost of several addresses: one that lets nobody in does not hide the next, and a login is tried once."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.never import NEVER_S
from tests.support.smtp_client import SECRET, USER, Stages, connect
from tests.support.smtp_server import DROP, HANG, Endless, Fault, Leave, Raw, SmtpServer, Wait
from ucrmmail.delivery.stop import Stop
from ucrmmail.message.outcome import Stage
from ucrmmail.smtp.connect import Address
from ucrmmail.smtp.opening import SessionError
from ucrmmail.smtp.wire import StoppedError

Resolver = Callable[..., None]
BUSY = "421 Too many concurrent SMTP connections; please try again later"


@pytest.fixture
def resolves_to(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Let the name of the smarthost have the addresses of these servers, in that order."""

    def to(*servers: SmtpServer) -> None:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{number}", server.port))
            for number, server in enumerate(servers, 1)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: found)

    return to


def server_at(number: int, **options: object) -> SmtpServer:
    return SmtpServer(host=f"127.0.0.{number}", **options)  # type: ignore[arg-type]


@pytest.mark.requirement("R9", "S4")
@pytest.mark.parametrize("place", ["greeting", "ehlo"])
@pytest.mark.parametrize(
    "fault",
    [HANG, DROP, "421 4.3.2 too busy", BUSY, "554 5.7.1 go away", Raw(b"\xff\x00garbage\r\n"), Endless()],
    ids=["silent", "hangs up", "421", "busy", "554", "garbage", "endless"],
)
def test_an_address_that_lets_nobody_in_does_not_hide_the_next_one(
    resolves_to: Resolver, place: str, fault: Fault
) -> None:
    stages, silent = Stages(), set[Address]()
    with server_at(1, faults={place: fault}) as bad, server_at(2, logins={USER: SECRET}) as good:
        resolves_to(bad, good)
        for _ in range(2):
            connect(
                bad, host="smarthost.example", username=USER, timeout_s=0.5, allow_insecure_login=True,
                watcher=stages, silent=silent,
            ).quit()  # fmt: skip
        good.wait_until_idle()
        # The second time the good one is asked first.
        assert (len(bad.connections), len(good.connections)) == (1, 2)
        assert good.commands.count(b"QUIT") == 2
        assert SECRET.encode() not in bad.received
    first, second = [report.detail for report in stages.reports if report.stage is Stage.CONNECT][:2]
    assert first == "127.0.0.1"
    assert second.startswith("127.0.0.2; 127.0.0.1: ")
    assert f"(at {place})" in second
    assert all(report.ok for report in stages.reports)


@pytest.mark.requirement("R9")
def test_what_each_address_did_is_told_when_none_lets_us_in(resolves_to: Resolver) -> None:
    with (
        server_at(1, faults={"greeting": "421 4.3.2 too busy"}) as first,
        server_at(2, faults={"ehlo": DROP}) as second,
        server_at(3, faults={"greeting": "554 5.7.1 go away"}) as third,
    ):
        resolves_to(first, second, third)
        with pytest.raises(SessionError) as caught:
            connect(first, host="smarthost.example")
    trouble = caught.value.trouble
    assert (trouble.stage, str(trouble.reply)) == (Stage.GREETING, "554 5.7.1 go away")
    assert "127.0.0.1: it said 421 4.3.2 too busy (at greeting)" in trouble.why
    assert "127.0.0.2: the server closed the connection (at ehlo)" in trouble.why


@pytest.mark.requirement("R9")
@pytest.mark.parametrize("place", ["greeting", "ehlo"])
@pytest.mark.parametrize("reply", [BUSY, "421 4.7.0 rate limited", "432 4.3.2 sender thread limit exceeded"])
def test_who_counts_our_connections_is_asked_at_one_other_address_at_the_most(
    resolves_to: Resolver, place: str, reply: str
) -> None:
    with (
        server_at(1, faults={place: reply}) as first,
        server_at(2, faults={place: reply}) as second,
        server_at(3) as third,
    ):
        resolves_to(first, second, third)
        with pytest.raises(SessionError) as caught:
            connect(first, host="smarthost.example")
        assert [len(server.connections) for server in (first, second, third)] == [1, 1, 0]
    assert str(caught.value.trouble.reply) == reply
    assert f"127.0.0.1: it said {reply}" in caught.value.trouble.why


@pytest.mark.requirement("R9")
def test_an_address_that_is_not_even_reached_is_told_with_the_others(resolves_to: Resolver) -> None:
    with server_at(1, faults={"greeting": DROP}) as first:
        with server_at(2) as gone:
            pass
        resolves_to(first, gone)
        with pytest.raises(SessionError) as caught:
            connect(first, host="smarthost.example")
    trouble = caught.value.trouble
    assert (trouble.stage, trouble.exit_code) == (Stage.CONNECT, 69)
    assert "127.0.0.1: the server closed the connection (at greeting)" in trouble.what
    assert "127.0.0.2: refused: nothing listens on this port" in trouble.what


@pytest.mark.requirement("R9")
def test_an_address_that_is_not_reached_comes_behind_the_others_from_then_on(resolves_to: Resolver) -> None:
    with server_at(2) as second:
        with server_at(1) as gone:
            pass
        resolves_to(gone, second)
        silent = set[Address]()
        connect(second, host="smarthost.example", silent=silent).quit()
    assert [address.text for address in silent] == ["127.0.0.1"]


@pytest.mark.requirement("R9")
def test_a_refused_login_is_tried_at_no_other_address(resolves_to: Resolver) -> None:
    with server_at(1, logins={USER: "another"}) as first, server_at(2, logins={USER: SECRET}) as second:
        resolves_to(first, second)
        with pytest.raises(SessionError) as caught:
            connect(first, host="smarthost.example", username=USER, allow_insecure_login=True)
        assert second.connections == []
    assert caught.value.trouble.stage is Stage.AUTH


@pytest.mark.requirement("S2")
def test_a_certificate_that_is_not_trusted_ends_the_search(resolves_to: Resolver, tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    context = authority.server_context("another.example")
    with server_at(1, tls=context) as first, server_at(2, tls=authority.server_context("smarthost.example")) as second:
        resolves_to(first, second)
        with pytest.raises(SessionError) as caught:
            connect(first, host="smarthost.example", encryption="starttls", ca_file=str(authority.ca_file))
        assert second.connections == []
    assert caught.value.trouble.stage is Stage.TLS


@pytest.mark.requirement("S2")
def test_a_handshake_that_never_ends_does_not_hide_the_next_address(resolves_to: Resolver, tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    with (
        server_at(1, faults={"greeting": HANG}) as first,
        server_at(2, tls=authority.server_context("smarthost.example"), smtps=True) as second,
    ):
        resolves_to(first, second)
        connect(first, host="smarthost.example", encryption="tls", ca_file=str(authority.ca_file), timeout_s=0.5).quit()
        assert second.connections[0].in_tls


@pytest.mark.requirement("R9", "S4")
def test_a_silent_address_leaves_half_of_the_time_to_the_others(resolves_to: Resolver) -> None:
    """A run of cron has less than a minute, and a greeting may take five."""
    with server_at(1, faults={"greeting": HANG}) as first, server_at(2) as second:
        resolves_to(first, second)
        connect(first, host="smarthost.example", timeout_s=1.0, greeting_timeout_s=NEVER_S, within_s=0.5).quit()
        second.wait_until_idle()
        assert second.commands[-1] == b"QUIT"


@pytest.mark.requirement("R9", "R17")
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("encryption", ["none", "tls"])
def test_a_server_that_looks_long_before_it_speaks_is_still_listened_to_while_others_are_asked(
    resolves_to: Resolver, tmp_path: Path, encryption: str, count: int
) -> None:
    """Each of its addresses is as slow: given up one after the other, none let us in before the time of a run was over."""
    authority, in_tls = TestAuthority(tmp_path), encryption == "tls"
    context = authority.server_context("smarthost.example") if in_tls else None
    with ExitStack() as servers:
        slow = [
            servers.enter_context(
                server_at(number, tls=context, smtps=in_tls, faults={"tls" if in_tls else "greeting": Wait(0.8)})
            )
            for number in range(1, count + 1)
        ]
        resolves_to(*slow)
        silent = set[Address]()
        connect(
            slow[0], host="smarthost.example", encryption=encryption, ca_file=str(authority.ca_file) if in_tls else "",
            timeout_s=1.0, within_s=1.0, silent=silent,
        ).quit()  # fmt: skip
        slow[0].wait_until_idle()
        assert slow[0].commands[-1] == b"QUIT"
        # The others were asked meanwhile, and nothing was said to them.
        assert len(slow[1].connections) == 1
        assert all(b"EHLO" not in server.received for server in slow[1:])
    # The next session begins with one that spoke.
    assert slow[0].port not in [address.sockaddr[1] for address in silent]


@pytest.mark.requirement("R9")
def test_a_silent_address_is_listened_to_when_no_other_can_be_reached(resolves_to: Resolver) -> None:
    with server_at(1, faults={"greeting": Wait(0.8)}) as slow:
        with server_at(2) as gone:
            pass
        resolves_to(slow, gone)
        connect(slow, host="smarthost.example", timeout_s=1.0, within_s=1.0).quit()
        assert slow.commands[-1] == b"QUIT"


@pytest.mark.requirement("R9", "R17")
def test_of_addresses_that_are_all_silent_each_is_told(resolves_to: Resolver) -> None:
    with server_at(1, faults={"greeting": HANG}) as first, server_at(2, faults={"greeting": HANG}) as second:
        resolves_to(first, second)
        with pytest.raises(SessionError) as caught:
            connect(first, host="smarthost.example", timeout_s=0.3, within_s=0.1)
    trouble = caught.value.trouble
    assert (trouble.stage, trouble.exit_code) == (Stage.GREETING, 69)
    assert "127.0.0.1: the server did not answer in time (at greeting)" in trouble.why
    assert "127.0.0.2" in f"{trouble.what} {trouble.why}"


@pytest.mark.requirement("R9", "R17")
def test_of_one_that_is_silent_and_one_that_is_not_reached_both_are_told(resolves_to: Resolver) -> None:
    with server_at(1, faults={"greeting": HANG}) as silent:
        with server_at(2) as gone:
            pass
        resolves_to(silent, gone)
        with pytest.raises(SessionError) as caught:
            connect(silent, host="smarthost.example", timeout_s=0.3, within_s=0.1)
    trouble = caught.value.trouble
    assert trouble.stage is Stage.GREETING
    assert "127.0.0.1: the server did not answer in time (at greeting)" in trouble.why
    assert "127.0.0.2: refused: nothing listens on this port" in trouble.why


@pytest.mark.requirement("R17", "S4")
@pytest.mark.parametrize("encryption", ["none", "tls"])
def test_the_last_of_addresses_that_are_silent_is_waited_for_as_long_as_a_single_one(
    resolves_to: Resolver, encryption: str
) -> None:
    """Without a time limit it had the time of a whole opening, four minutes."""
    # Who waits for longer than half a second each hears the second one hang up.
    with server_at(1, faults={"greeting": HANG}) as first, server_at(2, faults={"greeting": Leave(1.3)}) as second:
        resolves_to(first, second)
        with pytest.raises(SessionError) as caught:
            connect(first, host="smarthost.example", encryption=encryption, timeout_s=0.5)
    assert "127.0.0.2: the server did not answer in time" in caught.value.trouble.why


@pytest.mark.requirement("R9", "R18")
def test_a_request_to_stop_ends_the_wait_for_several_addresses(resolves_to: Resolver) -> None:
    with server_at(1, faults={"greeting": HANG}) as first, server_at(2, faults={"greeting": HANG}) as second:
        resolves_to(first, second)
        stop = Stop()
        threading.Timer(0.3, stop.request, (signal.SIGTERM,)).start()
        with pytest.raises(StoppedError):
            connect(first, host="smarthost.example", timeout_s=0.2, within_s=NEVER_S, stop=stop)
