"""What a submission reads of the configuration is what the full load reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ucrmmail.config import location, source
from ucrmmail.config.load import load
from ucrmmail.config.location import locate
from ucrmmail.config.schema import KEYS
from ucrmmail.config.schema import TABLES as ALL_TABLES
from ucrmmail.config.submission import OURS, TABLES, SubmissionSettings, read_submission_settings
from ucrmmail.errors import ConfigError, PermissionDeniedError

EUID = os.geteuid()
ENVIRON = {"HOME": "/home/me"}


def read(tmp_path: Path, text: str) -> SubmissionSettings:
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return read_submission_settings(str(path), ENVIRON, EUID)


@pytest.mark.parametrize("path", [None, "/nowhere/config.toml"])
def test_without_a_file_the_defaults_apply(path: str | None) -> None:
    found = read_submission_settings(path, ENVIRON, 1000)
    assert found.spool_directory == "/home/me/.local/state/ucrmmail/spool"
    assert (found.max_message_size, found.min_free_space) == (50_000_000, 50_000_000)
    assert (found.sender, found.organization, found.support, found.notification) == ("", "", "", "")
    assert read_submission_settings(path, ENVIRON, 0).spool_directory == "/var/spool/ucrmmail"


def test_what_is_submitted_by_the_configuration_of_the_system_waits_in_no_queue_that_nobody_flushes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[smtp]\nhost = "mail.isp.example"\n')
    path.chmod(0o644)
    monkeypatch.setattr(location, "SYSTEM_CONFIG", str(path))
    environ = {"HOME": str(tmp_path)}
    # The place of the configuration is root's, and would be nobody else's.
    monkeypatch.setattr(source, "_is_of_the_system", lambda *_: True)
    assert read_submission_settings(
        str(path), environ, EUID + 1, to_submit=True
    ).spool_directory == location.spool_directory({}, EUID)
    path.write_text('[spool]\ndirectory = "/srv/mail"\n')
    assert read_submission_settings(str(path), environ, EUID + 1, to_submit=True).spool_directory == "/srv/mail"


def test_it_has_the_defaults_of_the_schema() -> None:
    found = read_submission_settings(None, ENVIRON, 0)
    assert found.max_message_size == KEYS["spool.max_message_size"].kind.check(KEYS["spool.max_message_size"].default)
    assert found.min_free_space == KEYS["spool.min_free_space"].kind.check(KEYS["spool.min_free_space"].default)


@pytest.mark.parametrize(
    "text",
    [
        (
            '[spool]\ndirectory = "/srv/mail/"\nmax_message_size = "10MB"\nmin_free_space = 4096\n'
            '[addresses]\nsender = "a@isp.example"\norganization = "b@isp.example"\n'
            'support = "c@b\u00fccher.example"\nnotification = "d@isp.example"\n[smtp]\nhost = "localhost"\n'
        ),
        # The same in TOML that only tomllib reads.
        (
            "spool = {directory = '/srv/mail', max_message_size = '10MB', min_free_space = 4_096}\n"
            "[addresses]\nsender = '''a@isp.example'''\norganization = \"\\u0062@isp.example\"\n"
            "support = 'c@xn--bcher-kva.example'\nnotification = 'd@isp.example'\n[smtp]\nhost = \"localhost\"\n"
        ),
    ],
)
def test_it_reads_what_the_full_load_reads(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    config = load(locate(str(tmp_path / "config.toml"), ENVIRON, EUID))
    assert found.spool_directory == config.text("spool.directory") == "/srv/mail"
    assert found.max_message_size == config.size_bytes("spool.max_message_size") == 10_000_000
    assert found.min_free_space == config.size_bytes("spool.min_free_space") == 4096
    assert found.sender == config.text("addresses.sender") == "a@isp.example"
    assert found.organization == config.text("addresses.organization") == "b@isp.example"
    assert found.support == config.text("addresses.support") == "c@xn--bcher-kva.example"
    assert found.notification == config.text("addresses.notification") == "d@isp.example"
    assert found.smarthost == config.text("smtp.host") == "localhost"


def test_errors_in_keys_it_does_not_use_do_not_stop_mail(tmp_path: Path) -> None:
    text = '[smtp]\nport = "wrong"\nhosst = "x"\nhost = 1\n[dns]\ndomains = 1\n[retry]\nmax_delay = "1s"\n'
    assert read(tmp_path, text).sender == ""
    assert read(tmp_path, "smtp = 1\n").smarthost == ""


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            '[spool]\n\ndirectroy = "/srv/mail"',
            ":3: spool.directroy: there is no such key; did you mean spool.directory?",
        ),
        ('[spol]\ndirectory = "/srv/mail"', ":1: spol: there is no such table; did you mean [spool]?"),
        ('[addresses]\nsendr = "a@isp.example"', ":2: addresses.sendr: there is no such key"),
        ('directory = "/srv/mail"', ":1: directory: there is no such key; did you mean spool.directory?"),
        ("'spool.directory' = '/srv/mail'", ":1: spool.directory: is written as directory = ... below a line [spool]"),
        # The line [spool] is missing.
        ('[smtp]\nport = 0\ndirectory = "/srv/mail"', ":3: smtp.directory: there is no such key"),
        ('[spool]\nsync = "eech"', ":2: spool.sync: 'eech' is not known, did you mean each?; allowed: batch, each"),
        ("[spool]\nsync = []", ":2: spool.sync: a list is not text in quotes"),
        ('[spool]\nkeep_sent = "7 dayss"', ":2: spool.keep_sent: '7 dayss' is not a duration"),
        ("[spool]\nkeep_sent = 7", ":2: spool.keep_sent: 7 is not text in quotes"),
    ],
)
def test_a_typing_error_never_passes_for_a_setting_of_ours(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.what.startswith(f"{tmp_path}/config.toml{what}")
    assert caught.value.problems == (), "sendmail has one line"
    assert caught.value.remedy


@pytest.mark.parametrize("text", ['sync = "EACH"', 'sync = "each"', "keep_sent = 0", "keep_sent = 0.0"])
def test_what_the_full_load_takes_is_taken(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, f"[spool]\n{text}\ndirectory = '/srv/mail'").spool_directory == "/srv/mail"
    load(locate(str(tmp_path / "config.toml"), ENVIRON, EUID))


def test_the_names_it_knows_are_those_of_the_schema() -> None:
    assert TABLES == ALL_TABLES
    for table, keys in OURS.items():
        assert keys == tuple(key.name for key in KEYS.values() if key.table == table)
    ours = {name for keys in OURS.values() for name in keys}
    assert [key.path for key in KEYS.values() if key.name in ours and key.table not in OURS] == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("spool = 1", "spool"),
        ("[spool]\ndirectory = 5", "spool.directory"),
        ('[spool]\ndirectory = "relative"', "spool.directory"),
        ('[spool]\ndirectory = "/a\\nb"', "spool.directory"),
        ('[spool]\nmax_message_size = "0"', "spool.max_message_size"),
        ("[spool]\nmax_message_size = true", "spool.max_message_size"),
        ('[spool]\nmax_message_size = "3GB"', "spool.max_message_size"),
        ('[spool]\nmin_free_space = "much"', "spool.min_free_space"),
        ('[spool]\nmin_free_space = "' + "9" * 400 + '"', "spool.min_free_space"),
        ('[addresses]\nsender = "nobody"', "addresses.sender"),
        ('[addresses]\nnotification = "a@b.example\\r\\nBcc: x@y.example"', "addresses.notification"),
    ],
)
def test_a_wrong_value_names_file_and_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.what.startswith(f"{tmp_path}/config.toml: {key}: ")
    assert caught.value.remedy


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.touch()
    path.chmod(0o622)
    with pytest.raises(PermissionDeniedError):
        read_submission_settings(str(path), ENVIRON, EUID)
