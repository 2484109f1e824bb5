"""A notice to the system notification address: what ucrmmail has to tell a person on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.message.phrase import phrase
from ucrmmail.message.plain import LONGEST_HOSTNAME, REPORT_FIELD, header, plain_part, visible, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence


def build_notice(
    *, from_: str, to: str, subject: str, paragraphs: Sequence[str], now: float, hostname: str, unique: str
) -> bytes:
    """Return a plain text message with CRLF line ends.

    ``from_`` and ``to`` are mailboxes; the paragraphs may hold foreign text. ``unique`` makes the Message-ID. It goes
    out under the null reverse-path: nobody shall be told that telling somebody failed (RFC 3834).
    """
    text = "\n\n".join(wrapped(visible(paragraph)) for paragraph in paragraphs)
    host = visible(hostname, LONGEST_HOSTNAME)
    return header(
        from_=f"{phrase(f'ucrmmail on {host}')} <{from_}>",
        to=(to,),
        subject=visible(subject),
        now=now,
        message_id=f"<{unique}@{from_.rpartition('@')[2]}>",
        more=(("Auto-Submitted", "auto-generated"), (REPORT_FIELD, "notice")),
    ) + plain_part(f"{text}\n\n-- \nucrmmail on {host}")
