"""``__complete``: what is offered for a line, and silence for everything that goes wrong."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.support.faults import cannot_be_opened
from tests.support.spools import NOW, new_spool, put
from ucrmmail.cli.completion import KINDS, print_completions
from ucrmmail.config.schema import KEYS
from ucrmmail.spool import manage
from ucrmmail.spool.layout import path_in_queue

CONFIG = """\
[smtp]
host = "mail.isp.example"

[addresses]
sender = "billing@isp.example"
notification = "admin@shop.example"

[dns]
domains = ["news.example", "isp.example"]

[throttler]
additional_limits = ["30/1m", "500/24h"]

[spool]
directory = "{spool}"
"""


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(spool=tmp_path / "spool"))
    config.chmod(0o600)
    monkeypatch.setenv("UCRMMAIL_CONFIG", str(config))
    return new_spool(tmp_path)


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    print_completions(arguments)
    printed = capsys.readouterr()
    assert printed.err == ""
    pairs = (line.split("\t") for line in printed.out.splitlines())
    return {value: description for value, description in pairs}  # noqa: C416 # exactly two fields a line


@pytest.mark.usefixtures("spool")
def test_all_keys_are_offered_with_the_value_that_is_set(capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(capsys, "key", "config", "get", "")
    assert set(found) == set(KEYS)
    assert found["smtp.host"] == "[mail.isp.example] The smarthost that takes the mail"
    assert found["smtp.ca_file"].startswith("A PEM file")


def test_unset_offers_what_the_file_sets(capsys: pytest.CaptureFixture[str], spool: str) -> None:
    assert set(lines(capsys, "key", "config", "unset", "")) == {
        "smtp.host", "addresses.sender", "addresses.notification", "dns.domains", "throttler.additional_limits",
        "spool.directory",
    }  # fmt: skip
    assert lines(capsys, "key", "config", "unset", "")["spool.directory"].startswith(f"[{spool}]")


@pytest.mark.usefixtures("spool")
@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("smtp.encryption", {"starttls": "as it is now", "tls": "", "none": ""}),
        ("smtp.pipelining", {"true": "as it is now", "false": ""}),
        ("smtp.host", {"mail.isp.example": "as it is now"}),
        ("throttler.additional_limits", {"30/1m,500/24h": "as it is now"}),
        ("smtp.ca_file", {}),
        ("smtp.password", {}),
        ("smtp.no_such_key", {}),
    ],
)
def test_values_are_those_that_can_be_listed_and_the_present_one(
    capsys: pytest.CaptureFixture[str], key: str, values: dict[str, str]
) -> None:
    assert lines(capsys, "value", "config", "set", key, "") == values


def test_queue_ids_are_those_the_command_makes_sense_for_and_not_named_yet(
    capsys: pytest.CaptureFixture[str], spool: str
) -> None:
    first = put(spool, "joe@example.com")
    second = put(spool, "ann@example.com", "eve@example.com", now=NOW + 1)
    held = put(spool, now=NOW + 2)
    assert [change.trouble for change in manage.hold(spool, [held])] == [""]
    assert list(lines(capsys, "queue-id", "queue", "show", "")) == [first, second, held]
    assert lines(capsys, "queue-id", "queue", "hold", first, "") == {second: "waiting, to ann@example.com and 1 more"}
    assert list(lines(capsys, "queue-id", "queue", "release", "")) == [held]
    assert list(lines(capsys, "queue-id", "queue", "retry", "")) == []
    assert list(lines(capsys, "queue-id", "queue", "show", second[:-8])) == [second]
    assert lines(capsys, "state", "queue", "list", "--state", "")["waiting"] == "2 messages"


@pytest.mark.requirement("S19")
def test_a_message_that_cannot_be_read_hides_no_other_and_is_offered(
    capsys: pytest.CaptureFixture[str], spool: str
) -> None:
    bad, good = put(spool), put(spool, now=NOW + 1)
    with cannot_be_opened(path_in_queue(spool, bad), errno.EIO):
        found = lines(capsys, "queue-id", "queue", "remove", "")
    assert found == {bad: "cannot be read: Input/output error", good: "waiting, to joe@example.com"}


def test_no_more_queue_ids_are_read_than_fit_a_screen(capsys: pytest.CaptureFixture[str], spool: str) -> None:
    for number in range(120):
        put(spool, now=NOW + number / 1000)
    assert len(lines(capsys, "queue-id", "queue", "show", "1-")) == 100


@pytest.mark.usefixtures("spool")
def test_domains_are_those_configured_and_those_of_the_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, "domain", "check-dns", "news.example", "") == {
        "isp.example": "dns.domains",
        "shop.example": "system notification address",
    }


@pytest.mark.parametrize("typed", [("--config", "{}"), ("--config={}",), ("--config", "=", "{}"), ("--config", "~/{}")])
def test_the_configuration_that_was_typed_applies(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...]
) -> None:
    (tmp_path / "other.toml").write_text('[addresses]\nsupport = "help@isp.example"\n')
    (tmp_path / "other.toml").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    words = [word.format("other.toml") for word in typed]
    assert list(lines(capsys, "address", *words, "test-send", "")) == ["help@isp.example"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", ["[smtp", "spool = 1\n", '[spool]\ndirectory = "/nowhere/at/all"\n', "\0\xff"])
def test_nothing_that_is_wrong_makes_a_sound(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str, content: str
) -> None:
    (tmp_path / "wrong.toml").write_text(content, encoding="latin-1")
    lines(capsys, kind, "--config", str(tmp_path / "wrong.toml"), "config", "set", "smtp.host", "")


@pytest.mark.parametrize("arguments", [(), ("",), ("no-such-kind", "x"), ("key",), ("value", "")])
def test_a_question_that_makes_no_sense_is_answered_with_silence_or_keys(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert set(lines(capsys, *arguments)) <= set(KEYS)


def test_what_a_stranger_wrote_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str], spool: str) -> None:
    queue_id = put(spool, "jo\ufe00e@example.com")
    assert "jo\\u{fe00}e@example.com" in lines(capsys, "queue-id", "queue", "show", "")[queue_id]
