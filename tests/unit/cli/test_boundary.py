"""What a wrong command line, and a question for the version, are answered with."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ucrmmail import __version__
from ucrmmail.cli import main
from ucrmmail.cli.boundary import run_command
from ucrmmail.cli.grouped import in_groups
from ucrmmail.cli.main import command_tree
from ucrmmail.cli.version import LIBRARIES, OPTIONAL_LIBRARIES
from ucrmmail.streams import StandardOutput

COMMANDS = list(main._ADD)
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def run(arguments: list[str]) -> int:
    assert sys.__stdout__ is not None
    return run_command(arguments, StandardOutput(sys.__stdout__))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("flush --dryrun", "did you mean --dry-run?"),
        ("queue list --config x.toml", "it goes before the command, as in `ucrmmail --config FILE flush`"),
        ("qeue list", "Did you mean 'queue'"),
        ("queue lst", "Did you mean 'list'?"),
        ("config set smtp.hst x", "did you mean smtp.host?"),
        ("--json status", "put it behind the command"),
        ("--config x.toml", "Missing command."),
        ("flush --message-limit many", "see `ucrmmail flush --help`"),
        ("flush --message-limit many", "--message-limit: 'many' is not a whole number"),
        ("flush --time-limit", "--time-limit needs a value\n  remedy: see `ucrmmail flush --help`"),
        ("--config x.toml setup --host", "--host needs a value\n  remedy: see `ucrmmail setup --help`"),
        ("--config", "--config needs a value\n  remedy: see `ucrmmail --help`"),
        ("config get a b c", "too many arguments: `ucrmmail config get` takes 1: KEY\n"),
        ("status a", "too many arguments: `ucrmmail status` takes none\n"),
        ("nonsense", "ucrmmail: there is no such command\n"),
        ("config set smtp.username=joe", "did you mean smtp.username? A blank stands between a key and its value"),
        ("config set passwort joe", "did you mean smtp.password?"),
        ("test-send", "ADDRESS... is missing"),
        ("config set", "KEY is missing"),
        ("config presets gmial", "did you mean gmail?"),
        ("queue list --state waitng", "did you mean waiting?"),
        ("doctor --only spol", "did you mean spool?"),
        ("check-dns --only dmark isp.example", "did you mean dmarc?"),
        ("check-dns --panel cloudflar isp.example", "did you mean cloudflare?"),
        ("check-dns --explain spf-to-many-lookups", "did you mean spf-too-many-lookups?"),
        ("check-dns --ignore dmarc-mising isp.example", "did you mean dmarc-missing?"),
        ("setup a@isp.example --store keyrng", "did you mean keyring?"),
        ("setup a@isp.example --encryption startls", "did you mean starttls?"),
        ("setup a@isp.example --transport gmial", "did you mean gmail?"),
        ("config set smtp.password --store fille", "did you mean file?"),
        ("login --flow device", "did you mean device-code?"),
        ("enqueue --priority urgnt x.eml", "did you mean urgent?"),
    ],
)
def test_a_wrong_command_line_is_told_with_what_was_meant(
    capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    assert run(line.split()) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert "remedy: " in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("words", [["flush"], ["config", "path"], ["--version"]])
def test_an_empty_name_of_a_configuration_is_not_taken_for_the_default(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """As of a variable that is not set: the mail of another account would go."""
    assert run(["--config", "", *words]) == 2
    assert "--config names no file" in capsys.readouterr().err


CANARY = "CanaryArgQ7"


@pytest.mark.requirement("S8")
@pytest.mark.parametrize(
    "line",
    [
        "config set smtp.password=CANARY",
        "config set smtp.password:CANARY",
        "config set smtp.password= CANARY",
        "config set SMTP.Password=CANARY",
        "config set password=CANARY",
        "config set account.password=CANARY",
        "config set --password=CANARY",
        "config set smtp.host --password=CANARY",
        "config set oauth.client_secret=CANARY",
        "config set client-secret=CANARY",
        "config unset smtp.password=CANARY",
    ],
)
def test_a_secret_joined_to_its_key_is_refused_like_one_behind_it(
    capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert run(line.replace("CANARY", CANARY).split()) == 2
    told = capsys.readouterr().err
    key = "oauth.client_secret" if "client" in line else "smtp.password"
    assert told.startswith(f"ucrmmail: {key}: a secret is not taken from the command line\n  why:    every user of")
    assert f"  remedy: `ucrmmail config set {key}` asks for it; or pipe it in with --stdin\n" in told
    assert CANARY not in told


@pytest.mark.requirement("S8")
@pytest.mark.parametrize(
    "line",
    [
        "config set smtp.pasword=CANARY",
        "config set CANARY",
        "config set smtp.passwordCANARY",
        "config set smtp.password.CANARY",
        "config set -pCANARY",
        "config set smtp.host --passwd=CANARY",
        "config set smtp.password --store CANARY",
        "config get smtp.password CANARY",
        "config smtp.password=CANARY",
        "smtp.password=CANARY",
        "credentials CANARY",
        "credentials status CANARY",
        "credentials delete --store CANARY",
        "login CANARY",
        "login --store CANARY",
        "login --password:CANARY",
        "setup a@isp.example CANARY",
        "setup a@isp.example --store CANARY",
        "setup --password-stdin CANARY",
        "setup --password-stdin=CANARY",
        "flush --password=CANARY",
        "test-send --from a@isp.example --verify-imap joe:CANARY@imap.isp.example a@isp.example",
    ],
)
def test_what_may_be_a_secret_in_the_wrong_place_is_not_repeated(
    capsys: pytest.CaptureFixture[str], line: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[smtp]\nhost = 'mail.isp.example'\n")
    config.chmod(0o600)
    arguments = ["--config", str(config), *line.replace("CANARY", CANARY).split()]
    assert run(arguments) in (2, 67)
    told = capsys.readouterr().err
    assert "remedy: " in told
    assert "canary" not in told.lower()


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Set up:" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["--help", "--help flush", "-h queue"])
def test_the_help_of_the_program_shows_every_command(capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert run(line.split()) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in COMMANDS)


def test_every_command_is_in_a_group_of_the_help_once() -> None:
    assert sorted(name for names in main._Day.groups.values() for name in names) == sorted(COMMANDS)


def test_options_without_a_group_come_last() -> None:
    program: Any = get_command(command_tree(["check-dns"]))
    command = program.commands["check-dns"]
    groups = in_groups(param for param in command.params if param.param_type_name == "option")
    assert list(groups)[-1] == ""
    assert [option.name for option in groups[""]] == ["as_json"]
    assert sum(map(len, groups.values())) == sum(param.param_type_name == "option" for param in command.params)


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"ucrmmail {__version__}\n"


@pytest.mark.parametrize("line", ["--version --json", "--json --version"])
def test_the_version_for_a_report_names_libraries_and_paths(capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert run(["--config", "/etc/x.toml", *line.split()]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["version"] == __version__
    assert document["config"] == "/etc/x.toml"
    assert document["config_exists"] is False
    assert all(re.match(r"\d", version) for version in document["libraries"].values())


def test_the_libraries_are_those_that_are_asked_for() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    asked_for = project["dependencies"]
    optional = [each for extra in project["optional-dependencies"].values() for each in extra]
    assert list(OPTIONAL_LIBRARIES) == [re.split(r"[<>=]", each)[0] for each in optional]
    assert list(LIBRARIES) == [re.split(r"[<>=]", each)[0] for each in asked_for]
