"""A page, typed by a reader: its commands one after another on one machine, each on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait

from tests.docs.blocks import Afresh, Command, File, Page
from tests.docs.not_run import is_run
from tests.docs.output import plain
from tests.docs.places import PASSWORDS
from tests.docs.world import Machine

_PATIENCE_S = 40.0
# What a page may need, as what is typed on the machine before it begins.
_RELAY = """
ucrmmail config set smtp.host mail.isp.example
ucrmmail config set smtp.username relay
printf '%s\\n' "$SECRET" | ucrmmail config set smtp.password --stdin --store file
ucrmmail config set addresses.sender billing@isp.example
ucrmmail config set addresses.notification admin@isp.example
"""
_SENDER = """
ucrmmail config set smtp.host smtp.isp.example
ucrmmail config set addresses.sender billing@isp.example
ucrmmail config set addresses.notification admin@isp.example
"""
_INVOICE = """From: Billing <billing@isp.example>
To: joe@example.com
Subject: Invoice 2026-11

Please pay.
"""


@dataclass(frozen=True)
class Came:
    """How a command ended, and what the terminal showed."""

    command: Command
    exit_code: int
    output: list[str]


@contextlib.contextmanager
def prepared(page: Page, machine: Machine) -> Iterator[None]:
    """Make what the page needs: "account" and "root-account" configured ones, "invoice" a message file.

    "keyring" is one that the user has unlocked; without it there is none.

    "receiver" is an account at the smarthost of that world.
    """
    with contextlib.ExitStack() as stack:
        for need in page.needs:
            if need == "keyring":
                stack.enter_context(machine.keyring())
            else:
                _make(need, page, machine)
        yield


def _make(need: str, page: Page, machine: Machine) -> None:
    if need in ("account", "root-account"):
        root = need == "root-account"
        env = {**machine.env(root=root), "SECRET": PASSWORDS["relay"]}
        subprocess.run(machine.command("sh", "-euc", _RELAY, root=root), env=env, check=True, stdout=subprocess.DEVNULL)
    elif need == "receiver":
        command = machine.command("sh", "-euc", _SENDER)
        subprocess.run(command, env=machine.env(), check=True, stdout=subprocess.DEVNULL)
    elif need == "invoice":
        machine.write("invoice.eml", _INVOICE)
    else:
        raise ValueError(f"{page.path}: nobody knows what it needs: {need}")


def read_aloud(page: Page, machine: Machine) -> Iterator[Came]:
    """Type each command of a page that can be run, and yield what came."""
    for step in page.steps:
        if isinstance(step, File):
            machine.write(step.name, step.content)
        elif isinstance(step, Afresh):
            machine.forget()
        elif is_run(step.text):
            yield type_command(step, machine)


def type_command(command: Command, machine: Machine) -> Came:
    """Run a command on a terminal, answer its questions, and wait for its end."""
    primary, terminal = pty.openpty()
    process = subprocess.Popen(
        # With this terminal as its own, so that a hidden question finds it as /dev/tty.
        machine.command("setsid", "--ctty", "--wait", "bash", "-o", "pipefail", "-c", command.text, root=command.root),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=machine.env(root=command.root),
    )
    os.close(terminal)
    seen = b""
    answers = list(command.types)
    ends_at = time.monotonic() + _PATIENCE_S
    try:
        while time.monotonic() < ends_at:
            ready = wait([primary], 0.2)
            if ready:
                try:
                    data = os.read(primary, 65536)
                except OSError:
                    break
                if not data:
                    break
                seen += data
            elif answers and seen and not seen.endswith(b"\n"):
                # Silence behind a line that is not ended: a question.
                os.write(primary, answers.pop(0).encode() + b"\n")
        else:
            process.kill()
            raise AssertionError(f"{command.text!r} did not end; seen:\n{seen.decode()}")
        code = process.wait(_PATIENCE_S)
    finally:
        os.close(primary)
    assert not answers, f"{command.text!r} did not ask for {answers}; seen:\n{seen.decode()}"
    return Came(command, code, plain(seen.decode("utf-8", "replace")))
