"""Descriptors are closed behind the back of the run, and all of them are by its end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ucrmmail.spool.closer import Closer


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_all_are_closed_when_it_has_finished(tmp_path: Path) -> None:
    closer = Closer()
    fds = [os.open(tmp_path, os.O_RDONLY) for _ in range(50)]
    closer.close(fds[:20])
    closer.close(fds[20:])
    closer.finish()
    assert not any(is_open(fd) for fd in fds)


def test_what_lies_between_them_stays_open(tmp_path: Path) -> None:
    fds = [os.open(tmp_path, os.O_RDONLY) for _ in range(9)]
    kept = fds[3:5] + fds[7:8]
    closer = Closer()
    closer.close([fd for fd in reversed(fds) if fd not in kept])
    closer.finish()
    assert [fd for fd in fds if is_open(fd)] == kept
    for fd in kept:
        os.close(fd)


def test_it_can_be_used_again_after_it_has_finished(tmp_path: Path) -> None:
    closer = Closer()
    for _ in range(2):
        fd = os.open(tmp_path, os.O_RDONLY)
        closer.close([fd])
        closer.finish()
        assert not is_open(fd)


def test_what_is_gathered_is_closed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ucrmmail.spool.closer.MOST_TOGETHER", 5)
    together: list[list[int]] = []
    monkeypatch.setattr(Closer, "close", lambda _closer, fds: together.append(fds))
    closer = Closer()
    fds = [os.open(tmp_path, os.O_RDONLY) for _ in range(12)]
    for fd in fds:
        closer.gather(fd)
    closer.finish()
    assert together == [fds[:5], fds[5:10], fds[10:]]
    for fd in fds:
        os.close(fd)


def test_several_are_closed_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk to which others sync lets each of them wait: here nobody gets on before a second one is there, which comes
    when the first one is not through."""
    both = threading.Barrier(2, timeout=30)

    def close_all(fds: list[int]) -> None:
        both.wait()
        for fd in fds:
            os.close(fd)

    monkeypatch.setattr("ucrmmail.spool.closer._close_all", close_all)
    closer = Closer()
    fds = [os.open(tmp_path, os.O_RDONLY) for _ in range(16)]
    closer.close(fds[:8])
    closer.close(fds[8:])
    closer.finish()
    assert not any(is_open(fd) for fd in fds)


def test_too_many_at_once_are_closed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ucrmmail.spool.closer._MOST_WAITING", 0)
    closer = Closer()
    fd = os.open(tmp_path, os.O_RDONLY)
    closer.close([fd])
    assert not is_open(fd)
    closer.finish()


def test_without_a_thread_they_are_closed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    closer = Closer()
    for _ in range(2):
        fd = os.open(tmp_path, os.O_RDONLY)
        closer.close([fd])
        assert not is_open(fd)
    closer.finish()


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
