"""Whose limit a refusal tells of: real texts of real providers, and the look-alikes that are somebody else's."""

from __future__ import annotations

import pytest

from ucrmmail.message.outcome import Kind, Scope, Stage
from ucrmmail.message.quotas import is_quota, is_too_many_recipients
from ucrmmail.message.reply import Reply
from ucrmmail.smtp.trouble import classify
from ucrmmail.smtp.wire import parse_reply

SENDERS = [
    "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to ... - gsmtp",
    "550 5.4.5 Daily SMTP relay limit exceeded for customer.",
    "550 5.7.1 Daily SMTP relay sending limit exceeded for user.",
    "450 4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary error.",
    "421 4.7.28 Gmail has detected an unusual rate of mail originating from your IP address.",
    "454 4.7.0 Too many login attempts, please try again later.",
    "454 Throttling failure: Maximum sending rate exceeded.",
    "454 Throttling failure: Daily message quota exceeded.",
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message",
    "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
    "421 4.4.2 Message submission rate for this client has exceeded the configured limit",
    "550 5.2.252 Sender throttled due to continuous send as denied errors.",
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
    "550 5.7.232 Your message can't be sent because your trial tenant has exceeded its daily limit",
    "550 5.7.233 in whatever words",
    "550 recipient rate limit exceeded",
    "554 5.7.1 <joe@example.com>: Recipient address rejected: You have exceeded your Outmail quota",
    "550 5.7.1 User over quota for outgoing messages",
    "550 5.4.6 Unusual sending activity detected.",
    "451 Authentication failed: Maximum credits exceeded",
    # Courier's ratefilter
    "500 Number of messages exceeded administrative limit.",
    "550 Domain isp.example has exceeded the max emails per hour (151/150 (100%)) allowed. Message discarded.",
    "550 Domain isp.example has exceeded the max defers and failures per hour (5/5 (100%)) allowed.",
    "450 4.7.1 Error: too much mail from 192.0.2.1",
    "450 4.7.1 Error: too many recipients from 192.0.2.1",
    '451 4.7.1 Ratelimit "user" exceeded',
    "450 4.7.0 too many messages, slow down",
    "550 Too many messages. Try again in 92 seconds.",
    "554 5.7.1 Data command rejected: only 10 messages per day",
    "450 You are sending too many emails too fast.",
    # Plesk
    "554 5.7.0 The limit on the number of allowed outgoing messages was exceeded. Try again later.",
    # GoDaddy
    "550 Message would take you over your relay quota of 5. Current quota used: 5",
    "550 User a@isp.example has exceeded its 24-hour sending limit. Messages to 25 recipients out of 25 allowed were sent.",
    # QQ
    "550 Sender frequency limited. http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000723",
    "550 Connection frequency limited",
    "550 Domain frequency limited",
    "550 Ip frequency limited",
    # GMX, IONOS
    "550 Requested action not taken: mailbox unavailable Failure sending mail. Try again later.",
    "450 Requested mail action not taken: mailbox unavailable Mail send limit exceeded.",
    "554 Transaction failed Mail send limit exceeded.",
    # MailRoute, and others with policyd
    "554 5.7.1 <joe@example.com>: Recipient address rejected: Policy Rejection- Quota Exceeded.",
    "450 4.7.1 <joe@example.com>: Recipient address rejected: Policy Rejection- Quota Exceeded.",
    # postfwd
    "554 5.7.1 <DATA>: Data command rejected: limit of 400 rcpts per 24 hours for client a@isp.example reached",
    "554 5.7.1 <joe@example.com>: Recipient address rejected: only 5 recipients per 5 minutes allowed",
    "450 4.7.1 <joe@example.com>: Recipient address rejected: sorry, max 30 messages per hour",
    "450 4.7.1 <END-OF-MESSAGE>: End-of-data rejected: sorry, max 1.5mb per hour",
    "450 4.7.1 <joe@example.com>: Recipient address rejected: Number messages per hour exceeded",
    # Others
    "550 send spam mail rejected: exceeded hour limit",
    "550 5.7.1 Your mail limit has been reached.",
    "550 5.7.0 The email limit is reached. Please upgrade your plan",
    "550 5.7.0 Requested action not taken: too many emails per second",
    "462 Daily send limit reached. Please try again tomorrow",
    "554 5.7.1 <joe@example.com>: Recipient address rejected: Email Sending Quota Exceeded",
    "550 5.7.508 Access denied, [2001:db8::1] has exceeded permitted limits within /64 range",
    "450 4.7.1 <joe@example.com>: Recipient address rejected: Rate limit exceeded, retry later",
    "554 5.7.1 <joe@example.com>: Recipient address rejected: Too many messages from your account",
    "450 4.7.1 <a@isp.example>: Sender address rejected: Too many recipients sent in the last hour",
    "550 5.7.1 You have exceeded your monthly limit of messages",
    "550 You have exceeded the limit of 500 emails in 24 hours",
    "552 Too many recipients received this hour",
    "452 4.5.3 Error: too many recipients per hour",
    "452 4.3.1 daily quota exceeded",
    # Migadu, Mailgun, SendGrid
    "554 5.7.1 Reached address outgoing limits for a@isp.example",
    "554 Your account is on probation and domains are limited to 100 messages / hour. It will be enabled in 341 seconds",
    "451 You have exceeded your messaging limits",
    # Exim, as its specification and guides have it
    "450 Sender rate exceeds 100 messages per 1h",
    "550 a@isp.example is sending too much emails - rate overlimit = 200.1 / 1h",
    "451 Number of sent emails has exceeded our IP limit. Come back later.",
    # Hosting shops
    "450 4.7.1 <joe@example.com>: Recipient address rejected: message count quota exceeded",
    "550 Your probation email allowance is exhausted",
]
OTHERS = [
    "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend your message later.",
    "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages",
    "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded",
    "450 4.7.1 Greylisted, please try again in 300 seconds",
    "451 4.7.1 Greylisting in action, too many requests",
    "452 4.2.2 The email account that you tried to reach is over quota.",
    "552 5.2.2 The recipient's inbox is out of storage space",
    "552 5.2.2 mailbox full: quota exceeded",
    "452 4.3.1 Insufficient system storage",
    "552 5.3.4 Message size exceeds fixed limit",
    "552 5.3.4 Your message exceeded Google's message size limits.",
    "452 4.5.3 Your message has too many recipients.",
    "452 4.5.3 Domain policy size per transaction exceeded, please try this recipient in a separate transaction.",
    "554 5.4.6 Message exceeded 50 hops, this may indicate a mail loop.",
    "550 5.1.1 no such user",
    "554 5.7.1 spam",
    "451 4.3.0 Mail server temporarily rejected message.",
    "250 2.0.0 queued, throttled",
    "452 4.3.1 quota exceeded",
    "552 5.2.2 quota exceeded",
    "450 4.7.1 too many of them",
    "450 4.7.0 too few of them",
    "450 4.1.1 <joe@example.com>: unverified address: host mx.example.com[192.0.2.9] said: 421-4.7.28 an unusual rate",
    "450 4.1.0 <joe@example.com>: unverified address: host mx.example.com[192.0.2.9] said: too much mail from 192.0.2.1",
    "550 5.7.1 <joe@example.com>: undeliverable: host mx.example.com said: 550 5.4.5 Daily sending quota exceeded",
    "550 Callout verification failed: 550 Sending limit exceeded",
    "550 5.7.1 Remote server said: 450 rate limit exceeded",
    "550 5.1.1 User unknown in domain ratelimit.example",
    "550 5.1.2 host daily.limit.example not found",
    "550 5.1.3 too many requests for a malformed address",
    "451 4.1.6 sending limit of the old address exceeded",
    "556 5.1.10 domain hourly-exceeded.example does not accept mail",
    "550 Disk quota exceeded",
    "451 4.3.0 disk quota exceeded",
    "550 Requested mail action aborted: exceeded storage allocation, Quota exceeded",
    "550 User has too many messages on the server.",
    "550 Requested action not taken: mailbox unavailable",
    "550 <joe@example.com>: Requested action not taken: mailbox unavailable",
    "550 Mailbox unavailable or access denied",
    "550 Mailbox not found. http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000728",
    "552 The message exceeds the size limit for outgoing mail",
    "550 5.7.1 Message exceeds the 25 MB limit for outbound mail",
    "554 5.7.1 <joe@example.com>: Recipient address rejected: Policy Rejection- This ip has been blacklisted.",
    "450 4.7.1 <joe@example.com>: Recipient address rejected: Policy Rejection- Please try later.",
    "450 4.7.1 <joe@example.com>: Recipient address rejected: Greylisted for 5 minutes, too many requests",
    "554 5.2.2 <joe@example.com>: Recipient address rejected: Quota exceeded (mailbox for user is full)",
    "554 5.7.1 <joe@example.com>: Recipient address rejected: Quota exceeded",
    "552 5.2.2 <joe@example.com>: Recipient address rejected: Mailbox is full / Quota exceeded",
    "450 4.2.1 This recipient has received too many messages",
    "550 5.2.122 Recipient's per hour message receive limit exceeded",
    "554 5.7.1 Message rejected as spam by content filtering, again in 24 hours",
    "550 5.7.1 the sender is limited to members",
    "550 5.7.1 this list is limited to 100 members",
    "552 The message exceeds the outgoing limits",
    "550 5.7.1 The message exceeds a limit, see https://postmaster.example.com/help/3d",
    "450 4.2.1 the mailbox has reached its limit of 100 messages / hour",
    "552 5.2.2 Mailbox full: maximum number of messages exceeded",
    "450 4.7.0 Too many bad recipients; closing connection",
]


