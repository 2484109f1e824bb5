"""What is found in the queue and does not belong there: a message goes to its bucket, anything else to corrupt/.

Nothing of it is opened or followed, none of it stops the messages around it, and a person is told once.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ucrmmail.spool.layout import QUEUE, is_queue_id
from ucrmmail.spool.unread import is_of_all

if TYPE_CHECKING:
    from ucrmmail.spool.moves import Moves


class Aside:
    """Sets things aside: ``corrupt`` are (name, reason) of what was, ``problems`` sentences about what could not."""

    def __init__(self, moves: Moves) -> None:
        self._moves = moves
        self.corrupt: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self._told: set[str] = set()

    def tell(self, problem: str) -> None:
        """Remember a sentence for a person, once."""
        # There may be one of each message in a long queue.
        if problem not in self._told:
            self._told.add(problem)
            self.problems.append(problem)

    def pass_over(self, path: str, error: OSError) -> None:
        """Remember what was refused at one place, which keeps nobody from the others. Raises what is refused at all."""
        if is_of_all(error):
            raise error
        self.tell(f"{path}: {error.strerror}; give it back its owner and mode, or mend the disk")

    def put_in_order(self, parent: str, name: str) -> None:
        """Move a message to its bucket, whoever put it elsewhere in queue/; set anything else aside. Raises OSError."""
        path = f"{parent}/{name}"
        in_queue = parent.startswith(f"{self._moves.directory}/{QUEUE}")
        try:
            if in_queue and is_queue_id(name) and stat.S_ISREG(os.lstat(path).st_mode):
                self._moves.to_queue(path, name)
                return
        except FileNotFoundError:
            return
        except OSError as error:
            self.pass_over(path, error)
            return
        self.set_aside(path, name, "it does not belong there")

    def set_aside(self, path: str, name: str, reason: str) -> None:
        """Move to corrupt/ whatever it is, with the reason beside it."""
        try:
            kept = self._moves.to_corrupt(path, name, reason)
        except FileNotFoundError:
            return
        except OSError as error:
            self.tell(f"{path}: {reason}, and cannot be moved away: {error.strerror}")
            return
        self.corrupt.append((kept, reason))
