"""``test-connection``: what a person sees of each stage, against a server that fails there."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import TestAuthority
from tests.support.network import Network, network, wait_until
from tests.support.program import Program, Run
from tests.support.smtp_server import DROP, EXTENSIONS, HANG, SmtpServer

SECRET = {"UCRMMAIL_SMTP_PASSWORD": "canary-4711"}
LOGINS = {"user": "canary-4711"}


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "ca")


def configure(
    program: Program, authority: TestAuthority, port: int, encryption: str, *, host: str = "localhost"
) -> None:
    """Write a configuration of an account that logs in with TLS."""
    program.config.write_text(
        f'[smtp]\nhost = "{host}"\nport = {port}\nencryption = "{encryption}"\nca_file = "{authority.ca_file}"\n'
        'username = "user"\ntimeout = "2s"\n\n[addresses]\nsender = "billing@isp.example"\n'
    )
    program.config.chmod(0o600)


def run_test(program: Program, *arguments: str, **expected: int) -> Run:
    """Run the command with the secret in the environment; ``code`` is the exit code that must come, else 0."""
    return program.run("test-connection", *arguments, env=SECRET, code=expected.get("code", 0))


def stage(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the last stage of this name."""
    found: dict[str, Any] = [each for each in document["stages"] if each["stage"] == name][-1]
    return found


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_good_account_holds_at_every_stage_and_nothing_is_sent(
    program: Program, authority: TestAuthority, encryption: str
) -> None:
    context = authority.server_context("localhost")
    extensions = (*EXTENSIONS, "LIMITS RCPTMAX=100 MAILMAX=50")
    with SmtpServer(tls=context, smtps=encryption == "tls", logins=LOGINS, extensions=extensions) as server:
        configure(program, authority, server.port, encryption)
        run = run_test(program, "--json", "--transcript")
        server.wait_until_idle()
    document = run.json
    assert document["ok"] is True
    assert all(each["ok"] for each in document["stages"])
    names = [each["stage"] for each in document["stages"]]
    assert names[:5] == ["configuration", "secret", "resolve", "connect", {"tls": "tls"}.get(encryption, "greeting")]
    assert names[-5:] == ["auth", "mail", "rcpt", "rset", "quit"]
    assert all(each["seconds"] >= 0 for each in document["stages"])
    assert stage(document, "secret")["facts"] == {"source": "environment"}
    tls = stage(document, "tls")["facts"]
    assert tls["version"] == "TLSv1.3"
    assert tls["names"] == ["localhost"]
    assert tls["days_left"] == 29
    assert stage(document, "auth")["reply"] == "235 2.7.0 welcome"
    assert stage(document, "auth")["facts"]["mechanism"] == "PLAIN"
    assert "CRAM-MD5" in stage(document, "auth")["facts"]["mechanisms"]
    assert document["limits"] == {"max_size_bytes": 10485760, "max_recipients": 100, "max_transactions": 50}
    assert document["warnings"] == []
    assert "C: RCPT TO:<billing@isp.example>" in document["transcript"]
    assert "C: AUTH PLAIN [redacted]" in document["transcript"]
    assert "canary-4711" not in run.stdout
    assert server.messages == []
    assert server.commands[-2:] == [b"RSET", b"QUIT"]


def test_a_person_sees_a_line_for_each_stage_and_the_limits(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(), logins=LOGINS) as server:
        configure(program, authority, server.port, "starttls")
        run = run_test(program, "-v")
    assert "FAILED" not in run.stdout
    assert "found in the environment" in run.stdout
    assert "messages of 10.5MB at the most" in run.stdout
    assert "Nothing was sent" in run.stdout
    assert "SIZE\t10485760\tthe largest message, in bytes" in run.lines
    assert run.stderr == ""


def test_a_wrong_password_is_told_with_the_reply_and_the_remedy(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(), logins={"user": "another"}) as server:
        configure(program, authority, server.port, "starttls")
        run = run_test(program, code=77)
        document = run_test(program, "--json", "--transcript", code=77).json
    assert "535 5.7.8" in run.stderr
    assert "config set smtp.password" in run.stderr
    assert document["ok"] is False
    assert stage(document, "auth")["ok"] is False
    assert stage(document, "auth")["reply"].startswith("535 5.7.8")
    assert "config set smtp.password" in stage(document, "auth")["remedy"]
    assert "canary-4711" not in str(document)


