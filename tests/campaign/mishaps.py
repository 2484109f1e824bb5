"""What happens to a process in the middle of its work: it is killed, or the disk refuses it something.

    done = in_a_process(lambda: machine.flush(...), Signalled(at=120), below=machine.directory)

A run of a `Machine` is a function of this process. Here it is that of a fork, which is really killed, and whose locks the
kernel frees; its calls into the system are counted where Python makes them.
"""

from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ucrmmail.errors import UcrmmailError

_ENDLESS_S = 300
_COUNTED_MODULES = {"posix", "fcntl"}
# By what they do with the file or the directory: what each may be answered with.
_ANY = (errno.EIO,)
_OPENING = (errno.EIO, errno.EACCES, errno.EMFILE, errno.ENOSPC, errno.EROFS)
_WRITING = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
_NAMING = (errno.EIO, errno.EACCES, errno.EROFS, errno.ENOSPC)
REFUSALS = {
    "open": _OPENING, "write": _WRITING, "pwrite": _WRITING, "writev": _WRITING, "posix_fallocate": _WRITING,
    "ftruncate": _ANY, "fsync": (errno.EIO, errno.ENOSPC), "fdatasync": (errno.EIO, errno.ENOSPC),
    "read": _ANY, "pread": _ANY, "fstat": _ANY, "lstat": _ANY, "stat": _ANY, "listdir": _ANY, "scandir": _ANY,
    "rename": _NAMING, "unlink": _NAMING, "mkdir": _NAMING, "rmdir": _NAMING, "utime": _NAMING,
}  # fmt: skip


@dataclass(frozen=True)
class Mishap:
    """It happens at the call of this number, counted from 1; a number that is not reached is none."""

    at: int

    def arm(self, below: str) -> None:
        """Let it happen in this process and in those that it forks; ``below`` is where the files are that may be meant."""


@dataclass(frozen=True)
class Signalled(Mishap):
    """A signal before a call, to the process that gets there first: the run, or one that holds a connection."""

    number: signal.Signals = signal.SIGKILL

    def arm(self, below: str) -> None:
        calls = 0

        def count(_frame: object, event: str, called: Any) -> None:
            nonlocal calls
            if event == "c_call" and is_of_the_system(called):
                calls += 1
                if calls == self.at:
                    os.kill(os.getpid(), self.number)

        threading.setprofile(count)
        sys.setprofile(count)


def is_of_the_system(called: Any) -> bool:
    return getattr(called, "__module__", None) in _COUNTED_MODULES or isinstance(
        getattr(called, "__self__", None), socket.socket
    )


@dataclass(frozen=True)
class Refused(Mishap):
    """The file system refuses one call, and with ``lasting`` each one of this name behind it."""

    name: str
    code: int
    lasting: bool = False

    def arm(self, below: str) -> None:
        calls = 0
        real = getattr(os, self.name)

        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if is_below(below, arguments[0]):
                calls += 1
                if calls == self.at or (self.lasting and calls > self.at):
                    name = [arguments[0]] if isinstance(arguments[0], str) else []
                    raise OSError(self.code, os.strerror(self.code), *name)
            return real(*arguments, **options)

        setattr(os, self.name, call)


@dataclass(frozen=True)
class ShutAway(Mishap):
    """Each call of these names is refused at a place of the spool, as where somebody has changed its mode or owner."""

    names: tuple[str, ...]
    place: str
    code: int

    def arm(self, below: str) -> None:
        for name in self.names:
            self._arm_one(name, f"{below}/{self.place}")

    def _arm_one(self, name: str, place: str) -> None:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if any(is_below(place, argument) for argument in arguments[: 1 + (name == "rename")]):
                raise OSError(self.code, os.strerror(self.code), str(arguments[0]))
            return real(*arguments, **options)

        setattr(os, name, call)


@dataclass(frozen=True)
class FewFiles(Mishap):
    """No more files may be open than so many beside those that are open already."""

    def arm(self, below: str) -> None:
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + self.at, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@dataclass(frozen=True)
class Several(Mishap):
    """More than one of them, of which one may be a signal."""

    each: tuple[Mishap, ...] = ()

    def arm(self, below: str) -> None:
        for mishap in self.each:
            mishap.arm(below)


def is_below(directory: str, where: object) -> bool:
    """Return whether a name or a descriptor is that of something in a directory."""
    if isinstance(where, int):
        with suppress(OSError):
            where = os.readlink(f"/proc/self/fd/{where}")
    return isinstance(where, str) and where.startswith(directory)


@dataclass
class Done:
    """How a process ended: with what it returned, with an error that a person is told, by a kill, or by a fault."""

    returned: Any = None
    error: OSError | UcrmmailError | None = None
    fault: BaseException | None = None
    was_killed: bool = False


def in_a_process(work: Callable[[], object], mishap: Mishap, *, below: str) -> Done:
    """Do this in a process of its own, and return when it is gone, with all that it has started.

    ``below`` is where the files are that the mishap may mean. Raises what the work raised, if that was no error of the
    system.
    """
    heard, said = os.pipe()
    pid = os.fork()
    if not pid:
        os._exit(_end_of(work, mishap, below, said))
    os.close(said)
    with open(heard, "rb") as pipe:
        # Its end comes when the last of them is gone.
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        # SIGTERM kills what has not come to watch for it yet.
        assert os.WTERMSIG(status) in {signal.SIGKILL, signal.SIGTERM}, status
        return Done(was_killed=True)
    done: Done = pickle.loads(text)  # of our own fork
    if done.fault is not None:
        raise done.fault
    return done


def _end_of(work: Callable[[], object], mishap: Mishap, below: str, said: int) -> int:
    write = os.write
    # A run that never ends is found, too: this kills it.
    signal.alarm(_ENDLESS_S)
    mishap.arm(below)
    done = Done()
    try:
        done.returned = work()
    except (OSError, UcrmmailError) as error:
        done.error = error
    except BaseException as error:  # noqa: BLE001 # raised again in the test
        error.add_note(traceback.format_exc())
        done.fault = error
    sys.setprofile(None)
    text = pickle.dumps(done)
    while text:
        text = text[write(said, text) :]
    return 0
