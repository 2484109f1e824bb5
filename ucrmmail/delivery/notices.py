"""Who is told of a failure, and how: a DSN to the reverse-path, else to the system notification address.

A message that fails for good must reach a person. Its reverse-path is told with a delivery status notification
(RFC 3464) under the null reverse-path, so that a DSN never causes another to its sender. When the message had the null
reverse-path itself (it was a DSN, or a notice), the system notification address is told instead. Without one, or when
the report was to it, the run prints a line, which cron mails.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.spool.layout import is_queue_id, new_queue_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from ucrmmail.spool.state import RecipientState

# Marks our own reports. One to the system notification address that fails in its turn is told by no other message.
REPORT_HEADER = b"X-Ucrmmail-Report:"
# More than a DSN gives back of the message; all of a message of 50 MB would cost three times its size in memory.
MOST_OF_ORIGINAL_BYTES = 1 << 17
_PRIORITY = "normal"
# In a report: which message it is about, and who has failed. One about a report holds that one, or its header.
_IS_ABOUT = re.compile(rb"^X-Ucrmmail-Report: (\S+)\r$", re.MULTILINE)
_HAS_FAILED = re.compile(rb"^Final-Recipient: [a-z0-9-]+; ([!-~]+)\r$", re.MULTILINE)


def told_by(original: bytes, is_here: Callable[[str], bool]) -> str:
    """Return what a report of ours was to tell, of one about a report what that was; "" for another message.

    Some providers refuse the null reverse-path, and so each report: then nobody reads of the failure but here.
    ``is_here`` tells whether a queue id is of a message that is still in the spool: others pass on their own reports.
    """
    about = [(found.end(), found[1].decode("ascii", "replace")) for found in _IS_ABOUT.finditer(original)][:2]
    for at, queue_id in reversed(about):
        if is_queue_id(queue_id) and is_here(queue_id):
            failed = [one.decode() for one in _HAS_FAILED.findall(original, at)]
            more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
            whose = f" to {failed[0]}{more}" if failed else ""
            return f"it was to report that {queue_id}{whose} failed: see `ucrmmail queue show {queue_id}`"
    return ""


@dataclass(frozen=True, slots=True)
class Reporter:
    """Turns failures into messages in the spool.

    ``accept(reverse_path, recipient, message, queue_id)`` puts a message into the spool durably, unless one of this id
    waits there already, and may raise UcrmmailError.
    What is ``original`` to ``report`` may be cut behind ``MOST_OF_ORIGINAL_BYTES``.
    ``notification`` is the system notification address, "" when unset; ``hostname`` is what we call ourselves.
    """

    accept: Callable[[str, str, bytes, str], str]
    notification: str
    hostname: str

    def report(
        self,
        *,
        queue_id: str,
        reverse_path: str,
        accepted_at: float,
        failed: tuple[RecipientState, ...],
        original: bytes,
        now: float,
    ) -> str:
        """Accept a DSN about the failed recipients and return the address that is told.

        Returns "" when nobody could be told by mail; the caller then has to tell a person by other means.
        """
        to = reverse_path
        if not to and not (REPORT_HEADER in original and any(self._reads(one.recipient) for one in failed)):
            to = self.notification
        if not to:
            return ""
        from ucrmmail.message.dsn import build_dsn  # noqa: PLC0415 # 5 ms that few runs need
        from ucrmmail.message.dsntext import FailedRecipient  # noqa: PLC0415 # as above

        message = build_dsn(
            to=to,
            queue_id=queue_id,
            reverse_path=reverse_path,
            accepted_at=accepted_at,
            failed=tuple(FailedRecipient(f.recipient, f.enhanced, f.reply, f.stage, f.uncertain, f.at) for f in failed),
            original=original,
            hostname=self.hostname,
            now=now,
        )
        self.accept("", to, message, _report_id(queue_id, failed))
        return to

    def _reads(self, recipient: str) -> bool:
        """Return whether this is the system notification address."""
        return recipient.lower() == self.notification.lower()


def _report_id(queue_id: str, failed: tuple[RecipientState, ...]) -> str:
    """Return the id of the report about these: a run that could not note that it is queued makes it once more."""
    from hashlib import sha256  # noqa: PLC0415 # few runs need it

    unique = sha256(repr([queue_id, *((one.recipient, one.at) for one in failed)]).encode()).digest()
    return new_queue_id(max(one.at for one in failed), _PRIORITY, of=unique)
