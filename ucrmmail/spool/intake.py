"""The drop directory: programs put NAME.eml into drop/, and a flush takes what is complete.

    drop/NAME.eml -> tmp/ID.eml -> accepted as ID -> tmp/ID.eml removed      a message, or what ``handover`` has made
                  -> rejected/NAME.eml, the reason beside it

Others may write to drop/, so nothing in it is trusted: names are only names in one directory, no link is followed, no
FIFO or device is opened, and a file that cannot be moved away is not accepted (or it would be sent again and again).
Once it is in tmp/ the file is ours alone, and has its queue id: after a crash it is taken up again, and is not accepted
twice. All of it is durable before the first message leaves.

Files whose names begin with a dot, or do not end in .eml, are not looked at.
"""

from __future__ import annotations

import heapq
import os
import stat
from contextlib import nullcontext, suppress
from errno import EFBIG, EXDEV
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass, field
from ucrmmail.errors import DataError, NoUserError, UcrmmailError
from ucrmmail.files import (
    DistrustError,
    Naming,
    TooLargeError,
    fsync_directory,
    open_untrusted,
    read_pieces,
)
from ucrmmail.journal import FULL
from ucrmmail.spool.accept import forget, room_on
from ucrmmail.spool.batch import Batch
from ucrmmail.spool.layout import DROP, NEXT_ID_S, PRIORITIES, REJECTED, TMP, is_queue_id, new_queue_id
from ucrmmail.spool.moves import Moves, find_all
from ucrmmail.spool.queuefile import LARGEST_ENVELOPE_BYTES, DamagedError, is_queue_file, read_checked
from ucrmmail.spool.quiet import QUIET_WITHOUT_LEASE_S, quiet_in
from ucrmmail.spool.scratch import Scratch
from ucrmmail.spool.sweeps import TAKEN_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from ucrmmail.message.prepare import Prepared

_BATCH = 64
# A file for which the disk has no room stops no smaller ones, unless it has none for one of this size.
_SMALL_BYTES = 1 << 16
_TOO_LARGE_HERE = "it is larger than this process may write, see `ulimit -f`; smaller ones are taken"
_NO_ROOM = "it waits for room on the disk, smaller ones do not"
# When its inode was changed, and when its content was (ns), name, mode, and number of links: in the order to take. The
# first no user can set, as they can the second: whoever did that would be first for ever.
_Candidate = tuple[int, int, str, int, int]


@dataclass(slots=True)
class Intake:
    """What was taken from the drop directory.

    ``accepted`` are (name, queue id), ``rejected`` (name, reason). ``quiet_at`` is when the first file that is not
    complete yet may be (seconds since the epoch), 0.0 when there is none. ``problems`` are sentences for a person: what
    could not be taken and stays where it is. ``waits`` is set when that is all of it, since the disk takes no more.
    """

    accepted: list[tuple[str, str]] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    quiet_at: float = 0.0
    waits: bool = False


