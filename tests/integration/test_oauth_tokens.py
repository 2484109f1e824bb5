"""The access token from run to run: kept, renewed once by whoever comes first, and never a reason to bounce mail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.machine import Machine
from tests.support.oauth_server import CANARY, CLIENT_ID, CLIENT_SECRET, OAuthServer
from tests.support.program import Program
from tests.support.secret_service import SecretService, secret_service
from tests.support.signing import USER, change_token, configure, enqueue, kept_token, logins, pass_time
from tests.support.smtp_server import DROP, EXTENSIONS, SmtpServer
from ucrmmail.delivery.account import load_account
from ucrmmail.errors import ConfigError, TemporaryError, UcrmmailError
from ucrmmail.message.outcome import Stage
from ucrmmail.oauth.refusal import TokenUnavailableError
from ucrmmail.smtp.session import Session


@pytest.fixture
def oauth() -> Iterator[OAuthServer]:
    with OAuthServer() as server:
        yield server


@pytest.fixture
def smarthost(oauth: OAuthServer) -> Iterator[SmtpServer]:
    with SmtpServer(logins={USER: "no password does"}, tokens=oauth.is_good) as server:
        yield server


@pytest.fixture
def account(program: Program, oauth: OAuthServer, smarthost: SmtpServer) -> Program:
    """Signed in by device code."""
    configure(program, oauth, smarthost.port)
    program.run("login")
    return program


def only_message(program: Program) -> dict[str, object]:
    (message,) = program.queue()
    return message


def test_a_token_that_is_about_to_end_is_renewed_before_it_is_used(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    before = kept_token(account)
    change_token(account, fetched_at=time.time() - 3400, expires_at=time.time() + 200)
    enqueue(account)
    account.run("flush")
    assert len(smarthost.accepted) == 1
    assert (oauth.refreshes, logins(smarthost)) == (1, 1)
    after = kept_token(account)
    assert after["access"] != before["access"]
    assert after["refresh"] != before["refresh"]
    assert after["signed_in_at"] == before["signed_in_at"]


def test_each_renewal_uses_the_refresh_token_that_the_last_one_brought(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    for _ in range(3):
        change_token(account, expires_at=1.0)
        account.run("test-connection")
    assert oauth.refreshes == 3
    used = [form["refresh_token"] for form in oauth.requests if form.get("grant_type") == "refresh_token"]
    assert len(set(used)) == 3


def test_a_server_that_does_not_rotate_is_asked_with_the_same_one(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    oauth.rotates = False
    first = kept_token(account)["refresh"]
    for _ in range(2):
        change_token(account, expires_at=1.0)
        account.run("test-connection")
    assert kept_token(account)["refresh"] == first


def test_processes_that_renew_at_once_use_one_refresh(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    change_token(account, expires_at=1.0)
    oauth.delay_s = 0.5
    running = [account.start("test-connection") for _ in range(4)]
    for process in running:
        with process:
            _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
    assert oauth.refreshes == 1


def test_a_kept_token_that_is_refused_is_renewed_and_tried_once_more(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    oauth.spoil_access_tokens()
    enqueue(account)
    report = account.run("flush", "--json").json
    assert report["relayed"] == 1
    assert (oauth.refreshes, logins(smarthost), len(smarthost.connections)) == (1, 2, 1)
    oauth.spoil_access_tokens()
    run = account.run("test-connection", "--transcript")
    assert "the token that was kept was refused, a new one was fetched" in run.stdout
    assert CANARY not in run.stdout


@pytest.mark.requirement("R9", "S19")
@pytest.mark.parametrize("connections", [1, 3])
def test_a_refused_token_pauses_the_account_when_this_machine_can_get_no_other(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer, connections: int
) -> None:
    account.run("config", "set", "smtp.connections", str(connections))
    enqueue(account)
    oauth.spoil_access_tokens()
    lock = account.spool / "oauth.lock"
    lock.unlink()
    lock.mkdir()
    run = account.run("flush", code=77)
    assert "refused the login" in run.stderr
    assert "cannot be locked" in run.stderr
    assert "run the command as the user who flushes the queue" in run.stderr
    lock.rmdir()
    account.run("flush", code=75)
    assert (logins(smarthost), only_message(account)["attempts"]) == (1, 0)
    pass_time(account, 6)
    account.run("flush")
    assert len(smarthost.accepted) == 1


@pytest.mark.requirement("R9", "S19")
@pytest.mark.parametrize("error", [TemporaryError("the keyring is locked"), ConfigError("there is no secret")])
def test_a_refused_login_pauses_the_account_when_nobody_can_tell_whether_the_secret_changes(
    tmp_path: Path, error: UcrmmailError
) -> None:
    def secret() -> str:
        raise error

    machine = Machine(tmp_path)
    machine.secret = secret
    machine.put(1)
    with SmtpServer(logins={USER: "another"}) as server:
        runs = [machine.flush(machine.to(server, username=USER)) for _ in range(3)]
        assert [run.exit_code for run in runs] == [77, 75, 75]
        assert logins(server) == 1


def test_several_connections_share_the_new_token(account: Program, oauth: OAuthServer, smarthost: SmtpServer) -> None:
    account.run("config", "set", "smtp.connections", "3")
    for _ in range(6):
        enqueue(account)
    oauth.spoil_access_tokens()
    account.run("flush")
    assert len(smarthost.accepted) == 6
    assert oauth.refreshes == 1


def test_a_new_token_that_is_refused_is_not_tried_again(account: Program, oauth: OAuthServer) -> None:
    with SmtpServer(logins={USER: "no password does"}, tokens=lambda _user, _token: False) as strict:
        account.run("config", "set", "smtp.port", str(strict.port))
        enqueue(account)
        run = account.run("flush", code=77)
        assert (oauth.refreshes, logins(strict)) == (1, 2)
        # The challenge that explains the refusal, decoded.
        assert "status: 401" in run.stderr
        assert "the access token was not accepted" in run.stderr
        assert "ucrmmail login" in run.stderr
        assert only_message(account)["attempts"] == 0
        account.run("flush", code=75)
        assert logins(strict) == 2, "no run hammers a smarthost that refuses"
        account.run("login")
        account.run("flush", code=77)
        assert logins(strict) == 4, "a new sign-in is tried at once"


def test_the_refusal_of_a_token_is_decoded_for_the_reader(account: Program) -> None:
    with SmtpServer(logins={USER: "no password does"}, tokens=lambda _user, _token: False) as strict:
        account.run("config", "set", "smtp.port", str(strict.port))
        account.run("config", "set", "smtp.authentication", "oauthbearer")
        for command in (("test-connection",), ("test-send", "joe@example.com")):
            run = account.run(*command, code=77)
            assert "status: invalid_token, schemes: bearer, scope: mail" in run.stderr


def test_microsofts_refusal_of_an_application_names_its_permissions(account: Program, oauth: OAuthServer) -> None:
    refusal = "535 5.7.3 Authentication unsuccessful [AM0PR01CA0123.eurprd01.prod.exchangelabs.com]"
    with SmtpServer(
        logins={USER: "no password does"}, tokens=lambda _user, _token: False, faults={"auth": refusal}
    ) as strict:
        account.run("config", "set", "smtp.port", str(strict.port))
        run = account.run("test-connection", code=77)
    assert "object id of the enterprise application" in run.stderr


def test_a_smarthost_that_hangs_up_after_a_refusal_gets_the_new_token_next_time(
    account: Program, oauth: OAuthServer
) -> None:
    with SmtpServer(logins={USER: "no password does"}, tokens=oauth.is_good, faults={"auth": [None, DROP]}) as nervous:
        account.run("config", "set", "smtp.port", str(nervous.port))
        oauth.spoil_access_tokens()
        enqueue(account)
        account.run("flush", code=69)
        account.run("queue", "retry", "--all")
        account.run("flush")
        assert len(nervous.accepted) == 1
    assert oauth.refreshes == 1


def test_a_server_that_does_not_answer_defers_and_the_next_run_goes_on(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    change_token(account, expires_at=1.0)
    enqueue(account)
    oauth.fail_with(503)
    run = account.run("flush", code=75)
    assert "answered with HTTP 503" in run.stderr
    message = only_message(account)
    assert (message["attempts"], message["state"]) == (0, "waiting")
    assert logins(smarthost) == 0
    account.run("flush", code=75)
    assert oauth.refreshes == 1, "it has a pause"
    pass_time(account, 5)
    account.run("flush")
    assert len(smarthost.accepted) == 1
    assert account.run("status", "--json").json["account"]["deferred"] is False


def test_cron_is_told_once_an_hour_of_a_server_that_does_not_answer(account: Program, oauth: OAuthServer) -> None:
    change_token(account, expires_at=1.0)
    enqueue(account)
    for told in (True, False):
        oauth.fail_with(503)
        assert bool(account.run("flush", code=75).stderr) == told


def application(account: Program, oauth: OAuthServer, smarthost: SmtpServer) -> None:
    """Let the account sign in as an application does, which has the server asked for each token."""
    oauth.secret = CLIENT_SECRET
    account.run("config", "set", "oauth.client_secret", "--stdin", "--store", "file", stdin=CLIENT_SECRET)
    account.run("config", "set", "oauth.flow", "client-credentials")
    oauth.requests.clear()
    enqueue(account)


def never_grant(oauth: OAuthServer, answer: str | int) -> None:
    for _ in range(10):
        if isinstance(answer, int):
            oauth.fail_with(answer)
        else:
            oauth.refuse(answer)


@pytest.mark.requirement("R9", "R18")
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize(
    ("answer", "code"), [("invalid_grant", 77), ("invalid_client", 77), ("unauthorized_client", 78), (500, 75)]
)
def test_cron_hammers_neither_a_token_server_that_grants_nothing_nor_the_smarthost(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer, answer: str | int, code: int, connections: int
) -> None:
    application(account, oauth, smarthost)
    account.run("config", "set", "smtp.connections", str(connections))
    never_grant(oauth, answer)
    # What runs at these minutes end with, and whether they ask: the first pause has five minutes, the second ten.
    minute = asked = 0
    for at, asks in [(0, True), (1, False), (4, False), (6, True), (7, False), (15, False), (17, True)]:
        if at:
            pass_time(account, at - minute)
        minute = at
        asked += asks
        run = account.run("flush", code=code if asks else 75)
        assert len(oauth.requests) == asked, f"minute {at}"
        assert bool(run.stderr) == (at == 0), "cron is told once an hour"
    assert len(smarthost.connections) <= 1
    assert only_message(account)["attempts"] == 0


@pytest.mark.requirement("R9")
def test_a_token_that_cannot_be_had_for_a_later_connection_of_a_run_is_the_same_trouble(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.put(2)
    opened = 0
    with SmtpServer(extensions=(*EXTENSIONS, "LIMITS MAILMAX=1")) as server:

        def connect(within_s: float) -> Session:
            nonlocal opened
            opened += 1
            if opened == 2:
                raise TokenUnavailableError("no token now", remedy="wait")
            return machine.to(server)(within_s)

        report = machine.flush(connect)
        assert (report.relayed, report.held_back, report.exit_code) == (1, 1, 75)
        assert report.trouble is not None
        assert report.trouble.stage is Stage.SECRET
        assert report.next_at > machine.clock.now()
        assert machine.flush(connect).reason == "account"
        assert opened == 2
        assert load_account(f"{machine.directory}/account.json", owner=os.geteuid()).secret_mark, "a sign-in ends it"


def test_the_pause_of_a_token_that_was_refused_is_shown(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    application(account, oauth, smarthost)
    never_grant(oauth, "invalid_client")
    first = account.run("flush", "--json", code=77).json
    paused = account.run("flush", "--json", code=75).json
    assert (first["reason"], paused["reason"], paused["held_back"]) == ("account", "account", 1)
    assert first["next_at"] == paused["next_at"] is not None
    assert paused["error"]["stage"] == "secret"
    assert "grants no token: invalid_client" in paused["error"]["what"]
    assert "`ucrmmail queue retry --state deferred` ends the pause" in paused["error"]["remedy"]
    kept = account.run("status", "--json").json["account"]
    assert (kept["deferred"], kept["not_before"]) == (True, first["next_at"])
    assert f"deferred until {first['next_at']}: " in account.run("status").stdout
    assert account.run("flush", "--dry-run", "--json").json["deferred_until"] == first["next_at"]
    pass_time(account, 61)
    assert "grants no token" in account.run("flush", code=77).stderr, "an hour later it is told again"


@pytest.mark.parametrize("mend", ["settings", "secret", "login", "retry"])
def test_who_mends_what_the_token_server_refused_waits_for_no_pause(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer, mend: str
) -> None:
    application(account, oauth, smarthost)
    oauth.refuse("invalid_client")
    account.run("flush", code=77)
    account.run("flush", code=75)
    match mend:
        case "settings":
            account.run("config", "set", "oauth.scope", "another")
        case "secret":
            oauth.secret = f"{CLIENT_SECRET}-new"
            account.run("config", "set", "oauth.client_secret", "--stdin", "--store", "file", stdin=oauth.secret)
        case "login":
            account.run("login", "--flow", "client-credentials")
        case "retry":
            account.run("queue", "retry", "--state", "deferred")
    account.run("flush")
    assert len(smarthost.accepted) == 1


def test_a_new_key_of_a_service_account_ends_the_pause(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    path = account.home / "key.json"

    def put_key(server: OAuthServer) -> None:
        path.write_text(json.dumps(server.key_file() | {"token_uri": oauth.token_endpoint}))
        path.chmod(0o600)

    with OAuthServer() as another:
        put_key(another)
    configure(account, oauth, smarthost.port, oauth_keys=f'key_file = "{path}"\nflow = "service-account"')
    change_token(account, expires_at=1.0)
    enqueue(account)
    assert "Invalid JWT Signature" in account.run("flush", code=77).stderr
    account.run("flush", code=75)
    put_key(oauth)
    account.run("flush")
    assert len(smarthost.accepted) == 1


def test_a_lock_of_the_token_that_cannot_be_taken_makes_no_pause(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    change_token(account, expires_at=1.0)
    enqueue(account)
    lock = account.spool / "oauth.lock"
    lock.unlink()
    lock.mkdir()
    assert "cannot be locked" in account.run("flush", code=75).stderr
    lock.rmdir()
    account.run("flush")
    assert len(smarthost.accepted) == 1


def test_an_ended_sign_in_says_sign_in_again_and_bounces_nothing(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    oauth.end_sessions()
    change_token(account, expires_at=1.0)
    enqueue(account)
    run = account.run("flush", code=77)
    assert f"the sign-in of {USER} is no longer accepted" in run.stderr
    assert "Token has been expired or revoked." in run.stderr
    assert "sign in again: run `ucrmmail login`" in run.stderr
    asked = len(oauth.requests)
    again = account.run("flush", code=75)
    assert again.stderr == "", "cron is told once an hour"
    pass_time(account, 5)
    account.run("flush", code=77)
    assert len(smarthost.connections) == 1, "no run connects with nothing to log in with"
    assert len(oauth.requests) == asked, "nobody asks for what has ended"
    status = account.run("credentials", "status", "--json", code=77).json
    assert status["found"] is False
    assert "no longer accepted" in status["error"]
    assert only_message(account)["attempts"] == 0
    assert account.run("queue", "list", "--state", "failed", "--json").json["messages"] == []
    account.run("login")
    account.run("flush")
    assert len(smarthost.accepted) == 1


def test_a_sign_in_that_was_revoked_at_the_provider_ends(account: Program, oauth: OAuthServer) -> None:
    form = {"token": kept_token(account)["refresh"], "client_id": CLIENT_ID}
    assert oauth.answer("/revoke", form)[0] == 200
    account.run("test-connection")
    change_token(account, expires_at=1.0)
    assert "sign in again" in account.run("test-connection", code=77).stderr


def test_a_refresh_token_that_somebody_else_has_used_ends_the_sign_in(account: Program, oauth: OAuthServer) -> None:
    stolen = kept_token(account)["refresh"]
    form = {"grant_type": "refresh_token", "refresh_token": stolen, "client_id": CLIENT_ID}
    assert oauth.answer("/token", form)[0] == 200
    change_token(account, expires_at=1.0)
    run = account.run("test-connection", code=77)
    assert "the refresh token was used before" in run.stderr


def test_the_doctor_renews_a_token_and_says_when_it_cannot(account: Program, oauth: OAuthServer) -> None:
    def checks() -> dict[str, dict[str, str]]:
        found = account.run("doctor", "--only", "secret,login", "--json", code=None).json["checks"]
        return {one["check"]: one for one in found}

    change_token(account, expires_at=1.0)
    oauth.fail_with(503)
    failed = checks()["secret"]
    assert (failed["verdict"], "HTTP 503" in failed["detail"]) == ("fail", True)
    oauth.spoil_access_tokens()
    assert {one["verdict"] for one in checks().values()} == {"ok"}
    oauth.spoil_access_tokens()
    assert checks()["login"]["verdict"] == "ok"
    oauth.end_sessions()
    assert "no longer accepted" in checks()["login"]["detail"]


def test_the_doctor_tries_a_login_as_soon_as_there_is_a_token_again(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    application(account, oauth, smarthost)
    oauth.refuse("invalid_client")
    account.run("flush", code=77)
    found = account.run("doctor", "--only", "secret,login", "--json").json["checks"]
    assert [one["verdict"] for one in found] == ["ok", "ok"], "no login was refused"


def test_a_token_of_other_settings_is_not_used(account: Program, oauth: OAuthServer) -> None:
    account.run("config", "set", "oauth.scope", "another")
    account.run("test-connection")
    assert oauth.refreshes == 1


def test_who_turns_to_a_flow_without_a_person_uses_it_at_once(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    oauth.secret = CLIENT_SECRET
    account.run("config", "set", "oauth.client_secret", "--stdin", stdin=CLIENT_SECRET)
    account.run("config", "set", "oauth.flow", "client-credentials")
    account.run("test-connection")
    assert (oauth.refreshes, oauth.grants("client_credentials")) == (0, 1)
    assert kept_token(account)["refresh"] == ""


def test_a_disk_that_takes_nothing_does_not_stop_an_application(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    oauth.secret = CLIENT_SECRET
    configure(account, oauth, smarthost.port, oauth_keys='flow = "client-credentials"')
    account.run("config", "set", "credentials.file", "/proc/secrets.toml")
    enqueue(account)
    account.run("flush", env={"UCRMMAIL_OAUTH_CLIENT_SECRET": CLIENT_SECRET})
    assert len(smarthost.accepted) == 1


def test_a_damaged_token_asks_for_a_sign_in(account: Program, oauth: OAuthServer) -> None:
    path = account.home / "secrets.toml"
    path.write_text(f'[secrets]\n"{USER} oauth.token" = "not a token"\n')
    run = account.run("test-connection", code=78)
    assert f"{USER} has not signed in yet" in run.stderr
    account.run("login")
    account.run("test-connection")


def test_the_status_shows_how_long_the_token_is_good(account: Program) -> None:
    run = account.run("credentials", "status")
    assert "here and as cron: file has the sign-in (device-code), with an access token until 20" in run.stdout
    document = account.run("credentials", "status", "--json").json
    for look in (document, document["as_cron"]):
        assert look["found"] is True
        assert look["token"]["flow"] == "device-code"
        assert look["token"]["renewable"] is True
        assert look["token"]["expires_at"] > look["token"]["signed_in_at"]


def test_the_status_of_an_account_that_has_not_signed_in(program: Program, oauth: OAuthServer) -> None:
    configure(program, oauth, 25)
    run = program.run("credentials", "status", code=78)
    assert "run `ucrmmail login`" in run.stderr


def test_delete_forgets_the_token_and_the_client_secret(account: Program, oauth: OAuthServer) -> None:
    account.run("config", "set", "oauth.client_secret", "--stdin", stdin=CLIENT_SECRET)
    run = account.run("credentials", "delete", "--yes", "--json")
    assert (run.json["deleted"], run.json["token_deleted"]) == (True, True)
    assert CANARY not in (account.home / "secrets.toml").read_text()
    assert account.run("credentials", "delete", "--yes", "--json").json["deleted"] is False
    account.run("test-connection", code=78)


def test_the_client_secret_may_come_from_the_environment(
    program: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    """A container: nothing was stored, nobody signed in."""
    oauth.secret = CLIENT_SECRET
    configure(program, oauth, smarthost.port, oauth_keys='flow = "client-credentials"')
    env = {"UCRMMAIL_OAUTH_CLIENT_SECRET": CLIENT_SECRET}
    status = program.run("credentials", "status", "--here", "--json", env=env).json
    assert (status["source"], status["found"]) == ("environment", True)
    enqueue(program)
    program.run("flush", env=env)
    assert len(smarthost.accepted) == 1


def test_a_token_in_the_environment_goes_before_our_own(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    token = kept_token(account)["access"]
    account.run("credentials", "delete", "--yes")
    account.run("test-connection", env={"UCRMMAIL_SMTP_PASSWORD": token})


def test_a_program_that_prints_the_token_needs_none_of_this(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    token = kept_token(account)["access"]
    account.run("config", "unset", "oauth.client_id")
    account.run("config", "set", "credentials.command", f"/bin/echo {token}")
    account.run("config", "set", "credentials.source", "command")
    account.run("test-connection")
    assert oauth.refreshes == 0


@pytest.fixture
def session(tmp_path: Path) -> Iterator[SecretService]:
    with secret_service(tmp_path / "session") as service:
        yield service


def test_the_keyring_keeps_the_token_and_a_locked_one_defers(
    program: Program, oauth: OAuthServer, smarthost: SmtpServer, session: SecretService
) -> None:
    # Longer than a password may be.
    oauth.more = {"access_token": "x" * 10_000}
    configure(program, oauth, smarthost.port, credentials="")
    program.env.update(session.env)
    run = program.run("login")
    assert "kept in the keyring" in run.stdout
    assert "warning: cron would not find it" in run.stderr
    assert not (program.home / "secrets.toml").exists()
    enqueue(program)
    session.lock()
    run = program.run("flush", code=75)
    assert "the keyring is locked" in run.stderr
    assert "ucrmmail login --store file" in run.stderr
    assert only_message(program)["attempts"] == 0


def test_a_login_without_a_keyring_asks_for_a_place(program: Program, oauth: OAuthServer) -> None:
    configure(program, oauth, 25, credentials="")
    run = program.run("login", code=78)
    assert "`ucrmmail login --store file`" in run.stderr
    assert oauth.requests == [], "nobody is sent to a browser for nothing"


def test_a_client_secret_that_is_set_says_what_comes_next(program: Program, oauth: OAuthServer) -> None:
    configure(program, oauth, 25)
    run = program.run("config", "set", "oauth.client_secret", "--stdin", stdin=CLIENT_SECRET)
    assert run.stderr == "next: `ucrmmail login`\n"


def everything_below(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file() and path.name != "secrets.toml")


@pytest.mark.requirement("R28", "S8")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_tokens_are_in_no_argument_environment_output_or_file(
    program: Program, oauth: OAuthServer, smarthost: SmtpServer, tmp_path: Path
) -> None:
    oauth.secret = CLIENT_SECRET
    configure(program, oauth, smarthost.port)
    trace = tmp_path / "trace"
    said = b""
    for arguments, stdin, code in [
        (("config", "set", "oauth.client_secret", "--stdin"), CLIENT_SECRET, 0),
        (("login", "--flow", "device-code"), "", 0),
        (("login", "--json"), "", 0),
        (("credentials", "status", "--json"), "", 0),
        (("enqueue", "--to", "joe@example.com", "-"), "Subject: x\n\nx\n", 0),
        (("flush", "-v", "--json"), "", 0),
        (("test-connection", "--transcript"), "", 0),
        (("test-send", "joe@example.com", "--transcript", "--json"), "", 0),
        (("config", "list"), "", 0),
        (("test-connection", "--transcript"), "revoked", 77),
    ]:
        if stdin == "revoked":
            oauth.end_sessions()
        argv = ["strace", "-f", "-v", "-s", "100000", "-e", "trace=execve", "-A", "-o", str(trace)]
        done = subprocess.run(
            [*argv, *program.command(*arguments)],
            input=stdin.encode(),
            env={**program.env, "UCRMMAIL_DEBUG": "1"},
            cwd=program.home,
            capture_output=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        said += done.stdout + done.stderr
    assert trace.read_text().count("execve(") >= 10
    assert b"WDJB-MJHT" in said
    for place in (said, everything_below(program.home), trace.read_bytes()):
        assert CANARY.encode() not in place
