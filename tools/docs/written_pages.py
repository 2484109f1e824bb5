"""The pages that are written by hand as a whole: the guide, the spool, the sendmail interface."""

from __future__ import annotations

from tools.docs.page import page
from tools.docs.prose import sections

# Name, section, and what stands in NAME.
WRITTEN = (
    ("ucrmmail-sendmail", 1, "accept a message into the queue, as sendmail does"),
    ("ucrmmail-queue", 5, "the queue on disk"),
    ("ucrmmail", 7, "a guide: first set-up, daily work, troubleshooting"),
)


_SYNOPSIS = {
    "ucrmmail-sendmail": [
        ".Nm", ".Op Fl t", ".Op Fl i", ".Op Fl f Ar ADDRESS", ".Op Fl F Ar NAME", ".Op Fl -", ".Op Ar RECIPIENT ...",
        ".Nm", ".Fl bs",
    ],
}  # fmt: skip


def written_page(name: str, section: int, purpose: str) -> str:
    """Return one of them; its source is named with the section, ``ucrmmail.7.txt``."""
    return page(
        name,
        section,
        purpose,
        {"SYNOPSIS": _SYNOPSIS.get(name, []) if section == 1 else []} | sections(f"{name}.{section}"),
    )
