"""Macros as RFC 7208 section 7 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.dns.spf_macro import MacroError, parse_macro

# The sender, address and HELO name of the examples of section 7.4.
VALUES = {
    "s": "strong-bad@email.example.com",
    "l": "strong-bad",
    "o": "email.example.com",
    "d": "email.example.com",
    "i": "192.0.2.3",
    "p": "mx.example.org",
    "v": "in-addr",
    "h": "mail.example.org",
    "c": "192.0.2.3",
    "r": "receiver.example",
    "t": "1700000000",
}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("a%%b%_c%-d", "a%b c%20d"),
        ("%{d999999999999}", "email.example.com"),
        ("%{D2R}", "example.email"),
    ],
)
def test_macro_expands_as_in_the_rfc(text: str, expanded: str) -> None:
    assert parse_macro(text).expand(VALUES, limit=1000) == expanded


@pytest.mark.parametrize(
    "text",
    [
        "%",
        "%a",
        "%{",
        "%{}",
        "%{d",
        "%{x}",
        "%{d0}",
        "%{d00}",
        "%{d-1}",
        "%{dr2}",
        "%{d2r!}",
        "%(d)",
        "a b",
        "\x7f",
        "\u00e9",
        "%{c}",
        "%{r}",
        "%{t}",
    ],
)
def test_macro_outside_the_grammar_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(MacroError) as refused:
        parse_macro("ab" + text)
    assert 2 <= refused.value.start < refused.value.end <= 2 + len(text)


def test_explanation_has_blanks_and_letters_of_its_own() -> None:
    macro = parse_macro("%{c} at %{t} by %{r}", explanation=True)
    assert macro.expand(VALUES, limit=1000) == "192.0.2.3 at 1700000000 by receiver.example"
    with pytest.raises(MacroError):
        parse_macro("line\r\nbreak", explanation=True)


def test_long_name_loses_labels_on_the_left() -> None:
    name = parse_macro("%{l}.x." + ".".join(["y" * 60] * 4)).expand_name(VALUES | {"l": "a" * 100 + ".b"})
    assert parse_macro("%{l}").expand_name(VALUES | {"l": "a" * 300}) == ""
    assert name == "b.x." + ".".join(["y" * 60] * 4)


def test_text_that_grows_beyond_its_limit_is_none() -> None:
    assert parse_macro("%{s}" * 1000, explanation=True).expand(VALUES | {"s": "x" * 300}, limit=2048) is None
    assert parse_macro("%{s}" * 1000).expand_name(VALUES | {"s": "x" * 300}) == ""


@given(st.text(alphabet="%{}sdlr2-.+_=,/ab \u00e9\x00"))
def test_any_text_is_a_macro_or_a_macro_error(text: str) -> None:
    refused: MacroError | None = None
    expanded: str | None = None
    try:
        expanded = parse_macro(text, explanation=True).expand(VALUES, limit=10000)
    except MacroError as error:
        refused = error
    if refused:
        assert 0 <= refused.start < refused.end <= len(text)
    else:
        assert expanded is not None
        assert expanded.isascii()
