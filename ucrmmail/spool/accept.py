"""Accepting a message: it is on the disk before anybody is told yes.

    write tmp/ID -> fsync it -> rename into queue/BUCKET -> fsync BUCKET, fsync queue/ -> yes

The file is synced before the rename, so that a name in the queue never stands for half a message. The directories are
synced before the yes, so that a power cut does not take the name back. An error at any step is a "not accepted, try
again": a sync that failed is never repeated as if it could heal, since the kernel may have dropped the pages.

A submission that dies leaves a file in tmp/ that nobody was told yes for; a later flush removes it.
"""

from __future__ import annotations

import os
from errno import EDQUOT, EFBIG, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS

from ucrmmail.errors import CannotCreateError, NoRoomError, PermissionDeniedError, TemporaryError
from ucrmmail.files import fsync_directory, fsync_names, try_lock, write_all
from ucrmmail.spool.layout import QUEUE, TMP, bucket_of, check_root, make_spool, new_queue_id, path_in_queue
from ucrmmail.spool.queuefile import encode_head, parts_of
from ucrmmail.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ucrmmail.message.arrival import Stored

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# How often a flush may remove the empty bucket between our mkdir and our rename before something else must be wrong.
ATTEMPTS = 100
# A flush writes down what it sends: some files of its own, and one beside each message that has to wait.
MIN_FREE_FILES = 100
# Why a spool cannot be made today. Anything else, such as a parent that is a file, is a wrong setting for ever.
_OF_THE_DISK = (ENOSPC, EDQUOT, EIO, EROFS, EMFILE, ENFILE, ENOMEM)


def accept(
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
    min_free_files: int = MIN_FREE_FILES,
    queue_id: str = "",
) -> str:
    """Put a message into the queue below ``directory`` and return its queue id: it is durable then.

    ``queue_id`` is for a caller that must be able to repeat itself after a crash; without one a new one is made.
    Raises TemporaryError when it cannot be made durable (full, read-only or failing disk): nothing was accepted.
    Raises CannotCreateError when there is no spool and none can be made where it is to be, PermissionDeniedError when
    others could change it, NoUserError for a wrong address, DataError for what is too large.
    """
    if queue_id:
        # What one that died was writing under this id was not accepted.
        forget_file(f"{directory}/{TMP}/{queue_id}")
    queue_id = queue_id or new_queue_id(now, priority)
    head = encode_head(reverse_path, recipients, message, eight_bit=eight_bit, utf8=utf8)
    try:
        open_spool(directory)
        check_free_space(directory, room_for(message), min_free_bytes, min_free_files)
        fd = write_arriving(directory, queue_id, head, message)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        enter_queue(directory, (queue_id,))
    except BaseException as error:
        forget(directory, (queue_id,))
        if isinstance(error, OSError):
            raise refused(directory, error) from error
        raise
    return queue_id


def open_spool(directory: str) -> None:
    """Make sure that there is a spool that can be trusted, making it when there is none.

    Raises PermissionDeniedError, CannotCreateError, TemporaryError, OSError.
    """
    try:
        _check_whose(directory)
        if os.path.isdir(f"{directory}/{TMP}"):
            return
    except OSError as error:
        if error.errno in _OF_THE_DISK:
            raise
        # It is not there; or cannot be, which making it will tell.
    try:
        make_spool(directory)
    except CannotCreateError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _OF_THE_DISK:
            raise
        raise TemporaryError(error.what, why="the message was not accepted", remedy=error.remedy) from error


def _check_whose(directory: str) -> None:
    """Do as ``check_root``; whoever submits to another user's queue has one way more."""
    try:
        check_root(directory)
    except PermissionDeniedError as error:
        if os.lstat(directory).st_uid != os.geteuid():
            error.remedy = (
                f"let its owner open {directory}/drop to you, see ucrmmail-queue(5), and submit with "
                f"`ucrmmail-sendmail`; else {error.remedy}"
            )
        raise


def check_free_space(
    directory: str, size_bytes: int, min_free_bytes: int, min_free_files: int = MIN_FREE_FILES
) -> None:
    """Leave room on the disk for what a flush writes down, and for everything else that lives there.

    Raises NoRoomError, OSError.
    """
    found = os.statvfs(directory)
    free_bytes = _free_bytes(found)
    if free_bytes - size_bytes < min_free_bytes:
        raise NoRoomError(
            f"{directory}: only {format_size(free_bytes)} free",
            why=f"the message was not accepted: spool.min_free_space keeps {format_size(min_free_bytes)}",
            remedy="make room on the disk, then submit the message again",
        )
    files = free_files(found)
    if files is not None and files < min_free_files:
        raise NoRoomError(
            f"{directory}: room for only {files} files",
            why=f"the message was not accepted: room for {min_free_files} is kept for what a flush writes down",
            remedy="remove files from the disk (see `df -i`), then submit the message again",
        )


