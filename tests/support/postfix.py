"""A Postfix from Debian in a place of its own: its configuration, queue and log stand in a temporary directory.

The Postfix of the machine, if it has one that runs, is left alone. Postfix's master starts as root only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POSTFIX = "/usr/sbin/postfix"

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
myhostname = smarthost.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
maillog_file = {root}/log/maillog
maillog_file_prefixes = {root}
alias_maps =
alias_database =
local_recipient_maps =
"""
SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
scache unix - - n - 1 scache
smtp unix - - n - - smtp
"""


@dataclass(frozen=True)
class Postfix:
    """The running Postfix: its directory, and the port of loopback where it takes mail."""

    root: Path
    port: int

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return a command line of one of its programs, such as ``postqueue``, for this configuration."""
        return [f"/usr/sbin/{program}", "-c", str(self.root / "conf"), *arguments]

    def run(self, program: str, *arguments: str) -> bytes:
        return subprocess.run(self.command(program, *arguments), check=True, capture_output=True).stdout


@contextlib.contextmanager
def private_postfix(port: int, settings: Mapping[str, str], starter: Sequence[str] = ()) -> Iterator[Postfix]:
    """Run Postfix until the block ends; ``settings`` are further lines of main.cf, ``starter`` runs its start.

    Raises PermissionError for who is not root.
    """
    if os.geteuid() != 0:
        raise PermissionError("Postfix starts as root only")
    # Its sockets are reached by users of its own: the path must be short, and open to them.
    root = Path(tempfile.mkdtemp(prefix="ucrmmail-postfix-", dir="/tmp"))
    root.chmod(0o755)
    for name in ("conf", "queue", "data", "log"):
        (root / name).mkdir()
    shutil.chown(root / "data", "postfix")
    more = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (root / "conf" / "main.cf").write_text(MAIN_CF.format(root=root) + more)
    (root / "conf" / "master.cf").write_text(SERVICES.format(port=port))
    postfix = Postfix(root, port)
    try:
        subprocess.run([*starter, *postfix.command("postfix", "start")], check=True, capture_output=True)
        try:
            yield postfix
        finally:
            subprocess.run(postfix.command("postfix", "stop"), check=False, capture_output=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
