"""A message that cannot be read: it stays where it is, stops no other, and a person is told which it is and what to do.

Somebody has changed the mode or the owner of its file, or of the state beside it, or the disk fails there. So it is
with a directory of the queue, and all that is in it, and with a damaged file or a link that no flush comes across.
"""

from __future__ import annotations

import errno
import os
from typing import Self

from ucrmmail.dataclass import dataclass
from ucrmmail.spool.layout import DEFERRED, FAILED, HELD

# What keeps us from opening any file says nothing about this one.
_OF_ALL = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_FORBIDDEN = (errno.EACCES, errno.EPERM)


def is_of_all(error: OSError) -> bool:
    """Return whether an error at one file means that no other can be opened either."""
    return error.errno in _OF_ALL


def is_left_to_a_person(place: str) -> bool:
    """Return whether no flush sets aside what it cannot believe in this place, or not for hours: when it is due."""
    return place in (DEFERRED, HELD, FAILED)


def remedy_of_doubt(queue_id: str, path: str) -> str:
    """Return what a person does there with what cannot be believed."""
    if is_directory(path):
        return "move it away"
    return f"`ucrmmail queue remove {queue_id}` removes it"


def is_directory(path: str) -> bool:
    """Return whether a directory stands where a message should; a link to one is a link."""
    return os.path.isdir(path) and not os.path.islink(path)


@dataclass(frozen=True, slots=True)
class Unread:
    """One such message: ``path`` is the file that cannot be read, ``why`` what the system says.

    ``queue_id`` is "" for a directory: which messages are in it is not known.
    """

    queue_id: str
    path: str
    why: str
    remedy: str

    @classmethod
    def because_of(cls, error: OSError, queue_id: str, path: str) -> Self:
        """Return what an error at a message says of it, which is at ``path`` unless the error knows better."""
        mend = "give the file back its owner and mode 600" if error.errno in _FORBIDDEN else "mend the disk"
        return cls(
            queue_id,
            error.filename if isinstance(error.filename, str) else path,
            error.strerror or str(error),
            f"{mend}, or run `ucrmmail queue remove {queue_id}`",
        )

    @classmethod
    def doubted(cls, error: Exception, queue_id: str, path: str) -> Self:
        """Return what a person is told of a file that is damaged, or no file of ours, where no flush sets it aside."""
        # A damaged file is told of by what is wrong in it, any other by its path.
        return cls(queue_id, path, str(error).replace(f"{path} ", "it ", 1), remedy_of_doubt(queue_id, path))

    @classmethod
    def directory(cls, error: OSError, path: str) -> Self:
        """Return what an error at a directory of the queue says of it."""
        mend = "give it back its owner and mode 700" if error.errno in _FORBIDDEN else "mend the disk, or move it away"
        return cls("", path, error.strerror or str(error), mend)

    @property
    def trouble(self) -> str:
        """What a person is told, as a sentence that begins with the queue id."""
        return f"cannot be read: {self.path}: {self.why}; {self.remedy}"

    @property
    def line(self) -> str:
        """The whole sentence."""
        return f"{self.queue_id} {self.trouble}".lstrip()


class UnreadError(Exception):
    """A message that somebody wants changed is ``unread``."""

    def __init__(self, unread: Unread) -> None:
        super().__init__(unread.line)
        self.unread = unread