def take_drops(
    directory: str,
    *,
    prepare: Callable[..., Prepared],
    now: float,
    max_size_bytes: int,
    min_free_bytes: int,
    limit: int = 10_000,
    may_go_on: Callable[[], bool] = lambda: True,
    telling: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> Intake:
    """Accept the complete files of the drop directory, at the most ``limit``, in the order of their last changes.

    Once ``may_go_on()`` says no, the others stay where they are; it is asked when all names have been looked at. The
    caller holds the flush lock. ``prepare`` is called with a message, and for one that was handed over with its
    reverse-path and recipients too; it raises DataError or NoUserError for what cannot be sent. ``telling(line)``
    is entered before a file is rejected. Raises OSError when the directories themselves cannot be read.
    """
    with Batch(directory, min_free_bytes=min_free_bytes) as batch:
        taker = _Taker(directory, prepare, max_size_bytes, min_free_bytes, batch, may_go_on=may_go_on, telling=telling)
        drop = os.open(f"{directory}/{DROP}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # First of all: whoever gives this a moment, by ``may_go_on``, means what comes behind it.
            taker.look(drop, limit)
            taker.take_up_again()
            taker.take_new(drop, now)
            taker.commit()
            taker.tell_what_stays()
            taker.make_durable()
        finally:
            with taker.naming:
                os.close(drop)
    return taker.result


def count_drops(directory: str) -> int:
    """Return how many files a run would look at: in drop/, and taken from there by one that died. Raises OSError."""
    try:
        dropped = [name for name in os.listdir(f"{directory}/{DROP}") if _is_candidate(name)]
        taken = [name for name in os.listdir(f"{directory}/{TMP}") if name.endswith(TAKEN_SUFFIX)]
    except FileNotFoundError:
        return 0
    return len(dropped) + len(taken)


class _Taker:
    """Takes files one by one; what goes wrong with one does not stop the others, a disk that is full for all does."""

    def __init__(
        self,
        directory: str,
        prepare: Callable[..., Prepared],
        max_size_bytes: int,
        min_free_bytes: int,
        batch: Batch,
        *,
        may_go_on: Callable[[], bool],
        telling: Callable[[str], AbstractContextManager[object]],
    ) -> None:
        self._directory = directory
        self._prepare = prepare
        self._max_size_bytes = max_size_bytes
        self._min_free_bytes = min_free_bytes
        self._batch = batch
        self._may_go_on = may_go_on
        self._moves = Moves(directory, telling=telling)
        self.naming = Naming(f"{directory}/{DROP}")
        self._candidates: list[_Candidate] = []
        self._open: list[tuple[str, str, str]] = []
        # Why files stay where they are: the first of them, and how many there are.
        self._staying: dict[str, tuple[str, int]] = {}
        self._stopped = False
        self.result = Intake()

    def look(self, drop: int, limit: int) -> None:
        """Find what has waited longest in the drop directory, of what can be taken.

        Of hundreds of thousands no more than ``limit`` are in memory at a time.
        """
        with self.naming, os.scandir(drop) as entries:
            self._candidates = heapq.nsmallest(limit, self._to_take(drop, entries))

    def _to_take(self, drop: int, entries: Iterable[os.DirEntry[str]]) -> Iterator[_Candidate]:
        """Yield what is known of each file; what has to stay is none, or others would never have their turn."""
        for entry in entries:
            if not _is_candidate(entry.name):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
                why = self._why_it_stays(drop, entry.name, found)
            except FileNotFoundError:
                continue
            except OSError as error:
                why = error.strerror or "it cannot be looked at"
            if why:
                self._stays(f"{self._directory}/{DROP}/{entry.name}", why)
            else:
                yield found.st_ctime_ns, found.st_mtime_ns, entry.name, found.st_mode, found.st_nlink

    def _why_it_stays(self, drop: int, name: str, found: os.stat_result) -> str:
        """Return why a file cannot be taken, nor moved away, "" when it can. Raises OSError."""
        if stat.S_ISDIR(found.st_mode):
            # A directory that is moved gets another parent, for which one has to be allowed to write to it.
            movable = os.access(name, os.W_OK, dir_fd=drop, effective_ids=True)
            return "" if movable else "it is a directory, and only its owner or root can move it away"
        return _NO_ROOM if stat.S_ISREG(found.st_mode) and self._waits_for_room(found.st_size) else ""

    def _waits_for_room(self, size_bytes: int) -> bool:
        """Return whether the disk has room for a small message, and none for one of this size. Raises OSError.

        What is larger than any message needs none: it is rejected.
        """
        if not _SMALL_BYTES < size_bytes <= self._max_size_bytes + LARGEST_ENVELOPE_BYTES:
            return False
        return _SMALL_BYTES <= room_on(self._directory, self._min_free_bytes) < size_bytes

    def take_up_again(self) -> None:
        """Accept what an earlier run took from the drop directory and did not accept before it died."""
        for taken in sorted(os.listdir(f"{self._directory}/{TMP}")):
            queue_id = taken.removesuffix(TAKEN_SUFFIX)
            if self._stopped or not self._may_go_on():
                return
            if taken != queue_id and is_queue_id(queue_id):
                self._accept_taken(taken, queue_id)

    def take_new(self, drop: int, now: float) -> None:
        """Take what was found and is complete."""
        at = now
        for changed_at_ns, _, name, mode, links in self._candidates:
            if self._stopped or not self._may_go_on():
                return
            reason = _distrusted(mode, links)
            if reason:
                if now - changed_at_ns / 1e9 < QUIET_WITHOUT_LEASE_S and stat.S_ISREG(mode):
                    self._look_again_at(now + QUIET_WITHOUT_LEASE_S)  # a program that links and then unlinks
                else:
                    self._reject(f"{self._directory}/{DROP}/{name}", name, reason)
                continue
            at += NEXT_ID_S
            self._take(drop, name, now, new_queue_id(at, "normal"))

    def _take(self, drop: int, name: str, now: float, queue_id: str) -> None:
        path = f"{self._directory}/{DROP}/{name}"
        try:
            fd = open_untrusted(name, dir_fd=drop)
        except FileNotFoundError:
            return
        except PermissionError:
            self._reject(path, name, "it may not be read by the user who runs the flush")
            return
        except DistrustError as error:
            self._reject(path, name, str(error))
            return
        except BlockingIOError:
            # A server has given it to a client to write to (Samba, NFS), and has been asked to take it back now.
            self._look_again_at(now + QUIET_WITHOUT_LEASE_S)
            return
        except OSError as error:
            self._stays(path, error.strerror or "")
            return
        try:
            try:
                # What was handed over came by a rename, complete; its checksum says so too.
                wait_s = 0.0 if is_queue_file(os.pread(fd, 64, 0)) else quiet_in(fd, now)
            finally:
                os.close(fd)
        except OSError as error:
            self._stays(path, error.strerror or "")
            return
        if wait_s > 0:
            self._look_again_at(now + wait_s)
            return
        taken = queue_id + TAKEN_SUFFIX
        try:
            os.rename(name, f"{self._directory}/{TMP}/{taken}", src_dir_fd=drop)
        except FileNotFoundError:
            return
        except OSError as error:
            self._stays(path, f"it cannot be taken: {_why_not_moved(error)}")
            return
        self._moves.left(f"{self._directory}/{DROP}")
        self._accept_taken(taken, queue_id, name)

    def _accept_taken(self, taken: str, queue_id: str, name: str = "") -> None:
        """Prepare and accept a file that is ours by now; without a ``name`` an earlier run has taken it."""
        path = f"{self._directory}/{TMP}/{taken}"
        try:
            size_bytes = os.lstat(path).st_size
            if self._waits_for_room(size_bytes):
                self._stays(path, _NO_ROOM)
                return
        except FileNotFoundError:
            return
        except OSError as error:
            self._stays(path, error.strerror or "")
            return
        try:
            with Scratch(self._directory, min_free_bytes=self._min_free_bytes) as scratch:
                self._accept_in(scratch, path, queue_id, name or taken, again=not name)
        except UcrmmailError as error:
            # A quota is what no look at the disk tells of.
            if size_bytes > _SMALL_BYTES and _is_full(error):
                self._stays(path, _NO_ROOM)
            elif _is_beyond_limit(error):
                self._stays(path, _TOO_LARGE_HERE)
            else:
                self._stop(error)

    def _accept_in(self, scratch: Scratch, path: str, queue_id: str, name: str, *, again: bool) -> None:
        """Do as ``_accept_taken``. Raises UcrmmailError when the disk is full, or fails."""
        try:
            prepared = self._prepared(path, scratch)
        except (DataError, NoUserError) as error:
            self._reject(path, name, error.what)
            return
        except UcrmmailError:
            raise
        except (DistrustError, DamagedError) as error:
            self._reject(path, name, str(error))
            return
        except FileNotFoundError:
            return  # a person has removed the message that was made of it
        except OSError as error:
            self._stays(path, error.strerror or "")
            return
        except (MemoryError, ImportError) as error:
            # It is not the message that is wrong; a module that is loaded late may be what cannot be read now.
            self._stays(path, str(error) or "out of memory")
            return
        except Exception as error:  # noqa: BLE001 # one message that we cannot handle must not stop all others for ever
            self._reject(path, name, f"internal error: {type(error).__name__}: {error}")
            return
        queue_id = f"{PRIORITIES.index(prepared.priority)}{queue_id[1:]}"
        # An id that was made a moment ago need not be looked for: that takes a look into each minute of deferred/.
        unknown: dict[str, OSError] = {}
        if not again or not find_all(self._directory, (queue_id,), unknown):
            if unknown:
                self._stays(path, f"whether it was accepted cannot be told: {unknown[queue_id].strerror}")
                return
            if again and not os.path.lexists(path):
                return
            try:
                self._add(prepared, queue_id)
            except (DataError, NoUserError) as error:
                self._reject(path, name, error.what)
                return
        self._open.append((path, name, queue_id))
        if len(self._open) >= _BATCH or self._batch.is_full:
            self.commit()

    def _prepared(self, path: str, scratch: Scratch) -> Prepared:
        """Return the message of a file; one that was handed over has its envelope, and is believed no more."""
        from ucrmmail.message.prepare import gather  # noqa: PLC0415 # most runs find nothing in drop/

        fd = open_untrusted(path)
        try:
            if not is_queue_file(os.pread(fd, 64, 0)):
                return self._prepare(gather(read_pieces(fd, self._max_size_bytes), lambda: scratch))
            largest = self._max_size_bytes + LARGEST_ENVELOPE_BYTES
            size_bytes = os.fstat(fd).st_size
            if size_bytes > largest:
                raise TooLargeError(largest)
            file, _ = read_checked(fd, size_bytes)
            os.lseek(fd, file.offset, os.SEEK_SET)
            message = gather(read_pieces(fd, largest), lambda: scratch)
            return self._prepare(message, file.reverse_path, file.recipients)
        finally:
            os.close(fd)

    def _add(self, prepared: Prepared, queue_id: str) -> None:
        # What a run that died was writing under this id was not accepted.
        forget(self._directory, (queue_id,))
        self._batch.add(
            queue_id,
            reverse_path=prepared.reverse_path,
            recipients=prepared.recipients,
            message=prepared.content,
            eight_bit=prepared.eight_bit,
            utf8=prepared.utf8,
        )

    def commit(self) -> None:
        """Accept the batch, then remove the files it was made of. Raises OSError when it is not known to be durable."""
        taken, self._open = self._open, []
        if taken:
            # They have left drop/ for good: a power cut must not bring one back beside the message that it became.
            for place in (DROP, TMP):
                fsync_directory(f"{self._directory}/{place}")
        try:
            self._batch.commit()
        except UcrmmailError as error:
            self._stop(error)
            return
        for path, name, queue_id in taken:
            with suppress(FileNotFoundError):  # a person was quick to remove the message, and this with it
                self._moves.remove(path)
            self.result.accepted.append((name, queue_id))

    def make_durable(self) -> None:
        """Bring to the disk what was rejected, and that what was accepted is no more to be taken. Raises OSError."""
        self._moves.make_durable()

    def _stop(self, error: UcrmmailError) -> None:
        """Stop taking: the disk is full, or fails; what was taken stays in tmp/ for a later run."""
        self._stopped = self.result.waits = True
        self.result.problems.append("; ".join(filter(None, (f"the drop directory waits: {error.what}", error.why))))

    def _reject(self, path: str, name: str, reason: str) -> None:
        try:
            kept = self._moves.set_aside(path, REJECTED, name, reason)
        except FileNotFoundError:
            return
        except OSError as error:
            self._stays(path, f"{reason}, and cannot be moved away: {_why_not_moved(error)}")
            return
        self.result.rejected.append((kept, reason))

    def _stays(self, path: str, why: str) -> None:
        first, count = self._staying.get(why, (path, 0))
        self._staying[why] = first, count + 1

    def tell_what_stays(self) -> None:
        """Tell of what could not be taken: of thousands in one line, since any user may put them there."""
        for why, (path, count) in self._staying.items():
            more = f", and {count - 1} more like it" if count > 1 else ""
            self.result.problems.append(f"{path}: {why}{more}")

    def _look_again_at(self, at: float) -> None:
        self.result.quiet_at = min(self.result.quiet_at or at, at)


def _is_candidate(name: str) -> bool:
    return name.endswith(".eml") and not name.startswith(".")


def _distrusted(mode: int, links: int) -> str:
    """Return why a file of this mode, with so many links, cannot be taken, "" when it can."""
    if stat.S_ISLNK(mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(mode):
        return "it is not a regular file"
    return f"it has {links} hard links" if links > 1 else ""


def _why_not_moved(error: OSError) -> str:
    """Return why a file cannot leave the drop directory."""
    if error.errno == EXDEV:
        # A volume of a container that is mounted there, say; even where it is of the same disk.
        return "drop/ is a mount of its own, and no file can be moved out of one; mount the whole spool instead"
    return error.strerror or str(error)


def _is_full(error: UcrmmailError) -> bool:
    """Return whether the disk had no room when it was written to, or a quota was reached."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL


def _is_beyond_limit(error: UcrmmailError) -> bool:
    """Return whether a file was longer than this process may make one."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == EFBIG
