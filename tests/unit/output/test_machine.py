"""Every document that is printed for programs is one that a strict reader takes."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.output.escape import decodable, visible
from ucrmmail.output.machine import print_document, print_listing

# Half of a surrogate pair, as well as all else.
TEXTS = st.text(st.characters(codec=None) | st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


def read_strictly(text: str) -> Any:
    """What a reader makes of it that knows no half characters."""
    document = json.loads(text)
    json.dumps(document, ensure_ascii=False).encode("utf-8")
    return document


@pytest.mark.requirement("S10")
def test_a_byte_that_is_no_text_is_spelled_out_as_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    reply = b"250 ok \xff\xfe \xf0\x9f\x93\xa7".decode("utf-8", "surrogateescape")
    print_document({"reply": reply, "\udcff": [{"in": ("\udc80",)}, "\ud800", None, 1.5, True]})
    assert read_strictly(capsys.readouterr().out) == {
        "schema_version": 1,
        "reply": "250 ok \\xff\\xfe 📧",
        "\\xff": [{"in": ["\\x80"]}, "\\u{d800}", None, 1.5, True],
    }
    print_listing("messages", iter([{"reason": reply}, {"reason": "\\udcff"}]))
    document = read_strictly(capsys.readouterr().out)
    # What only looks like one in JSON was sent as it is.
    assert [message["reason"] for message in document["messages"]] == ["250 ok \\xff\\xfe 📧", "\\udcff"]


@pytest.mark.requirement("S10")
@given(VALUES)
def test_whatever_is_in_a_document_a_strict_reader_takes_it(value: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out := io.StringIO())
        print_document({"value": value})
    assert out.getvalue().isascii()
    read_strictly(out.getvalue())


@given(TEXTS)
def test_what_is_text_stays_as_it_is(text: str) -> None:
    if not any("\ud800" <= each <= "\udfff" for each in text):
        assert decodable(text) == text
    assert visible(decodable(text)) == visible(text)
