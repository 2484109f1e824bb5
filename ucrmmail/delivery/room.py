"""Room on the disk for the record of what becomes of a message, made sure of before it leaves.

A disk that is full must be noticed then, not when the outcome is to be recorded.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ucrmmail.journal import FULL
from ucrmmail.spool.state import longest_encoding
from ucrmmail.units import format_size

if TYPE_CHECKING:
    from ucrmmail.spool.claimed import Claimed
    from ucrmmail.spool.queue import Spool

# A full disk, or a limit of the process.
_NO_ROOM = FULL | {errno.EFBIG}
# Where the record of a message to a few recipients finds no room, no other will. A mailing to thousands may need more
# than there is, and all that is behind it does not; so many in a row are passed over.
_SMALL_RECORD_BYTES = 1 << 16
_MOST_WITHOUT_ROOM = 100


class Room:
    """Finds room for the records of a run; ``complaints`` are the mailings that must wait for some."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._refused_in_a_row = 0
        self.complaints: list[str] = []

    def is_there_for(self, claimed: Claimed) -> bool:
        """Make room for the record of this message; False for a large mailing that must wait for another run.

        Raises OSError where no message would find any.
        """
        try:
            self._spool.ensure_room(claimed)
        except OSError as error:
            self._refused_in_a_row += 1
            needed = longest_encoding(claimed.recipients)
            is_one_of_few = needed > _SMALL_RECORD_BYTES and self._refused_in_a_row <= _MOST_WITHOUT_ROOM
            if error.errno not in _NO_ROOM or not is_one_of_few:
                raise
            so = "waits for room on the disk" if error.errno in FULL else "waits for a process that may write more"
            how = "" if error.errno in FULL else ", see `ulimit -f`"
            self.complaints.append(
                f"{claimed.queue_id} {so}: to record what becomes of its "
                f"{len(claimed.recipients)} recipients may take {format_size(needed)}{how}"
            )
            return False
        self._refused_in_a_row = 0
        return True
