"""Refusals that are known by their text: the cause in a sentence, and what to do. Data, read from the top.

``smtp.trouble`` decides what becomes of a message; here is only what a person is told, and whether a refusal is about
the account itself (``account``), so that the queue must wait for a person instead of bouncing message after message.

Sources:
  G   Google, "Gmail SMTP errors and codes", support.google.com/a/answer/3726730; "SMTP relay service error messages",
      support.google.com/a/answer/6140680; "Gmail sending limits", support.google.com/a/answer/166852
  M   Microsoft, "Email non-delivery reports and SMTP errors in Exchange Online",
      learn.microsoft.com/troubleshoot/exchange/email-delivery/ndr/non-delivery-reports-in-exchange-online
  M1  Microsoft, "Enable or disable authenticated client SMTP submission (SMTP AUTH) in Exchange Online" and "Fix issues
      with printers, scanners, and LOB applications that send email", learn.microsoft.com
  M2  Microsoft message center MC786329: end of basic authentication, 550 5.7.30
  M3  Microsoft, "Outlook's new requirements for high-volume senders", techcommunity.microsoft.com, 5.7.515; "Mail flow
      to Outlook.com", block lists S3140 and S3150, sendersupport.olc.protection.outlook.com
  Y   Yahoo Sender Hub, "SMTP error codes", senders.yahooinc.com/smtp-error-codes; of its submission server ("AUTH005")
      many reports, such as in the documentation of Authelia and of nodemailer applications
  S   Amazon SES developer guide, "SMTP response codes returned by Amazon SES", "Amazon SES email sending errors"
  Z   Zoho ZeptoMail help, "SMTP error codes"; Zoho Mail community, "550 5.4.6 Unusual sending activity detected"
  T   Twilio SendGrid, "SMTP Errors and Troubleshooting"
  A   Mailgun help, "Authorized recipients" and "Domain is not allowed to send"
  K   Postmark, "API overview", error codes 400 and 412
  B   Brevo help, "Authorized IPs"; the reply in many reports
  F   Fastmail, and I iCloud, N NetEase (163.com), Q QQ mail, U IONOS: their replies as users report them
  P   Postfix smtpd(8), postconf(5): the texts of reject_sender_login_mismatch, reject_unauth_destination and others
  X   Exim specification, ACLs; sendmail cf/README; Exchange Server, "Receive connectors"; qmail-smtpd(8)
  C   cPanel & WHM documentation, "Max hourly emails per domain", "Suspend outgoing email"; what its Exim says, in the
      help pages of hosters
  O   what providers say of an address or an account: postmaster.comcast.net, AT&T's and Mailgun's lists of bounces,
      Rackspace, GMX, Mail.ru, Orange, Free, Proofpoint and Mimecast by smtp.codes, and help pages of Yandex and Zoho
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ucrmmail.message import ours
from ucrmmail.message.outcome import Stage
from ucrmmail.message.words import is_of_others, words_of

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply


class Refusal(NamedTuple):
    """A refusal that is known: which reply it is, why, and the remedy for the administrator.

    ``words`` must all be in the text, in lower case; one may be several that mean the same, with ``|`` between them.
    ``status`` are enhanced codes, empty for any, without the class (".7.26") for each class. ``advice`` is for the
    writer of the message, "" when only the administrator can help. ``account``: it is said to every message. ``ours``:
    so it is, unless it is what a far server said of the smarthost. ``says`` is an expression for what the smarthost
    says of us itself (``message.ours``), which has many wordings.
    """

    why: str
    remedy: str
    words: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    advice: str = ""
    account: bool = False
    ours: bool = False
    says: str = ""


_APP_PASSWORD = "make an app password (myaccount.google.com/apppasswords) and run `ucrmmail config set smtp.password`"  # noqa: S105
_SET_PASSWORD = "check smtp.username, and run `ucrmmail config set smtp.password` with the right one"  # noqa: S105
_LOG_IN = "set smtp.username, and run `ucrmmail config set smtp.password`"
_ALLOW_SENDER = "set addresses.sender to an address of this account, or let it send as the other one"
_VERIFY_SENDER = "set addresses.sender to an address that is verified there, or verify this one with the provider"
_CHECK_DNS = "run `ucrmmail check-dns`: it names the records to publish"
_STARTTLS = "run `ucrmmail config set smtp.encryption starttls`"
_OAUTH = (
    "use OAuth: set smtp.authentication to xoauth2, and credentials.command to a program that prints an access token"
)
_ENABLE_SMTP_AUTH = (
    "let the administrator enable Authenticated SMTP for this mailbox (Microsoft 365 admin center, Active users, Mail, "
    "Email apps), or use OAuth"
)
_LATER = "nothing: a later run tries again"
_WAIT_FOR_WINDOW = "nothing now: a later run tries again. To stay below the limit, set throttler.message_limit to "
_SECURE = "change the account's password, look for whoever used it, then ask the provider to unblock it"
_SET_PTR = "let the owner of the address set its PTR; `ucrmmail check-dns` shows both directions"
_OTHER_MEANS = "reach the person by other means"
_DELIST = (
    "look this machine's address up where the reply says, and ask for its removal there; or send through a smarthost "
    "that takes a login"
)
_UNBLOCK = "ask the provider why, or look into the account there; change its password if somebody else may have used it"
# A login or TLS is wanted; and 503 is about the order of commands: "HELO must be first".
_SAID_BY_CODE = frozenset({503, 530, 538})
# At RCPT "this account is suspended" is said of the recipient.
_OF_THE_SENDER = frozenset({Stage.MAIL, Stage.DATA, Stage.FINAL_DOT})

REFUSALS = {
    # --- The login ---------------------------------------------------------------------------------------------
    "gmail-app-password": Refusal(  # G
        "Gmail refuses the account's own password over SMTP",
        _APP_PASSWORD,
        ("application-specific password",),
    ),
    "gmail-browser": Refusal(  # G
        "Google wants this account to sign in with a browser first", _APP_PASSWORD, ("your web browser",)
    ),
    "gmail-password": Refusal(  # G
        "Gmail refuses the account's own password over SMTP, or the app password is not right",
        f"{_APP_PASSWORD}; smtp.username is the whole address",
        ("username and password not accepted", "gsmtp|google.com"),
    ),
    "gmail-logins": Refusal(  # G
        "Google counts logins, and there were too many in a short time",
        "nothing now: a later run tries again. To log in less often, run the flush less often, with smtp.connections 1",
        ("too many login attempts",),
    ),
    "many-logins": Refusal(  # P: smtpd_client_auth_rate_limit; a server built with go-smtp: 454
        "the smarthost counts logins, or those that fail, and there were too many in a short time",
        "nothing now: a later run tries again. If it goes on, check smtp.username and smtp.password, run the flush "
        "less often, and look for other programs that use this account",
        ("too many auth commands|too many failed auth",),
    ),
    "gmail-relay-credentials": Refusal(  # G
        "the address of this machine is registered for the relay of another Workspace domain than the sender's",
        "register it in the Google admin console (Apps, Gmail, Routing, SMTP relay service), or log in",
        ("invalid credentials for relay",),
        ours=True,
    ),
    "microsoft-no-passwords": Refusal(  # M2
        "Microsoft no longer takes passwords for SMTP here", _OAUTH, ("basic authentication is not supported",)
    ),
    "outlook-no-passwords": Refusal(  # M2, of personal accounts
        "Outlook.com no longer takes passwords for SMTP",
        _OAUTH,
        ("basic authentication is disabled",),
    ),
    "microsoft-security-defaults": Refusal(  # M1
        "the tenant's security defaults forbid a login with a password", _OAUTH, ("security defaults",), ("5.7.139",)
    ),
    "microsoft-conditional-access": Refusal(  # M1
        "a rule of the tenant (Conditional Access or an authentication policy) forbids this login",
        f"let the administrator look at the sign-in log of this account and except it from the rule; or {_OAUTH}",
        ("did not meet the criteria",),
        ("5.7.139",),
    ),
    "microsoft-password": Refusal(  # M1
        "user name or password is wrong", _SET_PASSWORD, ("user credentials were incorrect",), ("5.7.139",)
    ),
    "microsoft-smtp-auth-off": Refusal(  # M1
        "SMTP AUTH is switched off for this mailbox or its tenant", _ENABLE_SMTP_AUTH, (), ("5.7.139",)
    ),
    "microsoft-login": Refusal(  # M1
        "Microsoft does not accept the login: a wrong password, or SMTP AUTH is switched off",
        "check smtp.username and smtp.password; with a token of an application, the service principal must be made "
        "with the object id of the enterprise application",
        ("authentication unsuccessful",),
        ("5.7.3",),
    ),
    "microsoft-no-login": Refusal("the smarthost wants a login", _LOG_IN, (), ("5.7.57",), ours=True),  # M
    "yahoo-app-password": Refusal(  # Y
        "Yahoo, and AOL, refuse the account's own password over SMTP, or too many wrong ones came",
        "make an app password (login.yahoo.com, Account Security), run `ucrmmail config set smtp.password`, and wait "
        "an hour before the next try",
        ("#auth005",),
    ),
    "credentials-invalid": Refusal(  # S; GMX and WEB.DE say the same
        "the server does not know this user name and password",
        f"{_SET_PASSWORD}; for SES they are SMTP credentials of the region of smtp.host, not access keys of AWS; GMX "
        "and WEB.DE want POP3 and IMAP allowed in the mailbox's settings first",
        ("authentication credentials invalid",),
    ),
    "ses-policy": Refusal(  # S
        "the user of these SES credentials may not send, or not for this identity",
        "allow ses:SendRawEmail for the identity, and for its configuration set, in the policy of this IAM user",
        ("is not authorized to perform", "ses:sendrawemail"),
        ours=True,
    ),
    "brevo-address": Refusal(  # B
        "Brevo takes mail only from IP addresses that are authorised for this account",
        "authorise the address of this machine in the settings of Brevo (Security, Authorised IPs)",
        ("unauthorized ip address",),
        account=True,
    ),
    "not-logged-in": Refusal(  # P
        "the smarthost wants a login for this reverse-path",
        _LOG_IN,
        ("sender address rejected: not logged in",),
        ours=True,
    ),
    # --- TLS ---------------------------------------------------------------------------------------------------
    "tls-required": Refusal(  # G, Z, P; Courier says 400
        "the smarthost wants TLS before anything else",
        _STARTTLS,
        ("must issue a starttls command first|starttls is required first",),
        ours=True,
    ),
    "client-certificate-wanted": Refusal(  # P: smtpd_tls_req_ccert
        "the smarthost wants a certificate from us",
        "set smtp.client_certificate and smtp.client_key",
        ("no client certificate presented",),
    ),
    "client-certificate-refused": Refusal(  # P: the same
        "the smarthost does not accept the certificate in smtp.client_certificate",
        "set it to one of an authority that the server trusts, with its chain",
        ("client certificate not trusted",),
    ),
    "gmail-recipient-tls": Refusal(  # G
        "the recipient's domain takes mail only through TLS, and this connection is in plain text",
        _STARTTLS,
        ("tls required for rcpt domain",),
    ),
    # --- Quotas of the sender ----------------------------------------------------------------------------------
    "gmail-daily": Refusal(  # G
        "Gmail counts what this account sends, and its limit of the day is reached",
        f"{_WAIT_FOR_WINDOW}500 (Gmail) or 2000 (Workspace) with throttler.duration 24h and throttler.window sliding",
        ("user sending limit exceeded",),
    ),
    "gmail-relay-limit": Refusal(  # G
        "the limit of the Workspace relay is reached",
        f"{_WAIT_FOR_WINDOW}what your Workspace edition allows",
        ("smtp relay limit|relay sending limit",),
    ),
    "microsoft-daily": Refusal(  # M
        "this mailbox has reached Microsoft's limit of recipients a day (10000)",
        f"{_WAIT_FOR_WINDOW}less, with throttler.count recipients; if this is unexpected, somebody else may use the "
        "account: change its password",
        ("daily limit for message recipients|submission quota|submissionquota",),
    ),
    "microsoft-rate": Refusal(  # M1
        "Microsoft takes 30 messages a minute from a mailbox, and there were more",
        "nothing now: a later run tries again. To stay below it, add 30/1m to throttler.additional_limits",
        ("message submission rate for this client",),
    ),
    "microsoft-threads": Refusal(  # M1
        "Microsoft takes three connections at a time from a mailbox, and there were more",
        "run `ucrmmail config set smtp.connections 1`, and look for other programs that use this account",
        ("sender thread limit|concurrent connections limit exceeded",),
    ),
    "ses-rate": Refusal(  # S
        "the account's maximum sending rate is reached",
        "nothing now: a later run tries again. To stay below it, add the rate that the SES console shows to "
        "throttler.additional_limits, such as 14/1s",
        ("maximum sending rate exceeded",),
    ),
    "ses-daily": Refusal(  # S
        "the account's quota of 24 hours is reached; in the sandbox that is 200 messages",
        f"{_WAIT_FOR_WINDOW}what the SES console shows, with throttler.window sliding",
        ("daily message quota exceeded",),
    ),
    "sendgrid-credits": Refusal(  # T
        "the account's sending credits are used up", "wait, or raise the plan", ("credits exceeded",)
    ),
    "zeptomail-credits": Refusal(  # Z
        "the account's sending credits have expired or are blocked",
        "renew them with the provider",
        ("credits expired|credits blocked",),
        account=True,
    ),
    "zoho-unusual": Refusal(  # Z
        "Zoho finds the account's sending unusual and has stopped it for now",
        "wait some hours, then send less at a time (throttler.message_limit); a new account may do little",
        ("unusual sending activity",),
    ),
    "cpanel-hourly": Refusal(  # C
        "the hosting server limits what a domain may send in an hour, and the limit is reached",
        f"{_WAIT_FOR_WINDOW}the host's figure, with throttler.duration 1h",
        ("max emails per hour|max defers and failures per hour",),
    ),
    # --- Quotas of the recipient -------------------------------------------------------------------------------
    "recipient-rate": Refusal(  # G, M
        "the recipient gets more mail than the mailbox may take in a time",
        _LATER,
        ("receiving mail too quickly|receiving mail at a rate|message receive limit|recipient thread limit",),
        advice="send the message again later",
    ),
    "greylisted": Refusal(  # RFC 6647
        "the server takes mail from a sender that it does not know only at the second try",
        _LATER,
        ("greylist|graylist",),
        advice="send the message again later",
    ),
    # --- The sender's address ----------------------------------------------------------------------------------
    "microsoft-send-as": Refusal(  # M1
        "this account may not send as the address in From or the reverse-path", _ALLOW_SENDER, (), ("5.7.60",)
    ),
    "microsoft-send-as-slowed": Refusal(  # M1
        "Microsoft slows this mailbox down, since it tried too often to send as another",
        _ALLOW_SENDER,
        (),
        ("5.2.252",),
    ),
    "microsoft-send-as-denied": Refusal(  # M1
        "this account may not send as the address in From",
        _ALLOW_SENDER,
        ("sendasdenied|permissions to send as this sender",),
    ),
    "postfix-owner": Refusal(  # P; Yandex
        "the login may not use this reverse-path", _ALLOW_SENDER, ("not owned by user|not owned by auth user",)
    ),
    "icloud-sender": Refusal(  # I
        "iCloud sends only as addresses of the account", _ALLOW_SENDER, ("is not one of your addresses",)
    ),
    "fastmail-sender": Refusal(  # F
        "Fastmail sends only as addresses of the account, in From too",
        f"{_ALLOW_SENDER} (Settings, My email addresses)",
        ("not authorised to send from this header address",),
    ),
    "netease-sender": Refusal(  # N, Q
        "the provider sends only as the address that logs in",
        "set addresses.sender, and From in the messages, to smtp.username",
        ("mail from must equal authorized user|mail from address must be same as authorization user",),
    ),
    "ionos-sender": Refusal(  # U
        "the provider sends only as addresses of the account", _ALLOW_SENDER, ("sender address is not allowed",)
    ),
    "zoho-sender": Refusal(  # Z
        "the sender's address is not one of this account, or smtp.host is of another region",
        "set addresses.sender to the account's address, and smtp.host to the host that your region's settings name",
        ("relaying disallowed|sender is not allowed to relay emails",),
    ),
    "ses-unverified": Refusal(  # S
        "SES sends only for identities that are verified in this region",
        "verify the sender's domain in the SES console, in the region of smtp.host; in the sandbox the recipient too",
        ("email address is not verified",),
    ),
    "sendgrid-sender": Refusal(  # T
        "SendGrid sends only for a verified Sender Identity",
        _VERIFY_SENDER,
        ("verified sender identity|not authorized to send from that email address",),
    ),
    "postmark-sender": Refusal(  # K
        "Postmark sends only for a Sender Signature or a domain that is confirmed",
        _VERIFY_SENDER,
        ("not a sender signature on your account",),
    ),
    "postmark-pending": Refusal(  # K
        "Postmark has not approved the account yet: until then it sends only to the sender's own domain",
        "ask for approval in the Postmark account, or test with a recipient of the sender's domain",
        ("account is pending approval",),
    ),
    "mailgun-sandbox": Refusal(  # A
        "a free Mailgun domain sends only to recipients that are authorised there",
        "add the recipient to the authorised ones in the Mailgun console, or use a domain of your own",
        ("for test purposes only",),
    ),
    "mailgun-domain": Refusal(  # A
        "Mailgun has switched this domain off, or its account",
        "look at the domain and the messages in the Mailgun console; verify its DNS records there",
        ("domain", "is not allowed to send:"),
        account=True,
    ),
    "gmail-relay": Refusal(  # G
        "this machine's address or the sender's domain is not registered for the Workspace relay",
        "register its address in the Google admin console (SMTP relay service), or log in",
        ("mail relay denied",),
        ours=True,
    ),
    "microsoft-connector": Refusal(  # M: 5.7.64
        "Microsoft 365 has no connector that fits the address, or the certificate, of this machine",
        "put the address into the inbound connector (Exchange admin center, Mail flow), or log in",
        ("tenantattribution",),
        ("5.7.64",),
        ours=True,
    ),
    "sender-domain": Refusal(  # P
        "the sender's domain does not exist in DNS, or could not be found just now",
        "check addresses.sender, and run `ucrmmail check-dns` for its domain",
        ("sender address rejected: domain not found",),
    ),
    "exim-sender-verify": Refusal(  # X
        "the server asked whether the sender's address exists, and the answer was no",
        "set addresses.sender to an address that takes mail",
        ("sender verify failed",),
    ),
    # --- The sender's domain: SPF, DKIM, DMARC ---------------------------------------------------------------------
    "microsoft-bulk": Refusal(  # M3
        "Outlook.com wants SPF, DKIM and DMARC to pass for this domain", _CHECK_DNS, (), ("5.7.515",)
    ),
    "dmarc-policy": Refusal(  # G, M, Y
        "DMARC does not pass for the sender's domain, and its own policy asks to refuse such mail",
        _CHECK_DNS,
        (
            ("dmarc policy|dmarc verification|not accepted from domain|unauthenticated email from|"
            "unauthenticated email is not accepted"),
        ),
    ),
    "yahoo-policy": Refusal(  # Y: 5.7.9, which is a kind of login in the registry
        "Yahoo could not make sure that the sender's domain has sent the message (SPF, DKIM, DMARC)",
        _CHECK_DNS,
        ("not accepted for policy reasons",),
        (".7.9",),
    ),
    "unauthenticated": Refusal(  # G, RFC 7372
        "the receiver could not authenticate the sender's domain (SPF, DKIM, DMARC)", _CHECK_DNS, (), (".7.26",)
    ),
    "spf": Refusal(  # G: 5.7.27, which is something else in the registry
        "SPF does not pass for the sender's domain", _CHECK_DNS, ("spf",), (".7.27",)
    ),
    "dkim": Refusal("DKIM does not pass for the sender's domain", _CHECK_DNS, ("dkim",), (".7.30",)),  # G
    "alignment": Refusal("the address in From is not aligned with SPF or DKIM", _CHECK_DNS, (), (".7.32",)),  # G
    "spf-text": Refusal(  # P: policy services
        "SPF does not pass for the sender's domain",
        _CHECK_DNS,
        ("spf fail|spf check failed|spf validation failed|openspf.org|open-spf.org|not authorized by spf",),
    ),
    "gmail-tls": Refusal("Gmail wants mail from this sender to come through TLS", _STARTTLS, ("tls",), (".7.29",)),  # G
    "reverse-name": Refusal(  # G, M, P
        "the address that the mail comes from has no name in DNS (PTR), or another one",
        _SET_PTR,
        (
            (
                "cannot find your reverse hostname|cannot find your hostname|ptr record|ptr resource record|"
                "ptr-records|reverse dns|invalid rdns|unresolvable relay host name|ip name lookup failed"
            ),
        ),
        ours=True,
    ),
    "reverse-name-code": Refusal(  # RFC 7372
        "the address that the mail comes from has no name in DNS (PTR), or another one",
        _SET_PTR,
        (),
        (".7.25",),
        ours=True,
    ),
    # --- What the message looks like ----------------------------------------------------------------------------
    "gmail-spam": Refusal(  # G
        "Gmail takes the message for spam by its content, or by the reputation of its sender",
        f"{_CHECK_DNS}; then look at the domain in Google Postmaster Tools",
        ("likely unsolicited mail|likely suspicious",),
    ),
    "gmail-attachment": Refusal(  # G
        "Gmail takes no programs and no encrypted archives as attachments",
        "send a link",
        ("potential security issue",),
        advice="send a link instead of the attachment",
    ),
    "gmail-form": Refusal(  # G
        "the header of the message breaks RFC 5322: often two From or no From, or two of another field",
        "mend the application that writes it",
        ("not rfc 5322 compliant|rfc 5322 section 3.6.2 compliant",),
    ),
    "virus": Refusal(  # Z
        "the server found a virus in the message", "look at the attachment, and at who sent it", ("virus", "detected")
    ),
    # --- The account itself, and the address that mail leaves from -------------------------------------------------
    "microsoft-outbound": Refusal(  # M
        "Microsoft blocks this account, since it sent what looked like spam",
        "secure the account, then remove it from Restricted entities in the Microsoft Defender portal",
        ("bad outbound sender",),
        account=True,
    ),
    "microsoft-banned-account": Refusal(  # M
        "Microsoft has banned the sending account, since it sent what looked like spam",
        _SECURE,
        (),
        ("5.7.501", "5.7.502", "5.7.503"),
        account=True,
    ),
    "microsoft-tenant": Refusal(  # M
        "Microsoft has stopped outbound mail of the whole tenant, as it does with new ones and after spam",
        'open the diagnosis "Outbound Email Blocked" in the Microsoft 365 admin center (Help), or call its support',
        (),
        ("5.7.705", "5.7.708"),
        account=True,
    ),
    "microsoft-unregistered": Refusal(  # M
        "too much mail of this tenant was from domains that are not registered in it",
        "add the domains that you send from to Microsoft 365, and validate them",
        (),
        ("5.7.750",),
    ),
    "microsoft-banned-address": Refusal(  # M
        "Microsoft has banned the IP address that the mail comes from",
        "ask for removal at sender.office.com; when the address is the smarthost's, tell the provider",
        ("banned sending ip|, banned sender",),
        ours=True,
    ),
    "outlook-block-list": Refusal(  # M3
        "the network that the mail comes from stands on a block list of Outlook.com",
        "tell the provider of the smarthost, who can ask for removal at sendersupport.olc.protection.outlook.com",
        ("part of their network is on our block list|part of your network is on our block list",),
        ours=True,
    ),
    "helo-rejected": Refusal(  # P, C
        "the smarthost does not like the name that this machine gives in EHLO",
        "set smtp.local_hostname to a full name that DNS has with the address of this machine; `ucrmmail check-dns` "
        "shows what is wrong with it. With a login most servers do not ask",
        says=ours.HELO,
        account=True,
    ),
    "client-block-list": Refusal(  # P: reject_rbl_client; O
        "the smarthost takes no mail from this machine: its IP address stands on a block list",
        _DELIST,
        says=ours.BLOCK_LIST,
        account=True,
    ),
    "block-list": Refusal(  # P: reject_rbl_client, reject_rhsbl_sender
        "the IP address that the mail comes from, or a domain in it, stands on a block list",
        "look it up where the reply says; when the address is the smarthost's, tell the provider",
        ("spamhaus|spamcop|barracudacentral|blocked using",),
    ),
    "yahoo-volume": Refusal(  # Y
        "Yahoo takes less mail from this address for now: too much at once, or people complained",
        "nothing now: a later run tries again. Send less at a time; see whom the complaints come from",
        ("[tss",),
        ours=True,
    ),
    "zoho-blocked": Refusal(  # Z
        "Zoho blocks this sender",
        "secure the account, then ask Zoho to unblock it",
        ("sender address blocked|email outgoing blocked",),
        account=True,
    ),
    "ses-paused": Refusal(  # S
        "Amazon has paused the sending of this account",
        "read Amazon's mail about it, or the SES console (Account dashboard, Reputation metrics)",
        ("sending paused for this account",),
        account=True,
    ),
    "account-blocked": Refusal(  # C, O, P: check_sasl_access
        "the provider has stopped the sending of this account",
        _UNBLOCK,
        says=ours.ACCOUNT,
        account=True,
    ),
    # --- The way ------------------------------------------------------------------------------------------------
    "relay": Refusal(  # P, X; Haraka
        "the smarthost relays only for those who log in",
        _LOG_IN,
        (
            ("relay access denied|relaying denied|relay not permitted|unable to relay|relaying not allowed|"
            "isn't in my list of allowed rcpthosts|authentication is required for relay|not allowed to relay|"
            "i cannot deliver mail for"),
        ),
    ),
    "opensmtpd-no-rule": Refusal(  # OpenSMTPD: no "match" of its configuration fits, and that is all it says
        "the smarthost has no such mailbox, or takes mail to this domain only from those who log in",
        f"check the address; if others are refused as well, {_LOG_IN}",
        advice="check how it is spelt, or ask the person for the right one",
        says=r"^invalid recipient:$",
    ),
    "directory-edge": Refusal(  # M: 5.4.1
        "the recipient's address does not exist there",
        "check the address",
        ("recipient address rejected: access denied",),
        ("5.4.1", "5.7.504"),
        advice="check how it is spelt, or ask the person for the right one",
    ),
    "closed-group": Refusal(  # M
        "this mailbox or list takes mail only from inside its organisation",
        "ask the recipient, by other means",
        (),
        ("5.7.12", "5.7.124", "5.7.133", "5.7.134", "5.7.135", "5.7.136"),
        advice=_OTHER_MEANS,
    ),
    "closed-group-text": Refusal(  # M: the same, by Exchange servers
        "this mailbox or list takes mail only from inside its organisation",
        "ask the recipient, by other means",
        ("resolver.rst.authrequired|resolver.rst.notauthorized",),
        advice=_OTHER_MEANS,
    ),
    "login-wanted": Refusal(  # C, T, N and others; 530 would be the code for it (RFC 4954 section 6)
        "the smarthost wants a login",
        _LOG_IN,
        says=ours.LOGIN,
        account=True,
    ),
    "client-rejected": Refusal(  # P: reject_unless_sasl, check_client_access; X
        "the smarthost takes no mail from the address of this machine, or none without a login",
        f"{_LOG_IN}; with a login, ask the provider whether it blocks this machine's address",
        says=ours.CLIENT,
        account=True,
    ),
}  # fmt: skip


# One reply is looked at for its scope, for its kind and for the explanation.
@lru_cache(maxsize=4)
def known_refusal(reply: Reply) -> Refusal | None:
    """Return what is known of a refusal by its text or its status code; None when nothing is."""
    if reply.code < 400:
        return None
    words = words_of(reply)
    own = ours.own_words(reply) if reply.code not in _SAID_BY_CODE else ""
    for refusal in REFUSALS.values():
        if _fits(refusal, reply.enhanced, words, own):
            return refusal
    return None


def _fits(refusal: Refusal, enhanced: str, text: str, own: str) -> bool:
    if refusal.status and enhanced not in refusal.status and enhanced[1:] not in refusal.status:
        return False
    if refusal.says and not (own and re.search(refusal.says, own)):
        return False
    return all(any(word in text for word in words.split("|")) for words in refusal.words)


def denies_relay(reply: Reply) -> bool:
    """Return whether a server says that it does not take mail to this recipient from us."""
    known = known_refusal(reply)
    return known is REFUSALS["relay"] or known is REFUSALS["opensmtpd-no-rule"]


def concerns_account(reply: Reply) -> bool:
    """Return whether a refusal is about the account itself: every message would be refused until a person helps."""
    known = known_refusal(reply)
    return known is not None and (known.account or (known.ours and not is_of_others(reply)))


def stops_account(stage: Stage, reply: Reply) -> bool:
    """Return whether an account is said to be suspended, disabled or locked, at a stage that makes it the sender's."""
    if reply.code < 400 or stage not in _OF_THE_SENDER or known_refusal(reply) is not None:
        return False
    behind = stage is not Stage.MAIL
    if behind and reply.enhanced[1:] == ".2.1":
        return False
    return ours.names_stopped_account(reply, behind_recipients=behind)
