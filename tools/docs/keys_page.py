"""ucrmmail.toml(5): every key of the configuration, from its declaration."""

from __future__ import annotations

import tomli_w

from tools.docs.mdoc import argument, literal, paragraph
from tools.docs.page import page
from tools.docs.prose import sections
from ucrmmail.config.schema import KEYS, TABLES, Key


def keys_page() -> str:
    """Return the page."""
    written = sections("ucrmmail.toml.5")
    keys = [line for table in TABLES for line in _table(table)]
    return page(
        "ucrmmail.toml",
        5,
        "configuration of ucrmmail",
        {"DESCRIPTION": written.pop("DESCRIPTION"), "KEYS": keys} | written,
    )


def _table(table: str) -> list[str]:
    lines = [f".Ss The table {table}", ".Bl -tag -width Ds"]
    for key in KEYS.values():
        if key.table == table:
            lines += _key(key)
    return [*lines, ".El"]


def _key(key: Key) -> list[str]:
    lines = [f".It Va {key.path}", *paragraph(key.help)]
    if key.known_as:
        lines += paragraph(f"Also called the {key.known_as}.")
    lines += [".Pp", ".Bl -tag -width example: -compact", ".It type:", *paragraph(f"{key.kind.name}; {key.allowed}")]
    if not key.secret:
        lines += [".It default:", *_default(key)]
    if key.example:
        lines += [".It example:", f".Ql {argument(f'ucrmmail config set {key.path} {key.example}')}"]
    elif key.secret:
        lines += [".It example:", f".Ql {argument(f'ucrmmail config set {key.path}')}"]
    return [*lines, ".El"]


def _default(key: Key) -> list[str]:
    value = tomli_w.dumps({"x": key.default}).removeprefix("x = ").strip()
    shown = [] if key.default in ("", []) else [literal(value)]
    if not key.default_note:
        return shown or ["none"]
    return [f"{line};" for line in shown] + paragraph(key.default_note)
