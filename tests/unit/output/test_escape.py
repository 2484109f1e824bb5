"""Foreign text never reaches a terminal raw."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.output.escape import visible


@pytest.mark.requirement("S10")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße – 12 €", "Grüße – 12 €"),
        ("日本語", "日本語"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x1b]52;c;ZXZpbA==\x07", "\\x1b]52;c;ZXZpbA==\\x07"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("tab\there", "tab here"),
        ("\x9b2J", "\\x9b2J"),
        ("\x7f", "\\x7f"),
        ("user\u202egpj.exe", "user\\u{202e}gpj.exe"),
        ("zero\u200bwidth", "zero\\u{200b}width"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\u{d800}"),
        ("[bold]markup[/]", "[bold]markup[/]"),
        ("\u2028", "\\u{2028}"),
    ],
)
def test_what_a_reader_could_not_see_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.requirement("S10")
@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in shown)
    assert visible(shown) == shown


@given(st.binary())
def test_bytes_of_any_kind_can_be_shown(raw: bytes) -> None:
    visible(raw.decode("utf-8", "surrogateescape")).encode("utf-8")
