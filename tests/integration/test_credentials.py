"""Where the secret comes from, with a real Secret Service, under cron's environment, and when the source is bad."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.secret_service import SecretService, secret_service
from ucrmmail.credentials import keyring
from ucrmmail.credentials.secret import Secret, SecretMissingError, SecretUnavailableError

CANARY = "canary-Gr\u00fc\u00dfe-7719"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[SecretService]:
    with secret_service(tmp_path / "session") as service:
        yield service


@pytest.fixture
def account(program: Program) -> Program:
    program.configure(25, smtp='username = "user"')
    return program


def everything_below(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_the_keyring_keeps_and_gives_back_a_secret(account: Program, session: SecretService) -> None:
    run = account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=session.env)
    assert "keyring" in run.stdout
    found = account.run("credentials", "status", "--json", env=session.env).json
    assert (found["source"], found["found"]) == ("keyring", True)
    assert CANARY not in run.stdout + run.stderr
    assert CANARY.encode() not in everything_below(account.home)
    assert keyring.read("user", session.env) == CANARY


def test_the_bus_is_found_where_cron_leaves_its_address_out(account: Program, session: SecretService) -> None:
    account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=session.env)
    runtime = {"XDG_RUNTIME_DIR": session.env["XDG_RUNTIME_DIR"]}
    assert account.run("credentials", "status", "--json", env=runtime).json["found"] is True


def test_as_cron_tells_that_cron_would_find_no_keyring(account: Program, session: SecretService) -> None:
    account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=session.env)
    run = account.run("credentials", "status", "--as-cron", "--json", env=session.env, code=78)
    assert run.json["found"] is False


def test_a_deleted_secret_is_gone(account: Program, session: SecretService) -> None:
    account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=session.env)
    account.run("credentials", "delete", "--yes", env=session.env)
    assert account.run("credentials", "status", "--json", env=session.env, code=78).json["found"] is False
    with pytest.raises(SecretMissingError):
        keyring.read("user", session.env)


def test_a_frozen_keyring_is_given_up_at_the_deadline(session: SecretService) -> None:
    keyring.write("user", CANARY, session.env)
    session.freeze()
    started = time.monotonic()
    with pytest.raises(SecretUnavailableError, match="did not answer"):
        keyring.read("user", session.env, deadline_s=2.0)
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("env", [{}, {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"}])
def test_without_a_keyring_the_user_is_offered_a_file(account: Program, env: dict[str, str]) -> None:
    run = account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=env, code=78)
    assert "--store file" in run.stderr
    assert CANARY not in run.stderr


def test_a_file_keeps_the_secret_for_its_owner_alone(account: Program) -> None:
    account.run("config", "set", "smtp.password", "--stdin", "--store", "file", stdin=CANARY)
    path = account.home / "secrets.toml"
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert CANARY not in account.config.read_text()
    assert account.run("credentials", "status", "--as-cron", "--json").json == {
        "schema_version": 1,
        "source": "file",
        "found": True,
        "account": "user",
        "error": None,
        "remedy": None,
    }


def test_a_file_that_others_can_read_is_refused(account: Program) -> None:
    account.run("config", "set", "smtp.password", "--stdin", "--store", "file", stdin=CANARY)
    (account.home / "secrets.toml").chmod(0o644)
    run = account.run("credentials", "status", code=77)
    assert "chmod 600" in run.stderr
    assert CANARY not in run.stderr


def test_a_linked_secret_file_is_not_followed(account: Program, tmp_path: Path) -> None:
    account.run("config", "set", "smtp.password", "--stdin", "--store", "file", stdin=CANARY)
    path = account.home / "secrets.toml"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in account.run("credentials", "status", code=77).stderr


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ('["printf", "canary-7719"]', 0, "command"),
        ('["sh", "-c", "echo broken \\\\033[31m >&2; exit 3"]', 75, "exit 3"),
        ('["true"]', 78, "printed nothing"),
        ('["/nonexistent/program"]', 78, "cannot be started"),
    ],
)
def test_a_command_answers_or_says_why_not(account: Program, command: str, code: int, says: str) -> None:
    account.configure(25, smtp='username = "user"', credentials=f'source = "command"\ncommand = {command}')
    run = account.run("credentials", "status", code=code)
    assert says in run.stdout + run.stderr
    assert "\x1b" not in run.stderr
    assert "canary-7719" not in run.stdout


def test_the_environment_goes_before_the_configured_source(account: Program, tmp_path: Path) -> None:
    account.run("config", "set", "smtp.password", "--stdin", "--store", "file", stdin=CANARY)
    env = {"UCRMMAIL_SMTP_PASSWORD": "other"}
    assert account.run("credentials", "status", "--json", env=env).json["source"] == "environment"
    (tmp_path / "ucrmmail.smtp.password").write_text("third\n")
    env["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    assert account.run("credentials", "status", "--json", env=env).json["source"] == "systemd"


def test_a_secret_as_an_argument_is_refused(account: Program) -> None:
    run = account.run("config", "set", "smtp.password", CANARY, code=2)
    assert CANARY not in run.stdout + run.stderr


def test_a_secret_does_not_show_itself() -> None:
    assert CANARY not in repr(Secret("file", CANARY))
    assert CANARY not in str(Secret("file", CANARY))


def test_nothing_is_imported_from_the_current_directory(account: Program, session: SecretService) -> None:
    account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=session.env)
    for module in ("json", "keyring", "ucrmmail"):
        (account.home / f"{module}.py").write_text("open('intruder', 'w').close()\n")
    account.run("credentials", "status", env=session.env)
    account.run("credentials", "status", "--as-cron", env=session.env, code=78)
    assert not (account.home / "intruder").exists()
