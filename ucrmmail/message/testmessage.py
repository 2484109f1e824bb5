"""The message of ``ucrmmail test-send``: it says by itself what its arrival proves.

The header is ours, like that of every message that we write; the MIME parts are made by the ``email`` package.
"""

from __future__ import annotations

import unicodedata
from email.message import EmailMessage
from email.policy import SMTP
from html import escape
from mimetypes import guess_type
from typing import TYPE_CHECKING

from ucrmmail.dataclass import dataclass
from ucrmmail.errors import UsageError
from ucrmmail.message.header import CRLF, format_date
from ucrmmail.message.plain import LONGEST_HOSTNAME, header, visible, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

# Lets a person, or a filter, find the message in a mailbox.
TEST_FIELD = "X-Ucrmmail-Test"
SUBJECT = "Test message from ucrmmail"
_LETTERS = "Größe 100 €, 中文, ελληνικά ✓"
UTF8_SUBJECT = f"{SUBJECT}: {_LETTERS}"
_FILLER_LINE = b"This line fills the message up to the size that was asked for. 0123456789ab" + CRLF
# RFC 2046 section 5.2.1: these kinds must not be sent as base64.
_NOT_AS_BASE64 = ("message", "multipart")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to send along: its name without directories, and what is in it."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """What kind of message is asked for.

    ``html`` adds the text as HTML. ``utf8`` sends letters outside ASCII as they are: 8-bit text, and a subject that
    asks for SMTPUTF8. ``size_bytes`` is how large the whole message becomes, when it would be smaller; 0 leaves it.
    """

    html: bool = False
    utf8: bool = False
    attachments: tuple[Attachment, ...] = ()
    size_bytes: int = 0


def check_subject(subject: str) -> None:
    """Raise UsageError when the subject holds a control character."""
    for character in subject:
        if unicodedata.category(character) == "Cc":
            raise UsageError(
                f"the subject holds the control character U+{ord(character):04X}",
                why="a line end in it would begin another header",
                remedy="write it on one line",
            )


def build_test_message(
    *,
    from_: str,
    to: Sequence[str],
    now: float,
    message_id: str,
    hostname: str,
    smarthost: str,
    unique: str,
    authenticated: bool,
    subject: str | None = None,
    form: Form | None = None,
) -> bytes:
    """Return the test message with CRLF line ends, its Sender not yet added (``prepare`` does it).

    ``from_`` and ``to`` are mailboxes, ``message_id`` has its angle brackets, ``smarthost`` is ``host:port``;
    ``authenticated`` says that it asks for a login (whose name is nobody else's business). ``subject`` None is ours.

    Raises UsageError as ``check_subject``.
    """
    form = form or Form()
    check_subject(subject or "")
    text = _text(
        from_=from_,
        to=to,
        now=now,
        hostname=visible(hostname, LONGEST_HOSTNAME),
        smarthost=smarthost,
        unique=unique,
        authenticated=authenticated,
        utf8=form.utf8,
    )
    fields = header(
        from_=from_,
        to=to,
        subject=subject if subject is not None else UTF8_SUBJECT if form.utf8 else SUBJECT,
        now=now,
        message_id=message_id,
        more=(("Auto-Submitted", "auto-generated"), (TEST_FIELD, unique)),
        utf8=form.utf8,
    )
    message = fields + _body(text, form, b"")
    if len(message) >= form.size_bytes:
        return message
    # With a filler part of its own the rest is known to the byte.
    missing = form.size_bytes - len(fields) - len(_body(text, form, CRLF)) + len(CRLF)
    return fields + _body(text, form, _filler(missing))


def _text(
    *,
    from_: str,
    to: Sequence[str],
    now: float,
    hostname: str,
    smarthost: str,
    unique: str,
    authenticated: bool,
    utf8: bool,
) -> str:
    """Return what a person reads."""
    proved = ["that its login is right"] if authenticated else []
    proved += [f"that it relays mail from {from_}", "and that your mail system took it"]
    lines = [
        f"This is a test message from ucrmmail on {hostname}.",
        "Somebody asked for it with `ucrmmail test-send`.",
        "",
        f"    From:       {from_}",
        *(f"    {'To:' if not number else '':<11} {mailbox}" for number, mailbox in enumerate(to)),
        f"    Sent:       {format_date(now)}",
        f"    Smarthost:  {visible(smarthost)}",
        f"    Marker:     {unique} (in the header {TEST_FIELD})",
        "",
    ]
    if utf8:
        lines += [wrapped(f"These letters came unharmed if you can read them: {_LETTERS}"), ""]
    lines += [
        wrapped(f"That you read it proves that ucrmmail on {hostname} reaches the smarthost, {', '.join(proved)}."),
        "",
        wrapped(
            "It does not prove that other mail systems trust it. Look in the header of this message for "
            "Authentication-Results: spf=pass, dkim=pass and dmarc=pass are what you want to see there. What is "
            "missing, and the DNS records that mend it, are shown by:"
        ),
        "",
        f"    ucrmmail check-dns {from_.rpartition('@')[2]}",
        "",
    ]
    return "\n".join(lines)


def _body(text: str, form: Form, filler: bytes) -> bytes:
    """Return the MIME fields, the empty line, and the parts."""
    parts = EmailMessage(policy=SMTP)
    encoding = "8bit" if form.utf8 else "7bit" if text.isascii() else "quoted-printable"
    parts.set_content(text, charset="utf-8", cte=encoding)
    if form.html:
        parts.add_alternative(f"<pre>{escape(text)}</pre>\n", subtype="html", charset="utf-8", cte=encoding)
    for attachment in form.attachments:
        kind, _compression = guess_type(attachment.name)
        main, _, sub = (kind or "application/octet-stream").partition("/")
        if main in _NOT_AS_BASE64 or _compression:
            main, sub = "application", "octet-stream"
        parts.add_attachment(attachment.content, maintype=main, subtype=sub, filename=visible(attachment.name))
    if filler:
        parts.add_attachment(filler.decode("ascii"), subtype="plain", filename="filler.txt", cte="7bit")
    # Boundaries of a fixed length keep the size that was reckoned; no part can hold a line that begins like this.
    for number, part in enumerate(part for part in parts.walk() if part.is_multipart()):
        part.set_boundary(f"=_ucrmmail_{number}_test")
    # The header has it already.
    del parts["MIME-Version"]
    return parts.as_bytes()


def _filler(size_bytes: int) -> bytes:
    """Return so many bytes of text in lines; at the least one line end."""
    lines, rest = divmod(max(size_bytes, len(CRLF)), len(_FILLER_LINE))
    filler = _FILLER_LINE * lines
    if rest >= len(CRLF):
        return filler + b"x" * (rest - len(CRLF)) + CRLF
    # One byte cannot be a line: the last line is longer by it.
    return filler[: -len(CRLF)] + b"x" * rest + CRLF
