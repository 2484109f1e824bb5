r"""Delivery status notifications: a sender is told of mail that failed or is late (RFC 3464, RFC 6522, RFC 6533).

    multipart/report
      text/plain                 for the person, in words of ``explain.for_writer``
      message/delivery-status    for programs: one block for the message, one for each recipient
      message/rfc822             the message itself when it is small and plain ASCII, and nobody had read it when he
                                 refused it, or found it too large; else its header

All of it is 7-bit, so that it goes where the message could not: a message that failed because a server lacks 8BITMIME
or SMTPUTF8 must not take its report with it. Nor must one that is too large (RFC 3461 section 4.3), or that a filter
took for spam or a virus: the report passes the same one. Addresses outside ASCII are written as RFC 6533 section 3 does
for 7-bit (``utf-8; j\x{F6}rg@example.com``). Only when the one who is told has such an address, the types for UTF-8
are used.

The caller sends it under the null reverse-path, so that a DSN never causes another.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from ucrmmail.message.address import needs_smtputf8
from ucrmmail.message.dsntext import MAY_BE_DELIVERED, report_text
from ucrmmail.message.explain import is_too_large
from ucrmmail.message.header import CRLF, by_name, format_date, holds_utf8, joined, split, unsendable, value_of
from ucrmmail.message.outcome import Stage
from ucrmmail.message.plain import (
    LONGEST_HOSTNAME,
    REPORT_FIELD,
    folded_field,
    header,
    plain_part,
    quoted_printable,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.message.dsntext import FailedRecipient
    from ucrmmail.message.header import Fields

_RETURNED_WHOLE_BYTES = 50_000
_RETURNED_HEADER_BYTES = 50_000
_LONGEST_DIAGNOSTIC = 900
_LONGEST_MESSAGE_ID = 250
_LONGEST_WORD = 80


def build_dsn(
    *,
    to: str,
    queue_id: str,
    reverse_path: str,
    accepted_at: float,
    failed: Sequence[FailedRecipient],
    original: bytes,
    hostname: str,
    now: float,
    retry_until: float = 0.0,
) -> bytes:
    """Return a report, with CRLF line ends, about recipients that failed; with ``retry_until`` that are only late.

    ``to`` is told: the ``reverse_path``, or somebody else when it is null. ``original`` is the message as it was
    queued. Times are in seconds since the epoch.
    """
    international = needs_smtputf8(to)
    domain = (reverse_path or to).rpartition("@")[2]
    hostname = visible(hostname, LONGEST_HOSTNAME)
    header_fields, body = split(original)
    fields = by_name(header_fields)
    original_id = visible(value_of(fields["message-id"][0])) if "message-id" in fields else ""
    text = report_text(
        to=to,
        queue_id=queue_id,
        reverse_path=reverse_path,
        accepted_at=accepted_at,
        failed=failed,
        original=fields,
        hostname=hostname,
        retry_until=retry_until,
    )
    action = "delayed" if retry_until else "failed"
    parts = [
        plain_part(text),
        _status_part(
            failed,
            queue_id=queue_id,
            accepted_at=accepted_at,
            hostname=hostname,
            action=action,
            retry_until=retry_until,
            international=international,
        ),
        _original_part(header_fields, body, whole=not any(_is_due_to_its_content(one) for one in failed)),
    ]
    boundary = f"=_{queue_id}"
    while any(boundary.encode() in part for part in parts):
        boundary += "="
    more = [
        ("Auto-Submitted", "auto-replied"),
        (REPORT_FIELD, queue_id),
        ("Content-Type", f'multipart/report; report-type=delivery-status; boundary="{boundary}"'),
    ]
    # A foreign id is repeated only when it cannot make this header 8-bit, or too long for a line.
    if original_id.isascii() and 0 < len(original_id) <= _LONGEST_MESSAGE_ID:
        more.insert(0, ("References", original_id))
    if international:
        more.append(("Content-Transfer-Encoding", "8bit"))
    delimiter = f"--{boundary}\r\n".encode()
    return (
        header(
            from_=f"Mail Delivery System <MAILER-DAEMON@{domain}>",
            to=(to,),
            subject=_subject(failed, action),
            now=now,
            message_id=f"<{queue_id}.{action}.{_mark_of(failed)}@{domain}>",
            more=more,
        )
        + b"".join((CRLF + delimiter + part) for part in parts)
        + f"\r\n--{boundary}--\r\n".encode()
    )


def _mark_of(failed: Sequence[FailedRecipient]) -> str:
    """Return what is the same for one report and no other of a message: who failed, and when.

    A run that dies before it has noted that a report is queued makes another: its reader can drop one of the two.
    """
    return sha256(repr([(one.recipient, one.at) for one in failed]).encode()).hexdigest()[:16]


def _is_due_to_its_content(one: FailedRecipient) -> bool:
    """Return whether the report could fail for the same reason, if it had the whole message in it."""
    return one.stage == Stage.FINAL_DOT or is_too_large(one.enhanced, one.reply)


def _subject(failed: Sequence[FailedRecipient], action: str) -> str:
    others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    what = "Perhaps not delivered" if any(one.uncertain for one in failed) else "Not delivered"
    return f"{'Late' if action == 'delayed' else what}: your message to {failed[0].recipient}{others}"


def _status_part(
    failed: Sequence[FailedRecipient],
    *,
    queue_id: str,
    accepted_at: float,
    hostname: str,
    action: str,
    retry_until: float,
    international: bool,
) -> bytes:
    """Return the part for programs (RFC 3464 section 2)."""
    blocks = [
        [
            ("Reporting-MTA", f"dns; {_ascii(hostname, LONGEST_HOSTNAME)}"),
            ("X-Ucrmmail-Queue-ID", _ascii(queue_id, _LONGEST_WORD)),
            ("Arrival-Date", format_date(accepted_at)),
        ]
    ]
    for one in failed:
        block = [
            ("Final-Recipient", _typed(one.recipient, international=international)),
            ("Action", action),
            ("Status", _status(one, action)),
            ("Diagnostic-Code", _diagnostic(f"{one.reply}; {MAY_BE_DELIVERED}" if one.uncertain else one.reply)),
        ]
        if one.stage:
            block.append(("X-Ucrmmail-Stage", _ascii(one.stage, _LONGEST_WORD)))
        if retry_until:
            block.append(("Will-Retry-Until", format_date(retry_until)))
        blocks.append(block)
    kind = b"message/global-delivery-status" if international else b"message/delivery-status"
    encoding = b"Content-Transfer-Encoding: 8bit\r\n" if international else b""
    return (
        b"Content-Type: "
        + kind
        + CRLF
        + encoding
        + b"".join(CRLF + b"".join(folded_field(name, value) for name, value in block) for block in blocks)
    )


def _typed(mailbox: str, *, international: bool) -> str:
    """Return an address with its type (RFC 3464 section 2.3.2, RFC 6533 section 3)."""
    if not needs_smtputf8(mailbox):
        return f"rfc822; {mailbox}"
    if international:
        return f"utf-8; {mailbox}"
    return "utf-8; " + "".join(
        character if "!" <= character <= "~" and character not in "+=\\" else f"\\x{{{ord(character):X}}}"
        for character in mailbox
    )


def _status(one: FailedRecipient, action: str) -> str:
    """Return a status code of RFC 3463: the server's, else the one that says no more than the action does."""
    numbers = one.enhanced.split(".")
    if (
        len(numbers) == 3
        and all(number.isascii() and number.isdigit() and len(number) <= 3 for number in numbers)
        and numbers[0] in "45"
    ):
        return one.enhanced
    return "4.0.0" if action == "delayed" else "5.0.0"


