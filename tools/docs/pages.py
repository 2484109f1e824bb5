"""All pages of the manual, by file name."""

from __future__ import annotations

from tools.docs.command_pages import command_page, page_name
from tools.docs.findings_page import findings_page
from tools.docs.keys_page import keys_page
from tools.docs.overview_page import overview_page
from tools.docs.tree import command_tree
from tools.docs.written_pages import WRITTEN, written_page


def pages() -> dict[str, str]:
    """Return the text of each page; a command that is new in the tree has one too."""
    made = {"ucrmmail.1": overview_page(), "ucrmmail.toml.5": keys_page(), "ucrmmail-findings.7": findings_page()}
    for command in command_tree().commands:
        made[f"{page_name(command)}.1"] = command_page(command)
    for name, section, purpose in WRITTEN:
        made[f"{name}.{section}"] = written_page(name, section, purpose)
    return made
