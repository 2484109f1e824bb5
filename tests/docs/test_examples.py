"""The examples of every ``--help`` and of the manual work when they are pasted, on a machine with an account.

Those that a page has too are run there, and what they show is compared.

Each begins on the same state. Programs of others that an example names are small stand-ins.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.docs.blocks import Command, Page, all_pages
from tests.docs.not_run import EXAMPLES_NOT_RUN, bare, is_run
from tests.docs.places import PASSWORDS
from tests.docs.session import prepared, type_command
from tests.docs.world import ROOT, Machine, World, machine
from tests.support.command_lines import names_the_program
from tools.docs.tree import command_tree

_OF_THE_HELP = [line for command in command_tree().walk() for line in command.examples]
_OF_THE_MANUAL = [
    line.strip()
    for source in sorted((ROOT / "man" / "src").iterdir())
    for line in source.read_text().splitlines()
    if line.startswith("    ") and (names_the_program(line) or "| ucrmmail-sendmail " in line)
]
_ON_PAGES = {bare(command.text) for page in all_pages(ROOT) for command in page.commands if is_run(command.text)}
EXAMPLES = tuple(dict.fromkeys((*_OF_THE_HELP, *_OF_THE_MANUAL)))
SECRET = "correct horse battery staple"
# What a person answers.
ANSWERS = {
    "ucrmmail setup billing@isp.example": ("mail.isp.example", "relay", SECRET, "y", "n"),
    "ucrmmail setup me@isp.example": ("mail.isp.example", "relay", SECRET, "y", "n"),
    "ucrmmail setup relay@isp.example --host mail.isp.example --username relay": (SECRET, "y", "n"),
    "ucrmmail config set oauth.client_secret": ("a secret",),
    "ucrmmail config set smtp.password": (SECRET,),
    "ucrmmail config set smtp.password --store file": (SECRET,),
    "ucrmmail config set smtp.password          # asks; it never enters the file": (SECRET,),
    "less $(ucrmmail config path 2>/dev/null)": ("q",),
    "ucrmmail credentials delete": ("y",),
}
# How those end that find something, or for which this machine has nothing: 0 for all others.
ENDS = {
    # Nothing runs the queue of this machine.
    "ucrmmail doctor": 1,
    "ucrmmail doctor --quiet --strict            # silent when all is well": 1,
    "ucrmmail doctor --only schedule,flush,queue": 1,
    "ucrmmail doctor --skip dns --json | jq '.checks[]|select(.verdict==\"fail\")'": 1,
    # There is no credentials.command yet.
    "ucrmmail config set smtp.password --store command": 78,
    # The message is not signed, the mailbox has no password yet, and the queue id is an example.
    "ucrmmail check-dns --message sent.eml": 1,
    "ucrmmail test-send --verify-imap imap.example.com me@example.com": 78,
    "ucrmmail queue show 1-20261123T110559.123456-k3x9qa": 66,
}
STAND_INS = {
    "pass": f"echo '{PASSWORDS['you@gmail.com']}'",
    "generate-mail": "cat ~/invoice.eml",
    "nano": "exit 0",
    "sensible-editor": "exit 0",
}
_PREPARE = """
mkdir -p invoices newsletter
cp invoice.eml invoices/1.eml
cp invoice.eml newsletter/1.eml
cp invoice.eml sent.eml
printf '%%PDF-1.4' > invoice.pdf
cp .config/ucrmmail/config.toml draft.toml
ucrmmail check-dns isp.example --only spf --save known.json > /dev/null
ucrmmail enqueue --from news@shop.example invoice.eml > /dev/null
cp -a . /mnt/home-of-you
"""
_AGAIN = "find . -mindepth 1 -delete && cp -a /mnt/home-of-you/. ."


@pytest.fixture(scope="module")
def desk(running: World) -> Iterator[Machine]:
    page = Page(ROOT / "help", needs=["account", "invoice", "keyring"])
    with machine(running) as made, prepared(page, made):
        for name, body in STAND_INS.items():
            made.write(f"/usr/local/bin/{name}", f"#!/bin/sh\n{body}\n")
            subprocess.run(made.command("chmod", "755", f"/usr/local/bin/{name}", root=True), check=True)
        subprocess.run(made.command("sh", "-euc", _PREPARE), env=made.env(), check=True)
        yield made


@pytest.mark.parametrize("example", [line for line in EXAMPLES if bare(line) not in {*EXAMPLES_NOT_RUN, *_ON_PAGES}])
def test_an_example_works_when_it_is_pasted(example: str, desk: Machine) -> None:
    subprocess.run(desk.command("sh", "-euc", _AGAIN), env=desk.env(), check=True)
    came = type_command(Command(0, example, types=ANSWERS.get(example, ())), desk)
    shown = "\n".join(came.output)
    assert came.exit_code == ENDS.get(example, 0), shown
    assert not re.search(r"Traceback|internal error|command not found", shown)


def test_what_is_said_of_an_example_is_said_of_one_that_is_there() -> None:
    assert set(ANSWERS) | set(ENDS) <= set(EXAMPLES)
    assert set(EXAMPLES_NOT_RUN) <= {bare(line) for line in EXAMPLES}


@pytest.mark.parametrize("example", _OF_THE_HELP)
def test_an_example_of_the_help_fits_a_terminal_of_80_columns(example: str) -> None:
    indented_by = 4
    assert len(example) + indented_by <= 80
