"""A message with 8-bit text for a server that does not offer 8BITMIME: encoded, as RFC 6152 section 3 asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.dataclass import replace
from ucrmmail.errors import DataError
from ucrmmail.message.lineends import canonical

if TYPE_CHECKING:
    from ucrmmail.smtp.transaction import Transaction

# It is held in memory, which a larger one is not worth: such servers are few, and it may go when 8BITMIME is back.
_LARGEST_BYTES = 10_000_000


def in_seven_bit(transaction: Transaction, most_bytes: int) -> Transaction:
    """Return the same message in 7-bit text; as it is when that cannot be, or it cannot be read.

    Nor when the server would find it too large: ``most_bytes``, 0 for no limit, is for what was accepted from its
    sender, who has not made it larger.
    """
    if transaction.size_bytes > _LARGEST_BYTES:
        return transaction
    from ucrmmail.message.reencode import seven_bit  # noqa: PLC0415 # the email package, which most runs do without

    try:
        content = seven_bit(b"".join(canonical(transaction.chunks())))
    except (DataError, OSError):
        return transaction
    if 0 < most_bytes < len(content):
        return transaction
    return replace(transaction, size_bytes=len(content), eight_bit=False, chunks=lambda: iter((content,)))
