"""ucrmmail(1): the commands, the options before them, and every exit status."""

from __future__ import annotations

import re

from tools.docs.command_pages import after, details, lower, page_name
from tools.docs.mdoc import paragraph
from tools.docs.page import page
from tools.docs.prose import sections
from tools.docs.tree import Command, command_tree
from ucrmmail import errors


def overview_page() -> str:
    """Return the page."""
    tree = command_tree()
    written = sections("ucrmmail.1")
    options = details(tree)[:-1]
    options += [
        ".It Fl h , Fl -help",
        *paragraph("Show what a command does, its options and examples. It goes with every command."),
        ".El",
    ]
    made = {
        "SYNOPSIS": [
            ".Nm ucrmmail", ".Op Fl -config Ar FILE", ".Ar COMMAND", ".Op Ar ARGUMENT ...",
            ".Nm ucrmmail", ".Fl -version", ".Op Fl -json",
            ".Nm ucrmmail", ".Op Ar COMMAND ...", ".Fl -help",
        ],
        "DESCRIPTION": written.pop("DESCRIPTION"),
        "COMMANDS": _commands(tree),
        "OPTIONS": [*paragraph("These go before the command:"), *options],
        "EXIT STATUS": _exit_status() + after(written.pop("EXIT STATUS")),
    }  # fmt: skip
    return page("ucrmmail", 1, lower(tree.purpose), made | written)


def _commands(tree: Command) -> list[str]:
    lines = [".Bl -tag -width Ds"]
    for command in tree.commands:
        words = [each.name for each in command.commands]
        lines += [f".It Xr {page_name(command)} 1", *paragraph(f"{command.purpose}.")]
        if words:
            lines += paragraph(f"Its commands: {', '.join(f'`{word}`' for word in words)}.")
    return [*lines, ".El"]


def exit_codes() -> dict[int, str]:
    """Return every exit code with its meaning: that of the error which causes it."""
    found = {0: "All is well, or nothing was to be done.", 130: "Interrupted from the keyboard."}
    for kind in vars(errors).values():
        # One without a code of its own is a special case of another.
        if isinstance(kind, type) and issubclass(kind, errors.UcrmmailError) and "exit_code" in vars(kind):
            found[kind.exit_code] = (kind.__doc__ or "").strip().partition("\n")[0]
    # The base class stands for what nobody foresaw, and says so in the tree only.
    found[errors.UcrmmailError.exit_code] = "A fault of ours; please report it (EX_SOFTWARE)."
    found[64] = "The command line of ucrmmail-sendmail(1) is wrong (EX_USAGE)."
    return dict(sorted(found.items()))


def _exit_status() -> list[str]:
    lines = [".Bl -tag -width 130"]
    for code, meaning in exit_codes().items():
        sentence = re.sub(r" \((EX_[A-Z]+)\)", r" ( `\1` )", meaning)
        lines += [f".It {code}", *paragraph(sentence.replace("( `", "(`").replace("` )", "`)"))]
    return [*lines, ".El"]
