"""What servers say of our own host and account, in their own words; and what only sounds like it."""

from __future__ import annotations

import pytest

from ucrmmail.message.outcome import Kind, Scope, Stage
from ucrmmail.message.refusals import REFUSALS, known_refusal
from ucrmmail.message.reply import Reply, read_told
from ucrmmail.smtp.trouble import classify

HELO, PTR, LISTED = "helo-rejected", "reverse-name", "client-block-list"
REFUSED, LOGIN, STOPPED = "client-rejected", "login-wanted", "account-blocked"
ASKED = (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL_DOT)

# Who says it, in whatever answer to the envelope or the message; the row; the reply.
OURS = [
    ("Postfix", HELO, "504 5.5.2 <app1>: Helo command rejected: need fully-qualified hostname"),
    ("Postfix", HELO, "501 5.5.2 <a_b>: Helo command rejected: Invalid name"),
    ("Postfix", HELO, "550 5.7.1 <app1.isp.example>: Helo command rejected: Host not found"),
    ("Postfix", HELO, "450 4.7.1 <app1.isp.example>: Helo command rejected: Host not found"),
    ("Postfix", HELO, "554 5.7.1 <localhost>: Helo command rejected: Access denied"),
    ("Postfix", HELO, "554 5.7.1 Service unavailable; Helo command [app1.isp.example] blocked using dbl.spamhaus.org"),
    ("cPanel", HELO, "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)"),
    ("cPanel", HELO, "550 REJECTED - Bad HELO - Host impersonating [isp.example]"),
    ("cPanel", HELO, "550 HELO should be a FQDN or address literal (See RFC 2821 4.1.1.1)"),
    ("sendmail", HELO, "550 5.0.0 bogus HELO name used: app1"),
    ("Exchange Online", HELO, "550 5.7.1 Service unavailable, Helo domain is listed in Spamhaus."),
    ("a university", HELO, "550 Please use your real hostname when saying HELO (not HSP-AV01)"),
    ("spamdyke", HELO, "553 sorry, your HELO/EHLO greeting does not resolve (#5.7.1)"),
    ("Postfix", PTR, "550 5.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]"),
    ("Postfix", PTR, "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]"),
    (
        "AT&T",
        PTR,
        "550 5.7.1 Connections not accepted from servers without a valid sender domain. Fix reverse DNS for x",
    ),
    ("Rackspace", PTR, "450 4.7.1 Client host 192.0.2.1 has no PTR record (G1F)"),
    ("IONOS", PTR, "554 Bad DNS PTR resource record."),
    ("Mail.ru", PTR, "550 We do not accept mail from hosts with dynamic IP or generic dns PTR-records"),
    ("a filter", PTR, "550 This system will not accept messages from servers/devices with no reverse DNS"),
    ("Postfix", LISTED, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"),
    ("Postfix", LISTED, "451 4.7.1 Service unavailable; Client host [2001:db8::1] blocked using bl.spamcop.net"),
    (
        "Yandex",
        LISTED,
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using spamsource.mail.yandex.net",
    ),
    ("Mailgun's list", LISTED, "554 Service unavailable; Client host [isp.example] blocked by bl.spamcop.net"),
    (
        "Exchange Online",
        LISTED,
        "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus. (AS1601)",
    ),
    (
        "Cloudmark",
        LISTED,
        "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using Cloudmark Sender Intelligence",
    ),
    ("Cloudmark", LISTED, "554 gw.example cmsmtp [192.0.2.1] is listed on Cloudmark CSI-Global. AUP#RBL"),
    ("Yahoo", LISTED, "553 5.7.1 [BL23] Connections will not be accepted from 192.0.2.1, because the ip is in a list"),
    ("AT&T", LISTED, "553 5.3.0 flpd568 DNSBL:RBL 521< 192.0.2.1 >_is_blocked.For assistance forward this error"),
    ("Comcast", LISTED, "554 po-01v.example comcast 192.0.2.1 Comcast block for spam.  Please see http://x/#BL000000"),
    ("Orange", LISTED, "550 5.7.1 Adresse IP source bloquee. Client host blocked for spamming issues. OFR006_102"),
    ("Free", LISTED, "550 Too many spams from your IP (192.0.2.1), please visit http://postmaster.free.fr/"),
    ("Proofpoint", LISTED, "554 Blocked - see https://support.proofpoint.com/dnsbl-lookup.cgi?ip=192.0.2.1"),
    (
        "Mimecast",
        LISTED,
        "550 csi.mimecast.org Poor Reputation Sender. https://community.mimecast.com/docs/DOC-1369#550",
    ),
    ("Barracuda", LISTED, "550 5.7.1 Email blocked by b.barracudacentral.org"),
    ("IONOS", LISTED, "554 IP address is black listed."),
    ("NetEase", LISTED, "550 black ip."),
    ("Mail.ru", LISTED, "550 We do not accept mail from dynamic IPs"),
    ("a hoster", LISTED, "554 5.7.1 Rejected - your IP address was found in a blacklist for sending spam."),
    ("EarthLink", LISTED, "550 IP 192.0.2.1 is blocked by EarthLink"),
    ("a relay", LISTED, "550 5.7.1 [192.0.2.1] blocked"),
    ("Exchange Online", "microsoft-banned-address", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]."),
    (
        "Outlook.com",
        "outlook-block-list",
        "550 5.7.1 contact your provider since part of their network is on our block list",
    ),
    ("Yahoo", "yahoo-volume", "553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred"),
    ("Postfix", REFUSED, "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied"),
    ("SFR", REFUSED, "554 5.7.1 <x[192.0.2.1]>: Client host rejected: Abus detecte GU_EIB_02"),
    ("Exchange", REFUSED, "550 5.7.1 Client does not have permissions to submit to this server"),
    (
        "Exchange",
        REFUSED,
        "550 5.7.1 External client with IP address 192.0.2.1 does not have permissions to submit to this server.",
    ),
    ("Exchange", REFUSED, "550 5.7.1 Your access to submit messages to this e-mail system has been rejected"),
    ("a filter", REFUSED, "550 You are not allowed to connect"),
    ("BellSouth", REFUSED, "550 unauthorized interface for <192.0.2.1>"),
    ("a relay", REFUSED, "550 5.7.1 This IP address is not authorized to use the relay"),
    ("cPanel", LOGIN, "550 Please turn on SMTP Authentication in your mail client."),
    ("cPanel", LOGIN, "550 (app1) [192.0.2.1]:1 is not permitted to relay through this server without authentication."),
    ("Postfix", "not-logged-in", "553 5.7.1 <a@isp.example>: Sender address rejected: not logged in"),
    ("a relay", LOGIN, "550 5.7.1 authentication required"),
    ("a relay", LOGIN, "551 5.7.1 You must authenticate first"),
    ("a relay", LOGIN, "554 5.7.1 You are not authorized to send mail, authentication is required"),
    ("a relay", LOGIN, "553 You need to log in before you send"),
    ("NetEase", LOGIN, "553 authentication is required,163 smtp4,x 12345"),
    ("SendGrid", LOGIN, "550 Unauthenticated senders not allowed"),
    ("Exchange", LOGIN, "550 5.7.1 Client was not authenticated"),
    ("Orange", LOGIN, "550 5.7.1 Authentification requise. Authentication Required. OFR_402"),
    ("MailEnable", LOGIN, "550 SMTP AUTH is required for message submission on port 587"),
    ("Brevo", LOGIN, "502 5.7.0 Please authenticate"),
    ("an old relay", LOGIN, "550 5.7.1 This server uses POP before SMTP"),
    ("a relay", STOPPED, "550 5.7.1 Your account has been suspended"),
    ("SMTP2GO", STOPPED, "552 Your account has been suspended. Please contact us to reactivate"),
    (
        "a relay",
        STOPPED,
        "554 5.7.1 <a@isp.example>: Sender address rejected: your account sends too much spam, locked",
    ),
    (
        "a policy service that Postfix asks at RCPT",
        STOPPED,
        "554 5.7.1 <joe@example.com>: Recipient address rejected: Your account has been suspended, contact support",
    ),
    (
        "the same",
        STOPPED,
        "554 5.7.1 <joe@example.com>: Recipient address rejected: Your account has been compromised, contact support",
    ),
    ("Mail.ru", STOPPED, "550 message sending for this account is disabled"),
    ("cPanel", STOPPED, '550 Outgoing mail from "isp.example" has been suspended.'),
    ("cPanel", STOPPED, "550 Domain isp.example has an outgoing mail suspension. Message discarded."),
    ("cPanel", STOPPED, "550 Domain isp.example has an outgoing mail hold. Message will be reattempted later"),
    ("OVH", STOPPED, "550 5.7.1 Your email account is locked for spam"),
    ("a relay", STOPPED, "554 5.7.1 account is blocked for outgoing mail"),
    ("Postfix", STOPPED, "554 5.7.1 <isp>: SASL login name rejected: Access denied"),
    ("Postfix", STOPPED, "550 5.7.1 <a@isp.example>: SASL login name rejected: account suspended"),
    ("Postfix", STOPPED, "454 4.7.1 <isp>: SASL login name rejected: Try again later"),
    ("Postfix", STOPPED, "554 5.7.1 <app1[192.0.2.1]>: Client certificate rejected: Access denied"),
    ("Postfix", STOPPED, "554 5.7.1 <a@isp.example>: Sender address rejected: account suspended"),
    ("Postfix", STOPPED, "550 5.7.1 <a@isp.example>: Sender address rejected: this account has been suspended"),
    ("Postfix", STOPPED, "554 5.7.1 <a@isp.example>: Sender address rejected: user is blocked"),
    ("Postfix", STOPPED, "451 4.7.1 <a@isp.example>: Sender address rejected: mailbox temporarily locked"),
    ("Brevo", STOPPED, "502 5.7.0 Unfortunately, your SMTP account is not yet activated. Please contact us"),
    ("Zoho", "zoho-blocked", "554 5.1.8 Email Outgoing Blocked"),
    ("a host's name", REFUSED, "554 5.7.1 <spf.isp.example[192.0.2.1]>: Client host rejected: Access denied"),
    ("a host's name", LISTED, "554 5.7.1 Client host dkim.isp.example [192.0.2.1] blocked using zen.spamhaus.org"),
    ("an address", LISTED, "554 5.7.1 your IP address 192.0.2.1 is blocked (to: dmarc@example.com)"),
    ("a page", LISTED, "554 5.7.1 blocked, see <https://www.spamhaus.org/query/ip/192.0.2.1>"),
]

# It names a recipient, the content, a sender's domain, or what a far server said: nobody's account is in the way.
OTHERS = [
    ("Gmail", "550 5.2.1 The email account that you tried to reach is disabled."),
    ("Gmail", "550 5.2.1 The email account that you tried to reach is inactive."),
    ("Yahoo", "554 delivery error: dd Sorry your message to a@b cannot be delivered. This account has been disabled"),
    ("Yahoo", "554 30 Sorry, your message to a@b cannot be delivered. This mailbox is disabled (554.30)."),
    ("BellSouth", "550 [suspend] Mailbox currently suspended--Please contact correspondent directly."),
    ("Yandex", "554 5.7.1 Policy rejection on the target address"),
    ("qmail", "550 vdelivermail: the mailbox of this recipient: account is locked, email bounced"),
    ("Postfix", "550 5.7.1 <joe@example.com>: Recipient address rejected: this account is suspended"),
    ("Postfix", "554 5.7.1 <joe@example.com>: Recipient address rejected: Access denied"),
    ("Postfix", "554 5.7.1 <a@isp.example>: Sender address rejected: Access denied"),
    ("Postfix", "550 5.7.1 <a@isp.example>: Sender address rejected: undeliverable address: host x said: 550 user disabled"),
    ("Postfix", "554 5.7.1 <a@isp.example>: Sender address rejected: blocked using dbl.example"),
    ("Postfix", "550 5.7.27 <a@isp.example>: Sender address rejected: Domain isp.example does not accept mail (nullMX)"),
    ("Postfix", "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied"),
    ("Postfix", "550 5.7.1 <joe@example.com>: Recipient address rejected: SASL login name of the account is blocked"),
    ("Postfix", "550 5.1.1 <sasl login name rejected@example.com>: Recipient address rejected: User unknown"),
    ("an address", "550 5.1.1 <your-account-is-suspended@example.com>: user unknown"),
    ("an address", "550 5.1.1 <authentication-required@example.com> user unknown"),
    ("an address", "550 5.1.1 helo-command-rejected@example.com: user unknown"),
    ("an address", "550 5.1.1 <ptr-records@example.com>: Recipient address rejected: User unknown"),
    ("an address", "550 ptr-records@example.com: user unknown"),
    ("an address", "550 No such user <reverse dns@example.com>"),
    ("a host's name", "550 5.1.2 host zen.spamhaus.example not found"),
    ("a host's name", "550 5.1.1 User unknown in domain ip-blocked.example"),
    ("Exchange", "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required"),
    ("a list", "550 5.7.1 authentication required for this list"),
    ("Exchange Online", "550 5.7.133 Sender not authenticated for group"),
    ("Gmail", "550 5.7.26 This mail has been blocked because the sender is unauthenticated."),
    ("Gmail", "550 5.7.1 authentication is required: SPF or DKIM must pass"),
    ("GoDaddy", "550 5.1.0 192.0.2.1 is not allowed to send from <isp.example> per its SPF Record"),
    ("Google", "550 5.7.1 [192.0.2.1] Gmail has detected that this message is likely unsolicited mail."),
    ("Yandex", "554 5.7.1 Message rejected under suspicion of SPAM"),
    ("rspamd", "554 5.7.1 Spam message rejected"),
    ("Cisco", "554 5.7.1 The message contains a URL that is listed in a blacklist"),
    ("Apple", "550 5.7.1 Your email was rejected due to having a domain present in the Spamhaus DBL"),
    ("Apple", "554 5.7.1 [CS01] Message rejected due to local policy."),
    ("Postfix", "554 5.7.1 Service unavailable; Sender address [a@isp.example] blocked using dbl.spamhaus.org"),
    ("Barracuda", "554 rejecting banned content"),
    ("Gmail", "552 5.7.0 This message was blocked because its content presents a potential security issue."),
    ("GMX", "554 Transaction failed. Reject due to policy restrictions."),
    ("a filter", "550 Message blocked"),
    ("a filter", "550 5.7.1 The user has blocked this sender"),
    ("Postfix", "550 <a@b>: undeliverable: host mx.example.com said: 554 Client host [192.0.2.1] blocked using zen"),
    ("Postfix", "550 5.1.1 <a@b>: Recipient address rejected: host mx.example.com said: 550 Invalid HELO name"),
    ("Postfix", "554 5.7.1 host mx.example.com said: 550 5.7.606 Access denied, banned sending IP [192.0.2.1]"),
    ("Exim", "550 Callout verification failed: 550 5.7.25 Client host rejected: cannot find your hostname"),
    ("Exim", "550 Verification failed: SMTP error from remote mail server after RCPT TO: 550 authentication required"),
    ("a gateway", "550 5.7.1 Remote server returned 554 5.7.1 your IP address is blacklisted"),
]  # fmt: skip


def reply_of(told: str) -> Reply:
    reply = read_told(told)
    assert reply is not None
    return reply


@pytest.mark.requirement("S19")
@pytest.mark.parametrize("stage", ASKED)
@pytest.mark.parametrize(("row", "told"), [(row, told) for _server, row, told in OURS])
def test_what_is_about_our_own_host_or_account_makes_the_queue_wait(row: str, told: str, stage: Stage) -> None:
    reply = reply_of(told)
    assert known_refusal(reply) is REFUSALS[row]
    trouble = classify(stage, reply)
    permanent = reply.code >= 500
    assert trouble.scope is Scope.ACCOUNT
    assert trouble.kind is (Kind.PERMANENT if permanent else Kind.TRANSIENT)
    assert trouble.exit_code == (77 if permanent else 75)
    assert (trouble.why, trouble.remedy) == (REFUSALS[row].why, REFUSALS[row].remedy)


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.FINAL_DOT])
@pytest.mark.parametrize("told", [told for _server, told in OTHERS])
def test_what_is_a_recipients_or_the_contents_is_reported_to_the_sender(told: str, stage: Stage) -> None:
    trouble = classify(stage, reply_of(told))
    assert trouble.scope is (Scope.RECIPIENT if stage is Stage.RCPT else Scope.MESSAGE)
    assert trouble.kind is Kind.PERMANENT


