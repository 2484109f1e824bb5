"""Commands of the documentation that cannot be run here, each with the reason; there is no other way to leave one out.

They are parsed like all others: every command and option of ours in them exists.
"""

from __future__ import annotations

import re

_REMARK = re.compile(r"\s{2,}# .*$")
_REGISTRY = "downloads from the package index"

NOT_RUN: dict[str, str] = {
    "pipx install ucrmmail": _REGISTRY,
    "pipx install 'ucrmmail[oauth]'": _REGISTRY,
    "crontab -e": "opens an editor",
    "systemctl enable --now ucrmmail-flush.timer": "needs a running systemd",
    "ucrmmail login --no-browser": "a person has to agree on Google's page",
    "ucrmmail config set smtp.authentication xoauth2": "belongs to the program that prints the token, another's",
    "ucrmmail config set credentials.command 'oama access you@gmail.com'": "the program is another's",
    "make demo": "builds an environment from the package index; it is run by hand",
    "make test": "would run this test",
    "ucrmmail setup": "asks for the reader's own address; it is run with one in docs/tutorial/first-mail.md",
}

# Of the examples in --help and in the manual, which are run on a machine with an account.
EXAMPLES_NOT_RUN: dict[str, str] = {
    "* * * * *  ucrmmail flush --time-limit 50s": "a line of a crontab, for cron",
    "17 * * * *  ucrmmail doctor --quiet --strict --skip dns": "a line of a crontab, for cron",
    "ucrmmail setup": "asks for the reader's own address; it is run with one in the tutorial",
    "ucrmmail login": "is run in docs/how-to, with a client that is registered",
    "ucrmmail login --flow client-credentials": "is run in docs/how-to, where it is the flow that is taken",
    "ucrmmail login --no-browser": "a person has to agree on Google's page",
}


def is_run(command: str) -> bool:
    """Return whether a command of the documentation is run; a remark behind it does not matter."""
    return bare(command) not in NOT_RUN


def bare(command: str) -> str:
    """Return a command without the remark behind it."""
    return _REMARK.sub("", command)
