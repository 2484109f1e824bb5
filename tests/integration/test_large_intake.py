"""A message of 50 MiB comes in by each of the four ways, and none of them holds it in memory."""

from __future__ import annotations

import binascii
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_large_queue import FIFTY_MIB, peak_kib
from tests.support.program import Program, Run
from tests.support.sink import Sink, SinkController
from tests.support.spools import everything_in

MOST_KIB = 60 << 10

HEAD = (
    b"Sender: billing@isp.example\r\nFrom: billing@isp.example\r\nTo: joe@example.com\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@isp.example>\r\n"
)
LINE = b"an ordinary line of a large message, as base64 has them: seventy-six or so\r\n"


def lines() -> bytes:
    return HEAD + b"\r\n" + LINE * (FIFTY_MIB // len(LINE))


def same_lines(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def decoded(message: bytes) -> bytes:
    """Read quoted-printable back, as a mail reader does; the header of what was encoded is told by its end."""
    header, _, body = message.partition(b"\r\n\r\n")
    assert header.endswith(b"\r\nContent-Transfer-Encoding: quoted-printable")
    assert max(map(len, body.split(b"\r\n"))) <= 76
    return HEAD + b"\r\n" + binascii.a2b_qp(body).removesuffix(b"\r\n")


# Made when they are needed: each process that any test forks has a copy of all that the tests hold, and takes the longer
# to start the more it is.
MESSAGES: dict[str, tuple[Callable[[], bytes], Callable[[bytes], bytes]]] = {
    "ordinary lines": (lines, bytes),
    "eight-bit": (lambda: lines().replace(b"ordinary", b"\xf6rdin\xe4ry"), bytes),
    "bare LF": (lambda: lines().replace(b"\r\n", b"\n"), bytes),
    "one line": (lambda: HEAD + b"\r\n" + b"x" * FIFTY_MIB, decoded),
}


@pytest.fixture
def large(program: Program) -> Program:
    """A program that takes large messages."""
    program.configure(25, spool='max_message_size = "60MB"')
    program.run("flush")
    return program


@contextmanager
def pipe_of(path: Path) -> Iterator[int]:
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        yield cat.stdout.fileno()


def by_name(program: Program, mail: Path, code: int = 0) -> int:
    return peak_kib(program, "enqueue", str(mail), code=code)


def by_pipe(program: Program, mail: Path) -> int:
    with pipe_of(mail) as stdin:
        return peak_kib(program, "enqueue", "-", stdin=stdin)


def by_sendmail(program: Program, mail: Path, code: int = 0) -> int:
    with pipe_of(mail) as stdin:
        return peak_kib(program, "-t", name="ucrmmail-sendmail", stdin=stdin, code=code)


def assert_it_is(message: bytes, name: str) -> None:
    make, read_back = MESSAGES[name]
    raw = make()
    # Not the text of an assertion: pytest would show both of them.
    same = read_back(message) == (raw if name == "one line" else same_lines(raw))
    assert same, f"{len(message)} bytes are not those that were submitted"


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("way", [by_name, by_pipe, by_sendmail])
def test_a_submission_of_50_mib_is_taken_piece_by_piece(
    large: Program, tmp_path: Path, way: Callable[[Program, Path], int], name: str
) -> None:
    mail = tmp_path / "large.eml"
    mail.write_bytes(MESSAGES[name][0]())
    assert way(large, mail) < MOST_KIB
    (queued,) = (large.spool / "queue").glob("*/*")
    envelope, _, message = queued.read_bytes().partition(b"\n\n")
    assert_it_is(message, name)
    assert (b"\nflags 8bit" in envelope) is (name == "eight-bit")
    assert list((large.spool / "tmp").iterdir()) == []


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("name", MESSAGES)
def test_a_file_of_50_mib_in_the_drop_directory_is_taken_and_sent_piece_by_piece(large: Program, name: str) -> None:
    (large.spool / "drop" / "large.eml").write_bytes(MESSAGES[name][0]())
    with SinkController(Sink(), data_size_limit=0) as controller:
        large.configure(controller.sink.port, spool='max_message_size = "60MB"')
        peak = peak_kib(large, "flush")
        (received,) = controller.sink.messages
    assert peak < MOST_KIB
    assert_it_is(received.content, name)
    assert list((large.spool / "tmp").iterdir()) == []


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("field", [b"X-Padding: " + b"word " * 100 + b"\n", b"X-Padding: " + b"x" * (40 << 20) + b"\n"])
@pytest.mark.parametrize("way", [by_name, by_sendmail])
def test_a_header_that_is_too_large_is_refused_piece_by_piece(
    large: Program, tmp_path: Path, way: Callable[..., int], field: bytes
) -> None:
    mail = tmp_path / "large.eml"
    mail.write_bytes(b"To: joe@example.com\n" + field * (-(-(40 << 20) // len(field))) + b"\nhi\n")
    assert way(large, mail, code=65) < MOST_KIB
    assert [path for path in everything_in(str(large.spool)) if path.startswith(("queue/", "tmp/"))] == []


# --- what is refused when it is small is refused when it is large ----------------------------------------------------

REFUSED = [
    (b"Subject: x\n\n", 67),
    (b"To: joe@\n\n", 67),
    (b"To: joe@example.com\nX-Token: " + b"x" * 2000 + b"\n\n", 65),
    (b"To: joe@example.com\nContent-Transfer-Encoding: x-uuencode\n\n" + b"x" * 2000, 65),
]
MORE = b"\n" + b"hi\n" * 500_000


@pytest.mark.requirement("R4", "R13")
@pytest.mark.parametrize(("raw", "code"), REFUSED, ids=range(len(REFUSED)))
def test_a_large_message_is_refused_in_the_words_for_a_small_one(large: Program, raw: bytes, code: int) -> None:
    def refusals(message: bytes) -> list[Run]:
        return [
            large.run("enqueue", "-", stdin=message, code=code),
            large.run("enqueue", "--json", "-", stdin=message, code=code),
            large.sendmail("-t", message=message, code=code),
        ]

    assert refusals(raw + MORE) == refusals(raw + b"\nhi\n")
    assert [path for path in everything_in(str(large.spool)) if path.startswith(("queue/", "tmp/"))] == []


@pytest.mark.requirement("R4", "R13")
def test_a_message_over_the_limit_is_refused_before_anything_is_said(large: Program) -> None:
    large.configure(25, spool='max_message_size = "1500kB"')
    message = b"To: joe@example.com\n\n" + b"hi\n" * 499_990
    run = large.run("enqueue", "-", stdin=message + b"hi\n" * 10, code=65)
    assert "(1500001 bytes), and the limit is 1.5MB (1500000 bytes)" in run.stderr
    # As it is queued: its line ends are longer.
    run = large.run("enqueue", "-", stdin=message, code=65)
    assert "bytes), and the limit is 1.5MB (1500000 bytes)" in run.stderr
    run = large.sendmail("-t", message=message + b"hi\n" * 10, code=65)
    assert "the message is larger than 1.5MB" in run.stderr
    assert run.stdout == ""
    assert [path for path in everything_in(str(large.spool)) if path.startswith(("queue/", "tmp/"))] == []


@pytest.mark.requirement("R26")
def test_a_disk_without_room_for_a_large_message_stops_the_rest_too(large: Program, tmp_path: Path) -> None:
    mails = [tmp_path / "large.eml", tmp_path / "small.eml"]
    mails[0].write_bytes(b"To: joe@example.com\n" + MORE)
    mails[1].write_bytes(b"To: joe@example.com\n\nhi\n")
    large.configure(25, spool='min_free_space = "999999GB"')
    run = large.run("enqueue", *map(str, mails), code=75)
    assert f"{mails[0]} and 1 more: not accepted" in run.stderr
    assert (
        "the message was not accepted: spool.min_free_space keeps" in large.sendmail("-t", message=MORE, code=75).stderr
    )
    assert [path for path in everything_in(str(large.spool)) if path.startswith(("queue/", "tmp/"))] == []
