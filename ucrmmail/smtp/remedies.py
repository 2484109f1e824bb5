"""Known refusals: the cause in a sentence, and what to do. Data, read from the top; then the status codes of RFC 3463.

Sources:
  G   Google, "Gmail SMTP errors and codes", support.google.com/a/answer/3726730, and "SMTP relay service error
      messages", support.google.com/a/answer/6140680
  M   Microsoft, "Non-delivery reports in Exchange Online" and "Enable or disable authenticated client SMTP submission",
      learn.microsoft.com; "SMTP AUTH limits", MicrosoftDocs/OfficeDocs-Support
  M2  Microsoft message center MC786329: end of basic authentication, 550 5.7.30
  M3  Microsoft, "Fix NDR error 550 5.7.515 in Outlook.com", support.microsoft.com
  S   Amazon SES developer guide, "SMTP response codes" and "Amazon SES email sending errors"
  Z   Zoho Mail and ZeptoMail help, "SMTP error codes"
  T   Twilio SendGrid support, "Understanding the Maximum Credits Exceeded error"
  P   Postfix smtpd(8): the texts of reject_sender_login_mismatch, reject_unauth_destination
  R   IANA, "SMTP Enhanced Status Codes" (RFC 3463, 5248, 7372)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ucrmmail.message.outcome import Stage

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply


class _Known(NamedTuple):
    status: str  # enhanced status, "" for any
    words: str  # in the text, in lower case; "" for any
    why: str
    remedy: str


_APP_PASSWORD = "make an app password (myaccount.google.com/apppasswords) and run `ucrmmail config set smtp.password`"  # noqa: S105
_OWN_PASSWORD = "Gmail refuses the account's own password over SMTP"  # noqa: S105
_SET_PASSWORD = "check smtp.username, and run `ucrmmail config set smtp.password` with the right one"  # noqa: S105
_ALLOW_SENDER = "set addresses.sender to an address of this account, or let it send as the other one"
_CHECK_DNS = "run `ucrmmail check-dns`: it names the records to publish"
_STARTTLS = "run `ucrmmail config set smtp.encryption starttls`"
_OAUTH = (
    "use OAuth: run `ucrmmail login`, or set smtp.authentication to xoauth2 and credentials.command to a program that"
    " prints an access token"
)
_ENABLE_SMTP_AUTH_FIRST = (
    "let the administrator enable Authenticated SMTP for this mailbox (Microsoft 365 admin center, Active users, Mail, "
    "Email apps): tokens need it too"
)
_ENABLE_SMTP_AUTH = (
    "let the administrator enable Authenticated SMTP for this mailbox (Microsoft 365 admin center, Active users, Mail, "
    "Email apps), or use OAuth"
)

_KNOWN = (
    # The login
    _Known("5.7.9", "application-specific password", _OWN_PASSWORD, _APP_PASSWORD),  # G
    _Known("5.7.9", "web browser", "Google wants this account to sign in with a browser first", _APP_PASSWORD),  # G
    _Known("5.7.14", "web browser", "Google wants this account to sign in with a browser first", _APP_PASSWORD),  # G
    _Known("5.7.8", "gsmtp", _OWN_PASSWORD, _APP_PASSWORD),  # G
    _Known("5.7.8", "google.com", _OWN_PASSWORD, _APP_PASSWORD),  # G
    _Known("5.7.30", "basic authentication", "Microsoft no longer takes passwords for SMTP here", _OAUTH),  # M2
    _Known(
        "5.7.139", "security defaults", "the tenant's security defaults forbid a login with a password", _OAUTH
    ),  # M
    _Known("5.7.139", "", "SMTP AUTH is switched off for this mailbox or its tenant", _ENABLE_SMTP_AUTH),  # M
    _Known(
        "5.7.3",
        "authentication unsuccessful",
        "Microsoft does not accept the login: a wrong password, or SMTP AUTH is switched off",
        "check smtp.username and smtp.password; with a token of an application, the service principal must be made "
        "with the object id of the enterprise application",
    ),  # M
    _Known("", "credits exceeded", "the account's sending credits are used up", "wait, or raise the plan"),  # T
    _Known("", "credits expired", "the account's sending credits have expired", "renew them with the provider"),  # Z
    _Known("", "must issue a starttls", "the smarthost wants TLS before anything else", _STARTTLS),  # G, Z
    _Known(
        "5.7.57", "", "the smarthost wants a login", "set smtp.username, and run `ucrmmail config set smtp.password`"
    ),  # M
    # The sender's address
    _Known("5.7.60", "", "this account may not send as the address in From or the reverse-path", _ALLOW_SENDER),  # M
    _Known("", "sendasdenied", "this account may not send as the address in From", _ALLOW_SENDER),  # M
    _Known(
        "5.2.252", "", "Microsoft slows this mailbox down, since it tried too often to send as another", _ALLOW_SENDER
    ),  # M
    _Known(
        "", "relaying disallowed", "the sender's address is not one of this account, or smtp.host is of another region",
        "set addresses.sender to the account's address, and smtp.host to the host that your region's settings name",
    ),  # Z
    _Known(
        "", "is not verified", "SES sends only for identities that are verified in this region",
        "verify the sender's domain in the SES console, in the region of smtp.host; in the sandbox the recipient too",
    ),  # S
    _Known("", "not owned by user", "the login may not use this reverse-path", _ALLOW_SENDER),  # P
    _Known(
        "5.7.0", "mail relay denied", "this machine's address or domain is not registered for the Workspace relay",
        "register its address in the Google admin console (SMTP relay service), or log in",
    ),  # G
    # The sender's domain
    _Known("5.7.26", "", "the receiver could not authenticate the sender's domain (SPF, DKIM, DMARC)", _CHECK_DNS),  # G
    _Known("5.7.27", "", "SPF does not pass for the sender's domain", _CHECK_DNS),  # G, R
    _Known("5.7.30", "dkim", "DKIM does not pass for the sender's domain", _CHECK_DNS),  # G
    _Known("5.7.32", "", "the address in From is not aligned with SPF or DKIM", _CHECK_DNS),  # G
    _Known("5.7.515", "", "Outlook.com wants SPF, DKIM and DMARC to pass for this domain", _CHECK_DNS),  # M3
    _Known("5.7.509", "", "DMARC does not pass for the sender's domain", _CHECK_DNS),  # M
    _Known("5.7.23", "", "SPF does not pass for the sender's domain", _CHECK_DNS),  # R
    _Known("5.7.25", "", "the sending address has no name in DNS (PTR), or another one", _CHECK_DNS),  # R
    # The account itself
    _Known(
        "5.1.8", "bad outbound sender", "Microsoft blocks this account, since it sent what looked like spam",
        "secure the account, then remove it from Restricted entities in the Microsoft Defender portal",
    ),  # M
    _Known(
        "", "sender address blocked", "Zoho blocks this sender", "secure the account, then ask Zoho to unblock it"
    ),  # Z
    # The route
    _Known(
        "", "relay access denied", "the smarthost relays only for those who log in",
        "set smtp.username, and run `ucrmmail config set smtp.password`",
    ),  # P
)  # fmt: skip

# What is known by status alone, whatever the class (R).
_BY_STATUS = {
    ".1.1": ("the mailbox does not exist", "check the address"),
    ".1.2": ("the recipient's domain does not exist, or takes no mail", "check the address"),
    ".1.3": ("the address is malformed in the server's eyes", "check the address"),
    ".1.6": ("the mailbox has moved", "ask for the new address"),
    ".1.7": ("the sender's address is malformed in the server's eyes", "check addresses.sender"),
    ".1.8": ("the sender's domain does not exist, or takes no mail", "check addresses.sender"),
    ".1.10": ("the recipient's domain takes no mail (null MX)", "check the address"),
    ".2.0": ("something is wrong with the mailbox", ""),
    ".2.1": ("the mailbox is disabled", "ask the recipient, by other means"),
    ".2.2": ("the recipient's mailbox is full", "tell the recipient, by other means"),
    ".2.3": ("the message is larger than the recipient may get", "send less, or a link"),
    ".3.1": ("the server's disk is full", ""),
    ".3.2": ("the server takes no mail at the moment", ""),
    ".3.4": ("the message is larger than the server takes", "send less, or a link"),
    ".4.1": ("the recipient's server does not answer", ""),
    ".4.4": ("the server cannot find a way to the recipient", "check the recipient's domain"),
    ".4.6": ("the message runs in a loop", "look at its Received lines, and at forwards of the recipient"),
    ".4.7": ("the server held the message too long", ""),
    ".5.3": ("the transaction has too many recipients", ""),
    ".6.0": ("the server does not like the message's form", "look at its headers and MIME parts"),
    ".6.3": ("the server cannot take 8-bit text", "send it as quoted-printable or base64"),
    ".6.7": ("the server cannot take addresses outside ASCII (SMTPUTF8)", "use an address in ASCII"),
    ".7.0": ("the server's policy forbids it", "the reply may say more"),
    ".7.1": ("the server's policy does not let this sender write to this recipient", "the reply may say more"),
    ".7.8": ("user name or password is wrong", _SET_PASSWORD),
    ".7.9": ("the server does not take this kind of login", "set smtp.authentication to one that it offers"),
    ".7.10": ("the server wants TLS", _STARTTLS),
    ".7.11": ("the server wants TLS for this login", _STARTTLS),
    ".7.13": ("the account is disabled", "ask the provider"),
}

_QUOTA = (
    "the provider counts what this account sends, and its limit is reached",
    "nothing now: a later run tries again. To stay below it, set throttler.message_limit and throttler.duration",
)


# The login with an access token. Microsoft's 5.7.3 stands for each of the things that must be right (M, "Authenticate
# an IMAP, POP or SMTP connection using OAuth").
_TOKEN_REFUSED = (
    "the access token was not accepted",
    "run `ucrmmail login`, or check that credentials.command prints a fresh token for this account and for SMTP",
)
_BY_TOKEN = (
    _Known("5.7.139", "", "SMTP AUTH is switched off for this mailbox or its tenant", _ENABLE_SMTP_AUTH_FIRST),  # M
    _Known(
        "5.7.3",
        "authentication unsuccessful",
        "the access token was not accepted: smtp.username is no mailbox that it is for, or it may not send as it",
        "check smtp.username; with a token of an application, make the service principal with the object id of the"
        " enterprise application (not of the app registration), and give it FullAccess to the mailbox",
    ),  # M
)


def token_advice(reply: Reply) -> tuple[str, str]:
    """Return (why, remedy) for the refusal of an access token."""
    text = reply.text.lower()
    for known in _BY_TOKEN:
        if known.status == reply.enhanced and known.words in text:
            return known.why, known.remedy
    return _TOKEN_REFUSED


def advice_for(stage: Stage, reply: Reply, *, quota: bool = False) -> tuple[str, str]:
    """Return (why, remedy) for a refusal; both may be ""."""
    text = reply.text.lower()
    for known in _KNOWN:
        if known.status in {"", reply.enhanced} and known.words in text:
            return known.why, known.remedy
    if quota:
        return _QUOTA
    if reply.code == 421:
        return "the smarthost asks to be left alone for a while", "nothing: a later run tries again"
    if stage is Stage.AUTH and reply.code >= 500 and reply.enhanced[1:] not in {".7.9", ".7.11", ".7.13"}:
        return "user name or password is not accepted", _SET_PASSWORD
    if reply.code in {530, 538}:
        return (
            "the smarthost wants a login or TLS first",
            "set smtp.username, run `ucrmmail config set smtp.password`, and check smtp.encryption",
        )
    return _BY_STATUS.get(reply.enhanced[1:], ("", ""))
