"""Which configuration file applies, and why; and where mail and logs are kept when it does not say.

    1  --config FILE
    2  $UCRMMAIL_CONFIG
    3  $XDG_CONFIG_HOME/ucrmmail/config.toml    (~/.config when unset)
    4  /etc/ucrmmail/config.toml

The first that is there applies; 1 and 2 apply even when they are not, so that a typing error is not covered up by
another file. A new file is made at 4 for root and at 3 for everyone else. Loaded by every submission, so the class
is a plain one: dataclasses would cost more than all the rest of it.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_CONFIG = "/etc/ucrmmail/config.toml"
# In the queue: how the last flush ended.
LAST_FLUSH = "last-flush.json"
# Cron flushes each minute, or a few times an hour. Each run leaves its time, also one with nothing to send.
_FLUSHES_S = 1800.0


class Location:
    """The configuration file that applies: its absolute path, the reason (a sentence), and whether it is there.

    ``named`` says that a person gave it, with the option or the environment variable.

    Beside it the directories that apply when the file does not name them, and the user (uid) who asks.
    """

    __slots__ = ("euid", "exists", "log_directory", "named", "path", "reason", "spool_directory")

    def __init__(
        self,
        path: str,
        reason: str,
        *,
        named: bool = False,
        exists: bool,
        euid: int,
        spool_directory: str,
        log_directory: str,
    ) -> None:
        self.path = path
        self.reason = reason
        self.named = named
        self.exists = exists
        self.euid = euid
        self.spool_directory = spool_directory
        self.log_directory = log_directory


def locate(option: str | None, environ: Mapping[str, str], euid: int) -> Location:
    """Return which file applies for ``--config`` (None when it was not given), the environment and the user."""
    path, reason = _choose(option, environ, euid)
    return Location(
        path,
        reason,
        named=bool(option or environ.get("UCRMMAIL_CONFIG")),
        exists=_is_there(path),
        euid=euid,
        spool_directory=spool_directory(environ, euid),
        log_directory=log_directory(environ, euid),
    )


def spool_directory(environ: Mapping[str, str], euid: int) -> str:
    """Return where mail is queued when ``spool.directory`` is not set."""
    return "/var/spool/ucrmmail" if euid == 0 else f"{_state_home(environ, euid)}/ucrmmail/spool"


def submission_directory(path: str, environ: Mapping[str, str], euid: int) -> str:
    """Return where mail is submitted to by the configuration at ``path`` when ``spool.directory`` is not set.

    With the system's configuration that is the queue of its owner, mostly root, unless the user flushes a queue of his
    own by it: one that nobody flushes would take mail, and keep it. Who has done so once, to see what it does, does not
    where the owner takes mail from him.
    """
    own = spool_directory(environ, euid)
    if path != SYSTEM_CONFIG:
        return own
    try:
        owner = os.stat(path).st_uid
    except OSError:
        # Reading it tells.
        return own
    theirs = own if owner == euid else spool_directory({}, owner)
    flushed_at = _time_of(f"{own}/{LAST_FLUSH}")
    if not flushed_at:
        return theirs
    flushes = time.time() - flushed_at < _FLUSHES_S
    takes_mail = os.access(f"{theirs}/drop", os.W_OK | os.X_OK, effective_ids=True)
    return own if flushes or not takes_mail else theirs


def _time_of(path: str) -> float:
    """Return when a file was written; 0.0 when there is none, or nobody may know."""
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def log_directory(environ: Mapping[str, str], euid: int) -> str:
    """Return where the delivery log is kept."""
    return "/var/log/ucrmmail" if euid == 0 else f"{_state_home(environ, euid)}/ucrmmail/log"


def refuse_another_file_elsewhere(path: str) -> None:
    """Raise ValueError for a name in the configuration, which is UTF-8, that another locale has for another file.

    Cron has none, and so UTF-8: what is queued in a shell with ISO 8859-1 would wait where no run looks.
    """
    locale = sys.getfilesystemencoding()
    if locale != "utf-8" and not path.isascii():
        raise ValueError(
            f"{path!r} is another file in this locale ({locale}) than in cron's, which is UTF-8; "
            "name one in ASCII, or set LC_ALL=C.UTF-8"
        )


def _choose(option: str | None, environ: Mapping[str, str], euid: int) -> tuple[str, str]:
    if option:
        return _absolute(option), "given with --config"
    if environ.get("UCRMMAIL_CONFIG"):
        return _absolute(environ["UCRMMAIL_CONFIG"]), "named by the environment variable UCRMMAIL_CONFIG"
    own = f"{_xdg('XDG_CONFIG_HOME', '.config', environ, euid)}/ucrmmail/config.toml"
    if _is_there(own):
        return own, "the user's own configuration file"
    if _is_there(SYSTEM_CONFIG):
        return SYSTEM_CONFIG, f"the system's configuration file, since {own} does not exist"
    if euid == 0:
        return SYSTEM_CONFIG, "where a new configuration file is made for root; there is none yet"
    return own, "where a new configuration file is made; there is none yet"


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        # The working directory was removed: nothing has this name, as reading it will say.
        return path


def _state_home(environ: Mapping[str, str], euid: int) -> str:
    return _xdg("XDG_STATE_HOME", ".local/state", environ, euid)


def _xdg(variable: str, below_home: str, environ: Mapping[str, str], euid: int) -> str:
    """Return a base directory (XDG Base Directory Specification: a relative path is to be ignored)."""
    named = environ.get(variable, "")
    if named.startswith("/") and not _is_closed(named):
        return named.rstrip("/")
    return f"{_home(environ, euid)}/{below_home}"


def _home(environ: Mapping[str, str], euid: int) -> str:
    """Return the home directory; a service may run without HOME, then the user database knows it.

    So it does where HOME is a directory that we may not enter: the worker that supervisord, or s6, has let run as
    another user still has root's.
    """
    home = environ.get("HOME", "")
    if home.startswith("/") and not _is_closed(home):
        return home.rstrip("/")
    import pwd  # noqa: PLC0415 # rarely needed, and every submission would pay for it

    try:
        return pwd.getpwuid(euid).pw_dir.rstrip("/")
    except KeyError:
        # A container's nameless user: the root directory is where its shell would start too.
        return ""


def _is_closed(directory: str) -> bool:
    try:
        os.lstat(f"{directory}/.")
    except PermissionError:
        return True
    except OSError:
        # It is not there, say: nothing of ours is in it, and what is made there is ours.
        return False
    return False


def _is_there(path: str) -> bool:
    """Return whether there is such a file. One that we may not look at counts: reading it will say why it fails."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
