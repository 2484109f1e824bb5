"""An append-only file of small records: written before something happens, read back after a crash.

    crc32 SP payload LF        8 hex digits over the payload; a payload has no LF and no NUL

The file is extended with zeros ahead of use, so that a record needs no new block of a disk that filled up
meanwhile: ``ensure_room`` fails before the message leaves, not after.

A crash leaves a torn record at the end, which has no LF. One that has, or whole records behind it, was damaged since,
by a disk that loses what it had, or the power went before it was synced. Where each record adds to those before it,
reading stops there; where each speaks for itself, those behind the damage are read too (``past_damage``), and a person
is told.

A record is in the kernel when ``append`` returns (a killed process loses nothing) and on the disk when
``sync`` returns (a power cut loses nothing). A sync that failed is never repeated as if it could heal: the kernel
may have dropped the pages, so that from then on the journal confirms nothing.
"""

from __future__ import annotations

import errno
import os
import zlib

from ucrmmail.files import DistrustError, Naming, TooLargeError, fsync_directory, open_untrusted, replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CHUNK_BYTES = 1 << 18
_LIMIT_BYTES = 1 << 30
_PIECE_BYTES = 1 << 20
_ZEROS = bytes(_PIECE_BYTES)
# With EINVAL, posix_fallocate(3) and lseek(2) say it too.
_NOT_OFFERED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def read_journal(path: str) -> tuple[list[bytes], int]:
    """Return the payloads of the whole records in front of any damage, in order, and the offset behind the last one.

    A missing file is an empty journal. Raises DistrustError or OSError.
    """
    return _read(path, past_damage=False)[:2]


def read_past_damage(path: str) -> tuple[list[bytes], int]:
    """Return the payloads of all whole records, in order, and in how many places there is something else.

    What is torn at the end, without an LF, is none of those.

    A missing file is an empty journal. Raises DistrustError or OSError.
    """
    payloads, _, damaged = _read(path, past_damage=True)
    return payloads, damaged


def _read(path: str, *, past_damage: bool) -> tuple[list[bytes], int, int]:
    try:
        fd = open_untrusted(path, owner=os.geteuid())
    except FileNotFoundError:
        return [], 0, 0
    with Naming(path):
        try:
            data = _without_room(fd)
        finally:
            os.close(fd)
    return _whole_records(data, past_damage=past_damage)


