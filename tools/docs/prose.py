"""The hand-written parts of the pages: man/src/*.txt, a few marks to a line, turned into mdoc.

= EXIT STATUS            a section
== Daily work            a subsection
text                     a paragraph, with the marks of ``mdoc``; an empty line ends it
- `--json`: text         a list of terms and their meaning; further lines of an item are indented by two blanks
* text                   a list of points
    text                 four blanks: shown exactly as it is
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.docs.mdoc import display, paragraph, tag
from tools.docs.release import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = ROOT / "man" / "src"
_LITERAL, _TERM, _POINT = "    ", "- ", "* "


def sections(page: str) -> dict[str, list[str]]:
    """Return the sections of the hand-written part of a page, each as lines of mdoc; none when there is no such part.

    Raises ValueError when it cannot be read.
    """
    return {title: to_mdoc(text) for title, text in texts(page).items()}


def texts(page: str) -> dict[str, str]:
    """Return the sections of the hand-written part of a page as they are written; they read as Markdown too."""
    source = SOURCES / f"{page}.txt"
    if not source.is_file():
        return {}
    found: dict[str, str] = {}
    for part in f"\n{source.read_text()}".split("\n= ")[1:]:
        title, _, text = part.partition("\n")
        found[title.strip()] = text
    return found


def to_mdoc(text: str) -> list[str]:
    """Return the mdoc lines of a text with marks."""
    lines: list[str] = []
    kind_before = ""
    for kind, block in _blocks(text):
        if kind != kind_before and kind_before in _LISTS:
            lines.append(".El")
        if kind in _LISTS:
            if kind != kind_before:
                lines.append(_LISTS[kind])
            lines += _item(kind, block)
        elif kind == "subsection":
            lines.append(f".Ss {' '.join(block)}")
        elif kind == "literal":
            lines += display([line.removeprefix(_LITERAL) for line in block])
        else:
            # A paragraph follows its heading at once, and its list or display with a blank line of their own.
            lines += [".Pp"] * (kind_before not in ("", "subsection")) + paragraph(" ".join(block))
        kind_before = kind
    if kind_before in _LISTS:
        lines.append(".El")
    return lines


_LISTS = {"term": ".Bl -tag -width Ds", "point": ".Bl -bullet -compact"}


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what belongs together: its kind and its lines."""
    kind = ""
    block: list[str] = []
    for line in text.rstrip().split("\n"):
        if line.startswith("  ") and kind in _LISTS:
            block.append(line)
            continue
        if kind == "literal" and not line:
            # An empty line within an example belongs to it.
            block.append(line)
            continue
        found = _kind(line)
        if found != kind or found not in ("text", "literal"):
            yield from _ended(kind, block)
            kind, block = found, []
        if found:
            block.append(line.removeprefix("== ").removeprefix(_TERM).removeprefix(_POINT))
    yield from _ended(kind, block)


def _ended(kind: str, block: list[str]) -> Iterator[tuple[str, list[str]]]:
    while block and not block[-1]:
        block.pop()
    if kind and block:
        yield kind, block


def _kind(line: str) -> str:
    if not line.strip():
        return ""
    for mark, kind in (("== ", "subsection"), (_LITERAL, "literal"), (_TERM, "term"), (_POINT, "point")):
        if line.startswith(mark):
            return kind
    return "text"


def _item(kind: str, block: list[str]) -> list[str]:
    text = " ".join(line.strip() for line in block)
    if kind == "point":
        return [".It", *paragraph(text)]
    term, colon, meaning = text.partition("`: ")
    if not (term.startswith("`") and colon):
        raise ValueError(f"a term is written as `term`: meaning, not as: {text}")
    return [f".It {tag(term[1:])}", *paragraph(meaning)]
