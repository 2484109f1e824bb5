"""The completions in the real shells: what Tab makes of a line, with values from a real configuration and spool."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.program import Program
from tests.support.shells import BASH, COMPLETIONS, ZSH, Terminal, program_directory
from tests.support.spools import put

# A valid local part (RFC 5322 section 3.2.3 allows all of its characters), and a command for a careless shell.
HOSTILE = "`touch$IFS$9pwned`@isp.example"


class Scene:
    """A home with a configuration, a spool, and shells; ``waiting`` and ``held`` are queue ids."""

    def __init__(self, home: Path) -> None:
        self.program = Program(home)
        self.program.configure(2525, addresses=f'support = "{HOSTILE}"', dns='domains = ["shop.example"]')
        directory, self.notes = program_directory(home)
        self.env = {**self.program.env, "PATH": f"{directory}:/usr/bin:/bin", "ZDOTDIR": str(home)}
        self.home = home
        self.waiting = put(self._spool(), "joe@example.com", "ann@example.com")
        self.held = put(self._spool(), "eve@example.com", priority="bulk")
        subprocess.run(
            [str(directory / "ucrmmail"), "queue", "hold", self.held], env=self.env, check=True, capture_output=True
        )
        (home / "other.toml").write_text(f'[smtp]\nusername = "u"\n[spool]\ndirectory = "{home}/nowhere"\n')
        (home / "other.toml").chmod(0o600)

    def _spool(self) -> str:
        from ucrmmail.spool.layout import make_spool

        make_spool(str(self.program.spool))
        return str(self.program.spool)

    def bash(self) -> Terminal:
        rc = self.home / "bashrc"
        rc.write_text(f"{BASH}\nsource {COMPLETIONS}/ucrmmail.bash\n")
        return Terminal(["bash", "--rcfile", str(rc), "-i"], self.env, self.home)

    def zsh(self) -> Terminal:
        (self.home / ".zshrc").write_text(f"fpath=({COMPLETIONS} $fpath)\n{ZSH}")
        return Terminal(["zsh", "-d", "-i"], self.env, self.home)

    def fish(self, line: str) -> dict[str, str]:
        """Return what fish offers for a line: candidates and their descriptions."""
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {COMPLETIONS}/ucrmmail.fish; complete -C $argv[1]", line],
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        pairs = (line.partition("\t") for line in done.stdout.splitlines())
        return {candidate: description for candidate, _, description in pairs}

    def started(self, during: Callable[[], object]) -> list[str]:
        """Return how the program was started meanwhile."""
        self.notes.write_text("")
        during()
        return self.notes.read_text().splitlines()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("shells") / "home")


@pytest.fixture(scope="module")
def bash(scene: Scene) -> Iterator[Terminal]:
    terminal = scene.bash()
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def zsh(scene: Scene) -> Iterator[Terminal]:
    terminal = scene.zsh()
    yield terminal
    terminal.close()


@pytest.fixture(params=["bash", "zsh"])
def terminal(request: pytest.FixtureRequest) -> Terminal:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Terminal)
    return found


# What is typed, and the whole line after one Tab; {} are queue ids.
STATIC = [
    ("conf", "config"),
    ("test-s", "test-send"),
    ("queue rel", "queue release"),
    ("--conf", "--config"),
    ("flush --time", "flush --time-limit"),
    ("flush --no", "flush --no-wait"),
    ("--config other.toml cred", "--config other.toml credentials"),
    ("queue list --state held --jso", "queue list --state held --json"),
    ("enqueue --from config que", "enqueue --from config que"),
    ("enqueue other", "enqueue other.toml"),
    ("--config=oth", "--config=other.toml"),
    ("config set smtp.ca_file ./oth", "config set smtp.ca_file ./other.toml"),
]
ASKED = [
    ("config get smtp.ho", "config get smtp.host"),
    ("config set smtp.encryption sta", "config set smtp.encryption starttls"),
    ("config set smtp.verify_certificate f", "config set smtp.verify_certificate false"),
    ("config set smtp.host ", "config set smtp.host 127.0.0.1"),
    ("config set --stdin smtp.pas", "config set --stdin smtp.password"),
    ('config get "smtp.ho', "config get smtp.host"),
    ("config unset smtp.h", "config unset smtp.host"),
    ("config unset spool.k", "config unset spool.k"),
    ("--config other.toml config unset smtp.", "--config other.toml config unset smtp.username"),
    ("--config=other.toml config unset smtp.", "--config=other.toml config unset smtp.username"),
    ("config set smtp.transport micro", "config set smtp.transport microsoft365"),
    ("config set smtp.password --store fi", "config set smtp.password --store file"),
    ("config presets gm", "config presets gmail"),
    ("queue show 1", "queue show {waiting}"),
    ("queue hold ", "queue hold {waiting}"),
    ("queue release ", "queue release {held}"),
    ("queue hold -- ", "queue hold -- {waiting}"),
    ("queue remove {held} ", "queue remove {held} {waiting}"),
    ("queue list --state wai", "queue list --state waiting"),
    ("queue list --state=wai", "queue list --state=waiting"),
    ("enqueue --priority bu", "enqueue --priority bulk"),
    ("test-send bil", "test-send billing@isp.example"),
    ("test-send --from=billing@is", "test-send --from=billing@isp.example"),
]


@pytest.mark.parametrize(("typed", "line"), STATIC)
def test_commands_options_and_files_are_completed_without_the_program(
    scene: Scene, terminal: Terminal, typed: str, line: str
) -> None:
    words: list[str] = []
    assert scene.started(lambda: words.extend(terminal.accepted(f"ucrmmail {typed}"))) == []
    assert words == ["ucrmmail", *line.split()]


@pytest.mark.parametrize(("typed", "line"), ASKED)
def test_values_are_completed_by_asking_the_program(scene: Scene, terminal: Terminal, typed: str, line: str) -> None:
    ids = {"waiting": scene.waiting, "held": scene.held}
    words: list[str] = []
    asked = scene.started(lambda: words.extend(terminal.accepted(f"ucrmmail {typed.format(**ids)}")))
    assert words == ["ucrmmail", *line.format(**ids).split()]
    assert [call.split()[0] for call in asked] == ["__complete"]


@pytest.mark.parametrize(("typed", "line"), STATIC)
def test_fish_completes_commands_options_and_files_without_the_program(scene: Scene, typed: str, line: str) -> None:
    offered: dict[str, str] = {}
    assert scene.started(lambda: offered.update(scene.fish(f"ucrmmail {typed}"))) == []
    if typed != line:
        assert line.rsplit(maxsplit=1)[-1] in offered
    else:
        assert offered == {}


@pytest.mark.parametrize(("typed", "line"), ASKED)
def test_fish_completes_values_by_asking_the_program(scene: Scene, typed: str, line: str) -> None:
    ids = {"waiting": scene.waiting, "held": scene.held}
    offered: dict[str, str] = {}
    asked = scene.started(lambda: offered.update(scene.fish(f"ucrmmail {typed.format(**ids)}")))
    if typed != line:
        assert line.format(**ids).split()[-1] in offered
    else:
        assert offered == {}
    assert {call.split()[0] for call in asked} == {"__complete"}


@pytest.mark.parametrize(
    ("typed", "candidate", "description"),
    [
        ("", "queue", "See, hold, release, retry and remove queued messages"),
        ("config ", "unset", "Take a key out of the file, so that its default applies again"),
        ("flush --", "--time-limit", "Begin no message after this time, such as 50s"),
        ("config get smtp.", "smtp.port", "[2525] The port of the smarthost"),
        ("config set smtp.transport ", "ses", "Amazon SES"),
        ("config set smtp.encryption ", "none", "as it is now"),
        ("queue show ", "{waiting}", "waiting, to joe@example.com and 1 more"),
        ("queue list --state ", "held", "1 message"),
        ("enqueue --priority ", "bulk", "after all others"),
        ("test-send ", "admin@isp.example", "system notification address"),
    ],
)
def test_zsh_and_fish_show_what_each_candidate_means(
    scene: Scene, zsh: Terminal, typed: str, candidate: str, description: str
) -> None:
    candidate = candidate.format(waiting=scene.waiting)
    assert scene.fish(f"ucrmmail {typed}")[candidate] == description
    screen = zsh.offered(f"ucrmmail {typed}", description)
    assert re.search(rf"{re.escape(candidate)} +-- {re.escape(description)}", screen)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("flush ", "--dry-run"),
        ("status ", "--json"),
        ("config edit ", "--help"),
        ("config get smtp.host ", "--json"),
        ("enqueue ", "other.toml"),
        ("test-send --subject x ", "billing@isp.example"),
    ],
)
def test_bash_shows_what_can_follow_and_never_an_error(bash: Terminal, typed: str, offered: str) -> None:
    assert "bash:" not in bash.offered(f"ucrmmail {typed}\t", offered)


def test_bash_lists_the_commands_and_nothing_hidden(bash: Terminal) -> None:
    screen = bash.offered(
        "ucrmmail ", "config", "credentials", "enqueue", "flush", "queue", "status", "test-connection", "test-send"
    )
    assert "__complete" not in screen


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_an_address_is_a_word_to_the_shell_and_never_a_command(scene: Scene, shell: str) -> None:
    terminal = scene.bash() if shell == "bash" else scene.zsh()
    try:
        assert terminal.accepted("ucrmmail test-send \\`to") == ["ucrmmail", "test-send", HOSTILE]
        terminal.offered("ucrmmail test-send ", "pwned", "billing@isp.example")
    finally:
        terminal.close()
    assert not (scene.home / "pwned").exists()


def test_an_address_is_a_word_to_fish_and_never_a_command(scene: Scene) -> None:
    assert scene.fish("ucrmmail test-send ")[HOSTILE] == "support email address"
    assert not (scene.home / "pwned").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_says_nothing_when_the_program_is_not_there(scene: Scene, shell: str) -> None:
    path = scene.env["PATH"]
    scene.env["PATH"] = "/usr/bin:/bin"
    try:
        terminal = scene.bash() if shell == "bash" else scene.zsh()
    finally:
        scene.env["PATH"] = path
    try:
        assert terminal.accepted("ucrmmail queue show 1") == ["ucrmmail", "queue", "show", "1"]
        assert "not found" not in terminal.offered("ucrmmail queue show ", "ucrmmail queue show ")
    finally:
        terminal.close()
