"""Known refusals of real providers: the cause in a sentence, and what to do. Data, read from the top.

Sources: [G] Google Workspace Admin Help "SMTP error reference"; [M] Microsoft Learn "NDR codes in Exchange Online" and
"Authenticated SMTP client submission"; [M2] Microsoft message center MC786329; [Z] Zoho Mail help "SMTP error codes";
[S] Amazon SES developer guide "SMTP response codes"; [R] the IANA registry of enhanced status codes (RFC 3463, 5248).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.message.outcome import Stage

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply

_SET_PASSWORD = "run `ucrmmail config set smtp.password` with the right one"  # noqa: S105 # advice, no secret
_APP_PASSWORD = "make an app password and run `ucrmmail config set smtp.password`"  # noqa: S105

# (enhanced status or "", words in the text, cause, remedy); the first that fits is told.
_KNOWN: tuple[tuple[str, str, str, str], ...] = (
    ("5.7.9", "", "Google asks for an app password in this account", _APP_PASSWORD),  # [G]
    ("5.7.8", "gsmtp", "Gmail refuses the account's own password over SMTP", _APP_PASSWORD),  # [G]
    ("5.7.8", "google.com", "Gmail refuses the account's own password over SMTP", _APP_PASSWORD),  # [G]
    (
        "5.7.30", "", "Microsoft no longer takes passwords for SMTP in this tenant",
        "use OAuth: set smtp.authentication to xoauth2 and credentials.command to a program that prints a token",
    ),  # [M2]
    (
        "5.7.139", "", "SMTP AUTH is switched off for this mailbox or tenant, or a policy blocks it",
        "let the administrator enable Authenticated SMTP for the mailbox, or use OAuth",
    ),  # [M]
    (
        "5.7.3", "authentication unsuccessful", "Microsoft did not accept the login",
        "check user name and password; with a token, use the object id of the enterprise application",
    ),  # [M]
    (
        "5.7.60", "", "this account may not send as the address in From or the reverse-path",
        "let the administrator grant SendAs, or set addresses.sender to the account's own address",
    ),  # [M]
    ("5.2.252", "", "this account may not send as that address", "grant SendAs, or change addresses.sender"),  # [M]
    (
        "", "relaying disallowed", "the address is not one of this account, or the region's host is wrong",
        "set addresses.sender to the account's address and smtp.host to your region's",
    ),  # [Z]
    (
        "", "email address is not verified", "SES sends only for verified identities",
        "verify the sender in the SES console, in the region of smtp.host",
    ),  # [S]
    ("5.7.26", "", "the receiver could not authenticate the sender's domain", "set up SPF and DKIM for it"),  # [G]
    ("5.7.515", "", "Outlook.com asks for SPF, DKIM and DMARC of this domain", "set up all three for it"),  # [M]
    ("", "must issue a starttls", "the smarthost wants TLS", "run `ucrmmail config set smtp.encryption starttls`"),
)  # fmt: skip

# By enhanced status, for the texts that nobody knows [R].
_BY_STATUS = {
    "5.7.8": ("user name or password is wrong", _SET_PASSWORD),
    "5.7.0": ("the smarthost's policy forbids it", "read the reply; a login or TLS may be missing"),
    "5.7.1": ("the smarthost's policy refuses it", "check that this account may send from this address"),
    "5.1.1": ("the mailbox does not exist", "check the address"),
    "5.1.2": ("the domain does not exist", "check the address"),
    "5.2.2": ("the recipient's mailbox is full", "tell the recipient by other means"),
    "5.3.4": ("the message is too large for the smarthost", "send less, or a link"),
}


def advice_for(stage: Stage, reply: Reply) -> tuple[str, str]:
    """Return (why, remedy) for a refusal; both may be ""."""
    text = reply.text.lower()
    for enhanced, words, why, remedy in _KNOWN:
        if (not enhanced or enhanced == reply.enhanced) and words in text:
            return why, remedy
    if reply.code in {530, 538}:
        return "the smarthost wants a login or TLS first", "set smtp.username and smtp.password, and smtp.encryption"
    if stage is Stage.AUTH and 500 <= reply.code < 600:
        return _BY_STATUS.get(reply.enhanced, ("user name or password is not accepted", _SET_PASSWORD))
    if reply.enhanced in _BY_STATUS:
        return _BY_STATUS[reply.enhanced]
    if reply.code == 421:
        return "the smarthost asks to be left alone for a while", "nothing: a later run tries again"
    return "", ""
