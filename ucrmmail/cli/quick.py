"""The cron job that has nothing to do, before anything large is imported.

``ucrmmail flush`` runs every minute and mostly finds nothing, or another that still sends. Reading the configuration in
full would cost more than the interpreter's own start. So when it is one that a full run has checked and the spool holds
nothing that is due, or another run has its lock, the run is over here. In every other case, a doubtful one too, the
real command runs and repeats all of it.
"""

from __future__ import annotations

import os
import time

from ucrmmail.config.location import LAST_FLUSH, locate
from ucrmmail.config.submission import read_submission_settings, refuse_missing
from ucrmmail.errors import UcrmmailError
from ucrmmail.files import Naming, open_untrusted, read_all, try_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ucrmmail.cli.flush_request import FlushRequest

WORK = "work"
NOTHING = "nothing is due"
BUSY = "another flush is running"
CHECKED_CONFIG = "checked-config"
# As in delivery/untold, which a run with nothing to do does not load.
UNTOLD = "untold"
# A path and some numbers.
_LONGEST_STAMP_BYTES = 8192
_SLEWED_S = 60.0
_LOOKED_AT_AGAIN_S = 600.0
# What ``flush --json`` says when another sends; made of the report, it would cost each of fifty losers half its time.
BUSY_DOCUMENT = f"""\
{{
  "schema_version": 1,
  "relayed": 0,
  "deferred": 0,
  "failed": 0,
  "held_back": 0,
  "uncertain": 0,
  "reason": "{BUSY}",
  "next_at": null,
  "error": null,
  "needs_person": [],
  "messages": []
}}
"""
# What the real command finds locked: a process runs one command.
_taken: list[int] = []


def config_stamp(path: str) -> str:
    """Return what changes when a config file is changed; "missing" for none."""
    try:
        found = os.stat(path)
    except OSError:
        return "missing"
    return f"{path} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_mode} {found.st_uid}"


def look(request: FlushRequest, *, watched: bool) -> str:
    """Return NOTHING when nothing is due, BUSY when another flush sends, and WORK when the real command has to run.

    Only with a configuration that a full run has checked; WORK in every doubt. ``watched`` asks for nothing but BUSY:
    whoever looks on is told more than the names in the spool say.
    """
    location = locate(request.config_option, os.environ, os.geteuid())
    try:
        refuse_missing(location)
        settings = read_submission_settings(location.path, os.environ, os.geteuid())
        spool = settings.spool_directory
        if not _is_ours_alone(spool):
            return WORK
        if not _was_checked(spool, config_stamp(location.path)):
            return WORK
        if not watched and _nothing_due(spool, time.time()):
            return NOTHING
        return BUSY if _another_sends(spool) else WORK
    except (UcrmmailError, OSError):
        # The real command will find the same, and knows how to say it.
        return WORK


def _is_ours_alone(spool: str) -> bool:
    """Return whether ``layout.check_root`` lets the spool pass, whatever is in it; to import it costs more."""
    found = os.lstat(spool)
    return found.st_uid == os.geteuid() and not found.st_mode & 0o066


def _was_checked(spool: str, stamp: str) -> bool:
    """Return whether a run has left this stamp. Raises OSError for what no run leaves: a FIFO would be waited for."""
    fd = open_untrusted(f"{spool}/{CHECKED_CONFIG}", owner=os.geteuid())
    try:
        return read_all(fd, _LONGEST_STAMP_BYTES) == stamp.encode("utf-8", "surrogateescape")
    finally:
        os.close(fd)


def _another_sends(spool: str) -> bool:
    """Return whether a run has the lock; if none has, it is taken here, so that those behind need not import either."""
    path = f"{spool}/lock"
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    if try_lock(fd):
        _taken.append(fd)
        return False
    os.close(fd)
    return True


def taken_lock(path: str) -> int:
    """Return the descriptor of the lock if it was taken here, which is the caller's from now on; -1 when it was not.

    One of another file is let go: however the two readers of the configuration name a spool, nobody waits for himself.
    """
    while _taken:
        fd = _taken.pop()
        with Naming(path):
            if os.path.exists(path) and os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        os.close(fd)
    return -1


def was_set_back(spool: str, now: float) -> bool:
    """Return whether the clock shows an earlier time than at the end of the last run, beyond what is slewed."""
    try:
        return os.stat(f"{spool}/{LAST_FLUSH}").st_mtime > now + _SLEWED_S
    except OSError:
        return False


def _is_left(name: str) -> bool:
    """Return whether a run that was killed, or could not print, may have left something in a file of this name."""
    return name in ("journal", UNTOLD) or (name.startswith("journal.") and name[8:].isdigit())


def _nothing_due(spool: str, now: float) -> bool:
    """Look at the names in the spool only. Raises OSError."""
    if os.listdir(f"{spool}/queue") or os.listdir(f"{spool}/drop") or os.listdir(spool + "/tmp"):  # noqa: S108 # ours, 0700
        return False
    # What a worker that was killed has left counts too: see spool/records.
    if any(os.stat(f"{spool}/{name}").st_size for name in os.listdir(spool) if _is_left(name)):
        return False
    if was_set_back(spool, now):
        return False
    # How long what is deferred has waited, and whether what was sent has been kept long enough, a real run looks at.
    idle_s = now - os.stat(f"{spool}/{CHECKED_CONFIG}").st_mtime
    if idle_s > _LOOKED_AT_AGAIN_S and (os.listdir(f"{spool}/deferred") or os.listdir(f"{spool}/sent")):
        return False
    minute = time.strftime("%Y%m%dT%H%M", time.gmtime(now))
    # A name far ahead means that the clock was set back: the real run decides. A day is longer than any delay.
    tomorrow = time.strftime("%Y%m%dT%H%M", time.gmtime(now + 86400))
    if any(not minute < due < tomorrow for due in os.listdir(f"{spool}/deferred")):
        return False
    # `status` reports when the last run was; this was one.
    os.utime(f"{spool}/{LAST_FLUSH}", (now, now))
    return True
