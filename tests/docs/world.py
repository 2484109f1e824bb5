"""A network in which the names of the documentation exist, and machines in it: a user with a home, and root.

The commands of the documentation name real providers. So they run where these names lead to servers on loopback: a
network namespace with a name server on port 53, and certificates of an authority that is trusted there only. A machine is
a mount namespace with ``/etc``, ``/var``, ``/usr/local`` and ``/home`` of its own (overlays that end with it), where a
user of a user namespace and root may do what they like. Needs root, as the tests of receivers do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.docs.places import ADDRESSES
from tests.support.network import Network, network, wait_until
from tests.support.program import BIN
from tests.support.receiver import receiver

ROOT = Path(__file__).parents[2]
USER, HOST = "you", "app1.isp.example"
_OVERLAID = ("/etc", "/var", "/usr/local", "/usr/sbin", "/home", "/root")


@dataclass(frozen=True)
class World:
    """The network, its ``resolv.conf``, and the certificate of the authority that is trusted there."""

    network: Network
    resolv_conf: Path
    ca_file: Path


@contextlib.contextmanager
def world(directory: Path) -> Iterator[World]:
    """Run the servers until the block ends."""
    directory.mkdir(parents=True, exist_ok=True)
    with network(*ADDRESSES.values()) as made:
        resolv_conf = directory / "resolv.conf"
        resolv_conf.write_text("nameserver 127.0.0.1\n")
        complaints = directory / "servers.log"
        with complaints.open("wb") as log:
            servers = subprocess.Popen(
                made.command(sys.executable, "-m", "tests.docs.servers", str(directory)),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert servers.stdin is not None
        assert servers.stdout is not None
        try:
            assert servers.stdout.readline() == b"ready\n", f"the servers did not start:\n{complaints.read_text()}"
            yield World(made, resolv_conf, directory / "ca" / "ca.pem")
        finally:
            servers.stdin.close()
            servers.wait(30)
            servers.stdout.close()


class Machine:
    """A machine in the world, for one page."""

    def __init__(self, holder: int, ca_file: Path) -> None:
        self._holder = holder
        self.home = f"/home/{USER}"
        self._env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "SSL_CERT_FILE": str(ca_file),
            "REQUESTS_CA_BUNDLE": str(ca_file),
            "SHELL": "/bin/bash",
            "TERM": "xterm",
            "NO_COLOR": "1",
            "COLUMNS": "100",
            "LINES": "40",
            "LC_ALL": "C.UTF-8",
        }

    def command(self, *argv: str, root: bool = False) -> list[str]:
        """Return the command line that runs a program on this machine, as the user or as root."""
        enter = [*_enter(self._holder), "--"]
        if root:
            return [*enter, "env", "--chdir=/root", *argv]
        user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
        return [*enter, *user, "env", f"--chdir={self.home}", *argv]

    def env(self, *, root: bool = False) -> dict[str, str]:
        who = {"HOME": "/root", "LOGNAME": "root", "USER": "root"} if root else {
            "HOME": self.home, "LOGNAME": USER, "USER": USER,
        }  # fmt: skip
        return self._env | who

    @contextlib.contextmanager
    def keyring(self) -> Iterator[None]:
        """Give the user a keyring until the block ends, as a desktop does."""
        service = subprocess.Popen(
            self.command(sys.executable, "-m", "tests.docs.keyring", "/mnt/keyring"),
            env={**self.env(), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert service.stdin is not None
        assert service.stdout is not None
        try:
            for line in iter(service.stdout.readline, "\n"):
                assert line, "the keyring did not start"
                name, _, value = line.strip().partition("=")
                self._env[name] = value
            yield
        finally:
            service.stdin.close()
            service.wait(30)
            service.stdout.close()

    def forget(self) -> None:
        """Take the user's account away, and its queue."""
        places = [f"{self.home}/.config/ucrmmail", f"{self.home}/.local/state/ucrmmail"]
        subprocess.run(self.command("rm", "-rf", *places), env=self.env(), check=True)

    def write(self, name: str, content: str) -> None:
        """Write a file: a relative name is in the user's home."""
        command = self.command("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", name, root=name[0] == "/")
        env = self.env(root=name[0] == "/")
        subprocess.run(command, input=content.encode(), env=env, check=True)


@contextlib.contextmanager
def world_of_a_receiver() -> Iterator[World]:
    """Run a whole receiving mail system until the block ends: for the page that proves what becomes of a message."""
    with receiver() as mail_system:
        yield World(mail_system.network, mail_system.root / "resolv.conf", mail_system.ca_file)


@contextlib.contextmanager
def machine(of: World) -> Iterator[Machine]:
    """Make a machine in the world until the block ends."""
    holder = subprocess.Popen(
        # Its own processes too: whether the test's machine has a cron is not what a page is about.
        of.network.command(
            "unshare", "--mount", "--uts", "--propagation=private", "--pid", "--fork", "--mount-proc",
            "sleep", "infinity",
        ),
        # What unshare says of its signals when it is over.
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: bool(_children(holder.pid)), "the machine")
        (first,) = _children(holder.pid)
        wait_until(partial(_sleeps, first), "the machine")
        subprocess.run([*_enter(first), "--", "sh", "-euc", _SET_UP, "sh", str(of.resolv_conf), str(BIN)], check=True)
        yield Machine(first, of.ca_file)
    finally:
        # The first process of a machine: all others end with it.
        for pid in _children(holder.pid):
            os.kill(pid, signal.SIGKILL)
        holder.wait(10)


# $1: the resolv.conf, $2: where the programs are. /mnt becomes the memory in which the overlays keep what is written.
_SET_UP = f"""
mount -t tmpfs -o mode=755 none /mnt
for place in {" ".join(_OVERLAID)}; do
    mkdir -p "/mnt/$place/upper" "/mnt/$place/work"
    mount -t overlay overlay -o "lowerdir=$place,upperdir=/mnt/$place/upper,workdir=/mnt/$place/work" "$place"
done
hostname {HOST}
rm -f /etc/resolv.conf
cp "$1" /etc/resolv.conf
printf '127.0.0.1 localhost\\n' > /etc/hosts
printf 'root:x:0:0:root:/root:/bin/bash\\n{USER}:x:1000:1000::/home/{USER}:/bin/bash\\n' > /etc/passwd
printf 'root:x:0:\\n{USER}:x:1000:\\n' > /etc/group
rm -rf /etc/ucrmmail /var/spool/ucrmmail /var/log/ucrmmail
mkdir -m 700 -p /home/{USER}
for program in ucrmmail ucrmmail-sendmail; do ln -sf "$2/$program" /usr/local/bin/; done
"""


def _enter(pid: int) -> list[str]:
    return ["nsenter", f"--target={pid}", "--net", "--mount", "--uts", "--pid"]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == "sleep"
