"""``test-send``: what a person sees of each stage, against real servers, good and bad."""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from tests.support.certificates import TestAuthority
from tests.support.program import Program
from tests.support.sink import Sink, SinkController
from tests.support.smtp_server import DROP, GARBAGE, Action, SmtpServer
from ucrmmail.files import Locked

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


@pytest.mark.requirement("S2")
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


@pytest.mark.requirement("S2")
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


@pytest.mark.requirement("S2")
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


@pytest.mark.requirement("R28", "S9")
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


@pytest.mark.requirement("R28", "S9")
@pytest.mark.parametrize("place", ["greeting", "ehlo", "auth", "mail", "rcpt", "data", "body", "final-dot", "quit"])
def test_no_fault_at_any_stage_brings_the_secret_to_light(program: Program, place: str) -> None:
    said = b""
    for fault in (DROP, GARBAGE, "554 5.3.0 no"):
        logins = {"user": SECRET["UCRMMAIL_SMTP_PASSWORD"]}
        with SmtpServer(logins=logins, faults={place: fault}) as server:
            program.configure(server.port, smtp='username = "user"\ntimeout = "1s"\nfinal_timeout = "1s"')
            program.sendmail("-t")
            program.run("queue", "retry", "--all")
            for arguments in (("test-send", "me@example.com", "--transcript"), ("flush", "-v"), ("status",)):
                run = program.run(*arguments, env={**SECRET, "UCRMMAIL_DEBUG": "1"}, code=None)
                said += (run.stdout + run.stderr).encode()
            if place not in {"greeting", "ehlo"}:
                assert b"AUTH" in server.received
    everything = said + b"".join(path.read_bytes() for path in program.home.rglob("*") if path.is_file())
    secret = SECRET["UCRMMAIL_SMTP_PASSWORD"].encode()
    assert secret not in everything
    for word in re.findall(rb"[A-Za-z0-9+/]{12,}", everything):
        assert secret not in base64.b64decode(word[: len(word) // 4 * 4])


def test_what_was_sent_and_the_servers_queue_id_are_shown(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    run = program.run("test-send", "me@example.com")
    assert "queue id      00001 (the smarthost's)" in run.stdout
    assert re.search(r"message +<[0-9a-f]{24}@isp\.example>, 1\.\dkB, from <billing@isp\.example>", run.stdout)
    message = program.run("test-send", "me@example.com", "--json").json["messages"][0]
    assert message["remote_queue_id"] == "00002"
    assert message["queue_id"] is None
    assert message["message_id"].encode() in sink.messages[1].content
    assert message["size_bytes"] == len(sink.messages[1].content)
    assert message["recipients"]["me@example.com"]["outcome"] == "relayed"


def test_a_known_refusal_comes_with_its_cause_and_remedy(program: Program, sink: Sink) -> None:
    sink.on_data = lambda _envelope: "550 5.7.515 Access denied, sending domain isp.example does not meet the level"
    program.configure(sink.port)
    run = program.run("test-send", "me@example.com", code=1)
    assert "FAILED final-dot" in run.stdout
    assert "why:    Outlook.com wants SPF, DKIM and DMARC to pass" in run.stdout
    assert "remedy: run `ucrmmail check-dns`" in run.stdout
    message = program.run("test-send", "me@example.com", "--json", code=1).json["messages"][0]
    assert message["recipients"]["me@example.com"]["remedy"].startswith("run `ucrmmail check-dns`")


def test_html_attachments_letters_and_size_arrive_as_asked_for(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    invoice = program.home / "invoice.pdf"
    invoice.write_bytes(b"%PDF-1.4 " + bytes(range(256)))
    options = ["--html", "--utf8", "--attach", str(invoice), "--attach", str(program.config), "--size", "50kB"]
    program.run("test-send", *options, "--subject", "Größe", "me@example.com")
    received = sink.messages[0]
    assert received.options == [f"SIZE={len(received.content)}", "BODY=8BITMIME", "SMTPUTF8"]
    assert 50_000 <= len(received.content) < 50_100
    message = message_from_bytes(received.content, policy=policy.default)
    assert message["Subject"] == "Größe"
    assert [part.get_content_type() for part in message.walk() if not part.is_multipart()] == [
        "text/plain", "text/html", "application/pdf", "application/octet-stream", "text/plain",
    ]  # fmt: skip
    names = [part.get_filename() for part in message.walk() if part.get_filename()]
    assert names == ["invoice.pdf", "config.toml", "filler.txt"]
    assert next(message.iter_attachments()).get_payload(decode=True) == invoice.read_bytes()


def test_several_messages_go_in_one_session_each_with_an_id_of_its_own(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    document = program.run("test-send", "--count", "3", "--from", "office@isp.example", "a@example.com", "--json").json
    assert sink.sessions == 1
    assert len({message["message_id"] for message in document["messages"]}) == 3
    assert [message.reverse_path for message in sink.messages] == ["office@isp.example"] * 3


def test_a_message_that_is_not_sent_is_shown_as_it_would_go(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    run = program.run("test-send", "--dry-run", "--subject", "hello", "me@example.com", "you@example.com")
    assert run.stderr.splitlines() == [
        "MAIL FROM:<billing@isp.example>", "RCPT TO:<me@example.com>", "RCPT TO:<you@example.com>",
    ]  # fmt: skip
    message = message_from_bytes(run.stdout.encode(), policy=policy.default)
    assert message["Subject"] == "hello"
    assert message["Sender"] == "billing@isp.example"
    document = program.run("test-send", "--dry-run", "me@example.com", "--json").json
    assert "X-Ucrmmail-Test: " in document["messages"][0]["message"]
    assert sink.sessions == 0


def test_a_test_through_the_queue_is_sent_by_the_flush(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler="message_limit = 1")
    document = program.run("test-send", "--queue", "--count", "2", "me@example.com", "--json").json
    assert document["ok"] is True
    ids = [message["queue_id"] for message in document["messages"]]
    assert [message["queue_id"] for message in program.queue()] == ids
    assert "`ucrmmail flush` sends it" in program.run("test-send", "--queue", "me@example.com").stdout
    program.run("flush", "--no-wait")
    assert len(sink.messages) == 1
    assert next(message["queue_id"] for message in program.queue()) == ids[1]


def test_a_test_counts_against_the_limits_and_says_when_the_next_may_go(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler="message_limit = 3")
    program.run("test-send", "me@example.com")
    assert program.run("status", "--json").json["throttler"][0]["used"] == 1
    document = program.run("test-send", "--count", "3", "me@example.com", "--json", code=75).json
    outcomes = [message["recipients"]["me@example.com"]["outcome"] for message in document["messages"]]
    assert outcomes == ["relayed", "relayed", "not sent"]
    assert document["next_at"] is not None
    run = program.run("test-send", "me@example.com", code=75)
    assert "the throttler does not let the next message leave before " in run.stderr
    assert "--queue" in run.stderr
    assert len(sink.messages) == 3
    # What is refused costs nothing.
    program.configure(sink.port, throttler="message_limit = 4")
    sink.on_data = lambda _envelope: "554 5.7.1 spam"
    program.run("test-send", "me@example.com", code=1)
    assert program.run("status", "--json").json["throttler"][0]["used"] == 3


def test_a_test_is_in_the_delivery_log_once_there_is_one(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    log = program.spool / "delivery.log"
    program.run("test-send", "joe@example.com")
    assert not log.exists()
    program.sendmail("-t")
    sink.on_rcpt = lambda address: "550 5.1.1 no such user" if address.startswith("bad") else None
    program.run("test-send", "joe@example.com", "bad@example.com", code=1)
    lines = [line.split(" ", 2)[1:] for line in log.read_text().splitlines()]
    assert [(name, rest.split('"')[0]) for name, rest in lines] == [
        ("test-1", "from=<billing@isp.example> to=<joe@example.com> relayed final-dot "),
        ("test-1", "from=<billing@isp.example> to=<bad@example.com> failed rcpt "),
    ]


def test_a_test_to_more_recipients_than_the_limit_holds_goes_in_parts(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler='message_limit = 2\ncount = "recipients"')
    document = program.run("test-send", "a@example.com", "b@example.com", "c@example.com", "--json", code=75).json
    outcomes = {name: each["outcome"] for name, each in document["messages"][0]["recipients"].items()}
    assert outcomes == {"a@example.com": "relayed", "b@example.com": "relayed", "c@example.com": "not sent"}


@pytest.mark.parametrize(
    ("second", "code"),
    [(["421 4.7.0 too many messages in this connection"], 0), ([DROP] * 9, 69)],
    ids=["of the connection", "each time"],
)
def test_who_has_the_test_is_reported_when_the_connection_ends_before_the_others(
    program: Program, second: list[str | Action], code: int
) -> None:
    names = [f"{name}@example.com" for name in "abc"]
    with SmtpServer(faults={"mail": [None, *second]}, most_recipients=2) as server:
        program.configure(server.port)
        run = program.run("test-send", "--json", *names, code=code)
        server.wait_until_idle()
        assert [message.recipients for message in server.accepted][:1] == [names[:2]]
        assert len(server.accepted) == (2 if code == 0 else 1)
    (message,) = run.json["messages"]
    assert [name for name, one in message["recipients"].items() if one["outcome"] == "relayed"] == (
        names if code == 0 else names[:2]
    )


def test_a_test_goes_without_chunks_over_a_new_connection_as_a_run_does(program: Program) -> None:
    faults = {"chunk": "250 heard"}
    with SmtpServer(extensions=("CHUNKING", "LIMITS MAILMAX=1"), faults=faults) as server:
        program.configure(server.port)
        document = program.run("test-send", "me@example.com", "--json").json
        server.wait_until_idle()
        assert (len(server.accepted), len(server.connections)) == (1, 2)
        assert not server.accepted[0].by_chunks
    assert document["ok"] is True


def test_a_test_goes_past_no_flush_that_counts_too(program: Program, sink: Sink) -> None:
    program.configure(sink.port, throttler="message_limit = 3")
    program.run("test-send", "me@example.com")
    with Locked(str(program.spool / "lock")):
        run = program.run("test-send", "me@example.com", code=75)
        # Nothing is counted, so that nobody needs to wait.
        program.configure(sink.port)
        program.run("test-send", "me@example.com")
    assert "a flush is running" in run.stderr
    assert "--queue" in run.stderr
    assert len(sink.messages) == 2


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--size", "huge"), 2, "--size"),
        (("--size", "1GB"), 65, "spool.max_message_size"),
        (("--attach", "missing.pdf"), 66, "missing.pdf"),
        (("--attach", "."), 66, "directory"),
        (("--count", "0"), 2, "not in the range"),
        (("--queue", "--dry-run"), 2, "exclude"),
        (("--queue", "--transcript"), 2, "--transcript"),
        (("--subject", "a\nBcc: eve@example.com"), 2, "subject"),
        (("--from", "nobody"), 67, "nobody"),
        (("--verify-imap", ""), 2, "--verify-imap names no mailbox server"),
    ],
)
def test_an_option_that_cannot_be_met_is_one_clear_error(
    program: Program, sink: Sink, options: tuple[str, ...], code: int, says: str
) -> None:
    program.configure(sink.port)
    run = program.run("test-send", *options, "me@example.com", code=code)
    assert says in run.stderr
    assert sink.messages == []


@pytest.mark.parametrize(
    ("words", "says"),
    [(("a\rb@example.com",), "ADDRESS"), (("--subject", "a\rb", "me@example.com"), "subject")],
)
def test_a_wrong_word_is_told_before_what_the_configuration_lacks(
    program: Program, words: tuple[str, ...], says: str
) -> None:
    assert says in program.run("test-send", *words, code=2).stderr


@pytest.mark.parametrize(
    ("place", "reply", "code", "why", "queued"),
    [
        ("greeting", "421 4.3.2 busy", 75, "asks to be left alone", True),
        ("mail", "421 4.3.2 busy", 75, "asks to be left alone", True),
        ("rcpt", "421 4.3.2 busy", 75, "asks to be left alone", True),
        ("mail", "552 daily limit exceeded", 75, "its limit is reached", True),
        ("mail", "451 4.3.0 later", 1, "the smarthost itself has trouble", True),
        ("mail", "451 later", 1, "the smarthost itself has trouble", True),
        ("greeting", "554 no service here", 69, "none from the address of this machine", False),
    ],
)
def test_a_remedy_promises_a_later_run_only_for_what_is_queued(
    program: Program, place: str, reply: str, code: int, why: str, queued: bool
) -> None:
    with SmtpServer(faults={place: reply}) as server:
        program.configure(server.port)
        by_hand = program.run("test-send", "me@example.com", code=code)
        document = program.run("test-send", "me@example.com", "--json", code=code).stdout
        program.sendmail("-t")
        flushed = program.run("flush", "-v", code=None)
    told = by_hand.stdout + by_hand.stderr
    assert why in told
    assert "remedy:" in told
    assert "run tries again" not in told + document
    assert ("try again later" in told) is queued
    assert why in flushed.stdout + flushed.stderr
    assert ("a later run tries again" in flushed.stdout + flushed.stderr) is queued
    assert "reverse-path" not in told


@pytest.mark.requirement("S7")
def test_an_address_that_looks_like_an_option_is_told_of_once(program: Program, sink: Sink) -> None:
    program.configure(sink.port)
    run = program.run("test-send", "--from", "-f@isp.example", "--", "-oQ/tmp@example.com")
    assert [line.split(":")[1] for line in run.stderr.splitlines()] == [" ADDRESS", " --from"]
    assert sink.messages[0].recipients == ["-oQ/tmp@example.com"]
