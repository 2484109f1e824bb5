"""Known refusals: every row is found by the reply that providers really send, and by nothing that only looks like it."""

from __future__ import annotations

import pytest

from ucrmmail.message.outcome import Kind, Scope, Stage
from ucrmmail.message.refusals import REFUSALS, concerns_account, known_refusal
from ucrmmail.message.reply import Reply
from ucrmmail.smtp.trouble import classify
from ucrmmail.smtp.wire import parse_reply

ACCOUNT, MESSAGE, RECIPIENT = Scope.ACCOUNT, Scope.MESSAGE, Scope.RECIPIENT
NOW, EVER = Kind.TRANSIENT, Kind.PERMANENT

# The row, where the reply was said, the reply, and what becomes of the message by it.
REPLIES = [
    (
        "gmail-app-password",
        Stage.AUTH,
        (
            b"534-5.7.9 Application-specific password required. Learn more at\n"
            b"534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor 5b1f17b1804b1-gsmtp"
        ),
        ACCOUNT,
        EVER,
    ),
    (
        "gmail-browser",
        Stage.AUTH,
        (
            b"534-5.7.14 <https://accounts.google.com/signin/continue?sarp=1> Please log in through\n"
            b"534-5.7.14 your web browser and then try again.\n534 5.7.14 Learn more - gsmtp"
        ),
        ACCOUNT,
        EVER,
    ),
    (
        "gmail-browser",
        Stage.AUTH,
        b"534 5.7.9 Please log in with your web browser and then try again. - gsmtp",
        ACCOUNT,
        EVER,
    ),
    (
        "gmail-password",
        Stage.AUTH,
        (
            b"535-5.7.8 Username and Password not accepted. For more information, go to\n"
            b"535 5.7.8  https://support.google.com/mail/?p=BadCredentials ffacd0b85a97d-gsmtp"
        ),
        ACCOUNT,
        EVER,
    ),
    ("gmail-logins", Stage.AUTH, b"454 4.7.0 Too many login attempts, please try again later. - gsmtp", ACCOUNT, NOW),
    (
        "gmail-relay-credentials",
        Stage.MAIL,
        (
            b"550-5.7.1 Invalid credentials for relay [192.0.2.1]. The IP address you've\n"
            b"550 5.7.1 registered in your Workspace SMTP Relay service doesn't match domain of the account"
        ),
        ACCOUNT,
        EVER,
    ),
    (
        "microsoft-no-passwords",
        Stage.MAIL,
        b"550 5.7.30 Basic authentication is not supported for Client Submission.",
        ACCOUNT,
        EVER,
    ),
    (
        "outlook-no-passwords",
        Stage.AUTH,
        b"535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [AM0PR02CA0001]",
        ACCOUNT,
        EVER,
    ),
    (
        "microsoft-security-defaults",
        Stage.AUTH,
        (
            b"535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. "
            b"Contact your administrator."
        ),
        ACCOUNT,
        EVER,
    ),
    (
        "microsoft-conditional-access",
        Stage.AUTH,
        (
            b"535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated "
            b"successfully. Contact your administrator."
        ),
        ACCOUNT,
        EVER,
    ),
    (
        "microsoft-password",
        Stage.AUTH,
        b"535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.",
        ACCOUNT,
        EVER,
    ),
    (
        "microsoft-smtp-auth-off",
        Stage.AUTH,
        (
            b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. "
            b"Visit https://aka.ms/smtp_auth_disabled for more information."
        ),
        ACCOUNT,
        EVER,
    ),
    ("microsoft-login", Stage.AUTH, b"535 5.7.3 Authentication unsuccessful [AM0PR02CA0001]", ACCOUNT, EVER),
    (
        "microsoft-no-login",
        Stage.MAIL,
        b"530 5.7.57 Client not authenticated to send mail. [AM0PR02CA0001]",
        ACCOUNT,
        EVER,
    ),
    ("yahoo-app-password", Stage.AUTH, b"535 5.7.0 (#AUTH005) Too many bad auth attempts.", ACCOUNT, EVER),
    ("credentials-invalid", Stage.AUTH, b"535 Authentication Credentials Invalid", ACCOUNT, EVER),
    (
        "ses-policy",
        Stage.FINAL_DOT,
        (
            b"554 Access denied: User `arn:aws:iam::123456789012:user/smtp' is not authorized to perform "
            b"`ses:SendRawEmail' on resource `arn:aws:ses:eu-west-1:123456789012:identity/isp.example'"
        ),
        ACCOUNT,
        EVER,
    ),
    ("brevo-address", Stage.AUTH, b"525 5.7.1 Unauthorized IP address", ACCOUNT, EVER),
    ("brevo-address", Stage.MAIL, b"525 5.7.1 Unauthorized IP address", ACCOUNT, EVER),
    (
        "not-logged-in",
        Stage.RCPT,
        b"553 5.7.1 <a@isp.example>: Sender address rejected: not logged in",
        ACCOUNT,
        EVER,
    ),
    ("tls-required", Stage.MAIL, b"530 5.7.0 Must issue a STARTTLS command first. - gsmtp", ACCOUNT, EVER),
    ("tls-required", Stage.MAIL, b"530 Must issue a STARTTLS command first.", ACCOUNT, EVER),
    (
        "client-certificate-wanted",
        Stage.EHLO,
        b"421 4.7.1 mx.isp.example Error: No client certificate presented",
        ACCOUNT,
        NOW,
    ),
    (
        "client-certificate-refused",
        Stage.EHLO,
        b"421 4.7.1 mx.isp.example Error: Client certificate not trusted",
        ACCOUNT,
        NOW,
    ),
    (
        "gmail-recipient-tls",
        Stage.RCPT,
        b"421 4.7.0 TLS required for RCPT domain, closing connection. - gsmtp",
        ACCOUNT,
        NOW,
    ),
    (
        "gmail-daily",
        Stage.FINAL_DOT,
        b"550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\n550 5.4.5 sending limits go to",
        ACCOUNT,
        NOW,
    ),
    ("gmail-relay-limit", Stage.RCPT, b"550 5.7.1 Daily SMTP relay limit exceeded for customer.", ACCOUNT, NOW),
    (
        "microsoft-daily",
        Stage.FINAL_DOT,
        b"550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
        ACCOUNT,
        NOW,
    ),
    (
        "microsoft-daily",
        Stage.FINAL_DOT,
        b"554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message",
        ACCOUNT,
        NOW,
    ),
    (
        "microsoft-rate",
        Stage.MAIL,
        b"421 4.4.2 Message submission rate for this client has exceeded the configured limit",
        ACCOUNT,
        NOW,
    ),
    ("microsoft-threads", Stage.MAIL, b"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", ACCOUNT, NOW),
    ("ses-rate", Stage.FINAL_DOT, b"454 Throttling failure: Maximum sending rate exceeded.", ACCOUNT, NOW),
    ("ses-daily", Stage.FINAL_DOT, b"454 Throttling failure: Daily message quota exceeded.", ACCOUNT, NOW),
    ("sendgrid-credits", Stage.AUTH, b"451 Authentication failed: Maximum credits exceeded", ACCOUNT, NOW),
    ("zeptomail-credits", Stage.AUTH, b"535 Credits expired.", ACCOUNT, EVER),
    ("zoho-unusual", Stage.FINAL_DOT, b"550 5.4.6 Unusual sending activity detected. Please try later", ACCOUNT, NOW),
    (
        "cpanel-hourly",
        Stage.RCPT,
        b"550 Domain isp.example has exceeded the max emails per hour (500/500 (100%)) allowed. Message discarded.",
        ACCOUNT,
        NOW,
    ),
    (
        "recipient-rate",
        Stage.RCPT,
        b"450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend your message later.",
        RECIPIENT,
        NOW,
    ),
    (
        "recipient-rate",
        Stage.RCPT,
        b"550 5.2.121 Recipient's per hour message receive limit from specific sender exceeded.",
        RECIPIENT,
        EVER,
    ),
    ("greylisted", Stage.RCPT, b"451 4.7.1 Greylisting in action, please come back later", RECIPIENT, NOW),
    (
        "microsoft-send-as",
        Stage.FINAL_DOT,
        b"550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        MESSAGE,
        EVER,
    ),
    (
        "microsoft-send-as-slowed",
        Stage.FINAL_DOT,
        b"554 5.2.252 SendAsDenied; a@isp.example not allowed to send as b@isp.example; STOREDRV.Submission.Exception",
        MESSAGE,
        EVER,
    ),
    (
        "microsoft-send-as-denied",
        Stage.FINAL_DOT,
        b"554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process",
        MESSAGE,
        EVER,
    ),
    (
        "postfix-owner",
        Stage.RCPT,
        b"553 5.7.1 <a@isp.example>: Sender address rejected: not owned by user b@isp.example",
        RECIPIENT,
        EVER,
    ),
    (
        "microsoft-send-as-denied",
        Stage.FINAL_DOT,
        b"550 5.7.1 Client does not have permissions to send as this sender",
        MESSAGE,
        EVER,
    ),
    ("postfix-owner", Stage.MAIL, b"553 5.7.1 Sender address rejected: not owned by auth user.", MESSAGE, EVER),
    ("icloud-sender", Stage.MAIL, b"550 5.7.0 From address is not one of your addresses", MESSAGE, EVER),
    (
        "fastmail-sender",
        Stage.FINAL_DOT,
        b"551 5.7.1 Not authorised to send from this header address",
        MESSAGE,
        EVER,
    ),
    ("netease-sender", Stage.MAIL, b"553 Mail from must equal authorized user", MESSAGE, EVER),
    ("netease-sender", Stage.MAIL, b"501 mail from address must be same as authorization user", MESSAGE, EVER),
    ("ionos-sender", Stage.MAIL, b"550 Sender address is not allowed.", MESSAGE, EVER),
    ("zoho-sender", Stage.MAIL, b"553 Relaying disallowed as a@isp.example", MESSAGE, EVER),
    ("zoho-sender", Stage.FINAL_DOT, b"553 Sender is not allowed to relay emails", MESSAGE, EVER),
    (
        "ses-unverified",
        Stage.FINAL_DOT,
        (
            b"554 Message rejected: Email address is not verified. The following identities failed the check in region "
            b"EU-WEST-1: a@isp.example"
        ),
        MESSAGE,
        EVER,
    ),
    (
        "sendgrid-sender",
        Stage.FINAL_DOT,
        (
            b"550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is "
            b"resolved."
        ),
        MESSAGE,
        EVER,
    ),
    (
        "postmark-sender",
        Stage.FINAL_DOT,
        b"550 The 'From' address you supplied (a@isp.example) is not a Sender Signature on your account.",
        MESSAGE,
        EVER,
    ),
    (
        "postmark-pending",
        Stage.FINAL_DOT,
        (
            b"550 While your account is pending approval, all recipient addresses must share the same domain as the 'From' "
            b"address."
        ),
        MESSAGE,
        EVER,
    ),
    (
        "mailgun-sandbox",
        Stage.FINAL_DOT,
        (
            b"550 Domain sandbox1.mailgun.org is not allowed to send: Free accounts are for test purposes only. Please "
            b"upgrade or add the address to authorized recipients in Account Settings."
        ),
        MESSAGE,
        EVER,
    ),
    (
        "mailgun-domain",
        Stage.FINAL_DOT,
        b"550 Domain mg.isp.example is not allowed to send: Account Terminated",
        ACCOUNT,
        EVER,
    ),
    (
        "gmail-relay",
        Stage.MAIL,
        b"550-5.7.0 Mail relay denied [192.0.2.1]. Invalid credentials for one of the domains in: isp.example",
        ACCOUNT,
        EVER,
    ),
    (
        "microsoft-connector",
        Stage.RCPT,
        b"550 5.7.64 TenantAttribution; Relay Access Denied [AM0EUR02FT012.eop-EUR02.prod.protection.outlook.com]",
        ACCOUNT,
        EVER,
    ),
    (
        "sender-domain",
        Stage.RCPT,
        b"450 4.1.8 <a@isp.invalid>: Sender address rejected: Domain not found",
        RECIPIENT,
        NOW,
    ),
    ("exim-sender-verify", Stage.RCPT, b"550 Sender verify failed", RECIPIENT, EVER),
    (
        "microsoft-bulk",
        Stage.FINAL_DOT,
        b"550 5.7.515 Access denied, sending domain isp.example does not meet the required authentication level.",
        MESSAGE,
        EVER,
    ),
    (
        "dmarc-policy",
        Stage.FINAL_DOT,
        (
            b"550 5.7.509 Access denied, sending domain isp.example does not pass DMARC verification and has a DMARC "
            b"policy of reject."
        ),
        MESSAGE,
        EVER,
    ),
    (
        "dmarc-policy",
        Stage.FINAL_DOT,
        b"550-5.7.26 Unauthenticated email from isp.example is not accepted due to\n550 5.7.26 domain's DMARC policy.",
        MESSAGE,
        EVER,
    ),
    (
        "unauthenticated",
        Stage.FINAL_DOT,
        (
            b"550-5.7.26 Your email has been blocked because the sender is unauthenticated.\n"
            b"550-5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.\n550 5.7.26 - gsmtp"
        ),
        MESSAGE,
        EVER,
    ),
    (
        "unauthenticated",
        Stage.FINAL_DOT,
        b"421-4.7.26 Your email has been rate limited because it is unauthenticated. Gmail\n421 4.7.26 requires all",
        ACCOUNT,
        NOW,
    ),
    (
        "spf",
        Stage.FINAL_DOT,
        b"550 5.7.27 Your email has been blocked because SPF did not pass. - gsmtp",
        MESSAGE,
        EVER,
    ),
    (
        "dkim",
        Stage.FINAL_DOT,
        b"550 5.7.30 Your email has been blocked because DKIM did not pass. - gsmtp",
        MESSAGE,
        EVER,
    ),
    (
        "alignment",
        Stage.FINAL_DOT,
        (
            b"550 5.7.32 Your email has been blocked because the From: header (RFC5322) in this message isn't aligned "
            b"with either the authenticated SPF or DKIM organizational domain."
        ),
        MESSAGE,
        EVER,
    ),
    ("spf-text", Stage.RCPT, b"550 5.7.1 Message rejected due to: SPF fail - not authorized", RECIPIENT, EVER),
    (
        "gmail-tls",
        Stage.FINAL_DOT,
        b"550 5.7.29 Your email has been blocked because it was not sent over a TLS connection. - gsmtp",
        MESSAGE,
        EVER,
    ),
    (
        "reverse-name",
        Stage.FINAL_DOT,
        b"550 5.7.25 The IP address sending this message does not have a PTR record setup",
        ACCOUNT,
        EVER,
    ),
    ("reverse-name", Stage.RCPT, b"450 4.7.25 Client host rejected: cannot find your hostname", ACCOUNT, NOW),
    ("reverse-name-code", Stage.RCPT, b"550 5.7.25 Reverse validation failed", ACCOUNT, EVER),
    (
        "gmail-spam",
        Stage.FINAL_DOT,
        b"550-5.7.1 [192.0.2.1] Gmail has detected that this message is likely unsolicited mail.",
        MESSAGE,
        EVER,
    ),
    (
        "gmail-attachment",
        Stage.FINAL_DOT,
        b"552-5.7.0 This message was blocked because its content presents a potential\n552 5.7.0 security issue.",
        MESSAGE,
        EVER,
    ),
    (
        "gmail-form",
        Stage.FINAL_DOT,
        b"550-5.7.1 This message is not RFC 5322 compliant, the issue is: duplicate From headers.",
        MESSAGE,
        EVER,
    ),
    (
        "virus",
        Stage.FINAL_DOT,
        b"552 5.7.1 virus Win.Test.EICAR_HDB-1 detected by Zoho Mail",
        MESSAGE,
        EVER,
    ),
    (
        "microsoft-outbound",
        Stage.FINAL_DOT,
        b"550 5.1.8 Access denied, bad outbound sender AS(42004)",
        ACCOUNT,
        EVER,
    ),
    ("microsoft-banned-account", Stage.FINAL_DOT, b"550 5.7.502 Access denied, banned sender", ACCOUNT, EVER),
    (
        "microsoft-tenant",
        Stage.FINAL_DOT,
        (
            b"550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP. For more information "
            b"please go to http://go.microsoft.com/fwlink/?LinkId=526653 AS(7230)"
        ),
        ACCOUNT,
        EVER,
    ),
    ("microsoft-tenant", Stage.FINAL_DOT, b"550 5.7.705 Access denied, tenant has exceeded threshold", ACCOUNT, NOW),
    (
        "microsoft-unregistered",
        Stage.FINAL_DOT,
        b"550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains",
        ACCOUNT,
        NOW,
    ),
    (
        "microsoft-banned-address",
        Stage.RCPT,
        (
            b"550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please visit "
            b"https://sender.office.com/ and follow the directions."
        ),
        ACCOUNT,
        EVER,
    ),
    (
        "outlook-block-list",
        Stage.MAIL,
        (
            b"550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service "
            b"provider since part of their network is on our block list (S3150)."
        ),
        ACCOUNT,
        EVER,
    ),
    (
        "helo-rejected",
        Stage.RCPT,
        b"504 5.5.2 <app1>: Helo command rejected: need fully-qualified hostname",
        ACCOUNT,
        EVER,
    ),
    (
        "client-block-list",
        Stage.RCPT,
        b"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
        ACCOUNT,
        EVER,
    ),
    (
        "block-list",
        Stage.RCPT,
        b"554 5.7.1 Service unavailable; Sender address [a@isp.example] blocked using dbl.spamhaus.org",
        RECIPIENT,
        EVER,
    ),
    (
        "yahoo-volume",
        Stage.MAIL,
        b"421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
        ACCOUNT,
        NOW,
    ),
    ("many-logins", Stage.AUTH, b"450 4.7.1 Error: too many AUTH commands from 192.0.2.1", ACCOUNT, NOW),
    ("many-logins", Stage.AUTH, b"454 4.7.0 Too many failed authentication attempts, try again later", ACCOUNT, NOW),
    (
        "yahoo-policy",
        Stage.FINAL_DOT,
        b"554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
        MESSAGE,
        EVER,
    ),
    ("zoho-blocked", Stage.AUTH, b"554 5.1.8 Sender Address Blocked", ACCOUNT, EVER),
    ("zoho-blocked", Stage.FINAL_DOT, b"554 5.1.8 Sender Address Blocked", ACCOUNT, EVER),
    (
        "ses-paused",
        Stage.FINAL_DOT,
        (
            b"554 Message rejected: Sending paused for this account. For more information, please check the inbox of the "
            b"email address associated with your AWS account."
        ),
        ACCOUNT,
        EVER,
    ),
    ("account-blocked", Stage.MAIL, b"550 5.7.1 Your account has been suspended", ACCOUNT, EVER),
    ("relay", Stage.RCPT, b"554 5.7.1 <joe@example.com>: Relay access denied", RECIPIENT, EVER),
    ("relay", Stage.RCPT, b"550 5.7.1 Unable to relay", RECIPIENT, EVER),
    ("relay", Stage.RCPT, b"550 I cannot deliver mail for <joe@example.com>", RECIPIENT, EVER),
    ("relay", Stage.RCPT, b"550 You are not allowed to relay", RECIPIENT, EVER),
    ("opensmtpd-no-rule", Stage.RCPT, b"550 Invalid recipient: <joe@example.com>", RECIPIENT, EVER),
    ("tls-required", Stage.MAIL, b"400 STARTTLS is required first.", ACCOUNT, NOW),
    (
        "relay",
        Stage.RCPT,
        b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
        RECIPIENT,
        EVER,
    ),
    (
        "directory-edge",
        Stage.RCPT,
        b"550 5.4.1 Recipient address rejected: Access denied. [AM0EUR02FT012]",
        RECIPIENT,
        EVER,
    ),
    ("closed-group", Stage.RCPT, b"550 5.7.133 Sender not authenticated for group", RECIPIENT, EVER),
    (
        "closed-group-text",
        Stage.RCPT,
        b"550 5.7.1 RESOLVER.RST.AuthRequired; authentication required",
        RECIPIENT,
        EVER,
    ),
    (
        "login-wanted",
        Stage.RCPT,
        (
            b"550-Please turn on SMTP Authentication in your mail client.\n"
            b"550-(app1.isp.example) [192.0.2.1]:41234 is not permitted to relay\n"
            b"550 through this server without authentication."
        ),
        ACCOUNT,
        EVER,
    ),
    (
        "client-rejected",
        Stage.RCPT,
        b"554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
        ACCOUNT,
        EVER,
    ),
]