def test_a_missing_secret_does_not_keep_the_connection_from_being_tested(
    program: Program, authority: TestAuthority
) -> None:
    with SmtpServer(tls=authority.server_context(), logins=LOGINS) as server:
        configure(program, authority, server.port, "starttls")
        program.config.write_text(program.config.read_text() + '\n[credentials]\nsource = "file"\n')
        document = program.run("test-connection", "--json", code=78).json
    assert stage(document, "secret")["ok"] is False
    assert stage(document, "secret")["remedy"]
    assert stage(document, "tls")["ok"] is True
    assert "auth" not in [each["stage"] for each in document["stages"]]


def test_tls_against_a_port_for_starttls_is_recognised(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(), logins=LOGINS) as server:
        configure(program, authority, server.port, "tls")
        run = run_test(program, code=69)
        document = run_test(program, "--json", code=69).json
    assert "this port speaks STARTTLS: run `ucrmmail config set smtp.encryption starttls`" in run.stderr
    assert "220 test.example ESMTP" in run.stderr
    assert "smtp.encryption starttls" in stage(document, "tls")["remedy"]
    assert b"AUTH" not in server.received


def test_tls_against_a_port_without_any_is_told_apart(program: Program, authority: TestAuthority) -> None:
    with SmtpServer() as server:
        configure(program, authority, server.port, "tls")
        run = run_test(program, code=69)
    assert "this port offers no STARTTLS either" in run.stderr


@pytest.mark.parametrize("encryption", ["starttls", "none"])
def test_starttls_against_a_port_for_tls_is_recognised_by_its_silence(
    program: Program, authority: TestAuthority, encryption: str
) -> None:
    with SmtpServer(tls=authority.server_context(), smtps=True) as server:
        configure(program, authority, server.port, encryption)
        document = run_test(program, "--json", code=69).json
    failed = stage(document, "greeting")
    assert "did not answer in time" in failed["detail"]
    assert failed["remedy"].startswith("this port speaks TLS from the first byte")
    assert "`ucrmmail config set smtp.encryption tls`" in failed["remedy"]


