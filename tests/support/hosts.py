"""Two hosts that share a file system: each sees a name, a boot and a machine id of its own, and a real FUSE mount.

What tells hosts apart is read from the kernel and from /etc/machine-id: in namespaces of Linux both are what we say.
The shared file system is bindfs, which passes everything through to a directory. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.network import wait_until
from tests.support.program import PLAIN, Program, Run

_BECOME = """\
hostname "$1"
mount --bind "$2" /proc/sys/kernel/random/boot_id
mount --bind "$3" /etc/machine-id
shift 3
exec "$@"
"""


@dataclass
class Host:
    """A host: change its fields as a reboot, or a new container, would."""

    holder: int
    files: Path
    name: str
    boot: str
    machine: str

    def run(self, program: Program, *arguments: str, name: str = "ucrmmail", code: int = 0) -> Run:
        """Run one of our commands on this host."""
        told = {}
        for kind in ("boot", "machine"):
            told[kind] = self.files / f"{kind}-{self.name}"
            told[kind].write_text(getattr(self, kind) + "\n")
        done = subprocess.run(
            [
                "nsenter", f"--target={self.holder}", "--mount", "--", "unshare", "--uts", "--mount",
                "sh", "-ec", _BECOME, "sh", self.name, str(told["boot"]), str(told["machine"]),
                *program.command(*arguments, program=name),
            ],
            input=PLAIN, capture_output=True, env=program.env, timeout=60, check=False,
        )  # fmt: skip
        run = Run(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert run.code == code, f"{arguments}: exit {run.code}\n{run.stdout}\n{run.stderr}"
        return run


@dataclass
class Hosts:
    """The namespace that has the shared file system, and the hosts in it."""

    holder: int
    files: Path

    def host(self, name: str, *, boot: str = "", machine: str = "") -> Host:
        return Host(self.holder, self.files, name, boot or f"boot-of-{name}", machine or f"machine-of-{name}")

    def run(self, *command: str) -> None:
        """Run a command that sees the shared file system."""
        enter = ["nsenter", f"--target={self.holder}", "--mount", "--"]
        subprocess.run([*enter, *command], check=True, capture_output=True)


@contextlib.contextmanager
def shared(directory: Path, files: Path) -> Iterator[Hosts]:
    """Let ``directory`` be a shared file system, over what it holds, for the hosts in the block only."""
    if os.geteuid() != 0:
        raise PermissionError("namespaces of mounts need root; run the tests as root")
    directory.mkdir(mode=0o700, exist_ok=True)
    # The machine of a test may have no id; the file that hosts mount over has to be there.
    Path("/etc/machine-id").touch()
    holder = subprocess.Popen(["unshare", "--mount", "--propagation=private", "sleep", "infinity"])
    hosts = Hosts(holder.pid, files)
    try:
        wait_until(lambda: Path(f"/proc/{holder.pid}/comm").read_text().strip() == "sleep", "the namespace")
        hosts.run("bindfs", str(directory), str(directory))
        try:
            yield hosts
        finally:
            hosts.run("umount", str(directory))
    finally:
        holder.terminate()
        holder.wait(10)