# They hold a word or a code of a row, and mean something else.
NEAR_MISSES = [
    b"250 2.0.0 Ok: queued as 4SPAMHAUS1",
    b"535 5.7.8 Username and Password not accepted",
    b"535 5.7.0 Too many bad auth attempts",
    b"550 5.7.30 REQUIRETLS support required",
    b"556 5.7.27 Sender address has null MX",
    b"550 5.7.29 ARC validation failure",
    b"535 5.7.3 whatever",
    b"550 5.1.8 Sender address has no domain",
    b"550 5.4.1 No answer from host",
    b"554 5.7.1 <a@b>: Sender address rejected: Access denied",
    b"554 5.7.1 <a@b>: Recipient address rejected: Access denied",
    b"550 The domain of the recipient is not allowed to send mail here",
    b"450 4.1.8 <a@b>: Sender address rejected: unverified address",
    b"550 5.1.1 <spf@example.com>: user unknown",
    b"550 5.2.1 <virus@example.com>: mailbox disabled",
    b"452 4.2.2 mailbox full, quota exceeded",
    b"550 5.7.1 we do not like dmarc",
    b"530 Authentication required",
    b"421 4.3.2 shutting down",
    b"554 computer says no",
    b"550 5.7.1390 made up",
    b"550 5.1.1 <joe@example.com> Invalid recipient",
    b"550 Invalid recipient: the mailbox of joe is closed",
]


