"""Whether a line that somebody is told to type is one that ``ucrmmail`` understands: by its command tree, without a run."""

from __future__ import annotations

import re
import shlex

from tools.docs.tree import Command, command_tree
from ucrmmail.config.schema import KEYS

_CALL = re.compile(r"(?:^|(?<=[ |(;]))(?:/\S*bin/)?(?=ucrmmail )", re.MULTILINE)

# Of a command that is only mentioned, these are no mistakes.
ARGUMENT_MISSING, VALUE_MISSING = "an argument is missing", "a value is missing"


def names_the_program(line: str) -> bool:
    """Return whether the line calls ``ucrmmail``."""
    return _CALL.search(line) is not None


def mistake_in(line: str) -> str:
    """Return what is wrong in a call of ``ucrmmail`` in a line or lines, "" when all of them can be typed."""
    calls = _CALL.split(line.replace("\\\n", " "))[1:]
    return next((mistake for mistake in map(_mistake_in_call, calls) if mistake), "")


def _mistake_in_call(call: str) -> str:
    command, arguments, words = command_tree(), [], _words_of(call)
    while words:
        word = words.pop(0)
        options = {name: option for option in command.options for name in (*option.names, *option.negatives)}
        if word in ("--help", "-h"):
            return ""
        if word.startswith("-") and word != "-":
            name, equals, _ = word.partition("=")
            if name not in options:
                return f"{' '.join(command.path)} has no option {name}"
            if options[name].metavar and not equals:
                if not words:
                    return VALUE_MISSING
                words.pop(0)
        elif command.commands:
            below = {each.name: each for each in command.commands}
            if word not in below:
                return f"there is no command {word}"
            command = below[word]
        else:
            arguments.append(word)
    return _mistake_in_arguments(command, arguments)


def _mistake_in_arguments(command: Command, arguments: list[str]) -> str:
    if len(arguments) < sum(each.required for each in command.arguments):
        return ARGUMENT_MISSING
    if len(arguments) > len(command.arguments) and not command.arguments[-1:][0].repeatable:
        return f"too many arguments: {arguments}"
    if command.arguments and command.arguments[0].metavar == "KEY" and arguments[0] not in KEYS:
        return f"there is no key {arguments[0]}"
    return ""


def _words_of(call: str) -> list[str]:
    """The words of a call, without what is behind it: a remark, a pipe, a bracket."""
    return shlex.split(re.split(r"\s{2,}|\s\d?[|>#&;]|\)|\n", call)[0])[1:]
