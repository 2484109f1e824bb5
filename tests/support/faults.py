"""Death and failure at every system call that changes something: the steps of the state tables.

Only functions of ``os`` are replaced, never ours: what is tested may call them in whatever order it likes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import posix
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

import pytest

CHANGING = (
    "open", "write", "pwrite", "fsync", "fdatasync", "rename", "unlink", "mkdir", "rmdir", "ftruncate",
    "posix_fallocate", "utime", "close",
)  # fmt: skip
_DIED = 86

# Where a call of ours has failed before: the branches behind it are known then (see ``in_a_child``).
_failed_at: set[str] = set()
_failing: list[str] = []
_PLACE = "failed at "


@contextmanager
def at_each_call(act: Callable[[int, str], None], names: tuple[str, ...] = CHANGING) -> Iterator[None]:
    """Call ``act(number, name)`` before each call of these functions of ``os``."""
    real = {name: getattr(os, name) for name in names}
    count = 0

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            act(count, name)
            return real[name](*arguments, **options)

        return call

    for name in names:
        setattr(os, name, wrapped(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def dies_at(step: int, work: Callable[[Callable[[str], None]], None]) -> tuple[bool, list[str]]:
    """Run ``work(say)`` in a child process that is killed in place of its ``step``-th changing call.

    Returns whether it died, and what it said before. Without a step left it ends by itself.
    """

    def die(number: int, _name: str) -> None:
        if number == step:
            posix._exit(_DIED)  # not os._exit: whoever is killed writes down no coverage either, and that takes long

    def dying(say: Callable[[str], None]) -> None:
        with at_each_call(die):
            work(say)

    return in_a_child(dying)


def in_a_child(work: Callable[[Callable[[str], None]], None]) -> tuple[bool, list[str]]:
    """Run ``work(say)`` in a child process; returns whether it was killed, and what it said before.

    At its end the child writes down its branch coverage, the costly part of it, only when its call failed in a place
    where none had failed before.
    """
    reader, writer = os.pipe()
    write = os.write
    child = os.fork()
    if child == 0:
        exit_code = 1
        try:
            os.close(reader)
            work(lambda line: (write(writer, f"{line}\n".encode()), None)[1])
            exit_code = 0
        except Exception:  # noqa: BLE001 # the parent fails the test, the child must only say why
            traceback.print_exc()
        finally:
            # Whatever happened, the child must not go on as a second test run.
            known = bool(_failing) and _failed_at.issuperset(_failing)
            write(writer, "".join(f"{_PLACE}{place}\n" for place in _failing).encode())
            (posix._exit if known else os._exit)(exit_code)
    os.close(writer)
    with open(reader, encoding="utf-8") as said:
        lines = said.read().splitlines()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _DIED), "the work itself failed in the child"
    _failed_at.update(line.removeprefix(_PLACE) for line in lines if line.startswith(_PLACE))
    return code == _DIED, [line for line in lines if not line.startswith(_PLACE)]


def _place(number: int) -> str:
    """Return the errno, and the lines of ours on the way to the call that fails now."""
    lines: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if "/ucrmmail/" in frame.f_code.co_filename:
            lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return f"{number} {' '.join(lines)}"


@contextmanager
def fails_at(
    step: int, number: int, names: tuple[str, ...] = CHANGING, *, and_later: bool = False
) -> Iterator[list[str]]:
    """Let the ``step``-th changing call, and only it, fail with this errno; gives the names of all that were called.

    ``and_later`` lets all that follow fail too.
    """
    called: list[str] = []

    def fail(count: int, name: str) -> None:
        called.append(name)
        if count == step or (and_later and count > step):
            _failing[:] = [_place(number)]
            raise OSError(number, os.strerror(number), "the disk")

    with at_each_call(fail, names):
        yield called


@contextmanager
def close_fails(path: str, number: int) -> Iterator[None]:
    """Let each close of this file fail with this errno, and name no file, as the call does; it is closed all the same."""
    real = os.close

    def close(fd: int) -> None:
        name = os.readlink(f"/proc/self/fd/{fd}")
        real(fd)
        if name == path:
            raise OSError(number, os.strerror(number))

    os.close = close
    try:
        yield
    finally:
        os.close = real


@contextmanager
def vanishes_when_listed(name: str) -> Iterator[None]:
    """Remove the file of this name as soon as ``os.scandir`` has told of it, before anybody can look at it."""
    real = os.scandir

    class Entries:
        def __init__(self, path: str | int) -> None:
            self._path = path
            self._entries = real(path)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self._entries.close()

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            for entry in self._entries:
                if entry.name == name:
                    os.unlink(name, dir_fd=self._path) if isinstance(self._path, int) else os.unlink(entry.path)
                yield entry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", Entries)
        yield


@contextmanager
def at_the_opening_of(
    path: str, *, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
) -> Iterator[None]:
    """Let somebody act just ``before``, or just ``after``, this file is opened for the first time."""
    real = os.open
    seen = False

    def opened(name: str, *arguments: Any, **options: Any) -> int:
        nonlocal seen
        first = name == path and not seen
        seen = seen or first
        if first and before is not None:
            before()
        fd = real(name, *arguments, **options)
        if first and after is not None:
            after()
        return fd

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", opened)
        yield


@contextmanager
def cannot_be_opened(path: str, number: int, *, first: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let every opening of this file fail with this errno, after ``first()``."""
    real = os.open

    def opened(name: str, *arguments: Any, **options: Any) -> int:
        if name == path:
            first()
            raise OSError(number, os.strerror(number), name)
        return real(name, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", opened)
        yield


@contextmanager
def cannot_be_moved(path: str, number: int) -> Iterator[None]:
    """Let every attempt to remove this file, or to give it another name, fail with this errno."""
    real = {name: getattr(os, name) for name in ("unlink", "rename")}

    def moving(name: str) -> Callable[..., None]:
        def moved(file: str, *arguments: Any, **options: Any) -> None:
            if file == path:
                raise OSError(number, os.strerror(number), file)
            real[name](file, *arguments, **options)

        return moved

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, moving(name))
        yield


@contextmanager
def cannot_be_looked_at(path: str, number: int, *, once: bool = False) -> Iterator[None]:
    """Let every question whether this file is there fail with this errno, or the first ``once``."""
    asked = 0
    real = {name: getattr(os, name) for name in ("stat", "lstat")}

    def looking(name: str) -> Callable[..., os.stat_result]:
        def looked_at(file: str | int, **options: Any) -> os.stat_result:
            nonlocal asked
            asked += file == path
            if file == path and not (once and asked > 1):
                raise OSError(number, os.strerror(number), file)
            found: os.stat_result = real[name](file, **options)
            return found

        return looked_at

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, looking(name))
        yield


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Be an ordinary user for what the kernel checks. Needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextmanager
def locked_as_on_nfs() -> Iterator[None]:
    """Give an exclusive lock to a descriptor that may write alone: what flock(2) says of NFS, which is not here."""
    real = fcntl.flock

    def flock(fd: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(fd, operation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        yield


@contextmanager
def directories_cannot_be_synced() -> Iterator[None]:
    """Refuse to sync a directory, as the file systems of the kernel do that have no such function for them."""
    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield
