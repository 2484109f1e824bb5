"""What goes into a page comes out of it: nothing that stands in a text is taken for a command of mdoc."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.docs.mdoc import argument, display, macro, paragraph
from tools.docs.prose import to_mdoc

FRAME = [".Dd November 23, 2026", ".Dt X 1", ".Os", ".Sh NAME", ".Nm x", ".Nd y", ".Sh DESCRIPTION"]
PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def rendered(lines: list[str]) -> str:
    """The text of DESCRIPTION, with no more than one blank in a row."""
    source = "\n".join([*FRAME, *lines]) + "\n"
    done = subprocess.run(
        ["mandoc", "-mdoc", "-T", "ascii", "-O", "width=1000"], input=source.encode(), capture_output=True, check=True
    )
    text = re.sub(r".\x08", "", done.stdout.decode())
    return " ".join(text.partition("DESCRIPTION\n")[2].rpartition("\n")[0].rstrip().rpartition("\n")[0].split())


def collapsed(text: str) -> str:
    return " ".join(text.split())


AWKWARD = [
    ".Sh is a macro", "'quoted'", r"a\fBb\e", "--json", "-", ".", "...", "Ar", "No Xr Op", "^~`", 'say "no"', "%A",
    "\\", ". . .", "(x)", "|", "Op", "a; b", r"printf 'a\n\nb\n' | x -t",
]  # fmt: skip


@pytest.mark.parametrize("text", AWKWARD)
def test_an_awkward_text_is_shown_as_it_is(text: str) -> None:
    assert rendered(display([text])) == collapsed(text)
    assert rendered([f".Ql {argument(text)}"]) == f"`{text}'"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(PRINTABLE, min_size=1).map(str.strip).filter(bool), min_size=1, max_size=20))
def test_lines_to_type_are_shown_as_they_are(lines: list[str]) -> None:
    assert rendered(display(lines)) == collapsed(" ".join(lines))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(PRINTABLE, min_size=1), min_size=1, max_size=20))
def test_running_text_loses_no_word(words: list[str]) -> None:
    text = " ".join(words).translate({ord("`"): None, ord("*"): None})
    assert rendered(paragraph(text)) == collapsed(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Use `--json` here, or --yes.", "Use --json here, or --yes."),
        ("It is (`smtp.host`), said *twice*.", "It is (smtp.host), said twice."),
        ("See ucrmmail.toml(5); then `queue list`: done.", "See ucrmmail.toml(5); then `queue list': done."),
        ("A `FILE` in `~/.config`, `.eml` or `drop/NAME.eml`.", "A FILE in ~/.config, `.eml' or drop/NAME.eml."),
        ("Not an option: x--json, --json's.", "Not an option: x--json, --json's."),
        ("Caf\u00e9 \u2014 x", "Cafe -- x"),
    ],
)
def test_marks_become_what_they_mean(text: str, shown: str) -> None:
    assert rendered(paragraph(text)) == shown


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("--json", r"Fl \-json"),
        ("-v", "Fl v"),
        ("--config FILE", r"Fl \-config Ar FILE"),
        ("UCRMMAIL_CONFIG", "Ev UCRMMAIL_CONFIG"),
        ("QUEUE_ID", "Ar QUEUE_ID"),
        ("smtp.host", "Va smtp.host"),
        ("/etc/ucrmmail", "Pa /etc/ucrmmail"),
        ("tmp/ID", "Pa tmp/ID"),
        ("ucrmmail", "Nm ucrmmail"),
        ("queue_id", "Ql queue_id"),
    ],
)
def test_the_macro_follows_from_what_the_text_is(text: str, called: str) -> None:
    assert macro(text) == called


@pytest.mark.parametrize("text", ["the `key`s", "no`way` out", "un*likely*"])
def test_a_mark_that_cannot_be_printed_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="blanks around"):
        paragraph(text)


def test_a_part_written_by_hand_keeps_its_shape() -> None:
    text = """
First
line.

- `--one`: The first,
  in two lines.
- `two`: The second.

Between:

    .literal  text

    and more
* a point
* another
== Below
Last.
"""
    assert to_mdoc(text) == [
        "First line.",
        ".Bl -tag -width Ds", r".It Fl \-one", "The first, in two lines.", ".It Sy two", "The second.", ".El",
        ".Pp", "Between:",
        ".Bd -literal -offset indent", r"\&.literal  text", "", "and more", ".Ed",
        ".Bl -bullet -compact", ".It", "a point", ".It", "another", ".El",
        ".Ss Below", "Last.",
    ]  # fmt: skip


def test_a_term_without_a_meaning_is_an_error() -> None:
    with pytest.raises(ValueError, match="a term is written as"):
        to_mdoc("- no marks: at all")
