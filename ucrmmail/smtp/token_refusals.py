"""What the refusal of an access token means: other causes, and other remedies, than those of a password.

M is Microsoft's "Authenticate an IMAP, POP or SMTP connection using OAuth".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply

_REFUSED = (
    "the access token was not accepted",
    "run `ucrmmail login`, or check that credentials.command prints a fresh token for this account and for SMTP",
)
# By enhanced status, and words of the text.
_KNOWN = {
    ("5.7.139", ""): (
        "SMTP AUTH is switched off for this mailbox or its tenant",
        (
            "let the administrator enable Authenticated SMTP for this mailbox (Microsoft 365 admin center, Active"
            " users, Mail, Email apps): tokens need it too"
        ),
    ),  # M
    ("5.7.3", "authentication unsuccessful"): (
        "the access token was not accepted: smtp.username is no mailbox that it is for, or it may not send as it",
        (
            "check smtp.username; with a token of an application, make the service principal with the object id of the"
            " enterprise application (not of the app registration), and give it FullAccess to the mailbox"
        ),
    ),  # M
}


def token_advice(reply: Reply) -> tuple[str, str]:
    """Return (why, remedy) for the refusal of an access token."""
    text = reply.text.lower()
    for (status, words), advice in _KNOWN.items():
        if status == reply.enhanced and words in text:
            return advice
    return _REFUSED
