"""What a wrong command line, and a question for the version, are answered with."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from ucrmmail import __version__
from ucrmmail.cli.boundary import run_command
from ucrmmail.cli.version import LIBRARIES

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("flush --dryrun", "did you mean --dry-run?"),
        ("qeue list", "Did you mean 'queue'"),
        ("queue lst", "Did you mean 'list'?"),
        ("config set smtp.hst x", "did you mean smtp.host?"),
        ("--json status", "put it behind the command"),
        ("--config x.toml", "Missing command."),
        ("flush --message-limit many", "see `ucrmmail flush --help`"),
    ],
)
def test_a_wrong_command_line_is_told_with_what_was_meant(
    capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    assert run_command(line.split()) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert "remedy: " in printed.err
    assert printed.out == ""


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([]) == 2
    assert "Commands:" in capsys.readouterr().out


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"ucrmmail {__version__}\n"


@pytest.mark.parametrize("line", ["--version --json", "--json --version"])
def test_the_version_for_a_report_names_libraries_and_paths(capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert run_command(["--config", "/etc/x.toml", *line.split()]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["version"] == __version__
    assert document["config"] == "/etc/x.toml"
    assert document["config_exists"] is False
    assert all(re.match(r"\d", version) for version in document["libraries"].values())


def test_the_libraries_are_those_that_are_asked_for() -> None:
    asked_for = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    assert list(LIBRARIES) == [re.split(r"[<>=]", each)[0] for each in asked_for]
