"""Where the secrets of an account are kept, by its configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ucrmmail.config.load import Config
    from ucrmmail.credentials.find import Store

IMAP = "imap.password"


def store_of(config: Config, source: str = "", key: str = "smtp.password") -> Store:
    """Return where a secret of this account is kept; ``source`` goes before the one that is configured.

    ``key`` imap.password is the mailbox's: it is kept in the same place under a name of its own, but a command prints
    the account's alone, so that the file is its place then.
    """
    from ucrmmail.credentials.find import Store

    path = os.path.realpath(config.path)
    configured = config.text("credentials.source")
    if key == IMAP:
        names = [f"imap:{name}" for name in (config.text("imap.username"), path) if name]
        configured = "file" if configured == "command" else configured
    else:
        # The password is kept under the bare user name, where other programs look for it too.
        suffix = "" if key == "smtp.password" else f" {key}"
        names = [name + suffix for name in (config.text("smtp.username"), path) if name]
    return Store(
        names=tuple(names),
        source=source or configured,
        recorded=bool(source) or config.is_set("credentials.source"),
        command=config.words("credentials.command"),
        file=config.text("credentials.file") or f"{os.path.dirname(path)}/secrets.toml",
        key=key,
    )
