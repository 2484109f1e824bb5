"""``test-send --verify-imap`` end to end: Postfix, OpenDKIM, OpenDMARC and Dovecot take the message and judge it."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.manual import fields_of, holds_word, section
from tests.support.program import Program, Run
from tests.support.receiver import PASSWORD, World, receiver

IMAP = "imap.example.com"
SECRET = {"UCRMMAIL_IMAP_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with receiver() as running:
        yield running


class Sender:
    """ucrmmail in the network of the mail system, with an account at its smarthost."""

    def __init__(self, program: Program, world: World) -> None:
        self.program, self.world = program, world
        program.configure(587)
        text = program.config.read_text()
        tls = f'encryption = "starttls"\nca_file = "{world.ca_file}"'
        text = text.replace('host = "127.0.0.1"', 'host = "smtp.isp.example"').replace('encryption = "none"', tls)
        program.config.write_text(f'{text}\n[imap]\nusername = "joe@example.com"\nca_file = "{world.ca_file}"\n')

    def run(self, *arguments: str, code: int, secret: dict[str, str] = SECRET) -> Run:
        done = subprocess.run(
            self.world.command(*self.program.command(*arguments)),
            env={**self.program.env, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **secret},
            cwd=self.program.home,
            capture_output=True,
            timeout=120,
            check=False,
        )
        run = Run(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in run.stderr
        assert run.code == code, f"exit {run.code}\n{run.stdout}\n{run.stderr}\n{self.world.logs()}"
        return run

    def waiting(self) -> int:
        """How many messages are in the mailbox."""
        return sum(1 for path in (self.world.root / "mail").rglob("new/*") if path.is_file())


@pytest.fixture
def sender(program: Program, world: World) -> Sender:
    return Sender(program, world)


def test_mail_that_is_believed_is_proved_with_its_way_and_all_three_results(sender: Sender) -> None:
    run = sender.run("test-send", "--verify-imap", IMAP, "joe@example.com", code=0)
    assert "in INBOX of imap.example.com, after" in run.stdout
    assert "by smtp.isp.example with ESMTPS: TLSv1.3, TLS_AES_256_GCM_SHA384" in run.stdout
    assert "from smtp.isp.example by mx.example.com with ESMTPS: TLSv1.3" in run.stdout
    assert "spf           pass for isp.example, aligned with From (says mx.example.com)" in run.stdout
    assert "dkim          pass for isp.example, aligned with From (says mx.example.com)" in run.stdout
    assert "dmarc         pass for isp.example (says mx.example.com)" in run.stdout
    assert "All holds: the receiver believes mail from this account." in run.stdout
    assert run.stderr == ""
    proof = sender.run("test-send", "--verify-imap", f"{IMAP}:993", "joe@example.com", "--json", code=0).json
    assert proof["ok"] is True
    verification = proof["verification"]
    assert verification["folder"] == "INBOX"
    assert verification["authserv_id"] == "mx.example.com"
    assert {each["method"]: (each["result"], each["aligned"]) for each in verification["results"]} == {
        "spf": ("pass", True), "dkim": ("pass", True), "dmarc": ("pass", True),
    }  # fmt: skip
    assert [hop["tls"] for hop in verification["hops"]] == [None, True, True]
    text = section("ucrmmail-test-send.1", "JSON FIELDS")
    assert {name for name in fields_of(verification) if not holds_word(text, name)} == set()


def test_mail_that_falls_into_junk_is_no_proof(sender: Sender) -> None:
    run = sender.run("test-send", "--verify-imap", IMAP, "joe+Junk@example.com", code=1)
    assert "FAILED arrived       in the folder for junk: Junk of imap.example.com" in run.stdout
    assert "the message fell into the folder for junk: Junk" in run.stderr
    assert "check-dns" in run.stderr


def test_mail_that_is_not_believed_names_what_fails_and_the_domain_to_check(sender: Sender) -> None:
    run = sender.run("test-send", "--from", "x@forged.example", "--verify-imap", IMAP, "joe@example.com", code=1)
    assert "FAILED spf           fail for forged.example" in run.stdout
    assert "FAILED dmarc         fail for forged.example" in run.stdout
    assert "SPF, DKIM and DMARC do not pass for mail from forged.example" in run.stderr
    assert "ucrmmail check-dns forged.example" in run.stderr


def test_mail_that_does_not_come_is_waited_for_no_longer_than_asked(sender: Sender) -> None:
    run = sender.run("test-send", "--verify-imap", IMAP, "--wait", "2s", "--json", "joe+Elsewhere@example.com", code=1)
    assert run.json["ok"] is False
    assert run.json["messages"][0]["recipients"]["joe+Elsewhere@example.com"]["outcome"] == "relayed"
    assert run.json["verification"]["arrived"] is False
    assert "did not arrive in INBOX or Junk within" in run.json["verification"]["problems"][0]["what"]


def test_a_person_at_a_terminal_sees_that_it_waits(sender: Sender) -> None:
    primary, terminal = pty.openpty()
    command = sender.program.command("test-send", "--verify-imap", IMAP, "--wait", "2s", "joe+Else@example.com")
    done = subprocess.run(
        sender.world.command(*command),
        env={**sender.program.env, **SECRET, "TERM": "xterm", "COLUMNS": "120"},
        cwd=sender.program.home,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        timeout=60,
        check=False,
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(primary, 65536):
            shown += part
    os.close(primary)
    assert done.returncode == 1
    assert b"waiting for the message in imap.example.com" in shown
    assert b"did not arrive in INBOX or Junk within 2s" in shown


def test_a_message_through_the_queue_is_waited_for_until_the_flush_has_sent_it(sender: Sender) -> None:
    arguments = ("test-send", "--queue", "--verify-imap", IMAP, "--json", "joe@example.com")
    started = subprocess.Popen(
        sender.world.command(*sender.program.command(*arguments)),
        env={**sender.program.env, **SECRET},
        cwd=sender.program.home,
        stdout=subprocess.PIPE,
    )
    queue: list[dict[str, Any]] = []
    while not queue and started.poll() is None:
        queue = sender.program.queue()
    sender.run("flush", code=0)
    out, _ = started.communicate(timeout=60)
    assert started.returncode == 0, out


@pytest.mark.parametrize(
    ("place", "secret", "code", "says"),
    [
        (IMAP, {"UCRMMAIL_IMAP_PASSWORD": "wrong-4711"}, 77, "refused the login of joe@example.com"),
        (IMAP, {}, 78, "config set imap.password"),
        (f"{IMAP}:9993", SECRET, 69, "imap.example.com:9993 was not reached over IMAP"),
        (f"{IMAP}:143", SECRET, 69, "imap.encryption"),
        ("192.0.2.26", SECRET, 69, "is not trusted"),
        ("nowhere.example.com", SECRET, 69, "nowhere.example.com:993"),
        ("imap.example.com:x", SECRET, 2, "--verify-imap"),
        ("https://imap.example.com", SECRET, 2, "--verify-imap"),
    ],
)
def test_a_mailbox_that_cannot_be_opened_is_told_before_anything_is_sent(
    sender: Sender, place: str, secret: dict[str, str], code: int, says: str
) -> None:
    before = sender.waiting()
    run = sender.run("test-send", "--verify-imap", place, "joe@example.com", code=code, secret=secret)
    assert says in run.stderr
    assert "wrong-4711" not in run.stdout + run.stderr
    assert "final-dot" not in run.stdout
    assert sender.waiting() == before


def test_the_password_of_the_mailbox_is_kept_beside_that_of_the_account(sender: Sender) -> None:
    sender.program.run("config", "set", "imap.password", "--stdin", "--store", "file", stdin=PASSWORD)
    secrets = sender.program.home / "secrets.toml"
    assert '"imap:joe@example.com"' in secrets.read_text()
    sender.run("test-send", "--verify-imap", IMAP, "joe@example.com", code=0, secret={})
    run = sender.program.run("config", "set", "imap.password", "--stdin", "--store", "keyring", stdin="x", code=2)
    assert "leave --store out" in run.stderr
    sender.program.run("credentials", "delete", "--imap", "--yes")
    assert PASSWORD not in secrets.read_text()


def test_starttls_is_used_where_it_is_asked_for(sender: Sender) -> None:
    text = sender.program.config.read_text()
    sender.program.config.write_text(text.replace("[imap]\n", '[imap]\nencryption = "starttls"\n'))
    sender.run("test-send", "--verify-imap", IMAP, "joe@example.com", code=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [(("--dry-run",), "one message"), (("--count", "2"), "one message"), (("--wait", "x"), "--wait")],
)
def test_options_that_do_not_go_together_are_told(program: Program, options: tuple[str, ...], says: str) -> None:
    program.configure(1)
    run = program.run("test-send", "--verify-imap", IMAP, *options, "joe@example.com", code=2)
    assert says in run.stderr


def test_secrets_are_in_no_file_that_others_read(sender: Sender, tmp_path: Path) -> None:
    run = sender.run("test-send", "--verify-imap", IMAP, "--transcript", "--json", "joe@example.com", code=0)
    assert PASSWORD not in run.stdout + run.stderr
