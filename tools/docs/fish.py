"""completions/ucrmmail.fish: a line for each command, option and argument, each with its condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.docs.words import FILE, VALUE, brief, kind_of, options_of, place_of, positions_of

if TYPE_CHECKING:
    from tools.docs.tree import Command, Option
    from tools.docs.words import Position

_HEAD = r"""# fish completion for ucrmmail; made by `make docs` from the command tree.
# Commands and options are known here. Only values (keys, queue ids ...) are asked for, of `ucrmmail __complete`.

set -g __ucrmmail_commands {commands}
set -g __ucrmmail_options_with_value {options}

# Print the command before the cursor, as /config/set, and which of its arguments the cursor is at.
function __ucrmmail_place
    set -l path ''
    set -l position 1
    set -l pending 0
    set -l ended 0
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        if test $pending = 1
            set pending 0
        else if test $ended = 0 -a "$word" = --
            set ended 1
        else if test $ended = 0; and string match -q -- '-*' "$word"
            contains -- "$path $word" $__ucrmmail_options_with_value; and set pending 1
        else if contains -- "$path/$word" $__ucrmmail_commands
            set path "$path/$word"
        else
            set position (math $position + 1)
        end
    end
    echo $path
    echo $position
end

# Whether the cursor is behind the command PATH, and at its argument FIRST to LAST.
function __ucrmmail_at
    set -l place (__ucrmmail_place)
    test "$place[1]" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    test $place[2] -ge $argv[2]; or return 1
    set -q argv[3]; or return 0
    test $place[2] -le $argv[3]
end

# Print the values of a kind with their descriptions.
function __ucrmmail_values
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    # fish asks for arguments too where an option is being typed, or a path.
    string match -qr '^-[^=]*$' -- "$current"; and return
    test "$argv[1]" = value; and string match -qr '^[/~.]' -- "$current"; and return
    command ucrmmail __complete $argv[1] $words "$current" 2>/dev/null
end

complete -c ucrmmail -f
"""


def fish_completion(tree: Command) -> str:
    """Return the script."""
    places = [place_of(each) for each in tree.walk() if each.path]
    with_value = [
        f"'{place_of(each)} {name}'"
        for each in tree.walk()
        for option in each.options
        if option.metavar
        for name in option.names
    ]
    lines = []
    for command in tree.walk():
        lines += _lines(command)
    head = _HEAD.replace("{commands}", _folded(places)).replace("{options}", _folded(with_value))
    return head + "\n".join(lines) + "\n"


def _folded(words: list[str]) -> str:
    return "".join(f" \\\n    {word}" for word in words).lstrip(" ")


def _lines(command: Command) -> list[str]:
    place = place_of(command) or "''"
    lines = [
        _complete(f"__ucrmmail_at {place} 1 1", f"-a {each.name}", brief(each.purpose)) for each in command.commands
    ]
    for option in options_of(command):
        lines += _option(place, option)
    for position in positions_of(command):
        lines += _argument(place, position)
    return lines


def _option(place: str, option: Option) -> list[str]:
    switches = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    takes = ""
    if option.metavar:
        kind = kind_of(option.metavar)
        takes = " -r -F" if kind == FILE else " -x" + (f" -a '(__ucrmmail_values {kind})'" if kind else "")
    condition = f"__ucrmmail_at {place}"
    lines = [_complete(condition, switches + takes, brief(option.help))]
    return lines + [_complete(condition, f"-l {name[2:]}", brief(option.help)) for name in option.negatives]


def _argument(place: str, position: Position) -> list[str]:
    span = f"{position.first} {position.last}" if position.last else f"{position.first}"
    condition = f"__ucrmmail_at {place} {span}"
    if position.kind == FILE:
        return [_complete(condition, "-F", "")]
    lines = [_complete(condition, f"-a '(__ucrmmail_values {position.kind})'", "")] if position.kind else []
    if position.kind == VALUE:
        is_path = 'string match -qr "^[/~.]" -- (commandline -ct)'
        lines.append(_complete(f"{condition}; and {is_path}", "-F", ""))
    return lines


def _complete(condition: str, what: str, description: str) -> str:
    shown = f" -d {_quoted(description)}" if description else ""
    return f"complete -c ucrmmail -n {_quoted(condition)} {what}{shown}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
