"""The cron job that has nothing to do, before anything large is imported.

``ucrmmail flush`` runs every minute and mostly finds nothing, or another that still sends. Typer alone would cost five
times the interpreter's own start. So the plain forms of the command line are read here, and when the configuration is
one that a full run has checked and the spool holds nothing that is due, or another run has its lock, the run is over.
In every other case, a doubtful one too, the real command runs and repeats all of it.
"""

from __future__ import annotations

import os
import time

from ucrmmail.config.location import locate
from ucrmmail.config.submission import read_submission_settings
from ucrmmail.errors import UcrmmailError
from ucrmmail.files import Naming, try_lock
from ucrmmail.units import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKED_CONFIG = "checked-config"
LAST_FLUSH = "last-flush.json"
# What the real command finds locked: a process runs one command.
_taken: list[int] = []


def config_stamp(path: str) -> str:
    """Return what changes when a config file is changed; "missing" for none."""
    try:
        found = os.stat(path)
    except OSError:
        return "missing"
    return f"{path} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_mode} {found.st_uid}"


def nothing_to_flush(arguments: Sequence[str]) -> bool:
    """Return whether this is a plain ``flush``, its configuration was checked, and nothing is due or another sends."""
    # A person who looks on is told why nothing was done.
    if "flush" not in arguments[:3] or os.isatty(2):
        return False
    recognised, config_option = _read_arguments(arguments)
    if not recognised:
        return False
    location = locate(config_option, os.environ, os.geteuid())
    try:
        settings = read_submission_settings(location.path, os.environ, os.geteuid())
        spool = settings.spool_directory
        if not _was_checked(spool, config_stamp(location.path)):
            return False
        return _nothing_due(spool, time.time()) or _another_sends(spool)
    except (UcrmmailError, OSError):
        # The real command will find the same, and knows how to say it.
        return False


def _read_arguments(arguments: Sequence[str]) -> tuple[bool, str | None]:
    """Return whether all arguments are understood here, and the value of ``--config``."""
    config_option = None
    command_seen = False
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if not command_seen and argument == "flush":
            command_seen = True
        elif command_seen and argument in ("--wait", "--no-wait"):
            continue
        elif name in ("--config", "--time-limit", "--message-limit") and (name == "--config") is not command_seen:
            if not equals:
                if not rest:
                    return False, None
                value = rest.pop(0)
            if name == "--config":
                config_option = value
            elif not _is_valid(name, value):
                return False, None
        else:
            return False, None
    return command_seen, config_option


def _is_valid(name: str, value: str) -> bool:
    if name == "--message-limit":
        return value.isascii() and value.isdigit() and int(value) > 0
    try:
        return parse_duration(value) > 0
    except ValueError:
        return False


def _was_checked(spool: str, stamp: str) -> bool:
    with open(f"{spool}/{CHECKED_CONFIG}", encoding="utf-8", errors="surrogateescape") as file:
        return file.read() == stamp


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


def _nothing_due(spool: str, now: float) -> bool:
    """Look at the names in the spool only. Raises OSError."""
    if os.listdir(f"{spool}/queue") or os.listdir(f"{spool}/drop") or os.listdir(spool + "/tmp"):  # noqa: S108 # ours, 0700
        return False
    # What a worker that was killed has left counts too: see spool/records.
    if any(os.stat(f"{spool}/{name}").st_size for name in os.listdir(spool) if name.startswith("journal")):
        return False
    minute = time.strftime("%Y%m%dT%H%M", time.gmtime(now))
    # A name far ahead means that the clock was set back: the real run decides. A day is longer than any delay.
    tomorrow = time.strftime("%Y%m%dT%H%M", time.gmtime(now + 86400))
    if any(not minute < due < tomorrow for due in os.listdir(f"{spool}/deferred")):
        return False
    # `status` reports when the last run was; this was one.
    os.utime(f"{spool}/{LAST_FLUSH}")
    return True