@pytest.mark.parametrize("text", SENDERS)
@pytest.mark.parametrize("stage", [Stage.AUTH, Stage.MAIL, Stage.RCPT, Stage.FINAL_DOT])
def test_a_quota_of_the_sender_defers_the_account_and_costs_no_attempt(text: str, stage: Stage) -> None:
    trouble = classify(stage, parse_reply([text.encode()]))
    assert (trouble.scope, trouble.kind, trouble.quota, trouble.exit_code) == (
        Scope.ACCOUNT, Kind.TRANSIENT, True, 75,
    )  # fmt: skip
    assert trouble.remedy


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("400 rate limit", True),
        ("451 4.7.0 too many of them", True),
        ("550 5.7.0 too many of them", True),
        ("453 4.3.2 quota exceeded", True),
        ("553 5.2.1 quota exceeded", True),
        ("453 4.3.1 quota exceeded", False),
        ("553 5.2.2 quota exceeded", False),
        ("536 too many auth attempts", True),
        ("535 too many auth attempts", False),
        ("354 rate limit", False),
    ],
)
def test_a_code_and_its_words_together_mean_a_quota(text: str, quota: bool) -> None:
    assert is_quota(parse_reply([text.encode()])) is quota


@pytest.mark.requirement("S3")
def test_what_a_long_reply_means_its_beginning_says() -> None:
    """A server may send 64 KiB for each of a thousand recipients: to search all of it costs more than the message."""
    assert is_quota(Reply(450, "", ("x" * 4000 + " too many messages",)))
    assert not is_quota(Reply(450, "", ("x" * 4096 + " too many messages",)))
    assert not is_quota(Reply(450, "", ("<" * 60_000, "@" * 60_000)))


