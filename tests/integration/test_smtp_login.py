"""The login: each mechanism, which one is chosen, and that the secret is seen by nobody but the server."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.smtp_client import SECRET, USER, Stages, connect, deliver, smarthost
from tests.support.smtp_server import DROP, GARBAGE, HANG, Fault, Raw, SmtpServer
from ucrmmail.clock import Clock
from ucrmmail.errors import TemporaryError
from ucrmmail.message.outcome import Kind, Scope, Trouble
from ucrmmail.smtp.opening import SessionError, open_session
from ucrmmail.smtp.session import Session
from ucrmmail.smtp.transcript import Transcript

MECHANISMS = ["plain", "login", "cram-md5", "xoauth2", "oauthbearer"]


def refused(server: SmtpServer, **settings: object) -> Trouble:
    with pytest.raises(SessionError) as caught:
        connect(server, **{"username": USER, **settings})
    server.wait_until_idle(0.2)
    assert caught.value.trouble.scope is Scope.ACCOUNT
    return caught.value.trouble


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("user", [USER, "jörg", "a,b=c"])
def test_every_mechanism_logs_in(mechanism: str, user: str) -> None:
    with SmtpServer(logins={user: SECRET}) as server:
        end, feed = deliver(server, username=user, authentication=mechanism)
    assert end.alive
    assert feed.summary == {"1": "relayed"}
    assert server.connections[0].login == user
    assert server.commands[1].split()[1] == mechanism.upper().encode()


def test_no_user_is_no_login() -> None:
    with SmtpServer(logins={}) as server:
        connect(server, username="").quit()
    with SmtpServer(logins={USER: SECRET}) as server:
        connect(server, username=USER, authentication="none").quit()
        server.wait_until_idle()
    assert b"AUTH" not in server.received


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("CRAM-MD5 LOGIN PLAIN XOAUTH2", "PLAIN"),
        ("CRAM-MD5 LOGIN", "LOGIN"),
        ("CRAM-MD5", "CRAM-MD5"),
        ("plain", "PLAIN"),
    ],
)
def test_in_tls_the_simplest_one_is_chosen(tmp_path: Path, offered: str, chosen: str) -> None:
    authority = TestAuthority(tmp_path)
    context = authority.server_context("localhost")
    with SmtpServer(tls=context, logins={USER: SECRET}, mechanisms=offered) as server:
        connect(server, host="localhost", encryption="starttls", ca_file=str(authority.ca_file), username=USER).quit()
        server.wait_until_idle()
    assert f"AUTH {chosen}".encode() in server.received
    assert b"AUTH" not in server.received_in_clear


def test_in_clear_the_one_that_does_not_show_the_password_is_chosen() -> None:
    with SmtpServer(logins={USER: SECRET}, mechanisms="PLAIN LOGIN CRAM-MD5") as server:
        connect(server, username=USER).quit()
    assert b"AUTH CRAM-MD5" in server.received


@pytest.mark.requirement("S2")
def test_no_password_goes_in_clear_to_this_machine_neither() -> None:
    with SmtpServer(logins={USER: SECRET}) as server:
        trouble = refused(server, allow_insecure_login=False)
        assert trouble.exit_code == 78
        assert trouble.remedy == (
            "run `ucrmmail config set smtp.encryption starttls`, or accept the risk with "
            "`ucrmmail config set smtp.allow_insecure_login true`"
        )
        assert b"AUTH" not in server.received
        connect(server, username=USER, allow_insecure_login=True).quit()
    assert server.connections[-1].login == USER


@pytest.mark.parametrize(
    ("mechanisms", "settings", "remedy"),
    [
        ("XOAUTH2 OAUTHBEARER", {}, "smtp.authentication oauthbearer"),
        ("GSSAPI", {}, "ask the provider"),
        ("PLAIN", {"authentication": "cram-md5"}, "smtp.authentication auto"),
    ],
)
def test_nothing_in_common_is_told_with_what_is_offered(mechanisms: str, settings: dict[str, str], remedy: str) -> None:
    with SmtpServer(logins={USER: SECRET}, mechanisms=mechanisms) as server:
        trouble = refused(server, **settings)
    assert mechanisms.replace(" ", ", ") in trouble.why
    assert remedy in trouble.remedy
    assert trouble.exit_code == 77
    assert b"AUTH" not in server.received


def test_a_server_without_auth_is_told() -> None:
    with SmtpServer() as server:
        trouble = refused(server)
    assert "offers none" in trouble.why
    assert "unset smtp.username" in trouble.remedy


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_secret_is_a_permanent_trouble_of_the_account(mechanism: str) -> None:
    with SmtpServer(logins={USER: "another"}) as server:
        trouble = refused(server, authentication=mechanism)
    assert (trouble.kind, trouble.exit_code) == (Kind.PERMANENT, 77)
    assert trouble.reply is not None
    assert trouble.reply.code == 535
    assert trouble.remedy
    assert len([line for line in server.commands if line.startswith(b"AUTH")]) == 1, "one login, never a second try"


@pytest.mark.parametrize(("mechanism", "status"), [("xoauth2", "401"), ("oauthbearer", "invalid_token")])
def test_a_refused_token_is_explained(mechanism: str, status: str) -> None:
    with SmtpServer(logins={USER: "another"}) as server:
        trouble = refused(server, authentication=mechanism)
    assert f"status: {status}" in trouble.why
    assert "credentials.command" in trouble.remedy


def token_refused_once(
    server: SmtpServer, after_refusal: Callable[[], str], *, watcher: Stages | None = None
) -> Session:
    return open_session(
        smarthost(server, username=USER, authentication="xoauth2"),
        secret=lambda: "old token",
        after_refusal=after_refusal,
        clock=Clock(),
        watcher=watcher,
    )


def test_a_token_that_was_refused_is_tried_once_more_with_another_one() -> None:
    with SmtpServer(logins={USER: "new token"}) as server:
        token_refused_once(server, lambda: "new token").quit()
        server.wait_until_idle()
        assert server.connections[0].login == USER
        with pytest.raises(SessionError) as caught:
            token_refused_once(server, lambda: "no better")
    assert caught.value.trouble.exit_code == 77
    assert sum(line.startswith(b"AUTH") for line in server.commands) == 4


def test_a_login_with_another_token_is_told_as_that() -> None:
    stages = Stages()
    with SmtpServer(logins={USER: "new token"}) as server:
        token_refused_once(server, lambda: "new token", watcher=stages).quit()
    login = stages.reports[stages.names.index("auth")]
    assert login.detail.endswith("; the token that was kept was refused, a new one was fetched")
    assert login.facts["token_renewed"] is True


@pytest.mark.requirement("S19")
def test_a_refused_token_is_a_refused_login_also_where_this_machine_has_no_other() -> None:
    def locked() -> str:
        raise TemporaryError("the keyring is locked", remedy="unlock it")

    with SmtpServer(logins={USER: "new token"}) as server, pytest.raises(SessionError) as caught:
        token_refused_once(server, locked)
    trouble = caught.value.trouble
    assert (trouble.exit_code, trouble.remedy) == (77, "unlock it")
    assert "no other token could be had: the keyring is locked" in trouble.why


def test_what_an_authorization_server_says_goes_before_the_refusal() -> None:
    def refused_there() -> str:
        error = TemporaryError("the authorization server is down")
        error.by_server = True
        raise error

    with SmtpServer(logins={USER: "new token"}) as server, pytest.raises(TemporaryError, match="is down"):
        token_refused_once(server, refused_there)


@pytest.mark.parametrize(
    ("reply", "why", "remedy"),
    [
        ("5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox",
         "SMTP AUTH is switched off for this mailbox", "administrator"),
        ("5.7.3 Authentication Unsuccessful [AM0PR01]", "smtp.username is no mailbox that it is for", "FullAccess"),
        ("5.7.3 who are you", "the access token was not accepted", "run `ucrmmail login`"),
    ],
)  # fmt: skip
def test_a_mailbox_without_smtp_and_one_of_somebody_else_are_told_from_a_token_that_is_wrong(
    reply: str, why: str, remedy: str
) -> None:
    with SmtpServer(logins={USER: SECRET}, faults={"auth": f"535 {reply}"}) as server:
        trouble = refused(server, authentication="xoauth2")
    assert why in trouble.why
    assert remedy in trouble.remedy


@pytest.mark.parametrize(
    "challenge", ["334 !!!", "334 ", "334 bm8ganNvbg==", "334 WzFd", "334 \udcff", "334 " + "W1tb" * 500]
)
def test_an_odd_error_challenge_is_no_crash(challenge: str) -> None:
    with SmtpServer(logins={USER: "another"}, faults={"auth-answer": challenge}) as server:
        for mechanism in ("xoauth2", "oauthbearer"):
            assert refused(server, authentication=mechanism).exit_code == 77


@pytest.mark.requirement("S19")
@pytest.mark.parametrize(
    ("reply", "exit_code", "kind"),
    [
        ("454 4.7.0 Temporary authentication failure", 75, Kind.TRANSIENT),
        ("454 4.7.0 Too many login attempts, please try again later.", 75, Kind.TRANSIENT),
        ("421 4.7.0 Try again later, closing connection.", 75, Kind.TRANSIENT),
        ("451 Authentication failed: Maximum credits exceeded", 75, Kind.TRANSIENT),
        ("550 Too many messages. Try again in 92 seconds.", 75, Kind.TRANSIENT),
        ("534 5.7.9 Application-specific password required", 77, Kind.PERMANENT),
        ("530 5.7.0 Must issue a STARTTLS command first", 77, Kind.PERMANENT),
        ("504 5.5.4 Unrecognized authentication type", 77, Kind.PERMANENT),
        ("250 welcome?", 69, Kind.TRANSIENT),
        ("334 ", 69, Kind.TRANSIENT),
    ],
)
def test_a_refused_login_never_touches_the_mail(reply: str, exit_code: int, kind: Kind) -> None:
    fault: Fault = reply if not reply.startswith("334") else Raw(b"334 \r\n" * 5)
    with SmtpServer(logins={USER: SECRET}, faults={"auth": fault}) as server:
        trouble = refused(server, authentication="plain")
    assert (trouble.exit_code, trouble.kind) == (exit_code, kind)
    assert b"MAIL" not in server.received


@pytest.mark.parametrize("fault", [HANG, DROP, GARBAGE])
def test_a_server_that_fails_at_the_login_is_left_in_time(fault: Raw) -> None:
    with SmtpServer(logins={USER: SECRET}, faults={"auth": fault}) as server:
        assert refused(server, authentication="plain", timeout_s=0.3).exit_code == 69


def test_the_secret_is_fetched_only_for_a_login_and_its_errors_pass_through() -> None:
    def locked() -> str:
        raise TemporaryError("the keyring is locked")

    with SmtpServer(logins={USER: SECRET}) as server:
        with pytest.raises(TemporaryError):
            open_session(smarthost(server, username=USER), secret=locked, clock=Clock())
        open_session(smarthost(server), secret=locked, clock=Clock()).quit()


@pytest.mark.requirement("S5")
@pytest.mark.parametrize("secret", ["a\0b", "a\1\1b", "a\r\nb", "a\nb"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_control_character_does_not_become_another_field(mechanism: str, secret: str) -> None:
    with SmtpServer(logins={USER: secret}) as server:
        with pytest.raises(SessionError) as caught:
            open_session(
                smarthost(server, username=USER, authentication=mechanism), secret=lambda: secret, clock=Clock()
            )
        server.wait_until_idle(0.2)
    assert caught.value.trouble.exit_code == 78
    assert b"AUTH" not in server.received


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("app\u00a0word", "an invisible character, or a blank that is no plain one, in it (U+00A0)"),
        ("app\u200bword", "an invisible character, or a blank that is no plain one, in it (U+200B)"),
        ("app\tword", "a control character in it (U+0009)"),
        ("app\x7fword", "a control character in it (U+007F)"),
        ("app\x85word", "a control character in it (U+0085)"),
        ("app\x9fword", "a control character in it (U+009F)"),
    ],
)
def test_a_character_that_was_copied_with_a_password_is_named(secret: str, told: str) -> None:
    """Whoever copies the same again is told the same: nobody sees a blank of a web page in a password."""
    with SmtpServer(logins={USER: secret}) as server, pytest.raises(SessionError) as caught:
        open_session(smarthost(server, username=USER), secret=lambda: secret, clock=Clock())
    assert caught.value.trouble.what == f"smtp.password has {told}"
    assert caught.value.trouble.remedy == "run `ucrmmail config set smtp.password` again, and type it by hand"


@pytest.mark.requirement("R28")
@pytest.mark.parametrize("secret", ["canary-4711", "canary-47110", "canary-471100"])
def test_the_secret_alone_in_base64_is_hidden_to_its_last_character(secret: str) -> None:
    """The last one was shown, with what fills it up: it holds a part of the secret's own last byte."""
    encoded = base64.b64encode(secret.encode()).decode()
    refused = {"auth": f"535 5.7.8 {encoded} is wrong"}
    with SmtpServer(logins={USER: "another"}, faults=refused) as server, pytest.raises(SessionError) as caught:
        open_session(smarthost(server, username=USER, authentication="plain"), secret=lambda: secret, clock=Clock())
    assert str(caught.value.trouble.reply) == "535 5.7.8 [redacted] is wrong"


