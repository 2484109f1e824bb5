"""The single file, run by a plain Python that has none of the libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.nameserver import nsd
from tests.support.program import Program
from tests.support.smtp_server import SmtpServer

ROOT = Path(__file__).parents[2]
# The interpreter of the environment without the environment.
PLAIN = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    subprocess.run(["sh", str(ROOT / "tools" / "zipapp")], env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable,
                   "HOME": str(tmp_path_factory.mktemp("home"))}, check=True)  # fmt: skip
    return ROOT / "dist" / "ucrmmail.pyz"


class FromFile(Program):
    """The program as the single file."""

    file: Path

    def command(self, *arguments: str, program: str = "ucrmmail") -> list[str]:
        return [str(PLAIN), "-s", str(self.file), *arguments]


def test_it_runs_with_a_plain_python(file: Path, tmp_path: Path) -> None:
    program = FromFile(tmp_path / "home")
    program.file = file
    assert program.run("--version").stdout.startswith("ucrmmail 0.")
    with SmtpServer() as server:
        program.configure(server.port, credentials='source = "file"')
        program.run("config", "set", "smtp.timeout", "30s")
        program.run("enqueue", "--to", "joe@example.com", "-", stdin="Subject: x\n\nx\n")
        assert program.run("flush").stdout == ""
        server.wait_until_idle()
        assert [message.recipients for message in server.accepted] == [["joe@example.com"]]


def test_it_starts_itself_again_where_it_must(file: Path, tmp_path: Path) -> None:
    program = FromFile(tmp_path / "home")
    program.file = file
    program.configure(25, smtp='username = "billing@isp.example"', credentials='source = "file"')
    program.run("config", "set", "smtp.password", "--stdin", "--store", "file", stdin="canary")
    found = program.run("credentials", "status", "--json").json
    assert found["as_cron"]["found"] is True
    # The line for the crontab names the file.
    assert f"{file} " in program.run("doctor", "--json", code=None).stdout


def test_it_checks_dns_with_its_compiled_library(file: Path, tmp_path: Path) -> None:
    program = FromFile(tmp_path / "home")
    program.file = file
    zone = '$ORIGIN isp.example.\n$TTL 300\n@ SOA ns a 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n@ TXT "v=spf1 -all"\n'
    zone += 's._domainkey TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="\n'
    with nsd(tmp_path, {"isp.example": zone}) as server:
        run = program.run(
            "check-dns", "isp.example", "--nameserver", str(server), "--selector", "s", "--json", code=None
        )
    assert "dkim-ed25519-only" in run.stdout
