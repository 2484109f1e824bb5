"""A command that is new has a page and is completed at once: nothing in the generator knows the commands by name."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Annotated

import pytest
import typer

from tools.docs.bash import bash_completion
from tools.docs.command_pages import command_page
from tools.docs.fish import fish_completion
from tools.docs.tree import Command, tree_of
from tools.docs.words import kind_of
from tools.docs.zsh import zsh_completion

PURPOSE = "Look at what the [DNS] says: 'SPF', \"DKIM\" and $HOME.\\ `--selector` helps."


def check_dns(
    domains: Annotated[list[str] | None, typer.Argument(metavar="[DOMAIN]...", help="Those of a.b: none.")] = None,
    selectors: Annotated[list[str] | None, typer.Option("--selector", metavar="S", help="A [selector]: 's1'.")] = None,
    draft: Annotated[str, typer.Option("--draft", "-d", metavar="FILE", help=".eml, or \\n.")] = "",
    strict: Annotated[bool, typer.Option("--strict/--lax", help="It's 100% $strict.")] = True,
    secret: Annotated[bool, typer.Option("--secret", hidden=True)] = False,
) -> None:
    del domains, selectors, draft, strict, secret


@pytest.fixture
def tree() -> Command:
    app = typer.Typer()
    outer, inner = typer.Typer(help="A group. Of groups."), typer.Typer(help="A group in a group.")
    inner.command("deep", help="Go down.", epilog="\b\nExample:\n  ucrmmail outer inner deep")(check_dns)
    outer.add_typer(inner, name="inner")
    app.add_typer(outer, name="outer")
    app.command("check-dns", help=PURPOSE, epilog="\b\nExample:\n  ucrmmail check-dns isp.example")(check_dns)
    app.command("hidden", hidden=True)(check_dns)
    return tree_of(app)


def test_its_page_is_whole_and_well_formed(tree: Command, tmp_path: Path) -> None:
    for command in tree.commands:
        page = tmp_path / f"ucrmmail-{command.name}.1"
        page.write_text(command_page(command))
        lint = subprocess.run(
            ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False
        )
        assert lint.stdout + lint.stderr == ""
        done = subprocess.run(["mandoc", "-T", "ascii", page], capture_output=True, text=True, check=True)
        shown = re.sub(r".\x08", "", done.stdout)
        for word in ("--selector S", "--draft FILE", "-d", "--strict", "--lax", "DOMAIN", f"ucrmmail {command.name}"):
            assert word in shown, word
        assert "--secret" not in shown


@pytest.mark.parametrize(
    ("shell", "suffix", "script"),
    [("bash", "bash", bash_completion), ("zsh", "zsh", zsh_completion), ("fish", "fish", fish_completion)],
)
def test_its_completion_is_a_script_that_the_shell_reads(
    tree: Command, tmp_path: Path, shell: str, suffix: str, script: object
) -> None:
    assert callable(script)
    file = tmp_path / f"ucrmmail.{suffix}"
    file.write_text(script(tree))
    done = subprocess.run([shell, "-n", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = file.read_text()
    for word in ("check-dns", "selector", "strict", "lax", "deep", "domain"):
        assert word in text
    assert "secret" not in text
    assert "hidden" not in text


def test_fish_offers_it_with_what_it_is(tree: Command, tmp_path: Path) -> None:
    file = tmp_path / "ucrmmail.fish"
    file.write_text(fish_completion(tree))
    done = subprocess.run(
        [
            "fish",
            "--no-config",
            "-c",
            f"source {file}; complete -C 'ucrmmail '; complete -C 'ucrmmail outer inner deep --'",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "check-dns\tLook at what the [DNS] says: 'SPF', \"DKIM\" and $HOME.\\ `--selector` helps" in done.stdout
    assert "--strict\tIt's 100% $strict" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("metavar", "kind"), [("FILE", "file"), ("QUEUE_ID", "queue-id"), ("DOMAIN", "domain"), ("S", ""), ("TEXT", "")]
)
def test_the_name_of_a_value_says_how_it_is_completed(metavar: str, kind: str) -> None:
    assert kind_of(metavar) == kind
