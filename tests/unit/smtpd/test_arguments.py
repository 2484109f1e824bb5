"""The arguments of MAIL and RCPT: the path as it was meant, and a reply for what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.smtpd.arguments import declared_size, parse_path, refuse_parameters
from ucrmmail.smtpd.reply import RefusedError


@pytest.mark.parametrize(
    ("argument", "path", "parameters"),
    [
        ("FROM:<joe@example.com>", "joe@example.com", []),
        ("from:<joe@example.com> SIZE=1 BODY=7BIT", "joe@example.com", ["SIZE=1", "BODY=7BIT"]),
        ("FROM: <joe@example.com>", "joe@example.com", []),
        ("FROM:joe@example.com  SIZE=1", "joe@example.com", ["SIZE=1"]),
        ("FROM:<>", "", []),
        ("FROM:<> SIZE=1", "", ["SIZE=1"]),
        ('FROM:<"joe> q"@example.com> SIZE=1', '"joe> q"@example.com', ["SIZE=1"]),
        (r'FROM:<"joe\"> q"@example.com>', r'"joe\"> q"@example.com', []),
        ("FROM:<@relay.example,@other.example:joe@example.com>", "joe@example.com", []),
        ("FROM:<root>", "root", []),
    ],
)
def test_a_path_is_read_as_it_was_meant(argument: str, path: str, parameters: list[str]) -> None:
    assert parse_path(argument, "FROM:") == (path, parameters)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("", "FROM:<address> is to stand here"),
        ("TO:<joe@example.com>", "FROM:<address> is to stand here"),
        ("FROM <joe@example.com>", "FROM:<address> is to stand here"),
        ("FROM:", "FROM:<address> is to stand here"),
        ("FROM:<joe@example.com", "the closing > is missing"),
        ('FROM:<"joe>@example.com', "the closing > is missing"),
        ("FROM:<joe@example.com>SIZE=1", "a blank is to stand behind the >"),
        ("FROM:<@example.com>", "an address is to stand behind the route"),
        ("FROM:<@relay.example:>", "an address is to stand behind the route"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(argument: str, text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_path(argument, "FROM:")
    assert (caught.value.code, caught.value.status, caught.value.text) == (501, "5.5.4", text)


@given(st.text())
def test_any_text_is_a_path_or_is_refused(text: str) -> None:
    try:
        path, parameters = parse_path(text, "TO:")
    except RefusedError:
        return
    assert path in text
    assert all(parameter in text for parameter in parameters)


@pytest.mark.parametrize(
    ("parameters", "size_bytes"),
    [([], 0), (["SIZE=1024"], 1024), (["size=5", "body=8bitmime", "smtputf8"], 5), (["BODY=7BIT"], 0)],
)
def test_parameters_that_are_offered_are_taken(parameters: list[str], size_bytes: int) -> None:
    assert declared_size(parameters) == size_bytes


@pytest.mark.parametrize(
    ("parameters", "code", "text"),
    [
        (["RET=HDRS"], 555, "RET is no parameter that was offered"),
        (["AUTH=<>"], 555, "AUTH is no parameter that was offered"),
        (["SIZE"], 501, "SIZE has no such value"),
        (["SIZE=-1"], 501, "SIZE has no such value"),
        (["SIZE=\u0663"], 501, "SIZE has no such value"),
        (["SIZE=" + "9" * 21], 501, "SIZE has no such value"),
        (["BODY=BINARYMIME"], 501, "BODY has no such value"),
        (["SMTPUTF8=yes"], 501, "SMTPUTF8 has no such value"),
        (["SIZE=1", "size=2"], 501, "SIZE stands here twice"),
    ],
)
def test_parameters_that_are_not_offered_are_refused(parameters: list[str], code: int, text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        declared_size(parameters)
    assert (caught.value.code, caught.value.text) == (code, text)


def test_a_recipient_has_no_parameters() -> None:
    refuse_parameters([])
    with pytest.raises(RefusedError, match="NOTIFY is no parameter that was offered"):
        refuse_parameters(["NOTIFY=NEVER"])
