"""The manual, the completions and --help say what the program does: nothing is missing, stale or ill-formed."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.command_lines import mistake_in, names_the_program
from tests.support.manual import MAN, ROOT, holds_word, rendered, section
from tools.docs.completions import completions
from tools.docs.pages import pages
from tools.docs.pictures import pictures
from tools.docs.reference import reference
from tools.docs.tree import Command, command_tree
from ucrmmail import __main__, errors, sendmail
from ucrmmail.config.schema import KEYS, Key
from ucrmmail.doctor.check import CHECKS
from ucrmmail.errors import UcrmmailError
from ucrmmail.sendmail import parse_arguments
from ucrmmail.spool import layout

TREE = command_tree()
COMMANDS = [command for command in TREE.walk() if command.path]
PAGES = sorted(pages())


def page_of(command: Command) -> str:
    return f"ucrmmail-{command.path[0]}.1" if command.path else "ucrmmail.1"


def title_of(command: Command) -> str:
    return " ".join(("ucrmmail", *command.path))


def test_what_is_checked_in_is_what_make_docs_makes() -> None:
    checked_in = {path.name: path.read_text() for path in MAN.glob("*.[1-8]")}
    checked_in |= {path.name: path.read_text() for path in (ROOT / "completions").iterdir()}
    checked_in |= {path.name: path.read_text() for path in (ROOT / "docs" / "reference").iterdir()}
    checked_in |= {path.name: path.read_text() for path in (ROOT / "docs" / "pictures").iterdir()}
    made = pages() | completions() | reference() | pictures()
    assert sorted(checked_in) == sorted(made), "run `make docs`"
    stale = [name for name, text in made.items() if checked_in[name] != text]
    assert stale == [], "run `make docs`"


@pytest.mark.parametrize("page", PAGES)
def test_mandoc_finds_nothing_to_complain_of(page: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "style", page], cwd=MAN, capture_output=True, text=True, check=False
    )
    # Whether other pages are installed on this machine is no matter of the page.
    elsewhere = ("referenced manual not found", "outdated mandoc.db")
    assert [
        line for line in (done.stdout + done.stderr).splitlines() if not any(text in line for text in elsewhere)
    ] == []


@pytest.mark.parametrize("page", PAGES)
def test_pages_refer_only_to_pages_of_ours_that_exist(page: str) -> None:
    references = set(re.findall(r"\b(ucrmmail[a-z.-]*)\((\d)\)", rendered(page)))
    assert {f"{name}.{number}" for name, number in references} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_ends_in_references(page: str) -> None:
    assert "(" in section(page, "SEE ALSO")


@pytest.mark.parametrize("command", COMMANDS, ids=title_of)
def test_every_command_is_in_its_page_and_in_the_overview(command: Command) -> None:
    if not command.commands:
        assert title_of(command) in section(page_of(command), "SYNOPSIS")
    overview = section("ucrmmail.1", "COMMANDS")
    assert f"ucrmmail-{command.path[0]}(1)" in overview
    assert all(holds_word(overview, word) for word in command.path[1:])


@pytest.mark.parametrize("command", [TREE, *COMMANDS], ids=title_of)
def test_every_option_and_argument_is_in_its_page(command: Command) -> None:
    text = section(page_of(command), "OPTIONS") + section(page_of(command), "COMMANDS")
    for option in command.options:
        for name in (*option.names, *option.negatives):
            assert holds_word(text, f"{name} {option.metavar}".strip()), name
    for argument in command.arguments:
        assert holds_word(section(page_of(command), "SYNOPSIS"), argument.metavar)


@pytest.mark.parametrize("command", TREE.commands, ids=title_of)
def test_every_command_has_a_part_that_was_written_for_it(command: Command) -> None:
    """A new command has a page at once; this is what is left to write, in man/src/."""
    source = ROOT / "man" / "src" / f"{page_of(command)}.txt"
    assert source.is_file(), f"{source} is missing: say what the help cannot"
    titles = re.findall(r"^= (.+)$", source.read_text(), re.MULTILINE)
    assert {"DESCRIPTION", "EXIT STATUS"} <= set(titles)
    reports = any("--json" in option.names for each in command.walk() for option in each.options)
    assert ("JSON FIELDS" in titles) == reports


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.path)
def test_every_key_is_in_the_manual_with_type_default_and_example(key: Key) -> None:
    text = section("ucrmmail.toml.5", "KEYS")
    paths = "|".join(re.escape(f"  {path}\n") for path in KEYS)
    found = re.search(
        rf"^ +{re.escape(key.path)}\n(.*?)(?=^ *(?:{paths}|The table)|\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found is not None
    entry = found[1]
    assert f"type:     {key.kind.name}; {key.allowed}" in entry
    assert ("default: " in entry) != key.secret
    assert f"ucrmmail config set {key.path} {key.example}".rstrip() in entry
    assert key.unit in entry


@pytest.mark.requirement("R18")
def test_every_exit_code_is_in_the_overview() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UcrmmailError)]
    codes = {kind.exit_code for kind in kinds} | {0, __main__.EXIT_INTERRUPTED, sendmail.EX_USAGE}
    told = set(map(int, re.findall(r"^ +(\d+)\s", section("ucrmmail.1", "EXIT STATUS"), re.MULTILINE)))
    assert told == codes


@pytest.mark.requirement("R18")
@pytest.mark.parametrize("page", [page for page in PAGES if page.endswith(".1") and page != "ucrmmail.1"])
def test_a_page_names_no_exit_code_that_the_overview_does_not(page: str) -> None:
    pattern = re.compile(r"^ +(\d+)\s", re.MULTILINE)
    told = set(pattern.findall(section(page, "EXIT STATUS")))
    assert "0" in told
    assert told <= set(pattern.findall(section("ucrmmail.1", "EXIT STATUS")))


def variables_in(module: Path) -> set[str]:
    """The names of environment variables among the strings of a module."""
    pattern = re.compile(r"(UCRMMAIL|XDG|DBUS|CREDENTIALS)_[A-Z_]+|HOME|PATH|VISUAL|EDITOR")
    nodes = ast.walk(ast.parse(module.read_text()))
    found = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in found if pattern.fullmatch(text)}


def test_every_check_of_the_doctor_is_on_its_page() -> None:
    text = section("ucrmmail-doctor.1", "DESCRIPTION")
    assert [name for name in CHECKS if not re.search(rf"^ +{name}\b", text, re.MULTILINE)] == []


def test_every_environment_variable_is_in_the_overview() -> None:
    variables = set().union(*map(variables_in, (ROOT / "ucrmmail").rglob("*.py")))
    assert {"UCRMMAIL_CONFIG", "UCRMMAIL_SMTP_PASSWORD", "UCRMMAIL_DEBUG", "EDITOR"} <= variables
    text = section("ucrmmail.1", "ENVIRONMENT")
    assert {name for name in variables if not holds_word(text, name)} == set()


def test_every_option_of_the_sendmail_interface_is_in_its_page() -> None:
    text = section("ucrmmail-sendmail.1", "DESCRIPTION")
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        try:
            parse_arguments([f"-{letter}", "value"])
        except errors.UsageError as error:
            known = "unknown option" not in error.what
        else:
            known = True
        assert known == holds_word(text, f"-{letter}"), letter


def test_every_place_of_the_spool_is_in_its_page() -> None:
    text = section("ucrmmail-queue.5", "DESCRIPTION")
    places = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str)}
    assert {"queue", "deferred", "drop", "rejected"} <= places
    assert {place for place in places if f" {place}/" not in text} - {layout._ALPHABET} == set()


@pytest.mark.parametrize("command", COMMANDS, ids=title_of)
def test_every_help_has_a_purpose_of_one_line_and_an_example(command: Command) -> None:
    assert 10 <= len(command.purpose) <= 100
    assert command.purpose[0].isupper()
    assert any("ucrmmail" in line and " ".join(command.path) in line for line in command.examples)
    assert all(option.help for option in command.options)


@pytest.mark.parametrize("group", [each for each in TREE.walk() if each.commands], ids=title_of)
def test_no_purpose_is_cut_short_in_the_list_of_commands(group: Command) -> None:
    """On 80 columns: two of margin, six of indentation and gap, and the longest name."""
    room = 80 - 2 - 6 - max(len(each.name) for each in group.commands)
    assert [each.purpose for each in group.commands if len(each.purpose) + len(".") > room] == []


def lines_to_type() -> list[tuple[str, str]]:
    """Every line with a call of ``ucrmmail`` in a help text, in the manual and in the README, and where it stands."""
    found = [(title_of(command), line) for command in TREE.walk() for line in command.examples]
    for source in (*sorted((ROOT / "man" / "src").iterdir()), ROOT / "README.md"):
        found += [(source.name, line.strip()) for line in source.read_text().splitlines() if line.startswith("    ")]
    return [(where, line) for where, line in found if names_the_program(line)]


@pytest.mark.parametrize(("where", "line"), lines_to_type())
def test_what_an_example_shows_can_be_typed(where: str, line: str) -> None:
    assert mistake_in(line) == "", f"{where}: {line}"
