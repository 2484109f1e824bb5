"""Whether a reply is the answer to a chunk, by its words alone."""

from __future__ import annotations

import pytest

from ucrmmail.smtp.instep import InStep, may_be_of_recipient
from ucrmmail.smtp.wire import parse_reply


def heard(*replies: str) -> InStep:
    in_step = InStep()
    for reply in replies:
        in_step.hear(parse_reply([reply.encode()]))
    return in_step


@pytest.mark.parametrize(
    ("replies", "answer", "is_it"),
    [
        (("250 2.1.0 Ok", "250 2.1.5 Ok"), "250 2.1.5 Ok", True),
        (("250 2.1.0 Ok", "250 2.1.5 Ok"), "250 2.0.0 Ok: queued as 4F1B2", False),
        (("250 2.1.0 OK d9-20020a", "250 2.1.5 OK d9-20020a"), "250 2.1.5 OK f3-77aaab", True),
        (("250 OK", "250 Accepted"), "250 OK id=1rABCd-000123-4F", False),
        (("250 OK", "250 Accepted"), "250 Accepted", True),
        (("250 OK", "250 OK"), "250 OK", True),
        (("250 <a@isp.example> ok", "250 <joe@example.com> ok"), "250 <ann@example.com> ok", True),
        (("250 sender ok", "250 recipient ok"), "250 Message OK, 86400 octets received", False),
        ((), "250 OK", False),
    ],
)
def test_an_answer_is_one_to_the_envelope_by_its_code_or_its_words(
    replies: tuple[str, ...], answer: str, is_it: bool
) -> None:
    assert heard(*replies).is_of_envelope(parse_reply([answer.encode()])) is is_it


def test_many_words_are_not_all_kept() -> None:
    words = [f"250 {'a' * number}" for number in range(1, 40)]
    assert not heard(*words).is_of_envelope(parse_reply([words[-1].encode()]))


@pytest.mark.parametrize(
    ("reply", "may_be"),
    [("550 no", True), ("550 5.1.1 no", True), ("552 5.2.2 full", True), ("554 5.6.0 a virus", False), ("554 5.7.1 spam", False)],
)  # fmt: skip
def test_a_refusal_of_a_policy_or_of_the_content_is_no_recipients(reply: str, may_be: bool) -> None:
    assert may_be_of_recipient(parse_reply([reply.encode()])) is may_be


@pytest.mark.parametrize(
    ("replies", "answer", "is_it"),
    [
        (("250 ok", "250 ok"), "250 Chunk taken", True),
        (("250 ok", "250 ok"), "250 86400 octets received", True),
        (("250 ok", "250 ok"), "250 one byte", True),
        (("250 ok", "250 ok"), "250 got 1234", True),
        (("250 ok", "250 ok"), "250 got 12345", False),
        (("250 ok", "250 ok"), "250 chunky", False),
        (("250 ok", "250 ok"), "250 other words", False),
        (("250 2.1.0 ok", "250 2.1.5 ok"), "250 2.0.0 fine", True),
        (("250 2.1.0 ok", "250 2.1.5 ok"), "250 2.1.5 fine", False),
        (("250 2.1.0 ok", "250 2.1.5 ok"), "250 2.1.7 fine", False),
        (("250 2.0.0 sender", "250 2.0.0 recipient"), "250 2.0.0 fine", False),
        (("250 2.0.0 sender", "250 2.0.0 recipient"), "250 2.6.0 fine", True),
    ],
)
def test_an_answer_is_certainly_one_to_a_chunk_by_its_words_by_the_size_or_by_a_code_that_was_not_heard(
    replies: tuple[str, ...], answer: str, is_it: bool
) -> None:
    assert heard(*replies).is_of_chunk(parse_reply([answer.encode()]), 1234) is is_it


def test_so_many_words_are_kept_as_a_server_has_for_an_envelope_and_no_more() -> None:
    words = [f"250 {'a' * number}" for number in range(1, 18)]
    in_step = heard(*words)
    assert [in_step.is_of_envelope(parse_reply([each.encode()])) for each in words] == [True] * 16 + [False]
