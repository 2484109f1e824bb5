"""All completion scripts, by file name."""

from __future__ import annotations

from tools.docs.bash import bash_completion
from tools.docs.fish import fish_completion
from tools.docs.tree import command_tree
from tools.docs.zsh import zsh_completion


def completions() -> dict[str, str]:
    """Return the text of each script."""
    tree = command_tree()
    return {
        "ucrmmail.bash": bash_completion(tree),
        "_ucrmmail": zsh_completion(tree),
        "ucrmmail.fish": fish_completion(tree),
    }
