"""The mailbox over IMAP: what servers may do otherwise, and what none should."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.imap_server import imap_server
from ucrmmail.clock import Clock
from ucrmmail.errors import PermissionDeniedError, SmarthostUnavailableError, UcrmmailError
from ucrmmail.mailbox.imap import Found, LostError, Mailbox, Mailserver, open_mailbox

PASSWORD = 'pa"ss\\wörd'
PLAIN = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nTAG OK done\r\n"
HEADER = b"From: a@isp.example\r\n\r\n"
Script = Mapping[bytes, bytes | None]

GOOD: Script = {
    b"CAPABILITY": PLAIN,
    b"AUTHENTICATE": b"+ \r\n",
    b"LIST": b'* LIST (\\HasNoChildren) "/" INBOX\r\n* LIST (\\HasNoChildren) "/" "Spam"\r\nTAG OK done\r\n',
    b"EXAMINE": b"* 1 EXISTS\r\nTAG OK [READ-ONLY]\r\n",
    b"UID SEARCH": b"* SEARCH 7\r\nTAG OK done\r\n",
    b"UID FETCH": b"* 1 FETCH (UID 7 BODY[HEADER]<0> {%d}\r\n%b)\r\nTAG OK done\r\n" % (len(HEADER), HEADER),
}


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "ca")


@pytest.fixture
def context(authority: TestAuthority) -> ssl.SSLContext:
    return authority.server_context("localhost")


def opened(port: int, authority: TestAuthority, password: str = PASSWORD) -> Mailbox:
    server = Mailserver("localhost", port, "joe", ca_file=str(authority.ca_file), timeout_s=2.0)
    return open_mailbox(server, password, clock=Clock())


def test_a_password_of_any_letters_goes_through_plain_and_nothing_is_changed(
    authority: TestAuthority, context: ssl.SSLContext
) -> None:
    with imap_server(context, GOOD) as server:
        mailbox = opened(server.port, authority)
        assert mailbox.folders == ("INBOX", "Spam")
        assert mailbox.find("<1@isp.example>") == Found("INBOX", False, HEADER)
        mailbox.close()
    assert base64.b64encode(f"\0joe\0{PASSWORD}".encode()) in server.commands
    names = [command.split()[1] for command in server.commands if command.count(b" ")]
    assert b"SELECT" not in names
    assert any(b'HEADER Message-ID "<1@isp.example>"' in command for command in server.commands)
    assert any(b"BODY.PEEK[HEADER]" in command for command in server.commands)


def test_without_plain_the_login_command_is_used(authority: TestAuthority, context: ssl.SSLContext) -> None:
    script = {**GOOD, b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n"}
    with imap_server(context, script) as server:
        opened(server.port, authority, 'pa"ss').close()
    assert any(command.endswith(b'LOGIN "joe" "pa\\"ss"') for command in server.commands)


def test_a_token_goes_through_xoauth2(authority: TestAuthority, context: ssl.SSLContext) -> None:
    with imap_server(context, GOOD) as server:
        mailserver = Mailserver("localhost", server.port, "joe", ca_file=str(authority.ca_file), timeout_s=2.0)
        open_mailbox(mailserver, "canary-token", clock=Clock(), is_token=True).close()
    assert any(command.endswith(b"AUTHENTICATE XOAUTH2") for command in server.commands)
    assert base64.b64encode(b"user=joe\1auth=Bearer canary-token\1\1") in server.commands


def test_a_token_that_is_refused_is_told_with_what_it_must_be_good_for(
    authority: TestAuthority, context: ssl.SSLContext
) -> None:
    script = {**GOOD, b"AUTHENTICATE": b"TAG NO AUTHENTICATE failed for canary-token\r\n"}
    with imap_server(context, script) as server:
        mailserver = Mailserver("localhost", server.port, "joe", ca_file=str(authority.ca_file), timeout_s=2.0)
        with pytest.raises(PermissionDeniedError) as caught:
            open_mailbox(mailserver, "canary-token", clock=Clock(), is_token=True)
    assert "AUTHENTICATE failed for [redacted]" in caught.value.what
    assert "IMAP.AccessAsUser.All" in caught.value.remedy


@pytest.mark.parametrize(
    ("lines", "folders"),
    [
        (b'* LIST (\\Junk) "/" "Werbung"\r\n* LIST () "/" Spam\r\n', ("INBOX", "Werbung")),
        (b'* LIST () "." INBOX.Junk\r\n* LIST () "." INBOX.Sent\r\n', ("INBOX", "INBOX.Junk")),
        (b'* LIST (\\Noselect) "/" Junk\r\n', ("INBOX",)),
        (b'* LIST () "/" {4}\r\nSpam\r\n', ("INBOX", "Spam")),
        (b'* LIST () "/" "[Gmail]/Spam"\r\n', ("INBOX", "[Gmail]/Spam")),
        (b"* LIST () NIL Junk\r\n", ("INBOX", "Junk")),
        (b"* LIST nonsense\r\n", ("INBOX",)),
        (b"", ("INBOX",)),
    ],
)
def test_the_folder_for_junk_is_found_by_its_use_else_by_its_name(
    authority: TestAuthority, context: ssl.SSLContext, lines: bytes, folders: tuple[str, ...]
) -> None:
    with imap_server(context, {**GOOD, b"LIST": lines + b"TAG OK done\r\n"}) as server:
        mailbox = opened(server.port, authority)
        assert mailbox.folders == folders
        mailbox.close()


def test_a_folder_is_shown_in_letters(authority: TestAuthority, context: ssl.SSLContext) -> None:
    script = {
        **GOOD,
        b"LIST": b'* LIST (\\Junk) "/" "Unerw&APw-nscht"\r\nTAG OK done\r\n',
        # INBOX cannot be opened.
        b"EXAMINE": b"* 1 EXISTS\r\nTAG OK done\r\n",
    }
    with imap_server(context, script) as server:
        mailbox = opened(server.port, authority)
        mailbox._folders = mailbox._folders[1:]
        found = mailbox.find("<1@isp.example>")
        mailbox.close()
    assert found is not None
    assert (found.folder, found.junk) == ("Unerwünscht", True)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({b"AUTHENTICATE": b"TAG NO wrong\r\n"}, PermissionDeniedError, "wrong"),
        ({b"AUTHENTICATE": f"TAG NO I got {PASSWORD}\r\n".encode()}, PermissionDeniedError, "[redacted]"),
        ({b"AUTHENTICATE": b"* BYE too many\r\n"}, SmarthostUnavailableError, "broke"),
        ({b"AUTHENTICATE": None}, SmarthostUnavailableError, "broke"),
        ({b"CAPABILITY": b"* CAPABILITY " + b"x" * 200_000 + b"\r\n"}, SmarthostUnavailableError, "not reached"),
        ({b"LIST": b"* LIST () {999999999}\r\n"}, SmarthostUnavailableError, "999999999 bytes at once"),
        ({b"LIST": b"* x\r\n" * 500_000}, SmarthostUnavailableError, "broke"),
    ],
    ids=["refused", "echoed", "bye", "silent", "endless line", "huge literal", "junk"],
)
def test_a_server_that_refuses_or_misbehaves_is_one_clear_error(
    authority: TestAuthority,
    context: ssl.SSLContext,
    change: Script,
    error: type[UcrmmailError],
    says: str,
) -> None:
    with imap_server(context, {**GOOD, **change}) as server, pytest.raises(error) as caught:
        opened(server.port, authority)
    assert says in caught.value.what
    assert PASSWORD not in str(caught.value.what)


@pytest.mark.parametrize("greeting", [None, b"HTTP/1.1 400\r\n", b"* BYE full\r\n", b"x" * 200_000])
def test_a_bad_greeting_is_one_clear_error(
    authority: TestAuthority, context: ssl.SSLContext, greeting: bytes | None
) -> None:
    with imap_server(context, GOOD, greeting) as server, pytest.raises(SmarthostUnavailableError) as caught:
        opened(server.port, authority)
    assert "not reached over IMAP" in caught.value.what


@pytest.mark.parametrize("kind", ["expired", "other name", "not trusted"])
def test_a_bad_certificate_gets_no_password(authority: TestAuthority, tmp_path: Path, kind: str) -> None:
    other = TestAuthority(tmp_path / "other")
    context = {
        "expired": lambda: authority.server_context("localhost", expired=True),
        "other name": lambda: authority.server_context("other.example"),
        "not trusted": lambda: other.server_context("localhost"),
    }[kind]()
    with imap_server(context, GOOD) as server, pytest.raises(SmarthostUnavailableError, match="is not trusted"):
        opened(server.port, authority)
    assert server.commands == []


@pytest.mark.parametrize(
    "change",
    [
        {b"UID SEARCH": b"* BYE\r\n"},
        {b"UID SEARCH": None},
        {b"UID SEARCH": b"TAG BAD what\r\n"},
        {b"UID FETCH": b"* 1 FETCH (UID 7 BODY[HEADER]<0> {99999999}\r\n"},
    ],
    ids=["bye", "silent", "bad", "huge"],
)
def test_a_look_that_fails_is_lost_and_not_a_crash(
    authority: TestAuthority, context: ssl.SSLContext, change: Script
) -> None:
    with imap_server(context, {**GOOD, **change}) as server:
        mailbox = opened(server.port, authority)
        with pytest.raises(LostError):
            mailbox.find("<1@isp.example>")
        mailbox.close()


def test_a_message_that_is_not_there_is_none(authority: TestAuthority, context: ssl.SSLContext) -> None:
    with imap_server(context, {**GOOD, b"UID SEARCH": b"* SEARCH\r\nTAG OK done\r\n"}) as server:
        mailbox = opened(server.port, authority)
        assert mailbox.find("<1@isp.example>") is None
        mailbox.close()
