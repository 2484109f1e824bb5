"""docs/reference: the same declarations as in the manual, as Markdown for the web.

The man pages are the reference where the program is installed; these are for a reader who looks before installing.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import tomli_w

from tools.docs.findings_page import check_title, in_order
from tools.docs.overview_page import exit_codes
from tools.docs.prose import texts
from tools.docs.tree import command_tree
from ucrmmail.config.schema import KEYS, TABLES
from ucrmmail.dns.codes import CODES

if TYPE_CHECKING:
    from tools.docs.tree import Argument, Command, Option
    from ucrmmail.config.schema import Key

_MADE = "<!-- Made by `make docs`; change the declaration or man/src, not this file. -->\n"


def reference() -> dict[str, str]:
    """Return the text of each file below docs/reference."""
    return {
        "commands.md": _commands(),
        "configuration.md": _configuration(),
        "json.md": _json(),
        "exit-codes.md": _exit_codes(),
        "findings.md": _findings(),
    }


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"{_MADE}\n# {title}", *(part.strip("\n") for part in parts if part.strip())]) + "\n"


def _commands() -> str:
    tree = command_tree()
    before = "These go before the command:\n\n" + _options(tree.options)
    listed = "\n".join(
        f"- [`{_typed(command)}`](#{_typed(command).replace(' ', '-')}): {command.purpose}."
        for command in tree.walk()
        if command.path
    )
    parts = [_command(command) for command in tree.walk() if command.path]
    return _page("The command line", f"{tree.purpose}.", listed, before, *parts)


def _typed(command: Command) -> str:
    return " ".join(("ucrmmail", *command.path))


def _command(command: Command) -> str:
    arguments = [f"`{each.metavar}`: {each.help}" for each in command.arguments if each.help]
    usage = " ".join([_typed(command), *(["[OPTION]..."] if command.options else []), *map(_usage, command.arguments)])
    parts = [f"## {_typed(command)}", *command.help]
    if not command.commands:
        parts.append(f"```text\n{usage}\n```")
    if arguments:
        parts.append("\n".join(f"- {each}" for each in arguments))
    groups = dict.fromkeys(option.group for option in command.options)
    for group in sorted(groups, key=lambda name: name == ""):
        title = [] if len(groups) < 2 else [f"{group or 'Other options'}:"]
        parts += [*title, _options(tuple(option for option in command.options if option.group == group))]
    if command.examples and not command.commands:
        parts.append("```text\n" + "\n".join(command.examples) + "\n```")
    return "\n\n".join([*parts, *command.notes])


def _usage(found: Argument) -> str:
    name = found.metavar + ("..." if found.repeatable else "")
    return name if found.required else f"[{name}]"


def _options(options: tuple[Option, ...]) -> str:
    rows = [
        f"| `{', '.join((*option.names, *option.negatives))}{f' {option.metavar}' * bool(option.metavar)}`"
        f" | {_cell(option.help)} |"
        for option in options
    ]
    return "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _configuration() -> str:
    parts = [texts("ucrmmail.toml.5")["DESCRIPTION"], "## Files", texts("ucrmmail.toml.5")["FILES"]]
    parts += ["## Limits", texts("ucrmmail.toml.5")["LIMITS"]]
    for table in TABLES:
        parts += [f"## The table {table}", *(_key(key) for key in KEYS.values() if key.table == table)]
    example = texts("ucrmmail.toml.5")["EXAMPLES"]
    return _page("The configuration", *parts, "## A whole configuration", example.partition("\n\n")[2])


def _key(key: Key) -> str:
    lines = [f"### {key.path}", "", key.help + (f" Also called the {key.known_as}." if key.known_as else ""), ""]
    lines.append(f"- type: {key.kind.name}; {key.allowed}")
    if not key.secret:
        value = tomli_w.dumps({"x": key.default}).removeprefix("x = ").strip()
        shown = [f"`{value}`"] if key.default not in ("", []) else []
        lines.append("- default: " + ("; ".join([*shown, *filter(None, [key.default_note])]) or "none"))
    if key.example or key.secret:
        lines.append(f"- example: `{f'ucrmmail config set {key.path} {key.example}'.strip()}`")
    return "\n".join(lines)


def _json() -> str:
    tree = command_tree()
    parts = [texts("ucrmmail.1")["JSON FIELDS"]]
    for command in tree.commands:
        if found := texts(f"ucrmmail-{command.name}.1").get("JSON FIELDS"):
            parts += [f"## ucrmmail {command.name}", found]
    return _page("JSON fields", *parts)


def _exit_codes() -> str:
    rows = [f"| {code} | {_cell(meaning)} |" for code, meaning in exit_codes().items()]
    parts = ["\n".join(["| code | meaning |", "|---|---|", *rows]), texts("ucrmmail.1")["EXIT STATUS"]]
    for command in command_tree().commands:
        told = texts(f"ucrmmail-{command.name}.1")["EXIT STATUS"].replace("ucrmmail(1) lists all of them.", "")
        parts += [f"## ucrmmail {command.name}", told]
    parts += ["## ucrmmail-sendmail", texts("ucrmmail-sendmail.1")["EXIT STATUS"]]
    return _page("Exit codes", *parts)


def _findings() -> str:
    parts = ["What a finding of `ucrmmail check-dns` means; `ucrmmail check-dns --explain CODE` prints the same."]
    for title, group in groupby(in_order(), key=check_title):
        parts.append(f"## {title}")
        parts += [f"### {code}\n\n{CODES[code]}" for code in group]
    return _page("Findings", *parts)
