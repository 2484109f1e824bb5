"""The secret from a program of the user's own."""

from __future__ import annotations

import pytest

from ucrmmail.credentials.command import read
from ucrmmail.credentials.secret import SecretMissingError, SecretUnavailableError
from ucrmmail.errors import ConfigError

ENVIRON = {"PATH": "/usr/bin:/bin"}


def shell(script: str, deadline_s: float = 10) -> str:
    return read(("sh", "-c", script), ENVIRON, deadline_s)


def test_its_first_line_is_the_secret() -> None:
    assert shell("echo 'w\u00f6rd of mouth'; echo 'login: me'") == "w\u00f6rd of mouth"


@pytest.mark.requirement("S7")
def test_no_shell_is_involved() -> None:
    assert read(("printf", "%s", "$(id); `id` 'x'"), ENVIRON, 10) == "$(id); `id` 'x'"


def test_without_a_program_the_secret_is_missing() -> None:
    with pytest.raises(SecretMissingError) as caught:
        read((), ENVIRON, 10)
    assert "config set credentials.command" in caught.value.remedy


@pytest.mark.parametrize("program", ["/nonexistent/program", "/etc/passwd", "/", "nosuchprogram"])
def test_a_program_that_cannot_be_started_is_a_matter_of_configuration(program: str) -> None:
    with pytest.raises(SecretMissingError, match="cannot be started"):
        read((program,), ENVIRON, 10)


@pytest.mark.parametrize("script", ["true", "echo", "echo; echo word", "echo '  '"])
def test_a_program_that_prints_nothing_has_no_secret(script: str) -> None:
    with pytest.raises(SecretMissingError, match="printed nothing"):
        shell(script)


@pytest.mark.parametrize(("script", "how"), [("exit 3", "exit 3"), ("kill -9 $$", "killed by SIGKILL")])
def test_a_program_that_fails_may_work_later(script: str, how: str) -> None:
    with pytest.raises(SecretUnavailableError, match=how):
        shell(f"echo word; {script}")


@pytest.mark.requirement("S9")
def test_its_complaint_is_told_but_not_at_length_and_not_the_secret() -> None:
    with pytest.raises(SecretUnavailableError) as caught:
        shell("echo canary-7719; echo 'gpg: canary-7719 is locked' >&2; yes | head -c 100000 >&2; exit 2")
    assert caught.value.why.startswith("gpg: [redacted] is locked")
    assert len(caught.value.why) <= 300


def test_a_program_that_hangs_is_given_up_at_the_deadline() -> None:
    with pytest.raises(SecretUnavailableError, match="did not end within 1 s"):
        shell("sleep 60", deadline_s=0.6)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match="UTF-8"):
        shell(r"printf '\377\376word'")
