"""docs/reference and docs/pictures: nothing is left out of what they are made of, and they ask nobody on the web."""

from __future__ import annotations

import re

import pytest

from tools.docs.overview_page import exit_codes
from tools.docs.pictures import pictures
from tools.docs.reference import reference
from tools.docs.tree import Command, command_tree
from ucrmmail.config.schema import KEYS
from ucrmmail.dns.codes import CODES

MADE = reference()
COMMANDS = [command for command in command_tree().walk() if command.path]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.path))
def test_a_command_has_a_part_with_all_its_options(command: Command) -> None:
    title = f"## ucrmmail {' '.join(command.path)}\n"
    assert title in MADE["commands.md"]
    part = MADE["commands.md"].partition(title)[2].partition("\n## ")[0]
    for option in command.options:
        assert all(name in part for name in (*option.names, *option.negatives))
        assert option.help.replace("|", "\\|") in part
    if not command.commands:
        assert all(example in part for example in command.examples)


def test_keys_codes_and_findings_are_all_there() -> None:
    assert [key for key in KEYS if f"\n### {key}\n" not in MADE["configuration.md"]] == []
    assert [code for code in exit_codes() if f"\n| {code} | " not in MADE["exit-codes.md"]] == []
    assert [code for code in CODES if f"\n### {code}\n\n{CODES[code]}" not in MADE["findings.md"]] == []


def test_every_command_that_reports_is_among_the_json_fields() -> None:
    reporting = {command.path[0] for command in COMMANDS if any("--json" in option.names for option in command.options)}
    assert {name for name in reporting if f"\n## ucrmmail {name}\n" not in MADE["json.md"]} == set()


@pytest.mark.parametrize("name", sorted(pictures()))
def test_a_picture_asks_nobody_and_shows_a_command(name: str) -> None:
    svg = pictures()[name]
    assert set(re.findall(r"https?://[^\"<\s]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert ">ucrmmail&#160;" in svg
    assert svg == pictures()[name]
