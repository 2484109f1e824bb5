"""The reader for plain TOML: whenever it answers, tomllib gives the same."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.config.simple import parse_simple

PLAIN = b"""\
# the smarthost
[smtp]
host = "mail.isp.example" # ours
port = 587
pipelining = true

[addresses]\r
sender = "z\xc3\xb6e@isp.example"
[dns]
domains = [ "a.example" , "b.example", ]
nothing = []
offset = -3
"""


def test_a_plain_document_is_read() -> None:
    found = parse_simple(PLAIN)
    assert found == tomllib.loads(PLAIN.decode())
    assert found is not None


@pytest.mark.parametrize(
    "text",
    [
        'a = "\\u0041"',
        "a = 'literal'",
        'a = """long"""',
        'a = """"""',
        "a.b = 1",
        "[a.b]",
        "[[a]]",
        '"a" = 1',
        "a = 0x10",
        "a = 1_000",
        "a = 01",
        "a = 1.5",
        "a = 1979-05-27",
        "a = {b = 1}",
        "a = [1, 2]",
        'a = ["b",',
        "a = 99999999999999999999",
    ],
)
def test_what_is_not_plain_is_left_to_tomllib(text: str) -> None:
    assert parse_simple(text.encode()) is None


@pytest.mark.parametrize(
    "data",
    [
        b"a = 1\na = 2",
        b"[a]\n[a]",
        b"a = 1\n[a]",
        b"a",
        b"a =",
        b"= 1",
        b'a = "b',
        b'a = "b" c',
        b'a = ["b" "c"]',
        b"a = [,]",
        b"[a",
        b"[]",
        b"[a] b",
        b"a b = 1",
        b"a = tru",
        b"a = 1\r",
        b"# \x00",
        b"# \x7f",
        b'a = "\xff"',
        b"\xef\xbb\xbfa = 1",
        "\u0661 = 1".encode(),
        "a = \u0661".encode(),
        "\u00a0a = 1".encode(),
    ],
)
def test_what_is_not_toml_gets_no_answer(data: bytes) -> None:
    assert parse_simple(data) is None


PIECES = st.sampled_from(
    [
        *("[", "]", "[smtp]", "[ dns ]", "[[a]]", "=", " = ", "a", "b-c", "host", "smtp", ".", ",", "\n", "\r\n", "\r", "\t", " "),
        *('"', '""', '"""', "'", "\\", '"x"', '"ö"', '["a", "b"]', "[]", "# c", "#", "true", "false", "0", "-0", "+1", "12", "00"),
        *("\x00", "\x7f", "\u00a0", "\u2028", "\u0661", "\ufeff", "{", "}", "1.0", "_"),
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join))
def test_whenever_there_is_an_answer_tomllib_gives_the_same(text: str) -> None:
    found = parse_simple(text.encode())
    if found is not None:
        assert found == tomllib.loads(text)


KEYS = st.text("abc-_12", min_size=1, max_size=3)
STRINGS = st.text(max_size=8).map(lambda text: '"' + text + '"')
VALUES = st.one_of(
    STRINGS,
    st.integers().map(str),
    st.sampled_from(["true", "false", "yes", ""]),
    st.lists(STRINGS, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
)
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map(" = ".join),
    KEYS.map(lambda name: f"[{name}]"),
    st.text(max_size=8).map(lambda text: "# " + text),
)


@given(st.lists(LINES, max_size=8).map("\n".join))
def test_lines_that_look_like_toml_are_read_as_tomllib_reads_them(text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    found = parse_simple(data)
    if found is not None:
        assert found == tomllib.loads(text)
