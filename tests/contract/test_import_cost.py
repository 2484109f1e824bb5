"""Start-up time is architecture: what a command must not have imported when it is done, never how long it took."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sink import Sink, SinkController

HEAVY = {
    "typer",
    "rich",
    "keyring",
    "dns",
    "smtplib",
    "email",
    "ssl",
    "tomlkit",
    "cryptography",
    "pydantic",
    "authlib",
    "requests",
}
NOT_FOR_A_SUBMISSION = HEAVY | {
    "dataclasses", "typing", "re", "json", "enum", "inspect", "datetime", "contextlib", "pathlib", "collections",
    "hashlib", "secrets", "tomllib", "socket", "threading", "subprocess", "tempfile", "logging",
}  # fmt: skip

CONFIG = """\
[smtp]
transport = "smtp"
host = "127.0.0.1"

[addresses]
sender = "billing@isp.example"

[spool]
directory = "{spool}"
"""


def modules_after(code: str, tmp_path: Path, stdin: bytes = b"") -> set[str]:
    """Run code in a new interpreter and return the top-level names of what it has imported beyond the bare start."""
    config = tmp_path / "config.toml"
    if not config.exists():
        config.write_text(CONFIG.format(spool=tmp_path / "spool"))
        config.chmod(0o600)
    script = (
        "import sys; before = set(sys.modules)\n"
        f"{code}\n"
        "sys.stderr.write('MODULES ' + ' '.join({m.split('.')[0] for m in set(sys.modules) - before}) + '\\n')"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        input=stdin,
        capture_output=True,
        env={"UCRMMAIL_CONFIG": str(tmp_path / "config.toml"), "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    lines = run.stderr.decode().splitlines()
    return set(next(line for line in lines if line.startswith("MODULES ")).split()[1:])


def call(module: str, *arguments: str) -> str:
    return f"sys.argv = ['x', *{list(arguments)!r}]\nfrom {module} import main\ncode = main()\nassert code == 0, code"


def test_a_submission_imports_nothing_heavy(tmp_path: Path) -> None:
    loaded = modules_after(
        call("ucrmmail.sendmail", "-t", "-i"),
        tmp_path,
        b"From: Billing <billing@isp.example>\nTo: joe@example.com\nSubject: hello\n\nHi.\n",
    )
    assert loaded & NOT_FOR_A_SUBMISSION == set()
    assert len(list((tmp_path / "spool" / "queue").glob("*/*"))) == 1


def test_a_session_of_smtp_imports_nothing_heavy(tmp_path: Path) -> None:
    mail = b"MAIL FROM:<>\r\nRCPT TO:<joe@example.com>\r\nDATA\r\nFrom: a@isp.example\r\n\r\nHi.\r\n.\r\nQUIT\r\n"
    loaded = modules_after(call("ucrmmail.sendmail", "-bs"), tmp_path, mail)
    assert loaded & NOT_FOR_A_SUBMISSION == set()
    assert len(list((tmp_path / "spool" / "queue").glob("*/*"))) == 1


def test_only_a_session_of_smtp_imports_what_speaks_it(tmp_path: Path) -> None:
    mail = b"From: Billing <billing@isp.example>\nTo: joe@example.com\n\nHi.\n"
    speaks = 'assert any(name.startswith("ucrmmail.smtpd") for name in sys.modules)'
    modules_after(f"{call('ucrmmail.sendmail', '-t')}\n{speaks.replace('any', 'not any')}", tmp_path, mail)
    modules_after(f"{call('ucrmmail.sendmail', '-bs')}\n{speaks}", tmp_path)


def test_flush_of_an_empty_queue_imports_nothing_heavy(tmp_path: Path) -> None:
    modules_after(call("ucrmmail.__main__", "flush"), tmp_path)
    loaded = modules_after(call("ucrmmail.__main__", "flush"), tmp_path)
    assert loaded & NOT_FOR_A_SUBMISSION == set()


def test_a_flush_over_a_connection_in_clear_has_no_use_for_tls(tmp_path: Path) -> None:
    with SinkController(Sink()) as server:
        config = tmp_path / "config.toml"
        clear = f'encryption = "none"\nport = {server.port}\n\n[addresses]'
        config.write_text(CONFIG.format(spool=tmp_path / "spool").replace("[addresses]", clear))
        config.chmod(0o600)
        mail = b"From: Billing <billing@isp.example>\nTo: joe@example.com\nSubject: hello\n\nHi.\n"
        modules_after(call("ucrmmail.sendmail", "-t", "-i"), tmp_path, mail)
        loaded = modules_after(call("ucrmmail.__main__", "flush"), tmp_path)
        assert len(server.sink.messages) == 1
    assert loaded & (HEAVY | {"dataclasses", "inspect", "hashlib", "hmac", "urllib"}) == set()


@pytest.mark.parametrize("kind", ["key", "value", "queue-id", "state", "address", "preset", "check"])
def test_a_tab_key_imports_nothing_heavy(tmp_path: Path, kind: str) -> None:
    loaded = modules_after(call("ucrmmail.__main__", "__complete", kind, "config", "set", "smtp.host", ""), tmp_path)
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("flush", "--help"),
        ("login", "--help"),
        ("status",),
        ("config", "get", "smtp.host"),
        ("config", "path"),
        ("queue", "list"),
        ("doctor", "--help"),
    ],
    ids=" ".join,
)
def test_a_command_imports_only_what_it_uses(arguments: tuple[str, ...], tmp_path: Path) -> None:
    loaded = modules_after(call("ucrmmail.__main__", *arguments), tmp_path)
    assert loaded & (HEAVY - {"typer"}) == set()


def test_the_package_makes_its_dataclasses_itself() -> None:
    """A flush with mail would wait for `inspect`, and for what is compiled for each class: a third of its start."""
    sources = (Path(__file__).parents[2] / "ucrmmail").rglob("*.py")
    named = [path.name for path in sources if "from dataclasses import" in path.read_text()]
    assert named == ["dataclass.py"], "from ucrmmail.dataclass import dataclass"
