"""What a submission reads of the configuration is what the full load reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ucrmmail.config.load import load
from ucrmmail.config.location import locate
from ucrmmail.config.schema import KEYS
from ucrmmail.config.submission import SubmissionSettings, read_submission_settings
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
            'support = "c@b\u00fccher.example"\nnotification = "d@isp.example"\n'
        ),
        # The same in TOML that only tomllib reads.
        (
            "spool = {directory = '/srv/mail', max_message_size = '10MB', min_free_space = 4_096}\n"
            "[addresses]\nsender = '''a@isp.example'''\norganization = \"\\u0062@isp.example\"\n"
            "support = 'c@xn--bcher-kva.example'\nnotification = 'd@isp.example'\n"
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


def test_errors_in_keys_it_does_not_use_do_not_stop_mail(tmp_path: Path) -> None:
    assert read(tmp_path, '[smtp]\nport = "wrong"\n[nonsense]\n').sender == ""


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("spool = 1", "spool"),
        ("[spool]\ndirectory = 5", "spool.directory"),
        ('[spool]\ndirectory = "relative"', "spool.directory"),
        ('[spool]\ndirectory = "/a\\nb"', "spool.directory"),
        ('[spool]\nmax_message_size = "0"', "spool.max_message_size"),
        ("[spool]\nmax_message_size = true", "spool.max_message_size"),
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
