"""The queue id that a server gave a message, from its last reply: the word to ask its postmaster with.

No standard says how it is told (RFC 5321 section 4.2.4: the text of a 250 is free), so here is what servers write.
"""

from __future__ import annotations

import re

# The reply of one server each; the first that fits gives the id.
_FORMS = (
    # Exchange and Microsoft 365 write "2.6.0 <message-id> [InternalId=897, Hostname=DB9P] Queued mail for delivery".
    re.compile(r"\[InternalId=(\d+)"),
    # Postfix, SendGrid, Halon and PowerMTA write "queued as ID", NetEase "queued as smtp8,ID"; Yandex names the machine
    # before, "queued on HOST as ID", and Haraka writes "Message Queued (UUID.1)".
    re.compile(r"\bqueued (?:on \S+ )?as[: ]\s*<?([A-Za-z0-9._-]+(?:,[A-Za-z0-9._-]+)?)", re.IGNORECASE),
    re.compile(r"\bqueued \(([A-Za-z0-9._-]+)\)", re.IGNORECASE),
    # Exim writes "OK id=1tDXyz-0000abc-1A", Stalwart "Message queued with id 1f".
    re.compile(r"\bid[=: ]\s*<?([A-Za-z0-9._-]+)", re.IGNORECASE),
    # sendmail and OpenSMTPD write "4ANBx5xy012345 Message accepted for delivery".
    re.compile(r"(?:^|\s)([A-Za-z0-9]{8,20}) Message accepted for delivery", re.IGNORECASE),
    # qmail writes "ok 1732363159 qp 12345".
    re.compile(r"\bok (\d+ qp \d+)", re.IGNORECASE),
    # Gmail writes "OK  1732363159 5b1f17b1804b1-43498d9f0a2sm138 - gsmtp".
    re.compile(r"\bOK\s+\d+ ([A-Za-z0-9]+-[A-Za-z0-9.]+) - gsmtp"),
    # SES writes "Ok 0102019358a5b6c7-1a2b3c4d-000000"; others do the same.
    re.compile(r"^(?:250 )?(?:\d\.\d\.\d )?Ok:? ([A-Za-z0-9][A-Za-z0-9._-]{9,})$", re.IGNORECASE),
)


def remote_queue_id(reply: str) -> str:
    """Return the id in a reply such as ``250 2.0.0 Ok: queued as 4XyZ12``, "" when none is known to be in it."""
    if not reply.startswith("250"):
        return ""
    for form in _FORMS:
        found = form.search(reply[:1000])
        if found is not None:
            return found[1]
    return ""
