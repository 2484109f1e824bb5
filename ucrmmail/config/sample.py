"""The file that ``config edit`` starts from when there is none: every key with its help and default, switched off."""

from __future__ import annotations

import textwrap

import tomli_w

from ucrmmail.config.schema import KEYS, TABLES

_HEADER = """\
# Configuration of ucrmmail. A line that begins with "#" is a remark: take the "#" away from a key to set it.
# Passwords do not belong here: `ucrmmail config set smtp.password` keeps them in a safe place.
"""


def sample() -> str:
    """Return the text: valid TOML that sets nothing."""
    return _HEADER + "".join(_table(table) for table in TABLES)


def _table(table: str) -> str:
    keys = (key for key in KEYS.values() if key.table == table and not key.secret)
    blocks = []
    for key in keys:
        default = f" Default: {key.default_note}." if key.default_note else ""
        remark = textwrap.fill(key.help + default, 110, initial_indent="# ", subsequent_indent="# ")
        value = tomli_w.dumps({key.name: key.default}).strip()
        blocks.append(f"\n{remark}\n#{value}\n")
    return f"\n[{table}]\n" + "".join(blocks)
