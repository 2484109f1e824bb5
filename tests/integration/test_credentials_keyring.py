"""The secret in a real Secret Service: working, locked, frozen, absent, wrong, and as cron and other programs see it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.secret_service import SecretService, secret_service
from tests.support.sink import Sink, SinkController
from ucrmmail.credentials import keyring
from ucrmmail.credentials.secret import SecretMissingError, SecretUnavailableError

CANARY = "canary-7719"
USER = ("user",)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[SecretService]:
    with secret_service(tmp_path / "session") as service:
        yield service


@pytest.fixture
def account(program: Program) -> Program:
    program.configure(25, smtp='username = "user"')
    return program


def keep(account: Program, session: SecretService) -> None:
    account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=session.env)


def test_the_keyring_keeps_gives_back_and_forgets_a_secret(session: SecretService) -> None:
    keyring.probe(session.env)
    with pytest.raises(SecretMissingError, match="has no secret for 'user'"):
        keyring.read(USER, session.env)
    for secret in ("word", "Gr\u00fc\u00dfe \u20ac \U0001f511 ' \" \\ $(id)", "x" * 8000):
        keyring.write("user", secret, session.env)
        assert keyring.read(("other", "user"), session.env) == secret
    assert keyring.delete(("other", "user"), session.env) is True
    assert keyring.delete(("other", "user"), session.env) is False


def test_a_usable_keyring_is_chosen_and_recorded(account: Program, session: SecretService) -> None:
    run = account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=session.env)
    assert "the keyring now has the secret of user" in run.stdout
    assert 'source = "keyring"' in account.config.read_text()
    found = account.run("credentials", "status", "--here", "--json", env=session.env).json
    assert (found["source"], found["found"]) == ("keyring", True)
    account.run("credentials", "delete", "--yes", env=session.env)
    assert account.run("credentials", "status", "--here", "--json", env=session.env, code=78).json["found"] is False


def test_other_programs_find_the_same_item(account: Program, session: SecretService) -> None:
    keep(account, session)
    lookup = ["secret-tool", "lookup", "service", "ucrmmail", "username", "user"]
    environ = {"PATH": "/usr/bin:/bin", **session.env}
    assert subprocess.run(lookup, env=environ, capture_output=True, check=True).stdout == CANARY.encode()


def test_a_probe_leaves_nothing_behind(session: SecretService) -> None:
    keyring.probe(session.env)
    search = ["secret-tool", "search", "--all", "service", "ucrmmail.probe"]
    found = subprocess.run(search, env={"PATH": "/usr/bin:/bin", **session.env}, capture_output=True, check=False)
    assert found.stdout == b""


def test_the_bus_is_found_where_cron_leaves_its_address_out(account: Program, session: SecretService) -> None:
    keep(account, session)
    runtime = {"XDG_RUNTIME_DIR": str(session.directory)}
    assert account.run("credentials", "status", "--here", "--json", env=runtime).json["found"] is True
    assert keyring.read(USER, {"PATH": "/usr/bin:/bin", **runtime}) == CANARY


@pytest.mark.skipif(os.geteuid() != 0, reason="the runtime directories are the system's to make")
def test_cron_finds_the_keyring_by_the_users_own_bus(account: Program, session: SecretService) -> None:
    keep(account, session)
    runtime = Path(f"/run/user/{os.geteuid()}")
    if (runtime / "bus").exists():
        pytest.skip("this user has a session bus")
    made = [path for path in (runtime.parent, runtime) if not path.exists()]
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    (runtime / "bus").symlink_to(session.directory / "bus")
    try:
        found = account.run("credentials", "status", "--as-cron", "--json").json
    finally:
        (runtime / "bus").unlink()
        for path in reversed(made):
            path.rmdir()
    assert (found["source"], found["found"]) == ("keyring", True)


@pytest.mark.requirement("S18")
def test_where_cron_finds_no_bus_that_is_told_at_once(account: Program, session: SecretService) -> None:
    run = account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=session.env)
    assert "warning: cron would not find it: no usable keyring" in run.stderr
    assert "--store file" in run.stderr
    run = account.run("credentials", "status", "--json", env=session.env)
    assert (run.json["found"], run.json["as_cron"]["found"]) == (True, False)
    assert account.run("credentials", "status", "--as-cron", "--json", env=session.env, code=78).json["found"] is False


@pytest.mark.requirement("S18")
def test_a_locked_keyring_is_told_and_nobody_is_asked(session: SecretService) -> None:
    keyring.write("user", CANARY, session.env)
    session.lock()
    with watched_bus(session) as watch:
        for ask in (
            lambda: keyring.read(USER, session.env),
            lambda: keyring.write("user", "second", session.env),
            lambda: keyring.probe(session.env),
        ):
            with pytest.raises(SecretUnavailableError, match="is locked"):
                ask()
    assert "member=Get" in watch[0]
    assert "member=Unlock" not in watch[0]
    assert "member=Prompt" not in watch[0]


@contextmanager
def watched_bus(session: SecretService) -> Iterator[list[str]]:
    """Hear every message on the bus; what was said is in the list when the block has ended."""
    said: list[str] = []
    with subprocess.Popen(
        ["dbus-monitor", "--address", session.address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as monitor:
        assert monitor.stdout is not None
        # Its own name is lost when it begins to listen.
        while "NameLost" not in monitor.stdout.readline():
            pass
        try:
            yield said
        finally:
            monitor.terminate()
            said.append(monitor.stdout.read())


def test_a_keyring_that_nobody_unlocked_after_a_start_is_locked(session: SecretService) -> None:
    keyring.write("user", CANARY, session.env)
    session.restart()
    with pytest.raises(SecretUnavailableError, match="is locked"):
        keyring.read(USER, session.env)
    session.restart(b"unlock")
    assert keyring.read(USER, session.env) == CANARY


def test_a_keyring_that_was_never_set_up_is_not_usable(tmp_path: Path) -> None:
    with secret_service(tmp_path / "session", password=b"") as session, pytest.raises(SecretMissingError) as caught:
        keyring.probe(session.env)
    assert "no default collection" in caught.value.why


@pytest.mark.requirement("S18")
def test_a_frozen_keyring_is_given_up_at_the_deadline(session: SecretService) -> None:
    keyring.write("user", CANARY, session.env)
    session.freeze()
    with pytest.raises(SecretUnavailableError, match="did not answer within 1 s"):
        keyring.read(USER, session.env, deadline_s=1.0)


def test_a_question_to_a_frozen_keyring_does_not_outlive_its_asker_for_long(session: SecretService) -> None:
    session.freeze()
    code = f"from ucrmmail.credentials import keyring; keyring.read(('user',), {session.env!r}, 1.9)"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as asker:
        children = Path(f"/proc/{asker.pid}/task/{asker.pid}/children")
        while not children.read_text():
            time.sleep(0.01)
        child = int(children.read_text())
        asker.kill()
    ends_at = time.monotonic() + 8
    while is_alive(child) and time.monotonic() < ends_at:
        time.sleep(0.05)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_keyring_that_fails_while_it_is_asked_may_work_later(session: SecretService) -> None:
    session.freeze()
    hang_up = threading.Timer(1.0, session.hang_up)
    hang_up.start()
    with pytest.raises(SecretUnavailableError, match="the keyring failed"):
        keyring.read(USER, session.env)
    hang_up.join()


def test_a_python_that_does_not_start_is_no_missing_secret(session: SecretService) -> None:
    with pytest.raises(SecretUnavailableError, match="the keyring failed"):
        keyring.read(USER, {**session.env, "PYTHONHOME": "/nonexistent"})


@pytest.mark.requirement("S18")
@pytest.mark.parametrize("address", ["", "unix:path=/nonexistent/bus", "tcp:host=localhost", "nonsense"])
def test_without_a_bus_there_is_no_keyring(tmp_path: Path, address: str) -> None:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": address}
    if not address and os.path.exists(f"/run/user/{os.geteuid()}/bus"):
        pytest.skip("this user has a session bus")
    with pytest.raises(SecretMissingError, match="no usable keyring") as caught:
        keyring.read(USER, environ)
    assert "--store file" in caught.value.remedy
    # keyrings.alt is among the test dependencies: its files only look encrypted.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.requirement("S18")
@pytest.mark.parametrize(
    "backend",
    ["keyrings.alt.file.PlaintextKeyring", "keyring.backends.null.Keyring", "keyring.backends.fail.Keyring", "no.Such"],
)
def test_a_keyring_that_keeps_no_secrets_is_refused(session: SecretService, tmp_path: Path, backend: str) -> None:
    environ = {**session.env, "HOME": str(tmp_path / "home"), "PYTHON_KEYRING_BACKEND": backend}
    with pytest.raises(SecretMissingError, match="no usable keyring") as caught:
        keyring.write("user", CANARY, environ)
    assert "keyring" in caught.value.why
    assert not (tmp_path / "home").exists()


def test_the_users_choice_in_keyringrc_is_respected(session: SecretService, tmp_path: Path) -> None:
    rc = tmp_path / "python_keyring" / "keyringrc.cfg"
    rc.parent.mkdir()
    environ = {**session.env, "XDG_CONFIG_HOME": str(tmp_path)}
    rc.write_text("[backend]\ndefault-keyring=keyrings.alt.file.PlaintextKeyring\n")
    with pytest.raises(SecretMissingError):
        keyring.probe(environ)
    for usable in ("keyring.backends.SecretService.Keyring", "keyring.backends.chainer.ChainerBackend"):
        rc.write_text(f"[backend]\ndefault-keyring={usable}\n")
        keyring.probe(environ)


def test_modules_in_the_current_directory_are_not_run(account: Program, session: SecretService) -> None:
    keep(account, session)
    for name in ("json", "keyring", "secretstorage", "ucrmmail", "signal"):
        (account.home / f"{name}.py").write_text(f"open({str(account.home / 'hijacked')!r}, 'w')\n")
    account.run("credentials", "status", env=session.env)
    assert not (account.home / "hijacked").exists()


@pytest.mark.requirement("S18")
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_flush_with_a_locked_keyring_keeps_the_queue_for_later(account: Program, session: SecretService) -> None:
    with SinkController(Sink(logins={"user": CANARY}), auth_require_tls=False) as controller:
        account.configure(controller.sink.port, smtp='username = "user"')
        keep(account, session)
        account.sendmail("joe@example.com")
        session.lock()
        run = account.run("flush", env=session.env, code=75)
        assert "the keyring is locked" in run.stderr
        assert (len(account.queue()), controller.sink.login_attempts) == (1, 0)
        account.run("flush", env=session.env, code=75)
        assert controller.sink.sessions == 1, "until it is unlocked, no run connects"
        session.restart(b"unlock")
        account.run("flush", env=session.env)
        assert len(controller.sink.messages) == 1


def test_nothing_is_imported_from_the_current_directory(account: Program, session: SecretService) -> None:
    account.run("config", "set", "smtp.password", "--stdin", stdin=CANARY, env=session.env)
    for module in ("json", "keyring", "ucrmmail"):
        (account.home / f"{module}.py").write_text("open('intruder', 'w').close()\n")
    account.run("credentials", "status", env=session.env)
    account.run("credentials", "status", "--as-cron", env=session.env, code=None)
    assert not list(account.home.rglob("intruder"))