def reply_of(text: bytes) -> Reply:
    """The reply as the client reads it; a first line alone ends it."""
    lines = text.split(b"\n")
    lines[-1] = lines[-1][:3] + b" " + lines[-1][4:]
    return parse_reply(lines)


@pytest.mark.parametrize(
    ("name", "stage", "text", "scope", "kind"), REPLIES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_real_reply_is_known_and_what_becomes_of_the_mail_fits(
    name: str, stage: Stage, text: bytes, scope: Scope, kind: Kind
) -> None:
    reply = reply_of(text)
    row = REFUSALS[name]
    assert known_refusal(reply) is row
    trouble = classify(stage, reply)
    assert (trouble.why, trouble.remedy) == (row.why, row.remedy)
    assert (trouble.scope, trouble.kind) == (scope, kind)


def test_every_row_has_a_real_reply() -> None:
    assert {name for name, *_ in REPLIES} == set(REFUSALS)


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_what_only_looks_like_it_is_not_taken_for_a_known_refusal(text: bytes) -> None:
    assert known_refusal(reply_of(text)) is None


@pytest.mark.parametrize("name", REFUSALS)
def test_every_row_says_why_in_a_sentence_and_what_to_do(name: str) -> None:
    row = REFUSALS[name]
    assert row.words or row.status or row.says
    for text in filter(None, (row.why, row.remedy, row.advice)):
        assert text.isascii()
        assert text.isprintable()
        assert not text.endswith((".", " "))
    assert row.why
    assert row.remedy
    assert all(words == words.lower() for words in row.words)


@pytest.mark.parametrize("text", [b"550 5.7.515 Access denied", b"550 5.7.26 unauthenticated", b"421 4.7.26 limited"])
def test_a_domain_that_is_not_believed_sends_the_reader_to_check_dns(text: bytes) -> None:
    assert "ucrmmail check-dns" in classify(Stage.FINAL_DOT, reply_of(text)).remedy


def test_a_blocked_account_bounces_nothing_and_says_whether_it_may_end_by_itself() -> None:
    """Otherwise a provider that locks the account would make us return the whole queue to its senders."""
    for text in (b"550 5.1.8 Access denied, bad outbound sender", b"451 4.1.8 Access denied, bad outbound sender"):
        reply = reply_of(text)
        assert concerns_account(reply)
        for stage in (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL_DOT):
            trouble = classify(stage, reply)
            assert trouble.scope is Scope.ACCOUNT
            assert trouble.kind is (Kind.PERMANENT if reply.code >= 500 else Kind.TRANSIENT)
