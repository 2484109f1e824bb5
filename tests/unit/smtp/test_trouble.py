"""The error policy, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ucrmmail.message.outcome import Kind, Scope, Stage, Trouble
from ucrmmail.message.quotas import (
    is_of_concurrency,
    is_of_errors,
    is_of_other_policy,
    is_of_recipients,
    is_of_the_connection,
)
from ucrmmail.smtp.transaction import outcome_of
from ucrmmail.smtp.trouble import (
    _REFUSED,
    RefusedError,
    account_trouble,
    classify,
    lost_connection,
)
from ucrmmail.smtp.wire import ProtocolError, parse_reply

ACCOUNT, MESSAGE, RECIPIENT = Scope.ACCOUNT, Scope.MESSAGE, Scope.RECIPIENT
TRANSIENT, PERMANENT = Kind.TRANSIENT, Kind.PERMANENT


@pytest.mark.parametrize(
    ("stage", "reply", "scope", "kind", "code"),
    [
        (Stage.MAIL, b"500 what?", MESSAGE, PERMANENT, 75),
        (Stage.MAIL, b"422 4.2.1 later", MESSAGE, TRANSIENT, 75),
        (Stage.MAIL, b"534 log in", ACCOUNT, PERMANENT, 77),
        # Courier
        (Stage.MAIL, b"534 SIZE=Message too big.", MESSAGE, PERMANENT, 75),
        (Stage.FINAL_DOT, b"534 Message header size exceeds policy limit.", MESSAGE, PERMANENT, 75),
        # Sendmail
        (Stage.MAIL, b"452 4.4.5 Insufficient disk space; try again later", MESSAGE, TRANSIENT, 75),
        (Stage.MAIL, b"452 4.3.2 Too many open connections.", ACCOUNT, TRANSIENT, 75),
        # Postfix, which counts the recipients of a message before this one
        (Stage.FINAL_DOT, b"550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce", MESSAGE, TRANSIENT, 75),
        (Stage.RCPT, b"535 log in", ACCOUNT, PERMANENT, 77),
        (Stage.FINAL_DOT, b"538 log in with TLS", ACCOUNT, PERMANENT, 77),
        (Stage.MAIL, b"536 what?", MESSAGE, PERMANENT, 75),
        (Stage.MAIL, b"539 what?", MESSAGE, PERMANENT, 75),
        (Stage.MAIL, b"550 5.7.30 not for you", MESSAGE, PERMANENT, 75),
        (Stage.MAIL, b"550 5.7.1 basic authentication is a fine thing", MESSAGE, PERMANENT, 75),
        (Stage.GREETING, b"554 5.7.1 go away", ACCOUNT, TRANSIENT, 69),
        (Stage.EHLO, b"421 4.3.2 busy", ACCOUNT, TRANSIENT, 75),
        (Stage.STARTTLS, b"454 4.7.0 no TLS now", ACCOUNT, TRANSIENT, 69),
        (Stage.AUTH, b"535 5.7.8 wrong", ACCOUNT, PERMANENT, 77),
        (Stage.AUTH, b"454 4.7.0 Too many login attempts", ACCOUNT, TRANSIENT, 75),
        (Stage.MAIL, b"421 4.7.0 too many messages", ACCOUNT, TRANSIENT, 75),
        (Stage.MAIL, b"451 4.3.0 later", MESSAGE, TRANSIENT, 75),
        (Stage.MAIL, b"550 5.1.8 bad sender", MESSAGE, PERMANENT, 75),
        (Stage.MAIL, b"530 5.7.0 Must issue a STARTTLS command first", ACCOUNT, PERMANENT, 77),
        (Stage.MAIL, b"550 5.7.30 Basic authentication is not supported", ACCOUNT, PERMANENT, 77),
        (Stage.MAIL, b"503 5.5.1 sender already given", MESSAGE, TRANSIENT, 75),
        (Stage.RCPT, b"503 5.5.1 bad sequence of commands", MESSAGE, TRANSIENT, 75),
        (Stage.RCPT, b"503 This server requires authentication", ACCOUNT, PERMANENT, 77),
        (Stage.RCPT, b"450 4.2.0 greylisted, too many requests", RECIPIENT, TRANSIENT, 75),
        (Stage.RCPT, b"452 4.2.2 mailbox full", RECIPIENT, TRANSIENT, 75),
        (Stage.RCPT, b"550 5.1.1 no such user", RECIPIENT, PERMANENT, 75),
        (Stage.RCPT, b"550 5.4.5 Daily user sending limit exceeded", ACCOUNT, TRANSIENT, 75),
        (Stage.DATA, b"454 Throttling failure: Maximum sending rate exceeded.", ACCOUNT, TRANSIENT, 75),
        (Stage.FINAL_DOT, b"550 5.4.6 Unusual sending activity detected", ACCOUNT, TRANSIENT, 75),
        (Stage.FINAL_DOT, b"450 4.7.0 too many messages", ACCOUNT, TRANSIENT, 75),
        (Stage.FINAL_DOT, b"554 5.7.1 spam", MESSAGE, PERMANENT, 75),
        (Stage.FINAL_DOT, b"451 4.3.0 try again", MESSAGE, TRANSIENT, 75),
        (Stage.FINAL_DOT, b"552 5.3.4 message size limit exceeded", MESSAGE, PERMANENT, 75),
        # The program behind aiosmtpd, and behind nodemailer's smtp-server, has failed.
        (Stage.AUTH, b"500 Error: (TimeoutError) timed out", ACCOUNT, TRANSIENT, 75),
        (Stage.AUTH, b"535 connect ECONNREFUSED 127.0.0.1:27017", ACCOUNT, TRANSIENT, 75),
        (Stage.MAIL, b"500 Error: (OperationalError) database is locked", MESSAGE, TRANSIENT, 75),
        (Stage.RCPT, b"500 Error: (OperationalError) database is locked", RECIPIENT, TRANSIENT, 75),
        (Stage.RCPT, b"550 getaddrinfo EAI_AGAIN mongo", RECIPIENT, TRANSIENT, 75),
        (Stage.RCPT, b"550 5.1.1 connect ECONNREFUSED 127.0.0.1:27017", RECIPIENT, TRANSIENT, 75),
        (Stage.FINAL_DOT, b"500 Error: (PermissionError) [Errno 13] Permission denied: 'x'", MESSAGE, TRANSIENT, 75),
        (Stage.FINAL_DOT, b"554 Error: (S1) looks like spam", MESSAGE, PERMANENT, 75),
        (Stage.FINAL_DOT, b"500 Error: Cannot describe error", MESSAGE, TRANSIENT, 75),
        (Stage.FINAL_DOT, b"500 Error: strict ASCII mode", MESSAGE, PERMANENT, 75),
    ],
)
def test_who_is_concerned_and_for_how_long(stage: Stage, reply: bytes, scope: Scope, kind: Kind, code: int) -> None:
    trouble = classify(stage, parse_reply([reply]))
    assert (trouble.scope, trouble.kind, trouble.exit_code) == (scope, kind, code)


@pytest.mark.parametrize(
    "reply",
    [
        b"554 5.7.1 <joe@example.com>: Relay access denied",
        b"550 Relaying denied",
        # OpenSMTPD, Haraka
        b"550 Invalid recipient: <joe@example.com>",
        b"550 I cannot deliver mail for <joe@example.com>",
    ],
)
def test_relaying_that_is_denied_waits_for_a_person_where_no_login_was_made(reply: bytes) -> None:
    trouble = classify(Stage.RCPT, parse_reply([reply]), logged_in=False)
    assert (trouble.scope, trouble.kind) == (RECIPIENT, TRANSIENT)
    assert "smtp.username" in trouble.remedy
    assert classify(Stage.RCPT, parse_reply([reply])).kind is PERMANENT
    assert classify(Stage.FINAL_DOT, parse_reply([reply]), logged_in=False).scope is MESSAGE
    nobody = classify(Stage.RCPT, parse_reply([b"550 5.1.1 no such user"]), logged_in=False)
    assert (nobody.scope, nobody.kind) == (RECIPIENT, PERMANENT)


@pytest.mark.requirement("R15")
def test_an_outcome_keeps_the_beginning_of_a_long_reply() -> None:
    trouble = classify(Stage.RCPT, parse_reply([b"550 " + b"x" * 60_000]))
    assert len(outcome_of(trouble).reply) == 4096


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    "reply",
    [
        "552 5.7.0 daily limit exceeded",
        "552 daily limit exceeded",
        "452 4.7.0 too many messages",
        "550 5.7.1 You have exceeded your daily email quota",
        "452 4.5.0 rate limit exceeded",
        "452 4.7.1 Sender rate limit exceeded",
        "554 5.7.1 You have exceeded the number of messages allowed per hour",
        "550 maximum number of emails per day reached",
        "550 5.7.1 Outgoing mail limit reached",
        "550 5.7.1 exceeded the daily recipient limit",
        "550 5.7.1 too many recipients per day, maximum is 500",
        "550 5.7.1 Too many invalid recipients in the last hour, the limit is 50",
        "450 4.7.1 sender limit reached",
        "451 4.7.1 hourly outbound quota reached",
        "432 4.3.2 Concurrent connections limit exceeded",
        "550 Quota exceeded",
        "454 4.7.0 Too many login attempts",
        "550 5.4.5 come back tomorrow",
    ],
)
@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL_DOT])
def test_a_quota_of_the_sender_is_the_accounts_whoever_words_it(stage: Stage, reply: str) -> None:
    trouble = classify(stage, parse_reply([reply.encode()]))
    assert (trouble.scope, trouble.kind, trouble.quota) == (ACCOUNT, TRANSIENT, True)


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(
    "reply",
    [
        "452 4.2.2 mailbox full, quota exceeded",
        "552 5.2.2 Quota exceeded",
        "552 Quota exceeded",
        "552 5.2.2 The daily quota of this user is exceeded",
        "452 4.3.1 insufficient system storage",
        "452 insufficient system storage, maximum reached",
        "552 5.3.4 message size limit exceeded",
        "552 5.2.3 the message exceeds the maximum size",
        "450 4.2.0 greylisted, too many requests",
        "450 4.2.1 the user you are trying to contact is receiving mail too quickly",
        "550 5.2.1 this mailbox has reached its daily limit",
        "550 5.2.1 receiving limit of messages per day reached",
        "450 4.1.8 sender address rejected: domain not found",
        "550 5.7.1 sender rejected",
        "554 5.4.6 too many hops",
        "450 4.7.1 recipient over quota",
        "452 4.5.3 too many recipients",
        "550 5.7.1 <daily@lists.example>: Recipient address rejected: only members may post to this list",
        "554 5.7.1 <hourly-report@a.example>: Relay access not allowed",
        "554 5.7.1 max@daily.example: the limit of your rights, Access denied",
        "554 5.7.1 sender rejected, spam rate of your domain",
    ],
)
def test_what_is_the_recipients_or_the_messages_is_no_quota_of_the_sender(reply: str) -> None:
    for stage in (Stage.RCPT, Stage.FINAL_DOT):
        trouble = classify(stage, parse_reply([reply.encode()]))
        assert trouble.scope is not ACCOUNT
        assert not trouble.quota


@pytest.mark.parametrize("reply", [b"452 4.5.3 too many", b"552 5.5.3 too many", b"552 too many recipients"])
def test_one_recipient_too_many_is_tried_later_even_as_the_first(reply: bytes) -> None:
    trouble = classify(Stage.RCPT, parse_reply([reply]))
    assert (trouble.scope, trouble.kind) == (RECIPIENT, TRANSIENT)


@pytest.mark.parametrize("stage", list(Stage))
def test_a_trouble_names_its_stage_and_what_was_refused(stage: Stage) -> None:
    trouble = classify(stage, parse_reply([b"451 4.3.0 later"]))
    assert trouble.stage is stage
    assert trouble.what == _REFUSED[stage]
    quota = classify(stage, parse_reply([b"450 4.7.0 too many messages"]))
    assert quota.what == "the smarthost says that this account has sent too much for now"
    logins = classify(Stage.AUTH, parse_reply([b"450 4.7.1 Error: too many AUTH commands from 192.0.2.1"]))
    assert (logins.what, logins.quota) == ("the smarthost refused the login", True)


def test_a_connection_that_broke_is_in_doubt_behind_the_dot_alone() -> None:
    for stage in Stage:
        trouble = lost_connection(stage, "gone")
        assert (trouble.scope, trouble.stage, trouble.what, trouble.remedy, trouble.exit_code) == (
            MESSAGE, stage, "gone", "", 69,
        )  # fmt: skip
        assert (trouble.kind is Kind.UNCERTAIN) is (stage is Stage.FINAL_DOT)
        assert trouble.kind is not PERMANENT


def test_a_trouble_that_no_reply_tells_of_is_the_accounts_and_passes() -> None:
    trouble = account_trouble(Stage.TLS, "no TLS", why="because", remedy="do", exit_code=78)
    assert trouble == Trouble(ACCOUNT, TRANSIENT, Stage.TLS, "no TLS", "because", "do", None, quota=False, exit_code=78)
    assert account_trouble(Stage.TLS, "no TLS") == Trouble(ACCOUNT, TRANSIENT, Stage.TLS, "no TLS", exit_code=69)
    error = RefusedError(trouble)
    assert error.trouble is trouble
    assert str(error) == "no TLS"


@pytest.mark.parametrize(
    ("stage", "reply", "says"),
    [
        (Stage.AUTH, b"534 5.7.9 Application-specific password required", "app password"),
        (Stage.AUTH, b"535 5.7.8 Username and Password not accepted - gsmtp", "app password"),
        (Stage.AUTH, b"535 5.7.139 Authentication unsuccessful", "Authenticated SMTP"),
        (Stage.AUTH, b"535 5.7.8 nope", "config set smtp.password"),
        (Stage.FINAL_DOT, b"554 Message rejected: Email address is not verified.", "SES console"),
        (Stage.MAIL, b"553 Relaying disallowed as x", "addresses.sender"),
    ],
)
def test_known_refusals_come_with_a_remedy(stage: Stage, reply: bytes, says: str) -> None:
    assert says in classify(stage, parse_reply([reply])).remedy


def test_a_reply_is_read_with_its_status_and_text() -> None:
    reply = parse_reply([b"550-5.7.26 blocked", b"550 5.7.26 because"])
    assert (reply.code, reply.enhanced, reply.text) == (550, "5.7.26", "blocked because")


@pytest.mark.parametrize("lines", [[b""], [b"abc"], [b"999 x"], [b"250-a", b"251 b"], [b"25"], [b"250x"]])
def test_what_is_no_reply_is_a_protocol_error(lines: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(lines)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_no_reply_is_a_crash(lines: list[bytes]) -> None:
    try:
        reply = parse_reply(lines)
    except ProtocolError:
        return
    for stage in Stage:
        classify(stage, reply)


@pytest.mark.parametrize(
    ("reply", "of_the_connection"),
    [
        (b"421 4.7.0 too many messages in this connection", True),
        (b"421 Too many messages in one session", True),
        (b"452 4.5.3 Maximum number of messages per connection reached", True),
        (b"421 4.3.2 limit of 20 messages per SMTP session exceeded", True),
        (b"451 Requested action aborted: Mails per session limit exceeded.", True),
        (b"452 4.4.5 Maximum number of messages per session exceeded.", True),
        (b"451 4.7.1 host mx.example.com said: too many messages in this session", False),
        (b"421 4.7.0 too many messages, slow down", False),
        (b"421 4.7.0 too many connections from your address", False),
        (b"421 4.4.1 Connection timed out", True),
        (b"421 4.4.2 session timeout exceeded", True),
        (b"421 4.4.2 mx.isp.example Error: timeout exceeded", True),
        (b"451 4.4.2 Timeout - closing connection. ab12-20020a17.3 - gsmtp", True),
        (b"451 4.4.2 Timeout waiting for data from client.", True),
        (b"421 gmx.net Service closing transmission channel - command timeout", True),
        (b"421 mx.isp.example: SMTP command timeout - closing connection", True),
        (b"421 4.4.2 idle timeout", True),
        (b"451 4.3.0 timeout while asking the policy server", False),
        (b"421 4.3.2 shutting down", False),
        (b"452 daily limit exceeded", False),
    ],
)
def test_a_limit_of_one_connection_is_told_from_one_of_the_account(reply: bytes, of_the_connection: bool) -> None:
    assert is_of_the_connection(parse_reply([reply])) is of_the_connection


@pytest.mark.parametrize(
    ("reply", "of_recipients"),
    [
        (b"452 4.5.3 too many recipients", True),
        (b"450 4.7.1 too many recipients in this session", True),
        (b"421 4.7.0 maximum of 50 recipients per connection", True),
        (b"452 4.5.3 too many recipients this hour", False),
        (b"450 4.7.1 too many recipients from 192.0.2.1", False),
        (b"421 4.7.0 too many messages in this connection", False),
        (b"450 4.1.1 recipient address rejected: unverified: connection timed out", False),
        (b"250 2.1.5 limit of recipients in this session not reached", False),
    ],
)
def test_a_number_of_recipients_is_known(reply: bytes, of_recipients: bool) -> None:
    assert is_of_recipients(parse_reply([reply])) is of_recipients


@pytest.mark.parametrize(
    ("lines", "of_other_policy"),
    [
        (
            [
                b"452-4.5.3 Domain policy size per transaction exceeded. Please send this",
                b"452 4.5.3 recipient in a separate transaction.",
            ],
            True,
        ),
        ([b"452-4.5.3 Please send this", b"452 4.5.3 recipient in a separate transaction."], True),
        ([b"452 4.5.3 different policy, please resend"], True),
        ([b"452 4.5.3 too many recipients for our policy"], False),
    ],
)
def test_a_recipient_who_is_of_another_policy_is_told_from_one_too_many(
    lines: list[bytes], of_other_policy: bool
) -> None:
    assert is_of_other_policy(parse_reply(lines)) is of_other_policy


@pytest.mark.parametrize(
    ("reply", "of_concurrency"),
    [
        (b"432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", True),
        (b"421 4.3.2 Concurrent connections limit exceeded", True),
        (b"421 4.7.0 Too many concurrent SMTP connections; please try again later", True),
        (b"421 too many connections from your address", True),
        (b"421 4.3.2 Too many open connections.", True),
        (b"421 4.3.2 Maximum number of connections from user+IP exceeded", True),
        (b"421 mx.isp.example Too many connected clients, try again in a moment", True),
        (b"421 4.7.0 too many messages in this connection", False),
        (b"421 4.7.0 too many messages, slow down", False),
        (b"250 no thread limit exceeded", False),
    ],
)
def test_a_limit_of_connections_at_a_time_is_known(reply: bytes, of_concurrency: bool) -> None:
    assert is_of_concurrency(parse_reply([reply])) is of_concurrency


@pytest.mark.parametrize(
    ("reply", "of_errors"),
    [
        (b"421 4.7.0 mx.isp.example Error: too many errors", True),
        (b"421 mx.isp.example Too many syntax or protocol errors", True),
        (b"421 4.7.0 mx.isp.example Too many bad commands; closing connection", True),
        (b"421 4.7.0 mx.isp.example Too many bad recipients; closing connection", True),
        (b"421 4.7.0 Too many invalid commands.", True),
        (b"421 4.7.0 too many messages", False),
        (b"550 too many errors", False),
    ],
)
def test_a_connection_that_ends_for_what_was_refused_on_it_is_known(reply: bytes, of_errors: bool) -> None:
    """Those of Sendmail and Dovecot had been taken for a quota, for their 4.7.0 and "too many"."""
    assert is_of_errors(parse_reply([reply])) is of_errors
    if of_errors:
        assert not classify(Stage.MAIL, parse_reply([reply])).quota


def test_what_a_far_server_wants_stops_no_account() -> None:
    """Postfix says so of an address that it verifies, Exim of one that it calls out to."""
    far = b"550 5.1.1 <joe@far.example>: undeliverable address: host mx.far.example said: "
    tls = classify(Stage.RCPT, parse_reply([far + b"530 5.7.0 Must issue a STARTTLS command first"]))
    connections = classify(Stage.RCPT, parse_reply([far + b"421 Too many concurrent SMTP connections"]))
    assert (tls.scope, connections.scope) == (RECIPIENT, RECIPIENT)
    assert "smtp.connections" not in connections.remedy


@pytest.mark.parametrize(
    "reply",
    [
        b"421 mx.isp.example: Too many concurrent SMTP connections; please try again later",
        b"421 Too many concurrent SMTP connections from this IP address; please try again later.",
        b"421 4.3.2 Too many open connections.",
        b"421 4.3.2 Connection rate limit exceeded.",
        b"421 4.7.0 mx.isp.example Error: too many connections from 192.0.2.1",
    ],
)
def test_of_connections_nobody_is_told_that_he_has_sent_too_much(reply: bytes) -> None:
    trouble = classify(Stage.GREETING, parse_reply([reply]))
    assert (trouble.scope, trouble.kind, trouble.quota) == (ACCOUNT, TRANSIENT, True)
    assert trouble.what == "the smarthost does not let us in"
    assert "no more connections" in trouble.why
    assert "smtp.connections" in trouble.remedy
    assert "throttler" not in trouble.remedy
