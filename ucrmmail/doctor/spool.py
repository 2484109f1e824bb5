"""The spool: whose it is, whether the disk has room, how old the queue is, and what waits for a person."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ucrmmail.clock import rfc3339
from ucrmmail.dataclass import dataclass
from ucrmmail.doctor.check import Check, Verdict
from ucrmmail.errors import UcrmmailError
from ucrmmail.spool.accept import MIN_FREE_FILES, free_files
from ucrmmail.spool.host import HOST, read_host, this_host
from ucrmmail.spool.layout import check_places, check_root
from ucrmmail.spool.mounts import is_shared, mount_of
from ucrmmail.units import format_size

if TYPE_CHECKING:
    from ucrmmail.spool.listing import Counts

# Mail that a limit holds back may well be an hour old; a day is more than anyone expects.
OLD_S = 3600.0
VERY_OLD_S = 86400.0
_FEW_FILES = 10_000
_IN_MEMORY = ("tmpfs", "ramfs")
# Besides the directories of messages, which are checked by themselves.
_OPENED = ("lock", "ledger", "journal", "drop")


def check_spool(directory: str, log: str) -> Check:
    """Check that this user can use the spool and the delivery log, nobody else can, and the spool survives a reboot."""
    try:
        check_root(directory)
        check_places(directory)
    except FileNotFoundError:
        return _not_made_yet(directory)
    except UcrmmailError as error:
        return Check("spool", Verdict.FAIL, error.what, error.remedy)
    except OSError as error:
        return Check("spool", Verdict.FAIL, f"{directory}: {error.strerror}", "run as the owner of the spool")
    if not os.access(directory, os.W_OK):
        return Check(
            "spool",
            Verdict.FAIL,
            f"{directory} cannot be written to: its file system is read-only",
            f"see why with `dmesg`, then run `mount -o remount,rw {mount_of(directory)[0]}`",
        )
    closed = _closed_to_us(directory, log)
    if closed:
        return Check(
            "spool",
            Verdict.FAIL,
            f"{closed} belongs to uid {os.lstat(closed).st_uid}, and a run of this user may not write to it",
            f"run `chown {os.geteuid()} {closed}` as root, if you trust what is in it",
        )
    opened = _parent_open_to_others(directory)
    if opened:
        return Check(
            "spool",
            Verdict.WARN,
            f"{opened} is open to other users: they could put another spool in the place of {directory}",
            f"run `chmod go-w {opened}`, or set spool.directory to another place",
        )
    point, filesystem = mount_of(directory)
    if filesystem in _IN_MEMORY:
        return Check(
            "spool",
            Verdict.WARN,
            f"{directory} is in memory ({filesystem} on {point}): a reboot loses all mail that waits",
            "run `ucrmmail config set spool.directory DIRECTORY` with one on a disk",
            facts={"file_system": filesystem},
        )
    if is_shared(filesystem):
        return _on_shared(directory, point, filesystem)
    return Check("spool", Verdict.OK, f"{directory}: yours alone", facts={"file_system": filesystem or None})


def _on_shared(directory: str, point: str, filesystem: str) -> Check:
    """Judge a spool that other hosts may reach: one of them may run it."""
    try:
        runner = read_host(directory)
    except UcrmmailError as error:
        return Check("spool", Verdict.FAIL, error.what, error.remedy)
    facts = {"file_system": filesystem, "host": runner.name if runner else None}
    if runner is not None and not runner.is_same(this_host()):
        return Check(
            "spool",
            Verdict.FAIL,
            f"{directory} is run by another host, {runner.name}: nothing is sent from here",
            f"run `ucrmmail flush` there only; if that host is gone for good, run `rm {directory}/{HOST}`",
            facts=facts,
        )
    return Check(
        "spool",
        Verdict.WARN,
        f"{directory} is on a shared file system ({filesystem} on {point}): one host alone can run the queue, and mail"
        " is as safe as that file system",
        "run `ucrmmail config set spool.directory DIRECTORY` with one on a disk of this host",
        facts=facts,
    )


def _not_made_yet(directory: str) -> Check:
    there = directory
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if os.access(there, os.W_OK | os.X_OK):
        return Check("spool", Verdict.OK, f"{directory} is made when the first message comes")
    return Check(
        "spool",
        Verdict.FAIL,
        f"{directory} is not there, and this user may not make it in {there}",
        f"as root, run `install -d -m 700 -o {os.geteuid()} {directory}`; or set spool.directory to another place",
    )


def _closed_to_us(directory: str, log: str) -> str:
    """Return what each run opens, and this user may not, as when root has run something here; "" for nothing."""
    names = [name for name in os.listdir(directory) if name in _OPENED or name.startswith("journal.")]
    needed = [(f"{directory}/{name}", os.R_OK | os.W_OK) for name in sorted(names)]
    return next((path for path, mode in (*needed, (log, os.W_OK)) if _is_closed(path, mode)), "")


def _is_closed(path: str, mode: int) -> bool:
    return os.path.lexists(path) and not os.access(path, mode, effective_ids=True)


def _parent_open_to_others(directory: str) -> str:
    """Return the nearest directory above in which others may rename what is ours; "" when there is none."""
    parent = os.path.dirname(os.path.realpath(directory))
    while True:
        found = os.stat(parent)
        # A group of one's own, as most systems give each user, holds nobody else.
        writers = stat.S_IWOTH if found.st_gid in (0, os.getegid()) else stat.S_IWOTH | stat.S_IWGRP
        if found.st_mode & writers and not found.st_mode & stat.S_ISVTX:
            return parent
        if parent == "/":
            return ""
        parent = os.path.dirname(parent)


@dataclass(frozen=True, slots=True)
class Disk:
    """What the file system of the spool has left; ``free_files`` is None where it does not count them."""

    free_bytes: int
    free_files: int | None


def look_at_disk(directory: str) -> Disk:
    """Return what is left for this user, or for the place where the spool will be. Raises OSError."""
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    found = os.statvfs(directory)
    return Disk(found.f_bavail * found.f_frsize, free_files(found))


def judge_space(disk: Disk, directory: str, min_free_bytes: int) -> Check:
    """Judge what is left against ``spool.min_free_space``, below which submissions are refused with 75."""
    files = f", room for {disk.free_files} files" if disk.free_files is not None else ""
    detail = f"{format_size(disk.free_bytes)} free{files}"
    facts = {"free_bytes": disk.free_bytes, "free_files": disk.free_files, "min_free_bytes": min_free_bytes}
    remedy = f"make room: `df -h {directory}`, `du -xsh {directory}/*`"
    if disk.free_bytes < min_free_bytes:
        detail += f", less than spool.min_free_space ({format_size(min_free_bytes)}): no message is accepted"
        return Check("space", Verdict.FAIL, detail, remedy, facts=facts)
    if disk.free_files is not None and disk.free_files < MIN_FREE_FILES:
        detail += f", less than {MIN_FREE_FILES}: no message is accepted"
        return Check("space", Verdict.FAIL, detail, f"remove files: `df -i {directory}`", facts=facts)
    if disk.free_bytes < 2 * min_free_bytes:
        detail += f"; below {format_size(min_free_bytes)} no message is accepted"
        return Check("space", Verdict.WARN, detail, remedy, facts=facts)
    if disk.free_files is not None and disk.free_files < _FEW_FILES:
        return Check("space", Verdict.WARN, detail, f"remove files: `df -i {directory}`", facts=facts)
    return Check("space", Verdict.OK, detail, facts=facts)


def judge_queue(counts: Counts, now: float) -> Check:
    """Judge how long the oldest message waits."""
    total = counts.waiting + counts.deferred + counts.held
    facts = {
        "waiting": counts.waiting,
        "deferred": counts.deferred,
        "held": counts.held,
        "oldest_accepted_at": rfc3339(counts.oldest_accepted_at) if counts.oldest_accepted_at else None,
    }
    if not total:
        return Check("queue", Verdict.OK, "empty", facts=facts)
    age_s = now - counts.oldest_accepted_at
    parts = ((counts.waiting, "waiting"), (counts.deferred, "deferred"), (counts.held, "held by a person"))
    told = ", ".join(f"{count} {name}" for count, name in parts if count)
    detail = f"{told}; the oldest was accepted {told_age(age_s)} ago"
    if age_s <= OLD_S:
        return Check("queue", Verdict.OK, detail, facts=facts)
    verdict = Verdict.FAIL if age_s > VERY_OLD_S else Verdict.WARN
    remedy = "`ucrmmail queue list` says why each waits"
    if counts.held == total:
        remedy = "`ucrmmail queue release --all` lets them go"
    return Check("queue", verdict, detail, remedy, facts=facts)


def judge_failed(counts: Counts, directory: str) -> Check:
    """Judge what has come to an end that a person should look at."""
    facts = {"failed": counts.failed, "corrupt": counts.corrupt, "rejected": counts.rejected}
    parts = (
        (
            counts.corrupt,
            "set aside in corrupt/",
            f"look at them in {directory}/corrupt, each with its .reason, then remove or put back: ucrmmail-queue(5)",
        ),
        (
            counts.rejected,
            "rejected from the drop directory",
            f"look at them in {directory}/rejected, each with its .reason; a corrected copy goes to {directory}/drop",
        ),
        (
            counts.failed,
            "failed for good",
            "`ucrmmail queue list --state failed`, then `ucrmmail queue remove --state failed --yes`",
        ),
    )
    found = [(f"{count} {name}", remedy) for count, name, remedy in parts if count]
    if not found:
        return Check("failed", Verdict.OK, "none failed, damaged or rejected", facts=facts)
    verdict = Verdict.FAIL if counts.corrupt else Verdict.WARN
    return Check("failed", verdict, ", ".join(what for what, _ in found), found[0][1], facts=facts)


def told_age(seconds: float) -> str:
    """Return an age as people say it: in its largest unit."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"
