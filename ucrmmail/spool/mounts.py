"""Which file system a path is on, from what the kernel tells (proc(5)), and whether other hosts may use it too."""

from __future__ import annotations

import os

# Network and cluster file systems of Linux, and the shares of virtual machines.
_SHARED = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs",
    "smb3", "smbfs", "virtiofs",
}  # fmt: skip


def is_shared(kind: str) -> bool:
    """Return whether other hosts may have a file system of this kind too.

    What a FUSE program reaches is its own affair: sshfs, s3fs, rclone and GlusterFS all stand there as ``fuse.NAME``.
    """
    return kind in _SHARED or kind == "fuse" or kind.startswith("fuse.")


def mount_of(path: str) -> tuple[str, str]:
    """Return where the file system of a path is mounted and its kind; ("", "") where the kernel does not tell."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return mount_in(file.read(), os.path.realpath(path))
    except OSError:
        return "", ""


def mount_in(mountinfo: str, path: str) -> tuple[str, str]:
    """Return mount point and kind of the file system that holds ``path``, from /proc/PID/mountinfo.

    36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw
    """
    found = ("", "")
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = fields[4].replace("\\040", " ")
        # A later line covers an earlier one at the same place.
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(found[0]):
            found = (point, after.split()[0])
    return found
