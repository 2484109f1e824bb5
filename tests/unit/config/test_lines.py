"""On which line a key stands, whatever stands before it."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.config.lines import key_lines

DOCUMENT = '''\
# [comment]
top = 1
"\\u0068o\\"st" = "[not]\\" = a table"
[ smtp ]  # [nor this]
host = """
[spool]
port = 1 \\""" still "" text"""
'port' = [ # list
  { a = 1, b = "]" },
  [2], ]
a . b."c.d" = 1979-05-27 07:32:00
[[many."x"]]
one = \'\'\'
two = 2\'\'\'\'
three = {four = 4}
'''


def test_texts_comments_and_brackets_do_not_deceive() -> None:
    tomllib.loads(DOCUMENT)
    assert key_lines(DOCUMENT) == {
        "top": 2,
        'ho"st': 3,
        "smtp": 4,
        "smtp.host": 5,
        "smtp.port": 8,
        "smtp.a.b.c.d": 11,
        "many.x": 12,
        "many.x.one": 13,
        "many.x.three": 15,
    }


VALUES = st.sampled_from(
    ['"a#b"', "'['", '"""\n[t]\nx = 1\n"""', "[\n 1, # ]\n [2]]", "{x = 1}", "1e5", "-1", "true", '""']
)


@given(st.lists(st.tuples(st.sampled_from(["", "# [c] = \n", "\n"]), VALUES), max_size=8))
def test_each_key_is_found_on_its_line(entries: list[tuple[str, str]]) -> None:
    text, expected = "[t]\n", {"t": 1}
    for number, (before, value) in enumerate(entries):
        expected[f"t.k{number}"] = (text + before).count("\n") + 1
        text += f"{before}k{number} = {value}\n"
    assert key_lines(text) == expected


@given(st.text("[]{}\"'=.#\\ \nab1", max_size=40))
def test_every_key_of_a_document_has_a_line(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    for name, found in document.items():
        assert name in lines or any(path.startswith(f"{name}.") for path in lines)
        if isinstance(found, dict) and f"[{name}]\n" in text:
            assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