def _without_room(fd: int) -> bytes:
    """Return what is in a journal, without the room ahead of use: of two mailings to 100,000 that is more than 1 GiB.

    Raises TooLargeError, OSError.
    """
    parts: list[bytes] = []
    size = behind = 0
    while part := os.read(fd, _PIECE_BYTES):
        size += len(part)
        if part == _ZEROS[: len(part)]:
            # What was never written is not read, which would take seconds: only a power cut leaves more behind it.
            try:
                size = os.lseek(fd, size, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                # Shares of SMB, say, may not tell where there is anything: then it is read.
                if error.errno not in _NOT_OFFERED:
                    raise
            continue
        if size > _LIMIT_BYTES:
            raise TooLargeError(_LIMIT_BYTES)
        parts += [bytes(size - len(part) - behind), part]
        behind = size
    return b"".join(parts)


def _whole_records(data: bytes, *, past_damage: bool) -> tuple[list[bytes], int, int]:
    """Return payloads, the offset behind the last one, and the number of damaged places."""
    payloads: list[bytes] = []
    offset = behind = damaged = 0
    while (end := data.find(b"\n", offset)) >= 0:
        payload = data[offset + 9 : end]
        if end >= offset + 9 and data[offset : offset + 9] == b"%08x " % zlib.crc32(payload):
            payloads.append(payload)
            damaged += offset > behind
            behind = end + 1
        elif not past_damage:
            break
        offset = end + 1
    return payloads, behind, damaged + (offset > behind)


def journal_of(payloads: Iterable[bytes]) -> bytes:
    """Return what a file holds in which these records stand."""
    return b"".join([_record(payload) for payload in payloads])


def _record(payload: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def _fill(fd: int, at: int, size_bytes: int) -> None:
    """Fill a file with zeros from a place on, with room on the disk for them. Raises OSError."""
    try:
        os.posix_fallocate(fd, at, size_bytes)
    except OSError as error:
        # NFS, FUSE and others may not have it; glibc does it by hand then, and musl does not.
        if error.errno not in _NOT_OFFERED:
            raise
        while size_bytes > 0:
            written = os.pwrite(fd, bytes(min(size_bytes, _CHUNK_BYTES)), at)
            at, size_bytes = at + written, size_bytes - written


def _refuse_in_vain(fd: int, size_bytes: int) -> None:
    """Ask a disk for no more than it has: ext4 takes all there is before it refuses, from all who write to it then.

    Raises OSError.
    """
    if size_bytes > _CHUNK_BYTES:
        found = os.fstatvfs(fd)
        # Some file systems do not say.
        if found.f_blocks and size_bytes > found.f_bfree * found.f_frsize:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def replace_making_room(path: str, content: bytes, make_room: Callable[[], None]) -> None:
    """Replace a file in one step; on a full disk once more, behind ``make_room`` as in `Journal`. Raises OSError."""
    try:
        replace_file(path, content)
    except OSError as error:
        if error.errno not in FULL:
            raise
        make_room()
        replace_file(path, content)


class Journal:
    """The writer's side; one process at a time, which holds a lock of its own elsewhere."""

    def __init__(self, path: str, *, make_room: Callable[[], None] = lambda: None, past_damage: bool = False) -> None:
        """Open, or make, the journal at ``path``; ``replayed`` holds what was in it.

        With ``past_damage`` that is all that is whole, and ``damaged`` in how many places there was something else.
        ``make_room()`` gives up room on a disk that is full. Raises DistrustError when the file is a link, hard-linked
        or somebody else's; OSError.
        """
        self._path = path
        self._make_room = make_room
        self._naming = Naming(path)
        self.replayed, self._offset, self.damaged = _read(path, past_damage=past_damage)
        self._fd = self._open()
        # What stands behind the last whole record is torn: a shorter record written over it must not
        # leave a tail that could be read as one.
        with self._naming:
            self._cut_off_what_is_torn()
        self._allocated = self._offset
        self._dirty = False
        self._failed = False

    def _cut_off_what_is_torn(self) -> None:
        if os.fstat(self._fd).st_size == self._offset:
            # Btrfs at the limit of a quota does not even do what changes nothing.
            return
        try:
            os.ftruncate(self._fd, self._offset)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._make_room()
            os.ftruncate(self._fd, self._offset)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(self._path, flags)
        except FileNotFoundError:
            fd = os.open(self._path, flags | os.O_CREAT, 0o600)
            # Records that are synced into a file without a durable name are lost with it.
            fsync_directory(os.path.dirname(self._path) or ".")
        with self._naming:
            found = os.fstat(fd)
        if found.st_nlink > 1 or found.st_uid != os.geteuid():
            os.close(fd)
            raise DistrustError(f"{self._path} has hard links or belongs to another user")
        return fd

    @property
    def offset(self) -> int:
        """Bytes of records in the file."""
        return self._offset

    def ensure_room(self, size_bytes: int) -> None:
        """Make sure that records of ``size_bytes`` fit on the disk; raises OSError (ENOSPC) if they do not.

        After a sync that failed it raises too: what is not done yet is better not done.
        """
        self._refuse_if_failed()
        self._ensure_room(size_bytes)

    def _ensure_room(self, size_bytes: int) -> None:
        if self._offset + size_bytes <= self._allocated:
            return
        least = self._offset + size_bytes - self._allocated
        try:
            self._allocate(max(_CHUNK_BYTES, least))
        except OSError as error:
            if error.errno in FULL:
                self._make_room()
            elif error.errno != errno.EFBIG:
                raise
            # The last blocks of a disk, or below a limit of the process, are for what is needed now.
            self._allocate(least)

    def _allocate(self, more: int) -> None:
        with self._naming:
            _refuse_in_vain(self._fd, more)
            try:
                _fill(self._fd, self._allocated, more)
            except OSError:
                # What it got before the disk was full.
                os.ftruncate(self._fd, self._allocated)
                raise
        self._allocated += more

    def append(self, payload: bytes) -> None:
        """Add a record; it survives the death of this process. Raises OSError.

        After a sync that failed it raises too, but the record is there: what it says has happened, and the next run
        reads it as long as the machine lives.
        """
        record = _record(payload)
        self._ensure_room(len(record))
        with self._naming:
            written = os.pwrite(self._fd, record, self._offset)
            while written < len(record):
                written += os.pwrite(self._fd, record[written:], self._offset + written)
        self._offset += len(record)
        self._dirty = True
        self._refuse_if_failed()

    def sync(self) -> None:
        """Bring all records to the disk. Raises OSError; then nothing since the last sync may be relied upon."""
        self._refuse_if_failed()
        if self._dirty:
            try:
                with self._naming:
                    os.fdatasync(self._fd)
            except OSError:
                self._failed = True
                raise
            self._dirty = False

    def _refuse_if_failed(self) -> None:
        if self._failed:
            raise OSError(errno.EIO, "an earlier sync failed, so its records may be lost", self._path)

    def clear(self) -> None:
        """Empty the journal, once all it says is durable elsewhere. Raises OSError."""
        with self._naming:
            os.ftruncate(self._fd, 0)
            self._offset = self._allocated = 0
            self._dirty = False
            os.fsync(self._fd)

    def keep_only(self, payloads: Iterable[bytes]) -> None:
        """Replace all records by these, in one step: a crash, or an OSError, leaves the old journal or the new one."""
        content = journal_of(payloads)
        if not content:
            self.clear()
            return
        try:
            replace_file(self._path, content)
            # Before the old one is closed: of a number that is free, the next file that is opened has it.
            fd = self._open()
        except OSError:
            # When only its directory could not be synced, or it cannot be opened, the name leads to the new file
            # already, and what we would write into the old one nobody would ever read.
            self._failed = self._failed or os.stat(self._path).st_ino != os.fstat(self._fd).st_ino
            raise
        old, self._fd = self._fd, fd
        self._offset = self._allocated = len(content)
        self._dirty = False
        with self._naming:
            os.close(old)

    def close(self) -> None:
        """Close the file; zeros ahead of use are given back."""
        with self._naming:
            os.ftruncate(self._fd, self._offset)
            os.close(self._fd)
