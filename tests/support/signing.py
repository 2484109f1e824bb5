"""An account that signs in with OAuth: a program configured for an authorization server and a smarthost on loopback."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from typing import Any

from tests.support.oauth_server import CLIENT_ID, OAuthServer
from tests.support.program import Program
from tests.support.smtp_server import SmtpServer

USER = "billing@isp.example"
_ENDPOINTS = ("token_endpoint", "device_endpoint", "authorization_endpoint")


def configure(
    program: Program,
    oauth: OAuthServer,
    port: int,
    *,
    oauth_keys: str = "",
    authentication: str = "xoauth2",
    credentials: str = 'source = "file"',
) -> None:
    endpoints = "".join(f'{name} = "{getattr(oauth, name)}"\n' for name in _ENDPOINTS)
    program.configure(
        port,
        smtp=f'username = "{USER}"\nauthentication = "{authentication}"',
        oauth=f'client_id = "{CLIENT_ID}"\n{endpoints}{oauth_keys}',
        credentials=credentials,
    )


def enqueue(program: Program) -> None:
    program.run("enqueue", "--to", "joe@example.com", "-", stdin="Subject: x\n\nx\n")


def kept_token(program: Program) -> dict[str, Any]:
    secrets = tomllib.loads((program.home / "secrets.toml").read_text())["secrets"]
    token: dict[str, Any] = json.loads(secrets[f"{USER} oauth.token"])
    return token


def change_token(program: Program, **fields: object) -> None:
    """Change what is kept, as time or another program would."""
    path = program.home / "secrets.toml"
    secrets = tomllib.loads(path.read_text())["secrets"]
    secrets[f"{USER} oauth.token"] = json.dumps(kept_token(program) | fields)
    path.write_text("[secrets]\n" + "".join(f"{json.dumps(k)} = {json.dumps(v)}\n" for k, v in secrets.items()))


def logins(server: SmtpServer) -> int:
    """How often a login was tried."""
    return sum(line.upper().startswith(b"AUTH ") for line in server.commands)


def address_asked(process: subprocess.Popen[bytes]) -> str:
    """Return the address that a login shows to a person."""
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(rb"(https?://\S+code_challenge\S*)", line)
        if found:
            return found[1].decode()
    raise AssertionError("no address was shown")


def pass_time(program: Program, minutes: float) -> None:
    """Let so many minutes go by for what is kept of the account, as if the clock had been moved on."""
    path = program.spool / "account.json"
    state = json.loads(path.read_text())
    for name in ("not_before", "failed_at", "told_at"):
        state[name] = max(0.0, state[name] - 60 * minutes)
    path.write_text(json.dumps(state))
