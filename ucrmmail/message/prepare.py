"""From what an application hands over to what is queued: envelope found, Bcc off, Date, Message-ID, Sender, From.

The bytes that come out are what every attempt sends, so that the copies of an unavoidable duplicate are equal. Only
what has to change is changed, so that the application's DKIM signature holds:

- Line ends become CRLF: a lone CR or LF could end the DATA early at the next server (SMTP smuggling, VU#302671).
- Bcc and Resent-Bcc are removed, wherever the recipients come from.
- ``Sender:`` is the sender address, else the organization email. One that names this mailbox already stays as it is,
  another is replaced. With neither configured, a Sender that the application wrote stays: it is its own.
- Date and Message-ID are added when they are missing or empty; so is From (RFC 5322 section 3.6 demands it), which
  also replaces one that names only local users, as cron's ``From: root (Cron Daemon)`` does.
- A local name in To, Cc or Reply-To becomes the address that it leads to, and an empty one of these fields is left out,
  unless the message is signed: see ``localnames``.
- Lines over 998 bytes and NUL cannot be sent (RFC 5321 section 4.5.3.1.6, RFC 5322 section 2.1.1): ``reencode`` makes
  them sendable, and is loaded for such a message only.
- Another control character in the header is refused: nothing tells what was meant, and who reads it pays. So is a
  header that ends too early and leaves a Bcc in the body.

A message over 1 MiB stays in a file, and only its header is in memory: see ``arrival``, loaded for such a message only.

New fields go to the top. To may be missing (RFC 5322 asks for none), and a body outside ASCII without MIME fields stays
as it is: guessing its charset is not ours.

Loaded by every submission: plain classes, and nothing that costs start-up time.
"""

from __future__ import annotations

from ucrmmail.errors import DataError, MessageTooLargeError
from ucrmmail.message.address import is_bare, same_mailbox
from ucrmmail.message.envelope import Addresses, mailboxes_of, recipients_in, resolved, reverse_path_for
from ucrmmail.message.header import (
    CRLF,
    by_name,
    format_date,
    holds_utf8,
    joined,
    new_field,
    refuse_controls,
    refuse_cut_off,
    split_canonical,
    unsendable,
    value_of,
    with_crlf,
    without,
)
from ucrmmail.message.localnames import without_local_names
from ucrmmail.message.priority import priority_in
from ucrmmail.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ucrmmail.message.arrival import Arrived, Scratch, Stored
    from ucrmmail.message.header import Fields, FieldsByName

__all__ = ["Addresses", "Prepared", "gather", "prepare", "within"]

# Larger ones go into a file while they arrive: in memory there are some copies of a message at a time.
LARGEST_IN_MEMORY = 1 << 20

_BCC = ("bcc", "resent-bcc")
_HOSTNAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."


class Prepared:
    """A message that is ready for the queue, and its envelope.

    ``eight_bit``: some byte is outside ASCII, which asks for 8BITMIME. ``utf8``: the header holds UTF-8 outside ASCII,
    or an address does, which asks for SMTPUTF8. A header with other bytes (raw Latin-1) is 8-bit only: SMTPUTF8 could
    not carry it either. ``content`` is the message: bytes, or a file of a large one.
    """

    __slots__ = ("content", "eight_bit", "message_id", "priority", "recipients", "reverse_path", "utf8")

    def __init__(
        self,
        *,
        reverse_path: str,
        recipients: tuple[str, ...],
        message: bytes | Stored,
        priority: str,
        eight_bit: bool,
        utf8: bool,
        message_id: str,
    ) -> None:
        self.reverse_path = reverse_path
        self.recipients = recipients
        self.content = message
        self.priority = priority
        self.eight_bit = eight_bit
        self.utf8 = utf8
        self.message_id = message_id

    @property
    def message(self) -> bytes:
        """All of the message in memory, for those that are known to be small."""
        return self.content if isinstance(self.content, bytes) else b"".join(self.content.pieces())


def within(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield the pieces of a message. Raises MessageTooLargeError as soon as they are more than ``limit`` bytes."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise MessageTooLargeError(
                f"the message is larger than {format_size(limit)}",
                remedy="send less, or raise spool.max_message_size with `ucrmmail config set`",
            )
        yield piece


def gather(chunks: Iterable[bytes], scratch: Callable[[], Scratch]) -> bytes | Arrived:
    """Return a message that comes in pieces as ``prepare`` takes it: in memory, a large one in a ``scratch`` file.

    Raises what the scratch files, and what yields the pieces, raise.
    """
    chunks = iter(chunks)
    parts: list[bytes] = []
    size = 0
    for part in chunks:
        parts.append(part)
        size += len(part)
        if size > LARGEST_IN_MEMORY:
            from ucrmmail.message.arrival import arrived  # noqa: PLC0415 # most messages are small

            return arrived(parts, chunks, scratch())
    return b"".join(parts)


