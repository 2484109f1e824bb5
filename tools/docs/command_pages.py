"""ucrmmail-COMMAND(1): synopsis, description and options from the command tree, the rest from man/src."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tools.docs.mdoc import argument, display, flag, paragraph
from tools.docs.page import page
from tools.docs.prose import sections

if TYPE_CHECKING:
    from tools.docs.tree import Argument, Command, Option


def command_page(command: Command) -> str:
    """Return the page of a command, or of a group with all of its commands."""
    name = page_name(command)
    written = sections(f"{name}.1")
    made = {
        "SYNOPSIS": [line for each in command.walk() if not each.commands for line in synopsis(each)],
        "DESCRIPTION": _paragraphs((*command.help, *command.notes)) + after(written.pop("DESCRIPTION", [])),
        "COMMANDS": _commands(command),
        "OPTIONS": [] if command.commands else _options(command),
        "EXAMPLES": _examples(command) + after(written.pop("EXAMPLES", [])),
    }
    return page(name, 1, lower(command.purpose), made | written)


def page_name(command: Command) -> str:
    """Return the name of its page, ``ucrmmail-queue``."""
    return "-".join(("ucrmmail", *command.path))


def lower(sentence: str) -> str:
    """Return a sentence as it stands after a dash."""
    return sentence[:1].lower() + sentence[1:]


def synopsis(command: Command) -> list[str]:
    """Return the lines that say how a command is called."""
    lines = [".Nm ucrmmail", f".Cm {' '.join(map(argument, command.path))}"]
    lines += [f".Op {' | '.join(_called(option))}" for option in command.options]
    return lines + [_synopsis_of(each) for each in command.arguments]


def _called(option: Option) -> list[str]:
    value = f" Ar {option.metavar}{' ...' * option.repeatable}" if option.metavar else ""
    return [flag(name) + value for name in (*option.names, *option.negatives)]


def _synopsis_of(found: Argument) -> str:
    more = " ..." if found.repeatable else ""
    return f".{'' if found.required else 'Op '}Ar {argument(found.metavar)}{more}"


def _commands(group: Command) -> list[str]:
    """Return the list of a group's commands, each with its own arguments and options; groups in it come flat."""
    if not group.commands:
        return []
    lines = [".Bl -tag -width Ds"]
    for each in group.walk():
        if each.commands:
            continue
        words = " ".join(map(argument, each.path[len(group.path) :]))
        arguments = " ".join(_synopsis_of(one).removeprefix(".") for one in each.arguments)
        lines += [f".It Cm {words} {arguments}".rstrip(), *_paragraphs((*each.help, *each.notes)), *details(each)]
    return [*lines, ".El"]


def _options(command: Command) -> list[str]:
    """Return the options in the groups of the help, where it has any."""
    groups = dict.fromkeys(option.group for option in command.options)
    if len(groups) < 2:
        return details(command)
    lines = details(replace(command, options=()))
    for group in sorted(groups, key=lambda name: name == ""):
        options = tuple(option for option in command.options if option.group == group)
        lines += [f".Ss {group or 'Other options'}", *details(replace(command, arguments=(), options=options))]
    return lines


def details(command: Command) -> list[str]:
    """Return the list of a command's arguments, those that the help explains, and of its options."""
    explained = [each for each in command.arguments if each.help]
    if not explained and not command.options:
        return []
    lines = [".Bl -tag -width Ds"]
    for each in explained:
        lines += [f".It Ar {argument(each.metavar)}", *paragraph(each.help)]
    for option in command.options:
        lines += [f".It {' , '.join(_called(option))}", *paragraph(option.help)]
    return [*lines, ".El"]


def _paragraphs(texts: tuple[str, ...]) -> list[str]:
    return [line for place, text in enumerate(texts) for line in ([".Pp"] * bool(place) + paragraph(text))]


def _examples(command: Command) -> list[str]:
    """Return what the help of a command, and of those below it, shows; each line once."""
    shown = tuple(dict.fromkeys(line for each in command.walk() for line in each.examples))
    return display(shown) if shown else []


def after(lines: list[str]) -> list[str]:
    """Return the hand-written part as it follows what was made."""
    return [".Pp", *lines] if lines and not lines[0].startswith((".B", ".Ss")) else lines