def forms_of(secret: str) -> list[str]:
    """The secret in clear, and each piece of base64 that gives it away at any alignment."""
    found = [secret]
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + secret.encode() + b"x" * 3).decode()
        found.append(encoded[4:-8])
    return found


@pytest.mark.requirement("R28", "S9")
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("right", [True, False])
def test_the_secret_is_in_no_transcript_no_stage_and_no_error_even_when_the_server_repeats_it(
    mechanism: str, right: bool
) -> None:
    transcript, stages = Transcript(), Stages()
    heard: list[bytes] = []

    def repeat(line: bytes) -> str:
        heard.append(line)
        payload = line.split()[-1].decode()
        try:
            clear = base64.b64decode(payload).decode("utf-8", "replace").replace("\0", "|").replace("\1", "|")
        except ValueError:
            clear = ""
        inside = base64.b64encode(b"you said " + SECRET.encode() + b" again").decode()
        code = "235" if right else "535"
        return f"{code}-2.7.0 {payload}\n{code}-{clear}\n{code}-{inside}\n{code} {SECRET} and {SECRET}"

    faults: dict[str, Fault] = {"auth": repeat, "mail": "550 5.1.0 " + SECRET, "quit": "221 " + SECRET}
    mechanisms_that_speak_first = {"plain", "xoauth2", "oauthbearer"}
    if mechanism not in mechanisms_that_speak_first:
        faults.pop("auth")
    told: list[str] = []
    with SmtpServer(logins={USER: SECRET if right else "another"}, faults=faults) as server:
        try:
            session = connect(server, username=USER, authentication=mechanism, observer=transcript, watcher=stages)
        except SessionError as error:
            told += [str(error), repr(error.trouble), repr(error.__cause__)]
        else:
            end, feed = deliver(server, username=USER, authentication=mechanism, observer=transcript)
            told += [repr(end), repr(feed.settled)]
            session.quit()
        server.wait_until_idle(0.5)
    everything = "\n".join([*transcript.lines, *told, repr(stages.reports)])
    for form in forms_of(SECRET):
        assert form not in everything, f"{form} in {everything}"
    for line in itertools.chain(server.commands, heard):
        if line.startswith(b"AUTH ") and b" " in line[5:]:
            assert line.split()[-1].decode() not in everything
    assert f"C: AUTH {mechanism.upper()}" in everything
    assert "[redacted]" in everything
