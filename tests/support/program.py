"""The installed programs, run as a user or cron runs them: a process of their own and an environment that is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ucrmmail.output.queue import message_document
from ucrmmail.spool.listing import messages
from ucrmmail.spool.unread import Unread

BIN = Path(sys.executable).parent

PLAIN = b"From: Billing <billing@isp.example>\r\nTo: joe@example.com\r\nSubject: invoice\r\n\r\nPlease pay.\r\n"


@dataclass(frozen=True)
class Run:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


class Program:
    """``ucrmmail`` with a home directory, a configuration and a spool of its own.

    The environment is cron's: HOME, PATH, SHELL and LOGNAME, and what a test adds.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700, exist_ok=True)
        self.config = home / "config.toml"
        self.spool = home / "spool"
        self.env = {
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "SHELL": "/bin/sh",
            "LOGNAME": "tester",
            "UCRMMAIL_CONFIG": str(self.config),
        }

    def watched(self) -> None:
        """Let the branch coverage see what is started from here on: each start takes it twice as long, or ten times."""
        self.env.update({name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")})

    def command(self, *arguments: str, program: str = "ucrmmail") -> list[str]:
        return [str(BIN / program), *arguments]

    def run(
        self,
        *arguments: str,
        program: str = "ucrmmail",
        stdin: bytes | str = b"",
        env: Mapping[str, str] | None = None,
        code: int | None = 0,
        timeout: float = 60,
    ) -> Run:
        """Run a command and return how it ended; ``code`` is the exit code that must come (None: any)."""
        done = subprocess.run(
            self.command(*arguments, program=program),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env={**self.env, **(env or {})},
            cwd=self.home,
            timeout=timeout,
            check=False,
        )
        run = Run(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in run.stderr, run.stderr
        if code is not None:
            assert run.code == code, f"{arguments}: exit {run.code}\n{run.stdout}\n{run.stderr}"
        return run

    def start(
        self, *arguments: str, program: str = "ucrmmail", env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command without waiting for it."""
        return subprocess.Popen(
            self.command(*arguments, program=program),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.env, **(env or {})},
            cwd=self.home,
        )

    def sendmail(self, *arguments: str, message: bytes = PLAIN, code: int = 0) -> Run:
        return self.run(*arguments, program="ucrmmail-sendmail", stdin=message, code=code)

    def configure(self, port: int, **keys: str) -> None:
        """Write a configuration for a smarthost on loopback; ``keys`` are extra lines by table, as TOML."""
        tables = {
            "smtp": f'transport = "smtp"\nhost = "127.0.0.1"\nport = {port}\nencryption = "none"\n',
            "addresses": 'sender = "billing@isp.example"\nnotification = "admin@isp.example"\n',
            "spool": f'directory = "{self.spool}"\n',
        }
        if "allow_insecure_login" not in keys.get("smtp", ""):
            tables["smtp"] += "allow_insecure_login = true\n"
        for table, lines in keys.items():
            tables[table] = tables.get(table, "") + lines + "\n"
        self.config.write_text("\n".join(f"[{table}]\n{lines}" for table, lines in tables.items()))
        self.config.chmod(0o600)

    def queue(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what ``queue list --json`` shows; without arguments it is read here, since the tests ask so often."""
        if arguments:
            listed: list[dict[str, Any]] = self.run("queue", "list", "--json", *arguments).json["messages"]
            return listed
        unread: list[Unread] = []
        listed = [message_document(message) for message in messages(str(self.spool), unread=unread)]
        assert not unread
        return listed


@contextmanager
def killed_at_last(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that a test may find waiting for ever: it ends with the test."""
    with process:
        try:
            yield process
        finally:
            process.kill()
