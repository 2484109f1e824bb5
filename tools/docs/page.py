"""A page as a whole: its frame, and its sections in the order that readers of man pages expect."""

from __future__ import annotations

import re

from tools.docs.release import newest_release

# mandoc complains of any other order. What is not named here stands behind DESCRIPTION, in the order given.
_FIRST = ("NAME", "SYNOPSIS", "DESCRIPTION")
_LAST = (
    "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES", "DIAGNOSTICS", "SEE ALSO", "STANDARDS", "CAVEATS",
    "SECURITY CONSIDERATIONS",
)  # fmt: skip
_REFERENCE = re.compile(r"^\.Xr (\S+) (\d)", re.MULTILINE)


def page(name: str, section: int, purpose: str, sections: dict[str, list[str]]) -> str:
    """Return a page: ``sections`` by title, as lines of mdoc; NAME and SEE ALSO are added.

    SEE ALSO holds the pages that the text refers to, and ucrmmail(1).
    """
    version, released = newest_release()
    body = {title: lines for title, lines in sections.items() if lines}
    body["NAME"] = [f".Nm {name}", f".Nd {purpose}"]
    references = set(_REFERENCE.findall("\n".join("\n".join(lines) for lines in body.values())))
    body["SEE ALSO"] = _see_also(references | {("ucrmmail", "1")}, (name, str(section)))
    lines = [
        '.\\" Made by `make docs`; the hand-written parts are in man/src/.',
        f".Dd {released:%B} {released.day}, {released.year}",
        f".Dt {name.upper()} {section}",
        f".Os ucrmmail {version}",
    ]
    for title in _ordered(body):
        lines += [f".Sh {title}", *body[title]]
    return "\n".join(lines) + "\n"


def _ordered(body: dict[str, list[str]]) -> list[str]:
    between = [title for title in body if title not in (*_FIRST, *_LAST)]
    return [title for title in (*_FIRST, *between, *_LAST) if title in body]


def _see_also(references: set[tuple[str, str]], own: tuple[str, str]) -> list[str]:
    found = sorted(references - {own}, key=lambda each: (each[1], each[0]))
    return [f".Xr {name} {section}{' ,' * (place < len(found))}" for place, (name, section) in enumerate(found, 1)]
