"""Files that survive a crash, locks that leave nothing stale, and distrust of what others may have put there.

Used by every submission, so it imports only what the interpreter has loaded already, and fcntl.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class DistrustError(OSError):
    """A file is not what it should be: a link, a device, somebody else's, or open to others."""


class LinkedError(DistrustError):
    """A file has a second name, which may be in a place of somebody else."""

    remedy = "remove its other names, such as those of a backup by `cp -al`, then run the same command again"


class TooLargeError(DistrustError):
    """A file holds more than it may."""

    def __init__(self, limit_bytes: int) -> None:
        # With a number it takes the name of its file: see ``name_error``.
        super().__init__(errno.EFBIG, f"the file is larger than {limit_bytes} bytes")

    def __str__(self) -> str:
        return self.strerror or ""


class Naming:
    """``with Naming(path):`` gives the error of a call on a descriptor, which knows no path, that of its file."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        name_error(error, self._path)


def name_error(error: BaseException | None, path: str) -> None:
    """Give the error of a call on a descriptor the name of its file; what has one, or is another error, stays."""
    # What a call on a descriptor was given, a number, is no name either.
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error.filename, str):
        error.filename = path


def open_untrusted(name: str, *, dir_fd: int | None = None, owner: int | None = None, most_links: int = 1) -> int:
    """Return a descriptor for reading a regular file in a place that others may write to.

    No symbolic link is followed and no FIFO or device is waited for; a second hard link means that someone could
    have us send, or remove, a file of ours that they cannot read. ``owner`` asks for this uid.

    Raises DistrustError with the reason, or OSError.
    """
    return open_distrusted(name, dir_fd=dir_fd, owner=owner, most_links=most_links)[0]


def open_distrusted(
    name: str, *, dir_fd: int | None = None, owner: int | None = None, most_links: int = 1
) -> tuple[int, os.stat_result]:
    """Do as ``open_untrusted``; return what was found out about the file as well."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = _open_quietly(name, flags, dir_fd)
    except OSError as error:
        mode = _mode_of(name, dir_fd)
        if stat.S_ISLNK(mode):
            raise DistrustError(f"{name} is a symbolic link") from error
        if mode and not stat.S_ISREG(mode):
            # A socket cannot be opened at all, a device without a driver neither.
            raise DistrustError(f"{name} is not a regular file") from error
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise DistrustError(f"{name} is not a regular file")
        if found.st_nlink > most_links:
            raise LinkedError(f"{name} has {found.st_nlink} hard links")
        if owner is not None and found.st_uid != owner:
            raise DistrustError(f"{name} belongs to uid {found.st_uid}, not to {owner}")
    except BaseException as error:
        os.close(fd)
        name_error(error, name)
        raise
    return fd, found


def _open_quietly(name: str, flags: int, dir_fd: int | None) -> int:
    """Open without a trace in the file's access time, which would be one more block for the disk to write."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError:
        # Somebody else's: Linux lets only the owner read it unseen.
        return os.open(name, flags, dir_fd=dir_fd)


def _mode_of(name: str, dir_fd: int | None) -> int:
    try:
        return os.lstat(name, dir_fd=dir_fd).st_mode
    except OSError:
        return 0


def is_there(path: str) -> bool:
    """Return whether anything has this name; "no" is never for want of an answer. Raises OSError."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def read_all(fd: int, limit: int) -> bytes:
    """Return the whole file behind ``fd``; raises TooLargeError when it holds more than ``limit`` bytes."""
    if os.fstat(fd).st_size > limit:
        # Nothing of it need be read. Of a pipe the size is not known.
        raise TooLargeError(limit)
    return b"".join(read_pieces(fd, limit))


