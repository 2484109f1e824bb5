"""Where the secret comes from, for a user at the command line: files, programs, the environment, and cron's."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import subprocess
import termios
import time
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.sink import Sink, SinkController
from tests.support.smtp_server import SmtpServer

CANARY = "canary-Gr\u00fc\u00dfe-7719"


@pytest.fixture
def account(program: Program) -> Program:
    program.configure(25, smtp='username = "user"')
    return program


def keep_in_file(account: Program) -> Path:
    account.run("config", "set", "smtp.password", "--stdin", "--store", "file", stdin=CANARY)
    return account.home / "secrets.toml"


def with_command(account: Program, *argv: str) -> None:
    account.configure(25, smtp='username = "user"')
    account.run("config", "set", "credentials.command", shlex.join(argv))
    account.run("config", "set", "credentials.source", "command")


@pytest.mark.parametrize("env", [{}, {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"}])
def test_without_a_keyring_the_commands_that_work_are_told(account: Program, env: dict[str, str]) -> None:
    before = account.config.read_text()
    run = account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=env, code=78)
    assert "--store file" in run.stderr
    assert "--store command" in run.stderr
    assert CANARY not in run.stderr
    assert account.config.read_text() == before


def test_a_file_keeps_the_secret_for_its_owner_alone(account: Program) -> None:
    path = keep_in_file(account)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert 'source = "file"' in account.config.read_text()
    assert CANARY not in account.config.read_text()


def test_the_document_tells_source_and_whether_it_is_found_here_and_as_cron(account: Program) -> None:
    keep_in_file(account)
    look = {
        "source": "file",
        "found": True,
        "account": "user",
        "token": None,
        "error": None,
        "why": None,
        "remedy": None,
    }
    assert account.run("credentials", "status", "--json").json == {"schema_version": 1, **look, "as_cron": look}
    assert account.run("credentials", "status", "--here", "--json").json == {"schema_version": 1, **look}
    assert account.run("credentials", "status", "--as-cron", "--json").json == {"schema_version": 1, **look}


def test_a_person_is_told_both_looks_and_what_to_write_into_the_crontab(account: Program) -> None:
    keep_in_file(account)
    run = account.run("credentials", "status")
    assert run.lines == ["here and as cron: file has the secret of user"]
    assert f"ucrmmail --config {account.config} flush" in run.stderr


def test_without_any_secret_the_way_to_set_it_is_told(account: Program) -> None:
    run = account.run("credentials", "status", "--json", code=78)
    assert (run.json["source"], run.json["found"]) == ("keyring", False)
    assert "config set smtp.password" in run.json["remedy"]


@pytest.mark.parametrize("how", ["group", "link", "fifo"])
def test_a_file_that_cannot_be_trusted_is_refused(account: Program, tmp_path: Path, how: str) -> None:
    path = keep_in_file(account)
    if how == "group":
        path.chmod(0o640)
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere") if how == "link" else os.mkfifo(path)
    run = account.run("credentials", "status", code=77)
    assert {"group": "chmod 600", "link": "symbolic link", "fifo": "not a regular file"}[how] in run.stderr
    assert CANARY not in run.stderr


def test_the_recorded_source_is_used_again(account: Program) -> None:
    keep_in_file(account)
    run = account.run("config", "set", "smtp.password", "--stdin", stdin="second")
    assert "secrets.toml now has the secret of user" in run.stdout


def test_a_secret_that_was_set_before_the_user_name_is_found(program: Program) -> None:
    program.configure(25)
    run = program.run("config", "set", "smtp.password", "--stdin", "--store", "file", stdin=CANARY)
    program.run("config", "set", "smtp.username", "user")
    found = program.run("credentials", "status", "--json").json
    assert (found["account"], found["found"]) == ("user", True)
    program.run("credentials", "delete", "--yes")
    program.run("credentials", "status", code=78)
    assert CANARY not in run.stdout + run.stderr


def test_a_deleted_secret_is_gone_and_its_source_stays_configured(account: Program) -> None:
    path = keep_in_file(account)
    assert account.run("credentials", "delete", "--yes", "--json").json["deleted"] is True
    assert CANARY not in path.read_text()
    assert account.run("credentials", "status", "--json", code=78).json["source"] == "file"
    assert account.run("credentials", "delete", "--yes", "--json").json["deleted"] is False


def test_nothing_is_deleted_where_nobody_can_be_asked(account: Program) -> None:
    keep_in_file(account)
    assert "--yes" in account.run("credentials", "delete", code=2).stderr
    account.run("credentials", "status")


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["printf", "canary-7719"], 0, "command has the secret"),
        (["sh", "-c", r"printf 'locked \033[31m\n' >&2; exit 3"], 75, r"locked \x1b[31m"),
        (["true"], 78, "printed nothing"),
        (["/nonexistent/program"], 78, "cannot be started"),
    ],
)
def test_a_command_answers_or_says_why_not(account: Program, argv: list[str], code: int, says: str) -> None:
    with_command(account, *argv)
    run = account.run("credentials", "status", code=code)
    assert says in run.stdout + run.stderr
    assert "\x1b" not in run.stderr
    assert "canary-7719" not in run.stdout + run.stderr


def test_a_command_that_needs_a_session_is_seen_to_fail_under_cron(account: Program) -> None:
    with_command(account, "sh", "-c", 'printf "$SESSION_WORD"')
    run = account.run("credentials", "status", "--json", env={"SESSION_WORD": "canary-7719"})
    assert (run.json["found"], run.json["as_cron"]["found"]) == (True, False)
    run = account.run(
        "config", "set", "smtp.password", "--stdin", stdin="canary-7719", env={"SESSION_WORD": "canary-7719"}
    )
    assert "warning: cron would not find it" in run.stderr
    assert "nothing was stored" in run.stdout


def test_the_store_command_needs_a_program(account: Program) -> None:
    run = account.run("config", "set", "smtp.password", "--store", "command", code=78)
    assert "config set credentials.command" in run.stderr
    account.run("config", "set", "credentials.command", "printf", "word")
    account.run("config", "set", "smtp.password", "--store", "command")
    assert account.run("credentials", "status", "--json").json["source"] == "command"
    assert account.run("credentials", "delete", "--yes", code=2).stderr


def test_cron_sees_its_own_environment_and_no_other(account: Program) -> None:
    seen = account.home / "seen"
    with_command(account, "sh", "-c", f"env > {seen}; pwd >> {seen}; echo word")
    account.run("credentials", "status", "--as-cron", env={"XDG_RUNTIME_DIR": "/run/user/0", "LANG": "de_DE.UTF-8"})
    lines = seen.read_text().splitlines()
    # The shell adds the first four, Python's own start (PEP 538) the last, as they would under cron.
    names = {line.partition("=")[0] for line in lines[:-1]} - {"PWD", "OLDPWD", "_", "SHLVL", "LC_CTYPE"}
    assert names == {"HOME", "LOGNAME", "SHELL", "PATH"}
    assert "PATH=/usr/bin:/bin" in lines
    assert f"HOME={lines[-1]}" in lines


def test_the_environment_goes_before_the_configured_source(account: Program, tmp_path: Path) -> None:
    keep_in_file(account)
    env = {"UCRMMAIL_SMTP_PASSWORD": "other"}
    found = account.run("credentials", "status", "--json", env=env).json
    assert (found["source"], found["as_cron"]["source"]) == ("environment", "file")
    (tmp_path / "ucrmmail.smtp.password").write_text("third\n")
    env["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    assert account.run("credentials", "status", "--json", env=env).json["source"] == "systemd"
    run = account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=env)
    assert "goes before it here" in run.stderr


def test_a_wrong_configuration_is_told_under_cron_too(account: Program) -> None:
    account.config.write_text("[smtp]\nport = 99999999\n")
    run = account.run("credentials", "status", "--as-cron", "--json", code=78)
    assert run.json["found"] is False
    assert str(account.config) in run.json["error"]


@pytest.mark.requirement("S8")
def test_a_secret_as_an_argument_is_refused(account: Program) -> None:
    run = account.run("config", "set", "smtp.password", CANARY, code=2)
    assert CANARY not in run.stdout + run.stderr


def test_a_secret_with_an_older_copy_elsewhere_says_so(account: Program) -> None:
    keep_in_file(account)
    account.run("config", "set", "credentials.command", "printf", "word")
    run = account.run("config", "set", "smtp.password", "--store", "command")
    assert "credentials delete --store file" in run.stderr
    account.run("credentials", "delete", "--store", "file", "--yes")
    assert CANARY not in (account.home / "secrets.toml").read_text()


def on_terminal(account: Program, *arguments: str, answers: dict[str, str]) -> tuple[int, str]:
    """Run a command on a terminal, answer what it asks, and return its exit code and all that the screen shows."""
    screen, slave = pty.openpty()
    process = subprocess.Popen(
        account.command(*arguments),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**account.env, "TERM": "dumb"},
        cwd=account.home,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 # one call, and no other way
    )
    os.close(slave)
    shown, waiting = b"", dict(answers)
    ends_at = time.monotonic() + 30
    while time.monotonic() < ends_at:
        if not wait([screen], 0.1):
            continue
        try:
            shown += os.read(screen, 65536)
        except OSError:
            break
        for question in [question for question in waiting if question.encode() in shown]:
            time.sleep(0.1)
            os.write(screen, waiting.pop(question).encode() + b"\n")
    os.close(screen)
    return process.wait(10), shown.decode()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 78)])
def test_at_a_terminal_without_a_keyring_a_file_is_offered(account: Program, answer: str, code: int) -> None:
    ended, shown = on_terminal(
        account,
        *("config", "set", "smtp.password"),
        answers={"smtp.password:": CANARY, "readable by you alone? [y/N]:": answer},
    )
    assert ended == code, shown
    assert CANARY not in shown
    assert "no usable keyring is here" in shown
    assert (account.home / "secrets.toml").exists() is (answer == "y")
    if code:
        assert "--store command" in shown


def test_at_a_terminal_deleting_asks_first(account: Program) -> None:
    keep_in_file(account)
    ended, _ = on_terminal(account, "credentials", "delete", answers={"from the file? [y/N]:": "n"})
    assert ended == 130
    account.run("credentials", "status")
    ended, _ = on_terminal(account, "credentials", "delete", answers={"from the file? [y/N]:": "y"})
    assert ended == 0
    account.run("credentials", "status", code=78)


@pytest.mark.requirement("S18")
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_without_its_secret_a_queue_stays_and_no_login_is_tried(account: Program) -> None:
    with SinkController(Sink(logins={"user": "right"}), auth_require_tls=False) as controller:
        account.configure(controller.sink.port, smtp='username = "user"')
        account.sendmail("joe@example.com")
        run = account.run("flush", code=78)
        assert "config set smtp.password" in run.stderr
        assert (len(account.queue()), controller.sink.login_attempts) == (1, 0)
        account.run("config", "set", "smtp.password", "--stdin", "--store", "file", stdin="right")
        account.run("flush")
        assert len(controller.sink.messages) == 1


@pytest.mark.requirement("S18", "R9")
@pytest.mark.parametrize(
    ("keys", "code"), [('source = "file"', 78), ('source = "command"\ncommand = ["/bin/false"]', 75)]
)
def test_a_secret_that_stays_away_costs_the_smarthost_one_connection(account: Program, keys: str, code: int) -> None:
    with SmtpServer(logins={"user": "right"}) as server:
        account.configure(server.port, smtp='username = "user"', credentials=keys)
        account.sendmail("joe@example.com")
        for _ in range(4):
            assert account.run("flush", "--json", code=code).json["next_at"] is None
        assert len(server.connections) == 1
        account.run("flush", env={"UCRMMAIL_SMTP_PASSWORD": "right"})
        assert (len(server.connections), len(server.accepted)) == (2, 1), "once it is there, nothing waits"


@pytest.mark.requirement("R9", "S19")
def test_a_secret_that_cannot_be_looked_at_for_a_while_does_not_end_the_pause_of_a_refused_login(
    account: Program,
) -> None:
    program = account.home / "print-secret"

    def prints(line: str) -> None:
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o700)

    with SmtpServer(logins={"user": "right"}) as server:
        account.configure(
            server.port, smtp='username = "user"', credentials=f'source = "command"\ncommand = ["{program}"]'
        )
        account.sendmail("joe@example.com")
        prints("echo wrong")
        account.run("flush", code=77)
        for line in ("exit 1", "echo wrong", "exit 1", "echo wrong"):
            prints(line)
            assert "refused the login" in account.run("flush", "--json", code=75).json["error"]["what"]
        assert len(server.connections) == 1
        prints("echo right")
        account.run("flush")
        assert len(server.accepted) == 1


def test_once_it_is_there_again_the_secret_is_fetched_for_a_login_alone(account: Program) -> None:
    asked = account.home / "asked"
    program = account.home / "print-secret"
    program.write_text(f"#!/bin/sh\necho x >> {asked}\ntest -e {account.home}/there && echo right\n")
    program.chmod(0o700)
    with SmtpServer(logins={"user": "right"}) as server:
        account.configure(
            server.port, smtp='username = "user"', credentials=f'source = "command"\ncommand = ["{program}"]'
        )
        account.run("flush")
        assert not asked.exists(), "no message, no secret"
        account.sendmail("joe@example.com")
        account.run("flush", code=75)
        (account.home / "there").touch()
        account.run("flush")
        account.run("flush")
        assert (len(server.accepted), asked.read_text()) == (1, "x\n" * 2)
        server.faults["greeting"] = "421 4.3.2 not now"
        account.sendmail("joe@example.com")
        account.run("flush", code=None)
        assert asked.read_text() == "x\n" * 2, "of one that it has found a run asks behind the connection"


@pytest.mark.parametrize("connections", [1, 2])
def test_a_smarthost_that_wants_no_login_is_asked_without_a_secret(account: Program, connections: int) -> None:
    with SmtpServer(logins={"user": "right"}) as strict, SmtpServer() as relay:
        account.configure(strict.port, smtp='username = "user"')
        account.sendmail("joe@example.com")
        account.run("flush", code=78)
        account.configure(relay.port, smtp=f'username = "user"\nauthentication = "none"\nconnections = {connections}')
        account.run("flush")
        assert len(relay.accepted) == 1


def test_what_the_settings_lack_is_told_before_a_secret(account: Program) -> None:
    with SmtpServer(logins={"user": "right"}) as server:
        account.configure(server.port, smtp='username = "user"')
        account.sendmail("joe@example.com")
        account.run("flush", code=78)
    account.run("config", "unset", "smtp.host")
    for _ in range(2):
        report = account.run("flush", "--json", code=78).json
        assert report["error"]["what"] == "no smarthost is configured"


@pytest.mark.requirement("R9", "S19")
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_run_that_has_no_secret_does_not_have_the_next_one_try_the_password_that_was_refused(
    account: Program,
) -> None:
    """As in a shell that lacks what cron has: after each of its runs, cron's logged in once more."""
    wrong, right = ({"UCRMMAIL_SMTP_PASSWORD": password} for password in ("wrong", "right"))
    with SinkController(Sink(logins={"user": "right"}), auth_require_tls=False) as controller:
        account.configure(controller.sink.port, smtp='username = "user"')
        account.sendmail("-t")
        account.run("flush", env=wrong, code=77)
        for env in ({}, wrong, {}, wrong):
            assert account.run("flush", env=env, code=75).stderr == ""
        assert controller.sink.login_attempts == 1
        account.run("flush", env=right)
        assert len(controller.sink.messages) == 1