def prepare(
    raw: bytes | Arrived,
    *,
    reverse_path: str | None,
    recipients: Sequence[str],
    extract_recipients: bool,
    addresses: Addresses,
    priority: str | None,
    now: float,
    hostname: str,
    unique: str,
    max_size: int,
    full_name: str = "",
) -> Prepared:
    """Return the message ready for the queue.

    ``reverse_path`` None means that the submitter gave none, "" that it asked for the null one. ``recipients`` are
    mailboxes or local names; with ``extract_recipients`` those in the header are added. ``unique`` is the left side of
    a new Message-ID; ``hostname`` its right side when the reverse-path has no domain. ``full_name`` is for a From that
    has to be added. ``max_size`` is in bytes, and holds for the message as it is queued.

    Raises NoUserError for an address that is wrong or leads nowhere, DataError for a message that cannot be sent.
    """
    _check_size(len(raw), max_size)
    if isinstance(raw, bytes):
        text = with_crlf(raw)
        fields, body = split_canonical(text)
        # In front of the first field an empty line ends the header as well, and nobody means it to.
        whole = not fields or len(body) == len(text) - sum(len(field) for _name, field in fields)
        cut_off = (body if fields else text) if whole else b""
    else:
        fields, body, cut_off = raw.fields, b"", raw.cut_off
    refuse_controls(fields)
    if cut_off:
        refuse_cut_off(fields, cut_off)
    known = by_name(fields)
    names = [*recipients, *recipients_in(known)] if extract_recipients else recipients
    envelope_to = resolved(names, addresses)
    envelope_from = reverse_path_for(reverse_path, addresses, known)
    message_id = _value(known, "message-id")
    new: dict[str, str] = {}
    if not message_id:
        message_id = new["Message-ID"] = f"<{unique}@{_id_domain(envelope_from, hostname)}>"
    if not _value(known, "date"):
        new["Date"] = format_date(now)
    if _lacks_from(known):
        new["From"] = _from_value(known, envelope_from or addresses.sending or addresses.notification, full_name)
    if addresses.sending and not _is_from(known, addresses.sending):
        new["Sender"] = addresses.sending
    if "dkim-signature" not in known:
        fields = without_local_names(fields, addresses)
    header = _with_fields(fields, known, new)
    message = _sendable(header + CRLF + body) if isinstance(raw, bytes) else raw.under(header)
    _check_size(len(message), max_size)
    return Prepared(
        reverse_path=envelope_from,
        recipients=envelope_to,
        message=message,
        priority=priority or priority_in(known),
        eight_bit=not message.isascii(),
        utf8=holds_utf8(header) or not "".join((envelope_from, *envelope_to)).isascii(),
        message_id=message_id,
    )


def _sendable(message: bytes) -> bytes:
    if not unsendable(message):
        return message
    from ucrmmail.message.reencode import reencoded  # noqa: PLC0415 # loads the email package

    return reencoded(message)


def _check_size(size_bytes: int, max_size: int) -> None:
    if size_bytes > max_size:
        raise MessageTooLargeError(
            f"the message has {format_size(size_bytes)} ({size_bytes} bytes), "
            f"and the limit is {format_size(max_size)} ({max_size} bytes)",
            why="spool.max_message_size says so",
            remedy="send less, or `ucrmmail config set spool.max_message_size 100MB`",
        )


def _value(known: FieldsByName, name: str) -> str:
    """Return the first value under a name, "" when it is missing or empty."""
    return value_of(known[name][0]) if name in known else ""


def _lacks_from(known: FieldsByName) -> bool:
    """Return whether From is missing, empty, or names local users only. One that cannot be read is left as it is."""
    value = _value(known, "from")
    if "@" in value:
        return False
    mailboxes = mailboxes_of(known, "from")
    return not value or (bool(mailboxes) and all(is_bare(mailbox) for mailbox in mailboxes))


def _from_value(known: FieldsByName, address: str, full_name: str) -> str:
    if not address:
        raise DataError(
            "the message has no From",
            why="no sender was given and none is configured",
            remedy="add a From header, or `ucrmmail config set addresses.sender you@example.com`",
        )
    name = full_name or next(iter(mailboxes_of(known, "from")), "")
    if not name:
        return address
    from ucrmmail.message.phrase import phrase  # noqa: PLC0415 # most messages have a From

    return f"{phrase(name)} <{address}>"


def _is_from(known: FieldsByName, sender: str) -> bool:
    """Return whether the message has one Sender, and it is this mailbox (with a display name or without)."""
    mailboxes = mailboxes_of(known, "sender") if len(known.get("sender", ())) == 1 else []
    return len(mailboxes) == 1 and same_mailbox(mailboxes[0], sender)


def _with_fields(fields: Fields, known: FieldsByName, new: dict[str, str]) -> bytes:
    """Return the header with new fields at its top, those that they replace left out, and Bcc too."""
    replaced = [name for name in (*_BCC, *(name.lower() for name in new)) if name in known]
    if replaced:
        fields = without(fields, replaced)
    return b"".join(new_field(name, value) for name, value in new.items()) + joined(fields)


def _id_domain(envelope_from: str, hostname: str) -> str:
    domain = envelope_from.rpartition("@")[2]
    if domain and not domain.startswith("["):
        return domain
    return hostname if hostname and not hostname.strip(_HOSTNAME_CHARACTERS) else "localhost"
