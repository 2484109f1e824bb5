"""The CPU time of a program and of everything it starts, daemons and orphans too.

A control group (cgroup v2, cgroups(7)) counts what its members spend, however long they live and whoever waits for
them: neither ``wait4`` nor ``ps`` sees all the processes of Postfix's master, or those that dma leaves behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Run before a program: whatever it becomes, and starts, is in the group.
_ENTER = 'echo $$ >"$0" && exec "$@"'


@dataclass(frozen=True)
class ControlGroup:
    directory: Path

    @property
    def starter(self) -> list[str]:
        """What a command line begins with, so that the command runs in the group."""
        return ["/bin/sh", "-c", _ENTER, str(self.directory / "cgroup.procs")]

    def cpu_s(self) -> float:
        """Return the seconds of CPU time that were spent in the group since it was made."""
        lines = (self.directory / "cpu.stat").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("usage_usec "))) / 1e6

    def kill(self) -> None:
        """End what still runs in it."""
        while members := (self.directory / "cgroup.procs").read_text().split():
            for member in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(member), signal.SIGKILL)
            time.sleep(0.01)


@contextlib.contextmanager
def control_group() -> Iterator[ControlGroup]:
    """Make a group, and remove it with all that is in it. Raises OSError where this is not allowed."""
    group = ControlGroup(_mounted() / f"ucrmmail-bench-{os.getpid()}")
    group.directory.mkdir()
    try:
        yield group
    finally:
        group.kill()
        group.directory.rmdir()


def _mounted() -> Path:
    """Return where the hierarchy of version 2 is, which the older ones may stand beside. Raises FileNotFoundError."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise FileNotFoundError("no cgroup2 is mounted")
