"""Which file applies, and why."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.support.faults import as_user
from ucrmmail.config import location
from ucrmmail.config.location import LAST_FLUSH, locate, spool_directory, submission_directory

USER = 1000


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's configuration file, in a place that a test may write to."""
    path = tmp_path / "etc" / "config.toml"
    path.parent.mkdir()
    monkeypatch.setattr(location, "SYSTEM_CONFIG", str(path))
    return path


def own(home: Path) -> Path:
    path = home / ".config" / "ucrmmail" / "config.toml"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_the_option_goes_before_everything(tmp_path: Path, system: Path) -> None:
    system.touch()
    environ = {"HOME": str(tmp_path), "UCRMMAIL_CONFIG": "/elsewhere.toml"}
    found = locate("/named.toml", environ, USER)
    assert (found.path, found.reason, found.exists) == ("/named.toml", "given with --config", False)


def test_a_relative_option_becomes_absolute(tmp_path: Path) -> None:
    assert locate("a.toml", {}, USER).path == f"{os.getcwd()}/a.toml"


def test_a_relative_name_is_that_of_no_file_where_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    found = locate("my.toml", {"UCRMMAIL_CONFIG": "other.toml"}, USER)
    assert (found.path, found.exists) == ("my.toml", False)


def test_the_environment_goes_before_the_users_file(tmp_path: Path) -> None:
    own(tmp_path)
    found = locate(None, {"HOME": str(tmp_path), "UCRMMAIL_CONFIG": "/named.toml"}, USER)
    assert found.path == "/named.toml"
    assert "UCRMMAIL_CONFIG" in found.reason


def test_an_empty_environment_variable_is_no_name(tmp_path: Path) -> None:
    path = own(tmp_path)
    assert locate(None, {"HOME": str(tmp_path), "UCRMMAIL_CONFIG": ""}, USER).path == str(path)


@pytest.mark.parametrize("euid", [0, USER])
def test_the_users_file_goes_before_the_systems(tmp_path: Path, system: Path, euid: int) -> None:
    system.touch()
    path = own(tmp_path)
    found = locate(None, {"HOME": str(tmp_path)}, euid)
    assert (found.path, found.exists) == (str(path), True)


@pytest.mark.parametrize("euid", [0, USER])
def test_the_systems_file_applies_when_the_user_has_none(tmp_path: Path, system: Path, euid: int) -> None:
    system.touch()
    found = locate(None, {"HOME": str(tmp_path)}, euid)
    assert (found.path, found.exists) == (str(system), True)
    assert f"{tmp_path}/.config" in found.reason


def test_a_new_file_is_made_in_the_home_of_a_user_and_in_etc_for_root(tmp_path: Path, system: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert locate(None, environ, USER).path == f"{tmp_path}/.config/ucrmmail/config.toml"
    assert locate(None, environ, 0).path == str(system)
    assert not locate(None, environ, 0).exists


def test_xdg_directories_are_respected_and_relative_ones_ignored(tmp_path: Path, system: Path) -> None:
    environ = {"HOME": "/home/me", "XDG_CONFIG_HOME": f"{tmp_path}/c/", "XDG_STATE_HOME": f"{tmp_path}/s"}
    found = locate(None, environ, USER)
    assert found.path == f"{tmp_path}/c/ucrmmail/config.toml"
    assert found.spool_directory == f"{tmp_path}/s/ucrmmail/spool"
    assert found.log_directory == f"{tmp_path}/s/ucrmmail/log"
    assert locate(None, {"HOME": "/home/me", "XDG_CONFIG_HOME": "c"}, USER).path.startswith("/home/me/.config/")


def test_root_keeps_mail_and_logs_below_var() -> None:
    found = locate(None, {"HOME": "/root", "XDG_STATE_HOME": "/x"}, 0)
    assert (found.spool_directory, found.log_directory) == ("/var/spool/ucrmmail", "/var/log/ucrmmail")


def test_without_home_the_user_database_is_asked() -> None:
    assert locate(None, {}, os.geteuid()).path.startswith("/")
    assert locate(None, {}, 987654).path == "/.config/ucrmmail/config.toml"


def test_a_home_that_the_user_may_not_enter_is_that_of_somebody_else(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    for environ in (
        {"HOME": str(root)},
        {"HOME": str(root), "XDG_CONFIG_HOME": f"{root}/.config", "XDG_STATE_HOME": f"{root}/.state"},
    ):
        with as_user(987654):
            found = locate(None, environ, 987654)
        assert found.path == "/.config/ucrmmail/config.toml"
        assert found.spool_directory == "/.local/state/ucrmmail/spool"
        assert locate(None, environ, 0).path != found.path


def test_a_link_that_leads_nowhere_is_still_the_users_file(tmp_path: Path, system: Path) -> None:
    system.touch()
    path = own(tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert locate(None, {"HOME": str(tmp_path)}, USER).path == str(path)


def test_a_file_that_may_not_be_looked_at_is_not_passed_over(tmp_path: Path, system: Path) -> None:
    loop = tmp_path / ".config"
    loop.symlink_to(loop)
    assert locate(None, {"HOME": str(tmp_path)}, USER).path.startswith(str(loop))


# Not the one to whom what a test writes belongs, who may be root.
OTHER = os.geteuid() + 1


def test_who_has_no_configuration_submits_to_the_queue_of_whose_it_is(tmp_path: Path, system: Path) -> None:
    system.touch()
    environ = {"HOME": str(tmp_path)}
    assert submission_directory(str(system), environ, OTHER) == spool_directory({}, os.geteuid())
    assert submission_directory(str(own(tmp_path)), environ, OTHER) == f"{tmp_path}/.local/state/ucrmmail/spool"


def test_who_flushes_a_queue_of_his_own_by_the_configuration_of_the_system_submits_to_it(
    tmp_path: Path, system: Path
) -> None:
    system.touch()
    spool = tmp_path / ".local/state/ucrmmail/spool"
    spool.mkdir(parents=True)
    assert submission_directory(str(system), {"HOME": str(tmp_path)}, OTHER) == spool_directory({}, os.geteuid())
    (spool / LAST_FLUSH).touch()
    assert submission_directory(str(system), {"HOME": str(tmp_path)}, OTHER) == str(spool)


def test_who_has_flushed_a_queue_of_his_own_once_submits_to_the_one_that_is_open_to_him(
    tmp_path: Path, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at what `ucrmmail flush` does must not lead his mail into a queue that nobody flushes for ever."""
    system.touch()
    own, theirs = tmp_path / ".local/state/ucrmmail/spool", tmp_path / "theirs"
    own.mkdir(parents=True)
    monkeypatch.setattr(location, "spool_directory", lambda _environ, euid: str(own if euid == OTHER else theirs))
    flushed = own / LAST_FLUSH
    flushed.touch()
    now = time.time()
    for is_open, at, chosen in ((True, now, own), (True, now - 3600, theirs), (False, now - 3600, own)):
        shutil.rmtree(theirs, ignore_errors=True)
        if is_open:
            (theirs / "drop").mkdir(parents=True)
        os.utime(flushed, (at, at))
        assert submission_directory(str(system), {}, OTHER) == str(chosen), (is_open, at)


def test_whose_configuration_that_of_the_system_is_submits_to_his_own_queue(tmp_path: Path, system: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert submission_directory(str(system), environ, OTHER) == spool_directory(environ, OTHER), "there is none yet"
    system.touch()
    assert submission_directory(str(system), environ, os.geteuid()) == spool_directory(environ, os.geteuid())
