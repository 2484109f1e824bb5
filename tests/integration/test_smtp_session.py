"""Opening a session: what a person is told when it fails, and that nothing is ever said in clear that should not be."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.network import wait_until
from tests.support.never import NEVER_S
from tests.support.smtp_client import SECRET, USER, Stages, connect, deliver
from tests.support.smtp_server import DROP, HANG, Action, Dialogue, Endless, Fault, Leave, Raw, SmtpServer, Split, Wait
from ucrmmail.delivery.stop import Stop
from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.smtp.opening import SessionError
from ucrmmail.smtp.tls import seen_certificate
from ucrmmail.smtp.transcript import Transcript
from ucrmmail.smtp.wire import StoppedError


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


def refused(server: SmtpServer, **settings: object) -> Trouble:
    """The trouble of a session that must not open; the account's, always, and without a byte of the secret."""
    with pytest.raises(SessionError) as caught:
        connect(server, **settings)
    server.wait_until_idle(0.2)
    trouble = caught.value.trouble
    assert trouble.scope is Scope.ACCOUNT
    assert trouble.exit_code in {69, 75, 77, 78}
    assert SECRET.encode() not in server.received
    return trouble


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_tls_and_a_login_are_reported_stage_by_stage(authority: TestAuthority, encryption: str) -> None:
    stages = Stages()
    context = authority.server_context("localhost", days_left=30.5)
    with SmtpServer(tls=context, smtps=encryption == "tls", logins={USER: SECRET}) as server:
        session = connect(
            server,
            host="localhost",
            encryption=encryption,
            ca_file=str(authority.ca_file),
            username=USER,
            watcher=stages,
        )
        session.quit()
        server.wait_until_idle()
    assert [name for name in stages.names if name != "ehlo"] == [
        *(["resolve", "connect", "tls", "greeting"] if encryption == "tls" else []),
        *(["resolve", "connect", "greeting", "starttls", "tls"] if encryption == "starttls" else []),
        "auth",
        "quit",
    ]
    assert all(report.ok and report.seconds >= 0 for report in stages.reports)
    tls = stages.reports[stages.names.index("tls")]
    assert "TLSv1.3" in tls.detail
    assert "certificate for localhost" in tls.detail
    assert "good for 30 days" in tls.detail
    assert str(tls.facts["cipher"]).startswith("TLS_")
    assert {"version": "TLSv1.3", "names": ["localhost"], "days_left": 30}.items() <= tls.facts.items()
    if encryption == "starttls":
        assert stages.reports[stages.names.index("starttls")].reply.startswith("220 ")
    login = stages.reports[stages.names.index("auth")]
    assert login.detail == f"PLAIN as {USER} (offered: {', '.join(server.mechanisms.split())})"
    assert login.reply.startswith("235 ")
    assert login.facts == {"mechanism": "PLAIN", "mechanisms": server.mechanisms.split(), "token_renewed": False}
    assert server.connections[-1].in_tls
    assert USER.encode() not in server.received_in_clear


@pytest.mark.requirement("S2")
@pytest.mark.parametrize(
    ("names", "settings", "says"),
    [
        (["other.example", "more.example"], {}, "for another name (other.example, more.example), not for localhost"),
        (["localhost"], {"expired": True}, "expired on 20"),
        (["localhost"], {"not_yet": True}, "is not valid until 20"),
    ],
)
@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_certificate_that_is_wrong_is_told_in_words(
    authority: TestAuthority, names: list[str], settings: dict[str, bool], says: str, encryption: str
) -> None:
    context = authority.server_context(*names, **settings)
    with SmtpServer(tls=context, smtps=encryption == "tls", logins={USER: SECRET}) as server:
        trouble = refused(
            server, host="localhost", encryption=encryption, ca_file=str(authority.ca_file), username=USER
        )
    assert says in trouble.what
    assert trouble.why.startswith("OpenSSL says: ")
    assert ".." not in trouble.why
    assert (trouble.stage, trouble.exit_code) == (Stage.TLS, 69)
    assert trouble.remedy
    assert b"AUTH" not in server.received


@pytest.mark.requirement("S2")
def test_a_self_signed_certificate_is_not_trusted(authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.self_signed_context("localhost")) as server:
        trouble = refused(server, host="localhost", encryption="starttls", ca_file=str(authority.ca_file))
    assert "self-signed" in trouble.what
    assert "smtp.ca_file" in trouble.remedy


