"""Every field of every JSON document that a command prints is explained on its page of the manual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.manual import fields_of, holds_word, section
from tests.support.nameserver import nsd
from tests.support.oauth_server import CLIENT_ID, OAuthServer
from tests.support.program import PLAIN, Program
from tests.support.sink import Sink
from tools.docs.tree import command_tree

ZONE = """\
@ 300 SOA ns admin 1 3600 600 86400 300
@ 300 NS ns
ns 300 A 127.0.0.1
@ 300 TXT "v=spf1 +all"
_dmarc 300 TXT "v=DMARC1; p=none; pct=1"
"""
# What every document has is explained once, in ucrmmail(1).
_IN_ALL = "schema_version"


class Documents:
    """The documents that commands print, and the fields in them by command."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.fields: dict[str, set[str]] = {}

    def of(self, command: str, *arguments: str, stdin: bytes = b"", code: int = 0, config: str = "") -> Any:
        before = ("--config", config) if config else ()
        run = self._program.run(*before, *command.split(), *arguments, "--json", stdin=stdin, code=code)
        self.fields.setdefault(command, set()).update(fields_of(run.json))
        return run.json


def refusal(address: str) -> str | None:
    return {"no@example.com": "550 5.1.1 No such user", "later@example.com": "450 4.2.0 Later"}.get(address)


def test_every_field_is_on_the_page_of_its_command(program: Program, sink: Sink, tmp_path: Path) -> None:
    sink.on_rcpt = refusal
    program.configure(sink.port, throttler="message_limit = 5", antiflood="activation_threshold = 9")
    documents = Documents(program)

    queued = documents.of(
        "enqueue", "--to", "no@example.com", "--to", "later@example.com", "-", "missing.eml", stdin=PLAIN, code=66
    )
    queue_id = queued["queued"][0]["queue_id"]
    for _ in range(3):
        program.sendmail("-t")
    documents.of("flush", "--dry-run")
    documents.of("flush", "--message-limit", "2")
    documents.of("test-connection", "--transcript")
    documents.of("test-connection", "--recipient", "no@example.com", code=1)
    documents.of("test-connection", "--probe", code=69)
    documents.of("test-send", "joe@example.com", "no@example.com", code=1)
    documents.of("test-send", "--dry-run", "joe@example.com")
    documents.of("queue list")
    documents.of("queue show", queue_id)
    documents.of("queue hold", queue_id, queue_id[:-1] + "0", code=66)
    documents.of("queue release", queue_id)
    documents.of("queue retry", "--all")
    documents.of("queue remove", queue_id)
    documents.of("status")
    given = ("billing@isp.example", "--host", "127.0.0.1", "--port", str(sink.port), "--encryption", "none", "--yes")
    documents.of("setup", *given, "--store", "file", "--password-stdin", "--username", "u", "--no-test", stdin=b"x")
    documents.of("setup", *given, "--username", "")
    documents.of("doctor", "--skip", "dns,schedule")
    with nsd(tmp_path, {"isp.example": ZONE}) as server:
        documents.of("check-dns", "--nameserver", str(server), "--selector", "s1", code=1)
        documents.of("check-dns", "--nameserver", str(server), "--watch", "--watch-time", "0s", code=75)
        program.configure(sink.port, dns=f'nameservers = ["{server}"]')
        documents.of("doctor", "--only", "dns", code=1)

    wrong = program.home / "wrong.toml"
    wrong.write_text('[smtp]\nhots = "127.0.0.1"\nport = 1\nencryption = "tls"\n')
    wrong.chmod(0o600)
    documents.of("config check", config=str(wrong), code=78)
    documents.of("", "--version")
    documents.of("config check")
    documents.of("config list")
    documents.of("config get", "smtp.host")
    documents.of("config get", "smtp.password")
    documents.of("config path")
    documents.of("config presets")
    documents.of("credentials status", code=78)
    with OAuthServer(more={"refresh_token_expires_in": 604799}) as oauth:
        program.configure(
            sink.port,
            smtp='username = "billing@isp.example"\nauthentication = "xoauth2"',
            oauth=f'client_id = "{CLIENT_ID}"\ntoken_endpoint = "{oauth.token_endpoint}"\n'
            f'device_endpoint = "{oauth.device_endpoint}"',
        )
        documents.of("login", "--store", "file")
        documents.of("credentials status")
    documents.of("credentials delete", "--store", "file", "--yes")
    # A smarthost that is not there: what concerns the account.
    program.configure(1)
    documents.of("flush", code=69)
    documents.of("doctor", "--skip", "dns", code=1)
    documents.of("test-connection", code=69)
    documents.of("test-send", "joe@example.com", code=69)

    printing = {
        " ".join(each.path) for each in command_tree().walk() if any("--json" in one.names for one in each.options)
    }
    assert printing <= set(documents.fields), "call the new command here"
    assert holds_word(section("ucrmmail.1", "JSON FIELDS"), _IN_ALL)
    for command, fields in documents.fields.items():
        page = "-".join(("ucrmmail", *command.split()[:1]))
        text = section(f"{page}.1", "JSON FIELDS")
        assert {name for name in fields - {_IN_ALL} if not holds_word(text, name)} == set(), command
