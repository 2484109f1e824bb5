"""``ucrmmail login`` in each flow, against an authorization server and a smarthost that takes its tokens only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.oauth_server import CLIENT_ID, DEVICE_GRANT, OAuthServer
from tests.support.program import Program
from tests.support.smtp_server import SmtpServer

USER = "billing@isp.example"


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
    configure(program, smarthost, oauth)
    return program


def configure(program: Program, smarthost: SmtpServer, oauth: OAuthServer, *, more: str = "") -> None:
    endpoints = "".join(
        f'{name} = "{getattr(oauth, name)}"\n'
        for name in ("token_endpoint", "device_endpoint", "authorization_endpoint")
        if name not in more
    )
    program.configure(
        smarthost.port,
        smtp=f'username = "{USER}"\nauthentication = "xoauth2"',
        oauth=f'client_id = "{CLIENT_ID}"\n{endpoints}{more}',
        credentials='source = "file"',
    )


def enqueue(program: Program) -> None:
    program.run("enqueue", "--to", "joe@example.com", "-", stdin="Subject: x\n\nx\n")


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