def test_a_silent_server_is_not_taken_for_one_of_tls(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(faults={"greeting": HANG}) as server:
        configure(program, authority, server.port, "starttls")
        document = run_test(program, "--json", code=69).json
    assert "--probe" in stage(document, "greeting")["remedy"]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("expired", "expired on 20"),
        ("other name", "is for another name (other.example), not for localhost"),
        ("unknown authority", "was issued by an authority that is not trusted here"),
        ("self-signed", "is self-signed"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_shown_with_its_fault(
    program: Program, authority: TestAuthority, tmp_path: Path, kind: str, says: str
) -> None:
    contexts = {
        "expired": lambda: authority.server_context("localhost", expired=True),
        "other name": lambda: authority.server_context("other.example"),
        "unknown authority": lambda: TestAuthority(tmp_path / "other").server_context("localhost"),
        "self-signed": lambda: authority.self_signed_context("localhost"),
    }
    with SmtpServer(tls=contexts[kind](), logins=LOGINS) as server:
        configure(program, authority, server.port, "starttls")
        run = run_test(program, code=69)
        document = run_test(program, "--json", code=69).json
    assert says in run.stderr
    assert "remedy:" in run.stderr
    failed = stage(document, "tls")
    assert says in failed["detail"]
    assert failed["facts"]["names"] == ["other.example" if kind == "other name" else "localhost"]
    assert (failed["facts"]["days_left"] < 0) is (kind == "expired")
    assert b"AUTH" not in server.received


@pytest.mark.parametrize(("days_left", "warned"), [(20, True), (23, False)])
def test_a_certificate_that_ends_soon_is_a_warning_and_with_strict_a_failure(
    program: Program, authority: TestAuthority, days_left: int, warned: bool
) -> None:
    context = authority.server_context("localhost", days_left=days_left)
    with SmtpServer(tls=context, logins=LOGINS) as server:
        configure(program, authority, server.port, "starttls")
        relaxed = run_test(program)
        document = run_test(program, "--strict", "--json", code=1 if warned else 0).json
    assert ("the certificate expires on 20" in relaxed.stdout) is warned
    assert document["ok"] is True
    assert len(document["warnings"]) == (1 if warned else 0)
    assert bool(stage(document, "tls")["warning"]) is warned


def test_a_refused_recipient_is_told_and_the_transaction_is_withdrawn(
    program: Program, authority: TestAuthority
) -> None:
    refusal = "550 5.1.1 no such user"
    with SmtpServer(
        tls=authority.server_context(), logins=LOGINS, faults={"rcpt": lambda line: refusal if b"no@" in line else None}
    ) as server:
        configure(program, authority, server.port, "starttls")
        document = run_test(program, "--recipient", "no@example.com", "--json", code=1).json
        run_test(program)
        server.wait_until_idle()
    assert stage(document, "mail")["ok"] is True
    assert stage(document, "rcpt")["reply"] == refusal
    assert stage(document, "rset")["ok"] is True
    assert document["error"]["what"] == "the smarthost refused the recipient"
    assert server.messages == []


def test_a_refused_sender_is_told_with_its_remedy(program: Program, authority: TestAuthority) -> None:
    faults = {"mail": "553 5.7.1 <billing@isp.example>: Sender address rejected: not owned by user user"}
    with SmtpServer(tls=authority.server_context(), logins=LOGINS, faults=faults) as server:
        configure(program, authority, server.port, "starttls")
        run = run_test(program, code=1)
    assert "not owned by user" in run.stderr
    assert "addresses.sender" in run.stderr


def test_a_server_that_is_busy_ends_with_the_code_for_later(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(), logins=LOGINS, faults={"mail": "421 4.3.2 later"}) as server:
        configure(program, authority, server.port, "starttls")
        document = run_test(program, "--json", code=75).json
    assert stage(document, "mail")["reply"] == "421 4.3.2 later"


def test_a_server_without_logins_is_told_what_the_account_wants(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context()) as server:
        configure(program, authority, server.port, "starttls")
        document = run_test(program, "--json", code=77).json
    assert "offers no login that can be used here" in stage(document, "auth")["detail"]
    assert "PLAIN" in document["error"]["why"]


def test_a_connection_that_is_refused_says_so(program: Program, authority: TestAuthority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    configure(program, authority, port, "starttls", host="127.0.0.1")
    document = run_test(program, "--json", code=69).json
    assert "refused: nothing listens on this port" in stage(document, "connect")["detail"]
    assert stage(document, "resolve")["ok"] is True
    assert document["limits"] is None


def test_a_port_that_is_filtered_is_told_apart_from_one_that_is_refused(
    program: Program, authority: TestAuthority
) -> None:
    """A listener whose row of waiting connections is full drops what comes, as a firewall does."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        configure(program, authority, full.getsockname()[1], "starttls", host="127.0.0.1")
        document = run_test(program, "--json", code=69).json
    assert "no answer: a firewall may drop what is sent to this port" in stage(document, "connect")["detail"]
    assert "firewall" in document["error"]["remedy"]


@pytest.mark.parametrize(
    ("route", "says"),
    [
        (("unreachable",), "no route to it, or a firewall on the way refuses"),
        (("prohibit",), "a firewall or a route of this machine forbids it"),
        ((), "no route to it"),
    ],
    ids=["unreachable", "prohibited", "none"],
)
def test_a_way_that_is_closed_is_told_apart_too(
    program: Program, authority: TestAuthority, route: tuple[str, ...], says: str
) -> None:
    with network() as apart:
        if route:
            apart.run("ip", "route", "add", *route, "198.51.100.0/24")
        configure(program, authority, 587, "starttls", host="198.51.100.7")
        document = run_apart(apart, program, code=69)
    assert says in stage(document, "connect")["detail"]


# Answers every port 25 of its network, as the proxies of some providers do.
PROXY = """\
import socketserver
class Proxy(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 proxy.isp.example ESMTP\\r\\n")
        while line := self.rfile.readline():
            self.wfile.write(b"221 bye\\r\\n" if line[:4].upper() == b"QUIT" else b"250 fine\\r\\n")
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer(("0.0.0.0", 25), Proxy).serve_forever()
"""


@pytest.mark.watched
@pytest.mark.parametrize("intercepted", [True, False])
def test_a_network_that_answers_port_25_for_everybody_is_found_out(program: Program, intercepted: bool) -> None:
    addresses = ["198.51.100.7", *(["203.0.113.1"] if intercepted else [])]
    with network(*addresses) as apart:
        proxy = subprocess.Popen(apart.command(sys.executable, "-c", PROXY), stderr=subprocess.DEVNULL)
        try:
            probe = "import socket; socket.create_connection(('198.51.100.7', 25), 1).close()"
            reach = apart.command(sys.executable, "-c", probe)
            wait_until(lambda: subprocess.run(reach, check=False, capture_output=True).returncode == 0, "the proxy")
            program.configure(25)
            text = program.config.read_text().replace('"127.0.0.1"', '"198.51.100.7"')
            program.config.write_text(text)
            document = run_apart(apart, program, code=0)
            strict = subprocess.run(
                apart.command(*program.command("test-connection", "--strict")), env=program.env, check=False
            )
        finally:
            proxy.terminate()
            proxy.wait(10)
    told = [warning for warning in document["warnings"] if "in place of every server" in warning]
    assert bool(told) is intercepted
    assert strict.returncode == int(intercepted)
    assert "203.0.113.1:25" in document["stages"][-1]["detail"]


def run_apart(apart: Network, program: Program, code: int) -> Any:
    done = subprocess.run(
        apart.command(*program.command("test-connection", "--json")),
        env={**program.env, **SECRET},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_configuration_that_says_too_little_is_a_stage_too(program: Program) -> None:
    program.config.write_text('[smtp]\ntransport = "gmail"\n')
    program.config.chmod(0o600)
    document = run_test(program, "--json", code=78).json
    assert [each["stage"] for each in document["stages"]] == ["configuration"]
    assert "smtp.username is not set" in stage(document, "configuration")["detail"]
    program.config.write_text("[smtp]\nhots = 3\n")
    assert "hots" in stage(run_test(program, "--json", code=78).json, "configuration")["detail"]


def test_an_account_without_login_reads_no_secret_and_one_without_sender_is_warned(program: Program) -> None:
    with SmtpServer() as server:
        program.config.write_text(
            f'[smtp]\nhost = "127.0.0.1"\nport = {server.port}\nencryption = "none"\n\n'
            '[credentials]\nsource = "command"\ncommand = ["/bin/false"]\n'
        )
        program.config.chmod(0o600)
        document = program.run("test-connection", "--json").json
    assert "none is needed" in stage(document, "secret")["detail"]
    assert "addresses.sender" in stage(document, "mail")["warning"]
    assert b"MAIL" not in server.received


def test_a_malformed_recipient_is_refused_before_anything_is_done(program: Program) -> None:
    run = program.run("test-connection", "--recipient", "joe@", "--json", code=67)
    assert "joe@" in run.stderr
    assert "joe@" in run.json["error"]["what"]


def test_a_missing_secret_does_not_hide_that_nothing_listens(program: Program, authority: TestAuthority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    configure(program, authority, port, "starttls")
    program.config.write_text(program.config.read_text() + '\n[credentials]\nsource = "file"\n')
    run = program.run("test-connection", code=78)
    assert "no connection to localhost" in run.stderr
    assert run.stderr.count("remedy:") == 2


def test_a_name_that_does_not_exist_fails_its_own_stage(program: Program, authority: TestAuthority) -> None:
    configure(program, authority, 587, "starttls", host="no-such-host.invalid")
    document = run_test(program, "--json", code=69).json
    assert "the name no-such-host.invalid was not found" in stage(document, "resolve")["detail"]
    assert "connect" not in [each["stage"] for each in document["stages"]]


def test_a_firewall_that_crosses_out_starttls_is_named(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(extensions=("SIZE 1000", "XXXXXXXA"), logins=LOGINS) as server:
        configure(program, authority, server.port, "starttls")
        run = run_test(program, code=69)
    assert "a firewall in between rewrites" in run.stderr
    assert "smtp.port 465" in run.stderr
    assert b"AUTH" not in server.received


def test_a_connection_that_breaks_in_the_transaction_is_told(program: Program, authority: TestAuthority) -> None:
    with SmtpServer(tls=authority.server_context(), logins=LOGINS, faults={"rcpt": DROP}) as server:
        configure(program, authority, server.port, "starttls")
        document = run_test(program, "--json", code=69).json
    assert "(at rcpt)" in stage(document, "rcpt")["detail"]
    assert document["ok"] is False


def test_an_address_outside_ascii_needs_smtputf8(program: Program, authority: TestAuthority) -> None:
    extensions = [each for each in EXTENSIONS if each != "SMTPUTF8"]
    with SmtpServer(tls=authority.server_context(), logins=LOGINS, extensions=extensions) as server:
        configure(program, authority, server.port, "starttls")
        document = run_test(program, "--recipient", "jörg@example.com", "--json", code=1).json
    assert "does not offer SMTPUTF8" in stage(document, "mail")["detail"]
    assert b"MAIL" not in server.received


@pytest.mark.parametrize("other", [["--strict"], ["-v"], ["--transcript"], ["--recipient", "joe@example.com"]])
def test_the_probe_goes_with_no_option_of_the_test(program: Program, other: list[str]) -> None:
    assert "--probe goes only with --json" in run_test(program, "--probe", *other, code=2).stderr


def loopback() -> str:
    """Return an address of this machine that no other test listens on."""
    return f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"


def test_the_probe_proposes_what_works(program: Program, authority: TestAuthority) -> None:
    host = loopback()
    context: ssl.SSLContext = authority.server_context(host)
    with (
        SmtpServer(host=host, port=2525, tls=context, logins=LOGINS) as starttls,
        SmtpServer(host=host, port=8465, tls=context, smtps=True, logins=LOGINS) as tls,
    ):
        configure(program, authority, 587, "starttls", host=host)
        run = run_test(program, "--probe")
        document = run_test(program, "--probe", "--json").json
    proposed = ["ucrmmail config set smtp.port 8465", "ucrmmail config set smtp.encryption tls"]
    assert [line.strip() for line in run.lines[-2:]] == proposed
    assert document["settings"] == proposed
    assert document["ok"] is True
    works = {(each["port"], each["encryption"]) for each in document["probes"] if each["ok"]}
    assert works == {(8465, "tls"), (2525, "starttls")}
    for server in (starttls, tls):
        assert server.commands
        assert not any(line.startswith((b"AUTH", b"MAIL")) for line in server.commands)


def test_the_probe_wants_a_login_that_can_be_used(program: Program, authority: TestAuthority) -> None:
    host = loopback()
    context = authority.server_context(host)
    with SmtpServer(host=host, port=8465, tls=context, smtps=True):
        configure(program, authority, 8465, "tls", host=host)
        run = run_test(program, "--probe", code=69)
        document = run_test(program, "--probe", "--json", code=69).json
    assert "offers no login" in run.stdout
    assert "no usual port" in run.stderr
    assert document["ok"] is False
    assert document["settings"] == []


def test_the_probe_keeps_to_settings_that_work_already(program: Program, authority: TestAuthority) -> None:
    host = loopback()
    context = authority.server_context(host)
    with (
        SmtpServer(host=host, port=8465, tls=context, smtps=True, logins=LOGINS),
        SmtpServer(host=host, tls=context, logins=LOGINS) as server,
    ):
        configure(program, authority, server.port, "starttls", host=host)
        document = run_test(program, "--probe", "--json").json
    assert document["settings"] == [
        f"ucrmmail config set smtp.port {server.port}",
        "ucrmmail config set smtp.encryption starttls",
    ]
    assert {each["port"] for each in document["probes"] if each["ok"]} == {8465, server.port}


def test_the_probe_of_an_account_without_login_wants_none(program: Program, authority: TestAuthority) -> None:
    host = loopback()
    with SmtpServer(host=host, tls=authority.server_context(host)) as server:
        configure(program, authority, server.port, "starttls", host=host)
        program.config.write_text(program.config.read_text().replace('username = "user"\n', ""))
        document = run_test(program, "--probe", "--json").json
    assert document["ok"] is True
    assert document["settings"][0] == f"ucrmmail config set smtp.port {server.port}"
