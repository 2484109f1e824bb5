"""The places of the spool and the names in it: what survives a crash, told as a table of states.

    state      tmp/ID  queue/BUCKET/ID  deferred/DUE/ID  held/ID  failed/ID  corrupt/ID  state/ID
    arriving     +            -                -            -         -          -          -      not told yes yet
    waiting      -            +                -            -         -          -          ?      told yes
    deferred     -            -                +            -         -          -          ?      waits for its time
    held         -            -                -            +         -          -          ?      a person holds it
    failed       -            -                -            -         +          -          ?      a person was told
    damaged      -            -                -            -         -          +          ?      a person was told
    relayed      -            -                -            -         -          -          -      or in sent/HOUR/ID
    removed      +            -                -            -         -          -          ?      by a person

Guarantee: after ``accept()`` returned, ID is in queue/, deferred/, held/, failed/ or corrupt/ until every recipient
was relayed or a person removed it. Each arrow between two states is one rename (or the last unlink), done after the
journal says so; what a crash leaves half done, ``Spool.recover`` completes. state/ID may be lost without losing mail:
the message is then as if it was never tried. At worst a message is sent twice, never lost: see RFC 1047 and RFC 5321
section 6.1.

A queue id is also the sending order, as plain text: priority, time of acceptance in UTC, and a random part.

    1-20261123T110559.123456-k3x9qa       its bucket: 1-20261123T1105

Besides these, drop/NAME.eml is where programs put messages (tmp/ID.eml while one is being taken), and rejected/NAME
where those go that cannot be sent. Loaded by every submission, so it imports only what is loaded already.
"""

from __future__ import annotations

import os
import stat
import time

from ucrmmail.errors import CannotCreateError, PermissionDeniedError
from ucrmmail.files import Naming, fsync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

TMP = "tmp"
QUEUE = "queue"
DEFERRED = "deferred"
HELD = "held"
FAILED = "failed"
SENT = "sent"
CORRUPT = "corrupt"
STATE = "state"
DROP = "drop"
REJECTED = "rejected"
# Made in this order: tmp/, the last one, shows a submission that all are there, and what a flush needs on a full disk.
_PLACES = (QUEUE, DEFERRED, HELD, FAILED, SENT, CORRUPT, STATE, DROP, REJECTED, TMP)

PRIORITIES = ("urgent", "normal", "bulk")
"""In sending order; the first character of a queue id is the place in this row."""

# Without letters and digits that people mistake for one another.
# Between the times of two ids that must keep their order. One microsecond is not enough: a float of our days tells a
# quarter of one, so that two times in a row could round to the same.
NEXT_ID_S = 2e-6
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
ID_LENGTH = 31
_BUCKET_LENGTH = 15
_MINUTE_LENGTH = 13
_HOUR_LENGTH = 11


def new_queue_id(now: float, priority: str, *, of: bytes = b"") -> str:
    """Return a queue id for a message accepted at ``now`` (s since the epoch), exact to the microsecond.

    ``of`` are random bytes, six at least, for a caller that wants the same id again.
    """
    seconds, micros = divmod(round(now * 1_000_000), 1_000_000)
    unique = "".join([_ALPHABET[byte & 31] for byte in (of or os.urandom(6))[:6]])
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    return f"{PRIORITIES.index(priority)}-{stamp}.{micros:06d}-{unique}"


def is_queue_id(name: str) -> bool:
    """Return whether a name found in a directory is a queue id; no other name is ever opened as one."""
    return is_bucket(name[:_BUCKET_LENGTH]) and is_id_in(name[:_BUCKET_LENGTH], name)


def is_id_in(bucket: str, name: str) -> bool:
    """Return whether a name found in a directory that ``is_bucket`` is a queue id of that bucket."""
    return (
        len(name) == ID_LENGTH
        and name.startswith(bucket)
        and name.isascii()
        and _is_number(name[15:17], 59)
        and name[17] == "."
        and name[18:24].isdigit()
        and name[24] == "-"
        and name[25:].isalnum()
        and name[25:] == name[25:].lower()
    )


def is_bucket(name: str) -> bool:
    """Return whether a name is that of a directory in queue/: a priority and a minute, such as 1-20261123T1105."""
    return len(name) == _BUCKET_LENGTH and name[0] in "012" and name[1] == "-" and is_minute(name[2:])


def is_minute(name: str) -> bool:
    """Return whether a name is a minute in UTC, such as 20261123T1105."""
    return len(name) == _MINUTE_LENGTH and is_hour(name[:_HOUR_LENGTH]) and _is_number(name[11:], 59)


def is_hour(name: str) -> bool:
    """Return whether a name is an hour in UTC, such as 20261123T11."""
    return (
        len(name) == _HOUR_LENGTH
        and name.isascii()
        and name[:4].isdigit()
        and name[:4] >= "1970"
        and _is_number(name[4:6], 12, least=1)
        and _is_number(name[6:8], 31, least=1)
        and name[8] == "T"
        and _is_number(name[9:], 23)
    )


def _is_number(digits: str, most: int, *, least: int = 0) -> bool:
    return digits.isdigit() and least <= int(digits) <= most


def bucket_of(queue_id: str) -> str:
    """Return the directory in queue/ where a message waits."""
    return queue_id[:_BUCKET_LENGTH]


def priority_of(queue_id: str) -> str:
    """Return the priority as a word: urgent, normal or bulk."""
    return PRIORITIES[int(queue_id[0])]


def accepted_at(queue_id: str) -> float:
    """Return when the message was accepted, in seconds since the epoch, to the microsecond."""
    return epoch_of(queue_id[2:17]) + int(queue_id[18:24]) / 1_000_000


