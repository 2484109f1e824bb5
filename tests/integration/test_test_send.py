"""``test-send``: what a person sees of each stage, against real servers, good and bad."""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.program import Program
from tests.support.sink import Sink, SinkController

SECRET = {"UCRMMAIL_SMTP_PASSWORD": "canary-4711"}


def secure(program: Program, port: int, ca_file: Path, encryption: str = "starttls", host: str = "localhost") -> None:
    program.configure(port)
    lines = f'host = "{host}"\nport = {port}\nencryption = "{encryption}"\nca_file = "{ca_file}"\nusername = "user"\n'
    text = program.config.read_text()
    start, end = text.index("host ="), text.index("[addresses]")
    program.config.write_text(text[:start] + lines + "\n" + text[end:])


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_message_goes_through_tls_and_login(program: Program, tmp_path: Path, encryption: str) -> None:
    authority = TestAuthority(tmp_path / "ca")
    sink = Sink(logins={"user": "canary-4711"})
    context = authority.server_context("localhost")
    with SinkController(sink, tls=context, smtps=encryption == "tls"):
        secure(program, sink.port, authority.ca_file, encryption)
        document = program.run("test-send", "me@example.com", "--transcript", "--json", env=SECRET).json
    assert document["ok"] is True
    assert document["reply"].startswith("250")
    stages = [stage["stage"] for stage in document["stages"]]
    assert {"resolve", "connect", "greeting", "ehlo", "tls", "auth"} <= set(stages)
    assert "canary-4711" not in str(document)
    assert "AHVzZXIA" not in str(document)
    assert sink.messages[0].recipients == ["me@example.com"]


@pytest.mark.parametrize(
    ("names", "expired", "trusted", "says"),
    [
        (("other.example",), False, True, "another name"),
        (("localhost",), True, True, "expired"),
        (("localhost",), False, False, "not trusted"),
    ],
)
def test_a_bad_certificate_gets_no_password(
    program: Program, tmp_path: Path, names: tuple[str, ...], expired: bool, trusted: bool, says: str
) -> None:
    authority = TestAuthority(tmp_path / "ca")
    other = TestAuthority(tmp_path / "other")
    sink = Sink(logins={"user": "canary-4711"})
    with SinkController(sink, tls=authority.server_context(*names, expired=expired)):
        secure(program, sink.port, authority.ca_file if trusted else other.ca_file)
        run = program.run("test-send", "me@example.com", env=SECRET, code=69)
        program.sendmail("-t")
        program.run("flush", env=SECRET, code=69)
    assert says in run.stderr
    assert "remedy" in run.stderr
    assert sink.login_attempts == 0
    assert [message["attempts"] for message in program.queue()] == [0]


def test_a_stripped_starttls_is_no_reason_to_go_on_in_clear(program: Program, tmp_path: Path, sink: Sink) -> None:
    secure(program, sink.port, TestAuthority(tmp_path / "ca").ca_file)
    run = program.run("test-send", "me@example.com", env=SECRET, code=69)
    assert "does not offer STARTTLS" in run.stderr
    assert sink.messages == []


def test_tls_against_a_plain_port_is_named(program: Program, tmp_path: Path, sink: Sink) -> None:
    secure(program, sink.port, TestAuthority(tmp_path / "ca").ca_file, "tls")
    run = program.run("test-send", "me@example.com", env=SECRET, code=69)
    assert "smtp.encryption starttls" in run.stderr


@contextmanager
def raw_server(script: bytes) -> Iterator[int]:
    """Say these bytes to whoever connects, whatever they send, and hold the line."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.sendall(script)
                except OSError:
                    continue
                done.wait(10)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@pytest.mark.parametrize(
    ("script", "says", "code"),
    [
        (b"554 5.3.2 closed for today\r\n", "554 5.3.2 closed for today", 69),
        (b"HTTP/1.1 400 Bad Request\r\n", "no reply", 69),
        (b"220-x\r\n" * 20000, "does not end", 69),
        (b"220 " + b"x" * 200_000, "does not end", 69),
        (b"", "did not answer in time", 69),
        (b"421 \x1b[31m4.3.2 come back\r\n", "\\x1b", 75),
    ],
)
def test_a_bad_greeting_is_one_clear_error(program: Program, script: bytes, says: str, code: int) -> None:
    with raw_server(script) as port:
        program.configure(port, smtp='timeout = "2s"')
        run = program.run("test-send", "me@example.com", code=code, timeout=20)
    assert says in run.stderr
    assert "\x1b" not in run.stdout + run.stderr


def test_what_arrives_before_tls_is_not_used_in_it(program: Program, tmp_path: Path) -> None:
    script = b"220 x ESMTP\r\n250-x\r\n250 STARTTLS\r\n220 go ahead\r\n250-injected\r\n250 AUTH PLAIN\r\n"
    with raw_server(script) as port:
        secure(program, port, TestAuthority(tmp_path / "ca").ca_file)
        run = program.run("test-send", "me@example.com", env=SECRET, code=69)
    assert "in clear behind its reply to STARTTLS" in run.stderr


@contextmanager
def echoing_server(mechanism: bytes) -> Iterator[int]:
    """Refuse every login with a reply that repeats what the client sent, in base64 and decoded."""
    listener = socket.create_server(("127.0.0.1", 0))

    def converse(connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        connection.sendall(b"220 x\r\n")
        stream.readline()
        connection.sendall(b"250-x\r\n250 AUTH " + mechanism + b"\r\n")
        sent = stream.readline().split()[2:]
        while len(sent) < {b"LOGIN": 2}.get(mechanism, 1):
            connection.sendall(b"334 VXNlcm5hbWU6\r\n")
            sent += stream.readline().split()
        decoded = [base64.b64decode(word).replace(b"\0", b" ").replace(b"\1", b" ") for word in sent]
        connection.sendall(b"535-5.7.8 no: " + b" ".join(sent) + b"\r\n535 5.7.8 " + b" ".join(decoded) + b"\r\n")
        stream.readline()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                converse(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5", "xoauth2", "oauthbearer"])
def test_a_secret_that_the_server_echoes_is_shown_and_kept_nowhere(program: Program, mechanism: str) -> None:
    with echoing_server(mechanism.upper().encode()) as port:
        program.configure(port, smtp=f'username = "user"\nauthentication = "{mechanism}"')
        program.sendmail("-t")
        runs = [
            program.run("test-send", "me@example.com", "--transcript", env=SECRET, code=77),
            program.run("test-send", "me@example.com", "--transcript", "--json", env=SECRET, code=77),
            program.run("test-connection", "--transcript", env=SECRET, code=77),
            program.run("test-connection", "--transcript", "--json", env=SECRET, code=77),
            program.run("flush", env=SECRET, code=77),
            program.run("status"),
        ]
    written = [path.read_bytes() for path in program.home.rglob("*") if path.is_file()]
    everything = b"".join(written) + "".join(run.stdout + run.stderr for run in runs).encode()
    assert b"[redacted]" in everything
    secret = b"canary-4711"
    for form in (secret, base64.b64encode(secret), base64.b64encode(b"\0user\0" + secret)):
        assert form not in everything
    # The base64 of what holds the secret inside, whatever stands before it.
    for word in re.findall(rb"[A-Za-z0-9+/]{12,}", everything):
        assert secret not in base64.b64decode(word[: len(word) // 4 * 4])
