"""Which limit of the server a refusal means: the sender's quota, one of a transaction, of a connection, or of a moment.

There is no status code that all use for these, so the words decide, as the providers have them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ucrmmail.message.words import is_of_others, words_of

if TYPE_CHECKING:
    from ucrmmail.message.reply import Reply

_CLOSING = 421
# Status codes that mean a quota of the sender wherever they come from: congestion (RFC 3463, X.4.5), with which Google
# says "Daily user sending limit exceeded"; Google's "unusual rate" (support.google.com/a/answer/3726730); Microsoft's
# daily limit of recipients, a tenant over its threshold, its limit for external recipients, too much from one network
# (learn.microsoft.com, NDR codes in Exchange Online).
_QUOTA_STATUS = frozenset(
    {"4.4.5", "5.4.5", "4.7.28", "5.7.28", "5.1.90", "5.7.232", "5.7.233", "5.7.508", "5.7.705", "5.7.750"}
)
# Words that only a quota of the sender has.
_QUOTA_WORDS = (
    "sending limit",  # Google 5.4.5; GoDaddy 550 "User a@b has exceeded its 24-hour sending limit"
    "send limit",  # IONOS and GMX 450 "mailbox unavailable; Mail send limit exceeded"
    "relay quota",  # GoDaddy 550 "Message would take you over your relay quota"
    # GMX 550 at RCPT, below "mailbox unavailable", when an account sends too much: the recipient is taken half an hour
    # later. Of an unknown mailbox it says no such thing (nodemailer issue 1555, PHPMailer issue 1114).
    "failure sending mail. try again later",
    "sending quota",
    "smtp relay limit",  # Google 4.2.1 "Peak SMTP relay limit exceeded for customer", 5.7.1 "Daily SMTP relay limit"
    "too many login",  # Google 454 4.7.0
    "unusual rate",
    "throttling failure",  # Amazon SES 454 "Throttling failure: Maximum sending rate exceeded" (developer guide)
    "message quota",  # Amazon SES "Daily message quota exceeded"
    "sending rate",
    "submissionquota",  # Microsoft 554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException
    "submission quota",
    "submission rate",  # Microsoft 4.4.2 "Message submission rate for this client has exceeded the configured limit"
    "sender thread limit",  # Microsoft 432 4.3.2, more than three connections
    "sender throttled",  # Microsoft 550 5.2.251 to 5.2.255
    "unusual sending activity",  # Zoho 550 5.4.6; the code alone is a mail loop
    "recipient rate limit",  # Microsoft 5.7.233, and Exchange's RecipientRateLimit
    "quota for outgoing",
    "quota for outbound",
    "outmail quota",  # Prolateral 554 "Recipient address rejected: You have exceeded your Outmail quota"
    "number of messages exceeded administrative limit",  # Courier's ratefilter: 500
    # A hosting shop at KeyHelp: of a recipient's mailbox nobody counts the messages.
    "message count quota",
    "credits exceeded",  # SendGrid 451 "Authentication failed: Maximum credits exceeded"
    "too much mail from",  # Postfix 450 4.7.1, smtpd_client_message_rate_limit
    "too many recipients from",  # Postfix 450 4.7.1, smtpd_client_recipient_rate_limit
)
# Words of any rate or quota; whose it is, the rest of the text says.
_RATE_WORDS = (
    "too many messages",
    "too many emails",
    "too many mails",
    "too many auth",
    "too many requests",
    "too many connections",
    "too many open connections",  # Sendmail's conncontrol: 421 or 452 4.3.2
    "too many concurrent",
    "concurrent connection",
    "too fast",
    "frequency limited",  # QQ 550 "Sender frequency limited", "Connection frequency limited"
    "too quickly",
    "slow down",
    "rate limit",
    "rate-limit",
    "ratelimit",  # rspamd, as in mailcow: 451 4.7.1 Ratelimit "user" exceeded
    "rate exceeded",
    "throttl",
)
_SOME_QUOTA_WORDS = ("quota exceeded", "exceeded your quota")
# No room in a mailbox, or not for this message (RFC 3463, X.2.2 and X.2.3); nor in the system (X.3.1, X.3.4), which
# some say of an allowance for a day as well.
_MAILBOX_STATUS = frozenset({".2.2", ".2.3"})
_SYSTEM_STATUS = frozenset({".3.1", ".3.4"})
# An allowance for a time, in whatever words: cPanel's "has exceeded the max defers and failures per hour", "exceeded
# the number of messages allowed per hour", "exceeded your daily email quota", "the daily recipient limit", "exceeded
# hour limit", postfwd's "only 5 recipients per 5 minutes allowed", "sorry, max 30 messages per hour" and "limit of 400
# rcpts per 24 hours reached", Mailgun's "on probation and domains are limited to 100 messages / hour", and, by the
# examples for Exim, "Sender rate exceeds 100 messages per 1h" and "rate overlimit = 101.3 / 1h".
_PERIOD = re.compile(
    r"\b(daily|hourly|monthly|(per|last|this)[ -](\d+ )?(second|minute|hour|day|month)s?|(hour|day|month) limit)\b"
    r"|\b24[ -]?h(ours?)?\b|/ ?(minute|hour|day)\b|(\bper|\d ?/) ?\d+[smhd]\b"
)
_LIMIT = re.compile(
    r"\b(limit|limited to|overlimit|quota|allowance|exceed(s|ed|ing)?|reached|too many|"
    r"only \d+ (messages|e?mails|recipients)|max(imum)?( of)? \d+)\b"
)
# One that is said to be the sender's: "Sender rate limit exceeded", "Outgoing mail limit reached", Plesk's "The limit
# on the number of allowed outgoing messages was exceeded", StartMail's "Your mail limit has been reached", Mailtrap's
# "The email limit is reached", MailRoute's and policyd's "Policy Rejection- Quota Exceeded", Migadu's "Reached address
# outgoing limits for", SendGrid's "You have exceeded your messaging limits", "Your probation email allowance is
# exhausted", Exim's "Number of sent emails has exceeded our IP limit".
_OF_THE_SENDER = re.compile(
    r"\b(sender|outgoing|outbound)\b.{0,30}\b(limit|quota|throttled)\b"
    r"|\bnumber of (allowed )?(outgoing|outbound|sent)\b|\b(your|the) e?mail limit\b|\be?mail allowance\b"
    r"|\b(reached|exceeded)\b.{0,30}\b(outgoing|outbound|messaging) limits\b"
    r"|\bpolicy rejection\b.{0,3}\bquota exceeded\b"
)
# Postfix says this before whatever a policy server answers at RCPT, also of the sender.
_ASKED_AT_RCPT = "recipient address rejected"
_COUNTED_ON_THE_CONNECTION = re.compile(
    r"\b(too many|max(imum)?|limit)\b.{0,40}\b(in|on|over|per|for) (this |a |a single |one |the same )?"
    r"(smtp )?(connection|session)\b"
    # IONOS and its brands: 451 "Requested action aborted: Mails per session limit exceeded".
    r"|\bper (smtp )?(connection|session) limit\b"
    # aiosmtpd (command_call_limit): 421 4.7.0 "MAIL sent too many times". It counts each command of a session.
    r"|^(mail|rcpt|data|rset) sent too many times\b"
)
# Exchange ends each session after some minutes, however busy: 421 4.4.1 "Connection timed out". Others end one that was
# idle, as behind a pause that a limit makes: Postfix's 421 4.4.2 "Error: timeout exceeded", Gmail's 451 4.4.2 "Timeout
# - closing connection", Exim's and GMX's "command timeout", Amazon SES's 451 4.4.2 "Timeout waiting for data from
# client".
_TIME_OF_THE_CONNECTION = re.compile(
    r"\b(connection|session)\b.{0,10}\b(timed out|timeout|expired)\b"
    r"|\btimeout (exceeded|- closing connection|waiting for data from client)\b|\b(command|idle) timeout\b"
)
_OF_MANY_RECIPIENTS = frozenset({421, 431, 452, 531, 550, 552, 554})
# Amazon SES: 554 "Transaction failed: Recipient count exceeds 50."
_TOO_MANY_RECIPIENTS = re.compile(r"\btoo many recipients\b(?! from\b)|\brecipient count exceed")
# Salmon: 451 "Will not accept multiple recipients in one transaction".
_ONE_RECIPIENT = re.compile(
    r"\bmultiple recipients\b.{0,20}\b(one|single|same) transaction\b"
    r"|\b(one|1|single) recipient (per transaction|at a time)\b"
)
# Google's 452 4.5.3 "Domain policy size per transaction exceeded. Please send this recipient in a separate
# transaction", and words of filters that have settings for each domain.
_OF_OTHER_POLICY = re.compile(
    r"\b(domain|different|another|other) polic(y|ies)\b|\bthis recipient (in|with) a (separate|different|new)\b"
)
_OF_CONCURRENCY = re.compile(
    r"\b(concurrent|simultaneous|parallel) (smtp )?(connection|session)s?\b|\bthread limit\b"
    r"|\btoo many (open |concurrent |simultaneous )?(smtp )?(connections|sessions)\b"
    # Dovecot's 421 4.3.2 "Maximum number of connections from user+IP exceeded", nodemailer's smtp-server
    r"|\bmaximum number of connections\b|\btoo many connected clients\b"
)
# So many at a time, or in a time: Sendmail's 421 or 452 4.3.2 "Connection rate limit exceeded", Haraka's 421.
_OF_CONNECTION_RATE = re.compile(r"\bconnection rate\b|\btoo frequent connections\b")
_OF_LOGINS = re.compile(r"\btoo many (failed )?(login|auth)")
# Postfix's 421 4.7.0 "Error: too many errors", Exim's 421 "Too many syntax or protocol errors", Sendmail's 421 4.7.0
# "Too many bad commands" and "Too many bad recipients; closing connection", Dovecot's "Too many invalid commands".
_TOO_MANY_ERRORS = re.compile(
    r"\btoo many (syntax or protocol )?errors\b"
    r"|\btoo many (bad|invalid|unrecogni[sz]ed|nonmail) (commands|recipients)\b"
)
# Sendmail's 452 4.4.5 "Insufficient disk space; try again later".
_NO_ROOM = "disk space"
# These name a recipient's mailbox or a property of one message, not the sender's allowance.
_NOT_THE_SENDERS = (
    "mailbox",
    "inbox",
    "receiving",
    "receive limit",  # Microsoft 550 5.2.121
    "trying to contact",
    "over quota",
    "user quota",
    "disk quota",  # EDQUOT, in the words of the system
    "storage",  # GMX 552 "exceeded storage allocation, Quota exceeded"
    "too many messages on",  # GMX and web.de 550 "User has too many messages on server", a full mailbox
    "greylist",
    "graylist",
    "message size",
    "too large",
)


def is_quota(reply: Reply) -> bool:
    """Return whether a refusal means that the sender has sent too much, rather than that this message is wrong.

    Greylisting, full mailboxes and too large messages are not meant: those are the recipient's and the message's.
    Nor is what a far server counts: it knows the smarthost, and all who send through it.
    """
    if reply.code < 400 or is_too_many_recipients(reply) or is_of_others(reply):
        return False
    text = words_of(reply)
    if (reply.enhanced in _QUOTA_STATUS and _NO_ROOM not in text) or any(words in text for words in _QUOTA_WORDS):
        return True
    # 535 "Too many bad auth attempts" is Yahoo's word for a wrong password.
    if reply.code == 535 or reply.enhanced[1:] in _MAILBOX_STATUS or any(words in text for words in _NOT_THE_SENDERS):
        return False
    if (_PERIOD.search(text) and _LIMIT.search(text)) or _OF_THE_SENDER.search(text):
        return True
    if _TOO_MANY_ERRORS.search(text):
        return False
    if reply.enhanced[1:] in _SYSTEM_STATUS or "recipient" in text.replace(_ASKED_AT_RCPT, ""):
        return False
    # "4.7.0 too many ..." is what Postfix and Google say to clients, whatever follows.
    if any(words in text for words in _RATE_WORDS) or (reply.enhanced[1:] == ".7.0" and "too many" in text):
        return True
    # With 452 and 552, and where it is the recipient who is refused, it is most often the mailbox that is full.
    some = reply.code not in {452, 552} and _ASKED_AT_RCPT not in text
    return some and any(words in text for words in _SOME_QUOTA_WORDS)


def is_too_many_recipients(reply: Reply) -> bool:
    """Return whether one transaction has too many recipients (RFC 5321 section 4.5.3.1.10: 452, and 552 of old).

    Courier says 431, or 531 where its ``maxrcpts`` is hard; Salmon, which takes one, 451. Some say 550 with these
    words: asked for again in a transaction of its own, the recipient shows what was meant. "Too many recipients
    received this hour" is a quota, and so is Postfix's "too many recipients from".
    """
    if reply.code // 100 not in {4, 5}:
        return False
    text = words_of(reply)
    says_so = reply.code in _OF_MANY_RECIPIENTS and not reply.enhanced and bool(_TOO_MANY_RECIPIENTS.search(text))
    says_so = says_so or _ONE_RECIPIENT.search(text) is not None
    return (reply.enhanced[1:] == ".5.3" or says_so) and not _PERIOD.search(text)


def is_of_other_policy(reply: Reply) -> bool:
    """Return whether a recipient is refused for who else is in the transaction, and not for their number."""
    return _OF_OTHER_POLICY.search(words_of(reply)) is not None


def is_of_the_connection(reply: Reply) -> bool:
    """Return whether a limit is used up that a new connection has again: "too many messages in this connection"."""
    return counts_on_the_connection(reply) or _TIME_OF_THE_CONNECTION.search(words_of(reply)) is not None


def counts_on_the_connection(reply: Reply) -> bool:
    """Return whether it is a limit of messages, or recipients, and not of time: a far server may have been too slow."""
    return _COUNTED_ON_THE_CONNECTION.search(words_of(reply)) is not None and not is_of_others(reply)


def is_of_recipients(reply: Reply) -> bool:
    """Return whether recipients are refused for their number, in a transaction or on a connection.

    Some say of a connection what most say of a transaction.
    """
    of_the_connection = not reply.positive and "recipients" in words_of(reply) and is_of_the_connection(reply)
    return of_the_connection or is_too_many_recipients(reply)


def is_of_concurrency(reply: Reply) -> bool:
    """Return whether a limit of connections at a time is used up: 432 "sender thread limit exceeded" of Microsoft."""
    return not reply.positive and _OF_CONCURRENCY.search(words_of(reply)) is not None


def is_of_connections(reply: Reply) -> bool:
    """Return whether it is our connections that there are too many of, at a time or in a time, and not mail."""
    of_connections = is_of_concurrency(reply) or (reply.code >= 400 and _OF_CONNECTION_RATE.search(words_of(reply)))
    return bool(of_connections) and not is_of_others(reply)


def is_of_logins(reply: Reply) -> bool:
    """Return whether it is our logins that there are too many of, and not mail."""
    return not reply.positive and _OF_LOGINS.search(words_of(reply)) is not None


def is_of_errors(reply: Reply) -> bool:
    """Return whether a server ends a connection on which it has refused too much: Postfix's smtpd_hard_error_limit."""
    return reply.code == _CLOSING and _TOO_MANY_ERRORS.search(words_of(reply)) is not None
