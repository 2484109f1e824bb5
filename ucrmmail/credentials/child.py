"""A program that is asked for a secret: run without a shell or a terminal, bounded in time and in what it prints."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from ucrmmail.credentials.environment import VARIABLES
from ucrmmail.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

_KEPT_BYTES = 1 << 16
# How soon it is seen that a program ended whose own background process keeps its output open.
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and the beginning of what it printed."""

    returncode: int
    out: bytes
    err: bytes


def run(
    argv: Sequence[str], environ: Mapping[str, str], deadline_s: float, request: bytes = b"", cwd: str | None = None
) -> Ended:
    """Run a program, give it ``request`` on standard input, and return how it ended.

    It has a session of its own and so no terminal: what would ask a person fails instead, as it would under cron. Our
    own secret is taken out of its environment. At the deadline it is killed with all that it started.

    Raises TimeoutError at the deadline, OSError when it cannot be started.
    """
    ends_at = time.monotonic() + deadline_s
    with subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE if request else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={key: value for key, value in environ.items() if key not in VARIABLES.values()},
        cwd=cwd,
        start_new_session=True,
    ) as process:
        try:
            out, err = _converse(process, request, ends_at)
            returncode = process.wait(max(0.0, ends_at - time.monotonic()))
        except BaseException as error:
            # Ctrl-C too: nobody else would end it, now that it is in another session.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeoutError from None
            raise
    return Ended(returncode, out, err)


def _converse(process: subprocess.Popen[bytes], request: bytes, ends_at: float) -> tuple[bytes, bytes]:
    """Write the request and read to the end of both outputs. ``communicate`` would keep all of an endless one."""
    kept: dict[IO[bytes], bytearray] = {}
    left = memoryview(request)
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                kept[pipe] = bytearray()
                selector.register(pipe, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            remaining_s = ends_at - time.monotonic()
            if remaining_s <= 0:
                raise TimeoutError
            # Looked at first: what a program says at its very end is there to be read when it is seen to have ended.
            over = process.poll() is not None
            ready = selector.select(min(remaining_s, _POLL_S))
            if not ready and over:
                break
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    left = _written(key.fd, left)
                    if not left:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                data = os.read(key.fd, _KEPT_BYTES)
                if not data:
                    selector.unregister(key.fileobj)
                buffer = kept[key.fileobj]  # type: ignore[index] # one of the two registered above
                buffer += data[: _KEPT_BYTES - len(buffer)]
    out, err = kept.values()
    return bytes(out), bytes(err)


def _written(fd: int, left: memoryview) -> memoryview:
    """Write what fits and return the rest; nothing is left when nobody reads any more."""
    try:
        return left[os.write(fd, left) :]
    except BrokenPipeError:
        return memoryview(b"")
