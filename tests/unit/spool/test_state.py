"""A state is read back as it was kept, or counts as lost; lost means never tried, and no more than that."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.dataclass import replace
from ucrmmail.spool.state import (
    ALL_RELAYED,
    LONGEST_REPLY,
    MessageState,
    RecipientState,
    decode_state,
    encode_state,
    fitted,
    longest_encoding,
    untried,
)

# A reply may hold anything, surrogate escapes too.
TEXT = st.text(st.characters(), max_size=40)
WORDS = st.text("abc-.0123456789", max_size=20)
TIMES = st.floats(0, 4e9)
RECIPIENTS = st.builds(
    RecipientState,
    recipient=TEXT.filter(bool),
    result=st.sampled_from(["", "relayed", "deferred", "failed"]),
    reply=TEXT,
    stage=WORDS,
    enhanced=WORDS,
    at=TIMES,
    uncertain=st.booleans(),
    reported=st.booleans(),
)
STATES = st.builds(
    MessageState,
    recipients=st.lists(RECIPIENTS, max_size=4).map(tuple),
    attempts=st.integers(0, 1000),
    first_attempt_at=TIMES,
    next_attempt_at=TIMES,
    reason=TEXT,
    revision=st.integers(0, 1000),
)


@given(STATES)
def test_a_state_is_read_back_as_it_was_kept(state: MessageState) -> None:
    encoded = encode_state(state)
    assert b"\n" not in encoded
    assert decode_state(encoded + b"\n") == state
    assert len(encoded) <= longest_encoding(each.recipient for each in state.recipients)


def test_every_damaged_bit_makes_it_a_lost_one() -> None:
    encoded = encode_state(untried(["joe@example.com"]))
    for position in range(len(encoded)):
        for bit in range(8):
            damaged = bytearray(encoded)
            damaged[position] ^= 1 << bit
            assert decode_state(bytes(damaged)) is None
        assert decode_state(encoded[:position]) is None


@pytest.mark.parametrize(
    "document",
    [
        "null", "[]", "7", "{}", '{"recipients":7}', '{"recipients":[7]}', '{"recipients":[{}]}',
        '{"recipients":[{"recipient":7}]}', '{"recipients":[{"recipient":"a","at":"soon"}]}',
        '{"recipients":[{"recipient":"a","uncertain":1}]}', '{"recipients":[],"attempts":true}',
        '{"recipients":[],"attempts":1.5}', '{"recipients":[],"next_attempt_at":NaN}',
        '{"recipients":[],"next_attempt_at":Infinity}', '{"recipients":[],"next_attempt_at":1e300}',
        '{"recipients":[],"first_attempt_at":253402300800}', '{"recipients":[],"next_attempt_at":-1.0}',
        '{"recipients":[{"recipient":"a","at":1e300}]}', '{"recipients":[{"recipient":"a","at":-1e18}]}',
        '{"recipients":[],"attempts":-1}', '{"recipients":[],"revision":-9}', '{"recipients":[],"unknown":1}', "{", "[" * 100_000,
    ],
)  # fmt: skip
def test_json_of_another_kind_is_a_lost_state(document: str) -> None:
    text = document.encode()
    assert decode_state(b"%08x %b" % (zlib.crc32(text), text)) is None


def test_whole_numbers_are_times_too() -> None:
    text = json.dumps({"recipients": [{"recipient": "a", "at": 5}], "next_attempt_at": 6}).encode()
    state = decode_state(b"%08x %b" % (zlib.crc32(text), text))
    assert state is not None
    assert (state.recipients[0].at, state.next_attempt_at) == (5, 6)


def test_the_longest_reply_fits_into_the_room_that_is_made_for_it() -> None:
    address = "\U0001f600" * 64 + "@example.com"
    long = "\U0001f600" * 70_000
    recipient = RecipientState(address, "deferred", long, "final-dot", "4.7.1", 1.5e9 + 0.123456, True, True)
    state = MessageState((recipient,) * 50, 99, 1.123456789e9, 1.123456789e9, long, 99)
    encoded = encode_state(state)
    assert len(encoded) <= longest_encoding([address] * 50)
    decoded = decode_state(encoded)
    assert decoded is not None
    assert decoded.recipients[0].reply == long[:LONGEST_REPLY]


def test_who_is_not_in_the_kept_state_was_never_tried() -> None:
    kept = MessageState(
        (RecipientState("a", "relayed"), RecipientState("gone", "failed")),
        attempts=3,
        first_attempt_at=7.0,
        next_attempt_at=9.0,
        reason="said no",
        revision=5,
    )
    state = fitted(kept, ("b", "a"))
    assert state.recipients == (RecipientState("b"), RecipientState("a", "relayed"))
    assert (state.attempts, state.revision, state.pending) == (3, 5, ("b",))
    assert (state.first_attempt_at, state.next_attempt_at, state.reason) == (7.0, 9.0, "said no")
    assert fitted(None, ("a",)) == untried(["a"])
    assert fitted(state, ("b", "a")) is state


def test_what_a_state_means() -> None:
    mixed = MessageState((RecipientState("a", "failed"), RecipientState("b", "deferred"), RecipientState("c")))
    assert mixed.pending == ("b", "c")
    assert (mixed.failed, mixed.unreported, mixed.relayed) == (True, True, False)
    told = MessageState((RecipientState("a", "failed", reported=True),))
    assert (told.pending, told.failed, told.unreported) == ((), True, False)
    assert (ALL_RELAYED.pending, ALL_RELAYED.failed, ALL_RELAYED.unreported, ALL_RELAYED.relayed) == (
        (),
        False,
        False,
        True,
    )


def test_whose_turn_it_is() -> None:
    state = MessageState((
        RecipientState("a@example.com", "deferred", tried=True),
        RecipientState("b@example.com", "relayed", tried=True),
        RecipientState("c@example.com"),
        RecipientState("d@example.com", "deferred"),
    ))  # fmt: skip
    assert state.turn == ("c@example.com", "d@example.com")
    assert state.pending == ("a@example.com", "c@example.com", "d@example.com")
    # A state that says nothing of the kind, or that somebody has written by hand, stops nobody.
    assert MessageState((RecipientState("a@example.com", "deferred", tried=True),)).turn == ("a@example.com",)
    assert decode_state(encode_state(state)) == state


def test_who_was_asked_longest_ago_comes_first() -> None:
    state = MessageState((
        RecipientState("a@example.com", at=200.0),
        RecipientState("b@example.com", at=100.0),
        RecipientState("c@example.com"),
        RecipientState("d@example.com", at=100.0, alone=True),
        RecipientState("e@example.com", at=100.0),
    ))  # fmt: skip
    assert state.turn == ("c@example.com", "b@example.com", "e@example.com", "a@example.com")


def test_who_goes_alone_comes_behind_the_others_one_by_one() -> None:
    first = RecipientState("a@example.com", "deferred", alone=True)
    second = RecipientState("b@example.com", "deferred", alone=True)
    others = (RecipientState("c@example.com"), RecipientState("d@example.com", "deferred"))
    assert MessageState((first, second, *others)).turn == ("c@example.com", "d@example.com")
    done = tuple(replace(each, tried=True) for each in others)
    assert MessageState((first, second, *done)).turn == ("a@example.com",)
    assert MessageState((replace(first, tried=True), second, *done)).turn == ("b@example.com",)
    assert MessageState((first, second)).turn == ("a@example.com",)


def test_a_state_of_many_is_taken_apart_once_for_its_record_its_file_and_the_next_part() -> None:
    """With a hundred recipients in each part, a message to 8,000 took two thirds of its time for that."""
    first, second = (untried([f"{letter}{number}@example.com" for number in range(100)]) for letter in "ab")
    encoded = encode_state(first)
    assert encode_state(first) is encoded
    assert decode_state(encoded + b"\n") is first
    changed = replace(first, attempts=1)
    assert decode_state(encode_state(changed)) is changed
    assert decode_state(encoded) == first
    assert decode_state(encoded) is not first
    assert encode_state(second) != encode_state(first) == encoded
