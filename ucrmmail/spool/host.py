"""Which host runs the queue, where several could: on a network file system, one host alone flushes.

    host        3f9a41c2d07b5e18 0b5c9c4e-... billing1      the machine, its boot, its name

A lock of the kernel holds between the processes of one host, whatever the file system. Between hosts it holds or not,
as the mount has it: flock(2) is a lock on the server for NFS, but not with ``nolock`` or ``local_lock`` (nfs(5)); for
SMB from Linux 5.5 on, but not with ``nobrl``; for FUSE only where the program does it, which sshfs and s3fs do not.
And where it holds, the other host may still read names that were renamed seconds ago from its cache, and send what was
sent. So the first host that flushes writes itself down, and the others are refused, instead of mail that goes out
twice. What they submit is safe: it has a name of its own, and is accepted by one rename.

Within one boot of one machine the locks hold, so that a container with a new name is the same host.
"""

from __future__ import annotations

import os
from errno import EMLINK, ENOSYS, EOPNOTSUPP, EPERM

from ucrmmail.dataclass import dataclass
from ucrmmail.errors import ConfigError
from ucrmmail.files import (
    DistrustError,
    Naming,
    fsync_directory,
    open_untrusted,
    read_all,
    replace_file,
    replacement_of,
    write_all,
)
from ucrmmail.spool.accept import forget_file
from ucrmmail.spool.mounts import is_shared, mount_of

HOST = "host"
_LARGEST_BYTES = 4096
_UNKNOWN = "-"
# What file systems without hard links say: SMB and FUSE may be such.
_NO_LINKS = (EPERM, EOPNOTSUPP, ENOSYS, EMLINK)


@dataclass(frozen=True, slots=True)
class Host:
    """A host: its ``name`` for people; ``machine`` and ``boot`` tell it from others, each "-" when not known."""

    machine: str
    boot: str
    name: str

    def is_same(self, other: Host) -> bool:
        """Return whether the two share a kernel, or are one machine at two times."""
        if self.boot == other.boot != _UNKNOWN:
            return True
        if _UNKNOWN in (self.machine, other.machine):
            return self.name == other.name
        return self.machine == other.machine


def this_host() -> Host:
    """Return this host."""
    return Host(
        machine=_machine(), boot=_first_word("/proc/sys/kernel/random/boot_id") or _UNKNOWN, name=os.uname().nodename
    )


def claim_host(directory: str) -> None:
    """Make sure that this host alone runs the queue, and write it down when no host has yet.

    To be called with the lock of the spool held. On a file system of this host's own there is nothing to do.
    Raises ConfigError when another host runs it, OSError.
    """
    kind = mount_of(directory)[1]
    if not is_shared(kind):
        return
    here = this_host()
    before = read_host(directory)
    if before is None:
        if _write_first(f"{directory}/{HOST}", _encode(here)):
            return
        # Another host was quicker by a moment, or the file is empty.
        before = read_host(directory)
    if before is None:
        replace_file(f"{directory}/{HOST}", _encode(here))
        # Of two hosts that do so at once, the one that came last.
        before = read_host(directory)
    _refuse_other(directory, kind, before, here)
    if before != here:
        replace_file(f"{directory}/{HOST}", _encode(here))


def check_host(directory: str) -> None:
    """Make sure that no other host runs the queue. Raises ConfigError, OSError."""
    kind = mount_of(directory)[1]
    if is_shared(kind) and (before := read_host(directory)) is not None:
        _refuse_other(directory, kind, before, this_host())


def read_host(directory: str) -> Host | None:
    """Return the host that runs the queue; None when none has written itself down. Raises ConfigError, OSError.

    An empty file is one that somebody died at.
    """
    path = f"{directory}/{HOST}"
    try:
        # Its other name is the one it was written under: only the owner can make names in the spool.
        fd = open_untrusted(path, owner=os.geteuid(), most_links=2)
    except FileNotFoundError:
        return None
    except DistrustError as error:
        raise ConfigError(str(error), remedy=f"look at it, then run `rm {path}`") from error
    with Naming(path):
        try:
            content = read_all(fd, _LARGEST_BYTES)
        finally:
            os.close(fd)
    if not content:
        return None
    # A name may hold whatever its administrator has set; the others hold no blank.
    machine, boot, name = [*content.decode("utf-8", "replace").rstrip("\n").split(" ", 2), "", "", ""][:3]
    return Host(machine or _UNKNOWN, boot or _UNKNOWN, name)


def _refuse_other(directory: str, kind: str, before: Host | None, here: Host) -> None:
    if before is not None and before.is_same(here):
        return
    name = before.name if before is not None else ""
    raise ConfigError(
        f"the queue {directory} is run by another host, {name or 'whose name is not known'}",
        why=f"it is on a shared file system ({kind}), where two hosts would send the same messages",
        remedy=f"run `ucrmmail flush` there only; if that host is gone for good, run `rm {directory}/{HOST}`",
    )


def _write_first(path: str, content: bytes) -> bool:
    """Write a file that nobody else has made, in one step; return False when somebody has. Raises OSError."""
    arriving = replacement_of(path)
    try:
        _write_new(arriving, content)
        os.link(arriving, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _write_unlinked(path, content)
    finally:
        forget_file(arriving)
    fsync_directory(os.path.dirname(path))
    return True


def _write_unlinked(path: str, content: bytes) -> bool:
    """Do as ``_write_first`` where a file has one name: who is killed in it leaves an empty one."""
    try:
        _write_new(path, content)
    except FileExistsError:
        return False
    except OSError:
        forget_file(path)
        raise
    fsync_directory(os.path.dirname(path))
    return True


def _write_new(path: str, content: bytes) -> None:
    """Write a file that is not there yet, to the disk. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with Naming(path):
        try:
            write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)


def _encode(host: Host) -> bytes:
    return f"{host.machine} {host.boot} {host.name}\n".encode("utf-8", "replace")


def _machine() -> str:
    """Return what tells this installation from others: machine-id(5) asks for a hash, since the id is to be private."""
    machine_id = _first_word("/etc/machine-id")
    if not machine_id:
        return _UNKNOWN
    from hashlib import blake2b  # noqa: PLC0415 # only where the file system is shared

    return blake2b(machine_id.encode(), digest_size=8, person=b"ucrmmail-host").hexdigest()


def _first_word(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return (file.readline().split() or [""])[0]
    except OSError:
        return ""
