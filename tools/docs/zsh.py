"""completions/_ucrmmail: a function for each command, with the specifications that zsh's _arguments reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.docs.words import FILE, brief, kind_of, options_of, positions_of

if TYPE_CHECKING:
    from tools.docs.tree import Command, Option
    from tools.docs.words import Position

_HEAD = r"""#compdef ucrmmail
# zsh completion for ucrmmail; made by `make docs` from the command tree.
# Commands and options are known here. Only values (keys, queue ids ...) are asked for, of `ucrmmail __complete`.

# Complete with the values of a kind, the last argument; what zsh puts before it is handed on.
_ucrmmail_values() {
  local kind=$argv[-1] value description
  local -a found
  # zsh asks for arguments too where an option is being typed.
  if [[ $PREFIX == -* ]]; then
    return 1
  fi
  if [[ $kind == value && $PREFIX == [/~.]* ]]; then
    _files
    return
  fi
  while IFS=$'\t' read -r value description; do
    found+=("${value//:/\\:}${description:+:$description}")
  done < <(command ucrmmail __complete $kind "${(@Q)ucrmmail_words}" "$PREFIX" 2>/dev/null)
  _describe -t $kind $kind found "${(@)argv[1,-2]}"
}

"""

_TAIL = r"""
# Whether it was loaded by compinit or read with `source`.
if [[ $funcstack[1] == _ucrmmail ]]; then
  _ucrmmail "$@"
else
  compdef _ucrmmail ucrmmail
fi
"""


def zsh_completion(tree: Command) -> str:
    """Return the script."""
    functions = [_function(command) for command in reversed(tuple(tree.walk()))]
    return _HEAD + "\n\n".join(functions) + "\n" + _TAIL


def _name(command: Command) -> str:
    return "_".join(("_ucrmmail", *(word.replace("-", "_") for word in command.path)))


def _function(command: Command) -> str:
    specs = [spec for option in options_of(command) for spec in _option(option)]
    if command.commands:
        return _group(command, specs)
    specs += [_argument(position) for position in positions_of(command)]
    body = " \\\n    ".join(["_arguments -s -S", *specs])
    return f"{_name(command)}() {{\n  {body}\n}}"


def _group(command: Command, specs: list[str]) -> str:
    body = " \\\n    ".join(["_arguments -C -s -S", *specs, "'1: :->command'", "'*:: :->argument' && ret=0"])
    lines = [f"{_name(command)}() {{"]
    if not command.path:
        lines += [
            "  # The words before the cursor: what is asked for depends on them.",
            '  local -a ucrmmail_words=("${(@)words[2,CURRENT-1]}")',
        ]
    lines += ["  local curcontext=$curcontext state state_descr line ret=1", "  typeset -A opt_args", f"  {body}"]
    lines += ["  case $state in", "    command)", "      local -a commands=("]
    lines += [f"        {_quoted(f'{each.name}:{brief(each.purpose)}')}" for each in command.commands]
    lines += ["      )", "      _describe -t commands command commands && ret=0", "      ;;"]
    lines += ["    argument)", "      case $words[1] in"]
    lines += [f"        {each.name}) {_name(each)} && ret=0 ;;" for each in command.commands]
    lines += ["      esac", "      ;;", "  esac", "  return ret", "}"]
    return "\n".join(lines)


def _option(option: Option) -> list[str]:
    """Return the specifications of an option, one for each of its names; the names exclude one another."""
    names = (*option.names, *option.negatives)
    others = f"({' '.join(names)})" if len(names) > 1 else ""
    if "--help" in names or "--version" in names:
        others = "(- *)"
    lead = "*" if option.repeatable else others
    value = f":{option.metavar}:{_action(kind_of(option.metavar))}" if option.metavar else ""
    explained = f"[{_escaped(brief(option.help))}]{value}"
    return [_quoted(f"{lead}{name}{'=' * bool(value and name.startswith('--'))}{explained}") for name in names]


def _argument(position: Position) -> str:
    place = str(position.first) if position.last else "*"
    optional = ":" if position.required or not position.last else "::"
    return _quoted(f"{place}{optional}{position.metavar}:{_action(position.kind)}")


def _action(kind: str) -> str:
    if not kind:
        # One blank: zsh shows what is expected, and offers nothing.
        return " "
    return "_files" if kind == FILE else f"_ucrmmail_values {kind}"


def _escaped(text: str) -> str:
    for character in "\\[]:":
        text = text.replace(character, f"\\{character}")
    return text


def _quoted(text: str) -> str:
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"
