"""A queue file is read back as it was written, or it is known to be damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.config.spool_values import LARGEST_MESSAGE_BYTES
from ucrmmail.errors import DataError, NoUserError
from ucrmmail.message.arrival import Stored
from ucrmmail.message.envelope import MOST_RECIPIENTS
from ucrmmail.spool.queuefile import (
    CHUNK_BYTES,
    LARGEST_ENVELOPE_BYTES,
    DamagedError,
    QueueFile,
    encode_head,
    pieces,
    read_checked,
    read_unchecked,
)

ADDRESSES = st.text(st.characters(categories=("L", "N", "P", "S"), include_characters=" "), min_size=1, max_size=60)
MESSAGE = b"Subject: hello\r\n\r\nHi.\r\n"


def written(path: Path, head: bytes, message: bytes) -> int:
    path.write_bytes(head + message)
    return os.open(path, os.O_RDONLY)


def read(path: Path, data: bytes) -> tuple[QueueFile, bytes]:
    fd = written(path, data, b"")
    try:
        return read_checked(fd, len(data))
    finally:
        os.close(fd)


@given(
    reverse_path=st.just("") | ADDRESSES,
    recipients=st.lists(ADDRESSES, min_size=1, max_size=5),
    message=st.binary(max_size=200),
    eight_bit=st.booleans(),
    utf8=st.booleans(),
)
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    reverse_path: str,
    recipients: list[str],
    message: bytes,
    eight_bit: bool,
    utf8: bool,
) -> None:
    head = encode_head(reverse_path, recipients, message, eight_bit=eight_bit, utf8=utf8)
    path = tmp_path_factory.getbasetemp() / "round-trip"
    file, data = read(path, head + message)
    assert (file.reverse_path, list(file.recipients)) == (reverse_path, recipients)
    assert (file.eight_bit, file.utf8, file.size_bytes) == (eight_bit, utf8, len(message))
    assert data[file.offset :] == message
    fd = os.open(path, os.O_RDONLY)
    unchecked, beginning = read_unchecked(fd, len(head) + len(message))
    os.close(fd)
    assert (unchecked.recipients, unchecked.size_bytes, beginning) == (file.recipients, len(message), message)


@pytest.mark.parametrize("size", [CHUNK_BYTES - 200, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_a_large_message_is_read_in_pieces(tmp_path: Path, size: int) -> None:
    message = os.urandom(size)
    head = encode_head("a@b.example", ["c@d.example"], message, eight_bit=True, utf8=False)
    for message_size in (size, size - len(head)):
        message = message[:message_size]
        head = encode_head("a@b.example", ["c@d.example"], message, eight_bit=True, utf8=False)
        fd = written(tmp_path / "large", head, message)
        file, data = read_checked(fd, len(head) + len(message))
        assert file.size_bytes == len(message)
        assert (data[file.offset :] if data else b"".join(pieces(fd, file.offset))) == message
        assert max(map(len, pieces(fd, 0))) <= CHUNK_BYTES
        os.close(fd)


def test_a_long_envelope_is_read(tmp_path: Path) -> None:
    recipients = [f"recipient-number-{number}@example.com" for number in range(20_000)]
    head = encode_head("a@b.example", recipients, MESSAGE, eight_bit=False, utf8=False)
    assert len(head) > 2 * CHUNK_BYTES
    fd = written(tmp_path / "many", head, MESSAGE)
    file, data = read_checked(fd, len(head) + len(MESSAGE))
    assert data == b""
    assert file.recipients == tuple(recipients)
    assert b"".join(pieces(fd, file.offset)) == MESSAGE
    assert read_unchecked(fd, len(head) + len(MESSAGE))[1] == MESSAGE
    os.close(fd)


@pytest.mark.requirement("R6", "R30")
def test_truncation_at_every_byte_is_noticed(tmp_path: Path) -> None:
    whole = encode_head("a@b.example", ["c@d.example"], MESSAGE, eight_bit=True, utf8=True) + MESSAGE
    for length in range(len(whole)):
        with pytest.raises(DamagedError):
            read(tmp_path / "torn", whole[:length])


@pytest.mark.requirement("R6", "R30")
def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    whole = encode_head("a@b.example", ["c@d.example"], MESSAGE, eight_bit=True, utf8=True) + MESSAGE
    for position in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            with pytest.raises(DamagedError):
                read(tmp_path / "flipped", bytes(damaged))


@pytest.mark.parametrize("tail", [b"\0", b"\n", b"x" * CHUNK_BYTES])
def test_a_file_that_grew_is_noticed(tmp_path: Path, tail: bytes) -> None:
    whole = encode_head("", ["c@d.example"], MESSAGE, eight_bit=False, utf8=False) + MESSAGE
    with pytest.raises(DamagedError):
        read(tmp_path / "grown", whole + tail)
    fd = written(tmp_path / "growing", whole, tail)
    with pytest.raises(DamagedError):
        read_checked(fd, len(whole))
    os.close(fd)


@pytest.mark.requirement("S15")
def test_two_gigabytes_of_nothing_cost_nothing(tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 31)
    fd = os.open(tmp_path / "sparse", os.O_RDONLY)
    with pytest.raises(DamagedError, match="does not begin"):
        read_checked(fd, 1 << 31)
    os.close(fd)
    with open(tmp_path / "sparse", "r+b") as file:
        file.write(b"ucrmmail-queue 1 00000000 2147483700\n")
        file.truncate((1 << 31) + 100)
    fd = os.open(tmp_path / "sparse", os.O_RDONLY)
    with pytest.raises(DamagedError, match="more than any message"):
        read_checked(fd, (1 << 31) + 100)
    os.close(fd)


def forged(envelope: bytes) -> bytes:
    """A file whose length and checksum are right."""
    head = encode_head("x", ["y"], b"", eight_bit=False, utf8=False)
    import zlib

    return head.split(b" ")[0] + b" 1 %08x %d\n" % (zlib.crc32(envelope), len(envelope)) + envelope


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        *[(each, "has no end") for each in (b"", b"from a@b\nto c@d\nhi")],
        (b"from a@b\nto c\xff@d\n\nhi", "is not UTF-8"),
        *[
            (each, "is incomplete")
            for each in (
                b"\n\n", b"from a@b\n\nhi", b"to c@d\n\nhi", b"from a@b\nfrom x@y\nto c@d\n\nhi", b"flags 8bit\n\nhi",
                b"to c@d\nfrom a@b\n\nhi", b"from a@b\nto c@d\nflags 8bit\nto e@f\n\nhi", b"from a@b\nto c@d\ncc e@f\n\nhi",
            )
        ],
        *[
            (each, "holds an address that was never accepted")
            for each in (
                b"from a@b\nto \n\nhi", b"from a@b\nto c@d\rRCPT TO:<x@y>\n\nhi", b"from a@b\nto c\x00@d\n\nhi",
                b"from a@b\nto c\x1b@d\n\nhi", b"from a\x7f@b\nto c@d\n\nhi", "from a@b\nto c\u0085@d\n\nhi".encode(),
                "from a@b\nto c\u2028@d\n\nhi".encode(),
            )
        ],
    ],
)  # fmt: skip
def test_an_envelope_that_was_never_accepted_is_refused(tmp_path: Path, envelope: bytes, reason: str) -> None:
    with pytest.raises(DamagedError) as caught:
        read(tmp_path / "forged", forged(envelope))
    assert str(caught.value) == f"its envelope {reason}"


def test_a_damaged_beginning_is_noticed_in_a_list_too(tmp_path: Path) -> None:
    whole = encode_head("", ["c@d.example"], MESSAGE, eight_bit=False, utf8=False) + MESSAGE
    for beginning in (b"something else\n\n", b"\n" + whole, whole.split(b"\n")[0], b"no line end"):
        fd = written(tmp_path / "other", beginning, b"")
        for read_it in (read_unchecked, read_checked):
            with pytest.raises(DamagedError) as caught:
                read_it(fd, 10)
            assert str(caught.value) == "it does not begin as a queue file"
        os.close(fd)


def test_a_checksum_that_does_not_fit_is_told_as_such(tmp_path: Path) -> None:
    whole = encode_head("", ["c@d.example"], MESSAGE, eight_bit=False, utf8=False) + MESSAGE
    with pytest.raises(DamagedError) as caught:
        read(tmp_path / "torn", whole[:-1])
    assert str(caught.value) == "its length or checksum is not that of what was accepted"


@pytest.mark.parametrize("header_bytes", [0, 150, 300, 5000])
def test_a_list_sees_the_whole_header_and_reads_no_more_than_it_needs(tmp_path: Path, header_bytes: int) -> None:
    message = b"Subject: " + b"x" * header_bytes + b"\r\n\r\n" + b"body " * 4000
    head = encode_head("a@b.example", ["c@d.example"], message, eight_bit=False, utf8=False)
    fd = written(tmp_path / "listed", head, message)
    _, beginning = read_unchecked(fd, len(head) + len(message), 256)
    os.close(fd)
    assert message.startswith(beginning)
    fits = len(head) + header_bytes + 13 <= 256
    assert len(head) + len(beginning) == (256 if fits else len(head) + len(message))


@pytest.mark.parametrize(
    "address", ["", "a\nto b@c", "a@b\r", "a\0@b", "a\x1b@b", "a\x85@b", "a\u2028@b", "a\udc80@b", "a\x7f@b"]
)
def test_an_address_that_could_not_be_read_back_is_refused(address: str) -> None:
    with pytest.raises(NoUserError) as caught:
        encode_head("a@b.example", ["c@d.example", address], MESSAGE, eight_bit=False, utf8=False)
    assert caught.value.what == f"{address!r} is not an address"
    assert caught.value.why == "it is empty or holds control characters"
    assert caught.value.remedy == "correct it"
    if address:
        with pytest.raises(NoUserError):
            encode_head(address, ["c@d.example"], MESSAGE, eight_bit=False, utf8=False)


def test_a_message_without_recipients_is_refused() -> None:
    with pytest.raises(NoUserError) as caught:
        encode_head("a@b.example", [], MESSAGE, eight_bit=False, utf8=False)
    assert (caught.value.what, caught.value.remedy) == ("the message has no recipient", "name one")


@pytest.mark.requirement("R6")
def test_an_envelope_that_could_not_be_read_back_is_refused(tmp_path: Path) -> None:
    """None of the lines is one of a real address, whose millions take seconds."""
    most = LARGEST_ENVELOPE_BYTES - 48 - len("from a@b.example\n\n")
    fits = ["x" * (most // 2 - 4), "y" * (most - most // 2 - 4)]
    whole = encode_head("a@b.example", fits, MESSAGE, eight_bit=False, utf8=False) + MESSAGE
    assert read(tmp_path / "fits", whole)[0].recipients == tuple(fits)
    with pytest.raises(DataError, match="goes to 2 recipients, more than fit"):
        encode_head("a@b.example", [fits[0], f"{fits[1]}y"], MESSAGE, eight_bit=False, utf8=False)


@pytest.mark.requirement("R6")
def test_a_message_has_no_more_recipients_than_a_run_has_memory_for(tmp_path: Path) -> None:
    most = ["c@d.example"] * MOST_RECIPIENTS
    whole = encode_head("a@b.example", most, MESSAGE, eight_bit=True, utf8=True) + MESSAGE
    assert read(tmp_path / "most", whole)[0].recipients == tuple(most)
    with pytest.raises(DataError, match="goes to 100001 recipients, more than fit"):
        encode_head("a@b.example", [*most, "c@d.example"], MESSAGE, eight_bit=False, utf8=False)
    with pytest.raises(DamagedError, match="its envelope has more than 100000 recipients"):
        read(tmp_path / "more", forged(b"from a@b.example\n" + b"to c@d.example\n" * (MOST_RECIPIENTS + 2) + b"\n"))


class Sparse(Stored):
    """A message of which only the length is asked."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def __len__(self) -> int:
        return self.size_bytes

    def pieces(self) -> Iterator[bytes]:
        return iter(())


@pytest.mark.requirement("R6")
def test_a_message_that_could_not_be_read_back_is_refused() -> None:
    encode_head("a@b.example", ["c@d.example"], Sparse(LARGEST_MESSAGE_BYTES), eight_bit=False, utf8=False)
    with pytest.raises(DataError, match="2147483600 bytes as it goes on the wire"):
        encode_head("a@b.example", ["c@d.example"], Sparse(2_147_483_600), eight_bit=False, utf8=False)