def free_files(found: os.statvfs_result) -> int | None:
    """Return how many more files a disk has room for; None where it makes that as it needs it.

    Btrfs counts no files at all then, CephFS those there are, and -1 that could be made.
    """
    return found.f_favail if found.f_files and found.f_favail >= 0 else None


def room_on(directory: str, min_free_bytes: int) -> int:
    """Return how many bytes of messages the disk has room for, by what ``check_free_space`` allows. Raises OSError."""
    return _free_bytes(os.statvfs(directory)) - min_free_bytes


def _free_bytes(found: os.statvfs_result) -> int:
    return found.f_bavail * found.f_frsize


def room_for(message: bytes | Stored) -> int:
    """Return how many bytes a message will take: a stored one has them already, and gives them back."""
    return len(message) if isinstance(message, bytes) else 0


def write_arriving(directory: str, queue_id: str, head: bytes, message: bytes | Stored) -> int:
    """Write a message into tmp/ and return the open descriptor, which the caller syncs and closes.

    While it is open it is locked: this tells a flush that it is not a leftover. Raises OSError, TemporaryError from the
    file of a stored message.
    """
    fd = os.open(f"{directory}/{TMP}/{queue_id}", _NEW, 0o600)
    try:
        try_lock(fd)
        write_all(fd, head)
        for part in parts_of(message):
            write_all(fd, part)
    except BaseException:
        os.close(fd)
        raise
    return fd


def enter_queue(directory: str, queue_ids: Iterable[str]) -> None:
    """Move messages, each synced, from tmp/ into the queue and make their names durable. Raises OSError."""
    buckets: dict[str, int] = {}
    try:
        for queue_id in queue_ids:
            _enter_bucket(directory, queue_id, buckets)
        for fd in buckets.values():
            fsync_names(fd)
        # A bucket that another process made may not be durable yet either; when it is, this costs nothing.
        fsync_directory(f"{directory}/{QUEUE}")
    finally:
        for fd in buckets.values():
            os.close(fd)


def _enter_bucket(directory: str, queue_id: str, buckets: dict[str, int]) -> None:
    """Rename a file into its bucket, by a descriptor: its fsync counts even if a flush has emptied and removed it."""
    source = f"{directory}/{TMP}/{queue_id}"
    bucket = bucket_of(queue_id)
    path = f"{directory}/{QUEUE}/{bucket}"
    attempts = 0
    while True:
        try:
            if bucket not in buckets:
                buckets[bucket] = os.open(path, _DIRECTORY)
            os.rename(source, queue_id, dst_dir_fd=buckets[bucket])
        except FileNotFoundError:
            # No bucket yet, or a flush found it empty and removed it just now.
            attempts += 1
            if attempts == ATTEMPTS or not os.path.lexists(source):
                raise
            if bucket in buckets:
                os.close(buckets.pop(bucket))
            make_bucket(path)
        else:
            return


def make_bucket(path: str) -> None:
    """Make a directory in queue/ or deferred/, unless somebody was quicker. Raises OSError."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


def forget(directory: str, queue_ids: Iterable[str]) -> None:
    """Take back messages that nobody was told yes for."""
    for queue_id in queue_ids:
        forget_file(f"{directory}/{TMP}/{queue_id}")
        forget_file(path_in_queue(directory, queue_id))


def forget_file(path: str) -> None:
    """Remove a file if it is there."""
    try:
        os.unlink(path)
    except OSError:
        # Not there; or the disk is so broken that a later flush has to find it.
        pass


def refused(directory: str, error: OSError) -> TemporaryError:
    """Return the "not accepted, try again" for an error of the disk."""
    remedy = "mend this, then submit the message again"
    if error.errno == EFBIG:
        remedy = "raise the limit of the process for the size of a file, `ulimit -f`, then submit the message again"
    kind = NoRoomError if error.errno in (ENOSPC, EDQUOT) else TemporaryError
    return kind(
        f"{error.filename or directory}: {error.strerror or error}", why="the message was not accepted", remedy=remedy
    )
