"""The Debian package in a clean system: install, use, upgrade, remove, purge; and beside another mail system.

Needs root, for a chroot. The system is made once by mmdebstrap; each test unpacks its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.smtp_server import SmtpServer

ROOT = Path(__file__).parents[2]
MESSAGE = b"From: app@isp.example\nTo: joe@example.com\nSubject: from a package\n\nhi\n"
UNIT = "lib/systemd/system/ucrmmail-flush"

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class System:
    """A Debian system below a directory."""

    root: Path

    def run(self, *command: str, stdin: bytes = b"", code: int | None = 0, user: str = "root") -> str:
        as_user = [] if user == "root" else ["runuser", "-u", user, "--"]
        done = subprocess.run(
            ["chroot", str(self.root), "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
             "DEBIAN_FRONTEND=noninteractive", *as_user, *command],
            input=stdin, capture_output=True, timeout=600, check=False,
        )  # fmt: skip
        said = (done.stdout + done.stderr).decode()
        assert code is None or done.returncode == code, f"{command}: {done.returncode}\n{said}"
        return said

    def ucrmmail(self, *arguments: str) -> str:
        return self.run("env", "UCRMMAIL_CONFIG=/etc/ucrmmail/config.toml", "ucrmmail", *arguments, user="ucrmmail")

    def install(self, package: Path) -> None:
        shutil.copy(package, self.root / "tmp")
        self.run("apt-get", "install", "-qq", "-y", "--no-install-recommends", f"/tmp/{package.name}")

    def path(self, name: str) -> Path:
        return self.root / name


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package, and the same one with a later version."""
    subprocess.run(["sh", str(ROOT / "tools" / "deb")], check=True, capture_output=True)
    (first,) = (ROOT / "dist").glob("ucrmmail_*.deb")
    place = tmp_path_factory.mktemp("later")
    subprocess.run(["dpkg-deb", "-R", str(first), str(place / "tree")], check=True)
    control = place / "tree" / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: (.*)$", r"Version: \1+later", control.read_text()))
    later = place / "ucrmmail_later_all.deb"
    subprocess.run(["dpkg-deb", "-b", str(place / "tree"), str(later)], check=True, capture_output=True)
    return first, later


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minimal Debian with the interpreter, as an archive."""
    release = re.search(r"(?m)^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text())
    assert release is not None
    archive = tmp_path_factory.mktemp("base") / "system.tar"
    subprocess.run(
        ["mmdebstrap", "--variant=minbase", "--include=ca-certificates,python3,adduser", release[1], str(archive)],
        check=True, capture_output=True,
    )  # fmt: skip
    return archive


@pytest.fixture
def system(base: Path, tmp_path: Path) -> Iterator[System]:
    root = tmp_path / "system"
    root.mkdir()
    subprocess.run(["tar", "-C", str(root), "-xf", str(base), "--exclude=./dev/*"], check=True)
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    for name in ("null", "urandom"):
        subprocess.run(["cp", "-a", f"/dev/{name}", str(root / "dev")], check=True)
    yield System(root)
    shutil.rmtree(root, ignore_errors=True)


def test_a_fresh_system_gets_a_user_a_spool_a_timer_and_a_sendmail_that_sends(
    system: System, packages: tuple[Path, Path]
) -> None:
    system.install(packages[0])
    assert "ucrmmail 0.1.0" in system.run("ucrmmail", "--version")
    assert system.run("stat", "-c", "%U %G %a", "/var/spool/ucrmmail").split() == ["ucrmmail", "ucrmmail", "711"]
    assert system.run("readlink", "-f", "/usr/sbin/sendmail").strip() == "/usr/lib/ucrmmail/bin/ucrmmail-sendmail"
    assert system.path("usr/share/man/man1/ucrmmail.1.gz").is_file()
    assert system.path("usr/share/man/man8/sendmail.8.gz").is_symlink()
    assert system.path("usr/share/bash-completion/completions/ucrmmail").is_file()
    assert system.path("usr/share/zsh/vendor-completions/_ucrmmail").is_file()
    assert "OnCalendar=minutely" in system.path(f"{UNIT}.timer").read_text()
    assert system.path("etc/systemd/system/timers.target.wants/ucrmmail-flush.timer").is_symlink()
    with SmtpServer() as server:
        for key, value in [
            ("smtp.transport", "smtp"), ("smtp.host", "127.0.0.1"), ("smtp.port", str(server.port)),
            ("smtp.encryption", "none"), ("addresses.sender", "billing@isp.example"),
        ]:  # fmt: skip
            system.ucrmmail("config", "set", key, value)
        # As a web application, as cron, and as the user itself.
        for user, sender in [("www-data", "app@isp.example"), ("root", "cron@isp.example"), ("ucrmmail", "")]:
            system.run("/usr/sbin/sendmail", "-t", "-i", "-f", sender or "<>", stdin=MESSAGE, user=user)
        assert "Permission denied" in system.run("ls", "/var/spool/ucrmmail/drop", user="www-data", code=2)
        (line,) = re.findall(r"(?m)^ExecStart=(.*)$", system.path(f"{UNIT}.service").read_text())
        command = ["env", "UCRMMAIL_CONFIG=/etc/ucrmmail/config.toml", *line.split()]
        assert system.run(*command, user="ucrmmail") == ""
        server.wait_until_idle()
        assert [message.recipients for message in server.messages] == [["joe@example.com"]] * 3
        assert {message.reverse_path for message in server.messages} == {"app@isp.example", "cron@isp.example", ""}
    # `ucrmmail login` is there without a further step.
    assert list(system.path("usr/lib/ucrmmail/lib").glob("python3*/site-packages/authlib/__init__.py"))


def test_an_upgrade_keeps_mail_and_settings_a_removal_too_and_a_purge_nothing(
    system: System, packages: tuple[Path, Path]
) -> None:
    system.install(packages[0])
    system.ucrmmail("config", "set", "smtp.host", "mail.isp.example")
    system.run("/usr/sbin/sendmail", "-t", "-i", stdin=MESSAGE, user="ucrmmail")
    system.install(packages[1])
    assert "+later" in system.run("dpkg-query", "-W", "ucrmmail")
    assert "mail.isp.example" in system.ucrmmail("config", "get", "smtp.host")
    assert "joe@example.com" in system.ucrmmail("queue", "list")
    system.run("apt-get", "remove", "-qq", "-y", "ucrmmail")
    assert not system.path("usr/sbin/sendmail").is_symlink()
    assert not system.path("usr/lib/ucrmmail/lib").exists(), "compiled files were left"
    assert list(system.path("var/spool/ucrmmail/queue").glob("*/*"))
    assert system.path("etc/ucrmmail/config.toml").is_file()
    system.run("apt-get", "purge", "-qq", "-y", "ucrmmail")
    assert not system.path("var/spool/ucrmmail").exists()
    assert not system.path("etc/ucrmmail").exists()


def test_another_mail_system_keeps_its_sendmail(system: System, packages: tuple[Path, Path]) -> None:
    program = system.path("usr/sbin/sendmail")
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    system.install(packages[0])
    assert program.read_text() == "#!/bin/sh\nexit 0\n"
    assert system.path("usr/sbin/ucrmmail-sendmail").is_symlink()
    system.run("apt-get", "purge", "-qq", "-y", "ucrmmail")
    assert program.is_file()