def _diagnostic(reply: str) -> str:
    """Return a reply with its type: "smtp" is only for what a server said (RFC 3464 section 2.3.6)."""
    said_by_server = reply[:3].isascii() and reply[:3].isdigit() and reply[3:4] in (" ", "-", "")
    text = _ascii(reply, _LONGEST_DIAGNOSTIC).strip() or "no reply"
    return f"{'smtp' if said_by_server else 'x-ucrmmail'}; {text}"


def _ascii(text: str, longest: int) -> str:
    return visible(text, longest).encode("ascii", "backslashreplace").decode("ascii")[:longest]


def _original_part(fields: Fields, body: bytes, *, whole: bool) -> bytes:
    """Return the message that this is about, if it may go ``whole``, or its header, in a form that is 7-bit."""
    original = joined(fields) + CRLF + body
    if whole and original.isascii() and len(original) <= _RETURNED_WHOLE_BYTES and not unsendable(original):
        return b"Content-Type: message/rfc822\r\n\r\n" + original
    kept = b""
    for _name, field in fields:
        if len(kept) + len(field) > _RETURNED_HEADER_BYTES:
            break
        kept += field
    if kept.isascii() and not unsendable(kept):
        return b"Content-Type: text/rfc822-headers\r\n\r\n" + kept
    kind = b"message/global-headers" if holds_utf8(kept) else b"text/rfc822-headers"
    return (
        b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + quoted_printable(kept)
    )
