"""What is encoded for a server without 8BITMIME, and what is left to wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.smtp_client import transaction
from ucrmmail.dataclass import replace
from ucrmmail.smtp.sevenbit import in_seven_bit

EIGHT_BIT = transaction(body="Subject: x\r\n\r\nGrüße\r\n".encode(), eight_bit=True)


@pytest.mark.requirement("R16")
def test_a_message_becomes_one_of_seven_bits_with_its_own_size() -> None:
    encoded = in_seven_bit(EIGHT_BIT, 0)
    content = b"".join(encoded.chunks())
    assert content == b"".join(encoded.chunks()), "as often as asked"
    assert content.isascii()
    assert (encoded.eight_bit, encoded.size_bytes) == (False, len(content))
    assert encoded.queue_id == EIGHT_BIT.queue_id


def broken() -> Iterator[bytes]:
    def fail(_piece: bytes) -> bytes:
        raise OSError("the disk")

    return map(fail, [b"Subject: x"])


@pytest.mark.parametrize(
    ("left", "most_bytes"),
    [
        (replace(EIGHT_BIT, size_bytes=10_000_001), 0),
        (EIGHT_BIT, 20),
        (replace(EIGHT_BIT, chunks=broken), 0),
        (transaction(body=b"Subject: \xc3\xbc\r\n\r\nhi\r\n", eight_bit=True), 0),
    ],
    ids=["large", "too large for the server", "unreadable", "in the header"],
)
def test_what_cannot_be_encoded_stays_as_it_is(left: object, most_bytes: int) -> None:
    assert in_seven_bit(left, most_bytes) is left  # type: ignore[arg-type] # a transaction


def test_the_bounds_are_the_last_sizes_that_go() -> None:
    content = b"".join(in_seven_bit(EIGHT_BIT, 0).chunks())
    assert not in_seven_bit(EIGHT_BIT, len(content)).eight_bit
    assert in_seven_bit(EIGHT_BIT, len(content) - 1) is EIGHT_BIT
    assert in_seven_bit(EIGHT_BIT, 1) is EIGHT_BIT
    assert not in_seven_bit(replace(EIGHT_BIT, size_bytes=10_000_000), 0).eight_bit


@pytest.mark.parametrize("pieces", [1, 2, 13])
def test_a_message_that_is_read_in_pieces_is_the_same(pieces: int) -> None:
    whole = transaction(body="Subject: x\r\n\r\nGrüße\r\n".encode(), eight_bit=True, pieces=pieces)
    assert b"".join(in_seven_bit(whole, 0).chunks()) == b"".join(in_seven_bit(EIGHT_BIT, 0).chunks())
