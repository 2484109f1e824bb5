"""The secret is nowhere but in its store: a canary is looked for wherever a program could leave it."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.secret_service import SecretService, secret_service
from tests.support.sink import Sink, SinkController

CANARY = "canary-7719"

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[SecretService]:
    with secret_service(tmp_path / "session") as service:
        yield service


@pytest.fixture
def account(program: Program) -> Program:
    program.configure(25, smtp='username = "user"')
    return program


def hiding_places(secret: str) -> list[bytes]:
    """The secret as it is, and in base64 at any of the three places where it can fall within other text."""
    raw = secret.encode()
    return [raw, *(base64.b64encode(b"\0" * skip + raw)[4 if skip else 0 : -4] for skip in range(3))]


def everything_below(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


@pytest.mark.requirement("R28", "S8")
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_the_secret_is_in_no_argument_environment_output_or_file(account: Program, session: SecretService) -> None:
    with SinkController(Sink(logins={"user": CANARY}), auth_require_tls=False) as controller:
        account.configure(controller.sink.port, smtp='username = "user"')
        trace = session.directory / "trace"
        said = b""
        for arguments, stdin in [
            (("config", "set", "smtp.password", "--stdin"), CANARY),
            (("credentials", "status", "--json"), ""),
            (("enqueue", "--to", "joe@example.com", "-"), "Subject: x\n\nx\n"),
            (("flush", "-v", "--json"), ""),
            (("test-send", "joe@example.com", "--transcript"), ""),
            (("config", "list"), ""),
        ]:
            argv = ["strace", "-f", "-v", "-s", "100000", "-e", "trace=execve", "-A", "-o", str(trace)]
            done = subprocess.run(
                [*argv, *account.command(*arguments)],
                input=stdin.encode(),
                env={**account.env, **session.env, "UCRMMAIL_DEBUG": "1"},
                cwd=account.home,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            said += done.stdout + done.stderr
        assert len(controller.sink.messages) == 2
    everything = said + everything_below(account.home) + everything_below(session.directory)
    assert trace.read_text().count("execve(") >= 6
    for place in hiding_places(CANARY):
        assert place not in everything


@pytest.mark.requirement("R28", "S8")
def test_the_variable_with_the_secret_is_not_handed_on(account: Program, session: SecretService) -> None:
    trace = session.directory / "trace"
    argv = ["strace", "-f", "-v", "-s", "100000", "-e", "trace=execve", "-o", str(trace)]
    subprocess.run(
        [*argv, *account.command("config", "set", "smtp.password", "--stdin")],
        input=b"word",
        env={**account.env, **session.env, "UCRMMAIL_SMTP_PASSWORD": CANARY},
        capture_output=True,
        check=True,
    )
    started = [line for line in trace.read_text().splitlines() if "execve(" in line]
    assert len(started) >= 4
    assert sum(CANARY in line for line in started) == 1
