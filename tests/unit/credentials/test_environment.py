"""A systemd credential and the environment variable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ucrmmail.credentials.environment import IMAP, override, read_credential, read_variable
from ucrmmail.credentials.secret import SecretMissingError
from ucrmmail.errors import ConfigError, PermissionDeniedError

CREDENTIAL = "ucrmmail.smtp.password"


@pytest.fixture
def credential(tmp_path: Path) -> Path:
    return tmp_path / "ucrmmail.smtp.password"


def environ(credential: Path) -> dict[str, str]:
    return {"CREDENTIALS_DIRECTORY": str(credential.parent)}


def test_the_credential_is_the_first_line_of_its_file(credential: Path) -> None:
    credential.write_bytes(b"word\n")
    assert read_credential(environ(credential)) == "word"
    assert "ucrmmail.smtp.password" in override(environ(credential))


def test_without_a_credential_there_is_none(credential: Path) -> None:
    assert read_credential({}) is None
    assert read_credential(environ(credential)) is None
    assert read_credential({"CREDENTIALS_DIRECTORY": "/etc/passwd"}) is None


def test_an_empty_credential_is_not_passed_over(credential: Path) -> None:
    credential.write_bytes(b"")
    with pytest.raises(SecretMissingError):
        read_credential(environ(credential))


def test_a_credential_that_is_no_text_is_refused(credential: Path) -> None:
    credential.write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError):
        read_credential(environ(credential))


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "hard link", "huge"])
def test_a_credential_that_is_no_plain_file_is_refused_and_not_waited_for(credential: Path, kind: str) -> None:
    other = credential.with_name("other")
    other.write_bytes(b"word")
    match kind:
        case "link":
            credential.symlink_to(other)
        case "fifo":
            os.mkfifo(credential)
        case "directory":
            credential.mkdir()
        case "hard link":
            os.link(other, credential)
        case _:
            credential.write_bytes(b"x" * 100_000)
    with pytest.raises(PermissionDeniedError):
        read_credential(environ(credential))


def test_the_variable_is_the_secret_unless_it_is_empty() -> None:
    assert read_variable({"UCRMMAIL_SMTP_PASSWORD": "w\u00f6rd"}) == "w\u00f6rd"
    assert read_variable({"UCRMMAIL_SMTP_PASSWORD": ""}) is None
    assert read_variable({}) is None
    assert override({"UCRMMAIL_SMTP_PASSWORD": "word"}) == "UCRMMAIL_SMTP_PASSWORD"
    assert override({"UCRMMAIL_SMTP_PASSWORD": ""}) == ""


def test_a_variable_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError):
        read_variable({"UCRMMAIL_SMTP_PASSWORD": "\udcff"})


def test_the_mailbox_has_a_variable_and_a_credential_of_its_own(credential: Path) -> None:
    assert read_variable({"UCRMMAIL_SMTP_PASSWORD": "one"}, IMAP) is None
    assert read_variable({"UCRMMAIL_IMAP_PASSWORD": "other"}, IMAP) == "other"
    assert override({"UCRMMAIL_IMAP_PASSWORD": "other"}, IMAP) == "UCRMMAIL_IMAP_PASSWORD"
    assert override({"UCRMMAIL_IMAP_PASSWORD": "other"}) == ""
    assert read_credential(environ(credential), IMAP) is None
