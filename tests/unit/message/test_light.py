"""What every submission loads costs start-up time: none of it imports what is heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ucrmmail

HEAVY = {
    "dataclasses", "typing", "re", "json", "enum", "inspect", "datetime", "contextlib", "pathlib", "collections", "email",
    "hashlib", "secrets", "tomllib", "socket", "ssl", "threading", "subprocess", "tempfile", "logging", "typer", "rich",
    "keyring", "dns", "idna", "ipaddress", "binascii", "unicodedata", "textwrap",
}  # fmt: skip
LIGHT = ("address", "addresslist", "header", "envelope", "priority", "phrase", "prepare")

SUBMISSION = """
from ucrmmail.message.prepare import Addresses, prepare
prepared = prepare(
    b"From: root (Cron)\\nTo: Joe <joe@example.com>, staff: root;\\nBcc: j\\xc3\\xb6rg@example.com\\n\\nhi\\n",
    reverse_path=None, recipients=("support",), extract_recipients=True,
    addresses=Addresses(sender="a@isp.example", notification="n@isp.example"),
    priority=None, now=0.0, hostname="web-1", unique="x", max_size=1000,
)
assert len(prepared.recipients) == 3
"""


def loaded_by(code: str) -> set[str]:
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before))"
    # Without site: what a virtual environment loads at its start is not ours.
    root = Path(ucrmmail.__file__).parents[1]
    run = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True, cwd=root)
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_loads_nothing_heavy(module: str) -> None:
    assert not HEAVY & loaded_by(f"import ucrmmail.message.{module}")


def test_preparing_a_message_loads_nothing_heavy() -> None:
    assert not HEAVY & loaded_by(SUBMISSION)
