"""A network of its own for a program (a namespace of Linux): what happens in it is not seen outside. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Network:
    """A namespace that lasts as long as the process ``holder``."""

    holder: int

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs a program in this network."""
        return ["nsenter", f"--target={self.holder}", "--net", "--mount", "--wd=.", "--", *argv]

    def run(self, *argv: str) -> None:
        subprocess.run(self.command(*argv), check=True, capture_output=True)


@contextlib.contextmanager
def network(*addresses: str) -> Iterator[Network]:
    """Make a network in which these addresses are ours, until the block ends."""
    if os.geteuid() != 0:
        raise RuntimeError("a network of its own needs root; run the tests as root")
    holder = subprocess.Popen(["unshare", "--net", "--mount", "--propagation=private", "sleep", "infinity"])
    try:
        wait_until(lambda: _is_apart(holder.pid), "the namespace")
        made = Network(holder.pid)
        made.run("ip", "link", "set", "lo", "up")
        for address in addresses:
            made.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        yield made
    finally:
        holder.terminate()
        holder.wait(10)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Return when it holds. Raises TimeoutError after 30 seconds."""
    deadline = time.monotonic() + 30
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come up")
        time.sleep(0.05)


def _is_apart(pid: int) -> bool:
    apart = os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    return apart and Path(f"/proc/{pid}/comm").read_text().strip() == "sleep"
