"""completions/ucrmmail.bash: commands and options as tables in the script, values from the program."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tools.docs.words import kind_of, options_of, place_of, positions_of

if TYPE_CHECKING:
    from tools.docs.tree import Command

_HEAD = r"""# bash completion for ucrmmail; made by `make docs` from the command tree.
# Commands and options are known here. Only values (keys, queue ids ...) are asked for, of `ucrmmail __complete`.

"""

_BODY = r"""
# Complete with the words given.
_ucrmmail_words() {
    local word
    for word; do
        if [[ $word == "$cur"* ]]; then
            COMPREPLY+=("$word")
        fi
    done
}

# Complete with the names of files. A candidate is a name, never looked at as code.
_ucrmmail_files() {
    compopt -o filenames
    local name
    while IFS= read -r name; do
        COMPREPLY+=("${name#"$behind"}")
    done < <(compgen -f -- "$cur")
}

# Complete with the values of a kind. What is quoted here was written by others, as an address in a message.
_ucrmmail_values() {
    local value quoted
    while IFS=$'\t' read -r value _; do
        if [[ $value == "$cur"* ]]; then
            printf -v quoted %q "${value#"$behind"}"
            COMPREPLY+=("$quoted")
        fi
    done < <(command ucrmmail __complete "$1" ${words[@]+"${words[@]}"} "$cur" 2>/dev/null)
}

_ucrmmail() {
    local IFS=$' \t\n' line=${COMP_LINE:0:COMP_POINT} fragment=${COMP_WORDS[COMP_CWORD]-} words cur behind=''
    # bash parts words at = : and @ as well, so the line is parted anew, at blanks.
    read -ra words <<<"$line"
    if [[ $line == *[[:space:]] ]]; then
        words+=('')
    fi
    cur=${words[-1]}
    words=("${words[@]:1:${#words[@]}-2}")
    # What was typed with quotes is compared without them.
    cur=${cur//[\\\"\']/} fragment=${fragment//[\\\"\']/}
    COMPREPLY=()

    local path='' kind='' pending='' position=1 ended='' word commands options arguments
    for word in ${words[@]+"${words[@]}"}; do
        if [[ $pending ]]; then
            pending=''
        elif [[ -z $ended && $word == -- ]]; then
            ended=yes
        elif [[ -z $ended && $word == -* ]]; then
            _ucrmmail_option "$path" "$word"
            pending=$kind
        else
            _ucrmmail_command "$path"
            if [[ " $commands " == *" $word "* ]]; then
                path+=/$word
            else
                ((position++))
            fi
        fi
    done

    _ucrmmail_command "$path"
    kind=$pending
    if [[ -z $pending && -z $ended && $cur == --*=* ]]; then
        _ucrmmail_option "$path" "${cur%%=*}"
        cur=${cur#*=}
    elif [[ -z $pending && -z $ended && $cur == -* ]]; then
        _ucrmmail_words $options
        return
    elif [[ -z $pending && $commands ]]; then
        _ucrmmail_words $commands
        return
    elif [[ -z $pending ]]; then
        local last=''
        if ((${#arguments[@]})); then
            last=${arguments[-1]}
        fi
        kind=${arguments[position - 1]-}
        if [[ -z $kind && $last == *... ]]; then
            kind=$last
        fi
        kind=${kind%...}
    fi
    # What stands before the part of the word that bash replaces is left out of the candidates.
    if [[ $fragment != [=:] && $cur == *"$fragment" ]]; then
        behind=${cur%"$fragment"}
        # An at sign before it is replaced too.
        behind=${behind%@}
    fi
    case $kind in
        '' | any) ;;
        file) _ucrmmail_files ;;
        value) if [[ $cur == [/~.]* ]]; then _ucrmmail_files; else _ucrmmail_values value; fi ;;
        *) _ucrmmail_values "$kind" ;;
    esac
    if [[ -z $kind && -z $ended && -z $cur ]]; then
        _ucrmmail_words $options
    fi
}

complete -F _ucrmmail ucrmmail
"""


def bash_completion(tree: Command) -> str:
    """Return the script."""
    return _HEAD + _command_table(tree) + "\n" + _option_table(tree) + _BODY


def _command_table(tree: Command) -> str:
    lines = [
        "# Set what can follow a command: commands, options, and the kinds of its arguments.",
        "_ucrmmail_command() {",
        "    commands='' options='' arguments=()",
        "    case $1 in",
    ]
    for command in tree.walk():
        commands = " ".join(each.name for each in command.commands)
        options = " ".join(name for each in options_of(command) for name in (*each.names, *each.negatives))
        kinds = " ".join((each.kind or "any") + "..." * (not each.last) for each in positions_of(command))
        lines.append(f"        {_pattern(place_of(command))})")
        if commands:
            lines.append(f"            commands={shlex.quote(commands)}")
        lines.append(f"            options={shlex.quote(options)}")
        if kinds:
            lines.append(f"            arguments=({kinds})")
        lines.append("            ;;")
    return "\n".join([*lines, "    esac", "}", ""])


def _option_table(tree: Command) -> str:
    by_kind: dict[str, list[str]] = {}
    for command in tree.walk():
        for option in command.options:
            if option.metavar:
                names = [f"{place_of(command)} {name}" for name in option.names]
                by_kind.setdefault(kind_of(option.metavar) or "any", []).extend(names)
    lines = [
        "# Set the kind of value that an option of a command takes, none for a flag.",
        "_ucrmmail_option() {",
        "    kind=''",
        '    case "$1 $2" in',
    ]
    for kind, names in sorted(by_kind.items()):
        lines.append(f"        {' | '.join(map(shlex.quote, names))})")
        lines += [f"            kind={kind}", "            ;;"]
    return "\n".join([*lines, "    esac", "}", ""])


def _pattern(place: str) -> str:
    return place or "''"