def epoch_of(stamp: str) -> int:
    """Return the seconds since the epoch of ``YYYYMMDDThh``, with or without minutes and seconds, in UTC."""
    year, month, day = int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8])
    # Days are counted from a year that begins in March, so that the leap day is the last of its year.
    if month < 3:
        year, month = year - 1, month + 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719_469
    return days * 86_400 + int(stamp[9:11]) * 3600 + int(stamp[11:13] or 0) * 60 + int(stamp[13:15] or 0)


def minute_of(at: float) -> str:
    """Return the minute that holds a time, as the directories in deferred/ are named."""
    return time.strftime("%Y%m%dT%H%M", time.gmtime(at))


def hour_of(at: float) -> str:
    """Return the hour that holds a time, as the directories in sent/ are named."""
    return time.strftime("%Y%m%dT%H", time.gmtime(at))


def path_in_queue(directory: str, queue_id: str) -> str:
    """Return where a waiting message is."""
    return f"{directory}/{QUEUE}/{queue_id[:_BUCKET_LENGTH]}/{queue_id}"


def check_root(directory: str) -> None:
    """Make sure that nobody else can write to, or list, the spool.

    The right to pass through (mode 0711) is left to the administrator, who may open drop/ to a group.
    Raises PermissionDeniedError; CannotCreateError when something else is in its place; FileNotFoundError when there is
    no spool yet; OSError.
    """
    found = os.lstat(directory.rstrip("/") or "/")
    if stat.S_ISLNK(found.st_mode):
        raise PermissionDeniedError(
            f"the spool {directory} is a symbolic link", remedy="set spool.directory to the directory itself"
        )
    if not stat.S_ISDIR(found.st_mode):
        raise CannotCreateError(
            f"the spool {directory} is not a directory",
            why="the spool cannot be made",
            remedy="move away what is there, or set spool.directory to another place",
        )
    if found.st_uid != os.geteuid():
        raise PermissionDeniedError(
            f"the spool {directory} belongs to uid {found.st_uid}, not to {os.geteuid()}",
            remedy="run as its owner, or set spool.directory to a directory of your own",
        )
    if found.st_mode & 0o066:
        raise PermissionDeniedError(
            f"the spool {directory} is open to other users (mode {stat.S_IMODE(found.st_mode):04o})",
            remedy=f"run `chmod 700 {directory}`",
        )


def check_places(directory: str) -> None:
    """Make sure that what is there of the places in the spool is ours alone. Raises PermissionDeniedError, OSError."""
    for place in _PLACES:
        _is_own_directory(f"{directory}/{place}")


def make_spool(directory: str) -> None:
    """Make what is missing of the spool, owner-only whatever the umask, and durable.

    Its room is held before it takes the first message: by the first flush messages may have filled the disk.
    drop/ may have been opened to others on purpose; what they put there is distrusted.
    Raises PermissionDeniedError when others could change the spool, CannotCreateError, OSError when it cannot be
    looked at.
    """
    directory = directory.rstrip("/") or "/"
    _make_missing(_missing_ancestors(directory))
    check_root(directory)
    missing = [f"{directory}/{place}" for place in _PLACES if not _is_own_directory(f"{directory}/{place}")]
    if f"{directory}/{TMP}" not in missing:
        _make_missing(missing)
        return
    _make_missing(missing[:-1])
    _hold_room(directory)
    _make_missing(missing[-1:])


def _hold_room(directory: str) -> None:
    """Make the files without which no flush can send, and hold the room that it gives up when there is no other."""
    from ucrmmail.spool.reserve import Reserve  # noqa: PLC0415 # once in the life of a spool

    _make_file(f"{directory}/lock")
    if os.path.lexists(f"{directory}/journal"):
        # Only a place was removed; the room may have been given up, on a disk that is full.
        Reserve(directory).hold()
        return
    try:
        Reserve(directory).hold_first()
    except OSError as error:
        raise _not_made(directory, error) from error
    _make_file(f"{directory}/journal")


def _make_file(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with Naming(path):
            try:
                os.fchmod(fd, 0o600)
            finally:
                os.close(fd)
    except OSError as error:
        raise _not_made(path, error) from error


def _missing_ancestors(directory: str) -> list[str]:
    missing = []
    while directory and not os.path.lexists(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    return missing[::-1]


def _make_missing(directories: Iterable[str]) -> None:
    for path in directories:
        try:
            os.mkdir(path, 0o700)
            os.chmod(path, 0o700)
            fsync_directory(os.path.dirname(path) or ".")
        except FileExistsError:
            continue  # another process was quicker
        except OSError as error:
            raise _not_made(path, error) from error


def _not_made(path: str, error: OSError) -> CannotCreateError:
    return CannotCreateError(
        f"{error.filename or path}: {error.strerror}",
        why="the spool cannot be made",
        remedy="mend this, or set spool.directory to another place",
    )


def _is_own_directory(path: str) -> bool:
    """Return whether a place is there. Raises PermissionDeniedError when it is not to be trusted."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionDeniedError(f"{path} is not a directory", remedy="move it away; it is made anew")
    if path.endswith(f"/{DROP}"):
        return True
    if found.st_uid != os.geteuid():
        raise PermissionDeniedError(
            f"{path} belongs to uid {found.st_uid}, not to {os.geteuid()}",
            remedy=f"run `chown {os.geteuid()} {path}` as root, if you trust what is in it",
        )
    if found.st_mode & 0o077:
        raise PermissionDeniedError(f"{path} is open to other users", remedy=f"run `chmod 700 {path}` as its owner")
    return True
