"""After a crash: what nobody will ever need is removed, of submissions, removals and hand-overs that died."""

from __future__ import annotations

import os
import stat
from errno import ELOOP, ENOTDIR
from typing import TYPE_CHECKING

from ucrmmail.files import DistrustError, fsync_directory, is_replacement, open_untrusted, try_lock
from ucrmmail.spool.layout import (
    DROP,
    ID_LENGTH,
    PRIORITIES,
    QUEUE,
    SENT,
    STATE,
    TMP,
    epoch_of,
    is_hour,
    is_queue_id,
    path_in_queue,
)
from ucrmmail.spool.moves import find, find_all, remove_if_empty
from ucrmmail.spool.unread import is_of_all

if TYPE_CHECKING:
    from collections.abc import Collection, Container

    from ucrmmail.spool.aside import Aside

# A submission takes less between making its file and locking it, and between closing and renaming it.
_YOUNG_S = 60.0
# As qmail: whatever a clock that was set says, nobody writes to one file for so long.
_OLD_S = 36 * 3600.0
TAKEN_SUFFIX = ".eml"
# With a third one, which is nowhere here, a file is somebody else's.
_BOTH_NAMES = 2


def taken_as(queue_id: str) -> str:
    """Return the name in tmp/ of the file that a message from drop/ was made of: its priority was not known yet."""
    return f"{PRIORITIES.index('normal')}{queue_id[1:]}{TAKEN_SUFFIX}"


def sweep_taken(directory: str, recorded: Container[str]) -> None:
    """Remove what was taken from drop/ and is accepted: a run that died could not.

    Before anything leaves: of a message that is gone nobody knows any more, and it would be accepted again. Those
    ``recorded`` may have left. Raises OSError.
    """
    tmp = f"{directory}/{TMP}"
    made_of = {
        f"{priority}{name[1:ID_LENGTH]}": name
        for name in os.listdir(tmp)
        if name.endswith(TAKEN_SUFFIX) and is_queue_id(name.removesuffix(TAKEN_SUFFIX))
        for priority in range(len(PRIORITIES))
    }
    accepted = [queue_id for queue_id in made_of if queue_id in recorded]
    found = find_all(directory, made_of.keys() - accepted)
    _bring_names_to_the_disk(directory, {os.path.dirname(path) for _, path in found.values()})
    accepted += found
    for queue_id in accepted:
        try:
            os.unlink(f"{tmp}/{made_of[queue_id]}")
        except FileNotFoundError:
            continue  # a person has removed the message, and this with it
    if accepted:
        fsync_directory(tmp)


def _bring_names_to_the_disk(directory: str, parents: Collection[str]) -> None:
    """Make durable what a run that died may have moved a moment before: a power cut must leave it, or its origin."""
    for path in {*parents, f"{directory}/{QUEUE}"} if parents else ():
        try:
            fsync_directory(path)
        except FileNotFoundError:
            continue  # a person has moved the message, which is durable by then


def sweep_old_names(directory: str) -> None:
    """Remove the name that a rename has left: a power cut may leave a file both, that before and that behind (Btrfs).

    In tmp/ that of what stands in the queue, in drop/ that of what was taken from there. Before anything is opened:
    what has two names is trusted nowhere. Raises OSError when tmp/ cannot be read.
    """
    taken = set()
    for name in os.listdir(f"{directory}/{TMP}"):
        path = f"{directory}/{TMP}/{name}"
        try:
            found = os.lstat(path)
            if is_queue_id(name) and os.path.samestat(found, os.lstat(path_in_queue(directory, name))):
                os.unlink(path)
            elif name.endswith(TAKEN_SUFFIX) and found.st_nlink == _BOTH_NAMES:
                taken.add((found.st_dev, found.st_ino))
        except OSError as error:
            # It has one name, or it is told where that is opened.
            if is_of_all(error):
                raise
    if taken:
        _sweep_taken_names(f"{directory}/{DROP}", taken)


def _sweep_taken_names(drop: str, taken: Container[tuple[int, int]]) -> None:
    for name in os.listdir(drop):
        try:
            found = os.lstat(f"{drop}/{name}")
            if (found.st_dev, found.st_ino) in taken:
                os.unlink(f"{drop}/{name}")
        except OSError as error:
            if is_of_all(error):
                raise


