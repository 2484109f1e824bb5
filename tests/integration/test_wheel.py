"""The wheel, built and installed: pages and completions are where man and the shells look for them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shells import BASH, ZSH, Terminal
from tools.docs.completions import completions
from tools.docs.pages import pages

ROOT = Path(__file__).parents[2]
PLACES = {
    "ucrmmail.bash": "bash-completion/completions/ucrmmail",
    "_ucrmmail": "zsh/site-functions/_ucrmmail",
    "ucrmmail.fish": "fish/vendor_completions.d/ucrmmail.fish",
} | {name: f"man/man{name[-1]}/{name}" for name in pages()}


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``share/`` holds after an installation."""
    directory = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", str(directory), str(ROOT))
    (wheel,) = directory.glob("ucrmmail-*.whl")
    pip("install", "--no-deps", "--no-index", "--ignore-installed", "--prefix", str(directory / "usr"), str(wheel))
    return directory / "usr" / "share"


@pytest.fixture
def env(share: Path) -> dict[str, str]:
    home = share.parent / "home"
    home.mkdir(exist_ok=True)
    return {
        "HOME": str(home),
        "PATH": f"{share.parent}/bin:/usr/bin:/bin",
        "XDG_DATA_DIRS": f"{share}:/usr/share",
        "ZDOTDIR": str(home),
    }


@pytest.fixture
def terminals(env: dict[str, str], share: Path) -> Iterator[dict[str, Terminal]]:
    home = Path(env["HOME"])
    (home / "bashrc").write_text(f"source /usr/share/bash-completion/bash_completion\n{BASH}")
    (home / ".zshrc").write_text(f"fpath=({share}/zsh/site-functions $fpath)\n{ZSH}")
    found = {
        "bash": Terminal(["bash", "--rcfile", str(home / "bashrc"), "-i"], env, home),
        "zsh": Terminal(["zsh", "-d", "-i"], env, home),
    }
    yield found
    for terminal in found.values():
        terminal.close()


def test_all_pages_and_completions_are_installed_and_nothing_else(share: Path) -> None:
    installed = {str(path.relative_to(share)): path.read_text() for path in share.rglob("*") if path.is_file()}
    made = pages() | completions()
    assert installed == {PLACES[name]: made[name] for name in made}, "see shared-data in pyproject.toml"


def test_tools_and_tests_are_not_installed(share: Path) -> None:
    tops = {path.name for path in (share.parent / "lib").glob("python*/site-packages/*")}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"ucrmmail"}


def test_the_shells_find_the_completion_by_themselves(terminals: dict[str, Terminal], env: dict[str, str]) -> None:
    for terminal in terminals.values():
        assert terminal.accepted("ucrmmail conf") == ["ucrmmail", "config"]
    done = subprocess.run(
        ["fish", "-c", 'complete -C "ucrmmail conf"'], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("config\t")


@pytest.mark.parametrize(
    ("section", "page", "words"),
    [
        ("1", "ucrmmail-queue", "see, hold, release"),
        ("5", "ucrmmail-queue", "the queue on disk"),
        ("5", "ucrmmail.toml", "throttler.message_limit"),
        ("7", "ucrmmail", "TROUBLESHOOTING"),
    ],
)
def test_man_finds_the_page_in_its_section(share: Path, section: str, page: str, words: str) -> None:
    done = subprocess.run(
        ["mman", "-c", "-T", "ascii", "-O", "width=200", "-M", str(share / "man"), "-s", section, page],
        capture_output=True,
        check=True,
    )
    assert words in re.sub(r".\x08", "", done.stdout.decode())


@pytest.mark.parametrize("name", ["ucrmmail", "ucrmmail-sendmail"])
def test_a_start_script_runs_and_imports_nothing_of_its_own(share: Path, name: str) -> None:
    """What an installer writes for an entry point may import `re`; ours are installed as they are, for its Python."""
    script = share.parent / "bin" / name
    first, *rest = script.read_text().splitlines()
    assert first == f"#!{sys.executable}"
    imported = [line for line in rest if "import" in line]
    assert imported
    assert all(line.startswith("from ucrmmail.") for line in imported)
    done = subprocess.run([script, "--help"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    assert name in done.stdout
