"""Handing a message over to the owner of a spool: how every user of a system submits to the one that sends for all.

    write drop/.ID.RANDOM -> fsync it -> rename to drop/ID.RANDOM.eml -> fsync it -> yes

The file is a queue file, so that the envelope comes with the message; the owner's flush prepares it anew, and believes
nothing of it. The directory may be one that others can write to and not list (mode 1733): the random part of the name
is what keeps a message from other users, whose owner cannot give it to the owner of the spool alone. The directory
itself cannot be opened then, so that the file is synced behind its rename: the file systems in use bring the name to
the disk with it.
"""

from __future__ import annotations

import os
import stat

from ucrmmail.files import write_all
from ucrmmail.spool.accept import check_free_space, forget_file, refused, room_for
from ucrmmail.spool.layout import DROP, new_queue_id
from ucrmmail.spool.queuefile import encode_head, parts_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.message.arrival import Stored

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def takes_from_others(directory: str) -> bool:
    """Return whether the spool belongs to another user, who has opened the drop directory to us."""
    drop = f"{directory.rstrip('/')}/{DROP}"
    try:
        owner, found = os.lstat(directory.rstrip("/") or "/").st_uid, os.lstat(drop)
    except OSError:
        return False
    return (
        owner != os.geteuid()
        and owner == found.st_uid
        and stat.S_ISDIR(found.st_mode)
        and os.access(drop, os.W_OK | os.X_OK, effective_ids=True)
    )


def hand_over(
    directory: str,
    *,
    reverse_path: str,
    recipients: Sequence[str],
    message: bytes | Stored,
    priority: str,
    eight_bit: bool,
    utf8: bool,
    now: float,
    min_free_bytes: int,
) -> str:
    """Put a message into the drop directory: it is durable when this returns. It gets its queue id there, so here "".

    Raises TemporaryError when it cannot be made durable: nothing was handed over. Raises NoUserError for a wrong
    address, DataError for what is too large.
    """
    head = encode_head(reverse_path, recipients, message, eight_bit=eight_bit, utf8=utf8)
    name = f"{new_queue_id(now, priority)}.{os.urandom(16).hex()}"
    drop = f"{directory.rstrip('/')}/{DROP}"
    arriving = f"{drop}/.{name}"
    try:
        check_free_space(drop, room_for(message), min_free_bytes)
        fd = os.open(arriving, _NEW, 0o600)
        try:
            write_all(fd, head)
            for part in parts_of(message):
                write_all(fd, part)
            # The flush runs as another user, and must read it.
            os.fchmod(fd, 0o644)
            os.fsync(fd)
            os.rename(arriving, f"{drop}/{name}.eml")
            os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException as error:
        # Nobody else removes it: and it may be the scratch file that failed, whose errors are TemporaryErrors.
        for left in (arriving, f"{drop}/{name}.eml"):
            forget_file(left)
        if isinstance(error, OSError):
            raise refused(directory, error) from error
        raise
    return ""