@pytest.mark.parametrize(
    ("told", "senders"),
    [
        ("550 5.7.0 Local Policy Violation: account disabled", (Stage.MAIL, Stage.DATA, Stage.FINAL_DOT)),
        ("550 5.7.1 Account suspended due to spam; contact support", (Stage.MAIL, Stage.DATA, Stage.FINAL_DOT)),
        ("451 4.7.1 User is temporarily blocked", (Stage.MAIL, Stage.DATA, Stage.FINAL_DOT)),
        ("550 5.2.1 Mailbox disabled / account suspended", (Stage.MAIL,)),
        ("550 User suspended", (Stage.MAIL, Stage.DATA, Stage.FINAL_DOT)),
    ],
)
def test_an_account_that_is_stopped_is_the_senders_where_no_recipient_is_asked_for(
    told: str, senders: tuple[Stage, ...]
) -> None:
    for stage in ASKED:
        trouble = classify(stage, reply_of(told))
        assert (trouble.scope is Scope.ACCOUNT) is (stage in senders), stage
        assert (trouble.why == REFUSALS[STOPPED].why) is (stage in senders), stage


@pytest.mark.parametrize("told", ["503 5.5.1 Error: send HELO/EHLO first", "503 5.5.1 HELO is not accepted now"])
def test_commands_out_of_step_say_nothing_of_our_name(told: str) -> None:
    assert known_refusal(reply_of(told)) is None
    assert classify(Stage.MAIL, reply_of(told)).scope is Scope.MESSAGE


@pytest.mark.parametrize("told", ["503 5.5.1 author@example.com: bad sequence", "503 5.5.1 <auth@example.com>: again"])
def test_an_address_asks_for_no_login(told: str) -> None:
    trouble = classify(Stage.RCPT, reply_of(told))
    assert (trouble.scope, trouble.kind) == (Scope.MESSAGE, Kind.TRANSIENT)


def test_a_list_is_named_also_when_a_far_server_was_heard() -> None:
    told = "550 host mx.example.com said: 554 Client host [192.0.2.1] blocked using zen.spamhaus.org"
    assert known_refusal(reply_of(told)) is REFUSALS["block-list"]
