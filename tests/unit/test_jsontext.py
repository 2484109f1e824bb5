"""JSON that a disk has damaged, or that somebody else wrote."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.jsontext import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
# What Python's own reader takes, or ends with another error than ValueError at.
NO_JSON = [
    b"NaN", b"Infinity", b"[-Infinity]", b'{"relayed": NaN}', b'{"relayed": -1e999}', b"1e400", b"[" * 3000,
    b'{"a":' * 3000, b'{"relayed":' + b"[" * 100_000, b"9" * 5000, b"", b"{", b"\xff", b"\xed\xa0\x80", b"\0",
]  # fmt: skip


@pytest.mark.requirement("R29")
@pytest.mark.parametrize("raw", NO_JSON, ids=lambda raw: repr(raw[:20]))
def test_what_is_no_json_is_a_value_error_whatever_it_is(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"^.+$"):
        read_json(raw)


@pytest.mark.requirement("R29")
@given(st.text(st.sampled_from('[]{},:"\\0123456789.eE+-NaIinftyrule \n')))
def test_nothing_else_is_raised_and_what_is_read_can_be_printed(text: str) -> None:
    try:
        found = read_json(text)
    except ValueError:
        return
    json.dumps(found, allow_nan=False)


@given(VALUES)
def test_what_was_written_is_read_back(value: object) -> None:
    assert read_json(json.dumps(value)) == value
    assert read_json(json.dumps(value).encode()) == value