def sweep_tmp(directory: str, now: float, aside: Aside) -> None:
    """Remove what submissions, and removals, that died have left in tmp/. Raises OSError when tmp/ cannot be read.

    A living one holds a lock on its file. Files that are being taken from the drop directory are left to the intake.
    """
    tmp = f"{directory}/{TMP}"
    with os.scandir(tmp) as entries:
        for entry in entries:
            if entry.name.endswith(TAKEN_SUFFIX):
                continue
            try:
                _remove_if_left(directory, entry, now)
            except FileNotFoundError:
                continue  # it was accepted, or taken back, at this moment
            except DistrustError:
                aside.put_in_order(tmp, entry.name)
            except OSError as error:
                aside.pass_over(entry.path, error)


def _remove_if_left(directory: str, entry: os.DirEntry[str], now: float) -> None:
    """Remove a file in tmp/, and its state, if it is old and nobody holds it. Raises DistrustError, OSError."""
    if _is_young(entry.stat(follow_symlinks=False), now):
        return
    fd = open_untrusted(entry.path, owner=os.geteuid())
    try:
        # A batch makes its files look new before it lets go of them, and moves them then.
        if try_lock(fd) and not _is_young(os.fstat(fd), now):
            _forget_state(directory, entry.name)
            os.unlink(entry.path)
    finally:
        os.close(fd)


def _forget_state(directory: str, name: str) -> None:
    """Remove the state of a message that was being removed. Raises OSError."""
    state = f"{directory}/{STATE}/{name}"
    if is_queue_id(name) and os.path.lexists(state) and find(directory, name) is None:
        os.unlink(state)


def _is_young(found: os.stat_result, now: float) -> bool:
    """Return whether somebody may be writing to a file, whatever a clock that was set says."""
    return -_OLD_S < now - found.st_mtime < _YOUNG_S


def sweep_replacements(directory: str, now: float, aside: Aside) -> None:
    """Remove what was left in the spool itself by those who died while they replaced a file there. Raises OSError.

    A living one takes less between making its file and renaming it. ``queue retry`` does so beside a flush.
    """
    with os.scandir(directory) as entries:
        for entry in entries:
            if not is_replacement(entry.name):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and not _is_young(found, now):
                    os.unlink(entry.path)
            except FileNotFoundError:
                continue
            except OSError as error:
                aside.pass_over(entry.path, error)


def sweep_drop(directory: str, now: float) -> None:
    """Remove what hand-overs that died have left in drop/, ``.ID.RANDOM``, when nobody can be writing to it any more.

    That drop/ cannot be read is told by who takes from it. Raises OSError when nothing at all can be opened.
    """
    drop = f"{directory}/{DROP}"
    try:
        names = os.listdir(drop)
    except OSError as error:
        if is_of_all(error):
            raise
        return
    for name in names:
        if not (name.startswith(".") and is_queue_id(name[1 : 1 + ID_LENGTH])):
            continue
        try:
            if abs(now - os.lstat(f"{drop}/{name}").st_mtime) > _OLD_S:
                os.unlink(f"{drop}/{name}")
        except OSError:
            # Gone; or no file, which others may have put there: it is in nobody's way.
            continue


def purge_sent(directory: str, before: float, aside: Aside) -> None:
    """Remove the relayed messages of all hours that were over at ``before``.

    What is no hour, or no message in one, is set aside.
    """
    sent = f"{directory}/{SENT}"
    try:
        hours = os.listdir(sent)
    except OSError as error:
        aside.pass_over(sent, error)
        return
    for hour in hours:
        if not is_hour(hour) or epoch_of(hour) + 3600 > before:
            continue
        try:
            _purge_hour(f"{sent}/{hour}", aside)
        except DistrustError:
            aside.put_in_order(sent, hour)
        except OSError as error:
            aside.pass_over(f"{sent}/{hour}", error)


def _purge_hour(path: str, aside: Aside) -> None:
    """Remove the messages of an hour, and then the hour.

    Raises DistrustError when it is no directory, OSError when it cannot be read.
    """
    # By a descriptor: a link in its place would have us remove what is elsewhere.
    fd = _open_directory(path)
    try:
        for name in os.listdir(fd):
            if not is_queue_id(name):
                aside.put_in_order(path, name)
                continue
            try:
                os.unlink(name, dir_fd=fd)
            except IsADirectoryError:
                aside.put_in_order(path, name)
            except OSError as error:
                aside.pass_over(f"{path}/{name}", error)
    finally:
        os.close(fd)
    remove_if_empty(path)


def _open_directory(path: str) -> int:
    """Return a descriptor of a directory. Raises DistrustError when it is anything else, OSError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (ENOTDIR, ELOOP):
            raise DistrustError(f"{path} is not a directory") from error
        raise
