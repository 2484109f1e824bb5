"""The documentation does what it says: every command is run and its output compared, every link leads somewhere."""

from __future__ import annotations

import contextlib
import difflib
import re
from pathlib import Path

import pytest

from tests.docs.blocks import Page, all_pages
from tests.docs.not_run import NOT_RUN, bare, is_run
from tests.docs.output import comparable, matches
from tests.docs.session import prepared, read_aloud
from tests.docs.world import ROOT, World, machine, world_of_a_receiver
from tests.support.command_lines import mistake_in, names_the_program

PAGES = all_pages(ROOT)
RUN = [page for page in PAGES if any(is_run(command.text) for command in page.commands)]


def name_of(page: Page) -> str:
    return str(page.path.relative_to(ROOT))


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_every_command_of_a_page_ends_as_it_says_and_shows_what_it_shows(page: Page, running: World) -> None:
    with contextlib.ExitStack() as stack:
        where_it_runs = stack.enter_context(world_of_a_receiver()) if "receiver" in page.needs else running
        made = stack.enter_context(machine(where_it_runs))
        stack.enter_context(prepared(page, made))
        for came in read_aloud(page, made):
            command = came.command
            where = f"{name_of(page)}:{command.line}: {command.text}"
            shown = "\n".join(came.output)
            assert came.exit_code == command.exit_code, f"{where}\nexit code {came.exit_code}\n{shown}"
            if command.shows is not None and not matches(command.shows, came.output):
                wanted, found = (list(map(comparable, lines)) for lines in (command.shows, came.output))
                pytest.fail(f"{where}\n" + "\n".join(difflib.unified_diff(wanted, found, "shown", "came", lineterm="")))


@pytest.mark.parametrize("page", [page for page in PAGES if page.commands], ids=name_of)
def test_every_command_of_a_page_can_be_typed(page: Page) -> None:
    """Those that cannot be run here too."""
    for command in page.commands:
        if names_the_program(command.text):
            assert mistake_in(command.text) == "", f"{name_of(page)}:{command.line}: {command.text}"


def test_what_is_not_run_is_still_in_the_documentation() -> None:
    assert set(NOT_RUN) - {bare(command.text) for page in PAGES for command in page.commands} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page: Page) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.path.read_text()):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.path.parent / name).resolve() if name else page.path
        assert file.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{name_of(page)}: {target}"


def _anchors(file: Path) -> set[str]:
    """The names of headings, as they are made of their texts on every forge."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_index() -> None:
    """Or, for a decision, from the list of them."""
    for folder in (ROOT / "docs", ROOT / "docs" / "decisions"):
        index = (folder / "README.md").read_text()
        below = {str(path.relative_to(folder)) for path in folder.rglob("*.md")}
        own = {name for name in below if not name.startswith("decisions/0")} - {"README.md"}
        assert {name for name in own if f"({name})" not in index} == set()


def test_the_readme_fits_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
