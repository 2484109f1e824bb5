"""A secret that does not show itself, and what may be one."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from ucrmmail.credentials.secret import LONGEST_BYTES, Secret, SecretMissingError, checked, first_line
from ucrmmail.errors import ConfigError, UsageError

CANARY = "canary-7719"


def test_a_secret_shows_its_source_alone() -> None:
    secret = Secret("file", CANARY)
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}", f"{secret!r:>80}"):
        assert CANARY not in shown
        assert "file" in shown
    assert secret.reveal() == CANARY


@pytest.mark.requirement("R28", "S9")
def test_a_traceback_through_a_secret_does_not_show_it() -> None:
    secret = Secret("file", CANARY)
    try:
        raise ValueError(secret)
    except ValueError as error:
        trace = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert CANARY not in trace


@pytest.mark.parametrize(
    ("raw", "secret"),
    [
        (b"word", "word"),
        (b"word\n", "word"),
        (b"word\r\nlogin: me\n", "word"),
        (b" two words \n", " two words "),
        ("Grüße €".encode(), "Grüße €"),
    ],
)
def test_the_first_line_is_the_secret(raw: bytes, secret: str) -> None:
    assert first_line(raw, "it") == secret


@pytest.mark.parametrize("raw", [b"", b"\n", b"\r\n", b"\nword\n"])
def test_an_empty_first_line_is_a_missing_secret(raw: bytes) -> None:
    with pytest.raises(SecretMissingError, match="it is empty"):
        first_line(raw, "it")


@pytest.mark.requirement("S9")
@pytest.mark.parametrize("raw", [b"canary\xff", b"canary\0", b"\x1b[200~canary", b"canary" * LONGEST_BYTES])
def test_what_no_login_can_carry_is_refused_without_being_shown(raw: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        first_line(raw, "it")
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "secret", ["two\nlines", "tab\there", "nul\0", "\x1b[200~pasted", "\x7f", "\udc80", "x" * 9000]
)
def test_what_is_no_secret_is_refused_before_it_is_kept(secret: str) -> None:
    with pytest.raises(UsageError):
        checked(secret, "it")


CRASH = """
import os, resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
if sys.argv[1] == "forbid":
    from ucrmmail.credentials.secret import forbid_core_dumps
    forbid_core_dumps()
os.abort()
"""


@pytest.mark.requirement("R28", "S9")
def test_a_crash_leaves_no_core_file(tmp_path: Path) -> None:
    for mode in ("allow", "forbid"):
        (tmp_path / mode).mkdir()
        subprocess.run([sys.executable, "-c", CRASH, mode], cwd=tmp_path / mode, check=False)
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    if not list((tmp_path / "allow").iterdir()):
        pytest.skip(f"this machine writes no core file beside the process: {pattern}")
    assert list((tmp_path / "forbid").iterdir()) == []


def test_no_other_process_of_the_user_looks_into_the_memory() -> None:
    code = (
        "from ucrmmail.credentials.secret import forbid_core_dumps; forbid_core_dumps();"
        "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"0\n"
