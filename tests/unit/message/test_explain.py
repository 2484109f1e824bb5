"""What a refusal is called for people: for the administrator, and for the writer of the message."""

from __future__ import annotations

import pytest

from ucrmmail.message.explain import for_administrator_told, for_writer
from ucrmmail.message.status import MEANINGS, meaning_of


@pytest.mark.parametrize(
    ("enhanced", "meaning"),
    [
        ("5.1.1", "no mailbox of this name"),
        ("5.1.10", "receives no mail"),
        ("5.1.99", "did not take this address"),
        ("4.2.2", "full"),
        ("5.3.4", "too large"),
        ("4.4.7", "time allowed"),
        ("5.7.26", "SPF, DKIM or DMARC"),
        ("5.7.509", "by its own rules"),
        ("5.0.0", "no code that tells more"),
        ("5", "no code that tells more"),
        ("", "no code that tells more"),
    ],
)
def test_a_code_means_what_its_detail_says_else_its_subject(enhanced: str, meaning: str) -> None:
    found, advice = for_writer(enhanced)
    assert meaning in found
    assert advice


# IANA, "Simple Mail Transfer Protocol (SMTP) Enhanced Status Codes Registry": the last detail of each subject.
REGISTERED = {"1": 10, "2": 4, "3": 6, "4": 7, "5": 6, "6": 10, "7": 30}


def test_every_registered_code_has_words_of_its_own() -> None:
    # X.n.0 is "other or undefined" of its subject, and X.0.0 says nothing at all.
    details = {f"{subject}.{detail}" for subject, last in REGISTERED.items() for detail in range(1, last + 1)}
    assert details <= set(MEANINGS)
    assert set(MEANINGS) - details <= {*REGISTERED, "7.0"}
    for meaning in MEANINGS.values():
        assert meaning.what
        assert not meaning.what.endswith(".")


def test_a_class_changes_nothing_of_what_a_code_means() -> None:
    assert meaning_of("4.2.2") == meaning_of("5.2.2") == MEANINGS["2.2"]


@pytest.mark.parametrize(
    ("stage", "told", "why", "remedy"),
    [
        ("final-dot", "550 5.7.515 Access denied, sending domain", "Outlook.com", "check-dns"),
        ("rcpt", "550 5.1.1 No such user", "no mailbox", "address"),
        ("rcpt", "450 4.2.0 later", "could not take", ""),
        ("final-dot", "554 computer says no", "", ""),
        ("rcpt", "550 Unrouteable address", "did not take this address", "check the address"),
        ("rcpt", "550 No Such User Here", "no mailbox of this name", "check the address"),
        ("rcpt", "550 User unknown.", "no mailbox of this name", "check the address"),
        ("mail", "552 Message size exceeds maximum permitted", "too large", "send less"),
        ("mail", "534 SIZE=Message too big.", "too large", "send less"),
        ("mail", "452 4.4.5 Insufficient disk space; try again later", "smarthost itself", "later run"),
        ("final-dot", "500 Error: (OSError) [Errno 28] No space left on device", "smarthost itself", "later run"),
        ("auth", "535 connect ECONNREFUSED 127.0.0.1:27017", "smarthost itself", "later run"),
        ("final-dot", "250 2.0.0 Ok: queued as 1", "", ""),
        ("rcpt", "the connection was lost (at rcpt)", "", ""),
        ("rcpt", "given up after 5d; the last answer was: 450 4.2.0 later", "", ""),
        ("", "550 5.1.1 No such user", "", ""),
        ("rcpt", "", "", ""),
    ],
)
def test_a_reply_that_was_kept_as_text_is_explained_again(stage: str, told: str, why: str, remedy: str) -> None:
    found = for_administrator_told(stage, told)
    assert why in found[0]
    assert remedy in found[1]
    assert bool(found[0]) is bool(why)


def test_words_of_ours_are_explained_by_their_code() -> None:
    told = "the message has 9 bytes, and the smarthost takes 8"
    assert for_administrator_told("mail", told, "5.3.4") == (
        "the message is too large for this mail system",
        "send less, or a link",
    )
    assert for_administrator_told("mail", told, "4.4.2") == ("", "")