def test_an_address_says_nothing_of_a_quota() -> None:
    assert not is_quota(Reply(550, "", ("no such user <too many messages@example.com>",)))
    assert not is_quota(Reply(550, "", ("no such user rate-limit@example.com (and no <<throttl@x>)",)))


@pytest.mark.parametrize("text", OTHERS)
def test_a_limit_of_somebody_else_is_no_quota_of_the_sender(text: str) -> None:
    reply = parse_reply([text.encode()])
    assert not is_quota(reply)
    if reply.code >= 400:
        assert classify(Stage.RCPT, reply).scope is Scope.RECIPIENT
        assert classify(Stage.FINAL_DOT, reply).scope is Scope.MESSAGE


@pytest.mark.parametrize(
    ("text", "too_many"),
    [
        ("452 4.5.3 too many recipients", True),
        ("452 too many recipients", True),
        ("552 Too many recipients", True),
        ("550 5.5.3 too many recipients", True),
        ("452 4.2.2 mailbox full", False),
        ("452 4.3.1 no space", False),
        ("552 5.2.2 mailbox full", False),
        ("450 4.7.1 Error: too many recipients from 192.0.2.1", False),
        ("250 2.5.3 fine", False),
        ("452 4.2.2 too many recipients", False),
        ("552 5.0.0 too many recipients", False),
        ("450 too many recipients", False),
        ("431 Too many recipients.", True),
        ("531 Too many recipients.", True),
        ("550 Too many recipients", True),
        ("554 Transaction failed: Recipient count exceeds 50.", True),
        ("550 too many recipients from 192.0.2.1", False),
        ("550 5.7.1 too many recipients", False),
        # Salmon
        ("451 Will not accept multiple recipients in one transaction", True),
        ("451 4.7.1 Only one recipient at a time, please", True),
        ("451 4.7.1 The same message to multiple recipients looks like spam", False),
        ("400 4.5.3 too many recipients", True),
        ("503 5.5.3 too many recipients", True),
        ("452 4.5.3 Too many recipients received this hour", False),
        ("550 Too many recipients per day", False),
        (
            "452 4.5.3 Your message has too many recipients. For more information regarding Google's sending limits",
            True,
        ),
    ],
)
def test_too_many_recipients_of_one_transaction_are_told_apart(text: str, too_many: bool) -> None:
    assert is_too_many_recipients(parse_reply([text.encode()])) is too_many
