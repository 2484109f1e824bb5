"""The message of ``ucrmmail test-send``: it says by itself what its arrival proves."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from ucrmmail.errors import UsageError
from ucrmmail.message.header import format_date
from ucrmmail.message.plain import LONGEST_HOSTNAME, header, plain_part, visible, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

# Lets a person, or a filter, find the message in a mailbox.
TEST_FIELD = "X-Ucrmmail-Test"
SUBJECT = "Test message from ucrmmail"


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
    subject: str = SUBJECT,
) -> bytes:
    """Return the test message with CRLF line ends, its Sender not yet added (``prepare`` does it).

    ``from_`` and ``to`` are mailboxes, ``message_id`` has its angle brackets, ``smarthost`` is ``host:port``;
    ``authenticated`` says that it asks for a login (whose name is nobody else's business).

    Raises UsageError for a control character in the subject.
    """
    for character in subject:
        if unicodedata.category(character) == "Cc":
            raise UsageError(
                f"the subject holds the control character U+{ord(character):04X}",
                why="a line end in it would begin another header",
                remedy="write it on one line",
            )
    host, domain = visible(hostname, LONGEST_HOSTNAME), from_.rpartition("@")[2]
    proved = ["that its login is right"] if authenticated else []
    proved += [f"that it relays mail from {from_}", "and that your mail system took it"]
    text = "\n".join(
        (
            f"This is a test message from ucrmmail on {host}.",
            "Somebody asked for it with `ucrmmail test-send`.",
            "",
            f"    From:       {from_}",
            *(f"    {'To:' if not number else '':<11} {mailbox}" for number, mailbox in enumerate(to)),
            f"    Sent:       {format_date(now)}",
            f"    Smarthost:  {visible(smarthost)}",
            f"    Marker:     {unique} (in the header {TEST_FIELD})",
            "",
            wrapped(f"That you read it proves that ucrmmail on {host} reaches the smarthost, {', '.join(proved)}."),
            "",
            wrapped(
                "It does not prove that other mail systems trust it. Look in the header of this message for "
                "Authentication-Results: spf=pass, dkim=pass and dmarc=pass are what you want to see there. What is "
                "missing, and the DNS records that mend it, are shown by:"
            ),
            "",
            f"    ucrmmail check-dns {domain}",
        )
    )
    return header(
        from_=from_,
        to=to,
        subject=subject,
        now=now,
        message_id=message_id,
        more=(("Auto-Submitted", "auto-generated"), (TEST_FIELD, unique)),
    ) + plain_part(text)
