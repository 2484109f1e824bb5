"""What a client writes: lines and texts are the same wherever the pipe cuts them, and only its own line end counts."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.scratch import cut
from ucrmmail.smtpd.lines import LONGEST_LINE_BYTES, CutOffError, Lines, TooLongError

CRLF, LF = b"\r\n", b"\n"
LINE_ENDS = st.sampled_from([CRLF, LF])
TEXTS = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.\r\n", b"\n.\n", b"a", b"\0", b"\xff"])).map(
    b"".join
)


def lines_of(raw: bytes, piece_bytes: int) -> Lines:
    pieces = cut(raw, piece_bytes)
    return Lines(lambda: next(pieces, b""))


def as_a_client_writes(text: bytes, line_end: bytes) -> bytes:
    """Return a text with dots doubled at the beginning of its lines, and the line of a single dot behind it."""
    lines = text.split(line_end)
    return line_end.join(b"." + line if line.startswith(b".") else line for line in lines) + b"." + line_end


@given(TEXTS, LINE_ENDS, st.integers(1, 9))
@example(b"", CRLF, 1)
@example(b".\r\n", CRLF, 2)
@example(b"\n.\n", CRLF, 3)
@example(b"\r\n.\r\n", LF, 3)
def test_a_text_is_what_the_client_meant_and_the_next_command_stands_behind_it(
    text: bytes, line_end: bytes, piece_bytes: int
) -> None:
    text += b"" if text.endswith(line_end) or not text else line_end
    raw = b"DATA" + line_end + as_a_client_writes(text, line_end) + b"NOOP" + line_end
    lines = lines_of(raw, piece_bytes)
    assert lines.command() == b"DATA"
    assert b"".join(lines.text()) == text
    assert lines.command() == b"NOOP"
    assert lines.command() is None


# Around a dot, what makes a line of it for somebody, and not for who writes CRLF.
_ENDS = [b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n", b"\0", b"\r\0\n"]
_NOT_CRLF = [(before, behind) for before in _ENDS for behind in _ENDS if not before.endswith(CRLF) or behind != CRLF]


@pytest.mark.requirement("R16", "S1")
@pytest.mark.parametrize(("before", "behind"), _NOT_CRLF)
def test_of_a_client_that_writes_crlf_nothing_else_ends_a_text(before: bytes, behind: bytes) -> None:
    # A client doubles the dot behind CRLF, and no other.
    smuggled = b"a" + before + b"." + behind + b"MAIL FROM:<eve@example.com>\r\n"
    raw = b"DATA\r\n" + smuggled + b".\r\nNOOP\r\n"
    if before.endswith(CRLF):
        smuggled = smuggled.replace(b"\r\n.", b"\r\n")
    for piece_bytes in range(1, len(raw) + 1):
        lines = lines_of(raw, piece_bytes)
        lines.command()
        assert b"".join(lines.text()) == smuggled
        assert lines.command() == b"NOOP"


@pytest.mark.requirement("R16", "S1")
@pytest.mark.parametrize(
    "around", [(b"\n", b"\r\n"), (b"\r", b"\r"), (b"\r\n", b"\r\n"), (b"\n", b"\r"), (b"\r", b"\n")]
)
def test_of_a_client_that_writes_lf_only_a_dot_between_two_of_them_ends_a_text(around: tuple[bytes, bytes]) -> None:
    raw = b"DATA\n" + b"a%b.%bb\n" % around + b".\nNOOP\n"
    lines = lines_of(raw, 3)
    lines.command()
    assert b"".join(lines.text()) == (b"a%b.%bb\n" % around).replace(b"\n.", b"\n")
    assert lines.command() == b"NOOP"


@pytest.mark.parametrize(
    "raw", [b"DATA\r\na\r\n", b"DATA\r\na\n.\n", b"DATA\r\n", b"DATA\r\na\r\n.", b"DATA\r\na\r\n.\r"]
)
def test_a_text_without_its_end_is_cut_off(raw: bytes) -> None:
    lines = lines_of(raw, 4)
    lines.command()
    with pytest.raises(CutOffError, match="the input ended before the message did") as caught:
        list(lines.text())
    assert caught.value.why == "a line that is a single dot ends it, with CRLF before and behind it"


@pytest.mark.parametrize("raw", [b"NOOP\r\nNOOP\n", b"NOOP\nNOOP\r\n", b"NOOP\r\nRCPT TO:<a\nb@example.com>\r\n"])
def test_a_line_that_ends_as_no_other_ends_the_session(raw: bytes) -> None:
    lines = lines_of(raw, 100)
    lines.command()
    with pytest.raises(CutOffError, match=r"a line ends with (LF|CRLF), and those before it with (CRLF|LF)"):
        lines.command()


@given(st.integers(LONGEST_LINE_BYTES - 3, 3 * LONGEST_LINE_BYTES), LINE_ENDS, st.integers(1, 5000))
@example(LONGEST_LINE_BYTES - 2, CRLF, 5000)
@example(LONGEST_LINE_BYTES - 1, CRLF, 5000)
def test_a_line_that_is_too_long_is_told_and_left(size_bytes: int, line_end: bytes, piece_bytes: int) -> None:
    line = b"x" * size_bytes
    lines = lines_of(line + line_end + b"NOOP" + line_end, piece_bytes)
    if size_bytes + len(line_end) > LONGEST_LINE_BYTES:
        with pytest.raises(TooLongError):
            lines.command()
    else:
        assert lines.command() == line
    assert lines.command() == b"NOOP"


@given(st.integers(0, 40))
def test_a_line_without_its_end_is_no_command(size_bytes: int) -> None:
    assert lines_of(b"R" * size_bytes, 7).command() is None
