"""Nobody waits for a reader: what he takes at once he gets, what he does not is kept, up to a bound, and counted then."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import sys
import termios
from collections.abc import Iterator

import pytest

from ucrmmail.reader import SlowReader
from ucrmmail.streams import StandardOutput


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_reader_gets_at_once_what_he_takes_and_the_rest_in_its_order(pipe: tuple[int, int]) -> None:
    reader = SlowReader(pipe[1])
    lines = [b"%05d%b\n" % (number, b"x" * 94) for number in range(100)]
    for line in lines:
        reader.say(line)
    seen = os.read(pipe[0], 1 << 16)
    assert seen
    reader.say(b"more\n")
    seen += os.read(pipe[0], 1 << 16)
    rest = reader.leave()
    assert seen + rest == b"".join(lines) + b"more\n"
    assert (len(rest) > 0, reader.left_out, reader.error) == (True, 0, None)


def test_beyond_the_bound_lines_are_left_out_and_counted(pipe: tuple[int, int]) -> None:
    reader = SlowReader(pipe[1], most_bytes=5000)
    for number in range(200):
        reader.say(b"%05d%b\n" % (number, b"x" * 94))
    kept = os.read(pipe[0], 1 << 16) + reader.leave()
    assert [int(line[:5]) for line in kept.splitlines()] == [*range(len(kept) // 100)]
    assert reader.left_out == 200 - len(kept) // 100 > 100


def test_a_frame_that_was_begun_is_shown_whole_and_others_are_left_out_meanwhile(pipe: tuple[int, int]) -> None:
    reader = SlowReader(pipe[1], most_bytes=0)
    for letter in b"abc":
        reader.say(bytes([letter]) * 3000 + b"\n")
    assert reader.left_out == 1
    assert os.read(pipe[0], 1 << 16) + reader.leave() == b"a" * 3000 + b"\n" + b"b" * 3000 + b"\n"


def test_a_reader_who_has_gone_is_an_error_to_remember_and_no_more(pipe: tuple[int, int]) -> None:
    reader = SlowReader(pipe[1])
    reader.say(b"a\n")
    os.close(pipe[0])
    for _ in range(3):
        reader.say(b"b\n")
    assert (type(reader.error), reader.leave()) == (BrokenPipeError, b"")


def test_a_terminal_that_is_nearly_full_or_stopped_is_not_waited_for() -> None:
    master, slave = pty.openpty()
    reader = SlowReader(slave)
    for _ in range(300):
        reader.say(b"x" * 999 + b"\n")
    assert reader.leave()
    assert fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK == 0, "the shell has it too"
    os.read(master, 1 << 16)
    termios.tcflow(slave, termios.TCOOFF)
    reader = SlowReader(slave)
    reader.say(b"stopped")
    assert reader.leave() == b"stopped"
    termios.tcflow(slave, termios.TCOON)
    os.close(master)
    os.close(slave)


def test_a_socket_and_a_full_disk_are_not_waited_for_either() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = SlowReader(ours.fileno())
        for _ in range(1000):
            reader.say(b"x" * 999 + b"\n")
        assert reader.leave()
    with open("/dev/full", "wb") as full:
        reader = SlowReader(full.fileno())
        reader.say(b"a")
    assert isinstance(reader.error, OSError)


def test_a_file_is_written_where_it_was_and_what_was_said_comes_before_what_waits(tmp_path: object) -> None:
    path = f"{tmp_path}/out"
    with open(path, "w", encoding="ascii") as file:
        file.write("before\n")
        output = StandardOutput(file)
        output.never_wait(SlowReader(output.fileno()))
        output.write("☃\n")
        output.wait_again()
        output.wait_again()
        output.write("behind\n")
        output.flush()
    with open(path, encoding="ascii") as file:
        assert file.read() == "before\n\\u{2603}\nbehind\n"
    assert sys.stdout is not output