@pytest.mark.requirement("S2")
def test_an_unknown_authority_is_not_trusted_and_is_named(authority: TestAuthority, tmp_path: Path) -> None:
    other = TestAuthority(tmp_path)
    with SmtpServer(tls=authority.server_context("localhost")) as server:
        trouble = refused(server, host="localhost", encryption="starttls", ca_file=str(other.ca_file))
    assert "an authority that is not trusted here (ucrmmail tests)" in trouble.what


def test_a_fault_of_a_certificate_that_we_have_no_words_for_is_told_in_those_of_openssl(
    authority: TestAuthority,
) -> None:
    with SmtpServer(tls=authority.context_for_clients_only("localhost")) as server:
        trouble = refused(server, host="localhost", encryption="starttls", ca_file=str(authority.ca_file))
    assert trouble.what.startswith(f"the certificate of localhost:{server.port} is not trusted: ")
    assert "purpose" in trouble.what
    assert "openssl s_client" in trouble.remedy


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_certificate_that_cannot_be_seen_a_second_time_is_refused_without_its_names(
    authority: TestAuthority, encryption: str
) -> None:
    context = authority.server_context("other.example")
    with SmtpServer(tls=context, smtps=encryption == "tls", faults={"tls": [None, DROP]}) as server:
        trouble = refused(server, host="localhost", encryption=encryption, ca_file=str(authority.ca_file))
    assert trouble.what == f"the certificate of localhost:{server.port} is for another name, not for localhost"


def test_a_host_of_many_names_is_asked_for_the_certificate_of_the_same_one_again(authority: TestAuthority) -> None:
    """With another one, the person would be told of a certificate that is not the one in the way."""
    wanted: list[str | None] = []
    context = authority.server_context("other.example")
    context.sni_callback = lambda _socket, name, _context: wanted.append(name)
    with SmtpServer(tls=context) as server:
        trouble = refused(
            server, host="localhost", encryption="starttls", ca_file=str(authority.ca_file), local_hostname=""
        )
        assert "for another name (other.example)" in trouble.what
        assert wanted == ["localhost", "localhost"]
        assert [line for line in server.commands if line.startswith(b"EHLO")] == [b"EHLO [127.0.0.1]"] * 2


