"""Which source answers, and that only one is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ucrmmail.credentials.find import Store, delete_secret, find_secret, keep_secret
from ucrmmail.credentials.keyring import with_bus
from ucrmmail.credentials.secret import SecretMissingError
from ucrmmail.errors import UsageError

PATH = {"PATH": "/usr/bin:/bin"}


def store(source: str, tmp_path: Path, command: tuple[str, ...] = (), *, recorded: bool = True) -> Store:
    return Store(("user", "/config"), source, recorded, command, str(tmp_path / "secrets.toml"))


def test_a_systemd_credential_then_the_variable_then_the_source(tmp_path: Path) -> None:
    chosen = store("file", tmp_path)
    keep_secret(chosen, "filed", {})
    environ = {"UCRMMAIL_SMTP_PASSWORD": "variable", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    (tmp_path / "ucrmmail.smtp.password").write_text("credential\n")
    found = find_secret(chosen, environ)
    assert (found.source, found.reveal()) == ("systemd", "credential")
    del environ["CREDENTIALS_DIRECTORY"]
    found = find_secret(chosen, environ)
    assert (found.source, found.reveal()) == ("environment", "variable")
    found = find_secret(chosen, {})
    assert (found.source, found.reveal()) == ("file", "filed")


def test_there_is_no_cascade_to_another_source(tmp_path: Path) -> None:
    keep_secret(store("file", tmp_path), "filed", {})
    with pytest.raises(SecretMissingError):
        find_secret(store("command", tmp_path, ("true",)), PATH)


def test_where_nobody_chose_a_source_the_secret_is_yet_to_be_set(tmp_path: Path) -> None:
    with pytest.raises(SecretMissingError, match="no secret for 'user' yet") as caught:
        find_secret(store("file", tmp_path, recorded=False), {})
    assert "secrets.toml is not there" in caught.value.why
    assert "config set smtp.password" in caught.value.remedy


def test_a_secret_from_before_the_account_had_a_user_name_is_found(tmp_path: Path) -> None:
    path = str(tmp_path / "secrets.toml")
    keep_secret(Store(("/config",), "file", True, (), path), "early", {})
    assert find_secret(store("file", tmp_path), {}).reveal() == "early"


def test_a_command_keeps_its_secret_itself(tmp_path: Path) -> None:
    chosen = store("command", tmp_path, ("echo", "word"))
    keep_secret(chosen, "", PATH)
    keep_secret(chosen, "word", PATH)
    with pytest.raises(UsageError, match="another secret"):
        keep_secret(chosen, "other", PATH)
    with pytest.raises(UsageError, match="not ours to delete"):
        delete_secret(chosen, PATH)


def test_a_secret_that_no_login_can_carry_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="control character"):
        keep_secret(store("file", tmp_path), "two\nlines", {})
    assert list(tmp_path.iterdir()) == []


def test_the_bus_of_the_session_is_left_alone() -> None:
    environ = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/somewhere", "XDG_RUNTIME_DIR": "/run/user/1000"}
    assert with_bus(environ) == environ


@pytest.mark.parametrize("kind", ["nothing", "file", "link to nothing"])
def test_what_is_no_socket_is_not_taken_for_the_bus(tmp_path: Path, kind: str) -> None:
    if os.path.exists(f"/run/user/{os.geteuid()}/bus"):
        pytest.skip("this user has a session bus")
    if kind == "file":
        (tmp_path / "bus").write_text("")
    elif kind != "nothing":
        (tmp_path / "bus").symlink_to(tmp_path / "nowhere")
    assert "DBUS_SESSION_BUS_ADDRESS" not in with_bus({"XDG_RUNTIME_DIR": str(tmp_path)})
