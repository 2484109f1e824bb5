"""pipx and uv install the wheel as a tool, with its man pages and completions; the sdist builds the same wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent

pytestmark = pytest.mark.timeout(900)


def works(program: Path, home: Path) -> None:
    """Assert that the installed programs run, and that what belongs to them is beside them."""
    # Root's own queue is the machine's: what is tried stays in its place.
    config = home / "config.toml"
    config.write_text(f'[spool]\ndirectory = "{home}/spool"\n')
    config.chmod(0o600)
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "UCRMMAIL_CONFIG": str(config)}
    version = subprocess.run([program, "--version"], env=env, capture_output=True, text=True, check=True).stdout
    assert version.startswith("ucrmmail 0.")
    sendmail = program.with_name("ucrmmail-sendmail")
    message = b"From: a@isp.example\nTo: joe@example.com\n\nhi\n"
    subprocess.run([sendmail, "-t"], env=env, input=message, check=True)
    queued = subprocess.run([program, "queue", "list"], env=env, capture_output=True, text=True, check=True).stdout
    assert "joe@example.com" in queued
    share = program.resolve().parents[1] / "share"
    assert (share / "man" / "man1" / "ucrmmail.1").is_file()
    assert (share / "bash-completion" / "completions" / "ucrmmail").is_file()


def test_pipx_installs_it(tmp_path: Path, wheelhouse: Path, offline: dict[str, str]) -> None:
    (wheel,) = wheelhouse.glob("ucrmmail-*.whl")
    places = {name: str(tmp_path / name.lower()) for name in ("PIPX_HOME", "PIPX_BIN_DIR", "PIPX_MAN_DIR")}
    env = {**offline, **places, "HOME": str(tmp_path), "PIPX_DEFAULT_PYTHON": sys.executable}
    # Its shared libraries are pip itself, which the interpreter brings along.
    subprocess.run([TOOLS / "pipx", "install", "--backend", "pip", str(wheel)], env=env, check=True)
    works(Path(places["PIPX_BIN_DIR"]) / "ucrmmail", tmp_path)
    assert (Path(places["PIPX_MAN_DIR"]) / "man1" / "ucrmmail.1").exists()


def test_uv_installs_it(tmp_path: Path, wheelhouse: Path, offline: dict[str, str]) -> None:
    (wheel,) = wheelhouse.glob("ucrmmail-*.whl")
    env = {
        "PATH": offline["PATH"], "HOME": str(tmp_path), "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"), "UV_CACHE_DIR": str(tmp_path / "cache"), "UV_PYTHON": sys.executable,
    }  # fmt: skip
    command = [str(TOOLS / "uv"), "tool", "install", "--no-config", "--offline", "--no-index"]
    subprocess.run([*command, "--find-links", str(wheelhouse), str(wheel)], env=env, check=True)
    works(tmp_path / "bin" / "ucrmmail", tmp_path)


def sdist(target: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--outdir", str(target), str(ROOT)], check=True, capture_output=True
    )
    (built,) = target.glob("*.tar.gz")
    return built


def test_two_sdists_are_the_same_bytes_and_hold_what_a_distribution_needs(tmp_path: Path) -> None:
    first, second = sdist(tmp_path / "a"), sdist(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {
        "LICENSE", "CHANGELOG.md", "Makefile", "man/ucrmmail.1", "completions/ucrmmail.bash", "debian/rules",
        "tests/demo.py", "docs/decisions/0001-typer-below-0.29.md",
    } <= names  # fmt: skip
    assert not any("__pycache__" in name or name.startswith(("dist/", ".venv")) for name in names)


def test_the_sdist_builds_the_same_wheel_as_the_checkout(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    env = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([*pip, str(tmp_path / "one"), str(sdist(tmp_path))], env=env, check=True)
    subprocess.run([*pip, str(tmp_path / "two"), str(ROOT)], env=env, check=True)
    (one,), (two,) = (list((tmp_path / name).glob("*.whl")) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