def read_pieces(fd: int, limit: int) -> Iterator[bytes]:
    """Yield the whole file behind ``fd``; raises TooLargeError when it holds more than ``limit`` bytes."""
    left = limit + 1
    while left > 0:
        part = os.read(fd, min(left, 1 << 20))
        if not part:
            return
        left -= len(part)
        yield part
    raise TooLargeError(limit)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything: a short write (a full disk, a signal) is continued or raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def fsync_directory(path: str, *, dir_fd: int | None = None) -> None:
    """Make the names in a directory durable: without it a power cut can take back a rename."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    with Naming(path):
        try:
            fsync_names(fd)
        finally:
            os.close(fd)


def fsync_names(fd: int) -> None:
    """Do the same with an open directory."""
    try:
        os.fsync(fd)
    except OSError as error:
        # Some file systems, such as shares of SMB or of a virtual machine, cannot be asked to.
        if error.errno != errno.EINVAL:
            raise


def replace_file(
    path: str, data: bytes, *, mode: int = 0o600, durable: bool = True, follows_link: bool = False
) -> None:
    """Replace a file in one step: a reader, or a crash, sees the old content or the new, never a part.

    A symbolic link is replaced as a file is, unless it ``follows_link``, so that a config kept elsewhere stays there.
    The mode and owner of a file that exists are kept; a new one gets ``mode``. Without ``durable`` a power cut may take
    it back.

    Raises OSError, for a device, FIFO, socket or directory of this name too.
    """
    target = os.path.realpath(path) if follows_link else path
    temporary = replacement_of(target)
    try:
        before: os.stat_result | None = os.lstat(target)
    except FileNotFoundError:
        before = None
    if before is not None and not stat.S_ISREG(before.st_mode):
        if not stat.S_ISLNK(before.st_mode):
            # Root could rename a file over /dev/null, and few programs would work from then on.
            raise OSError(errno.EINVAL, "is not a regular file", target)
        before = None
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with Naming(target):
            try:
                write_all(fd, data)
                if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    _keep_owner(fd, before)
                os.fchmod(fd, mode if before is None else stat.S_IMODE(before.st_mode))
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
        os.rename(temporary, target)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    if durable:
        fsync_directory(os.path.dirname(target))


def replacement_of(path: str) -> str:
    """Return a name beside a file that nobody else uses, for what will be that file."""
    return f"{path}.{os.getpid()}.{os.urandom(4).hex()}.tmp"


def is_replacement(name: str) -> bool:
    """Return whether a name is one of ``replacement_of``: who is killed there leaves it."""
    parts = name.rsplit(".", 3)
    return len(parts) == 4 and parts[1].isdigit() and len(parts[2]) == 8 and parts[3] == "tmp"


def replacements_left(path: str) -> list[str]:
    """Return what ``replace_file`` writes, or has left, beside this file, or the one that a link leads to.

    Nothing where the directory cannot be read.
    """
    directory, name = os.path.split(os.path.realpath(path))
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [f"{directory}/{each}" for each in names if is_replacement(each) and each.rsplit(".", 3)[0] == name]


def _keep_owner(fd: int, before: os.stat_result) -> None:
    """Give the new file the old one's owner, where the system lets us: only root can keep a foreign one."""
    try:
        os.fchown(fd, before.st_uid, before.st_gid)
    except PermissionError:
        pass


class Locked:
    """A kernel lock on ``path`` (made when missing), held for the length of a ``with`` block.

    The kernel drops it with the process, so that nothing is ever stale; the file itself is never removed, since
    a second process may hold the old one. ``with Locked(path, wait=False) as obtained`` tells at once whether the
    lock was free. ``fd`` is a descriptor of it that has the lock already, -1 when there is none.
    """

    def __init__(self, path: str, *, wait: bool = True, fd: int = -1) -> None:
        self._path = path
        self._wait = wait
        self._fd = fd

    def __enter__(self) -> bool:
        """Take the lock; returns whether it was obtained. Raises DistrustError for a symbolic link, OSError."""
        if self._fd >= 0:
            return True
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP and os.path.islink(self._path):
                raise DistrustError(f"{self._path} is a symbolic link") from error
            raise
        with Naming(self._path):
            return try_lock(self._fd, wait=self._wait)

    def __exit__(self, *_: object) -> None:
        with Naming(self._path):
            os.close(self._fd)


def try_lock(fd: int, *, wait: bool = False) -> bool:
    """Take the exclusive kernel lock on an open file; False when another process has it. Raises OSError."""
    how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
    try:
        try:
            fcntl.flock(fd, how)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            # NFS gives such a lock only to who may write to the file (flock(2)).
            _open_for_writing(fd, error)
            fcntl.flock(fd, how)
    except BlockingIOError:
        return False
    return True


def _open_for_writing(fd: int, refusal: OSError) -> None:
    """Let a descriptor of a file be one that may write to it, too. Raises OSError without a name, as calls on it do."""
    try:
        other = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, error.strerror) from refusal
    try:
        os.dup2(other, fd, inheritable=False)
    finally:
        os.close(other)