@pytest.mark.parametrize(
    ("stage", "reply", "remedy"),
    [
        ("ehlo", "550 go away", "smtp.local_hostname"),
        ("ehlo", "504 need a fully-qualified hostname", "smtp.local_hostname"),
        ("ehlo", "550 5.7.1 blocked", ""),
        ("starttls", "502 not implemented", "--probe"),
        ("starttls", "454 4.7.0 TLS not available", ""),
        ("auth", "504 5.7.4 unrecognized authentication type", "smtp.authentication"),
        ("auth", "503 5.5.1 AUTH not enabled", "smtp.authentication"),
        ("auth", "500 unknown command", "smtp.authentication"),
        ("auth", "535 5.7.8 no", "smtp.password"),
        ("auth", "503 5.7.8 no", "smtp.password"),
        ("auth", "535 5.7.10 Plaintext authentication disallowed", "smtp.encryption"),
    ],
)
def test_a_refusal_of_the_opening_says_which_setting_to_look_at(stage: str, reply: str, remedy: str) -> None:
    assert remedy in for_administrator_told(stage, reply)[1]


@pytest.mark.parametrize("stage", ["greeting", "ehlo", "starttls", "auth"])
@pytest.mark.parametrize("told", ["451 4.3.0 try later", "451 4.4.2 timeout", "450 4.2.0 no", "451 local error"])
def test_a_trouble_before_any_message_is_the_smarthosts_own(stage: str, told: str) -> None:
    """It had been "the mail system of the recipient", whom nobody had named yet."""
    why, remedy = for_administrator_told(stage, told)
    assert why == "the smarthost itself has trouble at the moment"
    assert "a later run tries again" in remedy


@pytest.mark.parametrize(
    ("stage", "told", "why"),
    [
        ("auth", "454 4.7.0 Temporary authentication failure", "cannot check user names and passwords at the moment"),
        ("auth", "454 Temporary authentication failure", "cannot check user names and passwords at the moment"),
        ("auth", "454 4.3.0 the directory does not answer", "cannot check user names and passwords at the moment"),
        ("auth", "435 4.7.0 Unable to authenticate at present", "cannot check user names and passwords at the moment"),
        ("auth", "454 4.7.1 not from here", "takes no mail from this machine, or this account, at the moment"),
        ("starttls", "454 4.7.0 TLS not available due to local problem", "cannot do TLS at the moment"),
        ("starttls", "454 TLS not available due to temporary reason", "cannot do TLS at the moment"),
    ],
)
def test_what_the_smarthost_cannot_do_just_now_is_no_policy_and_asks_for_nothing(
    stage: str, told: str, why: str
) -> None:
    """It had been "the server's policy forbids it"."""
    found, remedy = for_administrator_told(stage, told)
    assert why in found
    assert remedy == "nothing: a later run tries again"


@pytest.mark.parametrize("told", ["554 5.7.1 no", "550 5.7.2 no", "450 4.7.1 no", "550 5.1.1 no", "554 5.4.0 no"])
@pytest.mark.parametrize("stage", ["greeting", "ehlo", "starttls", "auth"])
def test_a_refusal_before_any_message_says_nothing_of_one(stage: str, told: str) -> None:
    why, remedy = for_administrator_told(stage, told)
    assert why
    assert remedy
    assert not any(word in why for word in ("message", "sender", "recipient", "mailbox"))


def test_the_writer_of_a_message_is_not_told_to_change_a_setting() -> None:
    why, advice = for_writer("5.7.515", "550 5.7.515 Access denied, sending domain isp.example does not meet")
    assert "Outlook.com" in why
    assert advice == "ask the administrator named below"
    assert for_writer("5.0.0", "550 Unrouteable address")[1].startswith("check how")
    assert for_writer("5.0.0", "550 computer says no")[0] == "the answer holds no code that tells more"
    assert for_writer("5.4.1", "550 5.4.1 Recipient address rejected: Access denied")[1].startswith("check how")


def test_a_quota_is_explained_by_its_words_and_not_by_its_code() -> None:
    """A code of 5.7.1 read "this sender may not write to this recipient"."""
    kept = "550 5.7.1 You have reached your daily sending limit"
    assert for_administrator_told("mail", kept, "5.7.1")[0].startswith("the provider counts what this account sends")
    assert for_writer("5.7.1", kept)[0].startswith("the provider counts what this account sends")
    assert not for_administrator_told("rcpt", "452 4.2.2 Mailbox over quota", "4.2.2")[0].startswith("the provider")


def test_a_quota_is_explained_as_one_whoever_it_is_said_of() -> None:
    told = "450 4.2.1 <a@isp.example>: SASL login name rejected: You are sending too many emails too fast."
    why, remedy = for_administrator_told("rcpt", told)
    assert "counts what this account sends" in why
    assert "throttler.message_limit" in remedy
    assert for_writer("4.2.1", told)[0] == why