def test_mail_goes_through_tls_where_nothing_can_read_certificates(
    authority: TestAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that does not load costs the explanation, and neither the session nor the refusal."""
    monkeypatch.delitem(sys.modules, "ucrmmail.smtp.certificate", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    settings = {"host": "localhost", "encryption": "starttls", "ca_file": str(authority.ca_file)}
    stages = Stages()
    with SmtpServer(tls=authority.server_context("localhost")) as server:
        connect(server, watcher=stages, **settings).quit()
    tls = stages.reports[stages.names.index("tls")]
    assert "TLSv1.3" in tls.detail
    assert "certificate" not in tls.detail
    with SmtpServer(tls=authority.server_context("localhost", expired=True)) as server:
        assert refused(server, **settings).what == f"the certificate of localhost:{server.port} expired"


def test_a_connection_in_clear_has_no_certificate() -> None:
    with SmtpServer() as server:
        session = connect(server)
        assert seen_certificate(session.wire.socket) is None
        session.quit()


def test_nothing_is_verified_only_when_asked(authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.self_signed_context("x.example")) as server:
        connect(server, host="localhost", encryption="starttls", verify_certificate=False).quit()


def test_a_certificate_of_the_client_is_shown(authority: TestAuthority, tmp_path: Path) -> None:
    certificate, key = authority.client_files("billing")
    with SmtpServer(tls=authority.server_context("localhost", wants_client=True)) as server:
        settings = {"host": "localhost", "encryption": "starttls", "ca_file": str(authority.ca_file)}
        connect(server, client_certificate=str(certificate), client_key=str(key), **settings).quit()
        server.wait_until_idle()
        assert server.connections[0].client_certificate
        trouble = refused(server, **settings)
        assert trouble.remedy.startswith("the server wants a certificate from us")
        other, its_key = TestAuthority(tmp_path).client_files("billing")
        trouble = refused(server, client_certificate=str(other), client_key=str(its_key), **settings)
    assert trouble.why == "the server does not accept the certificate in smtp.client_certificate"


@pytest.mark.parametrize("setting", ["ca_file", "client_certificate"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_cannot_be_used_is_a_matter_of_configuration(
    tmp_path: Path, setting: str, content: str | None
) -> None:
    path = tmp_path / "x.pem"
    if content is not None:
        path.write_text(content)
    with SmtpServer() as server:
        trouble = refused(server, encryption="starttls", **{setting: str(path)})
    assert (trouble.stage, trouble.exit_code) == (Stage.CONFIGURATION, 78)
    assert trouble.what.startswith(f"smtp.{setting} {path} cannot be used: ")
    assert trouble.why == "it must hold certificates in PEM form, and a key without a pass phrase"
    assert trouble.remedy == f"check the file, or run `ucrmmail config unset smtp.{setting}`"
    assert server.connections == []


def test_a_key_with_a_pass_phrase_is_refused_and_not_asked_for(authority: TestAuthority, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    certificate, key = authority.client_files("locked")
    locked = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"pass phrase"),
    )
    path = tmp_path / "locked.key"
    path.write_bytes(locked)
    with SmtpServer() as server:
        trouble = refused(server, encryption="tls", client_certificate=str(certificate), client_key=str(path))
    assert "without a pass phrase" in trouble.why


def test_tls_that_is_too_old_is_refused(authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.old_context("localhost"), smtps=True) as server:
        trouble = refused(server, host="localhost", encryption="tls", ca_file=str(authority.ca_file))
    assert "no TLS that is safe" in trouble.what


def test_a_port_of_plain_text_is_told_from_one_for_tls(authority: TestAuthority) -> None:
    with SmtpServer() as server:
        trouble = refused(server, encryption="tls")
    assert "smtp.encryption starttls" in trouble.remedy
    with SmtpServer(tls=authority.server_context("localhost"), smtps=True) as server:
        trouble = refused(server, encryption="starttls", timeout_s=0.3)
    assert "smtp.encryption tls" in trouble.remedy


@pytest.mark.requirement("R9")
@pytest.mark.parametrize(
    ("fault", "says"),
    [(Leave(0.0), "check smtp.host"), (Leave(1.1), "silent first, as ports for TLS are"), (HANG, "overloaded")],
)
def test_a_server_that_does_not_greet_is_asked_once(fault: Fault, says: str) -> None:
    with SmtpServer(faults={"greeting": fault}) as server:
        trouble = refused(server, timeout_s=0.3 if fault is HANG else NEVER_S)
    assert len(server.connections) == 1
    assert says in trouble.remedy
    assert trouble.why == "", "it would say the same once more"


@pytest.mark.requirement("R9")
def test_a_port_for_tls_is_told_over_the_connection_on_which_it_was_silent(authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context("localhost"), smtps=True) as server:
        trouble = refused(server, encryption="none", timeout_s=0.3)
    assert len(server.connections) == 1
    assert "smtp.encryption tls" in trouble.remedy


@pytest.mark.requirement("S4")
def test_a_server_that_never_greets_takes_less_than_two_seconds_beyond_its_time() -> None:
    outlasted = threading.Event()

    class Silent(Action):
        def act(self, dialogue: Dialogue) -> None:
            dialogue.pause(0.3 + 2.0)
            outlasted.set()

    with SmtpServer(faults={"greeting": Silent()}) as server:
        with pytest.raises(SessionError) as caught:
            connect(server, greeting_timeout_s=0.3, timeout_s=NEVER_S)
        assert not outlasted.is_set()
    assert caught.value.trouble.stage is Stage.GREETING


def test_a_port_without_tls_that_says_nothing_the_second_time_is_told_all_the_same() -> None:
    with SmtpServer(faults={"greeting": [None, DROP]}) as server:
        trouble = refused(server, encryption="tls")
    assert len(server.connections) == 2
    assert trouble.what == f"127.0.0.1:{server.port} does not speak TLS where it should"
    assert "smtp.encryption starttls" in trouble.remedy


@pytest.mark.requirement("S2")
def test_a_stripped_starttls_ends_the_session(authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(), offer_starttls=False, logins={USER: SECRET}) as server:
        trouble = refused(server, encryption="starttls", username=USER)
    assert "does not offer STARTTLS" in trouble.what
    assert b"AUTH" not in server.received


@pytest.mark.requirement("S2")
@pytest.mark.parametrize("reply", ["454 4.7.0 TLS not available", "502 5.5.1 what?", "250 ok"])
def test_a_refused_starttls_ends_the_session(authority: TestAuthority, reply: str) -> None:
    with SmtpServer(tls=authority.server_context(), faults={"starttls": reply}, logins={USER: SECRET}) as server:
        trouble = refused(server, encryption="starttls", username=USER)
    assert (trouble.stage, trouble.exit_code) == (Stage.STARTTLS, 69)
    assert b"AUTH" not in server.received
    assert b"MAIL" not in server.received


@pytest.mark.requirement("S2")
@pytest.mark.parametrize("injected", [b"250-evil\r\n250 AUTH PLAIN\r\n", b"2", b"\r\n", b"250 x\n"])
def test_a_reply_injected_behind_starttls_is_an_attack(authority: TestAuthority, injected: bytes) -> None:
    fault = Raw(b"220 go ahead\r\n" + injected)
    with SmtpServer(tls=authority.server_context(), faults={"starttls": fault}) as server:
        trouble = refused(server, encryption="starttls")
    assert "injected reply" in trouble.what


@pytest.mark.requirement("S2")
def test_bytes_that_arrive_later_in_clear_break_the_handshake(authority: TestAuthority) -> None:
    reply = b"220 go ahead\r\n"
    fault = Split(reply + b"250 evil\r\n", at=len(reply))
    with SmtpServer(tls=authority.server_context(), faults={"starttls": fault}) as server:
        refused(server, encryption="starttls")
    assert b"MAIL" not in server.received


@pytest.mark.requirement("S2")
def test_what_was_offered_in_clear_is_forgotten_in_tls(authority: TestAuthority) -> None:
    def ehlo(_line: bytes) -> str | None:
        return None if server.connections[-1].in_tls else "250-x\n250-PIPELINING\n250-AUTH PLAIN\n250 STARTTLS"

    context = authority.server_context("localhost")
    with SmtpServer(tls=context, extensions=["SIZE 77"], faults={"ehlo": ehlo}) as server:
        settings = {"host": "localhost", "encryption": "starttls", "ca_file": str(authority.ca_file)}
        session = connect(server, **settings)
        session.quit()
    assert session.capabilities.keywords == ("SIZE 77",)
    assert not session.pipelining


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("reply", ["550 5.7.1 go away", "554 5.3.2 closed", "421 4.3.2 busy", "450 later", "354 odd"])
@pytest.mark.parametrize("place", ["greeting", "ehlo"])
def test_a_refusal_before_mail_is_the_accounts(place: str, reply: str) -> None:
    with SmtpServer(faults={place: reply}) as server:
        trouble = refused(server)
    assert trouble.kind is Kind.TRANSIENT
    assert trouble.stage.value == place
    assert str(trouble.reply) == reply


def test_a_lone_address_has_the_time_of_the_whole_opening() -> None:
    """Half of it is for the others only where there are any."""
    with SmtpServer(faults={"greeting": Wait(1.1), "ehlo": Wait(1.1)}) as server:
        connect(server, timeout_s=2.0).quit()


@pytest.mark.parametrize(
    ("extensions", "told"), [((), "no extensions"), (("SIZE 10", "8BITMIME"), "SIZE 10, 8BITMIME")]
)
def test_what_a_server_offers_is_reported(extensions: tuple[str, ...], told: str) -> None:
    stages = Stages()
    with SmtpServer(extensions=extensions) as server:
        connect(server, watcher=stages).quit()
    assert stages.reports[stages.names.index("ehlo")].detail == told


def test_a_server_without_ehlo_is_spoken_to_with_helo() -> None:
    with SmtpServer(faults={"ehlo": "502 5.5.1 unknown command"}) as server:
        end, feed = deliver(server)
    assert end.alive
    assert feed.summary == {"1": "relayed"}
    assert b"HELO localhost" in server.commands
    assert b"MAIL FROM:<billing@isp.example>" in server.commands


def test_a_server_that_takes_neither_ehlo_nor_helo_is_left_with_its_last_reply() -> None:
    with SmtpServer(faults={"ehlo": "502 5.5.1 unknown command", "helo": "550 5.7.1 not you"}) as server:
        trouble = refused(server)
    assert (trouble.stage, str(trouble.reply)) == (Stage.EHLO, "550 5.7.1 not you")


def test_a_session_is_alive_until_the_server_says_good_bye() -> None:
    with SmtpServer() as server:
        session = connect(server)
        assert session.is_alive()
        server.connections[0].reply("421 4.4.2 idle for too long")
        wait_until(lambda: not session.is_alive(), "the good-bye")
        session.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("web-1.isp.example", "EHLO web-1.isp.example"),
        ("my_host", "EHLO my_host"),
        ("192.0.2.1", "EHLO [192.0.2.1]"),
        ("", "EHLO [127.0.0.1]"),
        ("a b", "EHLO [127.0.0.1]"),
        ("x\r\nMAIL FROM:<>", "EHLO [127.0.0.1]"),
        ("höst", "EHLO [127.0.0.1]"),
    ],
)
def test_our_name_is_a_name_or_an_address(name: str, said: str) -> None:
    with SmtpServer() as server:
        connect(server, local_hostname=name).quit()
        server.wait_until_idle()
    assert server.commands == [said.encode(), b"QUIT"]


@pytest.mark.requirement("R15", "S4")
@pytest.mark.parametrize(
    "fault", [HANG, DROP, Endless(), Endless(b"x"), Raw(b"\xff\x00garbage\r\n"), Raw(b"999 x\r\n")]
)
@pytest.mark.parametrize("place", ["greeting", "ehlo", "starttls", "tls"])
def test_a_bad_server_ends_the_session_in_time(authority: TestAuthority, place: str, fault: Raw) -> None:
    with SmtpServer(tls=authority.server_context("localhost"), faults={place: fault}) as server:
        trouble = refused(
            server, host="localhost", encryption="starttls", ca_file=str(authority.ca_file), timeout_s=0.4
        )
    assert trouble.exit_code == 69
    assert sum(dialogue.sent_bytes for dialogue in server.connections) < 4 << 20


def test_every_address_is_tried_and_told() -> None:
    with SmtpServer() as server:
        port = server.port
    with pytest.raises(SessionError) as caught:
        connect(server, host="localhost")
    assert caught.value.trouble.stage is Stage.CONNECT
    assert f"no connection to localhost:{port}" in caught.value.trouble.what
    assert "127.0.0.1: refused: nothing listens" in caught.value.trouble.what


def test_an_address_that_refuses_does_not_hide_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with SmtpServer() as server:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 1)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: found)
        stages = Stages()
        connect(server, host="smarthost.example", watcher=stages).quit()
    assert stages.reports[0].detail == "127.0.0.2, 127.0.0.1"
    assert stages.reports[1].detail == "127.0.0.1; 127.0.0.2: refused: nothing listens on this port"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70 + ".example", ""])
def test_a_name_that_is_not_found_is_told(host: str) -> None:
    with SmtpServer() as server:
        trouble = refused(server, host=host)
    assert trouble.stage in {Stage.RESOLVE, Stage.CONNECT}
    assert trouble.exit_code == 69


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: over.wait(10) and [])
    with SmtpServer() as server:
        trouble = refused(server, host="smarthost.example", timeout_s=0.2)
        over.set()
    assert "did not answer in time" in trouble.what


@pytest.mark.parametrize("place", ["greeting", "ehlo", "starttls", "tls", "auth"])
def test_a_request_to_stop_ends_the_opening_at_once(authority: TestAuthority, place: str) -> None:
    stop = Stop()
    threading.Timer(0.1, stop.request, (signal.SIGTERM,)).start()
    context = authority.server_context("localhost")
    with (
        SmtpServer(tls=context, logins={USER: SECRET}, faults={place: HANG}) as server,
        pytest.raises(StoppedError),
    ):
        connect(
            server, host="localhost", encryption="starttls", ca_file=str(authority.ca_file), username=USER,
            timeout_s=NEVER_S, stop=stop,
        )  # fmt: skip


def test_a_transcript_has_both_sides_and_is_bounded() -> None:
    transcript = Transcript()
    with SmtpServer(faults={"ehlo": "\n".join(["250-x"] * 98 + ["250 " + "y" * 3000])}) as server:
        session = connect(server, observer=transcript)
        session.quit()
    assert transcript.lines[:2] == ["S: 220 test.example ESMTP", "C: EHLO localhost"]
    assert transcript.lines[-2:] == ["C: QUIT", "S: 221 2.0.0 bye"]
    assert max(map(len, transcript.lines)) < 300
    for _ in range(1000):
        transcript.received(b"250 more")
    assert len(transcript.lines) == 400
    assert transcript.lines[-1] == "... (the rest is not recorded)"
