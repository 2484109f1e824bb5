"""``ucrmmail login`` in each flow, against an authorization server and a smarthost that takes its tokens only."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.certificates import TestAuthority
from tests.support.imap_server import imap_server
from tests.support.oauth_server import CLIENT_SECRET, DEVICE_GRANT, JWT_GRANT, OAuthServer
from tests.support.program import Program
from tests.support.signing import USER, address_asked, configure, enqueue, kept_token
from tests.support.smtp_server import SmtpServer


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
    configure(program, oauth, smarthost.port)
    return program


def with_secret(program: Program, oauth: OAuthServer, secret: str = CLIENT_SECRET) -> None:
    oauth.secret = CLIENT_SECRET
    program.run("config", "set", "oauth.client_secret", "--stdin", "--store", "file", stdin=secret)


def test_device_code_signs_in_and_mail_goes_out(account: Program, oauth: OAuthServer, smarthost: SmtpServer) -> None:
    oauth.device_answers = ["authorization_pending"]
    run = account.run("login")
    assert f"Open {oauth.base}/enter" in run.stderr
    assert "WDJB-MJHT" in run.stderr
    assert f"{USER} is signed in (device-code)" in run.stdout
    assert "secrets.toml" in run.stdout
    assert oauth.grants(DEVICE_GRANT) == 2
    enqueue(account)
    assert account.run("flush", "--json").json["relayed"] == 1
    assert smarthost.connections[0].login == USER
    assert oauth.refreshes == 0


@pytest.mark.parametrize("authentication", ["xoauth2", "oauthbearer"])
def test_test_connection_logs_in_with_the_token(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer, authentication: str
) -> None:
    configure(account, oauth, smarthost.port, authentication=authentication)
    account.run("login")
    run = account.run("test-connection", "--transcript")
    assert "access token kept from before, good until 20" in run.stdout
    assert f"AUTH {authentication.upper()} [redacted]" in run.stdout


def test_the_mailbox_of_the_account_is_opened_with_its_token(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer, tmp_path: Path
) -> None:
    authority = TestAuthority(tmp_path / "ca")
    header = (
        b"Authentication-Results: localhost; spf=pass smtp.mailfrom=isp.example; dmarc=pass header.from=isp.example\r\n"
    )
    script = {
        b"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2\r\nTAG OK done\r\n",
        b"AUTHENTICATE": b"+ \r\n",
        b"UID SEARCH": b"* SEARCH 7\r\nTAG OK done\r\n",
        b"UID FETCH": b"* 1 FETCH (UID 7 BODY[HEADER]<0> {%d}\r\n%b)\r\nTAG OK done\r\n" % (len(header), header),
    }
    account.config.write_text(account.config.read_text() + f'[imap]\nca_file = "{authority.ca_file}"\n')
    account.run("login")
    with imap_server(authority.server_context("localhost"), script) as server:
        place = f"localhost:{server.port}"
        run = account.run("test-send", "--verify-imap", place, "--wait", "10s", USER, code=None)
        # Of another mailbox the token is none.
        other = account.run("test-send", "--verify-imap", place, "joe@example.com", code=78)
    assert "in INBOX of localhost" in run.stdout
    token = kept_token(account)["access"]
    assert base64.b64encode(f"user={USER}\1auth=Bearer {token}\1\1".encode()) in server.commands
    assert "imap.password" in other.stderr


@pytest.mark.parametrize(
    ("code", "description", "said", "exit_code"),
    [
        ("access_denied", "", "answered with no", 77),
        ("authorization_declined", "", "answered with no", 77),
        ("expired_token", "", "nobody entered the code in time", 77),
        ("invalid_grant", "AADSTS53003: Access has been blocked", "--flow client-credentials", 77),
        ("unauthorized_client", "AADSTS700016: Application not found", "check oauth.client_id and oauth.tenant", 78),
        ("invalid_client", "AADSTS7000218: The body must contain client_secret", "Allow public client flows", 77),
    ],
)
def test_a_device_code_that_is_not_accepted_is_told_with_the_cause(
    account: Program, oauth: OAuthServer, code: str, description: str, said: str, exit_code: int
) -> None:
    oauth.refuse_tokens(code, description)
    run = account.run("login", code=exit_code)
    assert f"grants no token: {code}" in run.stderr
    assert said in run.stderr
    assert run.stdout == ""
    assert not (account.home / "secrets.toml").exists()


def test_a_refusal_of_microsofts_is_shown_without_its_trace(account: Program, oauth: OAuthServer) -> None:
    oauth.refuse("invalid_grant", "AADSTS50034: no such user.\r\nTrace ID: 1f5e\r\nTimestamp: 2026")
    run = account.run("login", code=77)
    assert "AADSTS50034: no such user." in run.stderr
    assert "Trace" not in run.stderr


def test_a_browser_on_this_machine_comes_back_to_the_loopback_port(account: Program, oauth: OAuthServer) -> None:
    with account.start("login", "--flow", "authorization-code") as process:
        url = address_asked(process)
        back = oauth.visit(url)
        assert back.startswith("http://127.0.0.1:")
        # Somebody else's page cannot answer in the browser's place.
        port = urlsplit(back).port
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/?code=theirs&state=guessed", timeout=10)
        with urllib.request.urlopen(back, timeout=10) as answer:
            page = answer.read()
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert b"You can close this window" in page
    assert b"(authorization-code)" in stdout
    assert 'flow = "authorization-code"' in account.config.read_text()
    assert kept_token(account)["refresh"].startswith("canary-refresh-")
    assert oauth.requests[-1]["code_verifier"]


def pasted(program: Program, answer: str | None, oauth: OAuthServer) -> tuple[int, str]:
    """Sign in with --no-browser and paste this, or the address that the browser ends at."""
    process = subprocess.Popen(
        program.command("login", "--flow", "authorization-code", "--no-browser"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program.env,
    )
    with process:
        back = oauth.visit(address_asked(process))
        _, stderr = process.communicate(f"{back if answer is None else answer}\n".encode(), timeout=30)
    return process.returncode, stderr.decode()


def test_the_address_can_be_pasted_from_another_machine(account: Program, oauth: OAuthServer) -> None:
    code, stderr = pasted(account, None, oauth)
    assert code == 0, stderr
    assert kept_token(account)["access"].startswith("canary-access-")


def test_the_address_can_be_pasted_into_the_terminal_while_the_port_is_open(
    account: Program, oauth: OAuthServer
) -> None:
    terminal, its_end = os.openpty()
    process = subprocess.Popen(
        account.command("login", "--flow", "authorization-code"),
        stdin=its_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=account.env,
    )
    os.close(its_end)
    with process:
        back = oauth.visit(address_asked(process))
        os.write(terminal, f"{back}\n".encode())
        _, stderr = process.communicate(timeout=30)
    os.close(terminal)
    assert process.returncode == 0, stderr
    assert kept_token(account)["refresh"]


@pytest.mark.parametrize(
    "answer",
    [
        "http://127.0.0.1:1/?code=theirs&state=theirs", "http://127.0.0.1:1/?code=theirs", "nothing of the kind", "",
        "http://[127.0.0.1:1/?code=theirs",
    ],
)  # fmt: skip
def test_another_address_is_not_taken(account: Program, oauth: OAuthServer, answer: str) -> None:
    code, stderr = pasted(account, answer, oauth)
    assert code == 2
    assert "remedy:" in stderr
    assert "Traceback" not in stderr
    assert oauth.grants("authorization_code") == 0


def test_google_is_asked_for_a_lasting_sign_in(program: Program) -> None:
    program.configure(25, smtp=f'username = "{USER}"', oauth='client_id = "id"', credentials='source = "file"')
    program.config.write_text(program.config.read_text().replace('transport = "smtp"', 'transport = "gmail"'))
    with program.start("login") as process:
        url = address_asked(process)
        process.terminate()
    assert url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked["scope"] == "https://mail.google.com/"
    assert (asked["access_type"], asked["prompt"], asked["login_hint"]) == ("offline", "consent", USER)
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)


def test_the_seven_days_of_a_client_in_testing_are_told(account: Program, oauth: OAuthServer) -> None:
    oauth.more = {"refresh_token_expires_in": 604799}
    run = account.run("login")
    assert "publishing status is Testing" in run.stderr
    assert "publish it" in run.stderr
    assert "ends for good at 20" in account.run("credentials", "status").stdout


def test_a_sign_in_that_cannot_be_renewed_is_not_taken(account: Program, oauth: OAuthServer) -> None:
    oauth.grants_refresh = False
    run = account.run("login", code=77)
    assert "offline_access" in run.stderr


def test_an_application_signs_in_without_a_person(account: Program, oauth: OAuthServer, smarthost: SmtpServer) -> None:
    with_secret(account, oauth)
    account.run("login", "--flow", "client-credentials", "--json")
    enqueue(account)
    account.run("flush")
    assert len(smarthost.accepted) == 1
    assert oauth.grants("client_credentials") == 1
    assert oauth.requests[0]["client_secret"] == CLIENT_SECRET


def test_an_application_needs_no_sign_in_at_all(account: Program, oauth: OAuthServer, smarthost: SmtpServer) -> None:
    with_secret(account, oauth)
    configure(account, oauth, smarthost.port, oauth_keys='flow = "client-credentials"')
    enqueue(account)
    account.run("flush")
    assert len(smarthost.accepted) == 1


def test_a_wrong_client_secret_is_told_and_mended(account: Program, oauth: OAuthServer) -> None:
    with_secret(account, oauth, "the secret's id")
    run = account.run("login", "--flow", "client-credentials", code=77)
    assert "copy the Value, not the Secret ID" in run.stderr
    with_secret(account, oauth)
    account.run("login", "--flow", "client-credentials")


@pytest.mark.parametrize(
    ("transport", "keys", "flow", "missing"),
    [
        ("smtp", "", "client-credentials", "oauth.client_secret"),
        ("microsoft365", 'client_id = "id"', "client-credentials", "oauth.client_secret"),
        ("smtp", 'client_id = "id"', "device-code", "oauth.token_endpoint"),
        ("gmail", 'client_id = "id"', "device-code", "oauth.device_endpoint"),
        ("gmail", "", "authorization-code", "oauth.client_id"),
        ("gmail", "", "service-account", "oauth.key_file"),
    ],
)
def test_a_missing_key_is_named_with_the_command_that_sets_it(
    program: Program, transport: str, keys: str, flow: str, missing: str
) -> None:
    program.configure(25, smtp=f'username = "{USER}"', oauth=keys, credentials='source = "file"')
    program.config.write_text(program.config.read_text().replace('transport = "smtp"', f'transport = "{transport}"'))
    run = program.run("login", "--flow", flow, code=78)
    if transport == "smtp" and not keys:
        missing = "oauth.client_id"
    assert f"{missing} is not set" in run.stderr
    assert f"config set {missing}" in run.stderr


def test_without_any_way_to_sign_in_the_endpoints_are_asked_for(program: Program) -> None:
    program.configure(25, smtp=f'username = "{USER}"', oauth='client_id = "id"', credentials='source = "file"')
    run = program.run("login", code=78)
    assert "oauth.token_endpoint" in run.stderr


@pytest.fixture
def key_file(program: Program, oauth: OAuthServer) -> Path:
    path = program.home / "key.json"
    path.write_text(json.dumps(oauth.key_file()))
    path.chmod(0o600)
    return path


def test_a_service_account_acts_for_the_mailbox(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer, key_file: Path
) -> None:
    configure(account, oauth, smarthost.port, oauth_keys=f'key_file = "{key_file}"\nscope = "mail"')
    run = account.run("login")
    assert "(service-account)" in run.stdout
    assert oauth.grants(JWT_GRANT) == 1
    enqueue(account)
    account.run("flush")
    assert len(smarthost.accepted) == 1


def test_a_service_account_without_delegation_is_told(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer, key_file: Path
) -> None:
    configure(account, oauth, smarthost.port, oauth_keys=f'key_file = "{key_file}"')
    account.run("config", "set", "smtp.username", "another@isp.example")
    run = account.run("login", code=78)
    assert "domain-wide delegation" in run.stderr


@pytest.mark.parametrize(
    ("content", "mode", "said", "code"),
    [
        ('{"type": "authorized_user"}', 0o600, "is not the JSON key of a service account", 78),
        ("[]", 0o600, "is not the JSON key of a service account", 78),
        ("canary", 0o600, "is not the JSON key of a service account", 78),
        ("", 0o644, "open to other users", 77),
        ('{"client_email": "a", "private_key": "canary", "token_uri": "http://x"}', 0o600, "cannot be read", 78),
    ],
)
def test_a_key_file_that_is_none_is_told_without_its_content(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer, content: str, mode: int, said: str, code: int
) -> None:
    path = account.home / "key.json"
    path.write_text(content)
    path.chmod(mode)
    configure(account, oauth, smarthost.port, oauth_keys=f'key_file = "{path}"')
    run = account.run("login", code=code)
    assert said in run.stderr
    assert "canary" not in run.stderr


def test_a_key_that_signs_for_somebody_else_is_refused(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer, key_file: Path
) -> None:
    with OAuthServer() as other:
        key_file.write_text(json.dumps({**other.key_file(), "token_uri": oauth.token_endpoint}))
    configure(account, oauth, smarthost.port, oauth_keys=f'key_file = "{key_file}"')
    assert "Invalid JWT Signature" in account.run("login", code=77).stderr


def test_the_login_records_how_it_is_used(account: Program, oauth: OAuthServer, smarthost: SmtpServer) -> None:
    configure(account, oauth, smarthost.port, authentication="auto", credentials="")
    account.run("login", "--store", "file")
    assert account.run("config", "get", "smtp.authentication").stdout == "xoauth2\n"
    assert account.run("config", "get", "credentials.source").stdout == "file\n"


def test_another_store_takes_the_client_secret_along(
    account: Program, oauth: OAuthServer, smarthost: SmtpServer
) -> None:
    oauth.secret = CLIENT_SECRET
    script = account.home / "print-secret"
    script.write_text(f"#!/bin/sh\necho {CLIENT_SECRET}\n")
    script.chmod(0o700)
    configure(account, oauth, smarthost.port, credentials=f'source = "command"\ncommand = ["{script}"]')
    refused = account.run("login", "--flow", "device-code", code=2)
    assert "--store keyring or file" in refused.stderr
    account.run("login", "--flow", "client-credentials", "--store", "file")
    script.unlink()
    account.run("test-connection")


def test_a_program_may_print_the_client_secret(account: Program, oauth: OAuthServer, smarthost: SmtpServer) -> None:
    oauth.secret = CLIENT_SECRET
    configure(
        account,
        oauth,
        smarthost.port,
        oauth_keys='flow = "client-credentials"',
        credentials=f'source = "command"\ncommand = ["/bin/echo", "{CLIENT_SECRET}"]',
    )
    run = account.run("login")
    assert "each run fetches its own" in run.stdout
    enqueue(account)
    account.run("flush")
    assert len(smarthost.accepted) == 1


def test_without_the_extra_the_command_to_install_it_is_told(account: Program) -> None:
    broken = account.home / "broken"
    (broken / "authlib").mkdir(parents=True)
    (broken / "authlib" / "__init__.py").write_text("raise ImportError('not here')\n")
    run = account.run("login", code=78, env={"PYTHONPATH": str(broken)})
    assert "pip install 'ucrmmail[oauth]'" in run.stderr


@pytest.mark.parametrize("arguments", [("--flow", "password"), ("--store", "command")])
def test_an_unknown_word_is_a_usage_error(account: Program, arguments: tuple[str, ...]) -> None:
    assert "allowed: " in account.run("login", *arguments, code=2).stderr


def test_a_server_that_is_not_there_is_temporary(account: Program, oauth: OAuthServer) -> None:
    account.run("config", "set", "oauth.device_endpoint", "http://127.0.0.1:1/device")
    assert "127.0.0.1:1 was not reached" in account.run("login", code=75).stderr


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_fails_is_temporary(account: Program, oauth: OAuthServer, status: int) -> None:
    oauth.fail_with(status)
    account.run("login", code=75)
